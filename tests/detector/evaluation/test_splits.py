from collections import Counter

import polars as pl
import pytest

from detector.evaluation.splits import cut_day, folds_of
from detector.evaluation.truth import KEY_SCHEMA, AnswerKey
from stream.errors import ConfigurationError


def _key(*rows: tuple[str, int, str]) -> AnswerKey:
    events = [(insider, scenario, user, "http", f"e{n}", n, n, "PC", "") for n, (insider, scenario, user) in enumerate(rows)]
    return AnswerKey((), pl.DataFrame(events, schema=KEY_SCHEMA, orient="row"))


USERS = [f"U{n:03}" for n in range(100)]
KEY = _key(*((f"U{n:03}", 1 + n % 3, f"U{n:03}") for n in range(15)))


def test_every_user_is_tested_once_and_folds_are_equally_large() -> None:
    dealt = folds_of(USERS, KEY, 5, seed=1)
    assert set(dealt) == set(USERS)
    assert set(Counter(dealt.values()).values()) == {20}


def test_insiders_of_each_scenario_are_dealt_evenly() -> None:
    dealt = folds_of(USERS, KEY, 5, seed=1)
    for scenario in (1, 2, 3):
        assert Counter(dealt[f"U{n:03}"] for n in range(15) if 1 + n % 3 == scenario) == Counter(range(5))


def test_an_insider_and_the_accounts_used_are_never_parted() -> None:
    key = _key(("U000", 3, "U000"), ("U000", 3, "U050"), ("U001", 3, "U050"), ("U001", 3, "U099"))
    for seed in range(20):
        dealt = folds_of(USERS, key, 5, seed)
        assert len({dealt[user] for user in ("U000", "U001", "U050", "U099")}) == 1


def test_the_deal_depends_on_the_seed_and_not_on_the_order_of_users() -> None:
    assert folds_of(USERS, KEY, 5, 1) == folds_of(USERS[::-1] + USERS, KEY, 5, 1)
    assert folds_of(USERS, KEY, 5, 1) != folds_of(USERS, KEY, 5, 2)


@pytest.mark.parametrize(("folds", "users"), [(1, USERS), (5, USERS[:4])])
def test_too_few_folds_or_users_are_refused(folds: int, users: list[str]) -> None:
    with pytest.raises(ConfigurationError, match=f"--folds {folds}"):
        folds_of(users, KEY, folds, 1)


def test_the_chronological_cut_leaves_half_of_the_positive_days_behind() -> None:
    assert cut_day(pl.DataFrame({"day": [9, 1, 5, 3]})) == 5
    with pytest.raises(ConfigurationError):
        cut_day(pl.DataFrame({"day": [1]}))
