"""What is on its way to a server: items, the chunks they use, and how much of both."""

import collections
import concurrent.futures
import dataclasses
from collections.abc import Sequence
from typing import Literal, NamedTuple

from jaxrl_dist.checks import check_at_least


@dataclasses.dataclass(frozen=True)
class InsertConfig:
    """Settings of how items are sent.

    Attributes:
        items_per_message: at most, from 1.
        bytes_per_message: uncompressed, reached by at most one item too many, from 1.
        linger_seconds: how long a message waits for more items, from 0.
        max_in_flight_items: created and not yet confirmed, from 1.
        max_in_flight_bytes: of their rows, uncompressed, from 1; a single item may
            be larger.
        when_full: "block" until there is room or the deadline passes, or "drop" new
            items and count them.
        unconfirmed: what happens to items whose confirmation was lost with the
            connection. "resend" stores each at least once, under the same key: in a
            table that removes what was sampled, an item may be sampled twice. "drop"
            stores each at most once, and counts what may be missing.

    Raises:
        ValueError: a setting is out of range.
    """

    items_per_message: int = 500
    bytes_per_message: int = 4 << 20
    linger_seconds: float = 0.002
    max_in_flight_items: int = 5_000
    max_in_flight_bytes: int = 64 << 20
    when_full: Literal["block", "drop"] = "block"
    unconfirmed: Literal["resend", "drop"] = "resend"

    def __post_init__(self) -> None:
        check_at_least(
            1,
            items_per_message=self.items_per_message,
            bytes_per_message=self.bytes_per_message,
            max_in_flight_items=self.max_in_flight_items,
            max_in_flight_bytes=self.max_in_flight_bytes,
        )
        check_at_least(0, linger_seconds=self.linger_seconds)
        if self.when_full not in ("block", "drop"):
            raise ValueError(f"when_full must be block or drop, got {self.when_full!r}")
        if self.unconfirmed not in ("resend", "drop"):
            raise ValueError(
                f"unconfirmed must be resend or drop, got {self.unconfirmed!r}"
            )


class InsertMetrics(NamedTuple):
    """What a writer has done so far."""

    items_created: int
    items_confirmed: int
    items_dropped: int  # for lack of room, or unconfirmed and not sent again
    items_resent: int
    items_in_flight: int
    bytes_in_flight: int  # uncompressed
    bytes_sent: int  # messages as encoded
    blocked_seconds: float  # that callers waited for room
    reconnects: int
    epoch: int  # restarts of the server that were noticed


class Chunk:
    """Rows of one environment, compressed once and used by several items."""

    __slots__ = ("encoded", "in_history", "key", "num_bytes", "stream", "unsent", "use")

    def __init__(self, key: bytes, num_bytes: int):
        self.key = key  # encoded
        self.num_bytes = num_bytes  # uncompressed
        self.encoded: bytes | concurrent.futures.Future[bytes] | None = None
        self.in_history = True  # later items may use it
        self.unsent = 0  # items that use it and were not sent
        self.use = 0  # items that use it and were not confirmed
        self.stream = 0  # the last stream on which the server holds it

    def compressed(self) -> bytes:
        """The encoded chunk, once it is."""
        encoded = self.encoded
        if isinstance(encoded, concurrent.futures.Future):
            encoded = encoded.result()
        assert encoded is not None
        return encoded


class Item(NamedTuple):
    """An item to insert."""

    key: int
    encoded: bytes
    chunks: tuple[Chunk, ...]


class InFlight:
    """Items that were created and not confirmed, in order. Not thread-safe by itself.

    Attributes:
        unsent: items of which the server has not been told.
        sent: those that it has not confirmed, by key.
        num_bytes: of their chunks' rows, uncompressed.
    """

    def __init__(self, config: InsertConfig):
        self._config = config
        self.unsent: collections.deque[Item] = collections.deque()
        self.sent: dict[int, Item] = {}
        self.num_bytes = 0

    def __len__(self) -> int:
        return len(self.unsent) + len(self.sent)

    def take(self, items: Sequence[Item], start: int) -> int:
        """Appends items for as long as there is room: for one always, if there is none.

        Args:
            items: to append.
            start: index of the first.

        Returns:
            The index of the first that found no room; their number if all did.
        """
        config, count = self._config, len(self)
        for index in range(start, len(items)):
            if count and (
                count >= config.max_in_flight_items
                or self.num_bytes >= config.max_in_flight_bytes
            ):
                return index
            for chunk in items[index].chunks:
                if chunk.use == 0:
                    self.num_bytes += chunk.num_bytes
                chunk.use += 1
                chunk.unsent += 1
            self.unsent.append(items[index])
            count += 1
        return len(items)

    def send(self) -> Item:
        """The next item, which counts as sent from now on."""
        item = self.unsent.popleft()
        self.sent[item.key] = item
        for chunk in item.chunks:
            chunk.unsent -= 1
        return item

    def confirm(self, keys: Sequence[int]) -> int:
        """Lets go of what the server has; how many items that were."""
        confirmed = [item for key in keys if (item := self.sent.pop(key, None))]
        for item in confirmed:
            self._release(item)
        return len(confirmed)

    def send_again(self) -> int:
        """What was sent and not confirmed is unsent again; how many items that are."""
        lost = list(self.sent.values())
        self.sent.clear()
        self.unsent.extendleft(reversed(lost))
        for item in lost:
            for chunk in item.chunks:
                chunk.unsent += 1
        return len(lost)

    def drop_sent(self) -> int:
        """Gives up what was sent and not confirmed; how many items that are."""
        return self.confirm(list(self.sent))

    def clear(self) -> int:
        """Gives up everything; how many items that are."""
        count = len(self)
        self.unsent.clear()
        self.sent.clear()
        self.num_bytes = 0
        return count

    def _release(self, item: Item) -> None:
        for chunk in item.chunks:
            chunk.use -= 1
            if chunk.use == 0:
                self.num_bytes -= chunk.num_bytes
