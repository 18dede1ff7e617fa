"""The workloads of reverb.py, and Reverb's own client put through them.

Run as a script by the Python of the Reverb server's environment: it reads one command
as JSON per line, and answers with one line. Imported, it only brings the workloads.
"""

import json
import resource
import sys
import time
from typing import NamedTuple

import numpy as np

POOL_ROWS = 512  # distinct rows, used in turn


class Workload(NamedTuple):
    """What is written and read, by both clients alike."""

    name: str
    observation: tuple  # shape of one
    dtype: str
    memory: int  # floats in each of the two parts of an LSTM's state; 0 for none
    item_rows: int
    period: int  # rows between the beginnings of two items
    chunk_length: int
    num_items: int  # inserted, and sampled, per round
    batch_size: int


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("small", (10, 10, 4), "float32", 0, 1, 1, 1, 40_000, 256),
        Workload("large", (84, 84, 4), "uint8", 0, 1, 1, 1, 12_000, 256),
        Workload("sequences", (84, 84, 4), "uint8", 256, 80, 40, 40, 256, 16),
    )
}


def make_rows(workload: Workload) -> dict:
    """Rows that compress about as environments do: sprites that move over nothing.

    Returns:
        Columns, [POOL_ROWS, ...] each.
    """
    generator = np.random.default_rng(0)
    height, width, planes = workload.observation
    size = max(1, height // 14)
    frames = np.zeros((POOL_ROWS, *workload.observation), workload.dtype)
    starts = generator.integers(0, height - size, (12, 3))
    for index in range(POOL_ROWS):
        for sprite, (y, x, speed) in enumerate(starts):
            y, x = (y + index) % (height - size), (x + index * speed) % (width - size)
            frames[index, y : y + size, x : x + size, sprite % planes] = 1 + sprite * 20
    if workload.dtype == "float32":
        frames = (frames > 0).astype(np.float32)
    rows = {
        "action": generator.integers(0, 6, POOL_ROWS).astype(np.int32),
        "observation": frames,
        "reward": generator.normal(size=POOL_ROWS).astype(np.float32),
        "terminated": generator.random(POOL_ROWS) < 0.01,
    }
    for part in ("c", "h")[: 2 if workload.memory else 0]:
        state = generator.normal(size=(POOL_ROWS, workload.memory))
        rows[f"memory_{part}"] = state.astype(np.float32)
    return rows


def insert(client, workload: Workload, rows: dict, table: str) -> float:
    """Inserts the workload's items with TrajectoryWriter; seconds."""
    split = [
        {name: column[index] for name, column in rows.items()}
        for index in range(POOL_ROWS)
    ]
    began = time.perf_counter()
    writer = client.trajectory_writer(num_keep_alive_refs=workload.item_rows)
    for name in rows:
        writer.configure(
            (name,),
            num_keep_alive_refs=workload.item_rows,
            max_chunk_length=workload.chunk_length,
        )
    created = step = 0
    while created < workload.num_items:
        writer.append(split[step % POOL_ROWS])
        step += 1
        since = step - workload.item_rows
        if since >= 0 and since % workload.period == 0:
            trajectory = {
                name: column[-workload.item_rows :]
                for name, column in writer.history.items()
            }
            writer.create_item(table, 1.0, trajectory)
            created += 1
    writer.flush()
    seconds = time.perf_counter() - began
    writer.close()
    return seconds


def sample(client, workload: Workload, table: str, address: str) -> float:
    """Samples as many items with TrajectoryDataset, in batches; seconds."""
    import reverb

    dataset = reverb.TrajectoryDataset.from_table_signature(
        address, table, max_in_flight_samples_per_worker=2 * workload.batch_size
    ).batch(workload.batch_size, drop_remainder=True)
    batches = workload.num_items // workload.batch_size
    iterator = iter(dataset)
    next(iterator)  # the connection is not what is measured
    began = time.perf_counter()
    for _ in range(batches):
        next(iterator)
    return time.perf_counter() - began


def mutate(client, table: str, calls: int, batch_size: int) -> float:
    """Updates priorities, `calls` times a batch; seconds."""
    keys = [int(each[0].info.key) for each in client.sample(table, batch_size)]
    keys = list(dict.fromkeys(keys))
    began = time.perf_counter()
    for call in range(calls):
        client.mutate_priorities(table, {key: 1.0 + call for key in keys})
    return (time.perf_counter() - began) * batch_size / len(keys)


def main() -> None:
    """Obeys commands until stdin ends."""
    import reverb

    client = None
    rows = {}
    for line in sys.stdin:
        command = json.loads(line)
        workload = WORKLOADS[command["workload"]]
        if client is None:
            client = reverb.Client(command["address"])
            rows = make_rows(workload)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        busy = time.process_time()
        if command["do"] == "insert":
            seconds = insert(client, workload, rows, command["table"])
        elif command["do"] == "sample":
            address = command["address"]
            seconds = sample(client, workload, command["table"], address)
        else:
            seconds = mutate(
                client, command["table"], command["calls"], workload.batch_size
            )
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        answer = {
            "seconds": seconds,
            "busy_seconds": time.process_time() - busy,
            "grown_mb": (after - before) / 1024,
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
