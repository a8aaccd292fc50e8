"""The baseline's model as a file: one gzipped JSON document, nothing that runs when it is read. Knows no windows.

    schema    "daywatch.baseline/1"
    features  version of the features it was fitted to
    made      where it comes from: training data (digests and sizes), seed, versions
    peers     what is usual in each role: values by feature, shares by role
    tracks    for `all` and `shortcut-free`: columns, trees (`detector/trees.py`), calibration, thresholds, and the evidence's trees

The identity of a model is the SHA-256 of the document, not of the packed bytes.
"""

import gzip
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from detector.budget import BUDGETS, Thresholds
from detector.evidence import COLUMNS as EVENT_COLUMNS
from detector.evidence import Chooser
from detector.matrix import columns_of
from detector.peers import Peers
from detector.trees import BrokenTrees, Calibration, Trees
from stream.errors import ConfigurationError
from windowing.features import VERSION

SCHEMA: Final = "daywatch.baseline/1"
MOST_BYTES: Final = 64 * 1024 * 1024
_CURE: Final = "fit one with `daywatch train baseline DIR --out FILE`, or leave --model out to use the one that comes with Daywatch"


class BadModel(ConfigurationError):
    """This file holds no model that this version can use."""


@dataclass(frozen=True, slots=True)
class TrackModel:
    """What judges the windows of one track."""

    columns: tuple[str, ...]
    trees: Trees
    calibration: Calibration
    thresholds: Thresholds
    chooser: Chooser


@dataclass(frozen=True, slots=True)
class Model:
    """A fitted baseline."""

    made: Mapping[str, Any]
    peers: Peers
    tracks: Mapping[str, TrackModel]

    def document(self) -> bytes:
        """The JSON document; the same model gives the same bytes."""
        plain = {
            "schema": SCHEMA,
            "features": VERSION,
            "made": dict(self.made),
            "peers": self.peers.plain(),
            "tracks": {name: _plain(track) for name, track in self.tracks.items()},
        }
        return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)

    @property
    def sha256(self) -> str:
        """The model's identity."""
        return hashlib.sha256(self.document()).hexdigest()


def write_model(model: Model, path: Path) -> None:
    """Write a model file.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    try:
        path.write_bytes(gzip.compress(model.document(), 9, mtime=0))
    except OSError as error:
        raise ConfigurationError(f"cannot write the model to {path}: {error.strerror}") from error


def read_model(path: Path) -> tuple[Model, str]:
    """A model and its SHA-256.

    Raises:
        BadModel: there is none in the file, or one for other features; the text says what was found and the cure.
    """
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise BadModel(f"the model {path} cannot be read ({error.strerror}); {_CURE}") from error
    return decode_model(packed, str(path))


def decode_model(packed: bytes, name: str) -> tuple[Model, str]:
    """Read the bytes of a model file that is called `name`.

    Raises:
        BadModel: see `read_model`.
    """
    document = _unpacked(packed, name)
    try:
        plain = orjson.loads(document)
    except orjson.JSONDecodeError as error:
        raise BadModel(f"{name} is no model: it holds no JSON; {_CURE}") from error
    if not isinstance(plain, dict) or not str(plain.get("schema", "")).startswith("daywatch.baseline/"):
        raise BadModel(f"{name} is not a model of the baseline; {_CURE}")
    if plain["schema"] != SCHEMA:
        raise BadModel(f"{name} has the layout {str(plain['schema'])[:40]}, this version reads {SCHEMA}; {_CURE}")
    if plain.get("features") != VERSION:
        found = str(plain.get("features"))[:20]
        raise BadModel(f"{name} was fitted to features of version {found}, windows here have version {VERSION}; {_CURE}")
    try:
        tracks = {track: _track(track, parts, name) for track, parts in plain["tracks"].items()}
        model = Model(plain["made"], Peers.from_plain(plain["peers"]), tracks)
    except (KeyError, TypeError, ValueError, AttributeError, BrokenTrees) as error:
        raise BadModel(f"{name} is damaged: a part is missing or cannot be read; {_CURE}") from error
    return model, hashlib.sha256(document).hexdigest()


def _unpacked(packed: bytes, name: str) -> bytes:
    if not packed.startswith(b"\x1f\x8b"):
        raise BadModel(f"{name} is no model: it is not gzip; {_CURE}")
    try:
        inflate = zlib.decompressobj(wbits=31)
        document = inflate.decompress(packed, MOST_BYTES)
    except zlib.error as error:
        raise BadModel(f"{name} is damaged: it cannot be unpacked; {_CURE}") from error
    if not inflate.eof:
        raise BadModel(f"{name} is cut short, or larger than {MOST_BYTES // 1024 // 1024} MB; {_CURE}")
    return document


def _plain(track: TrackModel) -> dict[str, Any]:
    return {
        "columns": list(track.columns),
        "trees": track.trees.plain(),
        "calibration": {"slope": track.calibration.slope, "shift": track.calibration.shift},
        "thresholds": track.thresholds.plain(),
        "evidence": {
            "columns": list(EVENT_COLUMNS),
            "trees": track.chooser.trees.plain() if track.chooser.trees is not None else None,
            "threshold": track.chooser.threshold,
        },
    }


def _track(track: str, parts: Mapping[str, Any], name: str) -> TrackModel:
    columns = tuple(parts["columns"])
    if columns != columns_of(track):
        missing = [column for column in columns if column not in columns_of(track)] or ["their order"]
        raise BadModel(f"{name} was fitted to other features than windows here have (first: {missing[0]!s:.60}); {_CURE}")
    if tuple(parts["evidence"]["columns"]) != EVENT_COLUMNS:
        raise BadModel(f"{name} was fitted to other facts about events than this version has; {_CURE}")
    trees = Trees.from_plain(parts["trees"], len(columns))
    of_events = parts["evidence"]["trees"]
    evidence = Trees.from_plain(of_events, len(EVENT_COLUMNS)) if of_events is not None else None
    thresholds = parts["thresholds"]
    if tuple(thresholds["budgets"]) != BUDGETS or len(thresholds["by_budget"]) != len(BUDGETS):
        raise ValueError("thresholds are for other budgets")
    return TrackModel(
        columns=columns,
        trees=trees,
        calibration=Calibration(float(parts["calibration"]["slope"]), float(parts["calibration"]["shift"])),
        thresholds=Thresholds(float(thresholds["malicious"]), tuple(float(score) for score in thresholds["by_budget"])),
        chooser=Chooser(evidence, float(parts["evidence"]["threshold"])),
    )
