"""Commands run in this process, and a day's work of a detect worker to run them on."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from daywatch.__main__ import main
from detector.backend import Backend
from detector.baseline import Baseline
from detector.from_directory import USER_DAYS
from stream.log import MemoryLog, TopicPartition
from stream.partitioner import partition_of
from stream.synth import write_organisation
from tests.sinks.test_detect_worker import NAMES, TOPICS, run
from windowing.directory import Directory
from windowing.offline import windows_of
from windowing.record import parse_window

Daywatch = Callable[..., tuple[int, str, str]]


@pytest.fixture
def daywatch(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Daywatch:
    """`daywatch(*arguments, stdin=b"")`: exit code, standard output, standard error."""

    def daywatch(*arguments: object, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["daywatch", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(stdin)))
        with pytest.raises(SystemExit) as left:
            main()
        shown = capfd.readouterr()
        return int(left.value.code or 0), shown.out, shown.err

    return daywatch


@dataclass(frozen=True)
class Worked:
    """Window records of a small organisation, and what a detect worker makes of them."""

    windows: list[bytes]

    def alerts(self, backend: Backend) -> list[bytes]:
        log = MemoryLog(NAMES, TOPICS.partitions)
        for record in self.windows:
            key = parse_window(record).user.encode()
            log.append(TopicPartition("windows", partition_of(key, TOPICS.partitions)), key, record)
        run(log, backend=backend, batch_windows=1_000)
        return log.values("alerts")


@pytest.fixture(scope="session")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Worked:
    directory = tmp_path_factory.mktemp("worked") / "organisation"
    write_organisation(directory, 40, 30, 4712, 8)
    made = windows_of(directory, USER_DAYS, people=Directory.read(directory))
    records = [value.encode() for batch in made for value in batch.windows["value"]]
    # the graver half, and some of the rest: enough for alerts, and quick
    scores = {verdict.window_id: verdict.score for verdict in Baseline.load().judge([parse_window(one) for one in records])}
    ranked = sorted(records, key=lambda one: -scores[parse_window(one).id])
    return Worked(ranked[:60] + ranked[60::20])
