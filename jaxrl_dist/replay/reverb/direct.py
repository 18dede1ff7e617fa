"""Small calls over a plain HTTP/2 connection, in half the time that gRPC takes.

A call through gRPC for Python goes from thread to thread and back, which costs more
than what the server does for it. Here the caller's own thread writes the request and
reads the answer. Only what a call that succeeds needs is understood: whatever else
comes, the caller is told to make the call through gRPC, which knows all errors. So
this is for calls that may be made twice.
"""

import contextlib
import re
import socket
import struct
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# Kinds of frames, their flags, and settings; RFC 9113, sections 6 and 6.5.2.
_DATA, _HEADERS, _SETTINGS, _PING, _GO_AWAY, _WINDOW_UPDATE = 0, 1, 4, 6, 7, 8
_ACKNOWLEDGED = _END_STREAM = 1
_END_HEADERS = 4
_HEADER_TABLE_SIZE, _INITIAL_WINDOW_SIZE = 1, 4
# What a peer takes and gives until it says otherwise.
_FRAME_BYTES = 1 << 14
_WINDOW_BYTES = (1 << 16) - 1
_LAST_STREAM = (1 << 31) - 1
_PREFIX_BYTES = 5  # before a message: whether it is compressed, and its length
_REPORTED_BYTES = 1 << 12  # how much we take before we give the server as much room
# Headers as they are written without a table, which the settings set to no size.
_POST_BY_HTTP = b"\x83\x86"
_SUCCESS = b"\x0bgrpc-status\x010"

_CONNECT_SECONDS = 1.0
_PAUSE_SECONDS = 1.0  # after a failure, before another connection is tried


class DirectCalls:
    """Calls to one server, one at a time. Threads may share it."""

    def __init__(self, address: str):
        """Prepares; nothing is sent yet.

        Args:
            address: "host:port". With anything else no call is made.
        """
        match = re.fullmatch(r"([\w.-]+):(\d+)", address)
        self._place = (match[1], int(match[2])) if match else None
        self._lock = threading.Lock()
        self._connection: _Connection | None = None
        self._not_before = 0.0
        self._closed = False

    def call(self, path: str, request: bytes, deadline: float) -> bytes | None:
        """Makes one call.

        Args:
            path: of the method.
            request: encoded.
            deadline: of time.monotonic().

        Returns:
            The encoded answer; None if the call was not made, or did not succeed, or
            is not known to have succeeded.
        """
        if self._place is None or not self._lock.acquire(blocking=False):
            return None
        try:
            if self._closed or time.monotonic() < self._not_before:
                return None
            if self._connection is None:
                self._connection = _Connection(*self._place, deadline)
            if self._closed:  # meanwhile: `close` wakes only what is connected
                return None
            return self._connection.call(path, request, deadline)
        except (OSError, _UnusableError):
            self._not_before = time.monotonic() + _PAUSE_SECONDS
            self._disconnect()
            return None
        finally:
            self._lock.release()

    def close(self) -> None:
        """Ends the connection, and a call that waits."""
        self._closed = True
        connection = self._connection
        if connection is not None:
            connection.wake()
        with self._lock:
            self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _UnusableError(Exception):
    """What the server sent is not what a call that succeeds gets."""


class _Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes


class _Answer(NamedTuple):
    """What a call got, as another would get it."""

    pieces: tuple[bytes, ...]  # of its frames, between the numbers of the stream
    data_bytes: int
    message: bytes


