"""The streaming engine and the offline reading of a directory are two ways to the same bytes: what is evaluated is what runs."""

from pathlib import Path

import numpy as np
import pytest

from stream.cert import read_merged
from stream.kinds import KINDS, empty_frame
from stream.synth import write_organisation
from windowing.calendar import Calendar, WindowSpec
from windowing.clocks import ClockSpec, Mark
from windowing.closing import close_together
from windowing.directory import Directory
from windowing.offline import windows_of
from windowing.partition import Arrivals, Partition, Rules

HOUR = 3_600_000


@pytest.fixture(scope="module")
def organisation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("organisation") / "acme"
    write_organisation(directory, users=12, days=24, seed=3, insiders=1, zone="Europe/Berlin")
    return directory


def _closed(partition: Partition) -> list[str]:
    return [value for _, closing in close_together([partition], 7) for value in closing.windows["value"]]


@pytest.mark.parametrize("hop_hours", [24, 6])
def test_the_engine_and_the_offline_reading_give_the_same_bytes(organisation: Path, hop_hours: int) -> None:
    zone, people = "Europe/Berlin", Directory.read(organisation / "LDAP")
    spec = WindowSpec(hop_ms=hop_hours * HOUR)
    offline = [value for batch in windows_of(organisation, spec, zone, people=people) for value in batch.windows["value"]]

    partition = Partition(Rules(Calendar(spec, zone), ClockSpec(max_jump_ms=10**12), directory=people))
    streamed: list[str] = []
    newest = 0
    for chunk in read_merged(organisation, zone, chunk_bytes=200_000):
        for kind, frame in chunk.items():
            newest = max(newest, int(frame["ts"].max() or 0))  # type: ignore[arg-type]
            partition.read(Arrivals(kind, frame.with_row_index("row"), np.full(frame.height, 2**42, np.int64), []))
        while partition.due():
            streamed += _closed(partition)
    end = newest + 10 * 24 * HOUR
    for kind in KINDS:
        partition.read(Arrivals(kind, empty_frame(kind).with_row_index("row"), np.full(1, 2**42, np.int64), [Mark(0, end, last=True)]))
    while partition.due():
        streamed += _closed(partition)

    assert len(offline) > 100
    assert sorted(streamed) == sorted(offline)
