"""A detector held against a directory it has not seen: folds, seeds, baselines, deletion. Knows the `Backend` seam, no backend.

Everything is in memory or in temporary files; windows come from the same code that the windowing worker runs.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import polars as pl

from detector.backend import Backend
from detector.evaluation import bootstrap
from detector.evaluation.against_triage import against_triage
from detector.evaluation.alone import MODEL_ALONE, Interview, answers_of, judged, sample_of, sampled_ranking
from detector.evaluation.balanced import NO_ANSWER, Answers, balanced_figures, drawn_places
from detector.evaluation.baselines import FeatureTable, boosted_trees, isolation_forest, z_scores
from detector.evaluation.deletion import DRAWS, deletion
from detector.evaluation.evidence import DAY, EVENT, evidence_figures, survival
from detector.evaluation.figures import (
    CITED_SCHEMA,
    JUDGED_SCHEMA,
    Figures,
    Judged,
    citations,
    figures,
    intervals,
    mean_of,
    ranking_figures,
    truth_of,
)
from detector.evaluation.metrics import Bools, Floats, Ints, average_precision, curve, summary
from detector.evaluation.rules import rules_score
from detector.evaluation.second_look import Cited, Question, second_look
from detector.evaluation.shelf import Shelf
from detector.evaluation.splits import cut_day, folds_of
from detector.evaluation.truth import AnswerKey, day_calendar, read_answers
from detector.verdict import Verdict
from stream.cert import ReadCount
from windowing.calendar import DAY_MS, Calendar, WindowSpec
from windowing.describe import DescribeSettings
from windowing.directory import Directory
from windowing.features import names_of
from windowing.offline import windows_of
from windowing.record import Window

MOST_DELETED = 200
"""Right alerts that the deletion test looks at; a draw of them when there are more."""
TOLD_SCHEMA: dict[str, pl.DataType] = CITED_SCHEMA | {"ts": pl.Int64(), "detail": pl.String(), "alert": pl.String()}
MARKS_SCHEMA: dict[str, pl.DataType] = {"valid": pl.Boolean(), "cited": pl.Int64(), "invalid": pl.Int64(), "reason": pl.Boolean()}
_BATCH = 512


class Fit(Protocol):
    """How a model is made for a track: from windows, and the key's events of each malicious one by window id."""

    def __call__(self, windows: Iterable[Window], malicious: "Truth", track: str, seed: int) -> Backend:
        """Train on these windows alone."""
        ...


@dataclass(frozen=True, slots=True)
class Truth:
    """What training may know: the key's events by (user, local day)."""

    events: dict[tuple[str, int], Cited]
    calendar: Calendar


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be evaluated.

    Args:
        tracks: `all`, `shortcut-free`; the first is the headline.
        folds: into how many the users are dealt.
        seeds: one deal and one model for each.
        zone: of the organisation's days.
        replicates: of the bootstrap.
        describe: how much a window shows.
        balanced: user/days in a balanced draw, half of them malicious.
        draws: how many balanced draws; their seeds begin with the first of `seeds`.
        by_balanced: whether the label figures under plain names are those of the balanced draws; else those over all user/days.
        sample: of the innocent user/days, how many a model alone is asked about for its ranking, besides every malicious one.
        only_drawn: ask a model alone about the balanced draws and nothing else, and no cascade.
        deleted: right alerts that the deletion test looks at.
    """

    tracks: tuple[str, ...] = ("all", "shortcut-free")
    folds: int = 5
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    zone: str = "UTC"
    replicates: int = bootstrap.REPLICATES
    describe: DescribeSettings = field(default_factory=DescribeSettings)
    balanced: int = 50
    draws: int = 5
    by_balanced: bool = False
    sample: int = 500
    only_drawn: bool = False
    deleted: int = MOST_DELETED

    def __post_init__(self) -> None:
        if self.balanced < 2 or self.draws < 1:
            raise ValueError("a balanced draw holds at least one user/day of each kind")


@dataclass(frozen=True, slots=True)
class Steps:
    """Whom to tell how far it is: of reading, and of work (what, done, in all)."""

    reading: Callable[[ReadCount], None] = lambda _count: None
    working: Callable[[str, int, int], None] = lambda _what, _done, _total: None


@dataclass(frozen=True, slots=True)
class TrackResult:
    """One track: its figures (means over the seeds), and of the first seed what a report draws and tells.

    `told` holds what alerts cite, `user, day, kind, id, ts, detail, alert`; `reasons` maps an alert (user/day) to its words.
    `judged` is None where only drawn user/days were asked about.
    """

    figures: Figures
    judged: Judged | None
    told: pl.DataFrame
    reasons: dict[str, str]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that `evaluate` found."""

    summary: Figures
    tracks: dict[str, TrackResult]
    key: AnswerKey

    def as_dict(self) -> Figures:
        """The figures, before NaN is made null."""
        return self.summary | {"tracks": {name.replace("-", "_"): result.figures for name, result in self.tracks.items()}}


