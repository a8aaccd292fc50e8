"""A link passes bytes on, and is cut in each of three ways."""

import select
import socket
import struct
from collections.abc import Iterator

import pytest

from tests.faults.proxy import Link, Network, Trap, says
from tests.faults.schedule import Cut, Moment


@pytest.fixture
def link() -> Iterator[tuple[Link, socket.socket]]:
    """A link, and the server that it leads to."""
    network, server = Network(), socket.create_server(("127.0.0.1", 0))
    server.settimeout(10)
    made = network.link()
    made.target = server.getsockname()[1]
    yield made, server
    server.close()
    network.close()


def ends(link: Link, server: socket.socket) -> tuple[socket.socket, socket.socket]:
    client = socket.create_connection(("127.0.0.1", link.port), timeout=10)
    client.sendall(b"hello")
    there, _ = server.accept()
    there.settimeout(10)
    assert there.recv(5) == b"hello"
    return client, there


def silent(end: socket.socket) -> bool:
    """Whether nothing arrives for a while. Leaves the time-out alone: a trap asks from another thread while the test reads."""
    return not select.select([end], [], [], 0.3)[0]


def is_gone(end: socket.socket) -> bool:
    """Whether the connection has ended."""
    try:
        return end.recv(1) == b""
    except ConnectionResetError:
        return True


def is_refused(port: int) -> bool:
    """Whether a new connection ends at once; it may do so before we have it."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as again:
            return is_gone(again)
    except ConnectionResetError:
        return True


def test_a_refusing_network_resets_what_is_open_and_takes_nothing_new_until_it_is_healed(link: tuple[Link, socket.socket]) -> None:
    client, there = ends(*link)
    link[0].cut(Cut.REFUSE)
    for end in (client, there):
        assert is_gone(end)
    assert is_refused(link[0].port)
    link[0].heal()
    for end in (*ends(*link), client, there):
        end.close()


def test_a_frozen_network_delivers_when_it_is_healed(link: tuple[Link, socket.socket]) -> None:
    client, there = ends(*link)
    link[0].cut(Cut.FREEZE)
    client.sendall(b"later")
    assert silent(there)
    link[0].heal()
    assert there.recv(5) == b"later"
    client.close()
    there.close()


def test_in_a_deaf_network_what_is_said_arrives_and_the_answer_does_not(link: tuple[Link, socket.socket]) -> None:
    client, there = ends(*link)
    link[0].cut(Cut.DEAF)
    client.sendall(b"ask")
    assert there.recv(3) == b"ask"
    there.sendall(b"answer")
    assert silent(client)
    link[0].heal()
    assert is_gone(client)
    client.close()
    there.close()


@pytest.mark.parametrize("arrives", [True, False])
def test_a_trap_springs_once_when_its_words_are_said_before_they_arrive(link: tuple[Link, socket.socket], arrives: bool) -> None:
    client, there = ends(*link)
    sprung: list[bool] = []

    def spring() -> bool:
        sprung.append(silent(there))
        return arrives

    link[0].trap(Trap(Moment.STORE, spring))
    client.sendall(b"GET x")
    assert there.recv(5) == b"GET x"
    client.sendall(b"EVALSHA x:profiles")
    if arrives:
        assert there.recv(18) == b"EVALSHA x:profiles"
    else:
        assert is_gone(there)
    assert sprung == [True]
    client.close()
    there.close()


def test_requests_to_kafka_are_told_apart_by_their_number() -> None:
    for moment, number in ((Moment.PRODUCE, 0), (Moment.OFFSETS, 28), (Moment.END, 26)):
        request = struct.pack(">ihh", 40, number, 3) + b"x" * 36
        assert [each for each in Moment if each is not Moment.ANY and says(request, each)] == [moment]
