"""Fitting the baseline: windows and the key's events in them to a model. Knows no files and no command line.

Nothing is chosen on what it was fitted to: calibration, thresholds and the evidence's threshold come from scores that models which
never saw a user gave to that user's windows. Then everything is fitted once more on all of them.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, Final, Protocol

import numpy as np

from detector.baseline import DEFAULT_BUDGET, Baseline
from detector.budget import Thresholds
from detector.evidence import Chooser, best_threshold, events_of
from detector.matrix import Rows, columns_of, compared, rows_of
from detector.model_file import Model, TrackModel
from detector.peers import Peers
from detector.subjects import Subject, subjects_of
from detector.trees import Calibration, Flags, Floats, Growth, Ints, Trees
from stream.errors import ConfigurationError
from stream.kinds import Millis
from windowing.calendar import Calendar
from windowing.features import NAMES
from windowing.record import Window

Key = frozenset[tuple[str, str]]
"""The answer key's events in a window, by kind and id."""
KeyOf = Callable[[Window], Key]
TRACKS: Final = ("all", "shortcut-free")
FOLDS: Final = 4
_BATCH: Final = 1024
_OF_EVENTS: Final = Growth(rounds=160, learning_rate=0.06, num_leaves=15, min_data_in_leaf=15)


@dataclass(slots=True)
class Lessons:
    """All that is learned from: every window as numbers, and the malicious ones in full.

    `rows` and `truth` have one row a window; `malicious` are the windows with key events, in the same order, with `keys`.
    """

    rows: Rows
    users: list[str]
    days: list[str]
    truth: Flags
    malicious: list[Window] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    digest: str = ""

    @property
    def user_days(self) -> float:
        """Active user/days that the windows cover, however they overlap."""
        return float(len(set(zip(self.users, self.days, strict=True))))


def lessons_of(windows: Iterable[Window], key_of: KeyOf) -> Lessons:
    """Read windows once.

    Raises:
        ConfigurationError: there is none, or none is malicious.
    """
    parts: list[Floats] = []
    found = Lessons(Rows(NAMES, np.empty((0, len(NAMES))), []), [], [], np.zeros(0, np.bool_))
    truth: list[bool] = []
    digest = hashlib.sha256()
    source = iter(windows)
    while batch := list(islice(source, _BATCH)):
        rows = rows_of(batch, NAMES)
        parts.append(rows.values)
        found.rows.role.extend(rows.role)
        for window in batch:
            digest.update(f"{window.id} {window.digest}\n".encode())
            key = key_of(window)
            truth.append(bool(key))
            if key:
                found.malicious.append(window)
                found.keys.append(key)
        found.users += [window.user for window in batch]
        found.days += [window.start[:10] for window in batch]
    if not any(truth):
        raise ConfigurationError("there is nothing to learn from: no window holds an event of the answer key")
    found.rows = Rows(NAMES, np.concatenate(parts), found.rows.role)
    found.truth, found.digest = np.array(truth, np.bool_), digest.hexdigest()
    return found


def joined(parts: Sequence[Lessons]) -> Lessons:
    """Lessons of several organisations as one; their users are different people even where they are called the same."""
    return Lessons(
        rows=Rows(NAMES, np.concatenate([part.rows.values for part in parts]), [role for part in parts for role in part.rows.role]),
        users=[f"{number} {user}" for number, part in enumerate(parts) for user in part.users],
        days=[day for part in parts for day in part.days],
        truth=np.concatenate([part.truth for part in parts]),
        malicious=[window for part in parts for window in part.malicious],
        keys=[key for part in parts for key in part.keys],
        digest=hashlib.sha256("\n".join(part.digest for part in parts).encode()).hexdigest(),
    )


def fit_model(
    lessons: Lessons,
    tracks: Sequence[str] = TRACKS,
    seed: int = 0,
    made: Mapping[str, Any] | None = None,
    step: Callable[[str, int, int], None] = lambda _what, _done, _total: None,
) -> Model:
    """Fit peers and the models of some tracks.

    Args:
        lessons: what to learn from.
        tracks: of `TRACKS`.
        seed: of everything that is drawn.
        made: what the model shall say of where it comes from, besides the digest, sizes and seed.
        step: told what is being done, how many of how many steps are done.
    """
    names = compared("all")
    peers = Peers.fit({name: lessons.rows.column(name) for name in names}, lessons.rows.role, lessons.users)
    origin = {
        "windows": len(lessons.users),
        "users": len(set(lessons.users)),
        "malicious_windows": int(lessons.truth.sum()),
        "windows_digest": lessons.digest,
        "seed": seed,
    }
    fitted = {}
    for place, track in enumerate(tracks):
        step(track, place, len(tracks))
        fitted[track] = _fit_track(lessons, peers, track, seed)
    return Model({**(made or {}), **origin}, peers, fitted)


