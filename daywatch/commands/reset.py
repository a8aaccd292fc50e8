"""`daywatch reset`: let a group of one namespace begin anew. Knows how to gather facts, ask, and carry a plan out, not what is right."""

import sys
from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daywatch.cli import settings_of
from stream.errors import ConfigurationError, PipelineError, RefusedError

if TYPE_CHECKING:
    from daywatch.resetting import Names, Plan, WindowFacts
    from daywatch.settings import Settings
    from stream.kafka_groups import KafkaGroups
    from stream.log import TopicPartition
    from windowing.redis_upkeep import RedisUpkeep
    from windowing.told import Told

_AT_A_TIME = 10_000


class Resettable(StrEnum):
    """What can be reset."""

    WINDOW = "window"
    DETECT = "detect"
    CORRELATE = "correlate"
    ALL = "all"


def reset(
    ctx: typer.Context,
    group: Annotated[Resettable, typer.Argument(help="Whose state and positions.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; for scripts.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
) -> None:
    """Let the workers of one group in one namespace begin at their logs' beginning.

    window: state is rebuilt from the events; windows that are out are not sent again. detect: verdicts and alerts are deleted, and
    every window is judged again. correlate: incidents are deleted and told again. all: everything made of the events is deleted.
    Refused while a worker of the group is alive. Says what goes and what stays, and asks for the namespace to be typed.
    """
    from stream.kafka_groups import KafkaGroups
    from windowing.redis_upkeep import RedisUpkeep

    settings = settings_of(ctx)
    if settings.kafka.embedded:
        raise ConfigurationError("kafka.embedded: an embedded broker does not outlive its run; there is nothing to reset")
    groups = KafkaGroups(settings.kafka.client())
    upkeep = RedisUpkeep(settings.store.url, settings.namespace, **settings.store.options())
    try:
        plan = _plan(settings, group, groups, upkeep)
        _refuse_alive(plan, groups)
        _say(settings, group, plan)
        if dry_run:
            return
        if not yes:
            _confirm(settings.namespace)
            _refuse_alive(plan, groups)
        _carry_out(settings, plan, groups, upkeep)
    finally:
        upkeep.close()
    sys.stderr.write(f"daywatch reset: done; {settings.namespace} {group.value} begins anew when its workers are started\n")


def _refuse_alive(plan: "Plan", groups: "KafkaGroups") -> None:
    for name in plan.groups:
        found = groups.look(name)
        if found.alive:
            where = ", ".join(sorted({member.host for member in found.members})) or "joining"
            raise RefusedError(
                f"group {name} has {len(found.members)} members ({where}): it cannot be reset under living workers",
                "Stop them; one that was killed counts as alive for up to kafka.session_timeout",
            )


def _say(settings: "Settings", group: Resettable, plan: "Plan") -> None:
    lines = [f"daywatch reset: {group.value} of namespace {settings.namespace}, on {settings.kafka.bootstrap_servers}"]
    for title, sentences in (("goes", plan.goes), ("stays", plan.stays), ("then", plan.then)):
        lines += [f"  {title:<6} {sentence}" for sentence in sentences]
    sys.stderr.write("\n".join(lines) + "\n")


def _confirm(namespace: str) -> None:
    """Have the namespace typed.

    Raises:
        typer.BadParameter: nobody is there to type.
        PipelineError: something else was typed.
    """
    if not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask at; give --yes", param_hint="--yes")
    sys.stderr.write(f"Type the namespace ({namespace}) to go on: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != namespace:
        raise PipelineError("that is not the namespace; nothing was changed")


# gathering ---------------------------------------------------------------------------------------------------------------


def _plan(settings: "Settings", group: Resettable, groups: "KafkaGroups", upkeep: "RedisUpkeep") -> "Plan":
    from daywatch.resetting import all_plan, correlate_plan, detect_plan, window_plan

    match group:
        case Resettable.WINDOW:
            return window_plan(_window_facts(settings, groups, upkeep), settings.topic("windows"))
        case Resettable.DETECT:
            return detect_plan(_names(settings))
        case Resettable.CORRELATE:
            return correlate_plan(_names(settings))
        case Resettable.ALL:
            return all_plan(_names(settings), upkeep.partitions())


def _names(settings: "Settings") -> "Names":
    from daywatch.resetting import Names

    roles = ("windows", "verdicts", "alerts", "alert_memory", "incidents", "incident_memory", "dead_letters", "operations")
    return Names({role: settings.group(role) for role in ("window", "detect", "correlate")}, {role: settings.topic(role) for role in roles})


def _window_facts(settings: "Settings", groups: "KafkaGroups", upkeep: "RedisUpkeep") -> "WindowFacts":
    from daywatch.commands.topics import admin_of, layout_of
    from daywatch.resetting import WindowFacts
    from stream.forget_request import is_forget_request
    from stream.kafka_consumer import Place, bounds
    from stream.kafka_tail import newest_records
    from stream.kinds import KINDS
    from stream.log import TopicPartition
    from stream.topics import check_topics
    from windowing.calendar import Calendar

    client, topics = settings.kafka.client(), {kind: settings.topic(kind) for kind in KINDS}
    partitions = check_topics(layout_of(settings), (*KINDS, "windows", "dead-letters"), admin_of(settings))
    calendar = Calendar(settings.window.spec(), settings.zone)
    group = groups.look(settings.group("window"))
    logs = [Place(topic, number) for topic in topics.values() for number in range(partitions)]
    windows = [Place(settings.topic("windows"), number) for number in range(partitions)]
    told = newest_records(client, windows, lambda message: not is_forget_request(message.key(), message.value(), message.headers()))  # type: ignore[arg-type]
    return WindowFacts(
        group,
        topics,
        partitions,
        calendar,
        _layout(settings, partitions),
        {number: upkeep.look(number) for number in sorted({*range(partitions), *upkeep.partitions()})},
        {TopicPartition(*place): (bound.start, bound.end) for place, bound in bounds(client, logs).items()},
        {place.partition: _told(message) for place, message in told.items()},
        {} if len(group.commits) >= len(logs) else _lettered(settings),
        settings.privacy.pseudonyms,
    )


def _layout(settings: "Settings", partitions: int) -> str:
    """What state is made with by these settings."""
    from daywatch.privacy import pseudonyms_of
    from windowing.calendar import Calendar
    from windowing.ledger import encode_layout

    key_id = pseudonyms_of(settings, partitions).key_id if settings.privacy.pseudonyms else None
    return encode_layout(Calendar(settings.window.spec(), settings.zone), partitions, key_id)


def _told(message: Any) -> "Told":
    """The newest record of the windows topic, as far as it says how far windows are out.

    Raises:
        RefusedError: it is none of ours.
    """
    from stream.errors import PoisonError
    from stream.log import Newest
    from windowing.told import Told

    try:
        return Told.of(Newest(message.key(), message.value(), message.headers()))
    except PoisonError as error:
        raise RefusedError(f"{message.topic()} holds a record that no worker of ours wrote", "Use a new namespace") from error


def _lettered(settings: "Settings") -> "dict[TopicPartition, int]":
    """For each event log the offset behind the last one that a dead letter names: up to there, refused records have been told of."""
    from stream.dead_letters import read_refusal
    from stream.kafka_reader import read_all
    from stream.log import TopicPartition

    found: dict[TopicPartition, int] = {}
    for batch in read_all(settings.kafka.client(), [settings.topic("dead_letters")]):
        for message in batch:
            refusal = read_refusal(message.headers())  # type: ignore[arg-type]
            if refusal.topic is not None and refusal.partition is not None and refusal.offset is not None:
                at = TopicPartition(refusal.topic, refusal.partition)
                found[at] = max(found.get(at, 0), refusal.offset + 1)
    return found


# doing -------------------------------------------------------------------------------------------------------------------


def _carry_out(settings: "Settings", plan: "Plan", groups: "KafkaGroups", upkeep: "RedisUpkeep") -> None:
    """Do what the plan says. Interrupted anywhere, workers refuse to start, and the same reset does the rest."""
    from stream.log import TopicPartition
    from windowing.redis_store import RedisStore

    # groups first: without positions, but with results or state, every worker refuses to start; the other way round none would notice
    for name in plan.delete_groups:
        groups.delete(name)
    for topic in plan.tombstones:
        _delete_keys(settings, topic)
    for topic in plan.delete_records:
        groups.delete_records([TopicPartition(topic, number) for number in _partitions(settings, topic)])
    for rebuilt in plan.rebuilt:
        if rebuilt.commits:
            groups.commit(plan.groups[0], rebuilt.commits)
    if not (plan.rebuilt or plan.empty):
        return
    store = RedisStore(settings.store.url, settings.namespace, **settings.store.options())
    layout = _layout(settings, len(plan.rebuilt) or len(plan.empty))
    try:
        for number in plan.empty:
            upkeep.reset(number, store.claim(number, layout).epoch, "", "", "")
        for rebuilt in plan.rebuilt:
            # the claim fences whoever might still be at work
            upkeep.reset(rebuilt.number, store.claim(rebuilt.number, layout).epoch, rebuilt.at, rebuilt.state, layout)
    finally:
        store.close()


def _partitions(settings: "Settings", topic: str) -> Iterable[int]:
    from stream.kafka_consumer import partitions_of

    return range(partitions_of(settings.kafka.client(), topic))


def _delete_keys(settings: "Settings", topic: str) -> None:
    """A null value for every key that a compacted topic holds: its records cannot be deleted in another way."""
    from stream.kafka_reader import KafkaPast
    from stream.kafka_transactions import Outgoing, TransactionalProducer
    from stream.log import TopicPartition

    client = settings.kafka.client()
    latest = KafkaPast(client).latest([TopicPartition(topic, number) for number in _partitions(settings, topic)])
    records = [Outgoing(topic, key, None, at.partition) for at, found in latest.items() for key in found]
    producer = TransactionalProducer(client, f"{settings.namespace}.reset")
    for start in range(0, len(records), _AT_A_TIME):
        producer.transact(records[start : start + _AT_A_TIME])
    producer.discard()
