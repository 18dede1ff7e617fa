"""Steps per second of recurrent PPO, beside PureJaxRL's `ppo_rnn.py` at its settings.

Both train a dense layer, a GRU and a hidden layer before each output, of 128 units
each, with 128 steps, 4 epochs and 4 minibatches. Processes and turns are those of
`on_device`, and so is what is done for the peer's gymnax.

    python -m experiments.speed.recurrent --peer <checkout of PureJaxRL>/purejaxrl
    python -m experiments.speed.recurrent --cores none gru lstm min_gru

Without `--peer` only our own figures are printed; a core of none is the network without
memory, otherwise the same.
"""

import dataclasses
import sys
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import tyro

from experiments.speed import on_device, workers
from jaxrl_dist.agents.ppo import PPOConfig
from jaxrl_dist.environments.build import EnvironmentConfig
from jaxrl_dist.experiment import Budget, Experiment
from jaxrl_dist.networks.build import ActorCriticConfig
from jaxrl_dist.networks.recurrent import CoreConfig, CoreKind
from jaxrl_dist.training.on_device import OnDeviceConfig

ROLLOUT_STEPS, UNITS = 128, 128


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to measure.

    Attributes:
        environment: a gymnax name.
        num_envs: environments side by side; a row of the table each.
        cores: of our network; a row of the table each.
        updates: of a timed run, from 1.
        rounds: timed runs of each, in turns.
        peer: folder that holds PureJaxRL's ppo_rnn.py; None measures ours alone.
        timeout_seconds: deadline of every answer of a process.
    """

    environment: str = "CartPole-v1"
    num_envs: tuple[int, ...] = (4, 64)
    cores: tuple[CoreKind, ...] = ("gru",)
    updates: int = 20
    rounds: int = 7
    peer: str | None = None
    timeout_seconds: float = 900.0


@dataclasses.dataclass(frozen=True)
class Case:
    """One row of the table, for one of the two."""

    environment: str
    num_envs: int
    core: CoreKind
    updates: int
    peer: str | None  # folder of PureJaxRL; None for ours

    @property
    def rows(self) -> int:
        """Environment steps of one timed run."""
        return self.updates * self.num_envs * ROLLOUT_STEPS


def prepare(task: workers.Task) -> Callable[[], workers.Lap]:
    """Compiles a case; answers a function that trains once from the start."""
    case = Case(**task)
    if case.peer:
        as_flax_was()
        settings = on_device.peer_settings(case.environment, case.num_envs, case.rows)
        return on_device.compile_peer("ppo_rnn", case.peer, settings, case.rows)
    experiment = Experiment(
        environment=EnvironmentConfig(case.environment, num_envs=case.num_envs),
        network=network_config(case.core),
        agent=PPOConfig(),
        runtime=OnDeviceConfig(rollout_steps=ROLLOUT_STEPS),
        budget=Budget(total_steps=case.rows, evaluations=1),
    )
    return on_device.compile_ours(experiment, case.updates)


def network_config(core: CoreKind) -> ActorCriticConfig:
    """The network of the peer, with the core of one's choice."""
    return ActorCriticConfig(
        torso="mlp",
        hidden=(UNITS,),
        activation="relu",
        shared_torso=True,
        core=CoreConfig(core, UNITS),
        head_hidden=(UNITS,),
    )


def as_flax_was() -> None:
    """Gives the peer the GRU of the flax it was written for, of 128 units unasked."""

    class GRUCell(nn.GRUCell):
        features: int = UNITS

        @nn.nowrap
        def initialize_carry(self, rng: Any, input_shape: Any) -> jax.Array:
            # Called of the class, with a key, batch and size in place of these three.
            return jnp.zeros((*rng, input_shape))

    nn.GRUCell = GRUCell  # type: ignore[misc]


def main(arguments: Arguments) -> None:
    """Prints the table, a row as soon as it is measured."""
    columns = ["environment", "environments", "core"]
    print(workers.head(columns, 2 if arguments.peer else 1), flush=True)
    for num_envs in arguments.num_envs:
        for core in arguments.cores:
            case = Case(arguments.environment, num_envs, core, arguments.updates, None)
            cases = [case]
            if arguments.peer:
                cases.append(dataclasses.replace(case, peer=arguments.peer))
            results = workers.measure(
                "experiments.speed.recurrent",
                [dataclasses.asdict(each) for each in cases],
                rounds=arguments.rounds,
                timeout_seconds=arguments.timeout_seconds,
            )
            cells = [case.environment, str(num_envs), core]
            print(workers.row(cells, results), flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--work"]:
        workers.work(prepare)
    else:
        main(tyro.cli(Arguments, description=__doc__))
