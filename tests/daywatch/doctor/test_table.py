"""The page about the doctor says what the rules say."""

from pathlib import Path

from daywatch.doctor.table import table


def test_the_table_in_the_documentation_is_the_one_that_the_checks_make(repository: Path) -> None:
    page = (repository / "docs" / "doctor.md").read_text()
    between = page.partition("compared by a test -->\n")[2].partition("<!-- end of checks -->")[0]
    assert between == table(), "run `python -m daywatch.doctor.table` and put its table into docs/doctor.md"
