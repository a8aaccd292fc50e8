import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra llm")

from detector.groups.encoder import Encoder, labels_of, new_head, state_of
from detector.groups.likeness import likenesses
from detector.models.errors import KeysDiffer, MalformedModel, TooLittleMemory, UnsafeWeights, WrongLabels
from tests.detector.groups.test_match import MODEL

GROUPS = ("G0001", "G0007", "G0016")
TEXTS = ["the group copied files to a drive", "a", "phishing " * 300, "swift cash"]


def published(source: Path, out: Path, rename: Callable[[str], str] = lambda key: key, head: str = "classifier.0 classifier.3") -> Path:
    """A checkpoint in the published layout over the weights in `source`: one state of backbone and head, and the labels beside it."""
    import torch
    from safetensors.torch import load_file, save_file

    torch.manual_seed(1)
    shutil.copytree(source, out)
    backbone = load_file(out / "model.safetensors")
    made = new_head(backbone["embeddings.word_embeddings.weight"].shape[1], len(GROUPS), inner=32)
    state = {rename(key): value for key, value in backbone.items()}
    for name, layer in zip(head.split(), (made[0], made[3]), strict=True):
        state |= {f"{name}.weight": layer.weight.detach().clone(), f"{name}.bias": layer.bias.detach().clone()}
    save_file(state, out / "model.safetensors", {"format": "pt"})
    (out / "label_to_groupid.json").write_text(json.dumps({str(place): group for place, group in enumerate(GROUPS)}))
    return out


