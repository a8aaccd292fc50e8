"""What the last record of the windows topic says of how far windows are out."""

import pytest

from stream.errors import PoisonError
from stream.log import Newest
from stream.marks import encode_mark
from tests.windowing.logs import RULES, TOPICS
from tests.windowing.test_delivery import run_schedule
from windowing.partition import Closed
from windowing.told import Told


def test_each_record_in_turn_says_how_far_windows_are_out_up_to_it() -> None:
    log, _ = run_schedule(1000, 0)
    calendar = RULES.calendar
    for at, kept in log.logs.items():
        if at.topic == TOPICS.windows:
            told = [Told.of(Newest(each.key, each.value, each.headers())).closed(calendar) for each in kept]
            found = [each for each in told if each is not None]
            assert len(found) == len(kept) > 3
            assert found == sorted(set(found))
            assert found[-1].stage == 2
            users = {each.user.encode() for each in found if not each.stage}
            assert users == {each.key for each in kept if each.value is not None}


def test_a_mark_between_windows_of_this_hop_says_nothing() -> None:
    edge = RULES.calendar.edge(700)
    assert Told.of(Newest(None, None, encode_mark(edge))).closed(RULES.calendar) == Closed(700 - RULES.calendar.spec.span, 1)
    assert Told.of(Newest(None, None, encode_mark(edge + 1))).closed(RULES.calendar) is None


@pytest.mark.parametrize("value", [b"junk", b"{}"])
def test_what_no_worker_wrote_is_refused(value: bytes) -> None:
    with pytest.raises(PoisonError):
        Told.of(Newest(b"ana", value, None))
