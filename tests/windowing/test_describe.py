"""Promises of `windowing.describe`: what a record says, and that it depends on the user's events and profile alone."""

import random
from collections.abc import Mapping

import jsonschema
import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.kinds import FIELDS, KINDS, Kind, frame_schema
from windowing.calendar import DAY_MS, Calendar, WindowSpec
from windowing.describe import DescribeSettings, _encoded_columns, _encoded_rows, describe
from windowing.profiles import Profiles
from windowing.record import is_intact, json_schema, parse_window

DAY0 = 14613  # 2010-01-04, a Monday
HOUR_MS = 3_600_000
Events = Mapping[Kind, pl.DataFrame]


def daily() -> Calendar:
    return Calendar(WindowSpec(hop_ms=DAY_MS))


def organisation(seed: int, users: int, day: int, events_each: int = 40) -> dict[Kind, pl.DataFrame]:
    """A day of some people who do all five kinds of things, with quotation marks and foreign letters in their texts."""
    chance = random.Random(f"{seed}/{day}")
    rows: dict[Kind, list[dict[str, object]]] = {kind: [] for kind in KINDS}
    hosts = ["example.org", "www.dropbox.com", "monster.com", "wikileaks.org", "news.example.com", "ünï.example", "refog.com"]
    for number in range(users):
        user = f"USR{number:04d}"
        for _ in range(chance.randrange(1, events_each)):
            kind = chance.choice(KINDS)
            ts = day * DAY_MS + chance.randrange(0, 86_400) * 1000 + chance.choice([0, 0, 0, 123])
            row: dict[str, object] = {
                "user": user,
                "ts": ts,
                "id": f"{{{kind}-{number}-{len(rows[kind])}-{day}}}",
                "pc": f"PC-{chance.choice([number, number, 7])}",
            }
            if kind in (Kind.LOGON, Kind.DEVICE):
                row["activity"] = chance.choice(["Logon", "Logoff"] if kind is Kind.LOGON else ["Connect", "Disconnect"])
            elif kind is Kind.FILE:
                row |= {
                    "filename": chance.choice(["a.doc", 'b "x".zip', "c.exe", "noending"]),
                    "content": chance.choice(["", 'he said ","content":null', None]),
                }
            elif kind is Kind.EMAIL:
                to = ";".join(chance.sample(["ana.usr@dtaa.com", "x@gmail.com", "boss@dtaa.com", "j@boeing.com"], chance.randrange(1, 4)))
                row |= {"to": to, "cc": chance.choice(["", None, "c@dtaa.com"]), "bcc": None, "from": f"name{number}@dtaa.com"}
                row |= {"size": chance.randrange(1, 90_000), "attachments": chance.randrange(0, 4), "content": "words\nand\tmore \\ "}
            else:
                row |= {"url": f"http://{chance.choice(hosts)}/page{chance.randrange(9)}", "content": ""}
            rows[kind].append(row)
    return {kind: pl.DataFrame(found, schema=frame_schema(kind)) for kind, found in rows.items() if found}


def learned(calendar: Calendar, days: int, users: int = 6, seed: int = 1) -> Profiles:
    profiles = Profiles(calendar)
    for day in range(DAY0, DAY0 + days):
        profiles.fold(organisation(seed, users, day), day)
    return profiles


def texts(events: Events, profiles: Profiles, day: int, calendar: Calendar | None = None) -> dict[str, str]:
    frame = describe(events, day, calendar or daily(), profiles, None, DescribeSettings())
    return dict(zip(frame["user"], frame["value"], strict=True))


def of_users(events: Events, users: list[str]) -> dict[Kind, pl.DataFrame]:
    return {kind: frame.filter(pl.col("user").is_in(users)) for kind, frame in events.items()}


def test_a_record_follows_its_schema_and_its_digest_fits() -> None:
    profiles = learned(daily(), 20)
    for value in texts(organisation(1, 6, DAY0 + 20), profiles, DAY0 + 20).values():
        jsonschema.validate(orjson.loads(value), json_schema())
        assert is_intact(value.encode())
        assert not is_intact(value.replace('"learning":false', '"learning":true').encode())


def test_counts_are_the_events_shown_and_those_omitted() -> None:
    events = organisation(2, 4, DAY0, events_each=200)
    for value in texts(events, Profiles(daily()), DAY0).values():
        window = parse_window(value.encode())
        shown = {kind: sum(event["kind"] == kind for event in window.events) for kind in KINDS}
        assert window.counts == {kind: shown[kind] + window.omitted[kind] for kind in KINDS}
        assert sum(shown.values()) == min(40, sum(window.counts.values()))
        mine = {kind: frame.filter(user=window.user).height for kind, frame in events.items()}
        assert window.counts == {kind: mine.get(kind, 0) for kind in KINDS}
        assert sum(window.omitted_domains.values()) == window.omitted[Kind.HTTP]


