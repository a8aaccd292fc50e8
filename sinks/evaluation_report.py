"""The page of an evaluation: both tracks, the baselines, the evidence, and the insiders' timelines. Knows no detector or files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from detector.evaluation.evaluate import Evaluation, TrackResult
from detector.evaluation.figures import Figures, Judged, truth_of
from detector.evaluation.truth import AnswerKey
from sinks.charts import Line
from sinks.report import (
    Page,
    Row,
    Section,
    Table,
    Tile,
    curve_line,
    evidence_table,
    number,
    operating_points,
    percent,
    ranking_chart,
    reliability_chart,
    render,
    scenarios,
    stories,
    survival_table,
)

NAMES: Mapping[str, str] = {"all": "all features", "shortcut-free": "shortcut-free"}
_STYLES = ("a", "b", "c", "d")


@dataclass(frozen=True, slots=True)
class _Told:
    """A track's alerts, as stories want them."""

    judged: Judged
    key: AnswerKey
    zone: str
    cited_events: pl.DataFrame
    reasons: Mapping[str, str]


def write_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Write the evaluation's page (`report.html`)."""
    path.write_text(render(evaluation_page(evaluation)), encoding="utf-8")


def evaluation_page(evaluation: Evaluation) -> Page:
    """The page of an evaluation; timelines are those of the first track and seed."""
    tracks, found = evaluation.tracks, evaluation.summary
    named = {NAMES[name]: result.figures for name, result in tracks.items()}
    first_name, first = next(iter(tracks.items()))
    styled = dict(zip(_STYLES, tracks.items(), strict=False))
    lines = [_line(style, name, result, evaluation.key) for style, (name, result) in styled.items()]
    sections = [
        Section(
            "Ranking",
            charts=[
                ranking_chart(lines, first.figures),
                reliability_chart({style: (NAMES[name], result.figures) for style, (name, result) in styled.items()}),
            ],
            note="Curves of the first seed; all figures are means over the seeds, each with its own folds and models.",
        ),
        Section("Against the baselines", tables=[_baselines(figures, name) for name, figures in named.items()]),
        Section("Operating points", tables=[operating_points(figures, name) for name, figures in named.items()]),
        Section("Evidence", tables=[evidence_table(_with_rule(named)), _deletion(named)]),
        Section("Insiders and what their windows kept", tables=_who_and_what(named, first.figures), paired=True),
        Section("Chance", tables=[_intervals(named)]),
    ]
    told = _Told(first.judged, evaluation.key, str(found["zone"]), first.told, first.reasons)
    return Page(
        title="Daywatch evaluation",
        subtitle=(
            f"{found['users']:,} users, {found['user_days']:,} user/days in zone {found['zone']}, "
            f"{found['positive_days']:,} of them malicious; "
            f"{_tested(found)}; timelines: {NAMES[first_name]}"
        ),
        tiles=_tiles(named, found),
        sections=sections,
        stories=stories(told),
        footer="A user/day is malicious when it holds an event of the answer key. Nobody is judged by a model that was trained on them.",
    )


def _who_and_what(named: Mapping[str, Figures], first: Figures) -> list[Table]:
    caught = [scenarios(figures, f"Caught, by scenario: {name}") for name, figures in named.items()]
    return [*caught, survival_table(first["evidence"]["survival"])]


def _tested(found: Figures) -> str:
    return f"tested in {found['folds']} folds of users" if found["trained_here"] else "judged by one given model"


def _line(style: str, name: str, result: TrackResult, key: AnswerKey) -> Line:
    truth = truth_of(result.judged.days, key)
    return curve_line(
        f"{NAMES[name]}, PR-AUC {result.figures['pr_auc']:.3f}", style, truth, result.judged.days["score"].to_numpy(), result.figures
    )


def _tiles(named: Mapping[str, Figures], found: Figures) -> list[Tile]:
    tiles = [Tile(f"PR-AUC, {name}", f"{figures['pr_auc']:.3f}") for name, figures in named.items()]
    tiles += [Tile(f"recall at 1 % FPR, {name}", f"{figures['recall_at_fpr']['0.01']['recall']:.3f}") for name, figures in named.items()]
    insiders, invalid = found["insiders"], found["evidence"]["invalid"]
    return [
        *tiles,
        Tile("evidence F1, right alerts", f"{found['evidence']['f1']:.3f}"),
        Tile("insiders caught", f"{number(insiders['caught'])} of {number(insiders['total'])}"),
        Tile("citations outside their window", number(invalid), "good" if not invalid else "bad"),
    ]


def _baselines(figures: Figures, title: str) -> Table:
    rows = []
    for place, line in enumerate(figures["baselines"]):
        if "recall_at_fpr" not in line:
            rows.append(Row([line["name"], "–", "–", *["–"] * 5]))
            continue
        spread = line.get("pr_auc_interval")
        between = f"{spread[0]:.3f}–{spread[1]:.3f}" if spread else "–"
        recalls = [f"{point['recall']:.3f}" for point in line["recall_at_fpr"].values()]
        insiders = line["recall_at_fpr"]["0.01"]["insiders"]
        cells = [line["name"], f"{line['pr_auc']:.3f}", between, *recalls, f"{number(insiders['caught'])} of {number(insiders['total'])}"]
        rows.append(Row(cells, strong=place == 0))
    note = (
        "Recall at a false-positive rate of 0.1, 0.2, 0.5 and 1 %; insiders caught at 1 %. The language model needs a backend that has one."
    )
    return Table(["", "PR-AUC", "95 % interval", "0.1 %", "0.2 %", "0.5 %", "1 %", "insiders"], rows, title, note)


def _with_rule(named: Mapping[str, Figures]) -> dict[str, Figures]:
    """Each track's evidence, and after it the rule's on the same alerts."""
    found: dict[str, Figures] = {}
    for name, figures in named.items():
        found[name] = figures
        found[f"{name}, cite-all rule"] = {"evidence": figures["evidence_of_rule"]}
    return found


def _deletion(named: Mapping[str, Figures]) -> Table:
    rows = []
    for name, figures in named.items():
        found = figures["deletion"]
        falls = [f"{found[what]:.3f}" for what in ("fall_cited", "fall_random")]
        shares = [percent(found[what]) for what in ("cited_falls_more", "silenced_cited", "silenced_random")]
        rows.append(Row([name, number(found["alerts"]), *falls, *shares]))
    note = "How far the score of right alerts falls without the cited events, and without as many random ones (mean of five draws)."
    return Table(["", "alerts", "fall, cited", "fall, random", "cited more", "silenced", "by random"], rows, "Deletion", note)


def _intervals(named: Mapping[str, Figures]) -> Table:
    rows = []
    for name, figures in named.items():
        if not figures.get("intervals"):
            continue
        spans = figures["intervals"]
        picked = [
            spans["pr_auc"],
            spans["recall_at_fpr"]["0.01"],
            spans["evidence_f1"],
            spans["evidence_f1_end_to_end"],
            spans["insiders_caught"],
        ]
        rows.append(Row([name, *(f"{low:.3f}–{high:.3f}" for low, high in picked)]))
    columns = ["", "PR-AUC", "recall, 1 % FPR", "evidence F1", "end to end", "insiders"]
    return Table(columns, rows, "95 % intervals", "Bootstrap over users: 1,000 draws of as many users.")
