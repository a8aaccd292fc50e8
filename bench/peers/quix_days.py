"""User/days with Quix Streams: a tumbling window that collects, its state in RocksDB with changelog topics.

The five topics are concatenated, which Quix reads in step by the time of the records; windows close by the time of their
partition. The closing topic's events end the last day.
"""

import logging
import time

import orjson
from quixstreams import Application
from quixstreams.models.serializers import BytesDeserializer, BytesSerializer

from bench.peers.day import CLOSING_KIND, DAY_MS, Options, item_of, note_start, options, record, time_ms

_GRACE_MS = 2 * DAY_MS  # the embedded broker misstates the ends of logs, and Quix, which goes by them, then reads less in step
_SILENT_S = 12.0


class _Json(BytesDeserializer):
    """JSON by orjson; notes when the first record is read."""

    def __init__(self, given: Options) -> None:
        super().__init__()
        self._given, self._first = given, True

    def __call__(self, value, ctx):  # noqa: ARG002 - as Quix calls it
        if self._first:
            note_start(self._given.started)
            self._first = False
        return orjson.loads(value)


def main() -> None:
    """Run until nothing has come for a while."""
    given = options()
    app = Application(
        broker_address=given.bootstrap_servers,
        consumer_group="quix-days",
        auto_offset_reset="earliest",
        state_dir=given.state,
        use_changelog_topics=True,
        loglevel=logging.WARNING,
        consumer_extra_config={"fetch.queue.backoff.ms": 5},
    )

    def at(value, _headers, timestamp_ms, _type):
        return timestamp_ms if value is None else time_ms(value)

    read = _Json(given)
    streams = [
        app.dataframe(app.topic(name, key_deserializer="str", value_deserializer=read, timestamp_extractor=at))
        for name in (*given.topics, given.closing)
    ]
    events = streams[0]
    for stream in streams[1:]:
        events = events.concat(stream)
    events = events.filter(lambda value: value is not None)
    kept = events.apply(lambda event: ("", "", "", 0) if event["kind"] == CLOSING_KIND else item_of(event))
    closed = kept.tumbling_window(DAY_MS, grace_ms=_GRACE_MS).collect().final(closing_strategy="partition")
    out = app.topic(given.out, key_serializer="str", value_serializer=BytesSerializer())
    done = closed.apply(
        lambda window, key, _timestamp, _headers: record(key, window["start"] // DAY_MS, map(tuple, window["value"])), metadata=True
    )
    # a window would be stamped with its start: its age is wanted
    done.set_timestamp(lambda *_: round(time.time() * 1000)).to_topic(out)
    app.run(timeout=_SILENT_S)


if __name__ == "__main__":
    main()
