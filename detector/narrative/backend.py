"""The narrative backend: a language model reads the windows that triage sends it, and cites the events its word rests on.

    windows -> triage (boosted trees) -> those above a threshold -> prompts -> label probabilities, all at once
            -> one score of both -> label, alert, floor -> evidence and reason for what is not normal -> checked verdicts

A verdict depends on its window, the models and the settings alone; not on the batch, and not on how many came before. Knows no
weights and no server: whoever answers prompts stands behind `NarrativeModel`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from detector.backend import Backend
from detector.narrative.answer import Answer, BadAnswer, written
from detector.narrative.calibrated import log_odds, model_logits, own_labels, sound
from detector.narrative.cascade import Cascade, Judged
from detector.narrative.prompt import LABELS, Composer, Prompt
from detector.narrative.seam import NarrativeModel
from detector.reasons import NOTHING_UNUSUAL
from detector.techniques import Shown, techniques_of, traits_of
from detector.trees import Calibration
from detector.verdict import EventRef, Label, Verdict, checked
from stream.errors import PoisonError
from windowing.record import Window

Lines: TypeAlias = Callable[[Window], Mapping[EventRef, str]]
"""A label for events of a window by the log-line classifier."""
Explain: TypeAlias = Literal["alerting", "all", "nothing"]


def no_lines(_window: Window) -> Mapping[EventRef, str]:
    """Without a log-line classifier no event has a label."""
    return {}


@dataclass(slots=True)
class Spent:
    """What the model has cost since the start; seconds are of the wall, and so the one thing here that differs between runs."""

    windows: int = 0
    reached: int = 0
    explained: int = 0
    alerts: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    seconds: float = 0.0

    @property
    def share(self) -> float:
        """Of the windows that the model has seen."""
        return self.reached / self.windows if self.windows else 0.0

    def text(self) -> str:
        """As a line of a summary.

        >>> Spent(windows=1000, reached=50, explained=8, alerts=4, prompt_tokens=30_000, answer_tokens=400, seconds=20).text()
        'the model has read 50 of 1,000 windows (5.0 %) and explained 8: 30,000 + 400 tokens, 20.0 s; an alert costs 7,600 tokens, 5.0 s'
        """
        tokens = self.prompt_tokens + self.answer_tokens
        each = f"; an alert costs {tokens / self.alerts:,.0f} tokens, {self.seconds / self.alerts:.1f} s" if self.alerts else ""
        return (
            f"the model has read {self.reached:,} of {self.windows:,} windows ({self.share:.1%}) and explained {self.explained:,}: "
            f"{self.prompt_tokens:,} + {self.answer_tokens:,} tokens, {self.seconds:.1f} s{each}"
        ).replace("%)", " %)")


class Alone:
    """How a model judges without triage: every window, the likeliest label, and an alert for whatever is not normal."""

    def __init__(self, calibration: Calibration, track: str, explain: Explain = "alerting", decision: float = 0.0) -> None:
        """Say how it judges.

        Args:
            calibration: of the model's log-odds.
            track: of the verdicts.
            explain: windows that get evidence and a reason: those that are not normal, all, or none, for labels alone.
            decision: log-odds of malicious from which on the model's own label is malicious.
        """
        self.calibration, self.track, self.explain, self.decision = calibration, track, explain, decision


@dataclass(frozen=True, slots=True)
class _Read:
    """A window that the model has labelled, and what that comes to."""

    prompt: Prompt
    own: Label
    own_score: float
    judged: Judged
    tokens: int


class NarrativeBackend:
    """Judges windows with triage and a language model, or with the model alone."""

    def __init__(
        self,
        model: NarrativeModel,
        composer: Composer,
        how: Cascade | Alone,
        triage: Backend | None = None,
        *,
        name: str = "narrative",
        lines: Lines = no_lines,
        provenance: Mapping[str, str] | None = None,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Put the parts together.

        Args:
            model: answers prompts.
            composer: makes them.
            how: a cascade behind `triage`, or the model alone.
            triage: judges first; needed for a cascade.
            name: what verdicts are signed with.
            lines: labels of a window's events, for the prompt.
            provenance: what verdicts name besides what model and triage say of themselves.
            timer: seconds, for what it cost.

        Raises:
            ValueError: a cascade without triage.
        """
        if isinstance(how, Cascade) and triage is None:
            raise ValueError("a cascade needs triage")
        self.name, self._model, self._composer, self._how, self._triage = name, model, composer, how, triage
        self._lines, self._timer = lines, timer
        self.spent = Spent()
        self._provenance = {
            "model": name,
            "model_sha256": model.provenance.get("adapter_sha256") or model.provenance.get("base_sha256", ""),
            **model.provenance,
            "prompt": composer.identity,
            "calibration": f"{how.calibration.slope:g} {how.calibration.shift:g}",
            **(provenance or {}),
        }

    def judge(self, windows: Sequence[Window]) -> list[Verdict]:
        """One verdict for each window, in order.

        Raises:
            PoisonError: one of them can never be judged, or the model's answer to it is none.
            TransientError: worth another try.
        """
        if not windows:
            return []
        found = self._cascade(windows, self._how) if isinstance(self._how, Cascade) else self._alone(windows, self._how)
        self.spent.windows += len(windows)
        self.spent.alerts += sum(verdict.alert for verdict in found)
        return [checked(verdict, window) for verdict, window in zip(found, windows, strict=True)]

    def shown(self, window: Window) -> tuple[EventRef, ...]:
        """The events of a window that the model gets to read."""
        return self._composer(window, self._lines(window)).aliases

    # behind triage ---------------------------------------------------------------------------------------------------

    def _cascade(self, windows: Sequence[Window], how: Cascade) -> list[Verdict]:
        triage = self._triage
        if triage is None:
            raise ValueError("a cascade needs triage")
        first = triage.judge(windows)
        try:
            return self._behind(windows, first, how)
        except PoisonError as error:
            # whoever makes the model stumble must not make an alert vanish that the numbers alone would have raised
            if len(windows) > 1 or not first[0].alert:
                raise
            return [self._unread(first[0], how, {"refused": error.code})]

    def _behind(self, windows: Sequence[Window], first: Sequence[Verdict], how: Cascade) -> list[Verdict]:
        asked = [place for place, verdict in enumerate(first) if how.reached(verdict)]
        reads = self._reads(
            [windows[place] for place in asked],
            lambda row, logit, own: how.judged(first[asked[row]], self._together(how, first[asked[row]], logit), own),
        )
        answers = self._explained([read if read.judged.label != "normal" else None for read in reads])
        found = [self._unread(verdict, how, {}) for verdict in first]
        for place, read, answer in zip(asked, reads, answers, strict=True):
            found[place] = self._verdict(windows[place], read, answer, first[place])
        return found

    @staticmethod
    def _together(how: Cascade, triage: Verdict, logit: float) -> float:
        first = log_odds(np.array([triage.triage_score]))
        return float(how.combination.probability(first, np.array([logit]))[0])

    def _unread(self, triage: Verdict, how: Cascade, more: Mapping[str, str]) -> Verdict:
        """A window that the model is not asked about, or has no answer to: triage's word, under our name."""
        return replace(triage, by=self.name, provenance={**self._named(triage, how), "judged_by": "triage", **more})

    # the model -------------------------------------------------------------------------------------------------------

    def _reads(self, windows: Sequence[Window], judged: Callable[[int, float, Label], Judged]) -> list[_Read]:
        """Label every window in one go, and decide what that comes to."""
        if not windows:
            return []
        prompts = [self._composer(window, self._lines(window)) for window in windows]
        began = self._timer()
        probabilities = sound(self._model.label(prompts), len(prompts))
        self.spent.seconds += self._timer() - began
        own = self._how.calibration.probability(model_logits(probabilities))
        labels = own_labels(probabilities, self._how.decision)
        logits = model_logits(probabilities).tolist()
        reads = []
        for row, (prompt, label, logit, score) in enumerate(zip(prompts, labels, logits, own.tolist(), strict=True)):
            tokens = self._model.count(prompt.system) + self._model.count(prompt.user)
            reads.append(_Read(prompt, label, score, judged(row, logit, label), tokens))
        self.spent.reached += len(reads)
        self.spent.prompt_tokens += sum(read.tokens for read in reads)
        return reads

    def _explained(self, reads: Sequence[_Read | None]) -> list[Answer | None]:
        """Evidence and reason for those that are given; a cited place is one of the prompt's, each once and in order."""
        wanted = [read for read in reads if read is not None]
        if not wanted:
            return [None] * len(reads)
        began = self._timer()
        answers = self._model.explain([read.prompt for read in wanted], [read.judged.label for read in wanted])
        self.spent.seconds += self._timer() - began
        self.spent.explained += len(wanted)
        for read, answer in zip(wanted, answers, strict=True):
            _check(answer, read)
        given = iter(answers)
        return [None if read is None else next(given) for read in reads]

    # alone -----------------------------------------------------------------------------------------------------------

    def _alone(self, windows: Sequence[Window], how: Alone) -> list[Verdict]:
        reads = self._reads(windows, lambda _row, logit, own: _as_it_says(how, logit, own))
        wanted = {"all": frozenset(LABELS), "nothing": frozenset[str]()}.get(how.explain, frozenset(LABELS) - {"normal"})
        answers = self._explained([read if read.judged.label in wanted else None for read in reads])
        return [self._verdict(window, read, answer, None) for window, read, answer in zip(windows, reads, answers, strict=True)]

    # verdicts --------------------------------------------------------------------------------------------------------

    def _verdict(self, window: Window, read: _Read, answer: Answer | None, triage: Verdict | None) -> Verdict:
        cited = tuple(read.prompt.aliases[place] for place in answer.evidence) if answer is not None else ()
        refs = {(ref.kind.value, ref.id) for ref in cited}
        shown = Shown.of([event for event in window.events if (event["kind"], event["id"]) in refs], window.features)
        return Verdict(
            window_id=window.id,
            user=window.user,
            start=window.start,
            end=window.end,
            label=read.judged.label,
            score=read.judged.score,
            triage_score=triage.triage_score if triage is not None else read.judged.score,
            cited=cited,
            reason=answer.reason if answer is not None else NOTHING_UNUSUAL,
            traits=traits_of(shown) if cited else (),
            techniques=techniques_of(shown) if cited else (),
            alert=read.judged.alert,
            learning=window.learning,
            track=triage.track if triage is not None else _track(self._how),
            by=self.name,
            provenance=self._said(window, read, triage),
            extras=self._cost(read, answer),
        )

    def _said(self, window: Window, read: _Read, triage: Verdict | None) -> dict[str, str]:
        more = {"judged_by": "model", "model_label": read.own, "model_score": f"{read.own_score:.6f}"}
        if read.judged.held:
            more["floor"] = read.judged.label
        named = self._named(triage, self._how) if triage is not None and isinstance(self._how, Cascade) else dict(self._provenance)
        return {**named, **more, "window_digest": window.digest}

    def _named(self, triage: Verdict, how: Cascade) -> dict[str, str]:
        said = triage.provenance
        kept = {name: said[name] for name in ("features", "budget", "window_digest") if name in said}
        return {
            **self._provenance,
            **kept,
            "triage": said.get("model", ""),
            "triage_sha256": said.get("model_sha256", ""),
            "triage_share": f"{how.share:g}",
            "triage_threshold": f"{how.reach:.6f}",
            "combination": f"{how.combination.triage:g} {how.combination.model:g} {how.combination.shift:g}",
            "alert_threshold": f"{min(how.alert, how.malicious):.6f}",
            "malicious_threshold": f"{how.malicious:.6f}",
        }

    def _cost(self, read: _Read, answer: Answer | None) -> dict[str, Any]:
        """What this window cost: tokens and the share, which are the same in every run; seconds are not, and stay out of records."""
        answered = self._model.count(written(answer)) if answer is not None else 0
        self.spent.answer_tokens += answered
        cost: dict[str, Any] = {"prompt_tokens": read.tokens, "answer_tokens": answered, "left_out": read.prompt.left_out}
        if isinstance(self._how, Cascade):
            cost["share"] = self._how.share
        return {"cost": cost}


def _as_it_says(how: Alone, logit: float, own: Label) -> Judged:
    score = float(how.calibration.probability(np.array([logit]))[0])
    return Judged(own, score, own != "normal", held=False)


def _track(how: Cascade | Alone) -> str:
    return how.track if isinstance(how, Alone) else "all"


def _check(answer: Answer, read: _Read) -> None:
    """A model is a witness.

    Raises:
        BadAnswer: the label is not the one that was given, or a place is none of the prompt's.
    """
    if answer.risk != read.judged.label:
        raise BadAnswer(f"asked why the window is {read.judged.label}, the model answered {answer.risk}")
    places = answer.evidence
    if any(not 0 <= place < len(read.prompt.aliases) for place in places) or list(places) != sorted(set(places)):
        raise BadAnswer(f"the answer cites places that are not among the prompt's {len(read.prompt.aliases)} events, or not in their order")
