"""A user's day with an attack in it: the same acts at the same times, with other texts, and with more events around them.

An attacker owns the words of a page's address behind the host (and hosts of their own), names of files, tags in mail addresses, and
what stands in files and mails; they can also do more than they need to. What they do not own are kinds, times, machines, hosts and
endings of what they really did: without the deed there is nothing to hide. Pure; knows no window and no model.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import polars as pl

from detector.redteam.payloads import FLOODS, payload
from detector.training import Key
from detector.verdict import Label
from stream.kinds import Kind, frame_schema

Row: TypeAlias = dict[str, Any]
Day: TypeAlias = Mapping[Kind, pl.DataFrame]
"""The events of one user's day, by kind."""

_MOST_DRESSED: Final = 20
_HOSTS: Final = ("example.com", "dropbox.com", "blogspot.com", "linkedin.com")
_ENDINGS: Final = ("doc", "pdf", "txt", "zip")
_MOST_HOST: Final = 240


@dataclass(frozen=True, slots=True)
class Attack:
    """A day as the attacker left it, and the words that betray their texts."""

    day: Day
    canaries: tuple[str, ...]


def attacked(day: Day, key: Key, family: str, goal: Label, chance: random.Random) -> Attack:
    """Attack a day.

    Args:
        day: the events of one user's window, of all kinds that there are.
        key: kinds and ids of what the attacker did; the others' texts are changed as well, as far as they are theirs.
        family: of `payloads.FAMILIES`.
        goal: the label that the texts ask for. To frame somebody (`malicious`) texts are changed, and nothing is added.
        chance: what is drawn comes from here.
    """
    rows = {kind: frame.to_dicts() for kind, frame in day.items()}
    work = _Work(rows, key, family, goal, chance)
    if family not in FLOODS or family == "flood_text":
        work.dress()
    if goal != "malicious":
        work.surround()
    return Attack({kind: pl.DataFrame(of, frame_schema(kind)) for kind, of in work.rows.items() if of}, tuple(work.canaries))


