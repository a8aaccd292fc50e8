"""CERT directories: every release, every packing, in the order of time, in bounded memory."""

import gzip
import io
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.cert import ReadCount, find_files, read_kind, read_merged
from stream.errors import ConfigurationError
from stream.kinds import KINDS, Kind, frame_schema
from stream.times import format_iso

TS = 1262592753000  # 2010-01-04T08:12:33Z


def rows(kind: Kind, directory: Path, zone: str = "UTC", **more: int) -> pl.DataFrame:
    return pl.concat(list(read_kind(find_files(directory, [kind])[kind], kind, zone, **more)))


def write(directory: Path, name: str, *lines: str) -> Path:
    path = directory / name
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


LOGON = "id,date,user,pc,activity"


def logons(n: int, step_s: int = 60) -> list[str]:
    times = format_iso(pl.Series([TS + i * step_s * 1000 for i in range(n)])).to_list()
    return [f"{{{i}}},{t[5:7]}/{t[8:10]}/{t[:4]} {t[11:19]},U{i % 7},PC-{i % 3},Logon" for i, t in enumerate(times)]


@pytest.mark.parametrize(
    ("name", "lines", "row"),
    [
        ("logon.csv", ["id,date,user,pc,activity", "{A},01/04/2010 08:12:33,ANA0001,PC-1,Logon"], ("ANA0001", TS, "{A}", "PC-1", "Logon")),
        ("logon.csv", ["{A},01/04/2010 08:12:33,DTAA/ANA0001,PC-1,Logon"], ("ANA0001", TS, "{A}", "PC-1", "Logon")),  # r1
        (
            "device.csv",
            ["id,date,user,pc,activity", "{A},01/04/2010 08:12:33,DTAA/A,PC-1,Insert"],
            ("A", TS, "{A}", "PC-1", "Connect"),
        ),  # r2
        ("device.csv", ["id,date,user,pc,activity", "{A},01/04/2010 08:12:33,A,PC-1,Remove"], ("A", TS, "{A}", "PC-1", "Disconnect")),
        (
            "device.csv",  # r5
            ["id,date,user,pc,file_tree,activity", "{A},01/04/2010 08:12:33,A,PC-1,R:\\;R:\\A,Connect"],
            ("A", TS, "{A}", "PC-1", "Connect"),
        ),
        ("http.csv", ["{A},01/04/2010 08:12:33,DTAA/A,PC-1,http://x/y"], ("A", TS, "{A}", "PC-1", "http://x/y", "")),  # r1
        (
            "http.csv",  # r4
            ["id,date,user,pc,url,content", '{A},01/04/2010 08:12:33,A,PC-1,http://x/y,"a, ""b"" c"'],
            ("A", TS, "{A}", "PC-1", "http://x/y", 'a, "b" c'),
        ),
        (
            "http.csv",  # r6
            ["id,date,user,pc,url,activity,content", "{A},01/04/2010 08:12:33,A,PC-1,http://x/y,WWW Visit,words"],
            ("A", TS, "{A}", "PC-1", "http://x/y", "words"),
        ),
        (
            "file.csv",
            ["id,date,user,pc,filename,content", '{A},01/04/2010 08:12:33,A,PC-1,X.zip,""'],
            ("A", TS, "{A}", "PC-1", "X.zip", ""),
        ),
        (
            "file.csv",  # r5
            [
                "id,date,user,pc,filename,activity,to_removable_media,from_removable_media,content",
                "{A},01/04/2010 08:12:33,A,PC-1,C:\\a\\X.zip,File Copy,True,False,words",
            ],
            ("A", TS, "{A}", "PC-1", "C:\\a\\X.zip", "words"),
        ),
        (
            "email.csv",
            ["id,date,user,pc,to,cc,bcc,from,size,attachments,content", '{A},01/04/2010 08:12:33,A,PC-1,x@a;y@b,"","",z@c,20568,2,w'],
            ("A", TS, "{A}", "PC-1", "x@a;y@b", "", "", "z@c", 20568, 2, "w"),
        ),
        (
            "email.csv",  # r5
            [
                "id,date,user,pc,to,cc,bcc,from,activity,size,attachments,content",
                "{A},01/04/2010 08:12:33,A,PC-1,x@a,,,z@c,Send,20568,C:\\a.doc(55);C:\\b.pdf(66),w",
            ],
            ("A", TS, "{A}", "PC-1", "x@a", "", "", "z@c", 20568, 2, "w"),
        ),
        (
            "email.csv",
            ["id,date,user,pc,to,cc,bcc,from,activity,size,attachments,content", "{A},01/04/2010 08:12:33,A,PC-1,x,,,z,View,1,,w"],
            ("A", TS, "{A}", "PC-1", "x", "", "", "z", 1, 0, "w"),
        ),
    ],
)
def test_every_release_becomes_the_same_event_frame(tmp_path: Path, name: str, lines: list[str], row: tuple[object, ...]) -> None:
    write(tmp_path, name, *lines)
    kind = Kind(name.removesuffix(".csv"))
    found = rows(kind, tmp_path)
    assert found.schema == frame_schema(kind)
    assert found.rows() == [row]


