from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.serving import bind
from pytest_execgo.harness import ports
from pytest_execgo.harness.ports import PortReservation


@pytest.fixture(params=[False, True], ids=["shared", "exclusive_service"])
def reservation(request: pytest.FixtureRequest) -> Iterator[PortReservation]:
    reserved = PortReservation(exclusive_service=request.param)
    yield reserved
    reserved.close()


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_reserved_port_refuses_connections(reservation: PortReservation) -> None:
    assert not connects(reservation.port)


def test_a_service_gets_every_connection_and_its_end_refuses_them(reservation: PortReservation) -> None:
    for _ in range(2):  # the second time is a restart on the same port
        with bind(f"127.0.0.1:{reservation.port}", shared=True) as service:
            service.listen(128)
            assert all(connects(reservation.port) for _ in range(100))
            service.settimeout(30)
            for _ in range(100):
                service.accept()[0].close()
        assert not connects(reservation.port)


def test_a_service_that_shares_nothing_can_bind_beside_its_reservation() -> None:
    reserved = PortReservation(exclusive_service=True)
    with bind(f"127.0.0.1:{reserved.port}", shared=False) as service:
        service.listen()
        assert connects(reserved.port)
    reserved.close()


@pytest.mark.parametrize("exclusive", [False, True])
def test_no_port_is_chosen_twice_nor_one_that_connections_get(monkeypatch: pytest.MonkeyPatch, exclusive: bool) -> None:
    reserved = [PortReservation(exclusive_service=exclusive) for _ in range(20)]
    assert all(20_000 <= each.port <= 32_000 for each in reserved)
    taken, draw = [each.port for each in reserved], secrets.randbelow
    drawn = iter([port - 20_000 for port in taken])
    monkeypatch.setattr(secrets, "randbelow", lambda bound: next(drawn, None) or draw(bound))
    reserved.append(PortReservation())
    assert reserved[-1].port not in taken
    assert list(drawn) == []
    for each in reserved:
        each.close()


def test_a_port_that_somebody_was_faster_to_take_is_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as faster:
        drawn = iter([faster.getsockname()[1], free := ports.free_port()])
        monkeypatch.setattr(ports, "free_port", lambda: next(drawn))
        reserved = PortReservation()
        assert reserved.port == free
        reserved.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_port_with_a_listener_is_taken(host: str) -> None:
    with socket.create_server((host, 0)) as listener, pytest.raises(UsageError, match="for the kernel is taken") as raised:
        PortReservation(listener.getsockname()[1], what="kernel")
    assert raised.value.code == "port_taken"


def test_a_port_that_shares_with_anybody_is_taken_all_the_same() -> None:
    with bind("127.0.0.1:0", shared=True) as listener:
        listener.listen()
        with pytest.raises(UsageError, match="is taken"):
            PortReservation(listener.getsockname()[1])


def test_a_port_that_another_stack_reserved_is_taken() -> None:
    first = PortReservation()
    with pytest.raises(UsageError, match="is taken"):
        PortReservation(first.port)
    first.close()
    PortReservation(first.port).close()


def test_a_port_whose_last_connections_linger_can_be_had_again() -> None:
    reserved = PortReservation()
    port = reserved.port
    with bind(f"127.0.0.1:{port}", shared=True) as service:
        service.listen()
        with socket.create_connection(("127.0.0.1", port), timeout=5) as caller:
            answered, _ = service.accept()
            answered.close()  # who closes first keeps the connection's end, for a minute
            assert caller.recv(1) == b""
    reserved.close()
    lingering = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    assert [fields[3] for fields in lingering if fields[1].endswith(f":{port:04X}")] == ["06"]
    for exclusive in (False, True):
        PortReservation(port, exclusive_service=exclusive).close()
    with bind(f"127.0.0.1:{port}", shared=True) as service:
        service.listen()
        assert connects(port)