def evaluate(
    directory: Path,
    plan: Plan,
    fit: Fit | None,
    backends: Mapping[str, Backend] | None = None,
    steps: Steps | None = None,
    alone: Mapping[str, Backend] | None = None,
    labels: Mapping[str, Backend] | None = None,
) -> Evaluation:
    """Evaluate on a CERT directory with answers.

    Args:
        directory: read twice from beginning to end.
        plan: what to do.
        fit: trains a fold's model; not needed when `backends` are given.
        backends: by track, used as they are for all users, once.
        steps: told of progress.
        alone: by track, the language model of a cascade without its triage; it is asked about the balanced draws and a sample.
        labels: by track, the same without evidence and reasons, which is faster, for the sample; by default `alone`.

    Raises:
        ConfigurationError: no answers, too few users, or files that cannot be used.
    """
    with Shelf() as shelf:
        exam = _Exam(directory, plan, fit, backends or {}, alone or {}, labels or {}, steps or Steps(), shelf)
        tracks = exam.tracks()
        return Evaluation(exam.summary(tracks), tracks, exam.key)


@dataclass(frozen=True, slots=True)
class _Taken:
    """A track before the second look: its figures so far, and the first seed's judgements, models and folds."""

    figures: Figures
    judged: Judged
    told: pl.DataFrame
    reasons: dict[str, str]
    makers: Sequence[Backend]
    fold: Ints


