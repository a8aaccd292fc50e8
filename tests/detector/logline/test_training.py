from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from detector.logline import training
from detector.logline.classifier import LineClassifier
from detector.logline.corpus import Split, examples, templates
from detector.logline.labels import LABELS
from detector.logline.notes import read_notes
from detector.logline.training import Recipe, train
from stream.errors import ConfigurationError
from tests.detector.model_fixtures import needs_models

SOME = [template for label in LABELS for template in [one for one in templates() if one.label == label][:4]]


@pytest.fixture(autouse=True)
def few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A corpus of a few templates, so that a run takes a second."""
    needs_models()

    def small(_each: int, seed: int, _apart: float) -> Split:
        return Split(*(examples(SOME, 2, seed + part) for part in range(5)))

    monkeypatch.setattr(training, "split", small)


@pytest.fixture
def recipe(tiny_classifier: Path) -> Recipe:
    return Recipe(base=str(tiny_classifier), epochs=2, length=32, batch_tokens=256, rank=4)


def weights(directory: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    return load_file(directory / "adapter_model.safetensors")


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)


def test_a_run_leaves_an_adapter_with_its_head_notes_and_card_that_can_be_loaded(recipe: Recipe, tmp_path: Path) -> None:
    trained = train(recipe, tmp_path / "out")
    assert any("score" in name for name in weights(tmp_path / "out"))
    notes = read_notes(tmp_path / "out")
    assert notes is not None
    assert (notes.base, notes.labels) == (recipe.base, LABELS)
    assert set(trained.figures) == {"lines", "templates", "systems"}
    card = (tmp_path / "out" / "README.md").read_text()
    assert notes.made["data"]["sha256"] in card
    assert all(f"**{label}**" in card for label in LABELS)
    classifier = LineClassifier.load(str(tmp_path / "out"), precision="fp32", device="cpu")
    assert len(classifier.labels(["up", "down"])) == 2
    assert not (tmp_path / "out" / ".training").exists()


def test_the_same_recipe_gives_the_same_weights_and_another_seed_others(recipe: Recipe, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(replace(recipe, seed=seed), tmp_path / name)
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


class Killed(BaseException):
    """Stands for the process's end."""


@pytest.mark.parametrize("when", [2, 5])
def test_a_run_that_was_killed_ends_like_one_that_was_not(
    recipe: Recipe, tmp_path: Path, when: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_EVERY", 2)
    train(recipe, tmp_path / "whole")
    count = 0

    def kill(what: str, _done: int, _total: int) -> None:
        nonlocal count
        count += what.startswith("epoch")
        if count == when:
            raise Killed

    with pytest.raises(Killed):
        train(recipe, tmp_path / "parts", kill)
    steps: list[int] = []
    train(recipe, tmp_path / "parts", lambda what, done, _total: steps.append(done) if what.startswith("epoch") else None)
    assert min(steps) > 1
    assert same(weights(tmp_path / "parts"), weights(tmp_path / "whole"))


def test_a_checkpoint_of_another_recipe_is_refused(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_EVERY", 1)

    def kill(_what: str, done: int, _total: int) -> None:
        if done > 1:
            raise Killed

    with pytest.raises(Killed):
        train(recipe, tmp_path / "out", kill)
    with pytest.raises(ConfigurationError, match="another run"):
        train(replace(recipe, rank=8), tmp_path / "out")
    (tmp_path / "out" / ".training" / "checkpoint.pt").write_bytes(b"torn")
    with pytest.raises(ConfigurationError, match="damaged"):
        train(recipe, tmp_path / "out")


def test_a_whole_model_can_be_trained_and_loaded_by_its_directory(recipe: Recipe, tmp_path: Path) -> None:
    train(replace(recipe, method="full", epochs=1), tmp_path / "out")
    assert not (tmp_path / "out" / "adapter_config.json").exists()
    classifier = LineClassifier.load(str(tmp_path / "out"), precision="fp32", device="cpu")
    assert len(classifier.labels(["up"])) == 1


def test_the_adapter_reaches_only_the_layers_that_are_asked_for(recipe: Recipe, tmp_path: Path) -> None:
    train(replace(recipe, layers=1, epochs=1), tmp_path / "out")
    names = [name for name in weights(tmp_path / "out") if "lora" in name]
    assert names
    assert all(".layers.1." in name for name in names)


def test_training_learns(recipe: Recipe, tmp_path: Path) -> None:
    trained = train(replace(recipe, epochs=20, rate=1e-2), tmp_path / "out")
    notes = read_notes(tmp_path / "out")
    assert notes is not None
    assert min(notes.made["loss"][-3:]) < notes.made["loss"][0] / 2
    assert trained.figures["lines"]["accuracy"] > 0.4
