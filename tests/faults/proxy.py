"""A TCP proxy on loopback for each connection between two parts, so that the network between them can be cut.

One thread with an event loop serves all links. Knows nothing of what passes.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.schedule import Cut, Moment

_RESET = struct.pack("ii", 1, 0)


# a script that is given a partition's profiles is the one that moves it on; a claim is not
_MOVES_ON = (b"EVALSHA", b":profiles")
# numbers of requests in Kafka's protocol
_SAID = {Moment.PRODUCE: 0, Moment.OFFSETS: 28, Moment.END: 26}


def says(passed: bytes, moment: Moment) -> bool:
    """Whether this is what a moment waits for: a script to Redis, or a request to Kafka (its number stands behind its length)."""
    if moment is Moment.STORE:
        return all(words in passed for words in _MOVES_ON)
    return int.from_bytes(passed[4:6], "big") == _SAID[moment] and len(passed) > 8


@dataclass(frozen=True, slots=True)
class Trap:
    """What to do when something is said. `spring` is called in the network's thread, and says whether it still arrives."""

    moment: Moment
    spring: Callable[[], bool]


class Link:
    """From a port of its own to `target`, a port of loopback; 0: nobody is there."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.target = 0
        self._cut: Cut | None = None
        self._trap: Trap | None = None
        self._passing = asyncio.Event()
        self._passing.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._socket.getsockname()[1]

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, sock=self._socket)

    def shut(self) -> None:
        """Take nothing more, and end what is open; in the network's thread."""
        self._passing.set()
        if self._server is not None:
            self._server.close()
        self._reset_all()

    def cut(self, how: Cut) -> None:
        """Nothing gets through as before, until `heal`."""
        self._soon(lambda: self._begin(how))

    def heal(self) -> None:
        """Let everything through again. What was on its way in a frozen network arrives now."""
        self._soon(self._end)

    def trap(self, trap: Trap | None) -> None:
        """Do something when something is said next; None: no more."""
        self._soon(lambda: setattr(self, "_trap", trap))

    def cut_now(self, how: Cut) -> None:
        """As `cut`, from within the network's thread."""
        self._begin(how)

    def _soon(self, change: Callable[[], None]) -> None:
        done = threading.Event()

        def do() -> None:
            change()
            done.set()

        self._loop.call_soon_threadsafe(do)
        done.wait(10)

    def _begin(self, how: Cut) -> None:
        self._cut = how
        if how is Cut.REFUSE:
            self._reset_all()
        elif how is Cut.FREEZE:
            self._passing.clear()

    def _end(self) -> None:
        if self._cut is Cut.DEAF:
            self._reset_all()  # part of the answers is missing
        self._cut = None
        self._passing.set()

    def _reset_all(self) -> None:
        for writer in list(self._open):
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there: asyncio.StreamWriter | None = None
        self._open.add(writer)
        try:
            await self._passing.wait()
            if self._cut is Cut.REFUSE or not self.target:
                return
            answers, there = await asyncio.open_connection("127.0.0.1", self.target)
            self._open.add(there)
            pumps = [asyncio.ensure_future(self._pump(reader, there)), asyncio.ensure_future(self._pump(answers, writer, answers=True))]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass
        finally:
            for each in (writer, there):
                if each is not None:
                    self._open.discard(each)
                    _reset(each)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool = False) -> None:
        with contextlib.suppress(OSError):
            while passed := await reader.read(65_536):
                if not answers and self._trap is not None and says(passed, self._trap.moment):
                    trap, self._trap = self._trap, None
                    if not trap.spring():
                        return
                await self._passing.wait()
                if answers and self._cut is Cut.DEAF:
                    continue
                writer.write(passed)
                await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


class Network:
    """All links of a world."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._links: list[Link] = []
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._thread.start()

    def link(self) -> Link:
        """A new link that listens."""
        link = Link(self._loop)
        asyncio.run_coroutine_threadsafe(link.listen(), self._loop).result(10)
        self._links.append(link)
        return link

    def close(self) -> None:
        """End everything, and leave nothing open."""
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _shut(self) -> None:
        for link in self._links:
            link.shut()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.05)  # aborted connections let go of their sockets in the next turns
