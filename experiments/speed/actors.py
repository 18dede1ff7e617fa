"""How fast actors are: end to end, and what each costs as there are more.

End to end, IMPALA on CartPole-v1, from the first batch to the last; beside it RLlib's,
if a Python that has ray and torch is named:

    python -m experiments.speed.actors end-to-end --actors 2 --num-envs 64
    python -m experiments.speed.actors end-to-end --peer /tmp/ray/bin/python

Processes that only send, to a learner that only takes:

    python -m experiments.speed.actors sending --actors 1 2 4 8 16
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrl_dist.loggers.json_lines import read_rows
from jaxrl_dist.replay import reverb
from jaxrl_dist.training import experience
from jaxrl_dist.training.actor import Links, Sender
from jaxrl_dist.training.actors_config import ActorsConfig
from jaxrl_dist.training.collecting import Collected, Share
from jaxrl_dist.training.columns import columns_of
from jaxrl_dist.training.feeds import QueueSource
from jaxrl_dist.training.flow import Flow
from jaxrl_dist.types import Trajectory
from jaxrl_dist.versions import hardware, versions

PEER = Path(__file__).with_name("actors_peer.py")
STEPS, SIZE = 20, 16  # of a trajectory, and environments of an actor that only sends


def end_to_end(arguments: argparse.Namespace) -> None:
    """Runs IMPALA on CartPole, and the peer in turns with it."""
    for _ in range(arguments.repeat):
        rows = ours(arguments)
        last = rows[-1]
        print(
            json.dumps(
                {
                    "steps_per_second": round(last["speed/steps_per_second"]),
                    "learner_waits": round(mean(rows, "learning/waiting_share"), 3),
                    "actors_wait": round(mean(rows, "actors/waiting_share"), 3),
                    "policy_lag": round(mean(rows, "actors/policy_lag_mean"), 1),
                }
            ),
            flush=True,
        )
        if arguments.peer:
            subprocess.run([arguments.peer, str(PEER)], check=True)


def ours(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The reports of one run of ours."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        subprocess.run(
            [
                *(sys.executable, "-m", "experiments.cartpole_impala"),
                *("--runtime", "actors", "--actors", str(arguments.actors)),
                *("--environment.num-envs", str(arguments.num_envs)),
                *("--runtime.batch-trajectories", str(arguments.batch)),
                *("--runtime.publish-period-updates", "4"),
                *("--budget.total-steps", str(arguments.steps)),
                *("--budget.evaluations", "1", "--output-dir", str(run)),
                *arguments.more,
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return read_rows(run / "metrics.jsonl")


def mean(rows: Sequence[dict[str, Any]], name: str) -> float:
    """A metric's mean over the reports after the first, which saw processes start."""
    values = [row[name] for row in rows[1:] or rows if name in row]
    return float(np.mean(values)) if values else float("nan")


def sending(arguments: argparse.Namespace) -> None:
    """Processes that only send, and one that only takes."""
    for number in arguments.actors_list:
        flow = Flow("queue", STEPS + 1, STEPS + 1, 32, 0, number * SIZE, 1.0)
        tables = experience.experience_tables(
            flow, ActorsConfig(rollout_steps=STEPS), None, make_row()
        )
        context = multiprocessing.get_context("spawn")
        with reverb.Server(tables) as server:
            processes = [
                context.Process(
                    target=send, args=(server.address, flow, index), daemon=True
                )
                for index in range(number)
            ]
            for process in processes:
                process.start()
            rate, seconds = take(server.address, flow, arguments.seconds, number)
            for process in processes:
                process.kill()
                process.join()
        print(
            json.dumps(
                {
                    "actors": number,
                    "steps_per_second": round(rate),
                    "per_actor": round(rate / number),
                    "taker_cpu_share": round(seconds / arguments.seconds, 2),
                }
            ),
            flush=True,
        )


def make_row() -> Any:
    """The columns of CartPole's rows, as IMPALA sends them."""
    return columns_of(experience.row_like(make_rows(), carried=False))


def make_rows() -> Trajectory:
    """A rollout [T + 1, B]."""
    shape, random = (STEPS + 1, SIZE), np.random.default_rng(0)

    def numbers(*more: int) -> Any:
        return random.normal(size=(*shape, *more)).astype(np.float32)

    false: Any = np.zeros(shape, bool)
    actions: Any = np.zeros(shape, np.int32)
    return Trajectory(
        numbers(4), false, false, actions, numbers(), false, extras=numbers(2)
    )


def send(address: str, flow: Flow, index: int) -> None:
    """Sends the same rollout for ever, as an actor would."""
    config = ActorsConfig(rollout_steps=STEPS, num_actors=flow.num_envs // SIZE)
    with reverb.Client(address) as client:
        nothing: Any = None
        links = Links(client, nothing, nothing, lambda: None)
        share = Share(index * SIZE, SIZE, flow.num_envs)
        sender = Sender(links, flow, config, make_row(), share)
        collected = Collected(make_rows(), (), (), nothing)
        number = 0
        while True:
            sender.wait_for_room()
            sender.send(collected, 0, number)
            number += 1


def take(address: str, flow: Flow, seconds: float, number: int) -> tuple[float, float]:
    """Takes batches; environment steps per second, and processor time it took."""
    with reverb.Client(address) as client:
        source = QueueSource(client, flow, make_row(), 1)
        deadline = time.monotonic() + 60.0 + 10.0 * number
        seen: set[int] = set()
        while len(seen) < flow.num_envs and time.monotonic() < deadline:
            packed = source.packed(source._fresh.next(60.0))
            seen |= set(make_row().unpack(packed[0]).source.tolist())
        began, before, steps = time.monotonic(), time.process_time(), 0
        while time.monotonic() - began < seconds:
            steps += source.make(60.0).num_steps
        spent = time.process_time() - before
        return steps / (time.monotonic() - began), spent


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m experiments.speed.actors")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("end-to-end", help=end_to_end.__doc__)
    command.add_argument("--actors", type=int, default=2)
    command.add_argument("--num-envs", type=int, default=64)
    command.add_argument("--batch", type=int, default=64, help="trajectories")
    command.add_argument("--steps", type=int, default=2_000_000)
    command.add_argument("--repeat", type=int, default=3)
    command.add_argument("--peer", help="a Python that has ray and torch")
    command.add_argument("more", nargs="*", help="flags of the experiment, after --")
    command.set_defaults(run=end_to_end)
    command = commands.add_parser("sending", help=sending.__doc__)
    command.add_argument(
        "--actors", dest="actors_list", type=int, nargs="+", default=[1, 2, 4, 8, 16]
    )
    command.add_argument("--seconds", type=float, default=5.0)
    command.set_defaults(run=sending)
    parsed = parser.parse_args(arguments)
    print(
        json.dumps({"hardware": hardware(), "load": os.getloadavg()[0], **versions()})
    )
    run: Callable[[argparse.Namespace], None] = parsed.run
    run(parsed)


if __name__ == "__main__":
    main()