def _fit_track(lessons: Lessons, peers: Peers, track: str, seed: int) -> TrackModel:
    rows, truth = lessons.rows.matrix(track, peers), lessons.truth
    columns, growth = columns_of(track), Growth()
    fold = _folds(lessons.users, truth, seed)
    logits = np.zeros(len(truth))
    shares = np.zeros((len(truth), len(Subject)))
    for tested in range(FOLDS):
        held_out = fold == tested
        trees = Trees.grow(rows[~held_out], truth[~held_out], growth, seed)
        logits[held_out] = trees.score(rows[held_out])
        positive = held_out & truth
        shares[positive] = trees.contributions(rows[positive], trees.shares(subjects_of(columns), len(Subject)))
    calibration = Calibration.fit(logits, truth)
    thresholds = Thresholds.fit(calibration.probability(logits), truth, lessons.user_days)
    trees = Trees.grow(rows, truth, growth, seed)
    chooser = _fit_chooser(lessons, shares[truth], fold[truth], seed)
    return TrackModel(columns, trees, calibration, thresholds, chooser)


def _fit_chooser(lessons: Lessons, shares: Floats, fold: Ints, seed: int) -> Chooser:
    """The evidence's trees, on the events of malicious windows; `shares` are contributions from models that never saw the user."""
    rows, sizes = events_of(lessons.malicious, shares)
    truth = np.array(
        [
            (event["kind"], event["id"]) in key
            for window, key in zip(lessons.malicious, lessons.keys, strict=True)
            for event in window.events
        ],
        np.bool_,
    )
    if not truth.any() or truth.all():
        return Chooser(None, 0.5)
    of_event = np.repeat(fold, sizes)
    chance = np.zeros(len(rows))
    for tested in np.unique(fold):
        held_out = of_event == tested
        if truth[~held_out].any():
            chance[held_out] = Chooser(Trees.grow(rows[~held_out], truth[~held_out], _OF_EVENTS, seed), 0.5).probability(rows[held_out])
    missing = sum(len(key) for key in lessons.keys) - int(truth.sum())
    return Chooser(Trees.grow(rows, truth, _OF_EVENTS, seed), best_threshold(chance, truth, missing))


def _folds(users: Sequence[str], truth: Flags, seed: int) -> Ints:
    """A fold for each window: users are dealt whole, those with malicious windows evenly; shape (windows,)."""
    names, number = np.unique(np.array(users), return_inverse=True)
    bad = np.bincount(number, weights=truth, minlength=len(names)) > 0
    chance = np.random.default_rng(seed)
    dealt = np.zeros(len(names), np.int64)
    for group in (np.flatnonzero(bad), np.flatnonzero(~bad)):
        dealt[chance.permutation(group)] = np.arange(len(group)) % FOLDS
    found: Ints = dealt[number]
    return found


class ByDay(Protocol):
    """What `fit` may know of the truth: the key's events by user and local day."""

    @property
    def events(self) -> Mapping[tuple[str, int], Key]:
        """Kinds and ids by user and day number."""
        ...

    @property
    def calendar(self) -> Calendar:
        """Of days."""
        ...


def fit(windows: Iterable[Window], malicious: ByDay, track: str, seed: int, *, budget: float = DEFAULT_BUDGET) -> Baseline:
    """A backend for one track, from windows that are user/days; the evaluation's way to train."""

    def key_of(window: Window) -> Key:
        return frozenset(malicious.events.get((window.user, malicious.calendar.pane_of(instant_ms(window.start))), ()))

    model = fit_model(lessons_of(windows, key_of), (track,), seed)
    return Baseline(model, model.sha256, track, budget)


def instant_ms(text: str) -> Millis:
    """An ISO 8601 time with offset as UTC milliseconds.

    >>> instant_ms("1970-01-01T01:00:00+01:00")
    0
    """
    return round(datetime.fromisoformat(text).timestamp() * 1000)
