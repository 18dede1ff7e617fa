"""Reverb's own Python client, run by the server's Python and obeying the tests.

One command as JSON per line of stdin, one answer per line of stdout. Arrays travel as
[dtype, shape, base64], structures as Signature.describe writes them, with arrays in
place of the leaves.
"""

import base64
import collections
import json
import sys

import ml_dtypes  # noqa: F401 - makes numpy know bfloat16 by name
import numpy as np
import reverb
import tree


def to_array(encoded):
    """An array from JSON."""
    dtype, shape, content = encoded
    raw = base64.b64decode(content)
    return np.frombuffer(raw, np.dtype(dtype)).reshape(shape)


def from_array(array):
    """An array as JSON."""
    array = np.asarray(array)
    content = base64.b64encode(array.tobytes()).decode()
    return [array.dtype.name, list(array.shape), content]


def to_structure(described):
    """Nested arrays from JSON."""
    ((kind, content),) = described.items()
    if kind == "array":
        return to_array(content)
    if kind == "dict":
        return {name: to_structure(part) for name, part in content.items()}
    if kind == "namedtuple":
        names = [name for name, _ in content["fields"]]
        parts = [to_structure(part) for _, part in content["fields"]]
        return collections.namedtuple(content["name"], names)(*parts)
    return (tuple if kind == "tuple" else list)(map(to_structure, content))


def write(client, command):
    """Appends rows, and makes an item of the last ones every `period` rows."""
    rows = [to_structure(row) for row in command["rows"]]
    length, chunk = command["item_rows"], command["chunk_length"]
    if command["delta_encoded"]:
        with client.writer(length, chunk_length=chunk, delta_encoded=True) as writer:
            for step, row in enumerate(rows, 1):
                writer.append(tree.flatten(row))
                if step >= length and (step - length) % command["period"] == 0:
                    priority = command["priority"] + step
                    writer.create_item(command["table"], length, priority)
            writer.flush()
        return []
    with client.trajectory_writer(num_keep_alive_refs=max(length, chunk)) as writer:
        paths = [path for path, _ in tree.flatten_with_path(rows[0])]
        for path in paths:
            writer.configure(
                path, num_keep_alive_refs=max(length, chunk), max_chunk_length=chunk
            )
        for step, row in enumerate(rows, 1):
            writer.append(row)
            if step >= length and (step - length) % command["period"] == 0:
                items = tree.map_structure(
                    lambda column: column[-length:], writer.history
                )
                writer.create_item(command["table"], command["priority"] + step, items)
        writer.flush()
    return []


def write_tensors(client, command):
    """Inserts items of one row as TensorFlow has them: numpy knows no bfloat16 here."""
    import tensorflow as tf

    inserter = reverb.TFClient(sys.argv[1])
    for row in command["rows"]:
        tensors = [tf.constant(leaf) for leaf in tree.flatten(to_structure(row))]
        inserter.insert(
            tensors,
            tables=tf.constant([command["table"]]),
            priorities=tf.constant([1.0], tf.float64),
        )
    return []


def read(client, command):
    """Draws items one by one."""
    dataset = reverb.TrajectoryDataset.from_table_signature(
        sys.argv[1],
        command["table"],
        max_in_flight_samples_per_worker=1,
        num_workers_per_iterator=1,
        max_samples=command["count"],
    )
    items = []
    for sample in dataset:
        info = sample.info
        items.append(
            {
                "key": int(info.key),
                "priority": float(info.priority),
                "probability": float(info.probability),
                "table_size": int(info.table_size),
                "times_sampled": int(info.times_sampled),
                "columns": [
                    from_array(each.numpy()) for each in tree.flatten(sample.data)
                ],
            }
        )
    return items


def mutate(client, command):
    """Updates priorities and deletes items."""
    updates = {int(key): priority for key, priority in command["updates"]}
    client.mutate_priorities(command["table"], updates, command["deletes"])
    return []


def main():
    """Obeys commands until stdin ends."""
    client = reverb.Client(sys.argv[1])
    for line in sys.stdin:
        command = json.loads(line)
        answer = globals()[command["do"]](client, command)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
