"""Deadlines against servers that hang, and encryption through a proxy."""

import asyncio
import concurrent.futures
import contextlib
import socket
import ssl
import threading
import time
from typing import Any

import grpc
import numpy as np
import pytest
import trustme

from jaxrl_dist.replay import reverb


@pytest.fixture
def mute():
    """A server that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        listener.listen(50)
        yield f"localhost:{listener.getsockname()[1]}"


CALLS = {
    "server_info": lambda client: client.server_info(),
    "writer": lambda client: client.writer({"x": np.int64(0)}),
    "sampler": lambda client: client.sampler("t", reverb.SamplerConfig(1)),
    "mutate": lambda client: client.mutate_priorities("t", keys=[1], priorities=[1.0]),
    "reset": lambda client: client.reset("t"),
    "checkpoint": lambda client: client.checkpoint(),
    "wait": lambda client: client.wait_until_serving(0.5),
}


@pytest.mark.parametrize("call", CALLS)
def test_no_call_outlives_its_deadline(call, mute):
    config = reverb.ConnectionConfig(timeout_seconds=0.5)
    began = time.monotonic()
    with (
        reverb.Client(mute, config) as client,
        pytest.raises((reverb.DeadlineError, reverb.UnavailableError)),
    ):
        CALLS[call](client)
    assert time.monotonic() - began < 2.5


@pytest.mark.parametrize("call", CALLS)
def test_a_closed_client_says_so(call, mute):
    client = reverb.Client(mute)
    client.close()
    with pytest.raises(reverb.ClosedError):
        CALLS[call](client)


@pytest.fixture
def refusing():
    """A gRPC server that refuses every call, under the code for any other error."""

    class Refusal(grpc.GenericRpcHandler):
        def service(self, handler_call_details):
            def refuse(request, context):
                context.abort(grpc.StatusCode.UNKNOWN, "quota exceeded")

            return grpc.unary_unary_rpc_method_handler(refuse)

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((Refusal(),))
    port = server.add_insecure_port("localhost:0")
    server.start()
    yield f"localhost:{port}"
    server.stop(None).wait()


def test_a_refusal_of_unknown_kind_is_told_in_its_own_words_and_at_once(refusing):
    with reverb.Client(refusing) as client:
        began = time.monotonic()
        for call in (client.server_info, lambda: client.wait_until_serving(20)):
            with pytest.raises(
                reverb.RefusedError, match=r"quota exceeded \(UNKNOWN\)"
            ):
                call()
        assert time.monotonic() - began < 5


def test_no_time_at_all_is_no_timeout(mute):
    """In particular it does not mean the default."""
    with reverb.Client(mute) as client:
        for call in (
            lambda: client.server_info(0),
            lambda: client.wait_until_serving(0),
            lambda: client.reset("t", 0),
            lambda: client.checkpoint(0),
            lambda: client.mutate_priorities("t", timeout_seconds=0),
            lambda: client.priority_updater("t", timeout_seconds=0),
            lambda: client.priority_updater("t").flush(0),
        ):
            with pytest.raises(ValueError, match="timeout_seconds must be above 0"):
                call()


@pytest.mark.reverb
def test_no_time_at_all_is_no_timeout_of_a_writer_or_sampler(client, empty):
    table = empty("numbers")
    with client.writer({"x": np.int64(0)}) as writer:
        writer.append({"x": np.array([7])})
        writer.create_items(table, 1)
        for call in (writer.flush, writer.close):
            with pytest.raises(ValueError, match="timeout_seconds must be above 0"):
                call(0)
        writer.flush(10)
    with client.sampler(table, reverb.SamplerConfig(1)) as sampler:
        for call in (sampler.next, sampler.draw):
            with pytest.raises(ValueError, match="timeout_seconds must be above 0"):
                call(0)
        assert sampler.next(10).trajectory["x"].tolist() == [[7]]


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match="timeout_seconds"):
        reverb.ConnectionConfig(timeout_seconds=0)
    with pytest.raises(ValueError, match="max_message_bytes"):
        reverb.ConnectionConfig(max_message_bytes=1)


@pytest.mark.reverb
def test_unknown_tables_and_wrong_priorities_are_typed_errors(client):
    with pytest.raises(reverb.TableError):
        client.reset("nowhere")
    with pytest.raises(reverb.TableError):
        client.mutate_priorities("nowhere", keys=[1], priorities=[1.0])
    with pytest.raises(reverb.RefusedError, match="no Checkpointer configured"):
        client.checkpoint()
    for wrong in ([-1.0], [np.nan], [np.inf], [1.0, 2.0]):
        with pytest.raises(ValueError, match="priorities"):
            client.mutate_priorities("uniform", keys=[1], priorities=wrong)
    client.mutate_priorities("uniform", keys=[12345], priorities=[-0.0])


class Proxy:
    """Ends TLS in front of a server, as one would with a real proxy."""

    def __init__(self, target: str, context: ssl.SSLContext):
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._context = context
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        start = asyncio.start_server(self._serve, "localhost", 0, ssl=context)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer):
        there = await asyncio.open_connection(self._host, self._port)
        ways = (self._pump(reader, there[1]), self._pump(there[0], writer))
        await asyncio.gather(*ways)

    async def _pump(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()

    def close(self):
        """Ends every connection."""

        async def end():
            self._server.close()
            tasks = asyncio.all_tasks(self._loop) - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.mark.reverb
def test_a_client_speaks_tls_to_a_proxy(server, empty, tmp_path):
    table = empty("uniform")
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["h2"])
    authority.issue_cert("replay.example").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    other = trustme.CA()
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    proxy = Proxy(server.address, context)
    address = f"localhost:{proxy.port}"

    def config(ca, name="replay.example"):
        tls = reverb.TLS(ca_certificate=tmp_path / ca, server_name=name)
        return reverb.ConnectionConfig(timeout_seconds=3, tls=tls)

    with reverb.Client(address, config("ca.pem")) as client:
        with client.writer({"x": np.int64(0)}) as writer:
            writer.append({"x": np.array([7])})
            writer.create_items(table, 1)
        with client.sampler(table, reverb.SamplerConfig(2)) as sampler:
            rows: Any = sampler.next(10).trajectory
            assert rows["x"].tolist() == [[7, 7]]
    for wrong in (config("other.pem"), config("ca.pem", "another.example"), None):
        wrong = wrong or reverb.ConnectionConfig(timeout_seconds=3)
        with (
            reverb.Client(address, wrong) as client,
            pytest.raises((reverb.UnavailableError, reverb.DeadlineError)),
        ):
            client.server_info()
    proxy.close()
