import gzip
from pathlib import Path

import orjson
import pytest

from detector.baseline import Baseline, shipped_model
from detector.model_file import BadModel, decode_model, read_model, write_model
from detector.shipped import SEEDS
from stream.synth import SEMANTICS
from tests.detector.conftest import Taught
from windowing.features import VERSION


def packed(taught: Taught, **changes: object) -> bytes:
    return gzip.compress(orjson.dumps(orjson.loads(taught.model.document()) | changes))


def test_a_model_read_back_is_the_same_model(taught: Taught, tmp_path: Path) -> None:
    write_model(taught.model, tmp_path / "model")
    again, sha256 = read_model(tmp_path / "model")
    assert again.document() == taught.model.document()
    assert sha256 == taught.model.sha256
    write_model(again, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "model").read_bytes()


def test_a_model_holds_no_user_and_no_event(taught: Taught) -> None:
    document = taught.model.document().decode()
    assert not any(window.user in document for window in taught.windows)
    assert not any(str(event["id"]) in document for window in taught.windows[:200] for event in window.events)


def test_a_missing_file_is_named_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=r"none.gz cannot be read .*daywatch train baseline"):
        read_model(tmp_path / "none.gz")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "not gzip"),
        (b"PK\x03\x04 something else", "not gzip"),
        (gzip.compress(b"tree\nversion=v4", mtime=0), "no JSON"),
        (gzip.compress(b'{"schema":"another"}', mtime=0), "not a model of the baseline"),
        (gzip.compress(b"[]", mtime=0), "not a model of the baseline"),
        (gzip.compress(b'{"schema":"daywatch.baseline/9"}', mtime=0), "daywatch.baseline/9"),
        (b"\x1f\x8bnonsense that is not deflated", "cannot be unpacked"),
    ],
)
def test_a_foreign_file_is_refused_with_what_it_is(content: bytes, found: str) -> None:
    with pytest.raises(BadModel, match=found):
        decode_model(content, "F")


def test_a_file_cut_short_or_changed_is_refused(taught: Taught) -> None:
    whole = packed(taught)
    for cut in (whole[: len(whole) // 2], whole[:-1]):
        with pytest.raises(BadModel, match="cut short"):
            decode_model(cut, "F")
    middle = len(whole) // 2
    with pytest.raises(BadModel):
        decode_model(whole[:middle] + bytes([whole[middle] ^ 0xFF]) + whole[middle + 1 :], "F")


def test_a_model_of_other_features_is_refused(taught: Taught) -> None:
    with pytest.raises(BadModel, match=f"features of version 0, windows here have version {VERSION}"):
        decode_model(packed(taught, features="0"), "F")
    tracks = orjson.loads(taught.model.document())["tracks"]
    tracks["all"]["columns"][3] = "of_tomorrow"
    with pytest.raises(BadModel, match="of_tomorrow"):
        decode_model(packed(taught, tracks=tracks), "F")


@pytest.mark.parametrize("part", ["trees", "calibration", "thresholds", "evidence", "columns"])
def test_a_model_that_lacks_a_part_is_refused(taught: Taught, part: str) -> None:
    tracks = orjson.loads(taught.model.document())["tracks"]
    del tracks["all"][part]
    with pytest.raises(BadModel, match="damaged"):
        decode_model(packed(taught, tracks=tracks), "F")


def test_broken_trees_are_refused(taught: Taught) -> None:
    tracks = orjson.loads(taught.model.document())["tracks"]
    tracks["all"]["trees"][0]["left"][0] = 99
    with pytest.raises(BadModel, match="damaged"):
        decode_model(packed(taught, tracks=tracks), "F")


def test_a_track_that_was_not_fitted_is_refused(taught: Taught) -> None:
    tracks = orjson.loads(taught.model.document())["tracks"]
    model, sha256 = decode_model(packed(taught, tracks={"all": tracks["all"]}), "F")
    with pytest.raises(BadModel, match="not for the track shortcut-free"):
        Baseline(model, sha256, "shortcut-free")


def test_the_model_that_comes_with_daywatch_is_small_complete_and_synthetic(repository: Path) -> None:
    assert (repository / "detector" / "data" / "baseline.json.gz").stat().st_size <= 2 * 1024 * 1024
    model, _ = shipped_model()
    assert set(model.tracks) == {"all", "shortcut-free"}
    assert model.made["organisations"]["synthetic"] is True
    # whoever changes what a seed gives must make the model anew: daywatch train shipped
    assert (model.made["organisations"]["semantics"], model.made["organisations"]["seeds"]) == (SEMANTICS, list(SEEDS))
    assert model.peers.windows[""] == model.made["windows"]