class _Exam:
    """One directory's windows and truth, and the work on them."""

    def __init__(
        self,
        directory: Path,
        plan: Plan,
        fit: Fit | None,
        backends: Mapping[str, Backend],
        alone: Mapping[str, Backend],
        labels: Mapping[str, Backend],
        steps: Steps,
        shelf: Shelf,
    ) -> None:
        self.directory, self.plan, self.fit, self.backends, self.steps = directory, plan, fit, backends, steps
        self.alone, self.labels = alone, labels
        self.key = read_answers(directory, plan.zone)
        self.calendar = day_calendar(plan.zone)
        self.people = Directory.read(directory, plan.zone) if (directory / "LDAP").is_dir() else None
        began = perf_counter()
        self.shelf = shelf
        self._fill()
        self.building_s = perf_counter() - began
        self.judging_s, self.judged_windows = 0.0, 0
        self.interviews: list[Interview] = []
        self.told: list[tuple[str, int, str, str, int, str, str]] = []
        self.reasons: dict[str, str] = {}
        self.table, self.rows = self.shelf.table()
        self.users = np.array(self.shelf.users)[self.rows]
        self.days = np.array(self.shelf.days, np.int64)[self.rows]
        ends = {int(day): self.calendar.edge(int(day) + 1) for day in np.unique(self.days)}
        self.frame = pl.DataFrame({"user": self.users, "day": self.days}).with_columns(
            pl.col("day").replace_strict(ends, return_dtype=pl.Int64()).alias("end_ms")
        )
        self.truth = truth_of(self.frame, self.key)
        self.training = Truth(_by_day(self.key), self.calendar)

    def _fill(self) -> None:
        watched = set(self.key.events.select("user", "kind", "id").iter_rows())
        spec = WindowSpec(size_ms=DAY_MS, hop_ms=DAY_MS)
        made = windows_of(
            self.directory, spec, self.plan.zone, people=self.people, settings=self.plan.describe, progress=self.steps.reading
        )
        for batch in made:
            self.shelf.put(batch, lambda *event: event in watched)

    def tracks(self) -> dict[str, TrackResult]:
        """Everything about every track of the plan."""
        if self.plan.only_drawn:
            nothing = pl.DataFrame(schema=TOLD_SCHEMA)
            return {track: TrackResult(self._drawn_only(track), None, nothing, {}) for track in self.plan.tracks}
        taken = [self._track(track) for track in self.plan.tracks]
        for each, more in zip(taken, self._second_look(taken), strict=True):
            each.figures.update(more)
        return {
            track: TrackResult(each.figures, each.judged, each.told, each.reasons)
            for track, each in zip(self.plan.tracks, taken, strict=True)
        }

    def _track(self, track: str) -> "_Taken":
        several: list[Judged] = []
        answered: list[Answers] = []
        extra: list[dict[str, int]] = []
        self.told, self.reasons = [], {}
        fold_of: dict[int, Ints] = {}
        first: list[Backend] = []
        seeds = self.plan.seeds if track not in self.backends else self.plan.seeds[:1]
        for place, seed in enumerate(seeds):
            fold_of[seed] = self._folds(seed)
            self.steps.working(f"{track}: folds", place, len(seeds))
            makers = [self._backend(track, fold_of[seed], fold, seed) for fold in range(self._n_folds(track))]
            said, answers, seen = self._judge(makers, fold_of[seed], keep=not several)
            several.append(said)
            answered.append(answers)
            extra.append(seen)
            first = first or makers
        found = mean_of([figures(judged, self.key, seed, replicates=0) for judged, seed in zip(several, seeds, strict=True)])
        found["evidence"] |= {name: sum(each[name] for each in extra) for name in ("cited_in_all", "invalid")}
        found["evidence"]["survival"] = survival(self.shelf.kept_events(), self.key.events)
        found["spread"] = {"pr_auc": summary([float(self._pr_auc(judged)) for judged in several])[1], "seeds": len(seeds)}
        if self.plan.replicates:
            found["intervals"] = intervals(several, self.key, self.plan.seeds[0], self.plan.replicates)
        if track not in self.backends:
            found["chronological"] = self._chronological(track, fold_of[seeds[0]], seeds[0])
        one_pass: Figures = {}
        if track in self.alone:
            found |= self._by_the_model_alone(track)
            found["against_triage"] = against_triage(several[0], self.key, seeds[0], self.plan.replicates)
            one_pass = found["one_pass"]
        else:
            draws = zip(answered, seeds, strict=True)
            found["balanced"] = mean_of([self._balanced(answers, seed) for answers, seed in draws])
        found["baselines"] = self._baselines(track, several, one_pass)
        told = pl.DataFrame(self.told, schema=TOLD_SCHEMA, orient="row")
        return _Taken(found, several[0], told, self.reasons, first, fold_of[seeds[0]])

    def _balanced(self, answers: Answers, seed: int) -> Figures:
        return balanced_figures(self.truth, answers, self.key.events, self.plan.balanced, self.plan.draws, seed)

    def _interview(self, track: str, drawn: Ints, sample: Ints) -> Interview:
        """The model alone of a track, asked about these places: for evidence and reasons where they were drawn, for labels elsewhere."""

        def windows(some: Sequence[int]) -> list[Window]:
            return list(self.shelf.windows(self.rows[list(some)].tolist()))

        held = Interview(self.alone[track], self.frame, windows)
        held.ask(drawn, lambda done, total: self.steps.working(f"{track}: balanced draws", done, total))
        held.ask(sample, lambda done, total: self.steps.working(f"{track}: a sample", done, total), self.labels.get(track))
        self.interviews.append(held)
        return held

    def _drawn(self) -> Ints:
        seed = self.plan.seeds[0]
        return np.unique(np.concatenate(drawn_places(self.truth, self.plan.balanced, self.plan.draws, seed)))

    def _by_the_model_alone(self, track: str) -> Figures:
        """The balanced figures, and what a sample says of the ranking of all.

        All that was asked about is the sample: draws without replacement with one size a class, joined, are such a draw themselves.
        """
        seed = self.plan.seeds[0]
        drawn = self._drawn()
        sample = drawn if self.plan.only_drawn else sample_of(self.truth, self.plan.sample, seed)
        held, places = self._interview(track, drawn, sample), np.union1d(drawn, sample)
        answers = held.answers()
        found: Figures = {
            "balanced": self._balanced(answers, seed),
            "one_pass": sampled_ranking(answers, self.truth, self.frame, self.key, seed, self.plan.replicates),
        }
        shown = held.shown(places[self.truth[places]])
        if shown is not None:
            asked = self.frame[places.tolist()].select(DAY)
            found["survival_in_prompt"] = survival(shown, self.key.events.join(asked, on=DAY, how="semi"))
        return found

    def _drawn_only(self, track: str) -> Figures:
        """As much as the drawn user/days tell: labels and evidence from the draws, the ranking by weights."""
        found = self._by_the_model_alone(track)
        balanced, ranked = found["balanced"], found["one_pass"]
        names = ("accuracy", "macro_f1", "malicious_recall", "malicious_precision")
        return {
            "users": self.frame["user"].n_unique(),
            "user_days": self.frame.height,
            "positive_days": int(self.truth.sum()),
            "key_events": self.key.events.height,
            **{name: balanced[name] for name in names},
            **ranked,
            **found,
            "evidence": balanced["evidence"] | {"survival": survival(self.shelf.kept_events(), self.key.events)},
        }

    def _n_folds(self, track: str) -> int:
        return 1 if track in self.backends else self.plan.folds

    def _folds(self, seed: int) -> Ints:
        dealt = folds_of(self.shelf.users, self.key, self.plan.folds, seed)
        return np.array([dealt[user] for user in self.users], np.int64)

    def _backend(self, track: str, fold: Ints, tested: int, seed: int) -> Backend:
        if track in self.backends:
            return self.backends[track]
        if self.fit is None:
            raise ValueError("neither a model nor a way to fit one")
        self.steps.working(f"{track}: training, seed {seed}", tested, self.plan.folds)
        return self.fit(self.shelf.windows(self.rows[fold != tested].tolist()), self.training, track, seed)

    def _judge(self, makers: Sequence[Backend], fold: Ints, *, keep: bool) -> tuple[Judged, Answers, dict[str, int]]:
        """Verdicts of every user/day by the model of its fold, and how many citations were not in their windows."""
        rows: list[tuple[Any, ...]] = [()] * len(fold)
        marks: list[tuple[bool, int, int, bool]] = [(False, 0, 0, False)] * len(fold)
        cited: list[tuple[str, int, str, str]] = []
        in_all = invalid = 0
        for number, backend in enumerate(makers):
            places = np.flatnonzero(fold == number) if len(makers) > 1 else np.arange(len(fold))
            for window, verdict, place in self._verdicts(backend, places):
                user, day = str(self.users[place]), int(self.days[place])
                end_ms = self.calendar.edge(day + 1)
                if verdict is None:
                    rows[place] = (user, day, end_ms, 0.0, 0.0, NO_ANSWER, False, window.learning)
                    continue
                held = {(str(event["kind"]), str(event["id"])) for event in window.events}
                said = {(str(ref.kind), ref.id) for ref in verdict.cited}
                in_all, invalid = in_all + len(said), invalid + len(said - held)
                if verdict.alert:
                    cited += [(user, day, kind, event_id) for kind, event_id in sorted(said)]
                    if keep:
                        self._keep(window, verdict, user, day)
                marks[place] = (True, len(said), len(said - held), bool(verdict.reason.strip()))
                rows[place] = (user, day, end_ms, verdict.score, verdict.triage_score, verdict.label, verdict.alert, verdict.learning)
        days = pl.DataFrame(rows, schema=JUDGED_SCHEMA, orient="row")
        events = pl.DataFrame(cited, schema=CITED_SCHEMA, orient="row")
        answers = answers_of(days, events, pl.DataFrame(marks, schema=MARKS_SCHEMA, orient="row"))
        return Judged.of(days, events), answers, {"cited_in_all": in_all, "invalid": invalid}

    def _keep(self, window: Window, verdict: Verdict, user: str, day: int) -> None:
        alert = f"{user}/{day}"
        self.reasons[alert] = verdict.reason
        said = {(str(ref.kind), ref.id) for ref in verdict.cited}
        for event in window.events:
            if (event["kind"], event["id"]) in said:
                ts = round(datetime.fromisoformat(str(event["ts"])).timestamp() * 1000)
                detail = event.get("url") or event.get("filename") or event.get("to") or event.get("activity") or ""
                self.told.append((user, day, str(event["kind"]), str(event["id"]), ts, str(detail), alert))

    def _verdicts(self, backend: Backend, places: Ints) -> Iterator[tuple[Window, Verdict | None, int]]:
        for first in range(0, len(places), _BATCH):
            some = places[first : first + _BATCH].tolist()
            began = perf_counter()
            windows = list(self.shelf.windows(self.rows[some].tolist()))
            # a language model may give an answer that is none; features that a baseline lacks are an error for all windows alike
            verdicts = judged(backend, windows) if self.alone else list(backend.judge(windows))
            self.judging_s, self.judged_windows = self.judging_s + perf_counter() - began, self.judged_windows + len(some)
            yield from zip(windows, verdicts, some, strict=True)

    def _pr_auc(self, judged: Judged) -> float:
        return average_precision(curve(self.truth, judged.days["score"].to_numpy()))

    def _second_look(self, taken: Sequence["_Taken"]) -> list[Figures]:
        """For each track the deletion test over right alerts, and the rule that cites everything on the same alerts."""
        asked = [self._question(each.judged) for each in taken]
        left: list[dict[tuple[str, int, int], Verdict | None]] = [{} for _ in taken]
        rules = [[pl.DataFrame(schema=CITED_SCHEMA)] for _ in taken]
        days = sum(len(question.alerts) for question, _ in asked)
        looks = second_look(
            self.directory, self.calendar, self.people, self.plan.describe, [question for question, _ in asked], self.plan.seeds[0]
        )
        for done, look in enumerate(looks):
            self.steps.working("a second look at alerts", done, days)
            each = taken[look.question]
            rules[look.question].append(look.rule)
            for user, draw, window in look.without:
                backend = each.makers[self._fold_of_user(each.fold, user)] if len(each.makers) > 1 else each.makers[0]
                left[look.question][user, look.day, draw] = judged(backend, [window])[0] if window is not None else None
        return [
            {
                "deletion": _deletion(chosen, left[number]),
                "evidence_of_rule": citations(evidence_figures(each.judged.days, pl.concat(rules[number]).unique(EVENT), self.key.events)),
            }
            for number, (each, (_, chosen)) in enumerate(zip(taken, asked, strict=True))
        ]

    def _fold_of_user(self, fold: Ints, user: str) -> int:
        return int(fold[np.searchsorted(self.users, user)])

    def _question(self, judged: Judged) -> tuple[Question, pl.DataFrame]:
        """What to ask of one track's alerts, and the right ones (`user, day, score`) whose windows are to be judged again."""
        alerts = judged.days.filter("alert")
        right = alerts.join(self.key.days().select(DAY), on=DAY, how="semi", maintain_order="left").select(*DAY, "score")
        chosen = right.sample(self.plan.deleted, seed=self.plan.seeds[0]) if right.height > self.plan.deleted else right
        deleting: dict[int, frozenset[str]] = {
            int(day): frozenset(part["user"]) for (day,), part in chosen.partition_by("day", as_dict=True).items()
        }
        return Question(_cited_by_day(alerts, judged.cited), deleting), chosen

    def _chronological(self, track: str, fold: Ints, seed: int) -> Figures:
        """Other users' past only: train on days before the cut, test on days from it on."""
        cut = cut_day(self.key.days())
        later = self.days >= cut
        score = np.full(len(fold), np.nan)
        for tested in range(self.plan.folds):
            before = (fold != tested) & ~later
            if not self.truth[before].any() or self.fit is None:
                return {
                    "cut": str(date(1970, 1, 1) + timedelta(days=cut)),
                    "pr_auc": float("nan"),
                    "positive_days": int(self.truth[later].sum()),
                }
            self.steps.working(f"{track}: chronological", tested, self.plan.folds)
            backend = self.fit(self.shelf.windows(self.rows[before].tolist()), self.training, track, seed)
            for _, verdict, place in self._verdicts(backend, np.flatnonzero((fold == tested) & later)):
                score[place] = verdict.score if verdict is not None else 0.0
        ranking = curve(self.truth[later], score[later])
        return {
            "cut": str(date(1970, 1, 1) + timedelta(days=cut)),
            "pr_auc": average_precision(ranking),
            "user_days": int(later.sum()),
            "positive_days": ranking.positives,
        }

    def _baselines(self, track: str, several: Sequence[Judged], one_pass: Figures) -> list[Figures]:
        """What simpler rankings reach on the same user/days; the detector's own line comes first, the model alone last."""
        seeds = self.plan.seeds
        table = self.table.only(names_of(track))
        folds = {seed: self._folds(seed) for seed in seeds}
        ways: dict[str, list[Floats]] = {
            "daywatch": [judged.days["score"].to_numpy() for judged in several],
            "triage alone": [judged.days["triage_score"].to_numpy() for judged in several],
            "rules": [rules_score(self.table)],
            "per-user z-scores": [z_scores(table)],
        }
        for name, way in (("isolation forest", self._forest), ("gradient-boosted trees on the features", self._trees)):
            ways[name] = []
            for place, seed in enumerate(seeds):
                self.steps.working(f"{track}: {name}", place, len(seeds))
                ways[name].append(way(table, folds[seed], seed))
        lines = [self._line(name, scores) for name, scores in ways.items()]
        return [*lines, {"name": MODEL_ALONE} | (one_pass or {"pr_auc": float("nan"), "note": "needs a language model"})]

    def _line(self, name: str, scores: Sequence[Floats]) -> Figures:
        each = [ranking_figures(self.truth, score, self.frame, self.key) for score in scores]
        found: Figures = {"name": name} | mean_of(each) | {"pr_auc_sd": summary([line["pr_auc"] for line in each])[1], "seeds": len(scores)}
        if self.plan.replicates:
            drawn = bootstrap.draw_users(int(self.table.user.max(initial=-1)) + 1, self.plan.replicates, self.plan.seeds[0])
            replicates = [bootstrap.ranking_replicates(self.truth, score, self.table.user, drawn).average_precision for score in scores]
            spread = bootstrap.interval(np.mean(replicates, axis=0))
            found["pr_auc_interval"] = [spread.low, spread.high]
        return found

    def _forest(self, table: FeatureTable, fold: Ints, seed: int) -> Floats:
        return _by_fold(fold, lambda train, test: isolation_forest(table.values[train], table.values[test], seed))

    def _trees(self, table: FeatureTable, fold: Ints, seed: int) -> Floats:
        return _by_fold(fold, lambda train, test: boosted_trees(table.values[train], self.truth[train], table.values[test], seed))

    def summary(self, tracks: dict[str, TrackResult]) -> Figures:
        """The figures of the headline track under plain names, and those that are asked for by track."""
        headline = next(iter(tracks.values())).figures
        by_track = {name.replace("-", "_"): result.figures for name, result in tracks.items()}
        plain = ("users", "user_days", "positive_days", "key_events", "accuracy", "macro_f1", "malicious_recall", "balanced", "ece")
        by_draws = self.plan.by_balanced or bool(self.alone)
        drawn = headline["balanced"]
        evidence = headline["evidence"] | (drawn["evidence"] if by_draws else {})
        evidence["invalid"] = headline["evidence"]["invalid"] + (
            drawn["evidence"]["invalid"] if self.alone and not self.plan.only_drawn else 0
        )
        labels = {name: drawn[name] for name in ("accuracy", "macro_f1", "malicious_recall")} if by_draws else {}
        asked_s = sum(held.seconds for held in self.interviews)
        speed = {"windows_per_s": sum(map(len, self.interviews)) / asked_s if asked_s else float("nan")} if self.alone else {}
        ranked = "backend" if not self.alone else "model alone, a sample" if self.plan.only_drawn else "cascade"
        return {
            "schema": "daywatch.evaluation/1",
            "zone": self.plan.zone,
            "folds": self.plan.folds,
            "trained_here": not self.backends,
            "seeds": list(self.plan.seeds),
            "windows": len(self.shelf),
            **({"windows_per_s": self._windows_per_s} | speed),
            "windows_built_per_s": len(self.shelf) / self.building_s if self.building_s else float("nan"),
            **({"cascade_windows_per_s": self._windows_per_s} if self.alone and not self.plan.only_drawn else {}),
            "labels_over": "balanced draws" if by_draws else "all user/days",
            "ranked_by": ranked,
            "missed_days": self.key.days().join(self.frame, on=DAY, how="anti").height,
            **({name: headline[name] for name in plain} | labels),
            "valid_format": drawn["valid_format"],
            "actionability": drawn["actionability"],
            "pr_auc": {name: found["pr_auc"] for name, found in by_track.items()},
            "recall_at_fpr": {
                name: {rate: point["recall"] for rate, point in found["recall_at_fpr"].items()} for name, found in by_track.items()
            },
            "evidence": {name: evidence[name] for name in ("precision", "recall", "f1", "invalid", "survival")}
            | {"f1_end_to_end": evidence["end_to_end"]["f1"]},
            "insiders": headline.get("insiders"),
        } | {name: headline[name] for name in ("survival_in_prompt",) if name in headline}

    @property
    def _windows_per_s(self) -> float:
        return self.judged_windows / self.judging_s if self.judging_s else float("nan")


