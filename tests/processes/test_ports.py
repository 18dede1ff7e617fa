"""Ports that are free, and stay so."""

import socket
from pathlib import Path

import pytest

from jaxrl_dist.processes import ports


def test_a_free_port_can_be_listened_on_and_then_is_not_free():
    port = ports.free_port()
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::", port))
        taken.listen()
        with pytest.raises(OSError, match="Address already in use"):
            ports.check_port_is_free(port)
    ports.check_port_is_free(port)


def test_a_free_port_is_none_that_a_connection_may_be_given():
    first = int(ports.RANGE.read_text().split()[0])
    assert all(ports.free_port() < first for _ in range(20))


def test_there_is_a_port_where_connections_may_be_given_all(monkeypatch, tmp_path):
    monkeypatch.setattr(ports, "RANGE", Path(tmp_path / "range"))
    ports.RANGE.write_text("1024\t65535\n")
    ports.check_port_is_free(ports.free_port())
