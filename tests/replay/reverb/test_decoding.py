"""Whatever bytes arrive, they become the promised arrays or a typed error."""

import resource
import time

import numpy as np
import pytest

from jaxrl_dist.replay.reverb import wire
from jaxrl_dist.replay.reverb.assembler import Assembler
from jaxrl_dist.replay.reverb.connection import parse
from jaxrl_dist.replay.reverb.decoding import Decoder, delta_decode
from jaxrl_dist.replay.reverb.encoding import (
    ChunkEncoder,
    delta_encode,
    encode_trajectory,
)
from jaxrl_dist.replay.reverb.errors import ProtocolError, SignatureError
from jaxrl_dist.replay.reverb.info import read_server_info
from jaxrl_dist.replay.reverb.signature import Signature
from jaxrl_dist.replay.reverb.tables import Table
from jaxrl_dist.replay.reverb.varints import Keys, varint

ROW = {"image": np.zeros((6, 5), np.uint8), "reward": np.float32(0)}
TYPED = (ProtocolError, SignatureError)


def make_response(num_rows, item_rows, num_items=3, delta_encoded=False):
    """A SampleResponse as a server sends it, items of one chunk or of two."""
    generator = np.random.default_rng(num_rows)
    signature = Signature.of_rows(ROW, None)
    specs = Signature({name: spec for name, spec in _row_specs().items()}).specs
    encoder = ChunkEncoder(specs, delta_encoded)
    keys, response = Keys(), wire.SampleResponse()
    values = []
    for _ in range(num_items):
        entry = response.entries.add(end_of_sequence=True)
        entry.info.probability, entry.info.table_size = 0.5, 7
        encoded_keys, slices, left = [], [], item_rows
        images = generator.integers(0, 3, (item_rows, 6, 5)).astype(np.uint8)
        rewards = generator.normal(size=item_rows).astype(np.float32)
        values.append((images, rewards))
        while left:
            ((_, key), (_, episode)), begin = keys.draw(2), item_rows - left
            length = min(left, num_rows)
            rows = images[begin : begin + length]
            content = delta_encode(rows, axis=0) if delta_encoded else rows
            columns = [
                content.tobytes(),
                rewards[begin : begin + length].tobytes(),
            ]
            chunk = encoder.encode(key, (episode, begin, length), columns)
            entry.data.add().MergeFromString(chunk)
            encoded_keys.append(key)
            slices.append((0, length))
            left -= length
        item = entry.info.item
        item.flat_trajectory = encode_trajectory(tuple(slices), encoded_keys, 2)
        item.key, item.priority, item.times_sampled = 5, 1.5, 2
    assert signature.paths == ("image", "reward")
    return response, values


def _row_specs():
    one = Signature.of_rows(ROW, 1)
    return {
        path: spec._replace(shape=spec.shape[1:])
        for path, spec in zip(one.paths, one.specs, strict=True)
    }


def assemble(response, item_rows, batch_size=3, max_batch_bytes=1 << 20):
    assembler = Assembler(
        Signature.of_rows(ROW, item_rows), batch_size, max_batch_bytes
    )
    return assembler.add(response.SerializeToString())


@pytest.mark.parametrize("delta_encoded", [False, True])
@pytest.mark.parametrize(("chunk_rows", "item_rows"), [(1, 1), (4, 4), (3, 5), (1, 8)])
def test_items_become_arrays_of_time_and_batch(chunk_rows, item_rows, delta_encoded):
    response, values = make_response(chunk_rows, item_rows, delta_encoded=delta_encoded)
    (batch,) = assemble(response, item_rows)
    images, rewards = batch.columns
    assert images.shape == (item_rows, 3, 6, 5) and images.flags.c_contiguous
    for index, (image, reward) in enumerate(values):
        np.testing.assert_array_equal(images[:, index], image)
        np.testing.assert_array_equal(rewards[:, index], reward)
    assert batch.info.times_sampled.tolist() == [2, 2, 2]


def test_an_item_may_span_messages():
    response, values = make_response(2, 4, num_items=1)
    assembler = Assembler(Signature.of_rows(ROW, 4), 1, 1 << 20)
    (entry,) = response.entries
    first, second = wire.SampleResponse(), wire.SampleResponse()
    first.entries.add(info=entry.info, data=entry.data[:1])
    second.entries.add(data=entry.data[1:], end_of_sequence=True)
    assert assembler.add(first.SerializeToString()) == []
    (batch,) = assembler.add(second.SerializeToString())
    np.testing.assert_array_equal(batch.columns[0][:, 0], values[0][0])