def test_events_are_shown_as_they_came_without_empty_fields() -> None:
    events = organisation(3, 5, DAY0, events_each=15)
    windows = [parse_window(value.encode()) for value in texts(events, Profiles(daily()), DAY0).values()]
    shown = {(event["kind"], event["id"]): event for window in windows for event in window.events}
    assert sum(frame.height for frame in events.values()) == len(shown)
    for kind, frame in events.items():
        for row in frame.iter_rows(named=True):
            expected = {name: row[name] for name in frame.columns if name not in ("user", "ts") and row[name] not in (None, "")}
            event = dict(shown[kind, row["id"]])
            assert event.pop("kind") == kind
            moment = pl.Series([event.pop("ts")]).str.to_datetime(time_zone="UTC").dt.timestamp("ms")[0]
            assert moment == row["ts"]
            assert event == expected


def test_events_stand_in_the_order_of_time() -> None:
    for value in texts(organisation(3, 5, DAY0, events_each=90), Profiles(daily()), DAY0).values():
        window = parse_window(value.encode())
        keys = [(event["ts"].replace(".", "+00:00."), KINDS.index(Kind(event["kind"])), event["id"]) for event in window.events]
        assert [key[0][:19] for key in keys] == sorted(key[0][:19] for key in keys)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), shuffle=st.integers(0, 10_000), alone=st.sampled_from([f"USR{n:04d}" for n in range(6)]))
def test_a_record_depends_neither_on_the_order_of_rows_nor_on_who_else_is_described(seed: int, shuffle: int, alone: str) -> None:
    calendar, day = daily(), DAY0 + 9
    profiles = learned(calendar, 9, seed=seed)
    events = organisation(seed, 6, day)
    whole = texts(events, profiles, day)
    mixed = {kind: frame.sample(fraction=1.0, shuffle=True, seed=shuffle) for kind, frame in reversed(events.items())}
    assert texts(mixed, profiles, day) == whole
    # a profile learned in other company is the same too
    lonely = Profiles(calendar)
    for past in range(DAY0, day):
        lonely.fold(of_users(organisation(seed, 6, past), [alone]), past)
    assert texts(of_users(events, [alone]), lonely, day) == {user: value for user, value in whole.items() if user == alone}


def test_a_profile_that_was_stored_and_loaded_gives_the_same_bytes() -> None:
    calendar, users = Calendar(WindowSpec(hop_ms=6 * HOUR_MS)), [f"USR{n:04d}" for n in range(6)]
    kept, stored = Profiles(calendar), Profiles(calendar)
    for day in range(DAY0, DAY0 + 6):
        for pane in range(4 * day, 4 * day + 4):
            low, high = calendar.edge(pane), calendar.edge(pane + 1)
            events = {
                kind: frame.filter(pl.col("ts").is_between(low, high, closed="left")) for kind, frame in organisation(5, 6, day).items()
            }
            reloaded = Profiles(calendar)
            reloaded.load(stored.dump(users))
            assert texts(events, kept, pane, calendar) == texts(events, reloaded, pane, calendar)
            kept.fold(events, pane)
            reloaded.fold(events, pane)
            stored = reloaded
    assert kept.dump(users) == stored.dump(users)


def test_the_most_telling_events_survive_the_cap() -> None:
    calendar, day = daily(), DAY0 + 20
    profiles = Profiles(calendar)
    page = {"user": "ana", "pc": "PC-1", "url": "http://example.org/", "content": ""}
    quiet = {
        Kind.HTTP: pl.DataFrame(
            [page | {"ts": day * DAY_MS + 36_000_000 + 1000 * n, "id": f"h{n}"} for n in range(500)], schema=frame_schema(Kind.HTTP)
        )
    }
    copied = {Kind.FILE: pl.DataFrame(
        [{"user": "ana", "ts": day * DAY_MS + 80_000_000, "id": "theft", "pc": "PC-1", "filename": "plans.zip", "content": ""}],
        schema=frame_schema(Kind.FILE),
    )}  # fmt: skip
    window = parse_window(texts(quiet | copied, profiles, day)["ana"].encode())
    assert "theft" in [event["id"] for event in window.events]
    assert window.omitted[Kind.HTTP] == 461
    assert window.omitted_domains == {"example.org": 461}


def test_who_was_seen_for_less_than_the_learning_days_is_marked() -> None:
    calendar = daily()
    events = organisation(1, 6, DAY0 + 13)
    assert all(parse_window(v.encode()).learning for v in texts(events, learned(calendar, 13), DAY0 + 13).values())
    events = organisation(1, 6, DAY0 + 14)
    assert not any(parse_window(v.encode()).learning for v in texts(events, learned(calendar, 14), DAY0 + 14).values())


def test_what_the_profile_did_not_know_is_named() -> None:
    calendar, day = daily(), DAY0 + 20
    profiles = learned(calendar, 20)
    strange = pl.DataFrame(
        [
            {
                "user": "USR0001",
                "ts": day * DAY_MS + 40_000_000,
                "id": "h",
                "pc": "PC-99",
                "url": "http://never.example.net/x",
                "content": None,
            }
        ],
        schema=frame_schema(Kind.HTTP),
    )
    window = parse_window(texts({Kind.HTTP: strange}, profiles, day)["USR0001"].encode())
    assert window.new == {"pc": ("PC-99",), "domain": ("never.example.net",)}


