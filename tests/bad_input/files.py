"""Broken files, and the commands that meet them: CERT's CSV files, snapshots of people, windows, alerts, log lines, texts, models."""

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from stream.synth import write_organisation
from tests.bad_input.case import Case
from tests.sinks.made_up import MadeUp
from tests.sinks.test_show import records
from tests.sinks.windows import day_of
from windowing.calendar import DAY_MS, WindowSpec
from windowing.offline import windows_of


@dataclass(frozen=True, slots=True)
class FileCase:
    """What is laid out in an empty directory, and the command that is run there."""

    case: Case
    lay_out: Callable[[Path], object]
    arguments: Sequence[str]
    lines: int | None = None
    """Lines on standard output: what still went through."""


# CERT's files -----------------------------------------------------------------------------------------------------------------

_HEAD = b"id,date,user,pc,activity\n"
_GOOD_ROWS = 8
_PAGES = b"id,date,user,pc,url,content\n"


def _rows(first: int, last: int, user: str = "U1") -> bytes:
    return b"".join(b"{A%d},01/04/2010 08:%02d:00,%s,PC-1,Logon\n" % (n, n, user.encode()) for n in range(first, last))


_WHOLE = _HEAD + _rows(0, _GOOD_ROWS)


def _among(row: bytes) -> bytes:
    """A row among good ones."""
    return _HEAD + _rows(0, 4) + row + _rows(4, _GOOD_ROWS)


def _tree(**contents: bytes) -> Callable[[Path], object]:
    """Files of a directory `cert`; the names' last underscores stand for dots."""

    def lay_out(place: Path) -> None:
        (place / "cert").mkdir()
        for name, content in contents.items():
            (place / "cert" / name.replace("_", ".")).write_bytes(content)

    return lay_out


_REPLAY = ("replay", "cert", "--dry-run")
_LEFT_OUT = "1 rows without a proper id, date or user were left out…8 events would be sent"
_NOT_CERT = "logon.csv does not look like CERT's logon.csv: it should begin with id,date,user,pc"
_STOPS = "nothing is sent"
_LEAVES = "left out and counted; the others are sent"


def _cert(name: str, says: str, code: int, ends: str, lay_out: Callable[[Path], object]) -> FileCase:
    return FileCase(Case(name, "replay", says, code, ends), lay_out, _REPLAY)


def _linked(target: str) -> Callable[[Path], object]:
    def lay_out(place: Path) -> None:
        (place / "cert").mkdir()
        (place / "cert" / "logon.csv").symlink_to(target)

    return lay_out


def _zst(content: bytes) -> bytes:
    import zstandard

    return zstandard.compress(content)


