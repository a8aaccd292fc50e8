"""The page of bad input shows what the tests try, all of it, and there is as much of it as promised."""

from collections import Counter

from tests.bad_input.environments import ENVIRONMENTS
from tests.bad_input.events import BROKEN
from tests.bad_input.files import FILES
from tests.bad_input.table import PAGE, page
from tests.bad_input.windows import BROKEN_RESULTS, BROKEN_WINDOWS


def test_the_page_is_the_one_that_the_cases_make() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: make bad-input"


def test_no_two_cases_are_the_same() -> None:
    slugs = Counter(one.case.slug for group in (BROKEN, BROKEN_WINDOWS, BROKEN_RESULTS, FILES, ENVIRONMENTS) for one in group)
    assert [slug for slug, times in slugs.items() if times > 1] == []


def test_there_are_at_least_thirty_kinds_of_record_and_fifteen_of_surroundings() -> None:
    assert len(BROKEN) + len(BROKEN_WINDOWS) >= 30
    assert len(ENVIRONMENTS) >= 15