def test_no_events_give_no_records() -> None:
    assert describe({}, DAY0, daily(), Profiles(daily()), None, DescribeSettings()).height == 0


def test_times_carry_the_offset_of_the_organisations_zone() -> None:
    calendar = Calendar(WindowSpec(hop_ms=DAY_MS), "Asia/Kolkata")
    start = calendar.edge(DAY0)
    frame = pl.DataFrame([{"user": "ana", "ts": start, "id": "a", "pc": "PC-1", "activity": "Logon"}], schema=frame_schema(Kind.LOGON))
    window = parse_window(texts({Kind.LOGON: frame}, Profiles(calendar), DAY0, calendar)["ana"].encode())
    assert (window.start, window.end) == ("2010-01-04T00:00:00+05:30", "2010-01-05T00:00:00+05:30")
    assert window.events[0]["ts"] == "2010-01-04T00:00:00+05:30"


@pytest.mark.parametrize("name", ["cap", "learning_days"])
def test_a_negative_setting_is_refused(name: str) -> None:
    with pytest.raises(Exception, match="must not be negative"):
        DescribeSettings(**{name: -1})


def test_hostile_texts_do_not_make_a_record_that_brokers_refuse() -> None:
    noise, common = "\x01" * 200_000, {"pc": "PC-1", "ts": DAY0 * DAY_MS}
    mails = [common | {"user": "ana", "id": f"m{n}", "to": noise, "cc": noise, "from": noise, "content": noise} for n in range(60)]
    pages = [common | {"user": user, "id": user, "url": "http://a.org/" + "y" * 3000} for user in ("ana", "bob")]
    blank = {kind: dict.fromkeys(frame_schema(kind)) for kind in KINDS}
    events = {
        kind: pl.DataFrame([blank[kind] | row for row in rows], schema=frame_schema(kind))
        for kind, rows in ((Kind.EMAIL, mails), (Kind.HTTP, pages))
    }
    found = texts(events, Profiles(daily()), DAY0)
    assert len(found["ana"].encode()) < 1_000_000
    assert is_intact(found["ana"].encode())
    ana, bob = (parse_window(found[user].encode()) for user in ("ana", "bob"))
    assert {len(str(event["content"])) for event in ana.events if event["kind"] == Kind.EMAIL} == {101}
    # who is described beside somebody hostile is cut no shorter
    assert [len(str(event["url"])) for event in bob.events] == [2001]


ANY_TEXT = st.none() | st.just("") | st.text(max_size=8) | st.sampled_from(['","content":null', '\x00\x1f\x7f\u2028\\"', "ünï" * 4])


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(KINDS), data=st.data(), cap=st.integers(0, 9))
def test_events_are_encoded_alike_row_by_row_and_all_at_once(kind: Kind, data: st.DataObject, cap: int) -> None:
    any_value = {
        name: ANY_TEXT if dtype == pl.String() else st.none() | st.integers(-(2**63), 2**63 - 1) for name, dtype in FIELDS[kind].items()
    }
    rows = data.draw(st.lists(st.fixed_dictionaries({"id": st.text(max_size=5), "pc": ANY_TEXT, **any_value}), min_size=1, max_size=8))
    frame = pl.DataFrame([{"user": "ana", "ts": 0, **row} for row in rows], schema=frame_schema(kind))
    moments = pl.Series([f"2010-01-04T08:00:0{n}+00:00" for n in range(len(rows))])
    found = _encoded_rows(kind, frame, moments, cap)
    assert found == _encoded_columns(kind, frame, moments, cap)
    for row, text in zip(rows, found, strict=True):
        event = orjson.loads(text)
        assert (event["id"], event["pc"]) == (row["id"], row["pc"] or "")
        assert set(event) - {"kind", "id", "ts", "pc"} == {name for name in FIELDS[kind] if row[name] not in (None, "")}


@pytest.mark.parametrize("between", ["nothing", "another's profile comes", "one is forgotten"])
def test_folding_what_was_just_described_is_folding(between: str) -> None:
    calendar, day = daily(), DAY0 + 9
    events, users = organisation(4, 6, day), [f"USR{n:04d}" for n in range(6)]
    described, plain = learned(calendar, 9, seed=4), learned(calendar, 9, seed=4)
    texts(events, described, day)
    for profiles in (described, plain):
        if between == "one is forgotten":
            profiles.forget("USR0002")
        elif between == "another's profile comes":
            profiles.load(learned(calendar, 3, seed=5).dump(["USR0003"]))
        profiles.fold(events, day)
    assert described.dump(users) == plain.dump(users)
    later = organisation(4, 6, day + 1)
    assert texts(later, described, day + 1) == texts(later, plain, day + 1)
