"""Milliseconds that recurrent cores take, and where those of a recurrent PPO go.

All are of one width, timed in turns on one device: what varies is the core. The first
table is of a core alone, reading a sequence; the second of PPO on CartPole with
`recurrent`'s network, 128 steps, 4 epochs and 4 minibatches.

    python -m experiments.speed.cores
    python -m experiments.speed.cores --steps 128 1024 --batch 16
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import tyro

from experiments.speed import recurrent, turns
from jaxrl_dist import rollout
from jaxrl_dist.agents.actor_critic import values_of_rows
from jaxrl_dist.agents.ppo import PPOConfig
from jaxrl_dist.environments.build import EnvironmentConfig
from jaxrl_dist.networks.recurrent import CoreConfig, CoreKind

KINDS: tuple[CoreKind, ...] = ("lstm", "gru", "min_gru")
FEATURES = 128
Call = tuple[Callable[..., Any], tuple]  # a compiled function and its arguments


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to measure.

    Attributes:
        steps: rows of the sequences that cores read; a row of the table each.
        batch: sequences side by side.
        size: units of each core.
        num_envs: of the PPO whose parts are timed; a row of the table each.
        rounds: samples of each, in turns; a tenth of them took less than what is shown.
    """

    steps: tuple[int, ...] = (128, 1024)
    batch: int = 16
    size: int = 128
    num_envs: tuple[int, ...] = (4, 64)
    rounds: int = 20


def in_turns(calls: dict[str, Call], rounds: int) -> dict[str, float]:
    """Times calls in turns, so that all see the same machine; milliseconds of each."""
    numbers = {
        name: turns.calls_per_sample(function, arguments)
        for name, (function, arguments) in calls.items()
    }
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, (function, arguments) in calls.items():
            sample = turns.milliseconds_per_call(function, arguments, numbers[name])
            samples[name].append(sample)
    return {
        name: float(np.quantile(kept, turns.QUANTILE)) for name, kept in samples.items()
    }


def reading(kind: CoreKind, steps: int, arguments: Arguments) -> dict[str, Call]:
    """A core that reads a sequence, and the gradient of what it answers."""
    core: Any = CoreConfig(kind, arguments.size).build()
    shape = (steps, arguments.batch)
    inputs = jax.random.normal(jax.random.key(0), (*shape, FEATURES))
    is_first = jax.random.bernoulli(jax.random.key(1), 0.02, shape)
    memory = core.initial_memory(arguments.batch)
    params = core.init(jax.random.key(2), memory, inputs, is_first)

    def outputs(learnt: tuple, memory: Any, is_first: jax.Array) -> jax.Array:
        params, inputs = learnt
        return core.apply(params, memory, inputs, is_first)[1]

    given = (params, inputs), memory, is_first
    gradient = turns.with_gradient(outputs)
    return {
        f"{kind}, forward": (jax.jit(outputs), given),
        f"{kind}, with gradient": (jax.jit(gradient), given),
    }


def parts_of_ppo(kind: CoreKind, num_envs: int) -> dict[str, Call]:
    """Rollout, values before the update, and the whole update, for one device."""
    environment = EnvironmentConfig("CartPole-v1").build()
    network = recurrent.network_config(kind).build(environment.spec)
    agent = PPOConfig().build(network, total_updates=1)
    state = agent.init(jax.random.key(0))
    start = rollout.start(agent, environment, jax.random.key(1), num_envs)

    @jax.jit
    def act(params: Any, start: Any) -> Any:
        return rollout.rollout(
            agent, environment, params, start, num_steps=recurrent.ROLLOUT_STEPS
        )[1]

    rows = act(state.params, start)
    values = jax.jit(lambda params, rows: values_of_rows(network, params, rows))
    return {
        "rollout": (act, (state.params, start)),
        "values": (values, (state.params, rows)),
        "update": (jax.jit(agent.update), (state, rows, jax.random.key(2))),
    }


def main(arguments: Arguments) -> None:
    """Prints both tables, a row as soon as it is measured."""
    heads = [
        f"{kind}, {what}" for kind in KINDS for what in ("forward", "with gradient")
    ]
    print(f"| steps | batch | {' | '.join(heads)} | lstm / min_gru |")
    print("|" + " --- |" * (len(heads) + 3))
    for steps in arguments.steps:
        calls = {}
        for kind in KINDS:
            calls |= reading(kind, steps, arguments)
        took = in_turns(calls, arguments.rounds)
        ratios = [
            f"{took[f'lstm, {what}'] / took[f'min_gru, {what}']:.1f}"
            for what in ("forward", "with gradient")
        ]
        cells = [f"{took[head]:.2f}" for head in heads]
        print(
            f"| {steps} | {arguments.batch} | {' | '.join(cells)} | "
            f"{' and '.join(ratios)} |",
            flush=True,
        )
    print(
        "\n| environments | core | rollout | update | values in it | gradient steps |"
    )
    print("|" + " --- |" * 6)
    for num_envs in arguments.num_envs:
        for kind in ("none", *KINDS):
            took = in_turns(parts_of_ppo(kind, num_envs), arguments.rounds)
            steps = took["update"] - took["values"]
            cells = (took["rollout"], took["update"], took["values"], steps)
            cells = [f"{cell:.2f}" for cell in cells]
            print(f"| {num_envs} | {kind} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
