"""Switches that come before the controller is there: greeted at once, kept in bounds, and nothing else. On loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from zethane.adapters.openflow import reception as reception_module
from zethane.adapters.openflow.reception import HELLO, Reception, receive

PATIENCE = 10.0
"""Seconds after which a socket that nobody answers has failed the test."""


@pytest.fixture
def reception() -> Iterator[Reception]:
    made = Reception("127.0.0.1", 0)
    yield made
    made.close()


def connect(port: int, host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((host, port), timeout=PATIENCE)


def test_whoever_comes_is_greeted_at_once(reception: Reception) -> None:
    for _ in range(3):
        with connect(reception.port) as switch:
            assert switch.recv(100) == HELLO


def test_what_it_is_told_is_left_for_the_controller(reception: Reception) -> None:
    with connect(reception.port) as switch:
        switch.sendall(b"hello yourself")
        assert switch.recv(100) == HELLO
        taken = reception.hand_over()
        assert taken is not None
        listening, (waiting,) = taken
        waiting.settimeout(PATIENCE)
        assert waiting.recv(100) == b"hello yourself"
        waiting.close()
        listening.close()


def test_who_has_gone_again_is_no_trouble_and_the_next_one_is_greeted(reception: Reception) -> None:
    connect(reception.port).close()
    with connect(reception.port) as switch:
        assert switch.recv(100) == HELLO


def test_only_so_many_are_greeted_and_the_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception_module, "MAX_WAITING", 2)
    reception = Reception("127.0.0.1", 0)
    switches = [connect(reception.port) for _ in range(4)]
    assert [switch.recv(100) for switch in switches[:2]] == [HELLO, HELLO]
    taken = reception.hand_over()
    assert taken is not None
    listening, waiting = taken
    assert len(waiting) == 2
    for _ in switches[2:]:
        late, _ = listening.accept()
        late.close()
    for one in (*switches, *waiting, listening):
        one.close()


def test_what_nobody_takes_over_is_hung_up_on() -> None:
    reception = Reception("127.0.0.1", 0)
    port = reception.port
    with connect(port) as switch:
        assert switch.recv(100) == HELLO
        reception.close()
        assert switch.recv(100) == b""
    with pytest.raises(ConnectionRefusedError):
        connect(port)
    assert (reception.port, reception.hand_over()) == (0, None)
    reception.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "localhost", "example.org", ""])  # noqa: S104  # refused
def test_nobody_is_received_but_at_an_address_of_loopback(host: str) -> None:
    assert receive(host, 0) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_either_family_is_received(host: str) -> None:
    made = receive(host, 0)
    assert made is not None
    with connect(made.port, host) as switch:
        assert switch.recv(100) == HELLO
    made.close()


def test_where_somebody_listens_already_nobody_is_received() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert receive("127.0.0.1", other.getsockname()[1]) is None
