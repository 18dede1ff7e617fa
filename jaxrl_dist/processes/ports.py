"""Ports to listen on; only the standard library."""

import contextlib
import random
import socket
from pathlib import Path

FIRST, TRIES = 15_000, 100
RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
SMALLEST_OF_CONNECTIONS = 32_768  # where the system does not say


def check_port_is_free(port: int) -> None:
    """Checks that nobody listens on a port, on any interface.

    Raises:
        OSError: somebody does; gRPC would share the port in silence.
    """
    with socket.socket(socket.AF_INET6) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("::", port))


def free_port() -> int:
    """A port that nobody listens on now, and that stays free between two servers.

    It is below those that the system gives to connections: one of these could take it
    while a server that died is started again, even one that tries to reach the server.
    """
    end = SMALLEST_OF_CONNECTIONS
    with contextlib.suppress(OSError, ValueError):
        end = int(RANGE.read_text().split()[0])
    candidates = range(FIRST, max(FIRST, end))
    for port in random.sample(candidates, min(TRIES, len(candidates))):
        with contextlib.suppress(OSError):
            check_port_is_free(port)
            return port
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::", 0))
        return probe.getsockname()[1]
