"""Windows made by hand for tests of the detector."""

from collections.abc import Sequence
from typing import Any

from stream.kinds import KINDS
from windowing.features import NAMES
from windowing.record import Window

START, END = "2010-07-05T00:00:00+00:00", "2010-07-06T00:00:00+00:00"


def event(kind: str, number: int, at: str = "10:00:00", pc: str = "PC-1", **fields: Any) -> dict[str, Any]:
    return {"kind": kind, "id": f"{{{kind}-{number}}}", "ts": f"2010-07-05T{at}+00:00", "pc": pc, **fields}


def window(
    events: Sequence[dict[str, Any]] = (), user: str = "ANA0001", learning: bool = False, role: str = "", **features: float
) -> Window:
    counts = {kind: sum(one["kind"] == kind.value for one in events) for kind in KINDS}
    return Window(
        id=f"w-{user}",
        user=user,
        start=START,
        end=END,
        learning=learning,
        counts=counts,
        features=dict.fromkeys(NAMES, 0.0) | features,
        events=tuple(events),
        omitted=dict.fromkeys(KINDS, 0),
        omitted_domains={},
        new={},
        context={"role": role} if role else {},
        digest=f"digest-{user}",
    )


A_THEFT = (
    event("logon", 1, "02:00:00", activity="Logon"),
    event("device", 1, "02:10:00", activity="Connect"),
    event("file", 1, "02:11:00", filename="R:/a/plans.pdf"),
    event("http", 1, "02:12:00", url="http://wikileaks.org/upload/x"),
    event("device", 2, "02:20:00", activity="Disconnect"),
    event("http", 2, "11:00:00", url="http://news.example.org/y"),
)
