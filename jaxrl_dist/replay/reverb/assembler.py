"""Messages of a stream of samples to batches."""

from jaxrl_dist.replay.reverb import wire
from jaxrl_dist.replay.reverb.batches import Batch, BatchBuilder, Drawn
from jaxrl_dist.replay.reverb.connection import parse
from jaxrl_dist.replay.reverb.errors import ProtocolError
from jaxrl_dist.replay.reverb.signature import Signature
from jaxrl_dist.replay.reverb.varints import encode_keys


class Assembler:
    """Turns messages into batches: an item may span several, a message hold many.

    Attributes:
        items: completed so far.
    """

    def __init__(self, signature: Signature, batch_size: int, max_batch_bytes: int):
        self.items = 0
        self._builder = BatchBuilder(signature, batch_size, max_batch_bytes)
        self._part: Drawn | None = None  # an item that has not ended
        self._part_bytes = 0

    def add(self, message: bytes) -> list[Batch]:
        """Takes one encoded SampleResponse, and returns the batches it completed.

        Raises:
            ProtocolError: the bytes are malformed, or ask for too much.
            SignatureError: an item is none of the signature's.
        """
        entries = parse(wire.SampleResponse, message).entries
        chunks = [list(entry.data) for entry in entries]
        keys = encode_keys([chunk.chunk_key for part in chunks for chunk in part])
        items, begin = [], 0
        for entry, part in zip(entries, chunks, strict=True):
            end = begin + len(part)
            drawn = Drawn(entry.info, part, keys[begin:end])
            if self._part is not None:
                self._part.chunks.extend(drawn.chunks)
                self._part.chunk_keys.extend(drawn.chunk_keys)
                drawn = self._part
            self._part, begin = drawn, end
            if entry.end_of_sequence:
                items.append(drawn)
                self._part, self._part_bytes = None, 0
        batches = self._builder.add(items)
        self.items += len(items)
        if self._part is not None:
            self._part_bytes += len(message)
            if self._part_bytes > self._builder.max_batch_bytes:
                raise ProtocolError("an item does not end")
        return batches

    def drop_part(self) -> int:
        """Forgets an item that arrived in part; the number of items so lost."""
        lost = self._part is not None
        self._part, self._part_bytes = None, 0
        return int(lost)
