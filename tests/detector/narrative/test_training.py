"""Training: what the loss looks at, that it learns, and that a killed run ends where an unbroken one does."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra llm")
pytest.importorskip("peft", reason="needs the extra llm")

import torch

from detector.narrative.answer import BEGINNING, Answer, written
from detector.narrative.lessons import Lesson
from detector.narrative.prompt import Prompt
from detector.narrative.training import History, TrainingPlan, adapted, batches, encoded, train
from detector.verdict import EventRef
from stream.errors import ConfigurationError
from stream.kinds import Kind
from tests.detector.narrative.tiny import tiny

PLAN = TrainingPlan(
    rank=8, everywhere=True, epochs=6, learning_rate=2e-2, batch_tokens=2000, batch_lessons=8, checks=1, patience=99, seed=1
)
REFS = tuple(EventRef(Kind.FILE, f"f{place}") for place in range(4))


def lessons(number: int, seed: int) -> list[Lesson]:
    """A world in which drives are malicious."""
    chance = random.Random(seed)
    made = []
    for place in range(number):
        bad = place % 2 == 0
        user = f"U{chance.randrange(10)} {'drive' if bad else 'page'}"
        answer = Answer("malicious", (1, 3), "a drive") if bad else Answer("normal", (), "nothing")
        made.append(Lesson(Prompt("S", user, REFS, 0), answer, f"u{place}", 0.5))
    return made


def run(out: Path, *, plan: TrainingPlan = PLAN, stop_at: int | None = None, check: int = 16) -> tuple[History, dict[str, torch.Tensor]]:
    out.mkdir(exist_ok=True)
    loaded = tiny("qwen2")
    model = adapted(loaded.model.float(), plan)
    taken: list[int] = []
    history = train(
        model,
        loaded.tokenizer,
        lessons(64, 1),
        lessons(check, 2),
        plan,
        out,
        tell=lambda step: taken.append(step.step),
        stop=lambda: stop_at is not None and len(taken) >= stop_at,
    )
    return history, {name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}


def test_the_loss_looks_at_the_answer_alone_each_part_by_its_weight() -> None:
    tokenizer = tiny("qwen2").tokenizer
    one = encoded(tokenizer, lessons(2, 1)[0], PLAN)
    assert len(one.weights) == len(one.answer)
    assert tokenizer.decode(one.answer[: one.label_at]) == BEGINNING
    assert all(weight == 0 for weight in one.weights[: one.label_at])
    assert sum(one.weights) == pytest.approx(PLAN.label_weight + PLAN.evidence_weight + PLAN.reason_weight)
    text = tokenizer.decode(one.answer[:-1])
    assert text == written(lessons(2, 1)[0].answer)
    assert one.answer[-1] == tokenizer.eos_token_id
    quiet = encoded(tokenizer, lessons(2, 1)[1], PLAN)
    assert sum(quiet.weights) < sum(one.weights)


def test_evidence_counts_where_the_answer_turns() -> None:
    tokenizer = tiny("qwen2").tokenizer
    refs = tuple(EventRef(Kind.FILE, f"f{place}") for place in range(8))
    prompt = Prompt("S", "Events:\nE1 E2 08:00 page\nE3 E4 E5 09:00 file copied\nE6 E7 10:00 page\nE8 11:00 logoff", refs, 0)
    one = encoded(tokenizer, Lesson(prompt, Answer("malicious", (2, 3, 4, 5), "copies"), "u", 0.5), PLAN)
    counted = {"": 0.0}
    for token, weight in zip(one.answer, one.weights, strict=True):
        said = tokenizer.decode([token])
        written_so_far = max(counted, key=len)
        counted[written_so_far + said] = weight
    of = {alias: next(weight for text, weight in counted.items() if text.endswith(alias)) for alias in ("E3", "E4", "E5", "E6")}
    assert of["E3"] == of["E6"] == pytest.approx(10 * of["E4"]) == pytest.approx(10 * of["E5"])
    end = next(weight for text, weight in counted.items() if "E6" in text and "]" in text)
    assert end == of["E3"]
    assert sum(one.weights) == pytest.approx(PLAN.label_weight + PLAN.evidence_weight + PLAN.reason_weight)


def test_it_learns_and_says_so_in_its_history(tmp_path: Path) -> None:
    history, _ = run(tmp_path)
    first, last = (np.mean([loss for _, loss in part]) for part in (history.training[:8], history.training[-8:]))
    assert last < 0.5 * first
    assert history.checked[-1][2] >= 0.9
    assert not (tmp_path / "progress.pt").exists()


def test_a_stopped_run_ends_where_an_unbroken_one_does(tmp_path: Path) -> None:
    whole, weights = run(tmp_path / "whole")
    _, half = run(tmp_path / "broken", stop_at=11)
    assert (tmp_path / "broken" / "progress.pt").exists()
    resumed, again = run(tmp_path / "broken")
    assert any(not torch.equal(half[name], weights[name]) for name in weights)
    assert all(torch.equal(again[name], weights[name]) for name in weights)
    assert resumed.training == [tuple(point) for point in whole.training] or [tuple(p) for p in resumed.training] == whole.training


def test_the_state_of_another_run_is_refused(tmp_path: Path) -> None:
    run(tmp_path, stop_at=3)
    other = TrainingPlan(rank=8, everywhere=True, epochs=6, learning_rate=1e-2, batch_lessons=8, seed=1)
    with pytest.raises(ConfigurationError, match="another plan"):
        run(tmp_path, plan=other)


def test_training_stops_when_other_users_gain_nothing_more(tmp_path: Path) -> None:
    hopeless = TrainingPlan(rank=8, everywhere=True, epochs=40, learning_rate=5.0, batch_lessons=8, checks=1, patience=2, seed=1)
    history, _ = run(tmp_path, plan=hopeless)
    assert history.stopped_early
    assert len(history.training) < 40 * 8


def test_too_few_lessons_are_refused(tmp_path: Path) -> None:
    loaded = tiny("qwen2")
    with pytest.raises(ConfigurationError, match="too few"):
        train(adapted(loaded.model, PLAN), loaded.tokenizer, lessons(3, 1), [], PLAN, tmp_path)


def test_only_the_upper_layers_are_adapted_when_asked() -> None:
    upper = adapted(tiny("qwen2").model, TrainingPlan(rank=4, upper=0.5))
    names = [name for name, parameter in upper.named_parameters() if parameter.requires_grad]
    assert names
    assert all(".layers.1." in name for name in names)
    assert {name.split(".")[-4] for name in names} == {"q_proj", "k_proj", "v_proj", "o_proj"}


@pytest.mark.parametrize("architecture", ["qwen2", "qwen3_5", "gemma2"])
def test_every_architecture_can_be_trained(architecture: str, tmp_path: Path) -> None:
    loaded = tiny(architecture)
    plan = TrainingPlan(rank=4, everywhere=True, epochs=0.25, learning_rate=1e-2, batch_lessons=8, checks=1)
    model = adapted(loaded.model, plan)
    history = train(model, loaded.tokenizer, lessons(32, 1), lessons(4, 2), plan, tmp_path)
    assert all(np.isfinite(loss) for _, loss in history.training)


def test_batches_hold_every_lesson_once_within_their_size() -> None:
    tokenizer = tiny("qwen2").tokenizer
    every: list[Any] = [encoded(tokenizer, one, PLAN) for one in lessons(20, 3)]
    parts = batches(every, 3 * max(one.length for one in every))
    assert sorted(id(one) for part in parts for one in part) == sorted(map(id, every))
    assert all(len(part) <= 3 or len(part) * max(one.length for one in part) <= 3 * max(one.length for one in every) for part in parts)
    assert [len(part) for part in batches(every, 1)] == [1] * 20
