"""What a narrative model answers: a risk, the places of the events that it rests on, a short reason. Knows no model and no tokens.

    {"risk": "malicious", "evidence": ["E1", "E4"], "reason": "copies to a removable drive after hours, then job sites"}

Events are cited by alias: E1 is the first event that the prompt shows. An answer that breaks a rule is refused, never mended; only
the free answers of published adapters are read with a margin for their wording.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, ClassVar, Final, get_args

from detector.verdict import Label
from stream.errors import PoisonError

LABELS: Final[tuple[Label, ...]] = get_args(Label)
BEGINNING: Final = '{"risk": "'
MOST_REASON: Final = 240
_FIELDS: Final = ("risk", "evidence", "reason")
_MOST_TEXT: Final = 16 * 1024

_ALIAS: Final = re.compile(r"E([1-9]\d{0,5})")
_FREE_ALIAS: Final = re.compile(r"(?<![A-Za-z0-9])[Ee]0{0,5}([1-9]\d{0,5})(?![A-Za-z0-9])")
_FREE_LINE: Final = re.compile(r"^[\s\-*#_>]*(risk(?:[ _]level)?|evidence|reason(?:ing)?)[\s*_]*[:=][\s*_]*", re.IGNORECASE | re.MULTILINE)
_FREE_WORD: Final = re.compile(r"[A-Za-z]+")
_THOUGHT: Final = re.compile(r"<think>.*?</think>", re.DOTALL)
_SPACES: Final = re.compile(r"\s+")


class BadAnswer(PoisonError):
    """A model's answer does not keep to the form, or cites what its prompt did not show."""

    code: ClassVar[str] = "bad_answer"


@dataclass(frozen=True, slots=True)
class Answer:
    """One window's answer. `evidence` holds places among the prompt's events: counted from 0, ascending, each once."""

    risk: Label
    evidence: tuple[int, ...]
    reason: str

    def __post_init__(self) -> None:
        if self.risk not in LABELS:
            raise ValueError("risk is none of " + ", ".join(LABELS))
        if any(place < 0 for place in self.evidence[:1]) or any(a >= b for a, b in zip(self.evidence, self.evidence[1:], strict=False)):
            raise ValueError("evidence is not in ascending order, each event once")
        if not self.reason.strip() or len(self.reason) > MOST_REASON or not self.reason.isprintable():
            raise ValueError(f"the reason is not 1 to {MOST_REASON} printable characters")


def written(answer: Answer) -> str:
    """The answer in its one canonical form.

    >>> written(Answer("malicious", (0, 3), "copies to a removable drive after hours"))
    '{"risk": "malicious", "evidence": ["E1", "E4"], "reason": "copies to a removable drive after hours"}'
    """
    evidence = [f"E{place + 1}" for place in answer.evidence]
    return json.dumps({"risk": answer.risk, "evidence": evidence, "reason": answer.reason}, ensure_ascii=False)


def parsed(text: str, n_aliases: int) -> Answer:
    """The answer that a text in the canonical form holds; white space between its parts is free.

    Raises:
        BadAnswer: any rule is broken: another form, a label that does not exist, aliases that are unknown, twice there or out of order,
            no evidence for a risk although there are events, a reason that is empty, too long or not printable.

    >>> parsed('{"risk": "normal", "evidence": [], "reason": "an ordinary day"}', n_aliases=3)
    Answer(risk='normal', evidence=(), reason='an ordinary day')
    """
    document = _json(text)
    if not isinstance(document, dict) or set(document) != set(_FIELDS):
        raise BadAnswer("the answer is not one object with risk, evidence and reason")
    risk, evidence, reason = (document[name] for name in _FIELDS)
    if not isinstance(evidence, list) or not all(isinstance(alias, str) for alias in evidence):
        raise BadAnswer("evidence is not a list of aliases")
    if not isinstance(risk, str) or not isinstance(reason, str):
        raise BadAnswer("risk or reason is not a text")
    places = tuple(_place(_ALIAS.fullmatch(alias), n_aliases) for alias in evidence)
    return _answer(risk, places, reason, n_aliases)


