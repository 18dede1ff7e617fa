"""Calls without gRPC on this side: they succeed, or say that they did not."""

import concurrent.futures
import contextlib
import socket
import struct
import threading
import time

import grpc
import numpy as np
import pytest

from jaxrl_dist.replay.reverb import direct
from jaxrl_dist.replay.reverb.direct import DirectCalls
from jaxrl_dist.replay.reverb.encoding import encode_mutation

MUTATE = "/deepmind.reverb.ReverbService/MutatePriorities"
SUCCESS = b"\x00\x0bgrpc-status\x010"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload


ANSWER = frame(0, 0, 1, bytes(5)) + frame(1, 5, 1, SUCCESS)


def soon(seconds=5.0):
    return time.monotonic() + seconds


@pytest.fixture
def echo():
    """A gRPC server that repeats what it is told, and aborts calls of /no."""

    class Echo(grpc.GenericRpcHandler):
        def service(self, handler_call_details):
            def answer(request, context):
                if handler_call_details.method == "/no":
                    context.abort(grpc.StatusCode.NOT_FOUND, "0")
                return request

            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port("localhost:0")
    server.start()
    calls = DirectCalls(f"localhost:{port}")
    yield calls
    calls.close()
    server.stop(None).wait()


def serve(listener, script, heard):
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, contextlib.suppress(ConnectionError):
            connection.sendall(script)
            while some := connection.recv(1 << 16):
                heard.extend(some)


@pytest.fixture
def scripted():
    """Makes servers that send given bytes to whoever comes, and then read."""
    listeners, calls, threads = [], [], []

    def make(script):
        listener, heard = socket.create_server(("localhost", 0)), bytearray()
        arguments = (listener, script, heard)
        threads.append(threading.Thread(target=serve, args=arguments, daemon=True))
        threads[-1].start()
        listeners.append(listener)
        calls.append(DirectCalls(f"localhost:{listener.getsockname()[1]}"))
        return calls[-1], heard

    yield make
    for each in calls:
        each.close()
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)  # closing alone wakes nobody who accepts
        listener.close()
    for thread in threads:
        thread.join(5.0)
        assert not thread.is_alive()


@pytest.mark.parametrize("size", [0, 1, 16_379, 16_380, 50_000])
def test_what_was_sent_comes_back(echo, size):
    request = np.random.default_rng(size).bytes(size)
    for _ in range(3):
        assert echo.call("/yes", request, soon()) == request


def test_both_windows_are_filled_again(echo):
    """More bytes than each side may send without being told of room."""
    for _ in range(200):
        assert echo.call("/yes", bytes(30_000), soon()) == bytes(30_000)


def test_an_error_is_no_success_and_gives_grpc_the_next_calls(echo, monkeypatch):
    assert echo.call("/no", b"", soon()) is None
    assert echo.call("/yes", b"", soon()) is None
    monkeypatch.setattr(direct, "_PAUSE_SECONDS", 0.0)
    echo._not_before = 0.0
    assert echo.call("/no", b"", soon()) is None
    assert echo.call("/yes", b"x", soon()) == b"x"


@pytest.mark.parametrize("address", ["", "unix:/tmp/socket", "[::1]:80", "dns:///x:1"])
def test_other_addresses_are_left_to_grpc(address):
    assert DirectCalls(address).call("/yes", b"", soon()) is None


def test_requests_of_the_connection_are_obeyed(scripted):
    settings = struct.pack(">HI", 4, 1 << 20)
    script = frame(4, 0, 0, settings) + frame(6, 0, 0, b"pingpong") + ANSWER
    calls, heard = scripted(script)
    assert calls.call("/yes", b"", soon()) == b""
    deadline = soon()
    while b"pingpong" not in heard and time.monotonic() < deadline:
        time.sleep(0.01)
    assert frame(4, 1, 0) in heard and frame(6, 1, 0, b"pingpong") in heard


REFUSED = {
    "nothing": b"",
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a frame beyond the limit": frame(6, 1, 0, bytes((1 << 14) + 1)) + ANSWER,
    "the end of the connection": frame(7, 0, 0, bytes(8)) + ANSWER,
    "the end of the call": frame(3, 0, 1, bytes(4)) + ANSWER,
    "settings cut short": frame(4, 0, 0, bytes(5)) + ANSWER,
    "an error": frame(1, 5, 1, b"\x00\x0bgrpc-status\x015"),
    "a message that is too long": frame(0, 0, 1, bytes(6)) + ANSWER,
    "no message": frame(1, 5, 1, SUCCESS),
    "an answer to another call": ANSWER.replace(b"\x00\x00\x00\x01", bytes(4)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_whatever_else_comes_is_no_success(case, scripted):
    calls, _ = scripted(REFUSED[case])
    assert calls.call("/yes", bytes(10), soon(0.3)) is None


def test_a_request_without_room_is_left_to_grpc(scripted):
    """Which the server says before it answers the first call."""
    calls, heard = scripted(frame(4, 0, 0, struct.pack(">HI", 4, 19)) + ANSWER)
    assert calls.call("/yes", bytes(30), soon()) == b""
    assert calls.call("/yes", b"too long for it", soon()) is None
    assert b"too long for it" not in heard


def test_no_more_is_sent_than_the_server_has_room_for(scripted):
    second = frame(0, 0, 3, bytes(5)) + frame(1, 5, 3, SUCCESS)
    calls, heard = scripted(ANSWER + second)
    assert calls.call("/yes", bytes(40_000), soon()) == b""
    assert calls.call("/yes", bytes(40_000), soon(0.3)) is None
    assert len(heard) < 50_000


def test_no_call_outlives_its_deadline(scripted):
    """Not even one to which something is said all the time."""
    calls, _ = scripted(frame(6, 1, 0, bytes(8)) * 10)
    began = time.monotonic()
    assert calls.call("/yes", b"", soon(0.3)) is None
    assert time.monotonic() - began < 1.0


def test_a_call_beside_another_is_left_to_grpc(scripted):
    calls, _ = scripted(b"")
    waiting = threading.Thread(target=calls.call, args=("/yes", b"", soon(10)))
    waiting.start()
    deadline = soon()
    while not calls._lock.locked() and time.monotonic() < deadline:
        time.sleep(0.01)
    began = time.monotonic()
    assert calls.call("/yes", b"", soon()) is None
    calls.close()
    waiting.join(5)
    assert not waiting.is_alive() and time.monotonic() - began < 5


def test_random_bytes_are_no_success(scripted):
    generator = np.random.default_rng(0)
    for _ in range(50):
        script = bytearray(frame(4, 0, 0) + ANSWER)
        for _ in range(int(generator.integers(1, 4))):
            script[int(generator.integers(len(script)))] = int(generator.integers(256))
        calls, _ = scripted(bytes(script))
        assert calls.call("/yes", b"", soon(0.05)) in (None, b"")


@pytest.mark.reverb
def test_reverb_understands_them(client, empty):
    table = empty("numbers")
    calls = DirectCalls(client.address)
    with client.writer({"x": np.int64(0)}) as writer:
        writer.append({"x": np.array([7])})
        (key,) = writer.create_items(table, 1)
    for priority in (2.0, 3.0):
        keys, values = np.array([key], np.uint64), np.array([priority])
        request = encode_mutation(table, keys, values, np.empty(0, np.uint64))
        assert calls.call(MUTATE, request, soon()) == b""
    unknown = encode_mutation("none", keys, values, np.empty(0, np.uint64))
    assert calls.call(MUTATE, unknown, soon()) is None
    calls.close()