class _Connection:
    """An HTTP/2 connection that carries one call after the other."""

    def __init__(self, host: str, port: int, deadline: float):
        # A name may have two addresses, which are tried one after the other.
        timeout = min(_CONNECT_SECONDS, _seconds_until(deadline) / 2)
        self._socket = socket.create_connection((host, port), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._authority = f"{host}:{port}".encode()
        self._headers: dict[str, bytes] = {}
        self._unread = bytearray()
        self._stream = -1
        self._window = self._stream_window = _WINDOW_BYTES  # that the server gives us
        self._received = 0  # of the window that we give the server
        self._usual = _Answer((), 0, b"")  # the last one
        settings = struct.pack(">HI", _HEADER_TABLE_SIZE, 0)
        self._socket.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, settings))

    def call(self, path: str, request: bytes, deadline: float) -> bytes:
        """Makes one call.

        Raises:
            OSError: the connection broke, or the deadline passed.
            _UnusableError: the call did not succeed, or the server sent something
                unknown.
        """
        self._stream += 2
        if self._stream > _LAST_STREAM:
            raise _UnusableError("all numbers of streams are used")
        size = _PREFIX_BYTES + len(request)
        while self._unread or size > self._window:  # what came after the last answer
            self._obey(self._read_frame(deadline))
        if size > self._stream_window:
            raise _UnusableError("the server has no room for the request")
        self._window -= size
        self._socket.settimeout(_seconds_until(deadline))
        self._socket.sendall(self._encode(path, request))
        if self._is_usual(deadline):
            self._received += self._usual.data_bytes
            return self._usual.message
        return self._read_answer(deadline)

    def wake(self) -> None:
        """Lets a call that waits fail."""
        with contextlib.suppress(OSError):  # the server was first
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Ends the connection."""
        self._socket.close()

    def _encode(self, path: str, request: bytes) -> bytes:
        message = struct.pack(">BI", 0, len(request)) + request
        frames = [_frame(_HEADERS, _END_HEADERS, self._stream, self._headers_of(path))]
        for begin in range(0, len(message), _FRAME_BYTES):
            part = message[begin : begin + _FRAME_BYTES]
            is_last = begin + _FRAME_BYTES >= len(message)
            frames.append(_frame(_DATA, int(is_last), self._stream, part))
        if self._received >= _REPORTED_BYTES:
            update = struct.pack(">I", self._received)
            frames.append(_frame(_WINDOW_UPDATE, 0, 0, update))
            self._received = 0
        return b"".join(frames)

    def _headers_of(self, path: str) -> bytes:
        known = self._headers.get(path)
        if known is None:
            fields = {
                b":path": path.encode(),
                b":authority": self._authority,
                b"content-type": b"application/grpc",
                b"te": b"trailers",
            }
            known = _POST_BY_HTTP + b"".join(
                b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value
                for name, value in fields.items()
            )
            self._headers[path] = known
        return known

    def _is_usual(self, deadline: float) -> bool:
        """Whether the next bytes are the last answer again; keeps them if they are not.

        Calls differ in the number of the stream only, which spares reading the frames.
        """
        some = self._receive(deadline)
        usual = struct.pack(">I", self._stream).join(self._usual.pieces)
        is_usual = bool(usual) and some.startswith(usual)
        self._unread += some[len(usual) :] if is_usual else some
        return is_usual

    def _read_answer(self, deadline: float) -> bytes:
        frames = []
        while (
            not frames
            or frames[-1].kind != _HEADERS
            or not (frames[-1].flags & _END_STREAM)
        ):
            frame = self._read_frame(deadline)
            if frame.stream != self._stream:
                self._obey(frame)
            elif frame.kind in (_DATA, _HEADERS, _WINDOW_UPDATE):
                frames.append(frame)
            else:
                raise _UnusableError(f"a frame of kind {frame.kind}")
        message = b"".join(frame.payload for frame in frames if frame.kind == _DATA)
        self._received += len(message)
        prefix = struct.pack(">BI", 0, max(0, len(message) - _PREFIX_BYTES))
        if _SUCCESS not in frames[-1].payload or not message.startswith(prefix):
            raise _UnusableError("no success")
        self._usual = _Answer(_pieces(frames), len(message), message[_PREFIX_BYTES:])
        return self._usual.message

    def _obey(self, frame: _Frame) -> None:
        """Does what a frame asks for that concerns the whole connection."""
        if frame.kind == _GO_AWAY:
            raise _UnusableError("the server wants to end the connection")
        if frame.kind == _WINDOW_UPDATE and frame.stream == 0:
            self._window += int.from_bytes(frame.payload, "big")
        if frame.kind not in (_SETTINGS, _PING) or frame.flags & _ACKNOWLEDGED:
            return
        if frame.kind == _SETTINGS:
            self._apply(frame.payload)
        payload = frame.payload if frame.kind == _PING else b""
        self._socket.sendall(_frame(frame.kind, _ACKNOWLEDGED, 0, payload))

    def _apply(self, settings: bytes) -> None:
        if len(settings) % 6:
            raise _UnusableError("settings of an impossible length")
        for name, value in struct.iter_unpack(">HI", settings):
            if name == _INITIAL_WINDOW_SIZE:
                self._stream_window = value

    def _read_frame(self, deadline: float) -> _Frame:
        unread = self._unread
        while len(unread) < 9:
            unread += self._receive(deadline)
        length = int.from_bytes(unread[:3], "big")
        if length > _FRAME_BYTES:
            raise _UnusableError(f"a frame of {length} bytes")
        while len(unread) < 9 + length:
            unread += self._receive(deadline)
        stream = int.from_bytes(unread[5:9], "big") & _LAST_STREAM
        frame = _Frame(unread[3], unread[4], stream, bytes(unread[9 : 9 + length]))
        del unread[: 9 + length]
        return frame

    def _receive(self, deadline: float) -> bytes:
        """Reads what is there, or else comes next."""
        self._socket.settimeout(_seconds_until(deadline))
        some = self._socket.recv(1 << 16)
        if not some:
            raise _UnusableError("the server ended the connection")
        return some


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    head = struct.pack(">IBI", len(payload) << 8 | kind, flags, stream)
    return head + payload


def _pieces(frames: Sequence[_Frame]) -> tuple[bytes, ...]:
    """The bytes of frames of one stream, between the numbers of the stream."""
    pieces, before = [], b""
    for frame in frames:
        pieces.append(before + _frame(*frame)[:5])
        before = frame.payload
    return (*pieces, before)


def _seconds_until(deadline: float) -> float:
    """Time left.

    Raises:
        TimeoutError: none is.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
