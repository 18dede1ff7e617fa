"""Our Reverb client against Reverb's own, in turn, on one server and the same items.

    python -m experiments.speed.reverb
    python -m experiments.speed.reverb --workloads small --rounds 5

Each round inserts, samples and mutates with one client, then with the other. Both read
what ours wrote and what Reverb's wrote: the two lay chunks out differently. "In the
background" is our PriorityUpdater against the other's only way, one call after another.
The table shows the median round of each, and the ratio of the medians; and the
processor time that the client itself took, which other programs disturb less.
Targets: inserts of small transitions at least 2 times as fast, everything else at
least as fast. Measured: RESULTS.md, "Reverb client".
"""

import argparse
import json
import pathlib
import resource
import statistics
import subprocess
import time
from typing import Any, NamedTuple

import numpy as np

from experiments.speed.reverb_peer import POOL_ROWS, WORKLOADS, Workload, make_rows
from jaxrl_dist.replay import reverb
from jaxrl_dist.replay.reverb import environment

PEER = pathlib.Path(__file__).parent / "reverb_peer.py"
NUM_ENVIRONMENTS = 16
MUTATE_CALLS = 100
MUTATE_TURNS = 8  # per round, for they are short


class Taken(NamedTuple):
    """What one command took."""

    seconds: float
    busy_seconds: float  # of processor time in the client, all threads together
    grown_mb: float  # megabytes by which the client's process grew