_CERT = (
    _cert("a directory that is not there", "cert is no directory", 1, _STOPS, lambda _: None),
    _cert("a file instead of a directory", "cert is no directory", 1, _STOPS, lambda place: (place / "cert").write_bytes(_WHOLE)),
    _cert("an empty directory", "cert holds none of logon.csv, device.csv", 1, _STOPS, _tree()),
    _cert(
        "a directory called logon.csv",
        "cert holds none of logon.csv",
        1,
        _STOPS,
        lambda place: (place / "cert/logon.csv").mkdir(parents=True),
    ),
    _cert("a link to itself", "cert holds none of logon.csv", 1, _STOPS, _linked("logon.csv")),
    _cert("a disk that cannot be read", "logon.csv cannot be read: [Errno 5] Input/output error", 1, _STOPS, _linked("/proc/self/mem")),
    _cert(
        "one file plain and gzipped",
        "cert has logon.csv and logon.csv.gz; leave one of them",
        1,
        _STOPS,
        _tree(logon_csv=_WHOLE, logon_csv_gz=gzip.compress(_WHOLE)),
    ),
    _cert("a file of 0 bytes", "logon.csv is empty, without even a line of column names", 1, _STOPS, _tree(logon_csv=b"", http_csv=_PAGES)),
    _cert("column names and no rows", "cert holds no events in the time asked for", 1, _STOPS, _tree(logon_csv=_HEAD)),
    _cert("no line of column names", "", 0, "read as release 1, which has none", _tree(logon_csv=_rows(0, 4))),
    _cert("no column date", _NOT_CERT, 1, _STOPS, _tree(logon_csv=_WHOLE.replace(b"date", b"when"))),
    _cert(
        "no column activity",
        "logon.csv has no column activity, so it cannot be CERT's logon.csv",
        1,
        _STOPS,
        _tree(logon_csv=_WHOLE.replace(b"activity", b"what")),
    ),
    _cert("logons in http.csv", "http.csv has no column url", 1, _STOPS, _tree(http_csv=_WHOLE)),
    _cert("a column twice", "logon.csv: two of its columns have the same name", 1, _STOPS, _tree(logon_csv=_WHOLE.replace(b"pc", b"user"))),
    _cert("semicolons for commas", _NOT_CERT, 1, _STOPS, _tree(logon_csv=_WHOLE.replace(b",", b";"))),
    _cert(
        "JSON lines in a CSV file",
        "holds no events in the time asked for; 4 rows lack a proper id, date or user",
        1,
        _STOPS,
        _tree(logon_csv=b'{"id": 1}\n' * 4),
    ),
    _cert("UTF-16 in a CSV file", _NOT_CERT, 1, _STOPS, _tree(logon_csv=_WHOLE.decode().encode("utf-16"))),
    _cert("random bytes in a CSV file", _NOT_CERT, 1, _STOPS, _tree(logon_csv=bytes(range(255, 0, -1)) * 9)),
    _cert(
        "a byte order mark in a CSV file",
        "8 events would be sent",
        0,
        "read as if it were not there",
        _tree(logon_csv=b"\xef\xbb\xbf" + _WHOLE),
    ),
    _cert("Windows line ends", "8 events would be sent", 0, "read like any others", _tree(logon_csv=_WHOLE.replace(b"\n", b"\r\n"))),
    _cert("a short row", _LEFT_OUT, 0, _LEAVES, _tree(logon_csv=_among(b"{X},01/04/2010\n"))),
    _cert(
        "a long row",
        "9 events would be sent",
        0,
        "what is too much is ignored",
        _tree(logon_csv=_among(b"{X},01/04/2010 08:04:00,U1,PC-1,Logon,a,b\n")),
    ),
    _cert("a row without user", _LEFT_OUT, 0, _LEAVES, _tree(logon_csv=_among(b"{X},01/04/2010 08:04:00,,PC-1,Logon\n"))),
    _cert("a row without id", _LEFT_OUT, 0, _LEAVES, _tree(logon_csv=_among(b",01/04/2010 08:04:00,U1,PC-1,Logon\n"))),
    _cert("a date in another notation", _LEFT_OUT, 0, _LEAVES, _tree(logon_csv=_among(b"{X},2010-30-04,U1,PC-1,Logon\n"))),
    _cert("30 February in a CSV file", _LEFT_OUT, 0, _LEAVES, _tree(logon_csv=_among(b"{X},02/30/2010 08:04:00,U1,PC-1,Logon\n"))),
    _cert("column names again in the middle", _LEFT_OUT, 0, _LEAVES, _tree(logon_csv=_among(_HEAD))),
    _cert(
        "rows of release 1 among others",
        "9 events would be sent",
        0,
        "its prefix DTAA/ is taken off",
        _tree(logon_csv=_among(b"{X},01/04/2010 08:04:00,DTAA/U1,PC-1,Logon\n")),
    ),
    _cert(
        "bytes that are no UTF-8 in a row",
        "9 events would be sent",
        0,
        "sent with the replacement character",
        _tree(logon_csv=_among(b"{X},01/04/2010 08:04:00,U\xff1,PC-1,Logon\n")),
    ),
    _cert(
        "a quotation mark that is never closed",
        "logon.csv: a quotation mark in it is never closed; is the file cut short?",
        1,
        "what stands before it is sent, and no last mark",
        _tree(logon_csv=_among(b'{X},01/04/2010 08:04:00,U1,"PC-1,Logon\n')),
    ),
    _cert(
        "3,000,000 characters in a field",
        "1 events would be sent",
        0,
        "sent; `window` refuses it as `too_large`",
        _tree(http_csv=_PAGES + b"{X},01/04/2010 08:04:00,U1,PC-1,http://a/," + b"x" * 3_000_000 + b"\n"),
    ),
    _cert("garbage called .gz", "logon.csv.gz cannot be read: Not a gzipped file", 1, _STOPS, _tree(logon_csv_gz=b"garbage" * 9)),
    _cert(
        "a gzip cut short",
        "logon.csv.gz cannot be read: Compressed file ended before",
        1,
        _STOPS,
        _tree(logon_csv_gz=gzip.compress(_WHOLE)[:-20]),
    ),
    _cert(
        "garbage called .zst",
        "logon.csv.zst cannot be read: not a zstd file, or a damaged one",
        1,
        _STOPS,
        _tree(logon_csv_zst=b"garbage" * 9),
    ),
    _cert(
        "a zstd file cut short",
        "logon.csv.zst cannot be read: the zstd file is cut short",
        1,
        _STOPS,
        _tree(logon_csv_zst=_zst(_WHOLE * 50)[:-40]),
    ),
    FileCase(
        Case("a time of which there are no events", "replay", "cert holds no events in the time asked for", 1, _STOPS),
        _tree(logon_csv=_WHOLE),
        (*_REPLAY, "--from", "2030-01-01"),
    ),
    FileCase(
        Case("--from yesterday", "replay", "'yesterday' is no date or time such as 2010-01-04", 2, _STOPS),
        _tree(logon_csv=_WHOLE),
        (*_REPLAY, "--from", "yesterday"),
    ),
    FileCase(
        Case("--speed fast", "replay", "'fast' is neither max nor a factor such as 1x or", 2, _STOPS),
        _tree(logon_csv=_WHOLE),
        (*_REPLAY, "--speed", "fast"),
    ),
    FileCase(
        Case("--kinds logon,tv", "replay", "tv is none of logon, device, file, email, http", 2, _STOPS),
        _tree(logon_csv=_WHOLE),
        (*_REPLAY, "--kinds", "logon,tv"),
    ),
)


