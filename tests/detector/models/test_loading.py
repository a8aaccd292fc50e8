"""Promises of loading: the model that was asked for, whole, or an error that names what is wrong."""

import json
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detector.models.errors import KeysDiffer, MalformedModel, NoLibraries, OtherBase, TooLittleMemory, UnsafeWeights, WrongLabels
from detector.models.loading import load_causal, load_classifier, load_encoder
from detector.models.memory import Machine
from detector.models.places import Places
from detector.models.registry import add
from tests.detector.model_fixtures import LOG_LABELS, write_adapter, write_qwen2

ROOMY = Machine(cpu_free=8 << 30, cpu_bf16=True, bitsandbytes=True)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "cache", tmp_path / "records")


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Path], Path]:
    def copied(directory: Path) -> Path:
        return Path(shutil.copytree(directory, tmp_path / f"copy of {directory.name}"))

    return copied


@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16", "int8", "nf4"])
def test_every_architecture_loads_at_every_precision_and_keeps_its_head_whole(
    precision: str, tiny_qwen2: Path, tiny_qwen3_5: Path, tiny_qwen3_5_composite: Path, places: Places
) -> None:
    import torch

    if precision in ("int8", "nf4"):
        pytest.importorskip("bitsandbytes")
    for base in (tiny_qwen2, tiny_qwen3_5, tiny_qwen3_5_composite):
        one = load_causal(str(base), precision=precision, device="cpu", places=places, machine=ROOMY)
        assert one.precision == ("bf16" if precision == "auto" else precision)
        assert type(one.model.get_output_embeddings()) is torch.nn.Linear
        assert one.model.get_output_embeddings().weight.dtype == (torch.float32 if precision == "fp32" else torch.bfloat16)
        quantized = [name for name, module in one.model.named_modules() if type(module).__module__.startswith("bitsandbytes")]
        assert bool(quantized) == (precision in ("int8", "nf4"))
        assert not one.model.training
        assert one.tokenizer.padding_side == "left"


def test_one_line_says_what_was_chosen_and_why(
    tiny_qwen2: Path, tiny_adapter: Path, places: Places, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="detector.models.loading"):
        one = load_causal(str(tiny_qwen2), str(tiny_adapter), places=places, machine=ROOMY)
    assert [record.message for record in caplog.records] == [one.told]
    assert one.told.count("\n") == 0
    for part in (one.base_sha256[:12], str(one.adapter_sha256)[:12], "bf16 on cpu (this CPU has bf16 instructions)", "of 8.0 GiB free"):
        assert part in one.told


def test_an_adapter_is_in_the_answers(tiny_qwen2: Path, tiny_adapter: Path, places: Places) -> None:
    import torch

    one = load_causal(str(tiny_qwen2), str(tiny_adapter), precision="fp32", places=places, machine=ROOMY)
    tokens = torch.tensor([[1, 2, 3]])
    with torch.no_grad(), one.model.disable_adapter():
        bare = one.model(input_ids=tokens).logits
    with torch.no_grad():
        assert not torch.equal(one.model(input_ids=tokens).logits, bare)
    assert (one.adapter, one.revision) == (str(tiny_adapter), None)


def test_an_adapter_recorded_for_one_base_is_refused_on_another(
    tiny_qwen2: Path, tiny_adapter: Path, tmp_path: Path, places: Places
) -> None:
    add(str(tiny_adapter), name="mine", base=str(tiny_qwen2), places=places)
    assert load_causal(str(tiny_qwen2), "mine", places=places, machine=ROOMY).adapter == "mine"
    other = write_qwen2(tmp_path / "other", seed=1)
    with pytest.raises(OtherBase, match="mine: made for a base with the identity"):
        load_causal(str(other), "mine", places=places, machine=ROOMY)


