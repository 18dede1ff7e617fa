"""One connection to a Reverb server: deadlines, typed errors, restarts noticed."""

import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc

from jaxrl_dist.checks import check_above
from jaxrl_dist.replay.reverb import wire
from jaxrl_dist.replay.reverb.connection_config import ConnectionConfig
from jaxrl_dist.replay.reverb.direct import DirectCalls
from jaxrl_dist.replay.reverb.errors import (
    ClosedError,
    DeadlineError,
    ProtocolError,
    RefusedError,
    ReverbError,
    TableError,
    UnavailableError,
)
from jaxrl_dist.replay.reverb.info import ServerInfo, read_server_info

LOG = logging.getLogger(__name__)

# What gRPC itself says where a connection broke, under a code that servers use for
# other errors, too: those would come again however often a call is repeated.
_BROKEN = {
    grpc.StatusCode.INTERNAL: ("cancelled",),
    grpc.StatusCode.UNKNOWN: ("Stream removed", "No status received"),
}

_ERRORS = {
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    # A server that shuts down cancels what waits at its tables.
    grpc.StatusCode.CANCELLED: UnavailableError,
    grpc.StatusCode.NOT_FOUND: TableError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ProtocolError,
}


def typed_error(error: grpc.RpcError) -> ReverbError:
    """The error of this package that says what a gRPC error means."""
    code, details = error.code(), error.details()  # pyright: ignore[reportAttributeAccessIssue] - stubs miss them
    if any(sign in (details or "") for sign in _BROKEN.get(code, ())):
        return UnavailableError(f"the connection broke: {details} ({code.name})")
    return _ERRORS.get(code, RefusedError)(f"{details} ({code.name})")


def chosen_timeout(timeout_seconds: float | None, default: float) -> float:
    """The timeout that a caller gave, or the default for None.

    Raises:
        ValueError: it is not above 0.
    """
    if timeout_seconds is None:
        return default
    check_above(0, timeout_seconds=timeout_seconds)
    return timeout_seconds


