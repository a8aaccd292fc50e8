"""From the settled events of one window number to window records, a whole chunk of users at a time.

A record depends on the user's events and profile, the directory and the settings; not on the order of rows, on who else is in
the call, or on threads. Knows no clock, no store and no broker.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import polars as pl

from stream.errors import ConfigurationError
from stream.kinds import FIELDS, KINDS, Kind, Millis
from stream.zones import utc_to_wall
from windowing.calendar import DAY_MS, Calendar
from windowing.directory import Directory, Snapshot
from windowing.facts import Facts, People, facts_of
from windowing.features import NAMES, features_of
from windowing.observe import Observed, Pairs
from windowing.profiles import Flags, Ints, Profiles
from windowing.record import SCHEMA, content_digest, window_id
from windowing.salience import most_telling, points, settle_ties, sorted_places

MOST_EVENT_BYTES: Final = 600_000
"""Bytes of a window's events; where they are more, because of hostile texts, these are cut to `_SHORT` characters.

Brokers accept records of a megabyte by default, and one that is refused would hold up all windows behind it.
"""
_SHORT: Final = 100
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FEW_ROWS: Final = 250
"""So few events are encoded row by row."""
_AT_ONCE: Final = 64
"""So many records are held as Python's bytes before polars takes them over: few enough to stay in the processor's cache."""
DESCRIBED_SCHEMA: Final[dict[str, pl.DataType]] = {"user": pl.String(), "id": pl.String(), "value": pl.String(), "n_events": pl.Int64()}


@dataclass(frozen=True, slots=True)
class DescribeSettings:
    """How much a window record shows.

    Raises:
        ConfigurationError: a value is out of range.
    """

    cap: int = 40
    learning_days: int = 14
    new_values: int = 8
    omitted_domains: int = 10
    text_cap: int = 2000
    """Characters of a text field of an event; what is longer is cut, and ends with an ellipsis."""

    def __post_init__(self) -> None:
        for name in ("cap", "learning_days", "new_values", "omitted_domains", "text_cap"):
            if getattr(self, name) < 0:
                raise ConfigurationError(f"{name} must not be negative")


def describe(
    events: Mapping[Kind, pl.DataFrame],
    window: int,
    calendar: Calendar,
    profiles: Profiles,
    directory: Directory | None,
    settings: DescribeSettings,
) -> pl.DataFrame:
    """Window records of everybody with an event, one row a user, sorted by user: `DESCRIBED_SCHEMA`.

    Args:
        events: settled events (no duplicates) inside the window; rows in any order, kinds may be missing or empty.
        window: the window's number.
        calendar: says where the window begins and ends.
        profiles: hold exactly the panes before the window, as far as these users are concerned.
        directory: who worked where; the snapshot valid at the window's start counts.
        settings: how much a record shows.
    """
    observed = profiles.observe(events)
    if not observed.users:
        return pl.DataFrame(schema=DESCRIBED_SCHEMA)
    start_ms, end_ms = calendar.window_start(window), calendar.window_end(window)
    people = _people(directory.at(start_ms) if directory else None, observed.users)
    facts = facts_of(observed, profiles.usual(observed.users), window, calendar, people)
    shown = most_telling(facts, points(facts), settings.cap, start_ms)
    start, end = _iso(start_ms, calendar.zone), _iso(end_ms, calendar.zone)
    header = facts.usual.header
    learning = (header["version"] == 0) | (facts.day - header["first_day"].astype(np.int64) < settings.learning_days)
    parts = zip(
        observed.users,
        learning.tolist(),
        _counts(observed, np.ones(observed.n, np.bool_)),
        _feature_texts(facts),
        _event_texts(observed, shown, start_ms, calendar.zone, settings.text_cap),
        _counts(observed, _left_out(observed, shown)),
        _omitted_domains(observed, shown, settings.omitted_domains),
        _news(facts, settings.new_values),
        _contexts(people, observed.users),
        strict=True,
    )
    ids, values, made = [], [], []
    span = f'"start":"{start}","end":"{end}"'
    for user, young, counts, features, told, omitted, domains, new, context in parts:
        identity = window_id(user, start, end)
        head = (
            f'{{"schema":"{SCHEMA}","id":"{identity}","user":{_quoted(user)},{span},"learning":{"true" if young else "false"},'
            f'"counts":{counts},"features":'
        )
        tail = f'],"omitted":{omitted},"omitted_domains":{domains},"new":{new}{context}'
        body = (head.encode(), features, b',"events":[', told, tail.encode())
        ids.append(identity)
        values.append(b"".join((*body, b',"digest":"', content_digest(*body).encode(), b'"}')))
        if len(values) == _AT_ONCE:
            made.append(pl.Series(values, dtype=pl.Binary))
            values.clear()
    made.append(pl.Series(values, dtype=pl.Binary))
    profiles.remember(facts.day, facts.usual, facts.amounts)
    described = {"user": observed.users, "id": ids, "value": pl.concat(made).cast(pl.String)}
    return pl.DataFrame(described | {"n_events": observed.count(observed.user)}, schema=DESCRIBED_SCHEMA)


def _people(snapshot: Snapshot | None, users: list[str]) -> People | None:
    return snapshot.rows(users) if snapshot else None


def _contexts(people: People | None, users: list[str]) -> list[str]:
    if people is None:
        return [""] * len(users)
    rows = zip(people.known.tolist(), people.role, people.team, people.department, strict=True)
    return [
        f',"context":{{"role":{_quoted(role)},"team":{_quoted(team)},"department":{_quoted(department)}}}' if known else ""
        for known, role, team, department in rows
    ]


# counts and features -----------------------------------------------------------------------------------------------------


def _left_out(observed: Observed, shown: Ints) -> Flags:
    left = np.ones(observed.n, np.bool_)
    left[shown] = False
    return left


_COUNTS: Final = "{" + ",".join(f'"{kind}":%d' for kind in KINDS) + "}"


def _counts(observed: Observed, rows: Flags) -> list[str]:
    """Events by kind among these rows, as JSON, one a user."""
    columns = [observed.count(observed.of(kind), rows[observed.part[kind]]).tolist() for kind in KINDS]
    return [_COUNTS % row for row in zip(*columns, strict=True)]


_NAMED: Final = [piece for n, name in enumerate(NAMES) for piece in (f'{"," if n else "{"}"{name}":'.encode(), b"")] + [b"}"]
"""The text of all features, with room for a number behind each name."""


def _feature_texts(facts: Facts) -> Iterator[bytes]:
    """The features of each user as JSON."""
    # all numbers are written at once; giving each its name is joining then, not making a mapping for each user
    numbers = orjson.dumps(features_of(facts), option=orjson.OPT_SERIALIZE_NUMPY).removeprefix(b"[[").removesuffix(b"]]")
    pieces = _NAMED.copy()
    for row in numbers.split(b"],["):
        pieces[1::2] = row.split(b",")
        yield b"".join(pieces)


# events ------------------------------------------------------------------------------------------------------------------


def _event_texts(observed: Observed, shown: Ints, start_ms: Millis, zone: str, text_cap: int) -> Iterator[bytes]:
    """The shown events of each user as JSON, oldest first (ties by kind and id), joined by commas.

    One user at a time as they are asked for: so many large texts at once would have to be written to memory and read back.
    """
    texts, order = _told(observed, shown, start_ms, zone, text_cap)
    begins = np.searchsorted(observed.user[np.sort(shown)[order]], np.arange(len(observed.users) + 1)).tolist()
    for user, (begin, end) in enumerate(pairwise(begins)):
        joined = b",".join([texts[place] for place in order[begin:end].tolist()])
        if len(joined) > MOST_EVENT_BYTES and text_cap > _SHORT:
            texts_cut, order_cut = _told(observed, shown[observed.user[shown] == user], start_ms, zone, _SHORT)
            joined = b",".join([texts_cut[place] for place in order_cut.tolist()])
        yield joined


def _told(observed: Observed, shown: Ints, start_ms: Millis, zone: str, text_cap: int) -> tuple[list[bytes], Ints]:
    """The shown events as JSON, in the order of their rows; and their places in the order of user, time, kind and id."""
    if not len(shown):
        return [], shown
    rows = np.sort(shown)
    moments = times(observed.ts[rows], zone)
    texts: list[bytes] = []
    for kind in KINDS:
        part = observed.part[kind]
        mine = rows[slice(*np.searchsorted(rows, (part.start, part.stop)))] - part.start
        if len(mine):
            told = pl.DataFrame([observed.frames[kind][name] for name in _TOLD[kind]])
            texts += _encoded(kind, told[mine], moments[len(texts) : len(texts) + len(mine)], text_cap)
    return texts, _in_time(observed, rows, start_ms)


def _in_time(observed: Observed, rows: Ints, start_ms: Millis) -> Ints:
    """Places of these rows (ascending) in the order of user, time, kind and id."""
    since = observed.ts[rows] - start_ms
    order, coarse = sorted_places((observed.user[rows] << max(int(since.max()).bit_length(), 1)) | since)
    settled = settle_ties(observed, coarse, observed.kind, rows[order])
    return np.searchsorted(rows, settled)


def _encoded(kind: Kind, frame: pl.DataFrame, moments: pl.Series, text_cap: int) -> list[bytes]:
    """Rows of an event frame as JSON objects; fields that are null or empty are left out, long ones are cut."""
    work = _encoded_rows if frame.height < _FEW_ROWS else _encoded_columns
    return work(kind, frame, moments, text_cap)


def _encoded_rows(kind: Kind, frame: pl.DataFrame, moments: pl.Series, text_cap: int) -> list[bytes]:
    """Row by row: what a query costs before its first row is more than a few rows cost."""
    texts = []
    for moment, name, pc, *values in zip(moments.to_list(), *(frame[name].to_list() for name in _TOLD[kind]), strict=True):
        event = {"kind": kind.value, "id": name, "ts": moment, "pc": pc or ""}
        for field, value in zip(FIELDS[kind], values, strict=True):
            if value is not None and value != "":
                event[field] = value if isinstance(value, int) or len(value) <= text_cap else value[:text_cap] + "…"
        texts.append(orjson.dumps(event))
    return texts


def _encoded_columns(kind: Kind, frame: pl.DataFrame, moments: pl.Series, text_cap: int) -> list[bytes]:
    """All rows at once."""
    sizes = frame.select(pl.col(_TEXTS[kind]).str.len_bytes())
    columns: list[pl.Expr | pl.Series] = [pl.lit(kind.value).alias("kind"), pl.col("id"), moments.alias("ts"), pl.col("pc").fill_null("")]
    gaps = []
    for name in FIELDS[kind]:
        value, nulls = pl.col(name), frame[name].null_count()
        if nulls == frame.height:
            continue
        if name in _TEXTS[kind]:
            size = sizes[name]
            if size.max() == 0:
                continue
            if size.max() > text_cap:  # type: ignore[operator]
                # most long texts are so in bytes only; a text of text_cap characters stays as it is
                value = pl.when(value.str.len_chars() > text_cap).then(value.str.head(text_cap) + "…").otherwise(value)
            if size.min() == 0:
                value, nulls = pl.when(size > 0).then(value), 1
        if nulls:
            gaps.append(name)
        columns.append(value.alias(name))
    text = pl.struct(columns).struct.json_encode()
    for name in gaps:
        # a text in the JSON has its own quotation marks escaped, so this pattern matches whole members only
        text = text.str.replace(f',"{name}":null', "", literal=True)
    found: list[bytes] = frame.select(text.cast(pl.Binary).alias("text")).to_series().to_list()
    return found


_TOLD: Final = {kind: ("id", "pc", *FIELDS[kind]) for kind in KINDS}
"""What is told of an event besides its time."""
_TEXTS: Final = {kind: [name for name, dtype in FIELDS[kind].items() if dtype == pl.String()] for kind in KINDS}


def times(ts: Ints, zone: str) -> pl.Series:
    """Instants (UTC ms) as ISO 8601 with the zone's offset; milliseconds only where there are some."""
    wall = utc_to_wall(ts, zone)
    minute_offset = (wall - ts) // 60_000
    day, of_day = np.divmod(wall, DAY_MS)
    second, milli = np.divmod(of_day, 1000)
    dates, date_at = np.unique(day, return_inverse=True)
    offsets, offset_at = np.unique(minute_offset, return_inverse=True)
    date = pl.Series([(_EPOCH + timedelta(days=int(d))).strftime("%Y-%m-%dT") for d in dates], dtype=pl.String)
    tail = pl.Series([f"{'-' if o < 0 else '+'}{abs(o) // 60:02d}:{abs(o) % 60:02d}" for o in offsets.tolist()], dtype=pl.String)
    parts = [date[date_at], _seconds()[second]]
    if milli.any():
        parts.append(_millis()[milli])
    parts.append(tail[offset_at])
    return pl.select(pl.concat_str(parts)).to_series() if len(ts) else pl.Series([], dtype=pl.String)


