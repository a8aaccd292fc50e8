"""Labels on the events that windows show: what prompts and alerts carry besides. Knows a labeller, and no model."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from detector.backend import Backend
from detector.logline.labels import ERROR, MALICIOUS, SUSPICIOUS, LineLabel
from detector.logline.lines import event_line
from detector.verdict import EventRef, Verdict
from stream.kinds import Kind
from windowing.record import Window

TELLING: Final = frozenset({SUSPICIOUS, MALICIOUS, ERROR})
"""Labels that a prompt is told; the others say of nearly every event that there is nothing to say."""


class Labeller(Protocol):
    """Whatever labels lines, each by itself."""

    def labels(self, lines: Sequence[str]) -> list[LineLabel]:
        """One label for each line, in order."""
        ...


class EventLabels:
    """Labels the events of windows; events of many windows in one go, and those that say the same only once."""

    def __init__(self, labeller: Labeller) -> None:
        self._labeller = labeller

    def __call__(self, window: Window) -> Mapping[EventRef, LineLabel]:
        """The label of every event that the window shows."""
        return self.of([window])[0]

    def of(self, windows: Sequence[Window]) -> list[Mapping[EventRef, LineLabel]]:
        """The labels of each window's events, window by window."""
        lines = [[event_line(event) for event in window.events] for window in windows]
        distinct = list(dict.fromkeys(line for each in lines for line in each))
        known = dict(zip(distinct, self._labeller.labels(distinct), strict=True)) if distinct else {}
        return [
            {EventRef(Kind(event["kind"]), str(event["id"])): known[line] for event, line in zip(window.events, each, strict=True)}
            for window, each in zip(windows, lines, strict=True)
        ]

    def telling(self, window: Window) -> Mapping[EventRef, str]:
        """Labels for a prompt: those of events that are not merely in order, with their scores."""
        return {ref: f"{said.label} {said.score:.2f}" for ref, said in self(window).items() if said.label in TELLING}


class WithLines:
    """A backend whose alerts carry what the log-line classifier says of the events they cite; the verdict itself stays as it is."""

    def __init__(self, backend: Backend, labels: EventLabels, provenance: Mapping[str, str] | None = None) -> None:
        """`provenance` is the classifier's: verdicts name its digest, since prompts may have been told its labels."""
        self.backend, self._labels = backend, labels
        self.name = backend.name
        self._said = {"lines": (provenance or {}).get("model_sha256", "")}

    def judge(self, windows: Sequence[Window]) -> list[Verdict]:
        """As the backend judges; raises what it raises."""
        verdicts = [replace(verdict, provenance={**verdict.provenance, **self._said}) for verdict in self.backend.judge(windows)]
        alerting = [place for place, verdict in enumerate(verdicts) if verdict.alert]
        for place, labels in zip(alerting, self._labels.of([windows[place] for place in alerting]), strict=True):
            verdicts[place] = replace(verdicts[place], line_labels=labels)
        return verdicts