def test_an_adapter_with_notes_is_held_against_them_without_being_added(
    tiny_qwen2: Path, tiny_adapter: Path, places: Places, copy_of: Callable[[Path], Path]
) -> None:
    adapter = copy_of(tiny_adapter)
    (adapter / "daywatch.json").write_text(json.dumps({"base_sha256": "f" * 64}))
    with pytest.raises(OtherBase, match="ffffffffffff"):
        load_causal(str(tiny_qwen2), str(adapter), places=places, machine=ROOMY)


def test_an_adapter_that_names_another_published_base_is_refused(
    tiny_qwen2: Path, tiny_adapter: Path, places: Places, copy_of: Callable[[Path], Path], tmp_path: Path
) -> None:
    snapshot = tmp_path / "hub" / ("0" * 40)
    shutil.copytree(tiny_qwen2, snapshot)
    add("Qwen/Qwen3-14B", places=places, fetch=lambda source, revision: snapshot)
    adapter = copy_of(tiny_adapter)
    config = json.loads((adapter / "adapter_config.json").read_bytes())
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "Qwen/Qwen3.5-9B"}))
    with pytest.raises(OtherBase, match=r"made for Qwen/Qwen3\.5-9B, and the base is Qwen/Qwen3-14B"):
        load_causal("Qwen/Qwen3-14B", str(adapter), places=places, machine=ROOMY)
    one = load_causal("Qwen/Qwen3-14B", str(tiny_adapter), places=places, machine=ROOMY)
    assert (one.base, one.revision) == ("Qwen/Qwen3-14B", "0" * 40)


def test_what_does_not_fit_is_refused_with_what_it_needs(tiny_qwen2: Path, places: Places) -> None:
    with pytest.raises(TooLittleMemory, match=r"bf16 on the CPU needs 0\.3 GiB and 0\.1 are free; nf4"):
        load_causal(str(tiny_qwen2), places=places, machine=Machine(cpu_free=1 << 27, cpu_bf16=True, bitsandbytes=True))


