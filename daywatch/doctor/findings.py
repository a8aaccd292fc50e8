"""What a check has to say: a state, one line on what is wrong and one on what to do. Knows no check, no server and no terminal."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from daywatch.doctor.facts import Facts, NotKnownError


class State(StrEnum):
    """How a thing stands, the best first."""

    OK = "ok"
    UNKNOWN = "unknown"
    WARNING = "warning"
    PROBLEM = "problem"


_ORDER = tuple(State)


@dataclass(frozen=True, slots=True)
class Told:
    """What a rule says of one thing: `about` names it where a check looks at several."""

    state: State
    told: str
    cure: str = ""
    about: str = ""


def fine(told: str, about: str = "") -> Told:
    """All is well."""
    return Told(State.OK, told, "", about)


def unknown(told: str, cure: str, about: str = "") -> Told:
    """It could not be found out."""
    return Told(State.UNKNOWN, told, cure, about)


def warning(told: str, cure: str, about: str = "") -> Told:
    """It works, and will one day not."""
    return Told(State.WARNING, told, cure, about)


def problem(told: str, cure: str, about: str = "") -> Told:
    """It must be mended."""
    return Told(State.PROBLEM, told, cure, about)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is looked at: a stable id `group.name`, the question, and when it is a warning or a problem."""

    id: str
    asks: str
    warns: str
    fails: str
    rule: Callable[[Facts], Iterable[Told]]

    @property
    def group(self) -> str:
        """What it belongs to: broker, topics and so on."""
        return self.id.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found."""

    id: str
    group: str
    state: State
    about: str
    told: str
    cure: str


def examine(facts: Facts, checks: Sequence[Check]) -> list[Finding]:
    """Every check's findings in order, at least one each: a check that cannot be made says so and stops no other."""
    return [
        Finding(check.id, check.group, each.state, each.about, each.told, each.cure) for check in checks for each in _asked(check, facts)
    ]


def _asked(check: Check, facts: Facts) -> list[Told]:
    try:
        return list(check.rule(facts)) or [fine(check.asks)]
    except NotKnownError as error:
        return [unknown(str(error), error.cure or "see to that first, then run `daywatch doctor` again")]
    except Exception as error:  # noqa: BLE001 - a rule that falls over must not hide what the others found
        return [unknown(f"this check itself failed ({type(error).__name__})", "please report it; the other checks do not depend on it")]


def worst(findings: Iterable[Finding]) -> State:
    """The worst state among findings; ok for none."""
    return max((finding.state for finding in findings), key=_ORDER.index, default=State.OK)