class _Work:
    """One day being changed."""

    def __init__(self, rows: dict[Kind, list[Row]], key: Key, family: str, goal: Label, chance: random.Random) -> None:
        self.rows, self.key, self.family, self.goal, self.chance = rows, key, family, goal, chance
        self.canaries: list[str] = []
        self.deeds = [row for kind, of in rows.items() for row in of if (kind.value, row["id"]) in key]
        self.added = 0

    def text(self) -> str:
        made = payload(self.family, self.goal, self.chance)
        self.canaries.append(made.canary)
        return made.text

    def dress(self) -> None:
        """Put texts into what was done, and into some of what else there is."""
        telling = [(kind, row) for kind, of in self.rows.items() if kind in _DRESSES for row in of]
        done = [(kind, row) for kind, row in telling if (kind.value, row["id"]) in self.key]
        others = [(kind, row) for kind, row in telling if (kind.value, row["id"]) not in self.key]
        for kind, row in done + self.chance.sample(others, min(len(others), _MOST_DRESSED)):
            _DRESSES[kind](row, self.text(), self.chance)

    def surround(self) -> None:
        """Add events around the deeds: a few that carry texts, or a flood."""
        match self.family:
            case "flood_events":
                for _ in range(self.chance.randrange(150, 400)):
                    self.add(Kind.HTTP, url=f"http://{self._usual_host()}/{self._words()}", content=self._words())
            case "flood_crowd":
                # events that look telling and are not, so that the cap on what a window shows has to choose
                for _ in range(self.chance.randrange(60, 160)):
                    self._telling()
            case _:
                for _ in range(self.chance.randrange(3, 7)):
                    self._decoy(self.text())

    def add(self, kind: Kind, **fields: Any) -> None:
        """Add an event a little before or after one of the deeds, at the same machine."""
        near = self.chance.choice(self.deeds)
        row = dict.fromkeys(frame_schema(kind))
        ts = self._inside(near["ts"] + self.chance.randrange(-600, 600) * 1000, near["ts"])
        self.added += 1
        row |= {"user": near["user"], "pc": near["pc"], "id": f"{{DECOY-{self.added:06d}}}", "ts": ts} | fields
        self.rows.setdefault(kind, []).append(row)

    def _inside(self, ts: int, otherwise: int) -> int:
        """An added event must not leave the window: it lies between the day's own first and last."""
        times = [row["ts"] for of in self.rows.values() for row in of]
        return ts if min(times) <= ts <= max(times) else otherwise

    def _decoy(self, text: str) -> None:
        way = self.chance.randrange(3)
        if way == 0:
            host = "".join(" " if c in "/?#@:\\" else c for c in text)[:_MOST_HOST].strip() or "x"
            self.add(Kind.HTTP, url=f"http://{host}.{self.chance.choice(_HOSTS)}/{text}", content=text)
        elif way == 1:
            self.add(Kind.FILE, filename=f"{_stem(text)}.{self.chance.choice(_ENDINGS)}", content=text)
        else:
            self.add(Kind.EMAIL, **self._mail(text))

    def _mail(self, text: str) -> Row:
        mails = self.rows.get(Kind.EMAIL) or []
        sender = mails[0]["from"] if mails else "someone@example.com"
        to = f"{_local(text)}@{sender.rpartition('@')[2]}"
        return {"to": to, "from": sender, "size": 20_000, "attachments": self.chance.randrange(2), "content": text}

    def _telling(self) -> None:
        way = self.chance.randrange(3)
        if way == 0:
            self.add(Kind.HTTP, url=f"http://{self.chance.choice(_HOSTS[1:])}/{self._words()}", content=self._words())
        elif way == 1:
            self.add(Kind.FILE, filename=f"{self._words()}.{self.chance.choice(_ENDINGS)}", content=self._words())
        else:
            self.add(Kind.EMAIL, **self._mail(self._words()))

    def _usual_host(self) -> str:
        pages = self.rows.get(Kind.HTTP) or []
        own = [row for row in pages if (Kind.HTTP.value, row["id"]) not in self.key]
        if not own:
            return "example.com"
        return str(self.chance.choice(own)["url"]).partition("://")[2].partition("/")[0] or "example.com"

    def _words(self) -> str:
        return "-".join(self.chance.choice(("agenda", "minutes", "news", "weather", "plan", "team", "lunch")) for _ in range(3))


def _dress_page(row: Row, text: str, chance: random.Random) -> None:
    url = str(row["url"] or "")
    row["url"] = f"{url}{chance.choice(('/', '?q=', '#', '/?next='))}{text}"
    row["content"] = f"{text} {row['content'] or ''}"


def _dress_file(row: Row, text: str, chance: random.Random) -> None:
    name = str(row["filename"] or "")
    folder, slash, base = name.replace("\\", "/").rpartition("/")
    stem, dot, ending = base.rpartition(".")
    row["filename"] = f"{folder}{slash}{_stem(text) if chance.random() < 0.7 else f'{stem} {_stem(text)}'}{dot}{ending}"
    row["content"] = f"{text} {row['content'] or ''}"


def _dress_mail(row: Row, text: str, chance: random.Random) -> None:
    """Tags (`ana+tag@example.org`) reach the same box."""
    field = chance.choice([name for name in ("to", "cc", "bcc") if row[name]] or ["to"])
    told = str(row[field] or "").split(";")
    local, at, host = told[0].rpartition("@")
    told[0] = f"{_local(text)}+{local}{at}{host}" if chance.random() < 0.5 else f"{local}+{_local(text)}{at}{host}"
    row[field] = ";".join(told)
    row["content"] = f"{text} {row['content'] or ''}"


_DRESSES: Final = {Kind.HTTP: _dress_page, Kind.FILE: _dress_file, Kind.EMAIL: _dress_mail}


def _stem(text: str) -> str:
    """As much of a text as the name of a file can hold: no separators, no dot that would end it."""
    return text.replace("/", " ").replace("\\", " ").replace(".", " ")


def _local(text: str) -> str:
    """As much of a text as an address can hold in front of its at sign, in quotes if need be."""
    return text.replace("@", " ").replace(";", ",")
