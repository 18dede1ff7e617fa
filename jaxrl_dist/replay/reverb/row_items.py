"""Items of one row, many at once: most differ in nothing but what the rows hold."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import cramjam
import numpy as np

from jaxrl_dist.replay.reverb.decoding import ChunkReader, Column
from jaxrl_dist.replay.reverb.encoding import LITERAL_BYTES, literal_header
from jaxrl_dist.replay.reverb.errors import ProtocolError
from jaxrl_dist.replay.reverb.varints import varint


class RowColumn(NamedTuple):
    """One column of such items: where it is, what all of its tensors begin with.

    Attributes:
        chunk: of the item's, where the tensor is.
        tensor: which of the chunk's.
        stem: the tensor's bytes before the length of its content.
        target: [B, size] uint8, the memory of the batch.
    """

    chunk: int
    tensor: int
    stem: bytes
    target: np.ndarray


def row_columns(
    columns: Sequence[Column], reader: ChunkReader, targets: Sequence[np.ndarray]
) -> list[RowColumn]:
    """Prepares to decode items like a batch's first.

    Args:
        columns: of the first item.
        reader: of its chunks.
        targets: arrays of the batch, [1, B, ...] or [B, ...] each.

    Returns:
        Nothing, if a column is not the whole content of a chunk of one row.
    """
    found = []
    for column, target in zip(columns, targets, strict=True):
        first, *more = column.slices
        shape, _ = reader.tensor_shape(first)
        is_whole = (first.offset, first.length, shape[0]) == (0, 1, 1)
        content, encoded = reader.tensor(first).tensor_content, reader.encoded(first)
        end = varint(len(content)) + content
        if more or not is_whole or not target.size or not encoded.endswith(end):
            return []
        batch_size = len(target) if column.squeeze else target.shape[1]
        rows = target.reshape(batch_size, -1).view(np.uint8)
        stem = encoded.removesuffix(end)
        found.append(RowColumn(first.chunk, first.tensor, stem, rows))
    return found


def decode_rows(
    columns: Sequence[RowColumn], items: Sequence[Sequence[Any]], begin: int
) -> bool:
    """Decodes items of one row.

    Args:
        columns: of the batch.
        items: the chunks of each, [N].
        begin: position in the batch of the first.

    Returns:
        Whether all were laid out like the first of the batch; if not, what was written
        for them means nothing.

    Raises:
        ProtocolError: a content is corrupt or of another size.
    """
    found = [[chunk.data.tensors for chunk in chunks] for chunks in items]
    for column in columns:
        try:
            tensors = [item[column.chunk][column.tensor] for item in found]
        except IndexError:
            return False
        target = column.target[begin : begin + len(tensors)]
        if not (
            _copy_literals(column.stem, tensors, target)
            or _decompress(column.stem, tensors, target)
        ):
            return False
    return True


def _copy_literals(stem: bytes, tensors: Sequence[bytes], target: np.ndarray) -> bool:
    """Copies rows of few bytes that are stored as they are; False for others."""
    count, size = target.shape
    if size > LITERAL_BYTES:
        return False
    literal = literal_header(size)
    before = stem + varint(len(literal) + size) + literal
    if {*map(len, tensors)} != {len(before) + size}:
        return False
    table = np.frombuffer(b"".join(tensors), np.uint8).reshape(count, -1)
    if np.any(table[:, : len(before)] != np.frombuffer(before, np.uint8)):
        return False
    target[:] = table[:, len(before) :]
    return True


def _decompress(stem: bytes, tensors: Sequence[bytes], target: np.ndarray) -> bool:
    """Decompresses rows; False if a tensor is not the stem, a length and a content."""
    decompress = cramjam.snappy.decompress_raw_into
    size, begin = target.shape[1], len(stem)
    try:
        for tensor, row in zip(tensors, target, strict=True):
            end = begin + 1
            while end < len(tensor) and tensor[end - 1] >= 0x80:
                end += 1
            if not tensor.startswith(stem + varint(len(tensor) - end)):
                return False
            if decompress(tensor[end:], row) != size:
                raise ProtocolError(f"a row is not {size} bytes long")
    except cramjam.DecompressionError as error:
        raise ProtocolError(f"a row's content is corrupt: {error}") from None
    return True
