"""What is measured: every metric with its kind, help, labels and buckets, one line each. Knows not who counts, nor who reads it.

Prometheus conventions: one prefix, base units, `_total` for counters. A label's values come from a small closed set or match a
narrow pattern (`LABELS`); nothing that names a person, a machine, a file or an address is ever one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from stream.kinds import KINDS
from stream.operations import About

PREFIX: Final = "daywatch_"
OTHER: Final = "other"
"""What stands for a label value that is not allowed: a count is not lost for it, and no worker stops."""


@dataclass(frozen=True, slots=True)
class Counter:
    """Something that only grows while the process lives."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gauge:
    """Something that stands at a value; all its label sets are given together, so that what has gone is not shown any more."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Histogram:
    """How values are spread over buckets; `buckets` are upper bounds, ascending, without the infinite one."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


Metric = Counter | Gauge | Histogram

_QUICK: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_WORK: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_WAIT: Final = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0, 259_200.0, 604_800.0)

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,199}")
_WORD: Final = re.compile(r"[a-z][a-z_]{0,39}")
_NUMBER: Final = re.compile(r"\d{1,5}")
_VERSION: Final = re.compile(r"[0-9A-Za-z.+!_-]{1,60}")

LABELS: Final[Mapping[str, frozenset[str] | re.Pattern[str]]] = {
    "kind": frozenset(map(str, KINDS)),
    "topic": _NAME,  # topics come from the settings, never from a record
    "partition": _NUMBER,
    "reason": _WORD,  # codes of errors: words of the program
    "outcome": frozenset({"committed", "failed", "fenced"}),
    "step": frozenset({"read", "close", "judge"}),
    "call": frozenset({"claim", "look", "confirm", "begin", "panes", "profiles", "advance"}),
    "label": _WORD,  # classes of a model
    "activity": frozenset({"created", "updated", "opened", "grown", "closed"}),
    "direction": frozenset({"prompt", "answer"}),
    "about": frozenset(map(str, About)),
    "role": _WORD,
    "version": _VERSION,
    "python": _VERSION,
}

# every worker
BUILD_INFO: Final = Gauge("daywatch_build_info", "Always 1; what runs here.", ("version", "role", "python"))
LAST_TURN: Final = Gauge("daywatch_last_turn_timestamp_seconds", "When the worker's loop last turned, Unix time.")
PARTITIONS: Final = Gauge("daywatch_partitions_assigned", "Partitions that this worker holds.")
ASSIGNMENTS: Final = Counter("daywatch_assignments_total", "Times that this worker took over the partitions of an assignment.")
RECOVERIES: Final = Counter("daywatch_recoveries_total", "Times that everything was forgotten and claimed again, after anything uncertain.")
TRANSACTIONS: Final = Counter(
    "daywatch_transactions_total", "Kafka transactions, by how they ended; failed includes uncertain.", ("outcome",)
)
TRANSACTION_SECONDS: Final = Histogram("daywatch_transaction_duration_seconds", "Duration of committed transactions.", (), _QUICK)
RECORDS_SENT: Final = Counter("daywatch_records_sent_total", "Records written in committed transactions, clock marks included.", ("topic",))
STEP_SECONDS: Final = Histogram(
    "daywatch_step_duration_seconds", "Duration of the parts of a worker's cycle that had work.", ("step",), _WORK
)
POSITION: Final = Gauge("daywatch_consumer_offset", "Next offset to be read of a log that this worker holds.", ("topic", "partition"))
LOG_END: Final = Gauge("daywatch_log_end_offset", "Offset at which a log that this worker holds ends.", ("topic", "partition"))
LAG: Final = Gauge("daywatch_consumer_lag_records", "Records of a log that are still to be read.", ("topic", "partition"))
DEAD_LETTERS: Final = Counter("daywatch_dead_letters_total", "Records that were refused, by the topic they lay in.", ("topic", "reason"))

