"""What is encoded by hand is what protobuf's own classes read."""

import cramjam
import numpy as np
import pytest

from jaxrl_dist.replay.reverb import wire
from jaxrl_dist.replay.reverb.encoding import (
    ChunkEncoder,
    ItemEncoder,
    delta_encode,
    encode_insert,
    encode_mutation,
)
from jaxrl_dist.replay.reverb.signature import ColumnSpec
from jaxrl_dist.replay.reverb.varints import Keys, encode_keys, varint

EDGES = [0, 1, 127, 128, 300, 2**14 - 1, 2**14, 2**56, 2**63 - 1, 2**63, 2**64 - 1]


@pytest.mark.parametrize("value", EDGES)
def test_a_varint_is_read_back(value):
    assert wire.Chunk.FromString(b"\x08" + varint(value)).chunk_key == value


def test_many_keys_are_encoded_as_one_by_one():
    assert encode_keys(EDGES) == [varint(value) for value in EDGES]
    assert encode_keys([]) == []


def test_drawn_keys_differ_and_have_their_encoding():
    keys = Keys()
    drawn = [pair for _ in range(50) for pair in keys.draw(200)]
    assert len({key for key, _ in drawn}) == 10_000
    assert all(varint(key) == encoded for key, encoded in drawn)


def test_a_mutation_is_read_back():
    keys = np.array(EDGES, np.uint64)
    priorities = np.linspace(0, 1, len(keys))
    message = wire.MutateRequest.FromString(
        encode_mutation("some table", keys, priorities, keys[:3])
    )
    assert message.table == "some table"
    assert [update.key for update in message.updates] == EDGES
    assert [update.priority for update in message.updates] == priorities.tolist()
    assert list(message.delete_keys) == EDGES[:3]


def test_an_insert_is_read_back():
    (chunk_key, one), (_, two), (item_key, item) = Keys().draw(3)
    specs = [ColumnSpec((2, 3), np.dtype(np.float32)), ColumnSpec((), np.dtype(bool))]
    columns = [np.arange(24, dtype=np.float32), np.array([True, False, True, True])]
    encoder = ChunkEncoder(specs, delta_encoded=True)
    chunks = [encoder.encode(one, (two, 70_000, 4), columns)]
    priority = np.float64(2.5).tobytes()
    items = [ItemEncoder("t", 2).encode(item, priority, ((1, 2),), [one])]
    request = wire.InsertRequest.FromString(encode_insert(chunks, items, [two]))

    chunk = wire.Chunk.FromString(request.chunks[0])
    assert (chunk.chunk_key, chunk.delta_encoded) == (chunk_key, True)
    steps = chunk.sequence_range
    assert (steps.start, steps.end) == (70_000, 70_003)
    assert (chunk.data_tensors_len, chunk.data_uncompressed_size) == (2, 100)
    tensors = [wire.Tensor.FromString(each) for each in chunk.data.tensors]
    for tensor, column in zip(tensors, columns, strict=True):
        content = bytes(cramjam.snappy.decompress_raw(tensor.tensor_content))
        assert content == column.tobytes()
    dims = wire.TensorShape.FromString(tensors[0].tensor_shape).dim
    assert [dim.size for dim in dims] == [4, 2, 3]
    read = wire.Item.FromString(request.items[0])
    assert (read.key, read.table, read.priority) == (item_key, "t", 2.5)
    trajectory = wire.FlatTrajectory.FromString(read.flat_trajectory)
    parts = [list(column.chunk_slices) for column in trajectory.columns]
    assert [
        (part.chunk_key, part.offset, part.length, part.index) for (part,) in parts
    ] == [(chunk_key, 1, 2, 0), (chunk_key, 1, 2, 1)]


@pytest.mark.parametrize("size", [0, 1, 14, 59, 60, 61, 300])
def test_content_of_any_size_is_read_back(size):
    """Short content is stored as it is, by a few bytes that are written by hand."""
    column = bytes(range(size % 256)) * (1 + size // 256)
    column = column[:size].ljust(size, b"x")
    encoder = ChunkEncoder([ColumnSpec((size,), np.dtype(np.uint8))], False)
    (_, key), (_, episode) = Keys().draw(2)
    chunk = wire.Chunk.FromString(encoder.encode(key, (episode, 0, 1), [column]))
    tensor = wire.Tensor.FromString(chunk.data.tensors[0])
    assert bytes(cramjam.snappy.decompress_raw(tensor.tensor_content)) == column
    assert chunk.data_uncompressed_size == size


def test_deltas_wrap_around():
    rows = np.array([[250, 5], [3, 4], [255, 0]], np.uint8)
    assert delta_encode(rows, axis=0).tolist() == [[250, 5], [9, 255], [252, 252]]
