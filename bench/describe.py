"""How much processor time describing and folding windows takes, and how large profiles and records are.

    python bench/describe.py [--users 2000] [--days 5] [--events 100] [--hop 24] [--at-once 250]

Makes people with habits (hosts, machines, correspondents) in memory, lets the profiles learn for some days, then measures
`describe`, `fold` and `dump` over the rest, all polars threads counted. With few users at once the time of a call shows what
a closing costs however small it is.
"""

import argparse
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import polars as pl

from stream.kinds import KINDS, Kind, frame_schema
from windowing.calendar import DAY_MS, Calendar, WindowSpec
from windowing.describe import DescribeSettings, describe
from windowing.profiles import Profiles

Answer = TypeVar("Answer")
_SHARES = {Kind.LOGON: 0.03, Kind.DEVICE: 0.025, Kind.FILE: 0.015, Kind.EMAIL: 0.08, Kind.HTTP: 0.85}
FIRST_DAY = 14613


def a_day(rng: np.random.Generator, users: int, events: int, day: int) -> dict[Kind, pl.DataFrame]:
    """One working day of everybody, about `events` each, in the order of time, with CERT's shares of kinds."""
    frames = {}
    hosts = np.array([f"site{n}.example.{end}" for n, end in zip(range(500), ["com", "org", "net"] * 167, strict=False)])
    for kind in KINDS:
        n = int(users * events * _SHARES[kind])
        user = rng.integers(0, users, n)
        ts = np.sort(day * DAY_MS + (rng.normal(13, 2.2, n).clip(0, 23.9) * 3_600_000).astype(np.int64) // 1000 * 1000)
        number = rng.integers(0, 10**12, n)
        columns: dict[str, object] = {
            "user": [f"ABC{u:05d}" for u in user],
            "ts": ts,
            "id": [f"{{X{a:04d}-{b:08d}-ABCD}}" for a, b in zip(number % 10_000, number // 10_000, strict=True)],
            "pc": [f"PC-{u:05d}" for u in user],
        }
        if kind in (Kind.LOGON, Kind.DEVICE):
            columns["activity"] = rng.choice(["Logon", "Logoff"] if kind is Kind.LOGON else ["Connect", "Disconnect"], n)
        elif kind is Kind.FILE:
            columns |= {"filename": [f"{k:08X}.doc" for k in number % 2**32], "content": ["some words of a document " * 4] * n}
        elif kind is Kind.EMAIL:
            friend = (user[:, None] + rng.integers(0, 24, (n, 2))) % users
            columns |= {"to": [f"name{a}.surname{a}@dtaa.com;name{b}@gmail.com" for a, b in friend], "cc": [""] * n, "bcc": [""] * n}
            columns |= {"from": [f"name{u}.surname{u}@dtaa.com" for u in user], "size": rng.integers(1000, 90_000, n)}
            columns |= {"attachments": rng.integers(0, 3, n), "content": ["some words of a mail, and more " * 6] * n}
        else:
            site = (user * 7 + (rng.exponential(12, n)).astype(np.int64)) % 500
            columns |= {
                "url": np.char.add(np.char.add("http://", hosts[site]), "/Some_Page/words/gernqzvyyyrnqrefuvc679300522.html").tolist()
            }
            columns |= {"content": ["some words of a page and " * 8] * n}
        frames[kind] = pl.DataFrame(columns, schema=frame_schema(kind))
    return frames


def cut(events: dict[Kind, pl.DataFrame], users: list[str], of: int) -> dict[Kind, pl.DataFrame]:
    """The events of these users; all of them as they are when these users are all."""
    return events if len(users) == of else {kind: frame.filter(pl.col("user").is_in(users)) for kind, frame in events.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--days", type=int, default=5, help="days measured")
    parser.add_argument("--learn", type=int, default=10, help="days learned before")
    parser.add_argument("--events", type=int, default=100, help="events of a user in a day")
    parser.add_argument("--hop", type=int, default=24, help="hours")
    parser.add_argument("--at-once", type=int, help="users described and folded in one call; all by default")
    given = parser.parse_args()
    calendar = Calendar(WindowSpec(hop_ms=given.hop * 3_600_000))
    profiles, rng = Profiles(calendar), np.random.default_rng(1)
    spent = dict.fromkeys(("describe", "fold", "dump"), 0.0)
    events = records = size = calls = 0
    held: dict[int, dict[Kind, pl.DataFrame]] = {}

    def timed(name: str, work: Callable[[], Answer]) -> Answer:
        begin = time.process_time()
        answer = work()
        spent[name] += time.process_time() - begin
        return answer

    for day in range(FIRST_DAY, FIRST_DAY + given.learn + given.days):
        if day == FIRST_DAY + given.learn:
            spent = dict.fromkeys(spent, 0.0)
            events = records = size = calls = 0
        whole = a_day(rng, given.users, given.events, day)
        events += sum(frame.height for frame in whole.values())
        a_day_panes = calendar.spec.panes_a_day
        for pane in range(day * a_day_panes, (day + 1) * a_day_panes):
            low, high = calendar.edge(pane), calendar.edge(pane + 1)
            held[pane] = whole if a_day_panes == 1 else {
                kind: frame.filter(pl.col("ts").is_between(low, high, closed="left")) for kind, frame in whole.items()
            }  # fmt: skip
            window = pane - calendar.spec.span + 1
            inside = [held[p] for p in range(window, pane + 1) if p in held]
            joined = {kind: pl.concat([part[kind] for part in inside]) for kind in KINDS}
            done = held.pop(window, None)
            for low_user in range(0, given.users, given.at_once or given.users):
                some = [f"ABC{user:05d}" for user in range(low_user, min(low_user + (given.at_once or given.users), given.users))]
                shown = cut(joined, some, given.users)
                frame = timed("describe", lambda w=window, s=shown: describe(s, w, calendar, profiles, None, DescribeSettings()))  # type: ignore[misc]
                records, size, calls = records + frame.height, size + int(frame["value"].str.len_bytes().sum() or 0), calls + 1
                if done:
                    # with panes as long as windows the same frames come again, as they do in the worker
                    folded = shown if calendar.spec.span == 1 else cut(done, some, given.users)
                    timed("fold", lambda w=window, f=folded: profiles.fold(f, w))  # type: ignore[misc]
                    timed("dump", lambda u=some: profiles.dump(u))  # type: ignore[misc]
    blobs = [len(blob) for _, blob in profiles.dump([f"ABC{u:05d}" for u in range(given.users)])]
    millions = events / 1e6
    print(f"{events} events, {records} windows, hop {given.hop} h; CPU seconds per million events:")
    print(
        "  "
        + ", ".join(f"{name} {seconds / millions:.2f}" for name, seconds in spent.items())
        + f", together {sum(spent.values()) / millions:.2f}; {1000 * sum(spent.values()) / max(calls, 1):.1f} ms a call"
    )
    print(f"  a record has {size / max(records, 1):.0f} bytes, a profile {np.mean(blobs):.0f} on average and {max(blobs)} at most")


if __name__ == "__main__":
    main()
