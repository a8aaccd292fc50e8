r"""The closed grammar of one window's answer, and its matcher, by llguidance. An adapter: imports llguidance. Knows no model.

Whatever a model prefers, what comes out has the canonical form, cites only aliases of its window in ascending order, each at most once,
at least one where the label is a risk, and ends within its budget: the length of the reason is part of the grammar.

    start: "{\"risk\": \"malicious\", \"evidence\": [" l1 "], \"reason\": \"" REASON "\"}"
    l1: "\"E1\"" m1 | l2          cite E1, or look further
    m1: "" | ", " l2              stop after E1, or cite one of those after it
    l2: "\"E2\""                  the last one must be cited if nothing was before

The size of a grammar grows with the number of aliases, not with its square.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from detector.narrative.answer import LABELS, MOST_REASON, Answer, written
from detector.verdict import Label
from stream.errors import ConfigurationError

# what marks up, quotes or escapes is left out: a reason can forge neither roles nor tags in whatever shows it later
REASON: Final = r"[!#-;=?-\[\]-_a-z~][ !#-;=?-\[\]-_a-z~]{0," + str(MOST_REASON - 1) + "}"
_REASON: Final = re.compile(REASON)


class UnfitTokenizer(ConfigurationError):
    """This tokenizer cannot be constrained."""


def sayable(reason: str) -> bool:
    """Whether the grammar lets a model write this reason.

    >>> sayable("3 copies to a drive, 01:20 to 02:05"), sayable("<|im_end|>")
    (True, False)
    """
    return _REASON.fullmatch(reason) is not None


@cache
def grammar_text(label: Label, n_aliases: int) -> str:
    """The grammar of the answers to a prompt with so many aliases, for a label that is given; in llguidance's Lark."""
    before, between, after = f"{beginning_of(label)} [", '], "reason": "', '"}'
    nothing_cited = ' | ""' if label == "normal" else ""
    lines = [
        f"start: {_quoted(before)} evidence {_quoted(between)} REASON {_quoted(after)}",
        f"evidence: l1{nothing_cited}" if n_aliases else 'evidence: ""',
        f"REASON: /{REASON}/",
    ]
    for number in range(1, n_aliases + 1):
        further = f"l{number + 1}" if number < n_aliases else ""
        alias = _quoted(f'"E{number}"')
        lines.append(f"l{number}: {alias} m{number} | {further}" if further else f"l{number}: {alias}")
        if further:
            lines.append(f'm{number}: "" | ", " {further}')
    return "\n".join(lines)


def beginning_of(label: Label, cited: Sequence[int] | None = None) -> str:
    """How the answer begins for a label that is given, and perhaps for what it cites: all that is sure and ends where tokens end.

    The bracket, or the reason's quotation mark, is left to the model: most tokenizers have one token for it and its neighbour.

    >>> beginning_of("normal")
    '{"risk": "normal", "evidence":'
    >>> beginning_of("malicious", (0, 3))
    '{"risk": "malicious", "evidence": ["E1", "E4"], "reason":'
    """
    begun = f'{{"risk": "{label}", "evidence":'
    if cited is None:
        return begun
    aliases = ", ".join(f'"E{place + 1}"' for place in cited)
    return f'{begun} [{aliases}], "reason":'


def longest(n_aliases: int) -> int:
    """Characters of the longest answer: an upper bound for its tokens, too, since each stands for at least one."""
    return max(len(written(Answer(label, tuple(range(n_aliases)), "x" * MOST_REASON))) for label in LABELS)


class Constraint:
    """Makes matchers for one tokenizer. Costs about a second to make, a matcher one to three milliseconds."""

    def __init__(self, tokenizer: Any, n_vocab: int) -> None:
        """For a Hugging Face tokenizer and the width of the model's head, which may be wider than the tokenizer.

        Raises:
            UnfitTokenizer: llguidance cannot read this tokenizer; or llguidance is not installed.
        """
        try:
            from llguidance import LLExecutor, LLMatcher
            from llguidance.hf import from_tokenizer
        except ImportError as error:
            raise UnfitTokenizer("constrained answers need llguidance: pip install 'daywatch[llm]'") from error
        self._matcher, self._executor = LLMatcher, LLExecutor()
        try:
            self._tokens = from_tokenizer(tokenizer, n_vocab=max(n_vocab, len(tokenizer)))
        except (ValueError, TypeError, AttributeError, RuntimeError) as error:
            kind = type(tokenizer).__name__
            raise UnfitTokenizer(
                f"answers cannot be constrained with this model's tokenizer ({kind}): only fast tokenizers (tokenizer.json) can"
            ) from error
        self.n_words = int(self._tokens.vocab_size)

    def matcher(self, label: Label, n_aliases: int, already: Sequence[int] = ()) -> "Matcher":
        """A matcher for one row, after the tokens that the answer has already.

        Raises:
            UnfitTokenizer: the tokenizer's tokens do not spell the answer's beginning.
        """
        made = self._matcher(self._tokens, grammar_text(label, n_aliases))
        if made.is_error() or not made.consume_tokens(list(already)):
            raise UnfitTokenizer("this model's tokenizer does not spell the beginning of an answer; its words and its tokens do not agree")
        return Matcher(made)

    def masks_into(self, matchers: Sequence[tuple[int, "Matcher"]], address: int, n_rows: int, n_bytes: int) -> None:
        """Write what may come next to memory of `n_rows` rows of `n_bytes` each, at each matcher's row; several at a time.

        Token t is bit t % 32 of the row's word t // 32 (32 bits, little endian). Rows without a matcher stay as they are.
        """
        self._executor.unsafe_compute_mask_ptr([(matcher.inner, row) for row, matcher in matchers], address, n_bytes, n_rows)

    def text(self, tokens: Sequence[int]) -> str:
        """What tokens spell; never special tokens' names, which no grammar of ours allows."""
        spelt: bytes = self._tokens.decode_bytes(list(tokens))
        return spelt.decode("utf-8", errors="replace")

    def bytes_of(self, token: int) -> bytes:
        """What one token spells; nothing for one that stands for no text."""
        if token >= self.n_words or self._tokens.is_special_token(token):
            return b""
        return bytes(self._tokens.decode_bytes([token]))


class Matcher:
    """Where one row stands in its answer."""

    __slots__ = ("inner",)

    def __init__(self, matcher: Any) -> None:
        self.inner = matcher

    @property
    def done(self) -> bool:
        """Whether the answer is complete: nothing may follow."""
        return bool(self.inner.is_stopped())

    def take(self, token: int) -> None:
        """Go on by one token that the mask allows.

        Raises:
            UnfitTokenizer: it was not allowed; then model and tokenizer do not belong together.
        """
        if not self.inner.consume_token(token):
            raise UnfitTokenizer("a token that the grammar allows was refused; the model's head and its tokenizer do not agree")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