def zstd(content: bytes) -> bytes:
    return zstandard.compress(content)


def zstd_frames(content: bytes) -> bytes:
    return zstandard.compress(content[:1000]) + zstandard.compress(content[1000:])


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".zst", zstd), (".zst", zstd_frames)])
def test_packed_files_are_read_as_plain_ones_are(tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]) -> None:
    plain = write(tmp_path, "logon.csv", LOGON, *logons(500))
    expected = rows(Kind.LOGON, tmp_path)
    (tmp_path / f"logon.csv{suffix}").write_bytes(pack(plain.read_bytes()))
    plain.unlink()
    assert rows(Kind.LOGON, tmp_path).equals(expected)
    assert expected.height == 500


@settings(max_examples=60, deadline=None)
@given(chunk_bytes=st.integers(60, 4000), seed=st.integers(0, 9))
def test_the_size_of_chunks_does_not_matter(tmp_path_factory: pytest.TempPathFactory, chunk_bytes: int, seed: int) -> None:
    directory = tmp_path_factory.mktemp("cert")
    chance = random.Random(seed)
    texts = ['""', "words", '"a, b"', '"line\nbreak"', '"say ""no"""', '"""\n"""']
    write(
        directory,
        "http.csv",
        "id,date,user,pc,url,content",
        *(f"{line.rsplit(',', 1)[0]},http://x,{chance.choice(texts)}" for line in logons(80)),
    )
    assert rows(Kind.HTTP, directory, chunk_bytes=chunk_bytes).equals(rows(Kind.HTTP, directory))


def test_files_with_windows_line_ends_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    (tmp_path / "logon.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join([LOGON, *logons(3)]).encode())
    assert rows(Kind.LOGON, tmp_path)["activity"].to_list() == ["Logon"] * 3


def test_text_in_another_encoding_does_not_stop_the_reading(tmp_path: Path) -> None:
    (tmp_path / "http.csv").write_bytes("id,date,user,pc,url,content\n{A},01/04/2010 08:12:33,A,P,http://x,höhe\n".encode("latin-1"))
    assert rows(Kind.HTTP, tmp_path)["content"].to_list() == ["h\ufffdhe"]


def test_unusable_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    bad = [
        ",01/04/2010 08:12:33,A,P,Logon",
        "{B},yesterday,A,P,Logon",
        "{C},01/04/2010 08:12:33,,P,Logon",
        "{D}",
        "",
        "{E},01/04/1910 08:12:33,A,P,Logon",
    ]
    write(tmp_path, "logon.csv", LOGON, *bad, *logons(2))
    count = ReadCount()
    found = pl.concat(list(read_kind(tmp_path / "logon.csv", Kind.LOGON, "UTC", count=count)))
    assert found["id"].to_list() == ["{0}", "{1}"]
    assert count.unusable == {Kind.LOGON: 5}
    assert count.rows == 2


def test_dates_are_local_times_of_the_zone(tmp_path: Path) -> None:
    write(tmp_path, "logon.csv", LOGON, "{A},03/28/2010 02:30:00,A,P,Logon", "{B},10/31/2010 02:30:00,A,P,Logon")
    assert rows(Kind.LOGON, tmp_path, "Europe/Berlin")["ts"].to_list() == [1269738000000, 1288485000000]


def test_rows_out_of_order_nearby_are_sorted_and_others_refused(tmp_path: Path) -> None:
    lines = logons(2000)
    nearby = [line for i in range(0, 2000, 5) for line in reversed(lines[i : i + 5])]
    write(tmp_path, "logon.csv", LOGON, *nearby)
    assert rows(Kind.LOGON, tmp_path, chunk_bytes=4000)["id"].to_list() == [f"{{{i}}}" for i in range(2000)]
    write(tmp_path, "logon.csv", LOGON, *lines[1000:], *lines[:1000])
    with pytest.raises(ConfigurationError, match="order of time"):
        rows(Kind.LOGON, tmp_path, chunk_bytes=4000)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), chunk_bytes=st.integers(80, 3000))
