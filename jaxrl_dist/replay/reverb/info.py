"""What a server says about itself, and where that is not what was configured."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxrl_dist.replay.reverb.errors import ProtocolError
from jaxrl_dist.replay.reverb.signature import Signature
from jaxrl_dist.replay.reverb.tables import RateLimiter, Selector, Table


class TableInfo(NamedTuple):
    """One table of a running server."""

    table: Table  # its settings, as they are in force
    current_size: int  # items
    num_episodes: int  # that its items refer to
    num_deleted_episodes: int  # that they once referred to
    num_unique_samples: int  # items sampled at least once, since the last reset
    num_inserts: int  # since the last reset or restore
    num_samples: int  # since the last reset or restore


class ServerInfo(NamedTuple):
    """A running server."""

    state_id: int  # drawn anew each time a server starts; 128 bits
    tables: dict[str, TableInfo]


def _read_selector(options: Any) -> Selector:
    kind = options.WhichOneof("distribution")
    if kind == "prioritized":
        return Selector("prioritized", options.prioritized.priority_exponent)
    if kind == "heap":
        return Selector("min_heap" if options.heap.min_heap else "max_heap")
    if kind is None:
        raise ProtocolError("a table's selector is of an unknown kind")
    return Selector(kind)


def _read_table(message: Any) -> TableInfo:
    limiter = message.rate_limiter_info
    has_signature = message.HasField("signature")
    table = Table(
        name=message.name,
        sampler=_read_selector(message.sampler_options),
        remover=_read_selector(message.remover_options),
        max_size=message.max_size,
        max_times_sampled=max(0, message.max_times_sampled),
        rate_limiter=RateLimiter(
            min_size_to_sample=limiter.min_size_to_sample,
            samples_per_insert=limiter.samples_per_insert,
            min_diff=limiter.min_diff,
            max_diff=limiter.max_diff,
        ),
        signature=Signature.from_proto(message.signature) if has_signature else None,
    )
    return TableInfo(
        table=table,
        current_size=message.current_size,
        num_episodes=message.num_episodes,
        num_deleted_episodes=message.num_deleted_episodes,
        num_unique_samples=message.num_unique_samples,
        num_inserts=limiter.insert_stats.completed,
        num_samples=limiter.sample_stats.completed,
    )


def read_server_info(message: Any) -> ServerInfo:
    """Reads a ServerInfoResponse.

    Raises:
        ProtocolError: it describes no possible server.
    """
    state = message.tables_state_id
    try:
        tables = [_read_table(table) for table in message.table_info]
    except ProtocolError:
        raise
    except ValueError as error:
        raise ProtocolError(f"the server describes an impossible table: {error}") from (
            error
        )
    return ServerInfo(
        state_id=state.high << 64 | state.low,
        tables={info.table.name: info for info in tables},
    )


def table_differences(expected: Sequence[Table], info: ServerInfo) -> list[str]:
    """Where a server's tables are not as expected, one sentence each.

    Tables of the server that are not expected are left alone.
    """
    differences = []
    for table in expected:
        if table.name not in info.tables:
            differences.append(f"table {table.name!r} is missing")
            continue
        actual = info.tables[table.name].table
        for setting in ("sampler", "remover", "max_size", "max_times_sampled"):
            want, have = getattr(table, setting), getattr(actual, setting)
            if want != have:
                differences.append(
                    f"table {table.name!r} has {setting} {have}, not {want}"
                )
        if table.rate_limiter != actual.rate_limiter:
            differences.append(
                f"table {table.name!r} has {actual.rate_limiter}, "
                f"not {table.rate_limiter}"
            )
        differences += _signature_differences(table, actual)
    return differences


def _signature_differences(table: Table, actual: Table) -> list[str]:
    if table.signature is None:
        return []
    if actual.signature is None:
        return [f"table {table.name!r} has no signature"]
    difference = table.signature.difference(actual.signature)
    return [f"table {table.name!r} has signature {difference}"] if difference else []
