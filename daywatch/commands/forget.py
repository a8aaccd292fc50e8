"""`daywatch forget`: take a person out of the state that workers keep, and say what stays. Never says who it was."""

import json as json_text
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daywatch.cli import settings_of

if TYPE_CHECKING:
    from daywatch.forgetting import Stays
    from daywatch.settings import Settings
    from windowing.forgetting import Forgotten
    from windowing.redis_store import RedisStore

_LONGEST_TRANSACTION_S = 10.0
"""What a worker had under way when it was fenced is committed by then, or never."""
_LOOK_EVERY_S = 0.2


def forget(
    ctx: typer.Context,
    user: Annotated[str, typer.Argument(help="Whom, as events name them; - reads the name from standard input.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wait: Annotated[float, typer.Option(min=0, max=600, help="Seconds to wait for running workers to have forgotten, too.")] = 30.0,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Remove what the workers keep of a person: profile, events of open windows, alert and incident memory, pseudonym.

    Works while workers run: whoever has the person in memory is made to read its state anew. What is in the topics stays for as long as
    they keep it; how much that is, and until when, is printed. Seen again, the person starts as new.
    """
    settings = settings_of(ctx)
    name = sys.stdin.readline().rstrip("\n") if user == "-" else user
    if not name:
        raise typer.BadParameter("the name is empty", param_hint="USER")
    _refuse_embedded(settings)
    _ask(settings, yes)
    done = _forget(settings, name, wait)
    if json:
        print(json_text.dumps(done.plain()))
    else:
        _show(done)


def _refuse_embedded(settings: "Settings") -> None:
    from stream.errors import RefusedError

    if settings.kafka.embedded:
        raise RefusedError(
            "the embedded broker's workers cannot go on after an interruption, and all they keep ends with them",
            "Stop them, and delete the directory that they keep it in",
        )


def _ask(settings: "Settings", yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody is there to be asked; say --yes", param_hint="--yes")
    typer.confirm(f"Forget this person in namespace {settings.namespace}? It cannot be undone", abort=True, err=True)


@dataclass(frozen=True, slots=True)
class _Done:
    """What was removed, and what stays."""

    namespace: str
    partition: int
    state: "Forgotten"
    names: int
    """Entries of the map from pseudonyms to users."""
    workers_waited_for: bool
    alert_memory_gone: bool
    unread: int
    """Records of the partition's event topics that no worker has taken yet: this person's may be among them."""
    stays: "list[Stays]"

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "namespace": self.namespace,
            "partition": self.partition,
            "removed": {
                "profile": self.state.profile,
                "events_of_open_windows": self.state.events,
                "pseudonyms": self.names,
            },
            "alert_memory_gone": self.alert_memory_gone,
            "unread_events_in_partition": self.unread,
            "stays": [each.plain() for each in self.stays],
        }


def _forget(settings: "Settings", user: str, wait_s: float) -> _Done:
    from daywatch.forgetting import what_stays
    from daywatch.privacy import identities_of, pseudonyms_of
    from stream.kafka_consumer import partitions_of
    from stream.partitioner import partition_of
    from windowing.forgetting import forget as forget_in
    from windowing.redis_store import RedisStore

    partitions = partitions_of(settings.kafka.client(), settings.topic("windows"))
    partition = partition_of(user.encode(), partitions)
    shown_as = pseudonyms_of(settings, partitions).user(user) if settings.privacy.pseudonyms else user
    store = RedisStore(settings.store.url, settings.namespace, **settings.store.options())
    private = settings.privacy
    has_map = private.pseudonyms or private.map_url is not None or private.map_username is not None
    identities = identities_of(settings) if has_map else None
    try:
        # first, so that a map that refuses us is known before anything is changed; and again, as a window on its way writes it anew
        names = identities.forget([], user) if identities is not None else 0
        state = forget_in(store, partition, user)
        waited = _let_transactions_end(settings, store, partition, state)
        if identities is not None:
            names = max(names, identities.forget([], user))
        unread = _unread(settings, store, partition)
    finally:
        store.close()
        if identities is not None:
            identities.close()
    # behind whatever the windowing worker had under way: who reads the windows meets it after the person's last one
    _request(settings, partitions, shown_as)
    gone = _await_alert_memory(settings, partition, shown_as.encode(), wait_s)
    stays = what_stays(settings, partition, sorted({user.encode(), shown_as.encode()}))
    return _Done(settings.namespace, partition, state, names, waited, gone, unread, stays)


def _let_transactions_end(settings: "Settings", store: "RedisStore", partition: int, state: "Forgotten") -> bool:
    """Wait until nothing can come any more that a worker had under way when it was fenced; False when there was none to wait for."""
    from stream.kafka_groups import KafkaGroups

    if not state.epoch or not KafkaGroups(settings.kafka.client()).look(settings.group("window")).alive:
        return False
    deadline = time.monotonic() + _LONGEST_TRANSACTION_S
    # a worker that has claimed the partition anew has ended what it had begun
    while store.peek(partition).epoch <= state.epoch and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY_S)
    return True


def _unread(settings: "Settings", store: "RedisStore", partition: int) -> int:
    from stream.kafka_consumer import Place, bounds
    from stream.kinds import KINDS
    from windowing.ledger import Place as Position

    places = [Place(settings.topic(kind.value), partition) for kind in KINDS]
    found = bounds(settings.kafka.client(), places)
    at = store.peek(partition).at
    positions = Position.decode(at).positions if at else tuple(found[place].start for place in places)
    return sum(max(0, found[place].end - position) for place, position in zip(places, positions, strict=True))


def _request(settings: "Settings", partitions: int, shown_as: str) -> None:
    from stream.forget_request import forget_request
    from stream.kafka_producer import KafkaEventSink

    sink = KafkaEventSink(settings.kafka.client(), partitions)
    sink.send_empty(settings.topic("windows"), shown_as.encode(), forget_request())
    sink.flush()


def _await_alert_memory(settings: "Settings", partition: int, key: bytes, wait_s: float) -> bool:
    """Whether the alert memory holds nothing of the person, once its worker has had the time to see to it."""
    from stream.kafka_groups import KafkaGroups
    from stream.kafka_reader import KafkaPast
    from stream.log import TopicPartition

    client = settings.kafka.client()
    log = TopicPartition(settings.topic("alert_memory"), partition)
    past = KafkaPast(client)
    deadline = time.monotonic() + wait_s
    while key in past.latest([log])[log]:
        if time.monotonic() >= deadline or not KafkaGroups(client).look(settings.group("detect")).alive:
            return False
        time.sleep(_LOOK_EVERY_S)
    return True


def _show(done: _Done) -> None:
    state = done.state
    print(f"partition {done.partition} of namespace {done.namespace}")
    print(f"  profile                  {'removed' if state.profile else 'there was none'}")
    print(f"  events of open windows   {state.events:,} removed")
    print(f"  pseudonyms in the map    {done.names:,} removed")
    memory = "holds nothing any more" if done.alert_memory_gone else "goes when the detect worker comes to the request in its log"
    print(f"  alert memory             {memory}")
    print("  incident memory          goes when the correlate worker comes to the request in its logs")
    if done.unread:
        print(f"  not read yet             {done.unread:,} events of this partition; those of the person make new windows")
    print("stays for as long as the topics keep it:")
    width = max((len(each.topic) for each in done.stays), default=0)
    for each in done.stays:
        print(f"  {each.topic:<{width}}  {each.records:>9,} records  {_until(each)}")
    print("also: copies and exports of these topics, backups and the append-only file of the store, and names in free text of others")


def _until(each: "Stays") -> str:
    """In words until when."""
    if each.newest_ms is None:
        return "-"
    if each.until_ms is not None:
        return f"until {datetime.fromtimestamp(each.until_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC at the latest"
    if each.kept.compacted:
        return "until the broker compacts the topic; no time is promised without max.compaction.lag.ms"
    return "for ever: retention.ms is -1" if each.kept.retention_ms is not None else "as the broker decides"