# people -----------------------------------------------------------------------------------------------------------------------

_WINDOW = ("window", "--directory", "people")


def _people(name: str, says: str, file: str = "", content: bytes = b"") -> FileCase:
    def lay_out(place: Path) -> None:
        (place / "people").mkdir()
        if file:
            (place / "people" / file).write_bytes(content)

    return FileCase(Case(name, "window --directory", says, 1, "nothing is read"), lay_out, _WINDOW)


_SNAPSHOTS = (
    _people("no snapshots", "directory: no snapshots named YYYY-MM.csv in people"),
    _people("a snapshot of month 13", "directory: 2010-13.csv names no date", "2010-13.csv", b"user_id,role\nU,R\n"),
    _people("a snapshot without user ids", "directory: 2010-01.csv has no column user_id", "2010-01.csv", b"name,role\nU,R\n"),
    _people("a snapshot of 0 bytes", "directory: 2010-01.csv cannot be read as CSV", "2010-01.csv"),
    _people("a snapshot of garbage", "directory: 2010-01.csv", "2010-01.csv", bytes(range(255, 0, -1)) * 9),
    _people("a snapshot in damaged gzip", "directory: 2010-01.csv.gz", "2010-01.csv.gz", gzip.compress(b"user_id,role\nU,R\n" * 99)[:-9]),
)


# windows, alerts, lines, texts ---------------------------------------------------------------------------------------------------


@cache
def good_windows() -> list[bytes]:
    """Windows of a small organisation, as `daywatch window` writes them."""
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        write_organisation(Path(place), 12, 3, seed=5, insiders=0)
        made = windows_of(Path(place), WindowSpec(hop_ms=DAY_MS))
        return [value.encode() for batch in made for value in batch.windows["value"]][:6]


def _lines(name: str, lines: Callable[[], Sequence[bytes]]) -> Callable[[Path], object]:
    return lambda place: (place / name).write_bytes(b"\n".join(lines()) + b"\n")


_JUNK = (b"{broken", b"\xff\xfe", b"\x00\x00", b"[" * 50_000, b"null", b"{}")


def alert_records() -> list[bytes]:
    """Three records of two alerts."""
    return [*records(day_of("ana", 0, 0.6), day_of("ana", 1, 0.9)), *records(day_of("bob", 3, 0.55))]


def _bent(**parts: Any) -> bytes:
    """A good alert but for these parts."""
    return json.dumps(json.loads(alert_records()[-1]) | parts).encode()


_NO_FINDING = "no OCSF Detection Finding"


def _shown(name: str, junk: bytes) -> FileCase:
    """One bad record among three good ones."""
    said = f"record 2: {_NO_FINDING}…1 of 4 records could not be shown"
    lay_out = _lines("alerts.jsonl", lambda: [alert_records()[0], junk, *alert_records()[1:]])
    return FileCase(Case(name, "alerts", said, 1, "named; the others are shown"), lay_out, ("alerts", "alerts.jsonl", "--json"), 3)


