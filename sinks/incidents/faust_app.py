"""The Faust application behind `daywatch correlate`: reads verdicts and alerts, keeps stories in a table, sends incidents.

The only file that knows Faust. What is merged, closed and said is `stories.py`'s business; here is the order in which things
become durable: what is sent first, then what is remembered, then the group's position. So a crash repeats records at most, byte for byte.

    read ──► Stories.take ──► incidents sent, acknowledged ──► table and changelog, acknowledged ──► position committed
                                                          crash here: sent again, the same bytes
                                                                                              crash here: known already, nothing sent
"""

import asyncio
import contextlib
import logging
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import faust
from aiokafka.errors import KafkaError
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Producer, Transport
from faust.types import TP
from yarl import URL

from sinks.cycle import PastRecords
from sinks.incidents.memory import decode_place, place_key
from sinks.incidents.stories import Received, Stories, StoryTopics, StoryTotals, StoryWork
from sinks.incidents.story import Merging
from stream.errors import PipelineError, TransientError
from stream.kinds import Millis
from stream.log import Headers, Out, TopicPartition
from stream.metrics import DEAD_LETTERS, INCIDENTS, PARTITIONS, POSITION, RECORDS_SENT
from stream.telemetry import NO_TELEMETRY, Beat, Telemetry

_BATCH = 500
_WITHIN_S = 0.1
_TICK_S = 0.1
_STANDS_S = 5.0
_LOOK_S = 0.5
_STOP_S = 7.0
_LEAVE_S = 1.0
_ANSWER_S = 5.0
_LOUD = ("faust", "mode", "aiokafka")


@dataclass(frozen=True, slots=True)
class CorrelateSettings:
    """How the application runs; `bounds`: where each log of verdicts and alerts began and ended when it was started."""

    group: str
    client: Mapping[str, str]
    """Connection properties in librdkafka's names."""
    bounds: Mapping[TopicPartition, tuple[int, int]]
    assignees: str = "insider risk"
    merging: Merging = field(default_factory=Merging)
    session_timeout_ms: Millis = 10_000
    until_done: bool = False
    trust_bounds: bool = True
    """False for the embedded broker: a log's end is where nothing has come for a while."""


class _App(faust.App):
    pending: dict[tuple[str, int], deque[int]]
    """Per topic and partition: offsets that were fetched since reading began anew, and have not come to us yet."""

    def _create_directories(self) -> None:
        """Nothing is kept on disk: the table lives in memory, and in its changelog."""


class _CommittedOnly(AIOKafkaConsumerThread):
    """Faust's consumer, told to read committed records only, and to lose none. By itself it does the one only where it writes in
    transactions, and the other only where something has been committed.
    """

    def _create_worker_consumer(self, transport: Transport) -> Any:
        self.consumer.in_transaction = True  # the one switch that Faust has for it
        try:
            return super()._create_worker_consumer(transport)
        finally:
            self.consumer.in_transaction = False

    async def seek_to_committed(self) -> Any:
        """Go back to what is committed, after a change of assignment; to a log's beginning where nothing is.

        Faust leaves such a log where it stands, and what was fetched and dropped while assignments changed would never be read.
        """
        cast("_App", self.app).pending.clear()
        found = await super().seek_to_committed()
        fresh = [at for at, offset in found.items() if not offset and at.topic not in self.app.tables.changelog_topics]
        if fresh:
            await self.seek_to_beginning(*fresh)
        return found

    async def _fetch_records(self, *arguments: Any, **more: Any) -> Any:
        records = await super()._fetch_records(*arguments, **more)
        for at, found in records.items():
            cast("_App", self.app).pending.setdefault((at.topic, at.partition), deque()).extend(record.offset for record in found)
        return records


class _CommittedConsumer(Consumer):
    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return _CommittedOnly(self, loop=self.loop, beacon=self.beacon)


class _Null(bytes):
    """Stands for no value. aiokafka refuses records without key and value, such as clock marks, unless its serializer makes them."""


