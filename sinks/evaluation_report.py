"""The page of an evaluation: both tracks, the baselines, the evidence, and the insiders' timelines. Knows no detector or files."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from detector.evaluation.evaluate import Evaluation
from detector.evaluation.figures import Figures, Judged, truth_of
from detector.evaluation.truth import AnswerKey
from sinks.charts import Line
from sinks.report import (
    Page,
    Row,
    Section,
    Story,
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
_BALANCED = "Balanced draws"
_LABEL_COLUMNS = ("", "accuracy", "macro F1", "recall", "valid", "act.", "ev. P", "ev. R", "ev. F1")
_OF_LABELS = ("accuracy", "macro_f1", "malicious_recall", "valid_format", "actionability")
_OF_EVIDENCE = ("precision", "recall", "f1")


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
    calibration = reliability_chart({style: (NAMES[name], result.figures) for style, (name, result) in styled.items()})
    balanced = Section(
        _BALANCED, tables=[_balanced(named), *(_by_draw(figures, name) for name, figures in named.items())], note=_what_is_balanced(found)
    )
    told: list[Story] = []
    if first.judged is None:
        sections = [balanced, Section("Ranking, from the drawn user/days", charts=[calibration], tables=[_model_alone(named)])]
        tested = "a language model asked about the drawn user/days alone"
    else:
        lines = [
            _line(style, name, result.judged, result.figures, evaluation.key) for style, (name, result) in styled.items() if result.judged
        ]
        compared = {name: figures["against_triage"] for name, figures in named.items() if "against_triage" in figures}
        sections = [
            *([balanced] if compared else []),
            *([Section("What the model adds to its triage", tables=_against_triage(compared))] if compared else []),
            Section(
                "Ranking",
                charts=[ranking_chart(lines, first.figures), calibration],
                note="Curves of the first seed; all figures are means over the seeds, each with its own folds and models.",
            ),
            Section("Against the baselines", tables=[_baselines(figures, name) for name, figures in named.items()]),
            Section("Operating points", tables=[operating_points(figures, name) for name, figures in named.items()]),
            Section("Evidence", tables=[evidence_table(_with_rule(named)), _deletion(named)]),
            Section("Insiders and what their windows kept", tables=_who_and_what(named, first.figures), paired=True),
            *([] if compared else [balanced]),
            Section("Chance", tables=[_intervals(named)]),
        ]
        told = stories(_Told(first.judged, evaluation.key, str(found["zone"]), first.told, first.reasons))
        tested = f"{_tested(found)}; timelines: {NAMES[first_name]}"
    return Page(
        title="Daywatch evaluation",
        subtitle=(
            f"{found['users']:,} users, {found['user_days']:,} user/days in zone {found['zone']}, "
            f"{found['positive_days']:,} of them malicious; {tested}"
        ),
        tiles=_tiles(named, found),
        sections=sections,
        stories=told,
        footer=(
            "A user/day is malicious when it holds an event of the answer key. "
            "A fitted model never judges people it was fitted to; of a model that was given, that is for whoever gave it to say."
        ),
    )


def overview_page(found: Figures) -> Page:
    """The page of several evaluations (`detector.evaluation.several.combined`): means, and a line for each directory."""
    each: Mapping[str, Figures] = found["directories"]
    first = next(iter(found["tracks"]))
    rows = [Row([name, *_label_cells(one["balanced"])]) for name, one in each.items()]
    rows += _mean_and_spread("mean", found["balanced"])
    ranks = [row for name, one in each.items() for row in _ranks(name, one)] + _ranks("mean", found, strong=True)
    note = f"Each directory: {found['balanced']['draws']} draws of {2 * found['balanced']['each']}. {_WHAT_LABELS_ARE}"
    columns = ["", "PR-AUC", "recall, 1 % FPR", "ECE"]
    if any("against_triage" in figures for figures in found["tracks"].values()):
        columns += ["triage PR-AUC", "gain"]
    return Page(
        title="Daywatch evaluation",
        subtitle=(
            f"{len(each)} directories: {found['users']:,} users, {found['user_days']:,} user/days, "
            f"{found['positive_days']:,} of them malicious; every directory has a page of its own beside this one"
        ),
        tiles=_tiles({}, found),
        sections=[
            Section(_BALANCED, tables=[Table(_LABEL_COLUMNS, rows, f"Means over the draws: {NAMES[first.replace('_', '-')]}", note)]),
            Section("Ranking", tables=[Table(columns, ranks, "At the natural rate", _how_ranked(found))]),
        ],
        footer="A user/day is malicious when it holds an event of the answer key.",
    )


def _how_ranked(found: Figures) -> str:
    return f"Ranked by: {found['ranked_by']}. Recall is at a false-positive rate of 1 %. ECE: expected calibration error."


def _ranks(title: str, found: Figures, *, strong: bool = False) -> list[Row]:
    return [
        Row(
            [
                f"{title}, {NAMES[name.replace('_', '-')]}",
                three(found["pr_auc"][name]),
                three(found["recall_at_fpr"][name].get("0.01")),
                three(figures["ece"]),
                *_beside_triage(figures),
            ],
            strong=strong,
        )
        for name, figures in found["tracks"].items()
    ]


def _beside_triage(figures: Figures) -> list[str]:
    if "against_triage" not in figures:
        return []
    compared = figures["against_triage"]["pr_auc"]
    return [three(compared["triage"]), f"{compared['gain']:+.3f}"]


def _what_is_balanced(found: Figures) -> str:
    drawn = found["balanced"]
    who = "The language model alone, without triage" if found["ranked_by"] != "backend" else "The detector"
    return f"{who}, on {drawn['draws']} draws of {drawn['each']} malicious and {drawn['each']} normal user/days; means over the draws."


def _balanced(named: Mapping[str, Figures]) -> Table:
    rows = [row for name, figures in named.items() for row in _mean_and_spread(name, figures["balanced"])]
    return Table(_LABEL_COLUMNS, rows, "Means over the draws", _WHAT_LABELS_ARE)


_WHAT_LABELS_ARE = (
    "Recall is of malicious days; suspicious is wrong for either label. Valid: answers in the form that was asked for. Act.: actionable, "
    "of the answers that call for action or cannot be read those that are valid with evidence and a reason. Ev.: cited events against the "
    "key, over right alerts. ±: standard deviation over the draws."
)


def _mean_and_spread(name: str, balanced: Figures) -> list[Row]:
    spread = balanced["spread"]
    deviations = [spread[each] for each in _OF_LABELS] + [spread[f"evidence_{each}"] for each in _OF_EVIDENCE]
    return [Row([name, *_label_cells(balanced)], strong=True), Row(["±", *map(three, deviations)])]


def _label_cells(balanced: Figures) -> list[str]:
    return [three(balanced[name]) for name in _OF_LABELS] + [three(balanced["evidence"][name]) for name in _OF_EVIDENCE]


def _by_draw(figures: Figures, name: str) -> Table:
    rows = [Row([f"seed {draw['seed']}", *_label_cells(draw)]) for draw in figures["balanced"]["by_draw"]]
    return Table(_LABEL_COLUMNS, rows, f"Each draw: {name}")


def _against_triage(named: Mapping[str, Figures]) -> list[Table]:
    """Cascade, triage and what the one is better by: at the same number of alerts, and at each alert budget."""
    same, budgets = [], []
    for name, found in named.items():
        at_same, at_budget = found["same_alerts"], found["at_alert_budget"].values()
        for who in ("cascade", "triage"):
            each, strong = at_same[who], who == "cascade"
            caught = f"{number(each['insiders']['caught'])} of {number(each['insiders']['total'])}"
            figures = [three(found["pr_auc"][who]), number(each["alerts"]), three(each["precision"]), three(each["recall"]), caught]
            same.append(Row([f"{who}, {name}", *figures], strong))
            budgets.append(Row([f"{who}, {name}", *(three(point[who]) for point in at_budget)], strong))
        more = [f"{at_same['cascade'][figure] - at_same['triage'][figure]:+.3f}" for figure in ("precision", "recall")]
        insiders = at_same["cascade"]["insiders"]["caught"] - at_same["triage"]["insiders"]["caught"]
        same.append(Row([f"gain, {name}", f"{found['pr_auc']['gain']:+.3f}", "", *more, f"{insiders:+d}"]))
        budgets.append(Row([f"gain, {name}", *(f"{point['cascade'] - point['triage']:+.3f}" for point in at_budget)]))
    gains = [f"{name} {found['pr_auc']['gain']:+.3f}{_between(found['pr_auc'].get('gain_interval'))}" for name, found in named.items()]
    note = f"Gain in PR-AUC: {'; '.join(gains)}. The rest is at the cascade's own threshold, and at as many alerts by triage."
    per_day = [f"{budget} a day" for budget in next(iter(named.values()))["at_alert_budget"]]
    return [
        Table(["", "PR-AUC", "alerts", "precision", "recall", "insiders"], same, "At the same number of alerts", note),
        Table(["", *per_day], budgets, "Recall at so many alerts a day per 1,000 users"),
    ]


def _between(interval: "Iterable[float] | None") -> str:
    return f" ({' to '.join(f'{end:+.3f}' for end in interval)})" if interval else ""


def _model_alone(named: Mapping[str, Figures]) -> Table:
    rows = []
    for name, figures in named.items():
        sample, recalls = figures["sample"], [three(point["recall"]) for point in figures["recall_at_fpr"].values()]
        low_high = figures.get("pr_auc_interval")
        rows.append(
            Row(
                [
                    name,
                    f"{number(sample['malicious'])} of {number(sample['malicious_in_all'])}",
                    f"{number(sample['normal'])} of {number(sample['normal_in_all'])}",
                    three(figures["pr_auc"]),
                    "–".join(map(three, low_high)) if low_high else "–",
                    *recalls,
                ]
            )
        )
    note = (
        "Estimates for all user/days: each that was asked about stands for as many as there are of its kind for each one asked. "
        "False-positive rates that so few innocent days cannot tell from none are left out. --sample asks about more, and about a cascade."
    )
    return Table(["", "malicious", "innocent", "PR-AUC", "95 % interval", "0.1 %", "0.2 %", "0.5 %", "1 %"], rows, "The model alone", note)


def three(value: float | None) -> str:
    """A share with three decimals; a dash when there is none.

    >>> three(0.5), three(float("nan"))
    ('0.500', '–')
    """
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"


def _who_and_what(named: Mapping[str, Figures], first: Figures) -> list[Table]:
    caught = [scenarios(figures, f"Caught, by scenario: {name}") for name, figures in named.items()]
    return [*caught, survival_table(first["evidence"]["survival"])]


def _tested(found: Figures) -> str:
    return f"tested in {found['folds']} folds of users" if found["trained_here"] else "judged by one given model"


def _line(style: str, name: str, judged: Judged, figures: Figures, key: AnswerKey) -> Line:
    truth = truth_of(judged.days, key)
    return curve_line(f"{NAMES[name]}, PR-AUC {figures['pr_auc']:.3f}", style, truth, judged.days["score"].to_numpy(), figures)


def _tiles(named: Mapping[str, Figures], found: Figures) -> list[Tile]:
    tiles = []
    if found["labels_over"] == "balanced draws":
        names = {"accuracy": "accuracy", "macro_f1": "macro F1", "malicious_recall": "malicious recall", "valid_format": "valid format"}
        tiles += [Tile(f"{text}, balanced", three(found[name])) for name, text in names.items()]
    by_track = {NAMES[name.replace("_", "-")]: value for name, value in found["pr_auc"].items()}
    estimated = " estimate" if found["ranked_by"].startswith("model alone") else ""
    tiles += [Tile(f"PR-AUC{estimated}, {name}", three(value)) for name, value in by_track.items()]
    tiles += [Tile(f"recall at 1 % FPR, {name}", three(figures["recall_at_fpr"]["0.01"]["recall"])) for name, figures in named.items()]
    for name, figures in found.get("tracks", named).items():
        if "against_triage" in figures:
            gain, track = figures["against_triage"]["pr_auc"]["gain"], NAMES.get(name.replace("_", "-"), name)
            tiles.append(Tile(f"PR-AUC over triage, {track}", f"{gain:+.3f}", "good" if gain > 0 else "bad"))
    tiles.append(Tile("evidence F1, right alerts", three(found["evidence"]["f1"])))
    if found.get("insiders"):
        tiles.append(Tile("insiders caught", f"{number(found['insiders']['caught'])} of {number(found['insiders']['total'])}"))
    invalid = found["evidence"]["invalid"]
    return [*tiles, Tile("citations outside their window", number(invalid), "good" if not invalid else "bad")]


def _baselines(figures: Figures, title: str) -> Table:
    rows = []
    for place, line in enumerate(figures["baselines"]):
        if "recall_at_fpr" not in line:
            rows.append(Row([line["name"], "–", "–", *["–"] * 5]))
            continue
        spread = line.get("pr_auc_interval")
        between = "–".join(map(three, spread)) if spread else "–"
        recalls = [three(point["recall"]) for point in line["recall_at_fpr"].values()]
        insiders = line["recall_at_fpr"]["0.01"].get("insiders")
        caught = f"{number(insiders['caught'])} of {number(insiders['total'])}" if insiders else "–"
        rows.append(Row([line["name"], three(line["pr_auc"]), between, *recalls, caught], strong=place == 0))
    note = "Recall at a false-positive rate of 0.1, 0.2, 0.5 and 1 %; insiders caught at 1 %. " + _of_the_last_line(figures)
    return Table(["", "PR-AUC", "95 % interval", "0.1 %", "0.2 %", "0.5 %", "1 %", "insiders"], rows, title, note)


def _of_the_last_line(figures: Figures) -> str:
    if "one_pass" not in figures:
        return "The language model needs a backend that has one."
    sample = figures["one_pass"]["sample"]
    return (
        f"The language model was asked about {number(sample['malicious'])} malicious and {number(sample['normal'])} of "
        f"{number(sample['normal_in_all'])} innocent user/days; its figures are estimates for all, by weights."
    )


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
