"""Several processes that begin, stop and end as one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from daywatch.processes import side_by_side
from daywatch.stopping import StopRequest
from stream.errors import PipelineError, UsageError
from stream.parts import Part
from tests.plain_processes import until

pytestmark = pytest.mark.usefixtures("handlers_come_back")


def names(part: Part) -> tuple[int, int, int]:
    return (*part, os.getpid())


def works_until_asked(place: Path, part: Part) -> int:
    """Tells that it has begun, and goes on until it is asked to stop."""
    stop = StopRequest()
    (place / str(part.number)).write_text(str(os.getpid()))
    while not stop.asked():
        time.sleep(0.01)
    return part.number


def fails(place: Path, failing: str, part: Part) -> int:
    """The second one fails once the others work; these stop when they are asked to, and then only."""
    if part.number != 1:
        return works_until_asked(place, part)
    until(lambda: len(list(place.iterdir())) == part.of - 1)
    if failing == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if failing == "usage":
        raise UsageError("window.hop: no such hop")
    if failing == "expected":
        raise PipelineError("the store has gone")
    raise KeyError("ana")


def test_each_part_is_done_in_a_process_of_its_own() -> None:
    found = side_by_side(names, 3)
    assert [each[:2] for each in found] == [(0, 3), (1, 3), (2, 3)]
    assert len({os.getpid(), *(pid for _, _, pid in found)}) == 4


@pytest.mark.parametrize(
    ("failing", "kind", "text"),
    [
        ("usage", UsageError, "window.hop: no such hop"),
        ("expected", PipelineError, "the store has gone"),
        ("unexpected", PipelineError, "unexpected KeyError"),
        ("killed", PipelineError, "process 2 of 3 ended by signal 9"),
    ],
)
def test_where_one_fails_the_others_stop_and_its_words_are_the_last(tmp_path: Path, failing: str, kind: type[Exception], text: str) -> None:
    with pytest.raises(PipelineError) as failed:
        side_by_side(partial(fails, tmp_path, failing), 3)
    assert type(failed.value) is kind
    assert str(failed.value).startswith(text)
    assert "ana" not in str(failed.value)
    for place in tmp_path.iterdir():
        assert not alive(int(place.read_text()))


_SCRIPT = """
import sys
from functools import partial
from pathlib import Path
from daywatch.processes import side_by_side
from tests.daywatch.test_processes import works_until_asked
if __name__ == "__main__":
    print(side_by_side(partial(works_until_asked, Path(sys.argv[1])), 2))
"""


@pytest.fixture
def starting(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that starts two others, which work until they are asked to stop."""
    script, place = tmp_path / "script.py", tmp_path / "begun"
    script.write_text(_SCRIPT)
    place.mkdir()
    with subprocess.Popen(
        [sys.executable, script, place],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    ) as process:
        yield process
        process.kill()


@pytest.fixture
def parent(starting: "subprocess.Popen[str]", tmp_path: Path) -> "subprocess.Popen[str]":
    """The same, once they work."""
    place = tmp_path / "begun"
    until(lambda: all((place / name).is_file() and (place / name).read_text() for name in "01"))
    return starting


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "zombie" not in Path(f"/proc/{pid}/status").read_text()


def test_a_request_to_stop_is_passed_on(parent: "subprocess.Popen[str]") -> None:
    parent.terminate()
    assert parent.communicate(timeout=60)[0] == "[0, 1]\n"
    assert parent.returncode == 0


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_those_that_still_start_waits_for_them(
    starting: "subprocess.Popen[str]", sent: signal.Signals, tmp_path: Path
) -> None:
    children = Path(f"/proc/{starting.pid}/task/{starting.pid}/children")
    until(lambda: any("spawn_main" in command(pid) for pid in children.read_text().split()))
    os.killpg(starting.pid, sent)  # as a terminal does
    out, err = starting.communicate(timeout=60)
    assert (out, err, starting.returncode) == ("[0, 1]\n", "", 0)


def command(pid: str) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def test_none_outlives_a_parent_that_is_killed(parent: "subprocess.Popen[str]", tmp_path: Path) -> None:
    children = [int((tmp_path / "begun" / name).read_text()) for name in "01"]
    assert all(map(alive, children))
    parent.kill()
    until(lambda: not any(map(alive, children)))
