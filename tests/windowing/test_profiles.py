"""Promises of `windowing.profiles`: what is remembered, what is forgotten, and that a profile is its stored blob."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.kinds import Kind, frame_schema
from windowing.calendar import DAY_MS, Calendar, WindowSpec
from windowing.profiles import (
    FADE_DAYS,
    KEEP_DAYS,
    MOST_ITEMS,
    Dimension,
    Measure,
    Profiles,
    UnreadableProfile,
    Usual,
    item_key,
)

DAY0 = 14613  # 2010-01-04, a Monday
HOUR_MS = 3_600_000


def pages(user: str, day: int, hosts: Sequence[str], hour: int = 10) -> pl.DataFrame:
    ts = day * DAY_MS + hour * HOUR_MS
    rows = [
        {"user": user, "ts": ts + n, "id": f"{user}-{day}-{hour}-{n}", "pc": "PC-1", "url": f"http://{host}/x", "content": ""}
        for n, host in enumerate(hosts)
    ]
    return pl.DataFrame(rows, schema=frame_schema(Kind.HTTP))


def daily() -> Profiles:
    return Profiles(Calendar(WindowSpec(hop_ms=DAY_MS)))


def seen_days(usual: Usual, dimension: Dimension, item: str) -> int:
    at = usual.find(np.array([item_key(dimension, item)], np.uint64))
    return int(usual.days_seen(at)[0])


def test_the_key_of_an_item_never_changes() -> None:
    # profiles are stored with these numbers: a change would make everything new to everybody
    assert item_key(Dimension.DOMAIN, "example.org") == 23_601_135_429
    assert item_key(Dimension.PC, "PC-1") >> 33 == Dimension.PC


def test_days_are_counted_once_however_many_panes_a_day_has() -> None:
    profiles = Profiles(Calendar(WindowSpec(hop_ms=6 * HOUR_MS)))
    for day in range(DAY0, DAY0 + 3):
        for place, hour in enumerate((1, 7, 13, 19)):
            profiles.fold({Kind.HTTP: pages("ana", day, ["a.org"], hour)}, 4 * day + place)
    usual = profiles.usual(["ana"])
    usual.finish_days(DAY0 + 3)
    assert seen_days(usual, Dimension.DOMAIN, "a.org") == 3
    assert usual.header["days"].tolist() == [3]
    assert usual.header["sum"][0, Measure.PAGES] == 12
    assert usual.header["squares"][0, Measure.PAGES] == 3 * 16
    assert usual.header["top"][0, Measure.PAGES] == 4


def test_a_running_day_is_not_part_of_what_is_usual() -> None:
    profiles = Profiles(Calendar(WindowSpec(hop_ms=6 * HOUR_MS)))
    profiles.fold({Kind.HTTP: pages("ana", DAY0, ["a.org"], 1)}, 4 * DAY0)
    usual = profiles.usual(["ana"])
    usual.finish_days(DAY0)
    assert usual.header["days"].tolist() == [0]
    usual.finish_days(DAY0 + 1)
    assert usual.header["days"].tolist() == [1]


def test_folding_by_pane_gives_the_sums_of_folding_by_day() -> None:
    quarters, whole = Profiles(Calendar(WindowSpec(hop_ms=6 * HOUR_MS))), daily()
    for day in range(DAY0, DAY0 + 9):
        parts = [pages("ana", day, ["a.org", "dropbox.com", f"{day}.org"][: 1 + (day + place) % 3], 6 * place + 2) for place in range(4)]
        for place, part in enumerate(parts):
            quarters.fold({Kind.HTTP: part}, 4 * day + place)
        whole.fold({Kind.HTTP: pl.concat(parts)}, day)
    one, other = quarters.usual(["ana"]), whole.usual(["ana"])
    for usual in (one, other):
        usual.finish_days(DAY0 + 9)
    for measure in (Measure.PAGES, Measure.CLOUD_PAGES):
        for name in ("sum", "squares", "top", "days_with", "first", "last", "recent"):
            assert one.header[name][0, measure] == other.header[name][0, measure], name
    assert one.words.tolist() == other.words.tolist()


def test_items_that_were_long_unseen_are_dropped() -> None:
    profiles = daily()
    profiles.fold({Kind.HTTP: pages("ana", DAY0, ["old.org", "kept.org"])}, DAY0)
    profiles.fold({Kind.HTTP: pages("ana", DAY0 + KEEP_DAYS, ["kept.org"])}, DAY0 + KEEP_DAYS)
    assert seen_days(profiles.usual(["ana"]), Dimension.DOMAIN, "old.org") == 1
    profiles.fold({Kind.HTTP: pages("ana", DAY0 + KEEP_DAYS + 1, ["kept.org"])}, DAY0 + KEEP_DAYS + 1)
    usual = profiles.usual(["ana"])
    assert seen_days(usual, Dimension.DOMAIN, "old.org") == 0
    assert seen_days(usual, Dimension.DOMAIN, "kept.org") == 3


def test_a_profile_is_bounded_and_keeps_what_was_seen_last() -> None:
    profiles = daily()
    for day in range(DAY0, DAY0 + 5):
        profiles.fold({Kind.HTTP: pages("ana", day, [f"{day}-{n}.org" for n in range(400)])}, day)
    [(_, blob)] = profiles.dump(["ana"])
    usual = profiles.usual(["ana"])
    assert len(usual.words) <= MOST_ITEMS
    assert len(blob) <= 8 * (MOST_ITEMS + 92)
    assert all(seen_days(usual, Dimension.DOMAIN, f"{DAY0 + 4}-{n}.org") for n in range(400))
    assert usual.hours()[0, 10] == 5


def test_old_habits_fade() -> None:
    profiles = daily()
    for day in range(DAY0, DAY0 + FADE_DAYS + 1):
        profiles.fold({Kind.HTTP: pages("ana", day, ["a.org", "b.org"])}, day)
    usual = profiles.usual(["ana"])
    assert usual.header["days"].tolist() == [FADE_DAYS // 2]
    assert usual.header["sum"][0, Measure.PAGES] == FADE_DAYS
    assert usual.header["all_days"].tolist() == [FADE_DAYS]
    assert seen_days(usual, Dimension.DOMAIN, "a.org") <= FADE_DAYS // 2 + 1


def test_users_do_not_mix() -> None:
    profiles = daily()
    profiles.fold({Kind.HTTP: pl.concat([pages("ana", DAY0, ["a.org"]), pages("bob", DAY0, ["b.org", "c.org"])])}, DAY0)
    alone = daily()
    alone.fold({Kind.HTTP: pages("bob", DAY0, ["b.org", "c.org"])}, DAY0)
    assert profiles.dump(["bob"]) == alone.dump(["bob"])
    assert seen_days(profiles.usual(["bob"]), Dimension.DOMAIN, "a.org") == 0


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), max_size=8), min_size=1, max_size=12), st.integers(1, 11))
def test_a_profile_in_memory_and_one_from_the_store_go_on_alike(days: list[list[int]], reload_at: int) -> None:
    kept, stored = daily(), daily()
    for number, hosts in enumerate(days):
        if number == reload_at:
            fresh = daily()
            fresh.load(stored.dump(["ana", "bob"]))
            stored = fresh
        events = {Kind.HTTP: pl.concat([pages(user, DAY0 + number, [f"{h}.org" for h in hosts]) for user in ("ana", "bob")])}
        for profiles in (kept, stored):
            profiles.fold(events, DAY0 + number)
    assert kept.dump(["ana", "bob"]) == stored.dump(["ana", "bob"])


def test_what_was_read_for_describing_is_not_mistaken_for_other_events() -> None:
    once, twice = daily(), daily()
    first, second = {Kind.HTTP: pages("ana", DAY0, ["a.org"])}, {Kind.HTTP: pages("ana", DAY0, ["b.org"])}
    once.fold(second, DAY0)
    twice.observe(first)
    twice.fold(second, DAY0)
    assert once.dump(["ana"]) == twice.dump(["ana"])


def test_a_forgotten_user_is_a_stranger() -> None:
    profiles = daily()
    profiles.fold({Kind.HTTP: pages("ana", DAY0, ["a.org"])}, DAY0)
    profiles.forget("ana")
    profiles.forget("nobody")
    assert profiles.dump(["ana"]) == []
    assert profiles.usual(["ana"]).header["version"].tolist() == [0]


@pytest.mark.parametrize("spoil", [lambda blob: b"", lambda blob: b"\x63" + blob[1:], lambda blob: blob[:-8]])
def test_a_blob_that_cannot_be_read_is_refused(spoil) -> None:  # type: ignore[no-untyped-def]
    profiles = daily()
    profiles.fold({Kind.HTTP: pages("ana", DAY0, ["a.org"])}, DAY0)
    [(user, blob)] = profiles.dump(["ana"])
    with pytest.raises(UnreadableProfile):
        daily().load([(user, spoil(blob))])


def test_a_typical_profile_takes_less_than_four_kilobytes() -> None:
    profiles = daily()
    for day in range(DAY0, DAY0 + 30):
        profiles.fold({Kind.HTTP: pages("ana", day, [f"{(day * 7 + n) % 250}.org" for n in range(80)])}, day)
    [(_, blob)] = profiles.dump(["ana"])
    assert len(blob) <= 4096