def _judged(name: str, junk: bytes, why: str) -> FileCase:
    lay_out = _lines("w.jsonl", lambda: [*good_windows()[:2], junk, *good_windows()[2:4]])
    said = f"line 3: {why}…4 windows judged…1 of 5 lines could not be judged"
    return FileCase(Case(name, "judge", said, 1, "named; the others are judged"), lay_out, ("judge", "w.jsonl"), 4)


def _scored(name: str, says: str, windows: bytes = b"", verdicts: bytes = b"", alerts: bytes = b"") -> FileCase:
    def lay_out(place: Path) -> None:
        made = MadeUp(12, 40, 2, 5)
        made.write_answers(place)
        for file, good, junk in (("w", made.windows, windows), ("v", made.verdicts, verdicts), ("a", made.alerts, alerts)):
            (place / file).write_bytes(b"".join(json.dumps(one).encode() + b"\n" for one in good) + junk)

    arguments = ("score", ".", "--windows", "w", "--verdicts", "v", "--alerts", "a", "--out", "card")
    return FileCase(Case(name, "score", says, 1, "no scorecard: half a run would lie"), lay_out, arguments)


_RECORDS = (
    _shown("an alert that is no JSON", b"{broken"),
    _shown("an alert of random bytes", b"\xff\xfe\x00"),
    _shown("a list among the alerts", b"[1, 2]"),
    _shown("a verdict among the alerts", b'{"schema": "daywatch.verdict/1", "user": "ana"}'),
    _shown("an alert without a finding", _bent(finding_info={})),
    _shown("an alert of the year 300,000", _bent(time=10**16)),
    _shown("an alert at no time", _bent(time="noon")),
    _shown("an alert whose risk is in words", _bent(risk_score="much")),
    _shown("an alert of nobody", _bent(actor=None)),
    FileCase(
        Case("an alerts file that is not there", "alerts", "alerts.jsonl: No such file or directory", 1, "nothing is shown"),
        lambda _: None,
        ("alerts", "alerts.jsonl"),
        0,
    ),
    FileCase(
        Case("an alerts file that is empty", "alerts", "0 alerts, 0 users", 0, "there is nothing to show"),
        lambda place: (place / "alerts.jsonl").touch(),
        ("alerts", "alerts.jsonl"),
        0,
    ),
    FileCase(
        Case("--since whenever", "alerts", "'whenever' is no day, time or duration", 2, "nothing is shown"),
        lambda _: None,
        ("alerts", "--since", "whenever"),
        0,
    ),
    _judged("a line that is no JSON", b"{broken", "a window record is not JSON"),
    _judged("a line of NUL bytes", b"\0\0\0", "a window record is not JSON"),
    _judged("50,000 brackets", b"[" * 50_000, "a window record is not JSON"),
    _judged("a line of another schema", b'{"schema": "x"}', "a window record is not of schema daywatch.window/1"),
    _judged("a line without features", b'{"schema": "daywatch.window/1", "id": "w"}', "window w lacks a part"),
    FileCase(
        Case("a windows file that is not there", "judge", "w.jsonl: No such file or directory", 1, "nothing is judged"),
        lambda _: None,
        ("judge", "w.jsonl"),
        0,
    ),
    FileCase(Case("a directory for a file", "judge", ".: Is a directory", 1, "nothing is judged"), lambda _: None, ("judge", "."), 0),
    FileCase(
        Case("an empty windows file", "judge", "0 windows judged", 0, "there is nothing to judge"),
        lambda place: (place / "w.jsonl").touch(),
        ("judge", "w.jsonl"),
        0,
    ),
    _scored("a window that is no JSON, for the scorecard", "is no window record: no JSON at character", windows=b"{broken\n"),
    _scored("a verdict that is no JSON", "is no verdict record: no JSON at character", verdicts=b"{broken\n"),
    _scored(
        "a verdict without score",
        "is no verdict record: it lacks 'score'",
        verdicts=b'{"user": "ana", "window_id": "w", "start": "2010-07-05T00:00:00+00:00", "end": "2010-07-06T00:00:00+00:00"}\n',
    ),
    _scored("an alert that is a list, for the scorecard", "is no OCSF Detection Finding: a part has the wrong shape", alerts=b"[]\n"),
    FileCase(
        Case(
            "no ground truth",
            "score",
            "insiders.csv does not exist: a CERT directory with its answers/ is needed as ground truth",
            1,
            "no scorecard",
        ),
        lambda place: [(place / name).write_bytes(b"") for name in "wva"],
        ("score", ".", "--windows", "w", "--verdicts", "v", "--alerts", "a"),
    ),
    FileCase(
        Case("an alert that is not there", "verify", "there is no alert 'nosuch' in alerts.jsonl", 1, "nothing is judged again"),
        _lines("alerts.jsonl", lambda: [*_JUNK, *alert_records()]),
        ("verify", "nosuch", "--alerts", "alerts.jsonl"),
    ),
    FileCase(
        Case(
            "texts that are none",
            "groups",
            "line 2: no text in it…line 4: no text in it…2 lines hold no text",
            1,
            "named; the others are answered",
        ),
        _lines("texts", lambda: [b"a text", b"[]", b"\xff\xfe", b'""', b"{broken", b"[" * 90_000]),
        ("groups", "texts", "--top", "1"),
        4,
    ),
    FileCase(
        Case(
            "a groups model that is none",
            "groups",
            "model: no model of threat groups; make one with `daywatch train groups",
            1,
            "nothing is answered",
        ),
        lambda place: [(place / "model").write_bytes(b"PK\3\4"), (place / "texts").write_bytes(b"a\n")],
        ("groups", "texts", "--model", "model"),
        0,
    ),
)