def parsed_card(text: str, n_aliases: int) -> Answer:
    r"""The answer in a free text with three fields (risk, evidence, reasoning), as adapters published elsewhere write it.

    JSON, fenced or not, or a line for each field. Aliases may stand in any order and be repeated; text after a reason's budget is cut.

    Raises:
        BadAnswer: a field is missing, the risk is no label, an alias is unknown, or there is no evidence for a risk.

    >>> parsed_card("Risk: Malicious\nEvidence: E04, E1\nReasoning: a drive at night", n_aliases=4)
    Answer(risk='malicious', evidence=(0, 3), reason='a drive at night')
    """
    if len(text) > _MOST_TEXT:
        raise BadAnswer("the answer is longer than any answer")
    fields = _card_object(_THOUGHT.sub("", text)) or _card_lines(_THOUGHT.sub("", text))
    missing = [name for name in _FIELDS if name not in fields]
    if missing:
        raise BadAnswer("the answer has no " + ", no ".join(missing))
    words = _FREE_WORD.findall(fields["risk"].lower())
    if not words or words[0] not in LABELS:
        raise BadAnswer("risk is none of " + ", ".join(LABELS))
    places = tuple(sorted({_place(found, n_aliases) for found in _FREE_ALIAS.finditer(fields["evidence"])}))
    return _answer(words[0], places, plain(fields["reason"]), n_aliases)


def plain(text: str, most: int = MOST_REASON) -> str:
    r"""A text as a reason can hold it: one line of printable characters, cut at a word when it is too long.

    >>> plain("a drive\n at night", most=12)
    'a drive at'
    """
    line = _SPACES.sub(" ", "".join(c if c.isprintable() else " " for c in text)).strip()
    if len(line) <= most:
        return line
    cut = line[: most + 1]
    return (cut[: cut.rindex(" ")] if " " in cut else line[:most]).rstrip()


def json_schema(n_aliases: int, label: Label | None = None) -> dict[str, Any]:
    """The answer's form as a JSON schema, for servers that constrain their output; with `label`, for that label alone.

    A schema cannot ask for ascending order: `parsed` checks it afterwards.
    """
    risky: tuple[Label, ...] = tuple(one for one in LABELS if one != "normal" and label in (None, one))
    branches = [_branch(("normal",), n_aliases, 0)] if label in (None, "normal") else []
    if risky:
        branches.append(_branch(risky, n_aliases, min(1, n_aliases)))
    return branches[0] if len(branches) == 1 else {"anyOf": branches}


def _branch(labels: tuple[Label, ...], n_aliases: int, least: int) -> dict[str, Any]:
    items: dict[str, Any] = {"type": "string"}
    if n_aliases:
        items["enum"] = [f"E{number}" for number in range(1, n_aliases + 1)]
    return {
        "type": "object",
        "properties": {
            "risk": {"type": "string", "enum": list(labels)},
            "evidence": {"type": "array", "items": items, "minItems": least, "maxItems": n_aliases},
            "reason": {"type": "string", "minLength": 1, "maxLength": MOST_REASON},
        },
        "required": list(_FIELDS),
        "additionalProperties": False,
    }


def _answer(risk: str, places: tuple[int, ...], reason: str, n_aliases: int) -> Answer:
    label = next((known for known in LABELS if known == risk), None)
    if label is None:
        raise BadAnswer("risk is none of " + ", ".join(LABELS))
    if label != "normal" and n_aliases and not places:
        raise BadAnswer(f"{label} without evidence")
    try:
        return Answer(label, places, reason)
    except ValueError as error:
        raise BadAnswer(str(error)) from error


def _place(found: re.Match[str] | None, n_aliases: int) -> int:
    if found is None:
        raise BadAnswer("evidence holds something that is no alias")
    number = int(found[1])
    if number > n_aliases:
        raise BadAnswer(f"E{number} is not among the {n_aliases} events that the prompt shows")
    return number - 1


def _json(text: str) -> Any:
    if len(text) > _MOST_TEXT:
        raise BadAnswer("the answer is longer than any answer")
    try:
        return json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise BadAnswer("the answer is not JSON") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadAnswer("the answer names a field twice")
    return found


def _card_object(text: str) -> dict[str, str]:
    """The fields of the first JSON object that has them; nothing where there is none."""
    decoder = json.JSONDecoder()
    for start in (found.start() for found in re.finditer(r"\{", text)):
        try:
            document, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(document, dict):
            fields = {_named(name): _free(value) for name, value in document.items()}
            if "risk" in fields:
                return fields
    return {}


def _card_lines(text: str) -> dict[str, str]:
    """The fields of a text that gives each a line; the first of a name counts."""
    found = list(_FREE_LINE.finditer(text))
    fields: dict[str, str] = {}
    for field, end in zip(found, [*(following.start() for following in found[1:]), len(text)], strict=False):
        fields.setdefault(_named(field[1]), text[field.end() : end].strip())
    return fields


def _named(name: str) -> str:
    folded = name.strip().lower().replace("_", " ")
    return {"risk level": "risk", "reasoning": "reason"}.get(folded, folded)


def _free(value: object) -> str:
    """A field's value as text; lists and objects give their parts."""
    if isinstance(value, dict):
        return " ".join(_free(part) for part in value.values())
    if isinstance(value, list):
        return " ".join(_free(part) for part in value)
    return str(value)
