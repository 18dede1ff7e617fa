"""A Reverb server as a process of its own, tied to the life of this one.

    with Server([Table("replay")]) as server:
        client = Client(server.address)

It listens on all interfaces and asks nobody who they are.
"""

import collections
import dataclasses
import json
import logging
import os
import pathlib
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import IO, Any

from jaxrl_dist.checks import check_above, check_at_least, check_in_range
from jaxrl_dist.processes import guard
from jaxrl_dist.replay.reverb import environment
from jaxrl_dist.replay.reverb.client import Client
from jaxrl_dist.replay.reverb.errors import ServerError, TablesDifferError
from jaxrl_dist.replay.reverb.tables import Table, check_names

LOG = logging.getLogger(__name__)
_LAST_LINES = 30


@dataclasses.dataclass(frozen=True)
class ServerConfig:
    """Settings of a server process.

    Attributes:
        port: to listen on, on all interfaces; None picks a free one.
        checkpoint_dir: where checkpoints are kept; None for no checkpoints.
        checkpoint_every_seconds: above 0; None only on request and when stopped.
        keep_checkpoints: the newest so many, from 1.
        start_timeout_seconds: from the start of the process until it answers, above 0.
        stop_timeout_seconds: for the last checkpoint and the end, above 0.
        port_timeout_seconds: how long a port may be in use by a server before this one
            that still ends, from 0.

    Raises:
        ValueError: a setting is out of range.
    """

    port: int | None = None
    checkpoint_dir: pathlib.Path | str | None = None
    checkpoint_every_seconds: float | None = None
    keep_checkpoints: int = 3
    start_timeout_seconds: float = 300.0
    stop_timeout_seconds: float = 60.0
    port_timeout_seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.port is not None:
            check_in_range(1, 65535, port=self.port)
        if self.checkpoint_every_seconds is not None:
            check_above(0, checkpoint_every_seconds=self.checkpoint_every_seconds)
        check_at_least(1, keep_checkpoints=self.keep_checkpoints)
        check_above(
            0,
            start_timeout_seconds=self.start_timeout_seconds,
            stop_timeout_seconds=self.stop_timeout_seconds,
        )
        check_at_least(0, port_timeout_seconds=self.port_timeout_seconds)


