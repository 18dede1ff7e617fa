"""One real Reverb server for most tests, and Reverb's own client beside it."""

import pytest

from jaxrl_dist.replay import reverb
from tests.replay.reverb.rows import TABLES, Peer


@pytest.fixture(scope="session")
def server():
    with reverb.Server(TABLES) as running:
        yield running


@pytest.fixture
def client(server):
    with reverb.Client(server.address) as connected:
        yield connected


@pytest.fixture
def empty(client):
    """Empties a table and gives its name."""

    def reset(name: str) -> str:
        client.reset(name)
        return name

    return reset


@pytest.fixture(scope="session")
def peer(server):
    running = Peer(server.address)
    yield running
    assert running.process.stdin and running.process.stdout
    running.process.stdin.close()
    running.process.wait()
    running.process.stdout.close()
