import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra llm")

from detector.groups.encoder import Encoder
from detector.groups.finetune import Learner, Tuning, tuned_out_of_fold
from detector.groups.splits import Fold
from stream.errors import ConfigurationError
from tests.detector.model_fixtures import write_classifier

GROUPS = ("G0001", "G0002")
TEXTS = [f"{word} {number}" for number in range(8) for word in ("aaaa usb drive", "zzzz swift cash")]
TRUTH = np.array([0, 1] * 8)
QUICK = Tuning(layers=1, epochs=6, rate=1e-3, head_rate=1e-2, batch=4, tokens=32)


def nothing(what: str, done: int, of: int) -> None:
    pass


def test_it_learns_what_can_be_told_apart_and_only_with_the_layers_that_may_learn(tiny_mpnet: Path) -> None:
    learner = Learner(tiny_mpnet, GROUPS, QUICK, "cpu")
    before = {key: value.clone() for key, value in learner.model.state_dict().items()}
    losses = learner.tune(TEXTS, TRUTH, nothing)
    assert losses[-1] < losses[0]
    assert (learner.log_probabilities(TEXTS).argmax(axis=1) == TRUTH).all()
    moved = {key for key, value in learner.model.state_dict().items() if not value.equal(before[key])}
    assert moved
    assert all(key.startswith("encoder.layer.1.") for key in moved)


def test_with_no_layer_to_learn_the_backbone_stays_as_it_is(tiny_mpnet: Path) -> None:
    learner = Learner(tiny_mpnet, GROUPS, Tuning(layers=0, epochs=4, head_rate=1e-2, batch=4), "cpu")
    before = {key: value.clone() for key, value in learner.model.state_dict().items()}
    losses = learner.tune(TEXTS, TRUTH, nothing)
    assert losses[-1] < losses[0]
    assert all(value.equal(before[key]) for key, value in learner.model.state_dict().items())


def test_what_is_written_is_the_published_layout_and_answers_the_same(tiny_mpnet: Path, tmp_path: Path) -> None:
    learner = Learner(tiny_mpnet, GROUPS, QUICK, "cpu")
    learner.tune(TEXTS, TRUTH, nothing)
    learner.write(tmp_path / "out", {"masked": True, "attack_version": "99.1"})
    encoder = Encoder.load(str(tmp_path / "out"), precision="fp32", device="cpu")
    assert (encoder.groups, encoder.masked) == (GROUPS, True)
    # learned under bfloat16, asked in float32
    assert np.exp(encoder.log_probabilities(TEXTS)) == pytest.approx(np.exp(learner.log_probabilities(TEXTS)), abs=0.03)
    assert json.loads((tmp_path / "out" / "label_to_groupid.json").read_text()) == {"0": "G0001", "1": "G0002"}
    assert json.loads((tmp_path / "out" / "daywatch.json").read_text())["tuning"]["layers"] == 1


def test_the_same_seed_learns_the_same(tiny_mpnet: Path) -> None:
    losses = [Learner(tiny_mpnet, GROUPS, QUICK, "cpu").tune(TEXTS, TRUTH, nothing) for _ in range(2)]
    assert losses[0] == losses[1]


def test_guessing_hidden_words_before_moves_only_what_may_learn(tiny_mpnet: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_mpnet, base)
    config = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(json.dumps(config | {"mask_token": "<|im_start|>"}))
    steps: list[str] = []
    learner = Learner(base, GROUPS, Tuning(layers=1, epochs=1, batch=4, mlm_epochs=2), "cpu")
    before = {key: value.clone() for key, value in learner.model.state_dict().items()}
    learner.tune(TEXTS, TRUTH, lambda what, done, of: steps.append(what))
    assert steps == ["masked words", "masked words", "fine-tuning"]
    assert learner.model.embeddings.word_embeddings.weight.equal(before["embeddings.word_embeddings.weight"])


def test_a_tokenizer_without_a_mask_cannot_guess(tiny_mpnet: Path) -> None:
    with pytest.raises(ConfigurationError, match="no token that hides a word"):
        Learner(tiny_mpnet, GROUPS, Tuning(layers=1, epochs=1, mlm_epochs=1), "cpu").tune(TEXTS, TRUTH, nothing)


def test_texts_are_scored_by_a_model_that_never_saw_them(tiny_mpnet: Path) -> None:
    folds = [Fold(np.arange(0, 12), np.arange(12, 16), np.zeros(0, np.int64))]
    scores = tuned_out_of_fold(tiny_mpnet, TEXTS, TRUTH, GROUPS, folds, QUICK, nothing, "cpu")
    assert (scores[12:].argmax(axis=1) == TRUTH[12:]).all()
    assert not scores[:12].any()


def test_another_architecture_and_too_many_layers_are_refused(tiny_mpnet: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="has 2"):
        Learner(tiny_mpnet, GROUPS, Tuning(layers=3), "cpu")
    with pytest.raises(ConfigurationError, match="not mpnet"):
        Learner(write_classifier(tmp_path / "qwen"), GROUPS, Tuning(), "cpu")
