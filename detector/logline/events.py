"""Labels on the events that windows show: what prompts and alerts carry besides. Knows a labeller, and no model."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from detector.logline.labels import LineLabel
from detector.logline.lines import event_line
from detector.verdict import EventRef
from stream.kinds import Kind
from windowing.record import Window


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
