"""The five labels of a log line, what each means, and how a model's own label map is read. Knows no model library.

A line is labelled by what it says alone: not by its time of day, its user or its neighbours, which are a window's business. Where two
definitions fit, the stronger one holds: Malicious over Suspicious over Error over Normal over Informational.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from stream.errors import ConfigurationError

NORMAL: Final = "Normal"
SUSPICIOUS: Final = "Suspicious"
MALICIOUS: Final = "Malicious"
INFORMATIONAL: Final = "Informational"
ERROR: Final = "Error"

LABELS: Final[tuple[str, ...]] = (NORMAL, SUSPICIOUS, MALICIOUS, INFORMATIONAL, ERROR)
"""In the order of the published classifier: its outputs 0 to 4."""

DEFINITIONS: Final[Mapping[str, str]] = {
    NORMAL: "Somebody or some program used the system as it is meant to be used, and was served: a sign-in that succeeds, a page that is "
    "delivered, a job that runs, a mail that is sent.",
    SUSPICIOUS: "Somebody was refused, or did what is seldom done for a good reason; it may be harmless, and only a look around can tell: "
    "a failed sign-in, a blocked connection, a scan, a right that grows, data that leaves by a drive or a private account.",
    MALICIOUS: "The line shows an attack or its effect, and an innocent explanation is hard to find: an exploit in a request, malware that "
    "was found, credentials dumped, logs wiped, files encrypted, secrets handed over.",
    INFORMATIONAL: "The system speaks of itself, and nobody has done anything: it starts, stops, reloads, rotates, updates, measures.",
    ERROR: "Something failed for a technical reason, without a sign that anybody meant it to: a refused connection between our own "
    "machines, a full disk, a time-out, a crash.",
}


class LineLabel(NamedTuple):
    """The label of a line and the probability that the model gives it, 0 to 1."""

    label: str
    score: float


class BadLabels(ConfigurationError):
    """A model's outputs are not the five labels, or it does not say which is which."""


def label_order(id2label: Mapping[int, str], given: Sequence[str] | None = None) -> tuple[str, ...]:
    """The label of each output of a model, from the map in its configuration or the names that the user gives instead.

    Names count whatever their case; a map of mere numbers (LABEL_0 to LABEL_4) is read in the order of the published classifier.

    >>> label_order({0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2", 3: "LABEL_3", 4: "LABEL_4"})
    ('Normal', 'Suspicious', 'Malicious', 'Informational', 'Error')
    >>> label_order({0: "error", 1: "normal", 2: "malicious", 3: "suspicious", 4: "informational"})[0]
    'Error'

    Raises:
        BadLabels: there are not five, one is unknown, or one occurs twice.
    """
    outputs = [str(id2label[number]) for number in sorted(id2label)]
    names = list(given) if given else list(LABELS) if outputs == [f"LABEL_{number}" for number in range(len(LABELS))] else outputs
    if sorted(id2label) != list(range(len(LABELS))) or len(names) != len(LABELS):
        raise BadLabels(f"a log-line classifier has the {len(LABELS)} outputs {', '.join(LABELS)}; this model has {len(id2label)}")
    known = {label.lower(): label for label in LABELS}
    found = [known.get(name.strip().lower()) for name in names]
    unknown = [name for name, label in zip(names, found, strict=True) if label is None]
    if unknown:
        raise BadLabels(f"the model's label {unknown[0][:40]!r} is none of {', '.join(LABELS)}; name its outputs in order with --labels")
    order = tuple(label for label in found if label is not None)
    if len(set(order)) != len(LABELS):
        raise BadLabels(f"the model's labels {', '.join(order)} name one of the five twice; name its outputs in order with --labels")
    return order


def parse_labels(text: str) -> tuple[str, ...]:
    """Labels that a user lists, as the five are written here.

    >>> parse_labels("malicious, Error")
    ('Malicious', 'Error')

    Raises:
        BadLabels: one of them is none, or there are none.
    """
    known = {label.lower(): label for label in LABELS}
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name.lower() not in known]
    if unknown or not names:
        raise BadLabels(f"{(unknown or [text])[0]!r} is no label; use some of {', '.join(LABELS)}, separated by commas")
    return tuple(dict.fromkeys(known[name.lower()] for name in names))
