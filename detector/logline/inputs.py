"""Log files as lines: plain text, JSON lines or rows of a CERT file, told apart by how they begin. Bytes in, lines out; knows no model."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Final

from detector.logline.lines import MOST_LINE, NoLine, event_line, json_line, member_line, record_line
from stream.kinds import COMMON, FIELDS, Kind

_READ: Final = 1 << 16
_LONGEST: Final = 1 << 20
_HEADS: Final = frozenset({"id", "date", "user", "pc"})
_OLD: Final = {"Insert": "Connect", "Remove": "Disconnect"}


class Format(StrEnum):
    """How a file is to be read."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"
    CERT = "cert"


@dataclass(frozen=True, slots=True)
class Found:
    """One line of input: its number from 1, what is classified (None: `error` says why not), and the event it is, if it is one."""

    number: int
    line: str | None
    error: str = ""
    kind: str = ""
    id: str = ""


def chunks(stream: BinaryIO, most: int) -> Iterator[list[bytes]]:
    """Lines as they come: up to `most` at a time, and never waiting for more while there are some.

    A line of more than 1 MiB is cut into pieces.
    """
    read = getattr(stream, "read1", stream.read)
    rest = b""
    while block := read(_READ):
        *lines, rest = (rest + block).split(b"\n")
        if len(rest) > _LONGEST:
            lines, rest = [*lines, rest], b""
        for place in range(0, len(lines), most):
            yield lines[place : place + most]
    if rest:
        yield [rest]


class Reader:
    """Reads the lines of one input; the format, if it is not given, is decided by its first line."""

    def __init__(self, chosen: Format = Format.AUTO, name: str = "") -> None:
        self._format, self._number = chosen, 0
        self._named = Path(name).name.split(".")[0]
        self._columns: Sequence[str] | None = None

    @property
    def format(self) -> Format:
        """The format, as far as it is known by now."""
        return self._format

    def take(self, lines: Iterable[bytes]) -> list[Found]:
        """What there is to be classified in these lines; empty ones and a header line are left out."""
        found = []
        for raw in lines:
            self._number += 1
            text = raw.decode("utf-8", "replace").strip("\r\n\ufeff ")
            if not text:
                continue
            if self._format is Format.AUTO:
                self._format = guessed(text)
            if (one := self._one(text)) is not None:
                found.append(one)
        return found

    def _one(self, text: str) -> Found | None:
        try:
            match self._format:
                case Format.CERT:
                    return self._row(text)
                case Format.JSON:
                    return self._object(text)
                case _:
                    return Found(self._number, record_line(text[:MOST_LINE].encode()) if not text.startswith("{") else json_line(text))
        except NoLine as error:
            return Found(self._number, None, str(error))

    def _object(self, text: str) -> Found:
        import orjson

        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError:
            return Found(self._number, None, "this is no JSON")
        if not isinstance(found, dict):
            return Found(self._number, None, "this is JSON, but no object")
        line = member_line(found)
        return Found(self._number, line, kind=str(found.get("kind") or ""), id=str(found.get("id") or ""))

    def _row(self, text: str) -> Found | None:
        cells = next(csv.reader([text]), [])
        if set(cells) >= _HEADS:
            self._columns = cells
            return None
        kind = self._kind(cells)
        if kind is None:
            return Found(self._number, None, "this is no row of a CERT file")
        names = self._columns or ("id", "date", "user", "pc", *FIELDS[kind])
        event: dict[str, object] = {**dict(zip(names, cells, strict=False)), "kind": kind.value}
        event["activity"] = _OLD.get(str(event.get("activity")), event.get("activity"))
        event["attachments"] = _attachments(event)
        return Found(self._number, event_line(event), kind=kind.value, id=str(event.get("id") or ""))

    def _kind(self, cells: Sequence[str]) -> Kind | None:
        """The kind of event a row is: by the file's columns, by its name, or by what it looks like."""
        names = self._columns or ()
        if len(cells) < len(COMMON):
            return None
        for kind, mark in ((Kind.EMAIL, "to"), (Kind.HTTP, "url"), (Kind.FILE, "filename")):
            if mark in names:
                return kind
        if self._named in set(Kind):
            return Kind(self._named)
        last = cells[4] if len(cells) > 4 else ""
        if last in ("Logon", "Logoff", "Connect", "Disconnect", "Insert", "Remove"):
            return Kind.LOGON if last.startswith("Log") else Kind.DEVICE
        if last.startswith(("http://", "https://")):
            return Kind.HTTP
        return Kind.EMAIL if "@" in last else Kind.FILE if len(cells) == 6 else None


def guessed(line: str) -> Format:
    """The format of an input by its first line.

    >>> guessed("id,date,user,pc,activity").value, guessed('{"message": "up"}').value, guessed("<13>Jan  4 sshd: up").value
    ('cert', 'json', 'text')
    """
    if line.startswith("{") and line.endswith("}") and '"' in line:
        return Format.JSON
    cells = next(csv.reader([line]), [])
    if set(cells) >= _HEADS or (len(cells) >= 5 and cells[0].startswith("{") and cells[0].endswith("}")):
        return Format.CERT
    return Format.TEXT


def _attachments(event: Mapping[str, object]) -> int:
    """How many there are: a number in r4, a list of names in r5 and r6."""
    text = str(event.get("attachments") or "")
    return int(text) if text.isdecimal() else len([name for name in text.split(";") if name])