# window
EVENTS: Final = Counter("daywatch_events_total", "Events read, refused ones and duplicates included.", ("kind",))
LATE: Final = Counter("daywatch_late_events_total", "Events too late for every window over them; dead letters as well.", ("kind",))
DUPLICATES: Final = Counter("daywatch_duplicate_events_total", "Events whose kind and id had been seen in their pane.", ("kind",))
CLOCK: Final = Gauge("daywatch_clock_timestamp_seconds", "Event time that a log has come to, Unix time.", ("topic", "partition"))
WATERMARK: Final = Gauge("daywatch_watermark_timestamp_seconds", "The least of a partition's five clocks, Unix time.", ("partition",))
WINDOWS_OPEN: Final = Gauge("daywatch_windows_open", "Windows that hold events and have not been closed.", ("partition",))
PANES: Final = Gauge("daywatch_panes_held", "Panes in memory.", ("partition",))
WINDOWS_CLOSED: Final = Counter("daywatch_windows_closed_total", "Windows sent.")
SILENCE_MARKS: Final = Counter("daywatch_silence_marks_total", "Clock marks written into silent logs.", ("kind",))
STORE_CALLS: Final = Counter("daywatch_store_calls_total", "Round trips to the store.", ("call",))
STORE_SECONDS: Final = Histogram("daywatch_store_call_duration_seconds", "Duration of round trips to the store.", ("call",), _QUICK)
STORE_FAILURES: Final = Counter("daywatch_store_call_failures_total", "Calls that the store did not carry out.", ("call",))

# detect and classify
VERDICTS: Final = Counter("daywatch_verdicts_total", "Windows judged.", ("label",))
ALERTS: Final = Counter("daywatch_alerts_total", "Alerts sent.", ("activity",))
ALERT_EVENT_SECONDS: Final = Histogram(
    "daywatch_alert_event_latency_seconds", "From the newest event of an alert's window to the alert's commit.", (), _WAIT
)
ALERT_ARRIVAL_SECONDS: Final = Histogram(
    "daywatch_alert_arrival_latency_seconds", "From the record's arrival in the topic that is read to the alert's commit.", (), _WAIT
)
LINES: Final = Counter("daywatch_lines_total", "Log lines labelled.", ("label",))
MODEL_SEEN: Final = Counter("daywatch_model_windows_seen_total", "Windows that the backend with the language model has judged.")
MODEL_READ: Final = Counter("daywatch_model_windows_read_total", "Windows that the language model has read.")
MODEL_EXPLAINED: Final = Counter("daywatch_model_windows_explained_total", "Windows for which it has written evidence and a reason.")
MODEL_TOKENS: Final = Counter("daywatch_model_tokens_total", "Tokens of the language model.", ("direction",))
MODEL_SECONDS: Final = Counter("daywatch_model_seconds_total", "Time spent in the language model.")

# replay
REPLAYED: Final = Counter("daywatch_replay_events_total", "Events handed to the broker.", ("kind",))
REPLAY_MARKS: Final = Counter("daywatch_replay_marks_total", "Clock marks handed to the broker, each to every partition.")
REPLAY_TIME: Final = Gauge("daywatch_replay_timestamp_seconds", "Event time that a replay has come to, Unix time.")

# correlate
INCIDENTS: Final = Counter("daywatch_incidents_total", "Incident records sent.", ("activity",))

# operating
FINDINGS: Final = Counter("daywatch_operational_findings_total", "Operational findings raised.", ("about",))

METRICS: Final[tuple[Metric, ...]] = tuple(value for value in list(globals().values()) if isinstance(value, (Counter, Gauge, Histogram)))


def allowed(label: str, value: str) -> str:
    """The value, or `other` where it is none of those that the label may have.

    >>> allowed("kind", "logon"), allowed("kind", "ana"), allowed("partition", "3"), allowed("reason", "Ana did it")
    ('logon', 'other', '3', 'other')
    """
    rule = LABELS[label]
    fits = value in rule if isinstance(rule, frozenset) else rule.fullmatch(value) is not None
    return value if fits else OTHER
