import pytest

from detector.logline.labels import DEFINITIONS, LABELS, BadLabels, label_order, parse_labels


def test_every_label_is_defined_in_writing() -> None:
    assert tuple(DEFINITIONS) == LABELS == ("Normal", "Suspicious", "Malicious", "Informational", "Error")
    assert all(len(text) > 60 for text in DEFINITIONS.values())


def test_the_definitions_are_those_of_the_documentation(repository: object) -> None:
    page = (repository / "docs" / "detector.md").read_text(encoding="utf-8")  # type: ignore[operator]
    flat = " ".join(page.split())
    assert [label for label, text in DEFINITIONS.items() if f"**{label}**: {text}" not in flat] == []


def test_a_models_own_label_map_is_honoured_whatever_its_order_and_case() -> None:
    assert label_order({0: "ERROR", 1: "malicious", 2: "Normal", 3: "suspicious", 4: "informational"}) == (
        "Error", "Malicious", "Normal", "Suspicious", "Informational",
    )  # fmt: skip


def test_a_map_of_mere_numbers_is_read_in_the_published_order_unless_the_user_names_it() -> None:
    numbers = {place: f"LABEL_{place}" for place in range(5)}
    assert label_order(numbers) == LABELS
    assert label_order(numbers, LABELS[::-1]) == LABELS[::-1]


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["positive", "negative"], "has 2"),
        ([*LABELS[:4], "Fatal"], "'Fatal' is none of"),
        ([*LABELS[:4], "normal"], "twice"),
        ([*LABELS, "Other"], "has 6"),
    ],
)
def test_a_wrong_label_map_is_a_clear_error(names: list[str], text: str) -> None:
    with pytest.raises(BadLabels, match=text):
        label_order(dict(enumerate(names)))


def test_a_map_that_skips_a_number_is_refused() -> None:
    with pytest.raises(BadLabels):
        label_order(dict(zip((0, 1, 2, 3, 7), LABELS, strict=True)))


@pytest.mark.parametrize("text", ["", ",", "Bad", "Malicious,Bad"])
def test_labels_that_a_user_lists_must_be_labels(text: str) -> None:
    with pytest.raises(BadLabels):
        parse_labels(text)