def _labelled(name: str, says: str, ends: str, file: str, lines: Sequence[bytes], out: int, code: int = 0) -> FileCase:
    return FileCase(Case(name, "classify", says, code, ends), _lines(file, lambda: lines), ("classify", file), out)


_NO_LABEL = "it has no label and says why; the others are labelled"
_JSON_LINE = b'{"message": "up"}'
_LINES = (
    _labelled(
        "a line that is no JSON among JSON lines",
        "3 lines read as json…1 unusable",
        _NO_LABEL,
        "x.json",
        [_JSON_LINE, b"{broken", _JSON_LINE],
        3,
    ),
    _labelled(
        "a JSON line without text", "3 lines read as json…1 unusable", _NO_LABEL, "x.json", [_JSON_LINE, b'{"other": 1}', _JSON_LINE], 3
    ),
    _labelled("a list among JSON lines", "3 lines read as json…1 unusable", _NO_LABEL, "x.json", [_JSON_LINE, b"[1]", _JSON_LINE], 3),
    _labelled(
        "a short row of a CERT file",
        "2 lines read as cert…1 unusable",
        _NO_LABEL,
        "logon.csv",
        [_HEAD.strip(), _rows(0, 1).strip(), b"{X},01/04/2010"],
        2,
    ),
    _labelled(
        "a log line of random bytes",
        "3 lines read as text",
        "read with the replacement character, and labelled",
        "x.log",
        [b"up", bytes(range(128, 256)), b"down"],
        3,
    ),
    _labelled("NUL bytes in a log line", "3 lines read as text", "labelled without them", "x.log", [b"up", b"a\0b\0c", b"down"], 3),
    _labelled(
        "a log line of 3,000,000 bytes",
        "lines read as text",
        "cut into pieces of 1 MiB at most, each labelled",
        "x.log",
        [b"up", b"x" * 3_000_000, b"down"],
        5,
    ),
    FileCase(
        Case("a log file that is not there", "classify", "nothing.log: No such file or directory", 1, "nothing is labelled"),
        lambda _: None,
        ("classify", "nothing.log"),
        0,
    ),
    FileCase(
        Case("an unknown format", "classify", "it is auto, text, json or cert", 2, "nothing is labelled"),
        lambda place: (place / "x.log").touch(),
        ("classify", "x.log", "--format", "xml"),
        0,
    ),
    FileCase(
        Case("an empty log file", "classify", "0 lines read", 0, "there is nothing to label"),
        lambda place: (place / "x.log").touch(),
        ("classify", "x.log"),
        0,
    ),
)


# models -----------------------------------------------------------------------------------------------------------------------


def _document(**parts: Any) -> bytes:
    """The shipped model with some parts changed."""
    packed = (files("detector") / "data" / "baseline.json.gz").read_bytes()
    return gzip.compress(json.dumps(json.loads(gzip.decompress(packed)) | parts).encode(), 1)


def _model(name: str, says: str, content: Callable[[], bytes] | None, command: str = "judge") -> FileCase:
    def lay_out(place: Path) -> None:
        _lines("w.jsonl", lambda: good_windows()[:1])(place)
        if content is not None:
            (place / "m.gz").write_bytes(content())

    # the detector looks at its model before it asks for a broker
    arguments = ("judge", "w.jsonl", "--model", "m.gz") if command == "judge" else ("detect", "--model", "m.gz")
    return FileCase(
        Case(name, f"{command} --model", f"{says}…fit one with `daywatch train baseline", 1, "nothing is judged"), lay_out, arguments, 0
    )


