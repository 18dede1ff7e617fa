"""Items of one row: decoded together, and one by one where they are not alike."""

import cramjam
import numpy as np
import pytest

from jaxrl_dist.replay.reverb import wire
from jaxrl_dist.replay.reverb.errors import ProtocolError
from tests.replay.reverb.test_decoding import assemble, make_response


def check(batch, values):
    for place, (image, reward) in enumerate(values):
        np.testing.assert_array_equal(batch.columns[0][:, place], image[:1])
        np.testing.assert_array_equal(batch.columns[1][:, place], reward[:1])


def change_tensor(entry, index, change):
    tensors = entry.data[0].data.tensors
    tensor = wire.Tensor.FromString(tensors[index])
    tensors[index] = change(tensor) or tensor.SerializeToString()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_batch_may_mix_chunks_of_one_row_and_of_several(order):
    """As a flush makes them, which closes chunks that are not full."""
    short, long = make_response(1, 1), make_response(4, 1, num_items=2)
    for entry in long[0].entries:
        tensors = [wire.Tensor.FromString(each) for each in entry.data[0].data.tensors]
        for place, tensor in enumerate(tensors):
            raw = bytes(cramjam.snappy.decompress_raw(tensor.tensor_content))
            tensor.tensor_content = bytes(cramjam.snappy.compress_raw(raw * 4))
            shape = wire.TensorShape.FromString(tensor.tensor_shape)
            shape.dim[0].size = 4
            tensor.tensor_shape = shape.SerializeToString()
            entry.data[0].data.tensors[place] = tensor.SerializeToString()
    parts = [(short[0].entries[:2], short[1][:2]), (long[0].entries, long[1])]
    response, values = wire.SampleResponse(), []
    for which in order:
        response.entries.extend(parts[which][0])
        values += parts[which][1]
    (batch,) = assemble(response, 1, batch_size=4)
    check(batch, values)


def test_few_bytes_may_be_compressed_in_another_way():
    """Snappy may write what is stored as it is with a longer length."""
    response, values = make_response(1, 1)

    def lengthen(tensor):
        size, content = tensor.tensor_content[:1], tensor.tensor_content[2:]
        tensor.tensor_content = size + bytes([60 << 2, len(content) - 1]) + content

    change_tensor(response.entries[1], 1, lengthen)
    (batch,) = assemble(response, 1)
    check(batch, values)


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("places", [[0], [1], [0, 1]])
def test_fields_after_the_content_are_skipped(places, index):
    response, values = make_response(1, 1)
    for place in places:
        change_tensor(
            response.entries[place],
            index,
            lambda tensor: tensor.SerializeToString() + b"\x48\x01",
        )
    (batch,) = assemble(response, 1)
    check(batch, values)


@pytest.mark.parametrize("place", [0, 1])
def test_a_row_of_another_length_is_refused(place):
    response, _ = make_response(1, 1)

    def shorten(tensor):
        length, literal, *row = tensor.tensor_content
        tensor.tensor_content = bytes([length - 1, literal - 4, *row])

    change_tensor(response.entries[place], 1, shorten)
    with pytest.raises(ProtocolError):
        assemble(response, 1)
