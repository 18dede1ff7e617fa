"""Steps per second of DQN on CartPole for growing numbers of environments.

An update of 128 transitions follows each step of all environments, so that wider runs
learn less often from what they see. Everything else is as in PureJaxRL's `dqn.py`, but
for a replay of 2^17 rows.

    python -m experiments.speed.dqn_environments --num-envs 1 16 256 4096
    python -m experiments.speed.dqn_environments --purejaxrl <checkout>/purejaxrl \
        --flashbax <folder>

Each row is compiled and timed in a process of its own, one after another, and beside
the peer in turns. How the peer is carried: see `off_policy`.
"""

import dataclasses
import sys
from collections.abc import Callable
from typing import Any

import tyro

from experiments.speed import workers
from experiments.speed.off_policy import prepare_ours, prepare_purejaxrl
from experiments.speed.off_policy_cases import CASES, Case, dqn_of_purejaxrl
from jaxrl_dist.experiment import Experiment

CAPACITY = 2**17
WARMUP_ROLLOUTS = 130  # fill a batch of 128 transitions, from one environment too


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to measure.

    Attributes:
        num_envs: environments side by side; a row of the table each.
        updates: of a timed run, each after one step of all environments.
        rounds: timed runs of each, in turns.
        purejaxrl: folder that holds PureJaxRL's dqn.py; None measures ours alone.
        flashbax: folder that holds the package flashbax, which PureJaxRL needs.
        timeout_seconds: deadline of every answer of a process.
    """

    num_envs: tuple[int, ...] = (1, 4, 16, 64, 256, 1024, 4096)
    updates: int = 2000
    rounds: int = 3
    purejaxrl: str | None = None
    flashbax: str | None = None
    timeout_seconds: float = 300.0


def case_of(num_envs: int, updates: int) -> Case:
    """DQN with an update after each step of so many environments."""

    def ours() -> Experiment:
        whole = dqn_of_purejaxrl()
        assert whole.replay is not None
        return dataclasses.replace(
            whole,
            environment=dataclasses.replace(whole.environment, num_envs=num_envs),
            replay=dataclasses.replace(
                whole.replay,
                capacity=CAPACITY,
                warmup_steps=WARMUP_ROLLOUTS * num_envs,
                updates_per_step=1.0 / num_envs,
            ),
        )

    settings = CASES["CartPole DQN, PureJaxRL"].settings | {
        "NUM_ENVS": num_envs,
        "TRAINING_INTERVAL": num_envs,
        "BUFFER_SIZE": CAPACITY,
        "LEARNING_STARTS": WARMUP_ROLLOUTS * num_envs,
        "TARGET_UPDATE_INTERVAL": 50 * num_envs,
    }
    return Case(
        ours,
        "purejaxrl",
        settings,
        warmup_steps=WARMUP_ROLLOUTS * num_envs,
        steps=updates * num_envs,
    )


def prepare(task: workers.Task) -> Callable[[], workers.Lap]:
    """Compiles a case, of ours or of the peer's where folders are given."""
    case = case_of(task["num_envs"], task["updates"])
    if task["folders"]:
        return prepare_purejaxrl(case, task["folders"])
    return prepare_ours(case, num_devices=1)


def measure(num_envs: int, arguments: Arguments) -> str:
    """Measures one row of the table, ours and the peer's in turns."""
    task: dict[str, Any] = {"num_envs": num_envs, "updates": arguments.updates}
    folders = [x for x in (arguments.purejaxrl, arguments.flashbax) if x]
    tasks = [task | {"folders": []}]
    if arguments.purejaxrl:
        tasks.append(task | {"folders": folders})
    results = workers.measure(
        "experiments.speed.dqn_environments",
        tasks,
        rounds=arguments.rounds,
        timeout_seconds=arguments.timeout_seconds,
    )
    return workers.row([str(num_envs)], results)


def main(arguments: Arguments) -> None:
    """Prints the table, a row as soon as it is measured."""
    contestants = 2 if arguments.purejaxrl else 1
    print(workers.head(["environments"], contestants), flush=True)
    for num_envs in arguments.num_envs:
        print(measure(num_envs, arguments), flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--work"]:
        workers.work(prepare)
    else:
        main(tyro.cli(Arguments, description=__doc__))
