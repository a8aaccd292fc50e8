import io
import json

import pytest

from detector.logline.inputs import Format, Reader, chunks, guessed

R42 = "id,date,user,pc,to,cc,bcc,from,size,attachments,content"
ROW = '{R3I7-S4TX96FG-8219JWFF},01/02/2010 07:11:45,LAP0338,PC-5758,Dean@dtaa.com,,,Lynn@dtaa.com,25830,2,"middle f2, systems"'


@pytest.mark.parametrize(
    ("line", "format_"),
    [
        ('{"message": "x"}', Format.JSON),
        ("id,date,user,pc,activity", Format.CERT),
        ("{X1D9-S0ES98JV-5357PWMI},01/02/2010 06:49:00,NGF0157,PC-6056,Logon", Format.CERT),
        ("Jan  4 08:12:33 web01 sshd[2211]: Failed password, again, and, again", Format.TEXT),
        ("{started}", Format.TEXT),
    ],
)
def test_the_format_is_told_by_the_first_line(line: str, format_: Format) -> None:
    assert guessed(line) is format_


def test_rows_of_a_cert_file_are_read_by_their_columns_and_keep_their_ids() -> None:
    reader = Reader()
    [found] = reader.take([R42.encode(), ROW.encode()])
    assert reader.format is Format.CERT
    assert (found.number, found.kind, found.id) == (2, "email", "{R3I7-S4TX96FG-8219JWFF}")
    assert found.line == "email to=Dean@dtaa.com from=Lynn@dtaa.com attachments=2 content=middle f2, systems"


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ("{A},01/02/2010 06:49:00,U,PC-1,Logoff", "logon"),
        ("{A},01/02/2010 06:49:00,U,PC-1,Insert", "device"),
        ("{A},01/02/2010 06:49:00,U,PC-1,EYPC9Y08.doc,D0-CF words", "file"),
        ("{A},01/02/2010 06:49:00,U,PC-1,http://a.com/b.html,words", "http"),
        (ROW, "email"),
    ],
)
def test_rows_without_a_header_are_told_by_what_they_hold(row: str, kind: str) -> None:
    [found] = Reader().take([row.encode()])
    assert found.kind == kind


def test_a_file_named_like_a_kind_is_of_that_kind() -> None:
    [found] = Reader(Format.CERT, "device.csv").take([b"{A},01/02/2010 06:49:00,U,PC-1,Whatever"])
    assert found.kind == "device"


def test_empty_lines_are_left_out_and_unusable_ones_say_why() -> None:
    found = Reader(Format.JSON).take([b"", b'{"message": "up"}', b"no json", b"[1]", b'{"a": 1}'])
    assert [(one.number, one.line) for one in found] == [(2, "up"), (3, None), (4, None), (5, None)]
    assert all(one.error for one in found[1:])


def test_text_of_any_encoding_is_read() -> None:
    [found] = Reader(Format.TEXT).take(["Fehler: Gerät voll".encode("latin-1")])
    assert found.line is not None
    assert found.line.startswith("Fehler")


def test_json_lines_may_be_events_of_ours() -> None:
    event = {
        "id": "{e1}",
        "kind": "http",
        "ts": "2010-01-04T08:12:33Z",
        "user": "ana",
        "pc": "PC-1",
        "url": "http://a.com/b",
        "content": "c",
    }
    [found] = Reader().take([json.dumps(event).encode()])
    assert (found.kind, found.id, found.line) == ("http", "{e1}", "http url=http://a.com/b content=c")


class Dripping(io.BytesIO):
    """Gives three bytes at a time, as a slow pipe does."""

    def read1(self, size: int = -1) -> bytes:
        return super().read(3)


@pytest.mark.parametrize("stream", [io.BytesIO(b"one\ntwo\n\nfour"), Dripping(b"one\ntwo\n\nfour")])
def test_lines_come_whole_however_they_drip_in(stream: io.BytesIO) -> None:
    parts = list(chunks(stream, 2))
    assert [line for part in parts for line in part] == [b"one", b"two", b"", b"four"]
    assert all(len(part) <= 2 for part in parts)


def test_a_file_without_line_breaks_does_not_fill_the_memory() -> None:
    assert max(len(line) for part in chunks(io.BytesIO(b"x" * (5 << 20)), 10) for line in part) <= 2 << 20
