"""What a language model cannot talk down: the floor that numeric evidence sets under a label. A table of rules; knows no model.

Texts of users reach the model, so a user can try to talk to it. Nobody can talk to a count: where the boosted trees are sure, and what
they rest on is countable and grave, the label stands whatever the model says.

| triage says | and cites | the label is at least |
|---|---|---|
| malicious | two or more of `GRAVE` | malicious, and alerts |
| malicious | less | suspicious |
| less | | the model is free |
"""

from typing import Final

from detector.verdict import Label, Verdict

GRAVE: Final = frozenset(
    {"after_hours", "first_drive_use", "unusual_machine", "leak_site", "spying_tools", "mail_to_own_address", "mass_mail"}
)
"""Traits that honest people seldom show two of on one day. A drive, a job site or cloud storage alone is no such trait."""
MANY: Final = 2
_ORDER: Final[tuple[Label, ...]] = ("normal", "suspicious", "malicious")


def floor_of(triage: Verdict) -> Label:
    """The least label that a window can get, by triage's verdict on it."""
    if triage.label != "malicious":
        return "normal"
    return "malicious" if len(GRAVE & set(triage.traits)) >= MANY else "suspicious"


def floored(label: Label, triage: Verdict) -> Label:
    """A model's label after the floor.

    >>> higher("normal", "suspicious")
    'suspicious'
    """
    return higher(label, floor_of(triage))


def higher(one: Label, other: Label) -> Label:
    """The graver of two labels."""
    return max(one, other, key=_ORDER.index)