def test_a_remembered_layout_is_not_used_for_another():
    """Two items whose trajectories differ in an offset only."""
    assembler = Assembler(Signature.of_rows(ROW, 2), 1, 1 << 20)
    for offset in (0, 1, 0, 2):
        response, values = make_response(4, 4, num_items=1)
        entry = response.entries[0]
        key = varint(entry.data[0].chunk_key)
        trajectory = encode_trajectory(((offset, 2),), [key], 2)
        entry.info.item.flat_trajectory = trajectory
        (batch,) = assembler.add(response.SerializeToString())
        image = values[0][0][offset : offset + 2]
        np.testing.assert_array_equal(batch.columns[0][:, 0], image)


def set_tensor(entry, **changes):
    tensors = entry.data[0].data.tensors
    tensor = wire.Tensor.FromString(tensors[0])
    for name, value in changes.items():
        setattr(tensor, name, value)
    tensors[0] = tensor.SerializeToString()


def set_shape(entry, *sizes):
    dims = [{"size": size} for size in sizes]
    shape = wire.TensorShape(dim=dims).SerializeToString()
    set_tensor(entry, tensor_shape=shape)


def set_slice(entry, **changes):
    trajectory = wire.FlatTrajectory.FromString(entry.info.item.flat_trajectory)
    for name, value in changes.items():
        setattr(trajectory.columns[0].chunk_slices[0], name, value)
    entry.info.item.flat_trajectory = trajectory.SerializeToString()


def no_columns(entry):
    entry.info.item.flat_trajectory = b""


def squeezed(entry):
    trajectory = wire.FlatTrajectory.FromString(entry.info.item.flat_trajectory)
    trajectory.columns[0].squeeze = True
    entry.info.item.flat_trajectory = trajectory.SerializeToString()


IMPOSSIBLE = {
    "2^40 rows": lambda e: set_shape(e, 1 << 40, 6, 5),
    "2^62 rows": lambda e: set_shape(e, 1 << 62, 1 << 62, 5),
    "2^40 rows of nothing": lambda e: set_shape(e, 1 << 40, 0, 5),
    "negative rows": lambda e: set_shape(e, -1, 6, 5),
    "no axes": lambda e: set_shape(e),
    "100 axes": lambda e: set_shape(e, *[1] * 100),
    "strings": lambda e: set_tensor(e, dtype=7),
    "an unknown dtype": lambda e: set_tensor(e, dtype=99),
    "another dtype": lambda e: set_tensor(e, dtype=6),
    "empty content": lambda e: set_tensor(e, tensor_content=b""),
    "4 GiB of content": lambda e: set_tensor(
        e, tensor_content=b"\xff\xff\xff\xff\x0f\x00"
    ),
    "a missing chunk": lambda e: e.data.pop(),
    "an unknown chunk": lambda e: set_slice(e, chunk_key=3),
    "a negative offset": lambda e: set_slice(e, offset=-1),
    "too large an offset": lambda e: set_slice(e, offset=1 << 30),
    "no rows": lambda e: set_slice(e, length=0),
    "2^31 rows of a slice": lambda e: set_slice(e, length=(1 << 31) - 1),
    "an unknown tensor": lambda e: set_slice(e, index=9),
    "no columns": no_columns,
    "several rows without axis": squeezed,
}


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_impossible_items_are_refused(case, place, rows):
    response, _ = make_response(rows, rows)
    if case == "several rows without axis" and rows == 1:
        expected = SignatureError
    else:
        expected = TYPED
    IMPOSSIBLE[case](response.entries[place])
    with pytest.raises(expected):
        assemble(response, rows)


def test_a_batch_beyond_the_limit_is_refused_before_it_is_allocated():
    response, _ = make_response(1, 1)
    began = time.monotonic()
    with pytest.raises(ProtocolError, match="more than"):
        assemble(response, 1, batch_size=1 << 40, max_batch_bytes=1 << 30)
    assert time.monotonic() - began < 1


def test_an_item_without_end_is_refused():
    response, _ = make_response(4, 4, num_items=1)
    response.entries[0].end_of_sequence = False
    assembler = Assembler(Signature.of_rows(ROW, 4), 1, 10_000)
    with pytest.raises(ProtocolError, match="does not end"):
        for _ in range(1_000):
            assembler.add(response.SerializeToString())


