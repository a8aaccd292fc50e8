"""From directories to an adapter on disk: lessons, training, calibration, notes and a model card. Uses torch and peft.

<out>/adapter_model.safetensors, adapter_config.json   as peft and every engine reads them
<out>/daywatch.json                                    base, prompt, calibration, thresholds (`detector.narrative.notes`)
<out>/evidence_head.safetensors                        chooses what is cited (`detector.narrative.evidence_head`)
<out>/README.md, history.json                          the card, and the loss curve
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from detector.baseline import Baseline
from detector.models.loading import Loaded, load_causal
from detector.narrative.engine import Engine
from detector.narrative.evidence_fitting import Seen, fitted_head
from detector.narrative.evidence_head import FILE as HEAD
from detector.narrative.evidence_head import EvidenceHead, write_head
from detector.narrative.fitting import Fitted, fitted
from detector.narrative.lessons import Curriculum, Lesson, Selection, curriculum_of
from detector.narrative.notes import Notes, write_notes
from detector.narrative.prompt import BUDGET, Composer
from detector.narrative.training import History, Progress, TrainingPlan, adapted, train
from stream.cert import ReadCount
from stream.errors import ConfigurationError
from windowing.describe import DescribeSettings

WEIGHTS: Final = "adapter_model.safetensors"
_HISTORY: Final = "history.json"


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides what adapter comes out, besides the directories.

    Args:
        base: hub id, directory or `package:` name; `revision`, `precision` and `device` as everywhere.
        track: `shortcut-free` prompts show no counts of pages, mails and logons; its adapters serve both tracks.
        prompt_tokens: most tokens of a prompt.
        selection, plan: what is learned from, and how.
        zone, describe: of the windows.
    """

    base: str
    revision: str | None = None
    precision: str = "auto"
    device: str = "auto"
    track: str = "shortcut-free"
    prompt_tokens: int = BUDGET
    selection: Selection = field(default_factory=Selection)
    plan: TrainingPlan = field(default_factory=TrainingPlan)
    zone: str = "UTC"
    describe: DescribeSettings = field(default_factory=DescribeSettings)


@dataclass(frozen=True, slots=True)
class Tellers:
    """Whom to tell how far it is: reading a directory, training, and what is being done."""

    reading: Callable[[Path, ReadCount], None] = lambda _directory, _count: None
    training: Callable[[Progress], None] = lambda _: None
    doing: Callable[[str], None] = lambda _: None
    stop: Callable[[], bool] = lambda: False


def make_adapter(
    directories: Sequence[Path], recipe: Recipe, out: Path, tell: Tellers | None = None, made: Mapping[str, Any] | None = None
) -> Notes | None:
    """Train an adapter on CERT directories with answers, and write it to `out` with notes and card; goes on where a killed run was.

    Returns the notes, or None when `tell.stop` ended it early.

    Raises:
        ConfigurationError: the base or a directory cannot be used, or there is nothing to learn from.
    """
    tell = tell or Tellers()
    _claim(out)
    tell.doing("loading the base")
    loaded = load_causal(recipe.base, precision=recipe.precision, device=recipe.device, revision=recipe.revision)
    composer = Composer(recipe.track, recipe.prompt_tokens, _counter(loaded))
    tell.doing("reading")
    lessons = curriculum_of(
        directories,
        composer,
        Baseline.load(track=recipe.track),
        recipe.selection,
        zone=recipe.zone,
        describe=recipe.describe,
        progress=tell.reading,
    )
    tell.doing("training")
    if loaded.device == "cpu":
        # for prompts as short as ours, plain attention's backward pass is the faster one on a CPU
        loaded.model.set_attn_implementation("eager")
    model = adapted(loaded.model, recipe.plan)
    history = train(model, loaded.tokenizer, lessons.learn, lessons.check, recipe.plan, out, tell=tell.training, stop=tell.stop)
    if tell.stop():
        return None
    save(model, recipe.base, out)
    (out / _HISTORY).write_bytes(orjson.dumps(asdict(history), option=orjson.OPT_INDENT_2))
    tell.doing("calibrating")
    return finish(lessons, recipe, out, history, {**(made or {}), "directories": len(directories)})


def save(model: Any, base: str, out: Path) -> None:
    """Write an adapter's weights in bfloat16: half the size, and no engine reads more than that."""
    import torch

    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.bfloat16)
    for config in model.peft_config.values():
        # peft would write where the base lies on this machine
        config.base_model_name_or_path = base
        config.inference_mode = True
    model.save_pretrained(str(out))
    (out / "README.md").unlink(missing_ok=True)


