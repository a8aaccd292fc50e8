"""Small CERT directories for tests, made up on the spot."""

import random
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from stream.kinds import KINDS, Kind
from stream.times import format_iso

START_MS = 1262563200000  # 2010-01-04T00:00:00Z, a Monday

_TITLES = {
    Kind.LOGON: "id,date,user,pc,activity",
    Kind.DEVICE: "id,date,user,pc,activity",
    Kind.FILE: "id,date,user,pc,filename,content",
    Kind.EMAIL: "id,date,user,pc,to,cc,bcc,from,size,attachments,content",
    Kind.HTTP: "id,date,user,pc,url,content",
}
_REST = {
    Kind.LOGON: "Logon",
    Kind.DEVICE: "Connect",
    Kind.FILE: 'C:\\a\\b.zip,"words, ""quoted"""',
    Kind.EMAIL: 'x@a;y@b,"","",z@c,2000,1,"words"',
    Kind.HTTP: 'http://site.example/page,"some words"',
}


def write_directory(
    directory: Path, events: int, seed: int = 0, kinds: Sequence[Kind] = KINDS, span_hours: int = 30
) -> dict[Kind, list[str]]:
    """Write files of some kinds with events of ten users over some hours; the ids of each kind."""
    chance = random.Random(seed)
    times = sorted(START_MS + chance.randrange(span_hours * 3600) * 1000 for _ in range(events))
    lines: dict[Kind, list[str]] = {kind: [] for kind in kinds}
    ids: dict[Kind, list[str]] = {kind: [] for kind in KINDS}
    for number, written in enumerate(format_iso(pl.Series(times)).to_list()):
        kind = chance.choice(list(kinds))
        date = f"{written[5:7]}/{written[8:10]}/{written[:4]} {written[11:19]}"
        lines[kind].append(f"{{{number}}},{date},USR{chance.randrange(10):04},PC-{chance.randrange(4)},{_REST[kind]}")
        ids[kind].append(f"{{{number}}}")
    for kind, rows in lines.items():
        (directory / f"{kind}.csv").write_text("\n".join([_TITLES[kind], *rows]) + "\n", encoding="utf-8")
    return ids