@lru_cache(maxsize=1)
def _seconds() -> pl.Series:
    return pl.Series([f"{h:02d}:{m:02d}:{s:02d}" for h in range(24) for m in range(60) for s in range(60)])


@lru_cache(maxsize=1)
def _millis() -> pl.Series:
    return pl.Series(["", *(f".{ms:03d}" for ms in range(1, 1000))])


def _iso(ts: Millis, zone: str) -> str:
    return datetime.fromtimestamp(ts / 1000, UTC).astimezone(ZoneInfo(zone)).isoformat(timespec="milliseconds" if ts % 1000 else "seconds")


# what is not shown, and what is new --------------------------------------------------------------------------------------


def _omitted_domains(observed: Observed, shown: Ints, cap: int) -> list[str]:
    """The hosts with most omitted pages of each user, as JSON."""
    part, pairs = observed.part[Kind.HTTP], observed.hosts
    visible = shown[(shown >= part.start) & (shown < part.stop)] - part.start
    left = pairs.often - np.bincount(pairs.of_row[visible], minlength=len(pairs.often))
    chosen = _top(pairs.owner, pairs.code, left, cap)
    members = [
        f"{name}:{often}" for name, often in zip(_names(pairs.code[chosen], observed.host.values), left[chosen].tolist(), strict=True)
    ]
    begins = np.searchsorted(pairs.owner[chosen], np.arange(len(observed.users) + 1)).tolist()
    return ["{" + ",".join(members[begin:end]) + "}" for begin, end in pairwise(begins)]