class Peer:
    """Reverb's own client, in the server's environment."""

    def __init__(self, address: str, workload: Workload):
        self._common = {"address": address, "workload": workload.name}
        self._process = subprocess.Popen(
            [environment.interpreter(), "-I", str(PEER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment.server_variables(),
        )

    def run(self, command: str, table: str) -> Taken:
        """Runs one command."""
        assert self._process.stdin and self._process.stdout
        request = {"do": command, "table": table, "calls": MUTATE_CALLS} | self._common
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return Taken(**answer)

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()


class Ours:
    """The client of this package, put through the same."""

    def __init__(self, address: str, workload: Workload):
        self._client = reverb.Client(address)
        self._workload = workload
        self._rows = make_rows(workload)

    def run(self, command: str, table: str) -> Taken:
        """Runs one command."""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        busy = time.process_time()
        seconds = getattr(self, command)(table)
        busy = time.process_time() - busy
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return Taken(seconds, busy, (after - before) / 1024)

    def insert(self, table: str) -> float:
        """Inserts the workload's items; seconds."""
        workload = self._workload
        batch = 1 if workload.item_rows > 1 else NUM_ENVIRONMENTS
        steps = [
            {name: column[at : at + batch] for name, column in self._rows.items()}
            for at in range(0, POOL_ROWS, batch)
        ]
        config = reverb.WriterConfig(
            num_environments=batch,
            max_item_rows=workload.item_rows,
            chunk_length=workload.chunk_length,
        )
        row = {name: column[0] for name, column in self._rows.items()}
        began = time.perf_counter()
        with self._client.writer(row, config) as writer:
            created = step = 0
            while created < workload.num_items:
                writer.append(steps[step % len(steps)])
                step += 1
                since = step - workload.item_rows
                if since >= 0 and since % workload.period == 0:
                    writer.create_items(table, workload.item_rows)
                    created += batch
            writer.flush()
            return time.perf_counter() - began

    def sample(self, table: str) -> float:
        """Samples as many items, in batches; seconds."""
        size = self._workload.batch_size
        # Large items are decompressed in two threads, as the documentation advises.
        streams = 2 if self._workload.item_rows > 1 else 1
        config = reverb.SamplerConfig(size, num_streams=streams, batches_ahead=1)
        with self._client.sampler(table, config) as sampler:
            sampler.next()  # the connection is not what is measured
            began = time.perf_counter()
            for _ in range(self._workload.num_items // size):
                sampler.next()
            return time.perf_counter() - began

    def _keys(self, table: str) -> np.ndarray:
        """Those of one batch; nothing more is asked for, to be sent meanwhile."""
        config = reverb.SamplerConfig(self._workload.batch_size, batches_ahead=0)
        with self._client.sampler(table, config) as sampler:
            return np.unique(sampler.next().slot)

    def mutate(self, table: str) -> float:
        """Updates priorities; seconds."""
        size, keys = self._workload.batch_size, self._keys(table)
        began = time.perf_counter()
        for call in range(MUTATE_CALLS):
            priorities = np.full(len(keys), 1.0 + call)
            self._client.mutate_priorities(table, keys=keys, priorities=priorities)
        return (time.perf_counter() - began) * size / len(keys)

    def update(self, table: str) -> float:
        """Updates priorities without waiting for each call; seconds."""
        size, keys = self._workload.batch_size, self._keys(table)
        began = time.perf_counter()
        with self._client.priority_updater(table) as updater:
            for call in range(MUTATE_CALLS):
                updater.update(keys, np.full(len(keys), 1.0 + call))
            updater.flush()
            return (time.perf_counter() - began) * size / len(keys)

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()


def measure(workload: Workload, rounds: int) -> None:
    """Prints one workload's figures."""
    rows = make_rows(workload)
    row = {name: column[0] for name, column in rows.items()}
    signature = reverb.Signature.of_rows(row, workload.item_rows)
    tables = [
        reverb.Table(
            name,
            reverb.Selector("prioritized", 0.6),
            max_size=workload.num_items,
            signature=signature,
        )
        for name in ("of_ours", "of_peer")
    ]
    seconds: dict[tuple[str, str], list[float]] = {}
    busy: dict[tuple[str, str], list[float]] = {}
    grown: dict[str, float] = {"ours": 0.0, "peer": 0.0}
    with reverb.Server(tables) as server:
        clients: dict[str, Any] = {
            "ours": Ours(server.address, workload),
            "peer": Peer(server.address, workload),
        }

        def run(who: str, command: str, table: str, label: str) -> None:
            taken = clients[who].run(command, table)
            seconds.setdefault((label, who), []).append(taken.seconds)
            busy.setdefault((label, who), []).append(taken.busy_seconds)
            grown[who] += taken.grown_mb

        for _ in range(rounds):
            for who in clients:
                run(who, "insert", f"of_{who}", "insert")
            for writer, name in (("ours", "ours"), ("peer", "Reverb's")):
                for who in clients:
                    run(who, "sample", f"of_{writer}", f"sample what {name} wrote")
            for _ in range(MUTATE_TURNS):
                run("ours", "mutate", "of_ours", "mutate")
                run("peer", "mutate", "of_peer", "mutate")
                run("ours", "update", "of_ours", "mutate in the background")
        for client in clients.values():
            client.close()
    _report(workload, seconds, busy, grown)


def _report(workload: Workload, seconds: dict, busy: dict, grown: dict) -> None:
    # The other client has one way to mutate, which stands against both of ours.
    seconds["mutate in the background", "peer"] = seconds["mutate", "peer"]
    samples = workload.num_items // workload.batch_size * workload.batch_size
    for label in dict.fromkeys(label for label, _ in seconds):
        count = MUTATE_CALLS * workload.batch_size if "mutate" in label else samples
        count = workload.num_items if label == "insert" else count
        rates = {
            who: [count / taken for taken in seconds[label, who]]
            for who in ("ours", "peer")
        }
        ours, peer = (statistics.median(rates[who]) for who in ("ours", "peer"))
        costs = [
            f"{statistics.median(busy[label, who]) / count * 1e6:.1f}"
            for who in ("ours", "peer")
            if "mutate" not in label  # a command that also draws the keys
        ]
        spread = ", ".join(
            f"{who} {min(rates[who]):,.0f} to {max(rates[who]):,.0f}" for who in rates
        )
        print(
            f"| {workload.name} | {label} | {ours:,.0f} | {peer:,.0f} "
            f"| {ours / peer:.2f} | {spread} | {' / '.join(costs)} |",
            flush=True,
        )
    print(
        f"| {workload.name} | client grew by | {grown['ours']:.0f} MB "
        f"| {grown['peer']:.0f} MB | | | |",
        flush=True,
    )


def main() -> None:
    """Measures the workloads asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workloads", nargs="+", default=list(WORKLOADS))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(
        "| workload | operation | ours/s | Reverb's/s | ratio | spread "
        "| client's processor time, microseconds per item: ours / Reverb's |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in arguments.workloads:
        measure(WORKLOADS[name], arguments.rounds)


if __name__ == "__main__":
    main()