def _shipped() -> bytes:
    return (files("detector") / "data" / "baseline.json.gz").read_bytes()


_MODELS = (
    _model("a model that is not there", "the model m.gz cannot be read (No such file or directory)", None),
    _model("a model cut short", "m.gz is cut short", lambda: _shipped()[:5_000]),
    _model("a model cut short, for the worker", "m.gz is cut short", lambda: _shipped()[:5_000], "detect"),
    _model("a damaged model", "m.gz is damaged: it cannot be unpacked", lambda: _shipped()[:2_000] + bytes(200) + _shipped()[2_200:]),
    _model("a model of 0 bytes", "m.gz is no model: it is not gzip", lambda: b""),
    _model("gzip of something else", "m.gz is no model: it holds no JSON", lambda: gzip.compress(b"garbage")),
    _model("gzip of other JSON", "m.gz is not a model of the baseline", lambda: gzip.compress(b"[1]")),
    _model(
        "a model of another layout",
        "m.gz has the layout daywatch.baseline/9, this version reads daywatch.baseline/1",
        lambda: _document(schema="daywatch.baseline/9"),
    ),
    _model(
        "a model of another feature version",
        "m.gz was fitted to features of version 0, windows here have version",
        lambda: _document(features="0"),
    ),
    _model(
        "a model of another feature version, for the worker",
        "m.gz was fitted to features of version 0, windows here have version",
        lambda: _document(features="0"),
        "detect",
    ),
    _model("a model with a part missing", "m.gz is damaged: a part is missing or cannot be read", lambda: _document(peers=5)),
)


# settings ---------------------------------------------------------------------------------------------------------------------


def _setting(name: str, says: str, *arguments: str, toml: bytes | None = None, code: int = 2) -> FileCase:
    def lay_out(place: Path) -> None:
        if toml is not None:
            (place / "daywatch.toml").write_bytes(toml)

    return FileCase(Case(name, "any command", says, code, "nothing is begun"), lay_out, ("topics", "create", *arguments), 0)


_SETTINGS = (
    _setting("malformed TOML", "daywatch.toml is not TOML: Expected ']' at the end of a table declaration (at line 1", toml=b"[kafka\n"),
    _setting("a settings file that is no text", "daywatch.toml is not TOML", toml=b"\xff\xfe"),
    _setting(
        "a settings file that is not there",
        "--config: cannot read nowhere.toml (No such file or directory); name an existing TOML file",
        "--config",
        "nowhere.toml",
    ),
    _setting(
        "an unknown setting",
        "kafka.bootstrap: there is no such setting; did you mean kafka.bootstrap_servers?",
        toml=b"[kafka]\nbootstrap = 'x'\n",
    ),
    _setting("a number for a group of settings", "kafka: … (from daywatch.toml)", toml=b"kafka = 5\n"),
    _setting("an unknown zone", "zone: unknown time zone 'Mars/Base'; use an IANA name such as Europe/Berlin", "--set", "zone=Mars/Base"),
    _setting(
        "a duration without a unit",
        "window.hop: '6' is not a duration; write a number and a unit, such as 90s, 6h or 1d",
        "--set",
        "window.hop=6",
    ),
    _setting("a hop that does not divide the day", "window.size, window.hop: window hop", "--set", "window.hop=7h"),
    _setting("a window of a thousand years", "window.size: '365000d' is longer than a hundred years", "--set", "window.size=365000d"),
    _setting("a window of a year", "window.size: Input should be less than or equal to", "--set", "window.size=365d"),
    _setting("a store of another kind", "store.url: …redis", "--set", "store.url=mysql://db/0"),
    _setting("no addresses of brokers", "kafka.bootstrap_servers: …", "--set", "kafka.bootstrap_servers=,"),
    _setting("a namespace with blanks", "namespace: …", "--namespace", "a b"),
    _setting("0 partitions", "topics.partitions: …", "--partitions", "0"),
    _setting("--set without =", "'zone' is not NAME=VALUE", "--set", "zone"),
    _setting("two topics of one name", "two topics have the same name; give each role its own", "--set", "topics.logon=windows", code=1),
    _setting("an unknown flag", "No such option: --colour", "--colour"),
)

FILES: tuple[FileCase, ...] = (*_CERT, *_SNAPSHOTS, *_RECORDS, *_LINES, *_MODELS, *_SETTINGS)
