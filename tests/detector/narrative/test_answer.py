"""Answers: one form to write, one to read, and what is refused."""

import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.narrative.answer import BEGINNING, LABELS, MOST_REASON, Answer, BadAnswer, json_schema, parsed, parsed_card, plain, written

REASONS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=MOST_REASON)


@st.composite
def answers(draw: st.DrawFn) -> tuple[Answer, int]:
    n = draw(st.integers(0, 40))
    label = draw(st.sampled_from(LABELS))
    least = 1 if n and label != "normal" else 0
    places = draw(st.sets(st.integers(0, n - 1), min_size=least)) if n else set()
    return Answer(label, tuple(sorted(places)), draw(REASONS)), n


@given(answers())
def test_what_is_written_is_read_back_and_fits_the_schema(case: tuple[Answer, int]) -> None:
    answer, n = case
    text = written(answer)
    assert parsed(text, n) == answer
    assert text.startswith(BEGINNING)
    for schema in (json_schema(n), json_schema(n, answer.risk)):
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(json.loads(text), schema)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 16_000, "not JSON"),
        ("[]", "not one object"),
        ('"malicious"', "not one object"),
        ('{"risk": "normal", "evidence": []}', "not one object"),
        ('{"risk": "normal", "evidence": [], "reason": "x", "score": 1}', "not one object"),
        ('{"risk": "high", "evidence": ["E1"], "reason": "x"}', "risk is none of"),
        ('{"risk": ["normal"], "evidence": ["E1"], "reason": "x"}', "not a text"),
        ('{"risk": "malicious", "evidence": "E1", "reason": "x"}', "not a list of aliases"),
        ('{"risk": "malicious", "evidence": [1], "reason": "x"}', "not a list of aliases"),
        ('{"risk": "malicious", "evidence": [], "reason": "x"}', "without evidence"),
        ('{"risk": "malicious", "evidence": ["E4"], "reason": "x"}', "E4 is not among the 3"),
        ('{"risk": "malicious", "evidence": ["E0"], "reason": "x"}', "no alias"),
        ('{"risk": "malicious", "evidence": ["E01"], "reason": "x"}', "no alias"),
        ('{"risk": "malicious", "evidence": ["E٣"], "reason": "x"}', "no alias"),
        ('{"risk": "malicious", "evidence": ["{C9K9-J9QF52AH}"], "reason": "x"}', "no alias"),
        ('{"risk": "malicious", "evidence": ["E2", "E1"], "reason": "x"}', "ascending"),
        ('{"risk": "malicious", "evidence": ["E2", "E2"], "reason": "x"}', "ascending"),
        ('{"risk": "malicious", "evidence": ["E2"], "reason": " "}', "printable"),
        ('{"risk": "malicious", "evidence": ["E2"], "reason": "a\\nb"}', "printable"),
        ('{"risk": "malicious", "evidence": ["E2"], "reason": "a\\u202eb"}', "printable"),
        ('{"risk": "malicious", "evidence": ["E2"], "reason": "' + "x" * (MOST_REASON + 1) + '"}', "printable"),
        ('{"risk": "normal", "risk": "malicious", "evidence": ["E2"], "reason": "x"}', "twice"),
        ('{"risk": "malicious", "evidence": ["E2"], "reason": "x"} and more', "not JSON"),
        (" " * 100_000, "longer than any answer"),
    ],
)
def test_an_answer_that_breaks_a_rule_is_refused(text: str, why: str) -> None:
    with pytest.raises(BadAnswer, match=why):
        parsed(text, n_aliases=3)


def test_a_risk_in_a_window_without_events_needs_no_evidence() -> None:
    assert parsed('{"risk": "malicious", "evidence": [], "reason": "x"}', 0).evidence == ()


@pytest.mark.parametrize(
    "text",
    [
        '{"risk": "malicious", "evidence": ["E3", "E1", "E3"], "reasoning": "copies\\nat night"}',
        '```json\n{"reasoning": "copies at night", "risk": "Malicious", "evidence": ["E01", "e3"]}\n```',
        '<think>no {}</think>{"Risk_Level": "malicious", "evidence": [{"id": "E1"}, {"id": "E3"}], "reason": "copies at night"}',
        "**Risk:** malicious\n**Evidence:** E1, E3\n**Reasoning:** copies at night",
        "risk: Malicious.\n- evidence: [E1; E3]\n\nreasoning: copies\n  at night\n",
    ],
)
def test_the_free_answers_of_published_adapters_are_read(text: str) -> None:
    assert parsed_card(text, n_aliases=3) == Answer("malicious", (0, 2), "copies at night")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no risk"),
        ("Risk: malicious", "no evidence, no reason"),
        ("Risk: high\nEvidence: E1\nReasoning: x", "risk is none of"),
        ("Risk: not normal\nEvidence: E1\nReasoning: x", "risk is none of"),
        ("Risk: malicious\nEvidence: E9\nReasoning: x", "E9 is not among"),
        ("Risk: malicious\nEvidence: none\nReasoning: x", "without evidence"),
        ("Risk: malicious\nEvidence: E1\nReasoning:", "printable"),
        ("x" * 100_000, "longer than any answer"),
        ("{" * 16_000, "no risk"),
    ],
)
def test_a_free_answer_without_its_fields_is_refused(text: str, why: str) -> None:
    with pytest.raises(BadAnswer, match=why):
        parsed_card(text, n_aliases=3)


@given(st.text(max_size=400), st.integers(0, 5))
def test_any_text_is_an_answer_or_is_refused_by_name(text: str, n: int) -> None:
    for read in (parsed, parsed_card):
        for whole in (text, f"risk: malicious\nevidence: E1\nreason: {text}"):
            try:
                answer = read(whole, n)
            except BadAnswer:
                continue
            assert all(0 <= place < n for place in answer.evidence)


def test_a_long_reason_is_cut_at_a_word() -> None:
    assert plain("word " * 100) == ("word " * 48).strip()
    assert plain("x" * 500) == "x" * MOST_REASON
    assert plain(" a\u200b\tb ") == "a b"


def test_a_schema_asks_for_evidence_where_there_is_some_to_cite() -> None:
    assert json_schema(4, "malicious")["properties"]["evidence"]["minItems"] == 1
    assert json_schema(0, "malicious")["properties"]["evidence"]["maxItems"] == 0
    assert json_schema(4, "normal")["properties"]["evidence"]["minItems"] == 0
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"risk": "suspicious", "evidence": [], "reason": "x"}, json_schema(4))
