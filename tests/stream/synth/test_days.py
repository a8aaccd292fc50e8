"""Days follow each other in time order, and wall times that do not exist are not used."""

from datetime import date
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from stream.kinds import KINDS
from stream.synth.days import chunks, plan, skipped_stretch
from stream.synth.text import DAY_S


@pytest.mark.parametrize(
    ("zone", "day", "stretch"),
    [
        ("Europe/Berlin", date(2010, 3, 28), (2 * 3600, 3600)),
        ("America/New_York", date(2010, 3, 14), (2 * 3600, 3600)),
        ("Australia/Lord_Howe", date(2010, 10, 3), (2 * 3600, 1800)),
        ("America/Sao_Paulo", date(2010, 10, 17), (0, 3600)),
        ("Europe/Berlin", date(2010, 10, 31), None),
        ("Asia/Kolkata", date(2010, 3, 28), None),
        ("UTC", date(2010, 3, 28), None),
    ],
)
def test_the_stretch_that_a_change_of_the_clocks_leaves_out(zone: str, day: date, stretch: tuple[int, int] | None) -> None:
    assert skipped_stretch(day, ZoneInfo(zone)) == stretch


def test_chunks_are_whole_days_in_time_order() -> None:
    world = plan(40, 24, 3, 4, "UTC", date(2010, 1, 4))
    for day, events in chunks(world):
        for kind in KINDS:
            t = events[kind]["t"]
            assert (np.diff(t) >= 0).all()
            if day < 24:
                assert ((t >= day * DAY_S) & (t < (day + 1) * DAY_S)).all()
            else:
                assert (t >= day * DAY_S).all()


def test_an_insider_is_an_insider_only_after_the_learning_days() -> None:
    world = plan(40, 40, 3, 8, "UTC", date(2010, 1, 4))
    for day, events in chunks(world):
        if day < 15:
            assert all((events[kind]["insider"] < 0).all() for kind in KINDS)