def _top(owner: Ints, code: Ints, often: Ints, cap: int) -> Ints:
    """Places of each owner's `cap` pairs that occur most (ties: the smaller code), none that does not occur; by owner, most first."""
    some = np.flatnonzero(often > 0)
    if not len(some):
        return some
    order = some[np.lexsort((code[some], -often[some], owner[some]))]
    rank = np.arange(len(order)) - np.searchsorted(owner[order], owner[order])
    return order[rank < cap]


def _names(codes: Ints, values: list[str]) -> list[str]:
    return [_quoted(values[code]) for code in codes.tolist()]


def _news(facts: Facts, cap: int) -> list[str]:
    """What the profile did not know, by dimension, as JSON; those with most events first, dimensions without any left out."""
    seen = facts.observed
    found: list[tuple[str, Pairs, list[str], Flags]] = [
        ("pc", seen.pcs, seen.pc.values, facts.pcs_new),
        ("drive_pc", seen.drive_pcs, seen.pc.values, facts.drive_pcs_new),
        ("file_type", seen.endings, seen.ending.values, facts.endings_new),
        ("sender", seen.senders, seen.mails.sender.values, facts.senders_new),
        ("recipient", seen.recipients, seen.mails.address.values, facts.recipients_new),
        ("mail_domain", seen.mail_hosts, seen.mails.host.values, facts.mail_hosts_new),
        ("domain", seen.hosts, seen.host.values, facts.hosts_new),
    ]
    texts: list[list[str]] = [[] for _ in seen.users]
    for dimension, pairs, values, new in found:
        # the empty text comes first among distinct values; it is no name of anything
        named = pairs.code > 0 if values and not values[0] else True
        chosen = _top(pairs.owner, pairs.code, pairs.often * (new & named), cap)
        if not len(chosen):
            continue
        owner, names = pairs.owner[chosen], _names(pairs.code[chosen], values)
        begins = np.flatnonzero(np.diff(owner, prepend=-1)).tolist()
        for begin, end in pairwise([*begins, len(owner)]):
            texts[owner[begin]].append(f'"{dimension}":[{",".join(names[begin:end])}]')
    return ["{" + ",".join(parts) + "}" for parts in texts]


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()