class _NullProducer(Producer):
    def _settings_extra(self) -> Mapping[str, Any]:
        return {**super()._settings_extra(), "value_serializer": lambda value: None if isinstance(value, _Null) else value}


class _Transport(Transport):
    Consumer = _CommittedConsumer
    Producer = _NullProducer


@dataclass(slots=True)
class _Progress:
    """What is known of the logs since this assignment."""

    stories: dict[int, Stories] = field(default_factory=dict)
    marked: set[int] = field(default_factory=set)
    """Partitions that held clock marks when the worker started."""
    positions: dict[tuple[str, int], int] = field(default_factory=dict)
    """Per topic and partition: the next offset, as far as records are dealt with."""
    worked_off: set[int] = field(default_factory=set)
    """Partitions whose logs were read to their ends, as far as these reached at the start."""
    heard: float = 0.0
    """When the last record came, by a clock that only runs on."""


class Correlator:
    """Merges alerts into incidents until it is told to stop, or, with `until_done`, until all that was there has been worked off."""

    def __init__(
        self,
        settings: CorrelateSettings,
        topics: StoryTopics,
        past: PastRecords,
        telemetry: Telemetry = NO_TELEMETRY,
        on_step: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Put the application together; `on_step` is told when a batch is taken, when records of it are sent, and when it is remembered."""
        self._settings, self._topics, self._past, self._telemetry, self._on_step = settings, topics, past, telemetry, on_step
        self._progress = _Progress()
        self._generation = -1
        self._failure: BaseException | None = None
        self._busy = asyncio.Lock()
        self._stopping = False
        self.totals = StoryTotals()
        self._app = _app(settings)
        self._table = _table(self._app, topics)
        source = _raw_topic(self._app, topics.verdicts, topics.alerts, acks=False)
        self._app.agent(source, name="correlate")(self._correlate)
        self._app.on_partitions_revoked.connect(self._let_go, weak=False)

    @property
    def partitions(self) -> Sequence[int]:
        """Numbers of the partitions held."""
        return sorted(self._held())

    def run(self, stop: Callable[[], bool], after_step: Callable[[], None] = lambda: None) -> None:
        """Work until told to stop or until all is done.

        Raises:
            RefusedError: the memory was written by something else.
            TransientError: the broker did not take what was to be sent; a new start goes on from there.
        """
        for name in _LOUD:
            # they would write records, and so users, to standard error; what matters comes as an exception
            logger = logging.getLogger(name)
            logger.addHandler(logging.NullHandler())
            logger.propagate = False
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._run(stop, after_step))
        finally:
            # as asyncio.run does it, but not for ever: what hangs on a broker that has gone is left behind
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left, timeout=_LEAVE_S))
            asyncio.set_event_loop(None)
            loop.close()

    async def _run(self, stop: Callable[[], bool], after_step: Callable[[], None]) -> None:
        look_again = 0.0
        try:
            await self._start()
            while not stop():
                self._raise_failure()
                self._tell()
                if self._settings.until_done and time.monotonic() >= look_again:
                    look_again = time.monotonic() + _LOOK_S
                    if await self._all_done():
                        break
                after_step()
                await asyncio.sleep(_TICK_S)
        finally:
            async with self._busy:  # a batch in hand is finished first
                self._stopping = True
            # nothing is lost if it takes too long: what is not committed is read again, and known
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._leave(), _STOP_S)
        self._raise_failure()

    async def _leave(self) -> None:
        await self._app.stop()

    async def _start(self) -> None:
        try:
            await self._app.start()
        except KafkaError as error:
            raise TransientError(f"Kafka cannot be reached ({type(error).__name__})") from error

    def _raise_failure(self) -> None:
        if isinstance(self._failure, PipelineError):
            raise self._failure
        if self._failure is not None:
            raise TransientError(
                f"correlating broke down ({type(self._failure).__name__}); start it again, nothing is lost"
            ) from self._failure
        if self._app.crashed:
            reason = self._app.crash_reason
            raise TransientError(f"Kafka could not be worked with ({type(reason).__name__}); start it again, nothing is lost") from reason

    # records ---------------------------------------------------------------------------------------------------------

    async def _correlate(self, stream: Any) -> None:
        """The agent: batches of records in the order in which they came."""
        try:
            async for events in stream.noack_take(_BATCH, within=_WITHIN_S):
                async with self._busy:
                    if self._stopping:
                        break
                    await self._take(events)
        except Exception as error:  # noqa: BLE001 - Faust would start the agent anew and pass the batch over
            self._failure = error
        await asyncio.Event().wait()

    async def _take(self, events: Sequence[Any]) -> None:
        generation = self._app.consumer_generation_id
        self._renew(generation)
        # what was read under an assignment that is gone is read again from what the group has committed
        current = [event for event in events if event.message.generation_id == generation]
        for event in current:
            self._expect(event.message)
        self._progress.heard = time.monotonic()
        works = []
        for partition, records in _by_partition(current).items():
            self._note_marks(partition, records)
            works.append((partition, self._stories(partition).take(records)))
        if await self._commit(generation, works):
            for event in current:
                self._progress.positions[event.message.topic, event.message.partition] = event.message.offset + 1
            await self._commit_positions()

    def _expect(self, message: Any) -> None:
        """Each record must be the one that was fetched next: Faust may pass records over while partitions move.

        Raises:
            TransientError: it is not; a new start reads them again.
        """
        pending = self._app.pending.get((message.topic, message.partition))
        if not pending or pending.popleft() != message.offset:
            raise TransientError("records were passed over while partitions moved; they are read again")

    async def _commit_positions(self) -> None:
        """Commit how far the logs have been dealt with.

        Not by acknowledging records: Faust then waits for every offset in between, and some are markers and aborted records.
        """
        offsets = {TP(topic, partition): offset for (topic, partition), offset in self._progress.positions.items()}
        consumer: Any = self._app.consumer
        if offsets:
            await consumer._thread.commit(offsets)  # noqa: SLF001 - Faust has no other way to it

    async def _commit(self, generation: int, works: Iterable[tuple[int, StoryWork]]) -> bool:
        """Send, then remember; False when the partitions were taken away meanwhile, and their next owner does it all again."""
        works = list(works)
        self._on_step("taken")
        sent = [await self._send(out) for _, work in works for out in work.out]
        await _acknowledged(sent)
        if sent:
            self._on_step("sent")
        if generation != self._app.consumer_generation_id or self._app.rebalancing:
            self._generation = -1
            return False
        await _acknowledged([self._remember(partition, *entry) for partition, work in works for entry in work.memory.items()])
        self._on_step("remembered")
        for _, work in works:
            self._count(work)
        return True

    def _count(self, work: StoryWork) -> None:
        """What is written down is counted, and told."""
        totals, tell = work.totals, self._telemetry
        self.totals.add(totals)
        for activity in ("opened", "grown", "closed"):
            if number := getattr(totals, activity):
                tell.count(INCIDENTS, number, activity=activity)
        for (topic, reason), number in work.refused.items():
            tell.count(DEAD_LETTERS, number, topic=topic, reason=reason)
        for out in work.out:
            tell.count(RECORDS_SENT, topic=out.at.topic)

    def _tell(self) -> None:
        tell = self._telemetry
        tell.beat(Beat.LOOP)
        held = self._held()
        if held or self._ready():
            tell.beat(Beat.GROUP)
            tell.beat(Beat.BROKER)
        tell.levels(PARTITIONS, {(): len(held)})
        tell.levels(POSITION, {(topic, str(number)): offset for (topic, number), offset in self._progress.positions.items()})

    async def _send(self, out: Out) -> Any:
        topic = _raw_topic(self._app, out.at.topic)
        value = _Null() if out.value is None else out.value
        return await topic.send(key=out.key, value=value, partition=out.at.partition, headers=out.headers or None)

    def _remember(self, partition: int, key: bytes, value: bytes | None) -> Any:
        # not by table[key] = …, which takes the partition from the record in hand and does not say when it is written
        if value is None:
            self._table.data.pop(key, None)
            return self._table.send_changelog(partition, key, None, value_serializer="raw")
        self._table.data[key] = value
        return self._table.send_changelog(partition, key, value)

    def _stories(self, partition: int) -> Stories:
        stories = self._progress.stories.get(partition)
        if stories is None:
            settings = self._settings
            stories = Stories(partition, dict(self._table.data.items()), self._topics, settings.merging, settings.assignees)
            self._progress.stories[partition] = stories
            if stories.place.mark_ms is not None:
                self._progress.marked.add(partition)
        return stories

    def _note_marks(self, partition: int, records: Iterable[Received]) -> None:
        end = self._end(self._topics.verdicts, partition)
        if any(record.value is None and record.topic == self._topics.verdicts and record.offset < end for record in records):
            self._progress.marked.add(partition)

    def _renew(self, generation: int) -> None:
        """After every change of assignment, stories are taken from the table anew, which Faust has read to its end by then."""
        if generation != self._generation:
            self._progress = _Progress(heard=time.monotonic())
            self._generation = generation

    async def _let_go(self, *_: Any, **__: Any) -> None:
        """Partitions are being taken away: a batch in hand is finished first, so that their next owner finds it in the table."""
        async with self._busy:
            self._generation = -1

    # ends ------------------------------------------------------------------------------------------------------------

    def _ready(self) -> bool:
        """Whether the group has said what this worker holds, and the table of it has been read."""
        return bool(self._app.tables.actives_ready) and not self._app.rebalancing

    def _held(self) -> set[int]:
        if not self._ready():
            return set()
        return {tp.partition for tp in self._app.consumer.assignment() if tp.topic == self._topics.verdicts}

    def _end(self, topic: str, partition: int) -> int:
        return self._settings.bounds[TopicPartition(topic, partition)][1]

    async def _all_done(self) -> bool:
        """Whether both topics have been dealt with as far as they reached at the start, partitions of others included."""
        if not self._ready():
            return False
        async with self._busy:
            self._renew(self._app.consumer_generation_id)
            held = sorted(self._held())
            await self._note_ends(held)
            if not all(self._finished(partition) for partition in held):
                return False
        foreign = sorted(set(range(self._topics.partitions)) - set(held))
        if not self._settings.trust_bounds:
            return not foreign  # there is but one worker: what is foreign is not assigned yet
        return not foreign or await asyncio.to_thread(self._finished_by_others, foreign)

    async def _note_ends(self, held: Iterable[int]) -> None:
        """Nothing has come for a while: where both logs were read to their ends, say so in the table, where others look for it."""
        works = []
        for partition in held:
            ends = [await self._end_reached(topic, partition) for topic in (self._topics.verdicts, self._topics.alerts)]
            if ends[0] is None or ends[1] is None:
                continue
            # where nobody's word on the end can be believed, it must have stood for a while
            if self._settings.trust_bounds or time.monotonic() - self._progress.heard >= _STANDS_S:
                works.append((partition, self._stories(partition).worked_off((ends[0], ends[1]))))
        if works and await self._commit(self._generation, works):
            self._progress.worked_off.update(partition for partition, _ in works)

    async def _end_reached(self, topic: str, partition: int) -> int | None:
        """Where a log was found to end; None when there is more of it, be it on its way or in a transaction that is still open."""
        position = await self._position(topic, partition)
        # asked for afterwards: what was fetched since then shows here
        if self._app.pending.get((topic, partition)):
            return None
        if position is None or not self._settings.trust_bounds:
            return position
        end = max(self._end(topic, partition), self._app.consumer.highwater(TP(topic, partition)) or 0)
        return position if position >= end else None

    async def _position(self, topic: str, partition: int) -> int | None:
        try:
            return await asyncio.wait_for(self._app.consumer.position(TP(topic, partition)), _ANSWER_S)
        except (TimeoutError, KafkaError):
            return None  # it is being taken away, or the broker is: there is time to ask again

    def _reached(self, partition: int, ends: tuple[int, int]) -> bool:
        topics = (self._topics.verdicts, self._topics.alerts)
        return not self._settings.trust_bounds or all(end >= self._end(topic, partition) for topic, end in zip(topics, ends, strict=True))

    def _finished(self, partition: int) -> bool:
        place = self._stories(partition).place
        if partition in self._progress.marked and not place.done:
            return False
        return partition in self._progress.worked_off or (place.done and not self._settings.trust_bounds)

    def _finished_by_others(self, partitions: Iterable[int]) -> bool:
        found = self._past.latest([TopicPartition(self._topics.incident_memory, partition) for partition in partitions])
        for at, memory in found.items():
            kept = memory.get(place_key(at.partition))
            logs = [TopicPartition(topic, at.partition) for topic in (self._topics.verdicts, self._topics.alerts)]
            if kept is None:
                if any(self._settings.bounds[log][0] < self._settings.bounds[log][1] for log in logs):
                    return False
                continue
            place = decode_place(kept)
            if place.done:
                continue
            if place.mark_ms is not None or place.ends is None or not self._reached(at.partition, place.ends):
                return False
        return True


def _app(settings: CorrelateSettings) -> _App:
    servers = settings.client["bootstrap.servers"].split(",")
    session_s = settings.session_timeout_ms / 1000
    app = _App(
        settings.group,
        broker=[URL(f"kafka://{server.strip()}") for server in servers],
        broker_credentials=_credentials(settings.client),
        broker_session_timeout=session_s,
        broker_heartbeat_interval=session_s / 4,
        broker_rebalance_timeout=max(session_s, 10.0),
        broker_commit_interval=1.0,
        consumer_auto_offset_reset="earliest",
        processing_guarantee="at_least_once",
        producer_request_timeout=60.0,
        store="memory://",
        stream_wait_empty=False,
        table_standby_replicas=0,
        topic_allow_declare=False,
        topic_disable_leader=True,
        topic_partitions=1,
        web_enabled=False,
        autodiscover=False,
    )
    app.pending = {}
    app.transport = _Transport(app.conf.broker_consumer, app)
    app.producer_transport = _Transport(app.conf.broker_producer, app)
    return app


def _table(app: faust.App, topics: StoryTopics) -> Any:
    changelog = _raw_topic(
        app, topics.incident_memory, acks=False, internal=True, allow_empty=True, compacting=True, partitions=topics.partitions
    )
    return app.Table("stories", key_type=bytes, value_type=bytes, partitions=topics.partitions, changelog_topic=changelog)


def _raw_topic(app: faust.App, *names: str, **more: Any) -> Any:
    shape: dict[str, Any] = {"allow_empty": True, **more}
    return app.topic(*names, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", **shape)


def _credentials(client: Mapping[str, str]) -> Any:
    """How Faust is to be let in, from librdkafka's properties; None for a plain connection."""
    protocol = client.get("security.protocol", "PLAINTEXT")
    context = None
    if protocol.endswith("SSL"):
        context = ssl.create_default_context(cafile=client.get("ssl.ca.location"))
        if (certificate := client.get("ssl.certificate.location")) is not None:
            context.load_cert_chain(certificate, client.get("ssl.key.location"), client.get("ssl.key.password"))
    if protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=client.get("sasl.username"),
            password=client.get("sasl.password"),
            mechanism=client.get("sasl.mechanism"),
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context is not None else None


def _by_partition(events: Iterable[Any]) -> dict[int, list[Received]]:
    found: dict[int, list[Received]] = {}
    for event in events:
        message = event.message
        received = Received(message.topic, message.offset, message.key, message.value, _headers(message.headers))
        found.setdefault(message.partition, []).append(received)
    return found


def _headers(found: Any) -> Headers:
    return list(found.items()) if isinstance(found, Mapping) else list(found or ())


async def _acknowledged(sent: Iterable[Awaitable[Any]]) -> None:
    """Wait until the broker has everything.

    Raises:
        TransientError: it did not take something.
    """
    for each in sent:
        try:
            await each
        except Exception as error:
            raise TransientError(f"the broker did not take a record ({type(error).__name__}); start the worker again") from error