def _by_fold(fold: Ints, way: Callable[[Bools, Bools], Floats]) -> Floats:
    score = np.zeros(len(fold))
    for tested in np.unique(fold):
        score[fold == tested] = way(fold != tested, fold == tested)
    return score


def _by_day(key: AnswerKey) -> dict[tuple[str, int], Cited]:
    found: dict[tuple[str, int], set[tuple[str, str]]] = {}
    for user, day, kind, event_id in key.events.select(EVENT).iter_rows():
        found.setdefault((user, day), set()).add((kind, event_id))
    return {at: frozenset(events) for at, events in found.items()}


def _cited_by_day(alerts: pl.DataFrame, cited: pl.DataFrame) -> dict[int, dict[str, Cited]]:
    said: dict[tuple[str, int], set[tuple[str, str]]] = {(user, day): set() for user, day in alerts.select(DAY).iter_rows()}
    for user, day, kind, event_id in cited.select(EVENT).iter_rows():
        said[user, day].add((kind, event_id))
    found: dict[int, dict[str, Cited]] = {}
    for (user, day), events in said.items():
        found.setdefault(day, {})[user] = frozenset(events)
    return found


def _deletion(chosen: pl.DataFrame, left: dict[tuple[str, int, int], Verdict | None]) -> Figures:
    """A window that has no event left scores 0 and does not alert."""
    at = list(chosen.select(DAY).iter_rows())

    def column(draw: int, read: Callable[[Verdict], float]) -> Floats:
        verdicts = [left[user, day, draw] for user, day in at]
        return np.array([read(verdict) if verdict is not None else 0.0 for verdict in verdicts], np.float64)

    draws = range(DRAWS)
    return asdict(
        deletion(
            chosen["score"].to_numpy(),
            column(-1, lambda verdict: verdict.score),
            np.stack([column(draw, lambda verdict: verdict.score) for draw in draws]),
            column(-1, lambda verdict: float(verdict.alert)),
            np.stack([column(draw, lambda verdict: float(verdict.alert)) for draw in draws]),
        )
    )