def finish(lessons: Curriculum, recipe: Recipe, out: Path, history: History, made: Mapping[str, Any]) -> Notes:
    """Calibrate an adapter that lies in `out`, loaded as anybody would load it, and write evidence head, notes and card beside it."""
    loaded = load_causal(recipe.base, str(out), precision=recipe.precision, device=recipe.device, revision=recipe.revision)
    engine = Engine(loaded)
    found = fitted(engine, lessons.calibrate, lessons.reach["0.05"])
    composer = Composer(recipe.track, recipe.prompt_tokens, _counter(loaded))
    head = _head_of(engine, lessons, composer.identity, loaded.adapter_sha256 or "")
    if head is not None:
        write_head(out, head[0])
    notes = Notes(
        base=recipe.base,
        base_sha256=loaded.base_sha256,
        track=recipe.track,
        prompt=composer.identity,
        budget=recipe.prompt_tokens,
        calibration=found.calibration,
        decision=found.decision,
        combination=found.combination,
        thresholds=found.thresholds,
        triage=lessons.reach,
        made={
            **made,
            "precision": loaded.precision,
            "lessons": {"learned": len(lessons.learn), "checked": len(lessons.check), "windows_held_out": lessons.windows},
            "plan": asdict(recipe.plan),
            "selection": asdict(recipe.selection),
            "calibration": dict(found.figures),
            "evidence_head": head[1] if head is not None else {},
            "steps": len(history.training),
        },
    )
    write_notes(out, notes)
    (out / "README.md").write_text(card(notes, found, history), encoding="utf-8")
    return notes


def _head_of(engine: Engine, lessons: Curriculum, prompt: str, adapter: str) -> tuple[EvidenceHead, dict[str, float]] | None:
    """An evidence head from the malicious windows; None where the held-out users have none to choose it by."""
    learn, check = ([one for one in part if one.answer.evidence] for part in (lessons.learn, lessons.check))
    if not learn or not check:
        return None
    learned, checked = (_seen(engine, part) for part in (learn, check))
    return fitted_head(learned, checked, prompt, adapter)


def _seen(engine: Engine, lessons: Sequence[Lesson]) -> list[Seen]:
    states = engine.line_states([one.prompt for one in lessons])
    return [Seen(one.prompt, found, one.answer.evidence, one.user) for one, found in zip(lessons, states, strict=True)]


def card(notes: Notes, found: Fitted, history: History) -> str:
    """The model card."""
    lessons, plan = notes.made["lessons"], notes.made["plan"]
    last = history.checked[-1] if history.checked else None
    checked = f"label accuracy {last[2]:.3f} at the last check" if last else "not checked"
    rows = "\n".join(f"| {name} | {value:g} |" for name, value in sorted(found.figures.items()))
    return f"""---
base_model: {notes.base}
library_name: peft
tags: [insider-threat, daywatch, lora]
---

# A user's day in, risk with cited events and a reason out

A LoRA adapter for Daywatch's narrative backend. It reads a prompt of version `{notes.prompt}` (track {notes.track}, at most
{notes.budget} tokens) and answers in JSON: risk, evidence (aliases of the events shown), reason.

- Base: `{notes.base}`, weights SHA-256 `{notes.base_sha256}`. Another base is refused.
- Rank {plan["rank"]}, alpha {2 * plan["rank"]}, {"all linear layers" if plan["everywhere"] else "q, k, v and o"}, in the upper
  {plan["upper"]:.0%} of the layers; learning rate {plan["learning_rate"]:g}, {notes.made["steps"]} steps of
  {plan["batch_lessons"]} lessons, seed {plan["seed"]}.
- Learned from {lessons["learned"]:,} windows; {lessons["checked"]:,} of other users were checked on ({checked}).
{_of_head(notes.made["evidence_head"])}- Made from: {notes.made.get("data", "directories of its user")}.

## Calibration

On {lessons["windows_held_out"]:,} windows of users that it has not learned from, weighted to natural rates:

| | |
|---|---|
{rows}

The answer's label is the model's own, malicious from log-odds of {notes.decision:g} on. Scores in verdicts are calibrated, and joined with
triage's by a logistic regression.

## Limits

It has learned labels from an answer key of insiders' scenarios. It is no judge of people: what it calls malicious resembles
those scenarios, and an analyst looks at the cited events before anybody else does.
"""


def _of_head(figures: Mapping[str, float]) -> str:
    if not figures:
        return ""
    return (
        f"- `{HEAD}` chooses what is cited from the model's states: F1 {figures['f1']:.3f} over the citations of the "
        f"{figures['checked']:g} malicious\n  windows that were checked on. Without it, the model writes its citations itself.\n"
    )


def _claim(out: Path) -> None:
    if (out / WEIGHTS).exists():
        raise ConfigurationError(f"--out: {out} holds an adapter already; name a new directory")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"--out: cannot make {out} ({error.strerror})") from error


def _counter(loaded: Loaded) -> Callable[[str], int]:
    return lambda text: len(loaded.tokenizer(text, add_special_tokens=False)["input_ids"])
