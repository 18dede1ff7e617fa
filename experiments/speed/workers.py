"""Processes that train in turns: what comparisons with other projects share.

Each contestant runs in a process of its own, as its users would start it. It compiles
before the clock starts, and then trains whenever it is told to, while the others wait.
"""

import json
import resource
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

Task = dict[str, Any]  # what a process is told to measure, as JSON


class Lap(NamedTuple):
    """One timed run."""

    steps: float  # environment steps
    seconds: float
    processor_seconds: float  # of all threads together


def timed(run: Callable[[], float]) -> Lap:
    """Times a function that answers how many steps it took."""
    wall, processor = time.perf_counter(), time.process_time()
    steps = run()
    return Lap(steps, time.perf_counter() - wall, time.process_time() - processor)


def work(prepare: Callable[[Task], Callable[[], Lap]]) -> None:
    """What a process does: prepares the task it is sent, runs once for every line.

    Args:
        prepare: compiles a task; answers a function that trains once.
    """
    task = json.loads(sys.stdin.readline())
    started = time.perf_counter()
    train = prepare(task)
    compile_seconds = time.perf_counter() - started
    train()  # the first run touches memory for the first time
    print(json.dumps({"compile_seconds": compile_seconds}), flush=True)
    for _ in sys.stdin:
        answer = {**train()._asdict(), "memory_gib": peak_memory_gib()}
        print(json.dumps(answer), flush=True)


def peak_memory_gib() -> float:
    """Most memory used so far: of the accelerator, or of the process on a CPU."""
    used = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in used:
        return used["peak_bytes_in_use"] / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


class Worker:
    """A process that runs `work`."""

    def __init__(self, module: str, task: Task, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, "--work"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.compile_seconds = self.ask(task)["compile_seconds"]

    def ask(self, question: Any = None) -> dict[str, float]:
        """Sends a line and waits for the answer, until the deadline."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None and stdout is not None  # both are pipes
        stdin.write(json.dumps(question).encode() + b"\n")
        stdin.flush()
        ready, _, _ = select.select([stdout], [], [], self.timeout_seconds)
        line = stdout.readline() if ready else b""
        if not line:
            self.close()
            raise SystemExit(f"no answer within {self.timeout_seconds} s, or it failed")
        return json.loads(line)

    def close(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.wait()


class Result(NamedTuple):
    """What the rounds of one contestant came to."""

    compile_seconds: float
    memory_gib: float
    speeds: list[float]  # steps per second, of each round
    processor_speeds: list[float]  # steps per second of processor time

    def cells(self) -> list[str]:
        """Columns of a table, under `HEAD`."""
        speed = statistics.median(self.speeds)
        return [
            f"{speed:,.0f}",
            f"{self.compile_seconds:.1f}",
            f"{self.memory_gib:.2f}",
        ]


HEAD = ("steps/s", "compile, s", "memory, GiB")
RATIO_HEAD = ("ratio (of single rounds)", "ratio in processor time")


def head(columns: list[str], contestants: int) -> str:
    """The first lines of a table of ours alone, or of ours and a peer's."""
    for who in ("ours", "peer")[:contestants]:
        columns = [*columns, f"{who}, {HEAD[0]}", *HEAD[1:]]
    columns = [*columns, *(RATIO_HEAD if contestants > 1 else ())]
    return "| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns)


def measure(
    module: str, tasks: list[Task], *, rounds: int, timeout_seconds: float
) -> list[Result]:
    """Measures tasks in turns.

    Args:
        module: whose process calls `work` when started with `--work`.
        tasks: one for each contestant.
        rounds: timed runs of each.
        timeout_seconds: deadline of every answer.
    """
    workers: list[Worker] = []
    try:
        for task in tasks:
            workers.append(Worker(module, task, timeout_seconds))
        laps = [[worker.ask() for worker in workers] for _ in range(rounds)]
    finally:
        for worker in workers:
            worker.close()
    return [
        Result(
            worker.compile_seconds,
            own[-1]["memory_gib"],
            [lap["steps"] / lap["seconds"] for lap in own],
            [lap["steps"] / lap["processor_seconds"] for lap in own],
        )
        for worker, own in zip(workers, zip(*laps, strict=True), strict=True)
    ]


def row(columns: list[str], results: list[Result]) -> str:
    """One line of a table: the columns that say what was measured, then figures."""
    for result in results:
        columns = [*columns, *result.cells()]
    if len(results) == 2:
        ours, peer = results
        pairs = [a / b for a, b in zip(ours.speeds, peer.speeds, strict=True)]
        ratio = statistics.median(ours.speeds) / statistics.median(peer.speeds)
        processor = statistics.median(ours.processor_speeds) / statistics.median(
            peer.processor_speeds
        )
        spread = f"{min(pairs):.2f} to {max(pairs):.2f}"
        columns = [*columns, f"{ratio:.2f} ({spread})", f"{processor:.2f}"]
    return "| " + " | ".join(columns) + " |"
