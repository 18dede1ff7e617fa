"""A client of a Reverb server, without TensorFlow.

    with Client("localhost:8000") as client:
        with client.writer(row, WriterConfig(num_environments=8)) as writer:
            writer.append(rows)
            writer.create_items("replay", num_rows=1)
        with client.sampler("replay", SamplerConfig(batch_size=32)) as sampler:
            sample = sampler.next()

Whatever waits has a deadline, and raises `DeadlineError` when it has passed.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxrl_dist.checks import check_above, check_at_least
from jaxrl_dist.replay.reverb import wire
from jaxrl_dist.replay.reverb.chunking import WriterConfig
from jaxrl_dist.replay.reverb.connection import Connection
from jaxrl_dist.replay.reverb.connection_config import ConnectionConfig
from jaxrl_dist.replay.reverb.encoding import encode_mutation
from jaxrl_dist.replay.reverb.errors import (
    SignatureError,
    TableError,
    TablesDifferError,
)
from jaxrl_dist.replay.reverb.info import ServerInfo, table_differences
from jaxrl_dist.replay.reverb.priorities import PriorityUpdater, check_priorities
from jaxrl_dist.replay.reverb.sample_stream import SamplerConfig, Source
from jaxrl_dist.replay.reverb.sampler import Sampler
from jaxrl_dist.replay.reverb.signature import ColumnSpec, Signature
from jaxrl_dist.replay.reverb.tables import Table
from jaxrl_dist.replay.reverb.writer import Writer
from jaxrl_dist.types import ArrayTree


class Client:
    """Calls to one Reverb server. Threads may share it."""

    def __init__(self, address: str, config: ConnectionConfig = ConnectionConfig()):  # noqa: B008 - frozen
        """Prepares a connection; nothing is sent yet.

        Args:
            address: "host:port".
            config: deadlines, limits, encryption.
        """
        self._connection = Connection(address, config)
        self._open: list[Writer | Sampler | PriorityUpdater] = []

    @property
    def address(self) -> str:
        """The server's "host:port"."""
        return self._connection.address

    @property
    def epoch(self) -> int:
        """How many restarts of the server this client has noticed.

        After each, the tables are as of the server's last checkpoint.
        """
        return self._connection.epoch

    def server_info(self, timeout_seconds: float | None = None) -> ServerInfo:
        """Asks for the state of the server and its tables.

        Raises:
            ValueError: the timeout is not above 0.
            ReverbError: of the type that fits.
        """
        return self._connection.server_info(timeout_seconds)

    def wait_until_serving(self, timeout_seconds: float) -> ServerInfo:
        """Waits for a server that may still be starting.

        Raises:
            ValueError: the timeout is not above 0.
            DeadlineError: it did not answer in time.
            ReverbError: it answers, but not as a server.
        """
        return self._connection.wait_until_serving(timeout_seconds)

    def check_tables(self, tables: Sequence[Table]) -> None:
        """Checks that the server's tables are as expected.

        A table restored from a checkpoint keeps the settings it was saved with,
        whatever the server was started with.

        Raises:
            TablesDifferError: they are not; the message names every difference.
            ReverbError: the server does not answer.
        """
        differences = table_differences(tables, self.server_info())
        if differences:
            raise TablesDifferError(f"{self.address}: {'; '.join(differences)}")

    def writer(self, row: ArrayTree, config: WriterConfig = WriterConfig()) -> Writer:  # noqa: B008 - frozen
        """Opens a writer of rows like this one.

        Args:
            row: nested ArraySpec of one row, without time and batch axes; or an
                example of it, as arrays.
            config: settings.

        Raises:
            SignatureError: Reverb cannot hold such rows.
            ReverbError: the server does not answer.
        """
        info = self.server_info()
        tables = {name: table.table.signature for name, table in info.tables.items()}
        writer = Writer(self._connection, row_signature(row), config, tables)
        self._remember(writer)
        return writer

    def sampler(
        self,
        table: str,
        config: SamplerConfig,
        signature: Signature | ArrayTree | None = None,
    ) -> Sampler:
        """Opens a sampler.

        Args:
            table: to draw from.
            config: settings.
            signature: of its items, checked against the table's; it brings the
                NamedTuple classes of the samples. None takes the table's, whose
                NamedTuples are made from the names of their fields.

        Raises:
            TableError: there is no such table.
            SignatureError: the signatures differ, or there is none.
            ReverbError: the server does not answer.
        """
        info = self.server_info()
        if table not in info.tables:
            raise TableError(f"no table {table!r}; the server has {list(info.tables)}")
        theirs = info.tables[table].table.signature
        if signature is None:
            if theirs is None:
                raise SignatureError(f"table {table!r} has no signature: give one")
            signature = theirs
        if not isinstance(signature, Signature):
            signature = Signature(signature)
        difference = signature.difference(theirs) if theirs is not None else ""
        if difference:
            raise SignatureError(f"items of table {table!r} are others: {difference}")
        removes = info.tables[table].table.max_times_sampled > 0
        sampler = Sampler(self._connection, Source(table, signature, removes), config)
        self._remember(sampler)
        return sampler

    def mutate_priorities(
        self,
        table: str,
        *,
        keys: Any = (),
        priorities: Any = (),
        delete_keys: Any = (),
        timeout_seconds: float | None = None,
    ) -> None:
        """Updates priorities and deletes items; keys that are gone are ignored.

        Args:
            table: of the items.
            keys: [N] uint64, of the items to update.
            priorities: [N] from 0.
            delete_keys: [M] uint64.
            timeout_seconds: deadline; None for the connection's.

        Raises:
            ValueError: the lengths differ, a priority is below 0 or not finite, or the
                timeout is not above 0.
            TableError: there is no such table.
            ReverbError: of the type that fits.
        """
        keys, values = check_priorities(keys, priorities)
        request = encode_mutation(table, keys, values, np.asarray(delete_keys, "u8"))
        self._connection.call_again_if_lost(
            "MutatePriorities", request, wire.Empty, timeout_seconds
        )

    def priority_updater(
        self,
        table: str,
        max_waiting_keys: int = 100_000,
        timeout_seconds: float = 30.0,
    ) -> PriorityUpdater:
        """Sends a table's priorities in the background.

        Args:
            table: of the items.
            max_waiting_keys: queued, before `update` waits; from 1.
            timeout_seconds: of each call, and of `update` and `flush`.

        Raises:
            ValueError: a setting is out of range.
        """
        check_at_least(1, max_waiting_keys=max_waiting_keys)
        check_above(0, timeout_seconds=timeout_seconds)
        updater = PriorityUpdater(
            self._connection, table, max_waiting_keys, timeout_seconds
        )
        self._remember(updater)
        return updater

    def reset(self, table: str, timeout_seconds: float | None = None) -> None:
        """Empties a table and its rate limiter's counts.

        Raises:
            ValueError: the timeout is not above 0.
            TableError: there is no such table.
            ReverbError: of the type that fits.
        """
        request = wire.ResetRequest(table=table).SerializeToString()
        self._connection.call("Reset", request, wire.Empty, timeout_seconds)

    def checkpoint(self, timeout_seconds: float | None = None) -> str:
        """Lets the server write a checkpoint, and returns its path there.

        Raises:
            ValueError: the timeout is not above 0.
            RefusedError: the server cannot.
            ReverbError: of the type that fits.
        """
        answer = self._connection.call(
            "Checkpoint", b"", wire.CheckpointResponse, timeout_seconds
        )
        return answer.checkpoint_path

    def close(self) -> None:
        """Ends all writers, samplers and updaters at once, and the connection."""
        for each in self._open:
            if isinstance(each, Writer):
                each.cancel()
            else:
                each.close()
        self._connection.close()

    def _remember(self, opened: Writer | Sampler | PriorityUpdater) -> None:
        """Keeps what is to be ended with the client, and lets go of what has ended."""
        self._open = [each for each in self._open if not each.closed] + [opened]

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def row_signature(row: ArrayTree) -> Signature:
    """The signature of one row, from nested ArraySpec or an example."""

    def without_rows(spec: ColumnSpec) -> ColumnSpec:
        return ColumnSpec(tuple(spec.shape[1:]), spec.dtype)

    with_rows = Signature.of_rows(row, None)
    return Signature(
        with_rows.unflatten([without_rows(spec) for spec in with_rows.specs])
    )