class Connection:
    """A channel to one server, and what is known about that server's restarts.

    Attributes:
        address: "host:port".
        config: its settings.
        epoch: how many restarts of the server were noticed. After each, the tables are
            as of the server's last checkpoint: what was inserted, updated or sampled
            since then is undone.
    """

    def __init__(self, address: str, config: ConnectionConfig):
        self.address = address
        self.config = config
        self.epoch = 0
        self._state_id: int | None = None
        self._lock = threading.Lock()
        self._stubs: dict[str, Any] = {}
        self.closed = threading.Event()
        # Through TLS, gRPC makes all calls.
        self._direct = DirectCalls(address if config.tls is None else "")
        options: list[tuple[str, Any]] = [
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", config.max_message_bytes),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_retries", 0),  # ours know what may be sent twice
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        if config.tls is None:
            self._channel = grpc.insecure_channel(address, options)
        else:
            if config.tls.server_name:
                name = config.tls.server_name
                options.append(("grpc.ssl_target_name_override", name))
            credentials = config.tls.credentials()
            self._channel = grpc.secure_channel(address, credentials, options)

    def call(
        self,
        method: str,
        request: bytes,
        response: Any,
        timeout_seconds: float | None = None,
    ) -> Any:
        """Makes one call.

        Args:
            method: its name in Reverb's service.
            request: encoded.
            response: class of the answer.
            timeout_seconds: deadline; None for the connection's.

        Raises:
            ValueError: the timeout is not above 0.
            ReverbError: of the type that fits.
        """
        timeout = chosen_timeout(timeout_seconds, self.config.timeout_seconds)
        if self.closed.is_set():
            raise ClosedError("the client is closed")
        try:
            stub = self._stub(method)
            answer = stub(request, timeout=timeout)
        except grpc.RpcError as error:
            raise self._with_address(typed_error(error)) from None
        except ValueError as error:  # what grpc says of a closed channel
            raise ClosedError("the client is closed") from error
        return parse(response, answer)

    def call_again_if_lost(
        self,
        method: str,
        request: bytes,
        response: Any,
        timeout_seconds: float | None = None,
    ) -> Any:
        """Makes one call that may as well be made twice: with luck in half the time.

        Args:
            method: its name in Reverb's service.
            request: encoded.
            response: class of the answer.
            timeout_seconds: deadline; None for the connection's.

        Raises:
            ValueError: the timeout is not above 0.
            ReverbError: of the type that fits.
        """
        timeout = chosen_timeout(timeout_seconds, self.config.timeout_seconds)
        deadline = time.monotonic() + timeout
        answer = self._direct.call(wire.SERVICE + method, request, deadline)
        if answer is not None:
            return parse(response, answer)
        left = max(0.001, deadline - time.monotonic())
        return self.call(method, request, response, left)

    def stream(self, method: str, requests: Iterator[bytes]) -> Any:
        """Opens a stream of encoded requests and encoded responses.

        Raises:
            ClosedError: the client is closed.
        """
        try:
            return self._channel.stream_stream(wire.SERVICE + method)(requests)
        except ValueError as error:
            raise ClosedError("the client is closed") from error

    def server_info(self, timeout_seconds: float | None = None) -> ServerInfo:
        """Asks the server about itself, and notices if it was restarted.

        Raises:
            ReverbError: of the type that fits.
        """
        answer = self.call("ServerInfo", b"", wire.ServerInfoResponse, timeout_seconds)
        info = read_server_info(answer)
        with self._lock:
            if self._state_id not in (None, info.state_id):
                self.epoch += 1
                sizes = {
                    name: table.current_size for name, table in info.tables.items()
                }
                LOG.warning(
                    "the Reverb server at %s was restarted (epoch %d): its tables went "
                    "back to the last checkpoint and now hold %s items",
                    self.address,
                    self.epoch,
                    sizes,
                )
            self._state_id = info.state_id
        return info

    def wait_until_serving(self, timeout_seconds: float) -> ServerInfo:
        """Waits for a server that may still be starting.

        Raises:
            ValueError: the timeout is not above 0.
            DeadlineError: it did not answer in time.
            ReverbError: it answers, but not as a server.
        """
        check_above(0, timeout_seconds=timeout_seconds)
        deadline = time.monotonic() + timeout_seconds
        while True:
            left = deadline - time.monotonic()
            try:
                return self.server_info(max(0.001, min(left, 1.0)))
            except (UnavailableError, DeadlineError) as error:
                if left <= 0:
                    raise DeadlineError(
                        f"no Reverb server answers at {self.address} after "
                        f"{timeout_seconds} s: {error}"
                    ) from None
                self.closed.wait(0.1)

    def wait_for_server(self, stopped: threading.Event) -> None:
        """Waits, with growing pauses, until the server answers or nobody cares.

        Args:
            stopped: ends the wait.

        Raises:
            ReverbError: the server answers, but not as one.
        """
        pause, began, told = self.config.first_pause_seconds, time.monotonic(), False
        while not stopped.is_set():
            try:
                self.server_info(min(2.0, self.config.timeout_seconds))
            except (UnavailableError, DeadlineError) as error:
                if not told:
                    LOG.warning("lost %s, trying again: %s", self.address, error)
                    told = True
                stopped.wait(pause)
                pause = min(2 * pause, self.config.longest_pause_seconds)
                continue
            if told:
                waited = time.monotonic() - began
                LOG.warning("%s answers again after %.1f s", self.address, waited)
            return

    def _stub(self, method: str) -> Any:
        stub = self._stubs.get(method)
        if stub is None:
            stub = self._channel.unary_unary(wire.SERVICE + method)
            self._stubs[method] = stub
        return stub

    def close(self) -> None:
        """Ends every call and stream."""
        self.closed.set()
        self._direct.close()
        self._channel.close()

    def _with_address(self, error: ReverbError) -> ReverbError:
        return type(error)(f"{self.address}: {error}")


def parse(message: Any, encoded: bytes) -> Any:
    """Parses a message.

    Raises:
        ProtocolError: the bytes are none of that kind.
    """
    try:
        return message.FromString(encoded)
    except Exception as error:  # protobuf's DecodeError, or its recursion limit
        raise ProtocolError(f"no {message.DESCRIPTOR.name}: {error}") from None