def changed(directory: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    from safetensors.torch import load_file, save_file

    state = load_file(directory / "model.safetensors")
    change(state)
    save_file(state, directory / "model.safetensors", {"format": "pt"})
    return directory


@pytest.fixture
def checkpoint(tiny_mpnet: Path, tmp_path: Path) -> Path:
    return published(tiny_mpnet, tmp_path / "published", lambda key: f"mpnet.{key}")


def by_hand(directory: Path, text: str) -> np.ndarray:
    """The card's own way: last hidden state, first token, two layers."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoTokenizer, MPNetConfig, MPNetModel

    state = load_file(directory / "model.safetensors")
    model = MPNetModel(MPNetConfig.from_pretrained(directory)).eval()
    model.load_state_dict({key.removeprefix("mpnet."): value for key, value in state.items() if key.startswith("mpnet.")}, strict=False)
    asked = AutoTokenizer.from_pretrained(directory)([text], truncation=True, max_length=128, padding="max_length", return_tensors="pt")
    with torch.no_grad():
        first = model(input_ids=asked["input_ids"], attention_mask=asked["attention_mask"]).last_hidden_state[:, 0]
        inner = torch.relu(first @ state["classifier.0.weight"].T + state["classifier.0.bias"])
        found: np.ndarray = torch.log_softmax(inner @ state["classifier.3.weight"].T + state["classifier.3.bias"], -1)[0].numpy()
        return found


def test_a_checkpoint_in_the_published_layout_answers_as_the_card_computes(checkpoint: Path) -> None:
    encoder = Encoder.load(str(checkpoint), precision="fp32", device="cpu")
    assert encoder.groups == GROUPS
    assert not encoder.masked
    found = encoder.log_probabilities(TEXTS)
    for place, text in enumerate(TEXTS):
        assert found[place] == pytest.approx(by_hand(checkpoint, text), abs=1e-4)


@pytest.mark.parametrize(
    ("prefix", "head"), [("", "fc1 fc2"), ("model.", "classification_head.0 classification_head.3"), ("base_model.", "head.0 head.2")]
)
def test_every_known_naming_of_backbone_and_head_gives_the_same_answers(tiny_mpnet: Path, tmp_path: Path, prefix: str, head: str) -> None:
    usual = Encoder.load(str(published(tiny_mpnet, tmp_path / "a", lambda key: f"mpnet.{key}")), precision="fp32", device="cpu")
    other = Encoder.load(str(published(tiny_mpnet, tmp_path / "b", lambda key: prefix + key, head)), precision="fp32", device="cpu")
    assert np.array_equal(usual.log_probabilities(TEXTS), other.log_probabilities(TEXTS))


def test_the_head_may_lie_in_a_file_of_its_own(checkpoint: Path) -> None:
    from safetensors.torch import save_file

    before = Encoder.load(str(checkpoint), device="cpu").log_probabilities(TEXTS)
    kept: dict[str, Any] = {}
    changed(checkpoint, lambda state: kept.update({key: state.pop(key) for key in list(state) if key.startswith("classifier.")}))
    save_file(kept, checkpoint / "classification_head.safetensors")
    assert np.array_equal(Encoder.load(str(checkpoint), device="cpu").log_probabilities(TEXTS), before)


def test_real_mpnet_weights_carry_a_head(mpnet: Path, tmp_path: Path) -> None:
    encoder = Encoder.load(str(published(mpnet, tmp_path / "real", lambda key: f"mpnet.{key}")), precision="bf16", device="cpu")
    found = encoder.log_probabilities(["the group copied files", "mailboxes were exported"])
    assert np.exp(found).sum(axis=1) == pytest.approx([1, 1], abs=1e-4)
    assert not np.allclose(found[0], found[1])


def test_an_answer_does_not_depend_on_the_texts_beside_it(checkpoint: Path) -> None:
    encoder = Encoder.load(str(checkpoint), precision="fp32", device="cpu")
    alone = np.concatenate([encoder.log_probabilities([text]) for text in TEXTS])
    assert encoder.log_probabilities(TEXTS) == pytest.approx(alone, abs=1e-5)
    assert encoder.log_probabilities(TEXTS[::-1])[::-1] == pytest.approx(alone, abs=1e-5)
    assert encoder.log_probabilities([]).shape == (0, 3)


def test_an_encoder_scores_texts_as_any_scorer_does(checkpoint: Path) -> None:
    (found,) = likenesses([TEXTS], Encoder.load(str(checkpoint), device="cpu"), MODEL, 9)
    assert {one.group for one in found} == set(GROUPS)
    assert sum(one.score for one in found) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("mpnet.encoder.layer.0.output.dense.bias"), "1 missing, the first encoder.layer.0.output.dense.bias"),
        (
            lambda state: state.update({"mpnet.encoder.layer.9.x": state["classifier.3.bias"].clone()}),
            "1 left over, the first encoder.layer.9.x",
        ),
        (lambda state: state.update({"lm_head.bias": state["classifier.3.bias"].clone()}), "1 left over, the first lm_head.bias"),
        (lambda state: state.update({"mpnet.encoder.layer.0.output.dense.bias": state["classifier.3.bias"].clone()}), "1 of another shape"),
        (lambda state: state.pop("classifier.3.bias"), "no classifier.3.bias"),
        (lambda state: [state.pop(key) for key in list(state) if key.startswith("classifier.")], "there is no head"),
        (
            lambda state: state.update({"classifier.0.weight": state["classifier.0.weight"][:, :7].clone()}),
            "do not follow a backbone of 64",
        ),
        (lambda state: [state.pop(key) for key in list(state) if key.startswith("mpnet.")], "no MPNet backbone"),
    ],
)
def test_a_checkpoint_that_does_not_cover_the_architecture_is_refused(
    checkpoint: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    with pytest.raises(KeysDiffer, match=said):
        Encoder.load(str(changed(checkpoint, change)), device="cpu")


def test_a_head_that_comes_as_a_pickle_is_refused(checkpoint: Path) -> None:
    changed(checkpoint, lambda state: [state.pop(key) for key in list(state) if key.startswith("classifier.")])
    (checkpoint / "classification_head.pt").write_bytes(b"\x80\x04.")
    with pytest.raises(UnsafeWeights, match=r"classification_head\.pt may run code"):
        state_of(checkpoint)


def test_truncated_weights_a_missing_tokenizer_and_another_architecture_are_refused(checkpoint: Path) -> None:
    whole = (checkpoint / "model.safetensors").read_bytes()
    (checkpoint / "model.safetensors").write_bytes(whole[:-100])
    with pytest.raises(MalformedModel, match="cut off"):
        Encoder.load(str(checkpoint), device="cpu")
    (checkpoint / "model.safetensors").write_bytes(whole)
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    with pytest.raises(MalformedModel, match="its model_type is bert"):
        Encoder.load(str(checkpoint), device="cpu")
    (checkpoint / "config.json").write_text(json.dumps(config))
    for file in checkpoint.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(MalformedModel, match="tokenizer is missing"):
        Encoder.load(str(checkpoint), device="cpu")


def test_labels_come_in_every_form_that_says_their_order(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    for name, content in (
        ("a.json", json.dumps({"2": "G0016", "0": "G0001", "1": "G0007"})),
        ("b.json", json.dumps({"G0016": 2, "G0001": 0, "G0007": 1})),
        ("c.json", json.dumps(list(GROUPS))),
        ("d.txt", "G0001\nG0007\nG0016\n"),
    ):
        (tmp_path / name).write_text(content)
        assert labels_of(tmp_path, tmp_path / name, 3) == GROUPS


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('["G0001", "G0007"]', "2 labels for 3"),
        ('["G0001", "G0001", "G0007"]', "2 labels for 3"),
        ('["G0001", "G0007", "APT28"]', "APT28"),
        ("{", "neither"),
        ('{"x": "G0001"}', "neither"),
    ],
)
def test_a_wrong_label_map_is_refused(checkpoint: Path, content: str, said: str) -> None:
    (checkpoint / "label_to_groupid.json").write_text(content)
    with pytest.raises(WrongLabels, match=said):
        Encoder.load(str(checkpoint), device="cpu")


def test_without_any_labels_it_says_what_to_give(checkpoint: Path) -> None:
    (checkpoint / "label_to_groupid.json").unlink()
    with pytest.raises(WrongLabels, match="--labels"):
        Encoder.load(str(checkpoint), device="cpu")


def test_what_is_no_number_is_refused(checkpoint: Path) -> None:
    changed(checkpoint, lambda state: state["classifier.3.bias"].fill_(float("nan")))
    with pytest.raises(MalformedModel, match="no number"):
        Encoder.load(str(checkpoint), device="cpu").log_probabilities(["a"])


def test_when_memory_runs_out_the_batch_is_halved_until_it_fits(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder.load(str(checkpoint), precision="fp32", device="cpu")
    expected, asked, real = encoder.log_probabilities(TEXTS), [], Encoder._ask

    def tight(self: Encoder, texts: list[str]) -> Any:
        asked.append(len(texts))
        if len(texts) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: out of memory")
        return real(self, texts)

    encoder.batch = 4
    monkeypatch.setattr(Encoder, "_ask", tight)
    assert encoder.log_probabilities(TEXTS) == pytest.approx(expected, abs=1e-5)
    assert asked == [4, 2, 1, 1, 1, 1]

    def none(self: Encoder, texts: list[str]) -> Any:
        raise MemoryError

    monkeypatch.setattr(Encoder, "_ask", none)
    with pytest.raises(TooLittleMemory, match="a single text"):
        encoder.log_probabilities(TEXTS)


def test_an_error_that_has_nothing_to_do_with_memory_is_not_hidden(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Encoder, texts: list[str]) -> Any:
        raise RuntimeError("shapes")

    encoder = Encoder.load(str(checkpoint), device="cpu")
    monkeypatch.setattr(Encoder, "_ask", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        encoder.log_probabilities(["a"])