def mutate(message: bytes, generator: np.random.Generator) -> bytes:
    """The message with bytes changed, removed, repeated or replaced altogether."""
    raw = bytearray(message)
    kind = generator.integers(5)
    if kind == 0:
        return generator.bytes(int(generator.integers(1, 200)))
    for _ in range(int(generator.integers(1, 6))):
        place = int(generator.integers(len(raw)))
        if kind == 1:
            raw[place] = int(generator.integers(256))
        elif kind == 2:
            raw[place] ^= 1 << int(generator.integers(8))
        elif kind == 3:
            del raw[place : place + int(generator.integers(1, 9))]
        else:
            raw[place:place] = raw[place : place + int(generator.integers(1, 30))]
        if not raw:
            return b"\x00"
    return bytes(raw)


def feed_mutations(count: int) -> int:
    """Feeds messages to the decoders; how many were refused."""
    generator = np.random.default_rng(0)
    shapes = ((1, 1), (4, 4), (3, 5))
    messages = [
        make_response(chunk, item, delta_encoded=delta)[0].SerializeToString()
        for chunk, item in shapes
        for delta in (False, True)
    ]
    items = [item for _, item in shapes for _ in (False, True)]
    refused = 0
    for index in range(count):
        which = index % len(messages)
        assembler = Assembler(Signature.of_rows(ROW, items[which]), 3, 1 << 20)
        try:
            batches = assembler.add(mutate(messages[which], generator))
        except TYPED:
            refused += 1
            continue
        for batch in batches:
            assert batch.columns[0].shape == (items[which], 3, 6, 5)
            assert batch.columns[1].dtype == np.float32
    return refused


def max_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_a_hundred_thousand_mutated_messages_are_decoded_or_refused():
    before = max_memory()
    assert feed_mutations(100_000) > 30_000
    assert max_memory() - before < 64 << 20


def server_info_message() -> bytes:
    table = Table("t", signature=Signature.of_rows(ROW, 2))
    message = wire.ServerInfoResponse()
    message.tables_state_id.high = 3
    info = message.table_info.add(name=table.name, max_size=10, max_times_sampled=1)
    info.sampler_options.prioritized.priority_exponent = 0.5
    info.remover_options.fifo = True
    info.rate_limiter_info.samples_per_insert = 1.0
    info.rate_limiter_info.min_size_to_sample = 1
    fields = info.signature.named_tuple_value
    fields.name = "Row"
    spec = fields.values.add(key="x").value.tensor_spec_value
    spec.dtype = 1
    spec.shape.dim.add(size=-1)
    return message.SerializeToString()


def test_a_server_that_describes_itself_wrongly_is_a_typed_error():
    good = server_info_message()
    info = read_server_info(parse(wire.ServerInfoResponse, good))
    assert info.tables["t"].table.signature is not None
    generator, refused = np.random.default_rng(1), 0
    for _ in range(4_000):
        try:
            read_server_info(parse(wire.ServerInfoResponse, mutate(good, generator)))
        except ProtocolError:
            refused += 1
    assert refused > 1_000


def test_a_signature_nested_without_end_is_refused():
    value = wire.StructuredValue()
    inner = value
    for _ in range(60):
        inner = inner.list_value.values.add()
    inner.tensor_spec_value.dtype = 1
    with pytest.raises(ProtocolError, match="deeper"):
        Signature.from_proto(value)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.uint64])
def test_deltas_are_undone(dtype):
    rows = np.random.default_rng(0).integers(0, 100, (7, 4)).astype(dtype)
    encoded = delta_encode(rows, axis=0).view(dtype)
    delta_decode(encoded)
    np.testing.assert_array_equal(encoded, rows)


def test_a_short_key_is_never_taken_for_a_remembered_one():
    decoder = Decoder(1 << 20)
    for key in (8, 16, 24):
        encoded = varint(key)
        slice_ = wire.FlatTrajectory.ChunkSlice(chunk_key=key, offset=8, length=8)
        column = wire.FlatTrajectory.Column(chunk_slices=[slice_])
        trajectory = wire.FlatTrajectory(columns=[column]).SerializeToString()
        (read,) = decoder.columns(trajectory, [encoded])
        assert read.slices[0].offset == 8
