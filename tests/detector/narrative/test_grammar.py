"""The grammar: every way through it is an answer, and no way through it is longer than its budget."""

import random
from pathlib import Path
from typing import Any

import pytest

from detector.narrative.answer import BEGINNING, LABELS, MOST_REASON, Answer, parsed, written
from detector.narrative.grammar import Constraint, UnfitTokenizer, beginning_of, grammar_text, longest, sayable
from detector.verdict import Label
from tests.detector.narrative.tiny import allowed, byte_level

pytest.importorskip("llguidance", reason="needs the llm extra")
pytest.importorskip("transformers", reason="needs the llm extra")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return byte_level()


@pytest.fixture(scope="module")
def constraint(tokenizer: Any) -> Constraint:
    return Constraint(tokenizer, n_vocab=len(tokenizer) + 61)


def test_every_walk_through_the_grammar_is_an_answer_within_its_budget(constraint: Constraint, tokenizer: Any) -> None:
    chance = random.Random(7)
    seen: set[tuple[Label, int]] = set()
    for _ in range(100):
        label, n = chance.choice(LABELS), chance.choice([0, 1, 2, 5, 12, 40])
        # often one character: the walk is then long, and its budget is met
        matcher, tokens = constraint.matcher(label, n), []
        while not matcher.done:
            token = chance.choice(allowed(constraint, matcher))
            assert token < len(tokenizer)
            matcher.take(token)
            tokens.append(token)
        answer = parsed(constraint.text(tokens), n)
        assert answer.risk == label
        assert written(answer) == constraint.text(tokens)
        assert len(tokens) <= longest(n)
        seen.add((label, len(answer.evidence)))
    assert {count > 1 for _, count in seen} == {True, False}


def test_everything_that_can_be_written_and_said_is_in_the_grammar(constraint: Constraint, tokenizer: Any) -> None:
    chance = random.Random(11)
    for n in (0, 1, 3, 12):
        for label in LABELS:
            for _ in range(20):
                least = 1 if label != "normal" and n else 0
                places = tuple(sorted(chance.sample(range(n), chance.randint(least, n))))
                tokens = tokenizer(written(Answer(label, places, "drive at 01:20, 3 copies")), add_special_tokens=False).input_ids
                assert constraint.matcher(label, n, tokens).done


@pytest.mark.parametrize(
    "text",
    [
        '{"risk": "malicious", "evidence": [], "reason": "x"}',
        '{"risk": "normal", "evidence": ["E1"], "reason": "x"}',
        '{"risk": "malicious", "evidence": ["E2", "E1"], "reason": "x"}',
        '{"risk": "malicious", "evidence": ["E1", "E1"], "reason": "x"}',
        '{"risk": "malicious", "evidence": ["E4"], "reason": "x"}',
        '{"risk": "malicious", "evidence": ["E1"], "reason": ""}',
        '{"risk": "malicious", "evidence": ["E1"], "reason": "<b>"}',
        '{"risk": "malicious", "evidence": ["E1"], "reason": "' + "x" * (MOST_REASON + 1) + '"}',
        '{"risk": "malicious", "evidence": ["E1"], "reason": "x", "more": 1}',
    ],
)
def test_nothing_else_is_in_the_grammar(constraint: Constraint, tokenizer: Any, text: str) -> None:
    with pytest.raises(UnfitTokenizer):
        constraint.matcher("malicious", 3, tokenizer(text, add_special_tokens=False).input_ids)


def test_all_aliases_may_be_cited_and_the_longest_answer_fits_its_bound(constraint: Constraint, tokenizer: Any) -> None:
    text = written(Answer("suspicious", tuple(range(60)), "x" * MOST_REASON))
    tokens = tokenizer(text, add_special_tokens=False).input_ids
    assert constraint.matcher("suspicious", 60, tokens).done
    assert len(text) == longest(60)


def test_the_beginning_leaves_the_bracket_to_the_model(constraint: Constraint, tokenizer: Any) -> None:
    for label in LABELS:
        beginning = beginning_of(label)
        assert beginning.startswith(BEGINNING + label)
        ids = tokenizer(beginning, add_special_tokens=False).input_ids
        whole = tokenizer(written(Answer(label, (0,), "x")), add_special_tokens=False).input_ids
        assert whole[: len(ids)] == ids
        follow = {constraint.bytes_of(token) for token in allowed(constraint, constraint.matcher(label, 3, ids))}
        assert follow == ({b" ", b" [", b' ["'} if label == "normal" else {b' ["'})


def test_what_forms_markup_or_ends_a_text_cannot_be_said() -> None:
    assert sayable("14 copies to a drive (first ever), 01:20-02:05; then job sites: a 40% rise & more!")
    assert not any(sayable(f"a{sign}b") for sign in '"\\<>{}|`\n\u202e\u00e9')
    assert not sayable("")


def test_special_tokens_are_never_allowed(constraint: Constraint, tokenizer: Any) -> None:
    special = set(tokenizer.all_special_ids)
    matcher = constraint.matcher("malicious", 2, tokenizer('{"risk": "malicious", "evidence": ["E1"], "reason": "x').input_ids)
    assert not special & set(allowed(constraint, matcher))


def test_a_tokenizer_that_cannot_be_constrained_is_named(tmp_path: Path) -> None:
    class Slow:
        def __len__(self) -> int:
            return 10

    with pytest.raises(UnfitTokenizer, match=r"Slow.*tokenizer\.json"):
        Constraint(Slow(), 10)


def test_tokens_of_another_tokenizer_are_refused(constraint: Constraint) -> None:
    with pytest.raises(UnfitTokenizer, match="do not agree"):
        constraint.matcher("normal", 2, [0, 0, 0])


def test_the_grammar_grows_with_its_aliases_and_not_with_their_square() -> None:
    assert len(grammar_text("malicious", 200)) < 250 * len('l100: "\\"E100\\"" m100 | l101\nm100: "" | ", " l101\n')
