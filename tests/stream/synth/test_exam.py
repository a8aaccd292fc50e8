"""The synthetic organisation is a fair exam: neither solved by one threshold nor out of reach for plain boosted trees."""

import pytest

from bench.exam import LEAST, MOST, RULE_PRECISION, Result, examine


@pytest.fixture(scope="module")
def result() -> Result:
    return examine(users=180, days=48, train=(101, 102, 103), test=(201, 202, 203))


@pytest.mark.slow
def test_plain_boosted_trees_find_some_of_it_and_not_all(result: Result) -> None:
    assert LEAST <= result.pr_auc_shortcut_free <= MOST


@pytest.mark.slow
def test_counting_events_helps_little(result: Result) -> None:
    assert LEAST <= result.pr_auc_all <= MOST
    assert result.pr_auc_all - result.pr_auc_shortcut_free < 0.15


@pytest.mark.slow
def test_no_single_rule_will_do(result: Result) -> None:
    name, precision = max(result.rules.items(), key=lambda rule: rule[1])
    assert precision < RULE_PRECISION, name


@pytest.mark.slow
def test_it_is_an_exam_at_natural_rates_with_every_scenario(result: Result) -> None:
    assert 0.004 < result.positives / result.days < 0.03
    assert set(result.recall_by_scenario) == {1, 2, 3, 4, 5}


@pytest.mark.slow
def test_most_insiders_have_a_day_that_stands_out(result: Result) -> None:
    assert result.caught > 0.7
