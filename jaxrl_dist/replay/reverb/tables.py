"""Tables described by data, and what a running server says about its own."""

import dataclasses
import json
import pathlib
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from jaxrl_dist.checks import check_above, check_at_least
from jaxrl_dist.replay.reverb.signature import Signature

UNLIMITED = sys.float_info.max
SELECTORS = ("uniform", "prioritized", "fifo", "lifo", "max_heap", "min_heap")


@dataclasses.dataclass(frozen=True)
class Selector:
    """How one item of a table is chosen.

    Attributes:
        kind: one of SELECTORS; a heap chooses by priority, the oldest among equals.
        exponent: of prioritized: an item's probability is proportional to its priority
            to this power, from 0.

    Raises:
        ValueError: the kind is unknown, or the exponent below 0.
    """

    kind: str
    exponent: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in SELECTORS:
            raise ValueError(f"kind must be one of {SELECTORS}, got {self.kind!r}")
        check_at_least(0, exponent=self.exponent)


@dataclasses.dataclass(frozen=True)
class RateLimiter:
    """When inserts and samples wait.

    Samples wait while the table holds fewer than `min_size_to_sample` items. Both keep
    inserts * samples_per_insert - samples within [min_diff, max_diff]: inserts wait
    above, samples below.

    Attributes:
        min_size_to_sample: items, from 1.
        samples_per_insert: how often an item is sampled on average, above 0.
        min_diff: lower bound of the difference, in samples.
        max_diff: upper bound of the difference, in samples.

    Raises:
        ValueError: out of range, or bounds so narrow that one call blocks for ever.
    """

    min_size_to_sample: int = 1
    samples_per_insert: float = 1.0
    min_diff: float = -UNLIMITED
    max_diff: float = UNLIMITED

    def __post_init__(self) -> None:
        check_at_least(1, min_size_to_sample=self.min_size_to_sample)
        check_above(0, samples_per_insert=self.samples_per_insert)
        if self.min_diff > self.max_diff:
            raise ValueError(
                f"min_diff {self.min_diff} is above max_diff {self.max_diff}"
            )


def min_size(items: int) -> RateLimiter:
    """Samples wait for this many items; inserts never wait."""
    return RateLimiter(min_size_to_sample=items)


def samples_per_insert(
    ratio: float, *, min_size_to_sample: int, error_buffer: float
) -> RateLimiter:
    """Keeps the number of samples near `ratio` times the number of inserts.

    Args:
        ratio: samples per insert, above 0.
        min_size_to_sample: items before the first sample, from 1.
        error_buffer: by how many samples the two may run apart, either way; at least
            max(1, ratio), or every call would block.

    Raises:
        ValueError: an argument is out of range.
    """
    check_at_least(max(1.0, ratio), error_buffer=error_buffer)
    middle = ratio * min_size_to_sample
    return RateLimiter(
        min_size_to_sample=min_size_to_sample,
        samples_per_insert=ratio,
        min_diff=middle - error_buffer,
        max_diff=middle + error_buffer,
    )


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of a Reverb server.

    Attributes:
        name: by which clients ask for it, not empty.
        sampler: chooses the item to sample.
        remover: chooses the item to remove when the table is full.
        max_size: items, from 1.
        max_times_sampled: an item is removed after this many samples; 0 for never.
        rate_limiter: when inserts and samples wait.
        signature: of its items; None leaves them unchecked.

    Raises:
        ValueError: a setting is out of range.
    """

    name: str
    sampler: Selector = Selector("uniform")
    remover: Selector = Selector("fifo")
    max_size: int = 1_000_000
    max_times_sampled: int = 0
    rate_limiter: RateLimiter = RateLimiter()
    signature: Signature | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("name must not be empty")
        check_at_least(1, max_size=self.max_size)
        check_at_least(0, max_times_sampled=self.max_times_sampled)

    def describe(self) -> dict:
        """As JSON, every setting in full."""
        described = dataclasses.asdict(dataclasses.replace(self, signature=None))
        if self.signature is not None:
            described["signature"] = self.signature.describe()
        return described


def queue(name: str, max_size: int, signature: Signature | None = None) -> Table:
    """A first-in, first-out queue: each item is sampled once, inserts wait if full."""
    limiter = RateLimiter(min_diff=0.0, max_diff=float(max_size))
    fifo = Selector("fifo")
    return Table(name, fifo, fifo, max_size, 1, limiter, signature)


def stack(name: str, max_size: int, signature: Signature | None = None) -> Table:
    """A last-in, first-out stack: each item is sampled once, inserts wait if full."""
    limiter = RateLimiter(min_diff=0.0, max_diff=float(max_size))
    lifo = Selector("lifo")
    return Table(name, lifo, lifo, max_size, 1, limiter, signature)


def _selector(described: Any) -> Selector:
    if isinstance(described, str):
        return Selector(described)
    return Selector(**described)


def table_from_description(described: dict) -> Table:
    """Reads one table from JSON; settings that are absent have their defaults.

    `sampler` and `remover` are a kind, or {"kind": "prioritized", "exponent": 0.6}.

    Raises:
        ValueError: a setting is unknown or out of range.
    """
    settings = dict(described)
    try:
        for name in ("sampler", "remover"):
            if name in settings:
                settings[name] = _selector(settings[name])
        if "rate_limiter" in settings:
            settings["rate_limiter"] = RateLimiter(**settings["rate_limiter"])
        if settings.get("signature") is not None:
            settings["signature"] = Signature.from_description(settings["signature"])
        return Table(**settings)
    except TypeError as error:
        name = settings.get("name", "?")
        raise ValueError(f"table {name!r} has a wrong setting: {error}") from error


def load_tables(path: pathlib.Path | str) -> tuple[Table, ...]:
    """Reads the tables of a JSON file: a list of tables, or {"tables": [...]}.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no JSON, or a table is wrong.
    """
    content = json.loads(pathlib.Path(path).read_text())
    described = content["tables"] if isinstance(content, dict) else content
    tables = tuple(table_from_description(each) for each in described)
    check_names(tables)
    return tables


def save_tables(tables: Iterable[Table], path: pathlib.Path | str) -> None:
    """Writes tables for `serve --tables`."""
    described = {"tables": [table.describe() for table in tables]}
    pathlib.Path(path).write_text(json.dumps(described, indent=2) + "\n")


def check_names(tables: Sequence[Table]) -> None:
    """Checks that there is a table, and that no two share a name.

    Raises:
        ValueError: otherwise.
    """
    names = [table.name for table in tables]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"tables must have names of their own, got {names}")