class Server:
    """A server process, from `start` to `stop`; or as a context manager.

    The process ends with this one, whatever happens to this one: see `processes.guard`.

    Attributes:
        tables: what it holds.
        events: what it said about itself, such as checkpoints it fell back from, from
            its start to its end; the last 1,000.
    """

    def __init__(
        self,
        tables: Sequence[Table],
        config: ServerConfig = ServerConfig(),  # noqa: B008 - frozen
        log: Callable[[str], None] = LOG.info,
    ):
        """Describes a server; `start` starts it.

        Args:
            tables: to hold.
            config: settings.
            log: receives each line of the server's log.

        Raises:
            ValueError: there is no table, or two of one name.
        """
        check_names(tables)
        self.tables = tuple(tables)
        self.events: collections.deque[dict[str, Any]] = collections.deque(maxlen=1000)
        self._config = config
        self._log = log
        self._port = config.port
        self._process: subprocess.Popen[str] | None = None
        self._last_lines: collections.deque[str] = collections.deque(maxlen=_LAST_LINES)

    @property
    def address(self) -> str:
        """The server's "host:port", for clients on this machine."""
        return f"localhost:{self._port}"

    @property
    def pid(self) -> int:
        """The process id.

        Raises:
            ServerError: the server was not started.
        """
        return self._running().pid

    def start(self) -> "Server":
        """Starts the process and waits until it serves the tables.

        Raises:
            ServerError: it cannot be started, or does not answer in time.
            TablesDifferError: it restored tables of other settings from a checkpoint.
        """
        python = environment.prepare(self._log)
        deadline = time.monotonic() + self._config.start_timeout_seconds
        settings = json.dumps(self._settings())
        process = subprocess.Popen(
            guard.guarded(
                [python, "-I", "-B", str(environment.SCRIPT), settings],
                interpreter=sys.executable,
                grace_seconds=self._config.stop_timeout_seconds,
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment.server_variables(),
            start_new_session=True,  # Ctrl-C reaches this process, which then stops it
        )
        self._process = process
        assert process.stdout and process.stderr
        events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

        def take_event(line: str) -> None:
            event = json.loads(line)
            self.events.append(event)
            events.put(event)

        self._follow(process.stdout, take_event)
        self._follow(process.stderr, self._take_log_line)
        try:
            restored = self._wait_until_serving(events, deadline)
            self._check(restored, deadline)
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """Lets the server write its last checkpoint and waits for its end.

        Raises:
            ServerError: it did not end well, or not in time and was killed.
        """
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            code = process.wait(self._config.stop_timeout_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ServerError("the Reverb server did not stop in time") from None
        finally:
            _release(process)
        if code != 0:
            failed = [x["message"] for x in self.events if x["event"] == "failed"]
            reason = failed[-1] if failed else self._tail()
            raise ServerError(f"the Reverb server ended with {code}: {reason}")

    def kill(self) -> None:
        """Ends the process at once, without a checkpoint."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            _release(process)

    def terminate(self) -> None:
        """Sends SIGTERM, upon which the server checkpoints and ends."""
        os.kill(self.pid, signal.SIGTERM)

    def wait(self, timeout_seconds: float | None = None) -> int | None:
        """Waits for the process to end by itself.

        Returns:
            Its exit code; None if it still runs.
        """
        try:
            return self._running().wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return None

    def __enter__(self) -> "Server":
        return self.start()

    def __exit__(self, *_: Any) -> None:
        self.stop()

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise ServerError("the Reverb server is not running")
        return self._process

    def _settings(self) -> dict[str, Any]:
        folder = self._config.checkpoint_dir
        return {
            "tables": [table.describe() for table in self.tables],
            "port": self._port,
            "checkpoint_dir": os.path.abspath(folder) if folder else None,
            "checkpoint_every_seconds": self._config.checkpoint_every_seconds,
            "keep_checkpoints": self._config.keep_checkpoints,
            "port_timeout_seconds": self._config.port_timeout_seconds,
        }

    def _follow(self, pipe: IO[str], take: Callable[[str], None]) -> None:
        def follow() -> None:
            with pipe:
                for line in pipe:
                    try:
                        take(line)
                    except Exception:  # who reads no more blocks who writes
                        LOG.exception("cannot take %r from the server", line)

        threading.Thread(target=follow, daemon=True).start()

    def _take_log_line(self, line: str) -> None:
        self._last_lines.append(line.rstrip())
        self._log(line.rstrip())

    def _tail(self) -> str:
        return " | ".join(self._last_lines) or "it left no log"

    def _wait_until_serving(self, events: Any, deadline: float) -> str | None:
        """Reads events until the server serves; the checkpoint it restored, or None."""
        while True:
            try:
                event = events.get(timeout=0.05)
            except queue.Empty:
                if self._running().poll() is not None and events.empty():
                    raise ServerError(
                        f"the Reverb server ended: {self._tail()}"
                    ) from None
                if time.monotonic() > deadline:
                    raise ServerError(
                        f"the Reverb server does not start: {self._tail()}"
                    ) from None
                continue
            if event["event"] == "failed":
                raise ServerError(f"the Reverb server failed: {event['message']}")
            if event["event"] == "serving":
                self._port = event["port"]
                return event["restored"]

    def _check(self, restored: str | None, deadline: float) -> None:
        with Client(self.address) as client:
            client.wait_until_serving(max(1.0, deadline - time.monotonic()))
            try:
                client.check_tables(self.tables)
            except TablesDifferError as error:
                raise TablesDifferError(
                    f"{error}. The tables were restored from {restored} in "
                    f"{self._config.checkpoint_dir} and keep the settings they were "
                    "saved with: start with those, or move the folder away"
                ) from None


def _release(process: subprocess.Popen[str]) -> None:
    """Closes the pipe by which a server sees that this process lives."""
    assert process.stdin
    process.stdin.close()