def test_memory_that_runs_out_while_loading_is_told_as_that(tiny_qwen2: Path, places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(*given: Any) -> Any:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr("detector.models.loading._model", no_more)
    with pytest.raises(TooLittleMemory, match=r"ran out .* bf16; it needs 0\.3 GiB"):
        load_causal(str(tiny_qwen2), places=places, machine=ROOMY)


def test_without_the_libraries_the_extra_is_named(tiny_qwen2: Path, places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(NoLibraries, match=r"torch is not installed: .*pip install 'daywatch\[llm\]'"):
        load_causal(str(tiny_qwen2), places=places, machine=ROOMY)


def _without(weights: dict[str, Any], part: str) -> dict[str, Any]:
    return {key: value for key, value in weights.items() if part not in key}


@pytest.mark.parametrize("harm", ["missing", "left over", "of another shape"])
def test_weights_that_do_not_cover_the_architecture_are_refused(
    harm: str, tiny_qwen2: Path, places: Places, copy_of: Callable[[Path], Path]
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    base = copy_of(tiny_qwen2)
    weights = load_file(base / "model.safetensors")
    if harm == "missing":
        weights = _without(weights, "layers.1.mlp.up_proj")
    elif harm == "left over":
        weights["model.layers.7.mlp.up_proj.weight"] = torch.zeros(2, 2)
    else:
        weights["model.norm.weight"] = torch.zeros(3)
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(MalformedModel, match=harm if harm != "of another shape" else "norm.weight"):
        load_causal(str(base), places=places, machine=ROOMY)


def test_broken_directories_are_told_before_anything_is_loaded(tiny_qwen2: Path, places: Places, copy_of: Callable[[Path], Path]) -> None:
    base = copy_of(tiny_qwen2)
    whole = (base / "model.safetensors").read_bytes()
    (base / "model.safetensors").write_bytes(whole[:-10])
    with pytest.raises(MalformedModel, match="cut off"):
        load_causal(str(base), places=places, machine=ROOMY)
    (base / "model.safetensors").unlink()
    (base / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(UnsafeWeights, match="may run code"):
        load_causal(str(base), places=places, machine=ROOMY)


def test_a_missing_or_broken_tokenizer_is_named(tiny_qwen2: Path, places: Places, copy_of: Callable[[Path], Path]) -> None:
    base = copy_of(tiny_qwen2)
    (base / "tokenizer.json").write_text('{"model": 1}')
    with pytest.raises(MalformedModel, match="tokenizer cannot be read"):
        load_causal(str(base), places=places, machine=ROOMY)
    (base / "tokenizer.json").unlink()
    with pytest.raises(MalformedModel, match="tokenizer is missing"):
        load_causal(str(base), places=places, machine=ROOMY)


def test_code_in_a_models_directory_is_not_run(tiny_qwen2: Path, places: Places, copy_of: Callable[[Path], Path], tmp_path: Path) -> None:
    base = copy_of(tiny_qwen2)
    ran = tmp_path / "ran"
    (base / "modeling_evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass Evil: pass\n")
    config = json.loads((base / "config.json").read_bytes())
    evil = {"model_type": "evil", "auto_map": {"AutoConfig": "modeling_evil.Evil", "AutoModelForCausalLM": "modeling_evil.Evil"}}
    (base / "config.json").write_text(json.dumps(config | evil))
    with pytest.raises(MalformedModel):
        load_causal(str(base), places=places, machine=ROOMY)
    assert not ran.exists()


def test_a_model_that_answers_with_no_number_is_refused(tiny_qwen2: Path, places: Places, copy_of: Callable[[Path], Path]) -> None:
    from safetensors.torch import load_file, save_file

    base = copy_of(tiny_qwen2)
    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(MalformedModel, match="NaN"):
        load_causal(str(base), places=places, machine=ROOMY)


@pytest.mark.parametrize("precision", ["auto", "int8", "nf4"])
def test_a_classifier_takes_batches_and_its_score_head_is_never_quantized(
    precision: str, tiny_classifier: Path, tiny_models: Path, places: Places
) -> None:
    import torch

    if precision != "auto":
        pytest.importorskip("bitsandbytes")
    adapter = tiny_models / "classifier_adapter"
    if not adapter.exists():
        write_adapter(adapter, tiny_classifier, kind="classifier")
    for with_ in (None, str(adapter)):
        one = load_classifier(
            str(tiny_classifier), with_, labels=LOG_LABELS, precision=precision, device="cpu", places=places, machine=ROOMY
        )
        assert one.model.config.pad_token_id == one.tokenizer.pad_token_id
        lines = ["ERROR: Failed to connect to database: Connection refused.", "ok"]
        with torch.no_grad():
            together = one.model(**one.tokenizer(lines, padding=True, return_tensors="pt")).logits.float()
            alone = one.model(**one.tokenizer(lines[1:], return_tensors="pt")).logits.float()
        assert together.shape == (2, 5)
        torch.testing.assert_close(together[1:], alone, atol=0.02 if precision != "auto" else 1e-5, rtol=0)
        heads = [type(module) for name, module in one.model.named_modules() if name.endswith(("score", "score.modules_to_save.default"))]
        assert not [kind for kind in heads if kind.__module__.startswith("bitsandbytes")]


def test_the_models_own_label_map_stands(tiny_classifier: Path, places: Places) -> None:
    one = load_classifier(str(tiny_classifier), labels=sorted(LOG_LABELS), places=places, machine=ROOMY)
    assert one.model.config.id2label == dict(enumerate(LOG_LABELS))


@pytest.mark.parametrize(
    ("change", "asked", "told"),
    [
        ({}, ("Good", "Bad"), "its labels are Normal"),
        ({"id2label": {"0": "a", "2": "b"}}, None, "count from 0"),
        ({"id2label": {str(place): "same" for place in range(5)}}, None, "twice"),
        ({"id2label": {str(place): f"LABEL_{place}" for place in range(5)}}, ("a", "b"), "5 labels without names"),
    ],
)
def test_a_wrong_label_map_is_refused(
    tiny_classifier: Path, places: Places, copy_of: Callable[[Path], Path], change: dict[str, Any], asked: Any, told: str
) -> None:
    base = copy_of(tiny_classifier)
    config = json.loads((base / "config.json").read_bytes())
    (base / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(WrongLabels, match=told):
        load_classifier(str(base), labels=asked, places=places, machine=ROOMY)


def test_labels_without_names_take_the_ones_that_are_given(tiny_classifier: Path, places: Places, copy_of: Callable[[Path], Path]) -> None:
    base = copy_of(tiny_classifier)
    config = json.loads((base / "config.json").read_bytes())
    names = {f"LABEL_{place}": place for place in range(5)}
    (base / "config.json").write_text(
        json.dumps(config | {"id2label": {str(place): name for name, place in names.items()}, "label2id": names})
    )
    one = load_classifier(str(base), labels=LOG_LABELS, places=places, machine=ROOMY)
    assert one.model.config.id2label == dict(enumerate(LOG_LABELS))


def test_a_label_map_of_another_size_than_the_head_is_refused(
    tiny_classifier: Path, places: Places, copy_of: Callable[[Path], Path]
) -> None:
    base = copy_of(tiny_classifier)
    config = json.loads((base / "config.json").read_bytes())
    (base / "config.json").write_text(json.dumps(config | {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}}))
    with pytest.raises(MalformedModel, match=r"score\.weight"):
        load_classifier(str(base), labels=("a", "b"), places=places, machine=ROOMY)


def test_a_head_is_made_up_only_when_asked_for_or_brought_by_an_adapter(tiny_qwen2: Path, places: Places) -> None:
    with pytest.raises(KeysDiffer, match=r"1 missing, the first score\.weight"):
        load_classifier(str(tiny_qwen2), labels=LOG_LABELS, places=places, machine=ROOMY)
    one = load_classifier(str(tiny_qwen2), labels=LOG_LABELS, fresh=True, places=places, machine=ROOMY)
    assert one.model.config.num_labels == 5


def test_an_encoder_saved_without_its_pooling_layer_has_none(
    tiny_mpnet: Path, tiny_qwen2: Path, places: Places, copy_of: Callable[[Path], Path]
) -> None:
    from safetensors.torch import load_file, save_file

    base = copy_of(tiny_mpnet)
    save_file(_without(load_file(base / "model.safetensors"), "pooler"), base / "model.safetensors", {"format": "pt"})
    assert load_encoder(str(base), places=places, machine=ROOMY).model.pooler is None
    assert load_encoder(str(tiny_mpnet), places=places, machine=ROOMY).model.pooler is not None
    assert load_encoder(str(tiny_qwen2), places=places, machine=ROOMY).precision == "fp32"


def test_the_small_language_model_writes_and_keeps_to_its_chat_template(smollm2: Path) -> None:
    import torch

    one = load_causal("package:smollm2-135m", device="cpu")
    assert one.base == "package:smollm2-135m"
    text = one.tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France? One word."}], tokenize=False, add_generation_prompt=True
    )
    asked = one.tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        written = one.model.generate(**asked, max_new_tokens=12, do_sample=False)
    assert "Paris" in one.tokenizer.decode(written[0, asked["input_ids"].shape[1] :])


def test_the_small_encoders_put_what_means_the_same_together(mpnet: Path, minilm: Path) -> None:
    import torch

    texts = [
        "The attackers copied files to a USB drive.",
        "Documents were moved to a removable disk by the intruders.",
        "It rains in Lisbon.",
    ]
    for name in ("package:mpnet", "package:minilm"):
        one = load_encoder(name, device="cpu")
        asked = one.tokenizer(texts, padding=True, return_tensors="pt")
        with torch.no_grad():
            tokens = one.model(**asked).last_hidden_state
        mask = asked["attention_mask"][..., None]
        means = torch.nn.functional.normalize((tokens * mask).sum(1) / mask.sum(1), dim=1)
        alike = means @ means.T
        assert alike[0, 1] > 0.5 > 0.3 > alike[0, 2]
