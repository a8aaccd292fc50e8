import numpy as np
import polars as pl
import pytest

from detector.evaluation.against_triage import against_triage
from detector.evaluation.figures import CITED_SCHEMA, JUDGED_SCHEMA, Judged
from detector.evaluation.metrics import average_precision, curve
from detector.evaluation.truth import KEY_SCHEMA, AnswerKey

N, MALICIOUS = 200, 10
KEY = AnswerKey(
    (), pl.DataFrame([(f"u{n}", 1, f"u{n}", "http", "h", 0, 1, "PC", "") for n in range(MALICIOUS)], schema=KEY_SCHEMA, orient="row")
)
TRUTH = np.arange(N) < MALICIOUS


def _judged(score: np.ndarray, triage: np.ndarray, alerts: int) -> Judged:
    alerting = set(np.argsort(-score, kind="stable")[:alerts].tolist())
    rows = [(f"u{n}", 1, 0, float(score[n]), float(triage[n]), "normal", n in alerting, False) for n in range(N)]
    return Judged.of(pl.DataFrame(rows, JUDGED_SCHEMA, orient="row"), pl.DataFrame(schema=CITED_SCHEMA))


def test_both_are_held_to_the_same_number_of_alerts() -> None:
    triage = np.linspace(0.9, 0.1, N)[np.random.default_rng(0).permutation(N)]
    found = against_triage(_judged(np.where(TRUTH, 0.9, 0.1) + triage / 100, triage, alerts=12), KEY, seed=0, replicates=100)
    same = found["same_alerts"]
    assert (same["cascade"]["alerts"], same["triage"]["alerts"]) == (12, 12)
    best = np.argsort(-triage)[:12]
    assert (same["cascade"]["hits"], same["triage"]["hits"]) == (10, TRUTH[best].sum())
    assert (same["cascade"]["insiders"]["caught"], same["triage"]["insiders"]["caught"]) == (10, TRUTH[best].sum())
    assert found["pr_auc"]["cascade"] == 1.0
    assert found["pr_auc"]["gain"] == pytest.approx(1.0 - average_precision(curve(TRUTH, triage)))
    low, high = found["pr_auc"]["gain_interval"]
    assert 0 < low < found["pr_auc"]["gain"] <= high
    assert found["at_alert_budget"]["10"] == {"cascade": 0.2, "triage": pytest.approx(TRUTH[np.argsort(-triage)[:2]].mean() * 0.2)}


def test_a_model_that_adds_nothing_gains_exactly_nothing() -> None:
    triage = np.random.default_rng(1).random(N)
    found = against_triage(_judged(triage, triage, alerts=5), KEY, seed=0, replicates=50)
    assert found["pr_auc"]["gain"] == 0
    assert found["pr_auc"]["gain_interval"] == [0.0, 0.0]
    assert found["same_alerts"]["cascade"]["hits"] == found["same_alerts"]["triage"]["hits"]


def test_without_an_alert_there_is_nothing_to_compare_but_the_ranking() -> None:
    same = against_triage(_judged(np.zeros(N), np.linspace(1, 0, N), alerts=0), KEY, seed=0, replicates=0)["same_alerts"]
    assert (same["cascade"]["alerts"], same["triage"]["alerts"], same["triage"]["insiders"]["caught"]) == (0, 0, 0)