def test_merged_chunks_hold_every_event_once_and_follow_each_other_in_time(
    tmp_path_factory: pytest.TempPathFactory, seed: int, chunk_bytes: int
) -> None:
    directory = tmp_path_factory.mktemp("cert")
    chance = random.Random(seed)
    expected = {}
    for kind, title in ((Kind.LOGON, LOGON), (Kind.DEVICE, LOGON), (Kind.HTTP, "id,date,user,pc,url,content")):
        n = chance.choice([0, 1, 5, 60])
        lines = [line for line in logons(120, step_s=chance.choice([0, 1, 60])) if chance.random() < n / 120]
        write(directory, f"{kind}.csv", title, *lines)
        expected[kind] = [line.split(",")[0] for line in lines]
    chunks = list(read_merged(directory, "UTC", chunk_bytes=chunk_bytes))
    for kind, ids in expected.items():
        assert [found for chunk in chunks if kind in chunk for found in chunk[kind]["id"].to_list()] == ids
    spans = [(min(f["ts"][0] for f in chunk.values()), max(f["ts"][-1] for f in chunk.values())) for chunk in chunks]
    assert all(before[1] < after[0] for before, after in pairwise(spans))


def test_progress_is_counted_in_the_bytes_of_the_files(tmp_path: Path) -> None:
    for kind in (Kind.LOGON, Kind.DEVICE):
        (tmp_path / f"{kind}.csv.gz").write_bytes(gzip.compress("\n".join([LOGON, *logons(300)]).encode()))
    count = ReadCount()
    assert sum(frame.height for chunk in read_merged(tmp_path, "UTC", count=count) for frame in chunk.values()) == 600
    assert count.bytes_read == count.bytes_total == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert count.rows == 600


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "holds none of"),
        ({"logon.csv": b"", "logon.csv.gz": b""}, "leave one"),
        ({"logon.csv": b"a,b,c\n1,2,3\n"}, "does not look like"),
        ({"logon.csv": b"id,date,user,user\n"}, "same name"),
        ({"logon.csv.gz": b"no gzip"}, "cannot be read"),
        ({"logon.csv.gz": gzip.compress(b"id,date,user,pc,activity\n" * 99)[:-9]}, "cannot be read"),
        ({"logon.csv.zst": b"no zstd at all"}, "cannot be read"),
    ],
)
def test_what_is_no_cert_directory_is_refused_in_plain_words(tmp_path: Path, files: dict[str, bytes], said: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=said):
        list(read_merged(tmp_path, "UTC"))


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        find_files(tmp_path / "nowhere")


def test_a_quotation_mark_that_is_never_closed_is_told_before_memory_runs_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.cert._LONGEST_RECORD", 10_000)
    out = io.StringIO()
    out.write(f'{LOGON}\n{{A}},01/04/2010 08:12:33,A,P,"Logon\n')
    out.write("\n".join(logons(5000)))
    (tmp_path / "logon.csv").write_text(out.getvalue())
    with pytest.raises(ConfigurationError, match="never closed"):
        rows(Kind.LOGON, tmp_path, chunk_bytes=1000)


def test_files_are_found_in_the_order_of_kinds(tmp_path: Path) -> None:
    for kind in reversed(KINDS):
        (tmp_path / f"{kind}.csv").touch()
    assert tuple(find_files(tmp_path)) == KINDS
