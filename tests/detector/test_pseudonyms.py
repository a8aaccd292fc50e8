"""Detectors know nobody: what they say of a window under pseudonyms is what they say of the plain one."""

from dataclasses import replace
from pathlib import Path

import pytest

from detector.baseline import Baseline
from detector.from_directory import USER_DAYS
from detector.verdict import Verdict
from stream.synth import write_organisation
from windowing.directory import Directory
from windowing.offline import windows_of
from windowing.pseudonyms import Pseudonyms
from windowing.record import Window, parse_window

KEY = b"0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def organisation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pseudonyms") / "organisation"
    write_organisation(directory, 20, 35, 4712, 5)
    return directory


@pytest.fixture(scope="module")
def records(organisation: Path) -> list[bytes]:
    made = windows_of(organisation, USER_DAYS, people=Directory.read(organisation))
    return [value.encode() for batch in made for value in batch.windows["value"]]


def unnamed(verdict: Verdict) -> Verdict:
    """A verdict without what says whose window it is on."""
    digestless = {name: value for name, value in verdict.provenance.items() if name != "window_digest"}
    return replace(verdict, user="", window_id="", provenance=digestless)


@pytest.mark.parametrize(("track", "machines"), [("all", False), ("shortcut-free", True)])
def test_the_baseline_says_the_same_of_everybody_under_pseudonyms(records: list[bytes], track: str, machines: bool) -> None:
    pseudonyms = Pseudonyms(KEY, 4, machines=machines)
    baseline = Baseline.load(track=track)
    plain = baseline.judge([parse_window(value) for value in records])
    hidden = baseline.judge([parse_window(pseudonyms.window(value).value) for value in records])
    assert [unnamed(verdict) for verdict in hidden] == [unnamed(verdict) for verdict in plain]
    assert not {verdict.user for verdict in hidden} & {verdict.user for verdict in plain}
    assert sum(verdict.label != "normal" for verdict in plain) > 3
    assert sum(len(verdict.cited) for verdict in plain) > 30


def test_nobody_of_the_directory_is_named_in_any_window(organisation: Path, records: list[bytes]) -> None:
    pseudonyms = Pseudonyms(KEY, 4)
    listed = (organisation / "LDAP").glob("*.csv")
    rows = [line.split(",") for file in listed for line in file.read_text(encoding="utf-8").splitlines()[1:]]
    ids = {row[1].encode() for row in rows}
    addresses = {row[2].lower().encode() for row in rows}
    assert all(b"@" in address for address in addresses)
    plain = b"".join(records)
    hidden = b"".join(pseudonyms.window(value).value for value in records).lower()
    assert sum(name in plain for name in ids) > 10
    assert sum(address in plain.lower() for address in addresses) > 10
    assert not [name for name in ids if name.lower() in hidden]
    assert not [address for address in addresses if address in hidden]


def test_windows_of_one_person_still_belong_together(records: list[bytes]) -> None:
    pseudonyms = Pseudonyms(KEY, 4)
    pairs: set[tuple[str, str]] = set()
    windows: list[Window] = []
    for value in records:
        done = pseudonyms.window(value)
        pairs.add((done.user, done.pseudonym))
        windows.append(parse_window(done.value))
    assert len(pairs) == len({user for user, _ in pairs}) == len({pseudonym for _, pseudonym in pairs})
    assert len({window.id for window in windows}) == len(records)
