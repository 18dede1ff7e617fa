"""Forward and gradient of PPO's networks: ours beside plain flax layers.

Two networks of 2x64 tanh units, policy and value, with a policy-gradient and a
value loss, on one JAX device; minibatches follow each other inside one compiled loop.
On a CPU, pin the process to one core, as training gives one to each device:

    taskset -c 0 python -m experiments.speed.networks
"""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import tyro

from jaxrl_dist.networks.build import ActorCriticConfig
from jaxrl_dist.networks.distributions import Categorical
from jaxrl_dist.types import ArraySpec, DiscreteSpec, EnvironmentSpec

CARTPOLE = EnvironmentSpec("CartPole", ArraySpec((4,), np.float32), DiscreteSpec(2))
BREAKOUT = EnvironmentSpec(
    "Breakout", ArraySpec((400,), np.int8, 0, 1), DiscreteSpec(3)
)
Unroll = Callable[[Any, jax.Array], Any]  # (params, rows) to (distribution, values)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        rows: sizes of a minibatch, in rows per device.
        repeats: timed runs of each program, alternated; the fastest counts.
        min_seconds: least duration of one timed run.
    """

    rows: tuple[int, ...] = (64, 512, 1024, 4096, 8192)
    repeats: int = 30
    min_seconds: float = 0.005


class PlainActorCritic(nn.Module):
    """The same two networks, as plain flax layers."""

    num_actions: int

    @nn.compact
    def __call__(self, rows: jax.Array) -> tuple[Categorical, jax.Array]:
        """Maps rows [N, F] to a distribution and values [N]."""
        outputs = []
        for size in (self.num_actions, 1):
            features = rows.astype(jnp.float32)
            for _ in range(2):
                features = jnp.tanh(nn.Dense(64)(features))
            outputs.append(nn.Dense(size)(features))
        logits, values = outputs
        return Categorical(logits), values[:, 0]


def loss(unroll: Unroll, params: Any, batch: tuple[jax.Array, ...]) -> jax.Array:
    """A policy gradient and a squared value error, averaged."""
    rows, actions, advantages, targets = batch
    distribution, values = unroll(params, rows)
    policy = distribution.log_prob(actions) * advantages
    return jnp.mean(jnp.square(values - targets) - policy)


def make_epoch(unroll: Unroll) -> Callable:
    """Builds a compiled loop of gradient steps over minibatches [M, N, ...]."""

    def step(params: Any, batch: tuple[jax.Array, ...]) -> tuple[Any, None]:
        gradients = jax.grad(functools.partial(loss, unroll))(params, batch)
        return jax.tree.map(lambda p, g: p - 1e-6 * g, params, gradients), None

    return jax.jit(lambda params, batches: jax.lax.scan(step, params, batches)[0])


def make_batches(
    spec: EnvironmentSpec, num_batches: int, rows: int
) -> tuple[jax.Array, ...]:
    """Draws observations, actions, advantages and targets, [M, N, ...] each."""
    rng, shape = np.random.default_rng(0), (num_batches, rows)
    dtype = spec.observation.dtype
    if np.issubdtype(dtype, np.integer):
        observations = rng.integers(0, 2, (*shape, *spec.observation.shape))
    else:
        observations = rng.normal(size=(*shape, *spec.observation.shape))
    assert isinstance(spec.action, DiscreteSpec)
    actions = rng.integers(0, spec.action.num_values, shape)
    advantages, targets = rng.normal(size=(2, *shape)).astype(np.float32)
    arrays = (observations.astype(dtype), actions, advantages, targets)
    return tuple(jnp.asarray(array) for array in arrays)


def seconds_per_run(runs: list[Callable], settings: Settings) -> list[float]:
    """The fastest of several timings of each run, alternated, in seconds."""
    for run in runs:
        jax.block_until_ready(run())  # compiles
    start = time.perf_counter()
    jax.block_until_ready(runs[0]())
    number = 1 + int(settings.min_seconds / (time.perf_counter() - start))
    fastest = [float("inf")] * len(runs)
    for _ in range(settings.repeats):
        for index, run in enumerate(runs):
            start = time.perf_counter()
            answers = [run() for _ in range(number)]
            jax.block_until_ready(answers)
            elapsed = (time.perf_counter() - start) / number
            fastest[index] = min(fastest[index], elapsed)
    return fastest


def main(settings: Settings) -> None:
    """Prints microseconds per minibatch, plain and ours."""
    print(f"{jax.devices()[0].device_kind}; microseconds per minibatch")
    print(f"{'':>10} {'rows':>6} {'plain':>8} {'ours':>8} {'ratio':>6}")
    for spec in (CARTPOLE, BREAKOUT):
        assert isinstance(spec.action, DiscreteSpec)
        network = ActorCriticConfig().build(spec)
        plain = PlainActorCritic(spec.action.num_values)
        for rows in settings.rows:
            num_batches = max(2, 8192 // rows)
            batches = make_batches(spec, num_batches, rows)
            plain_params = plain.init(jax.random.key(0), batches[0][0])
            our_params = jax.jit(network.init)(jax.random.key(0))

            def our_unroll(params: Any, rows: jax.Array) -> Any:
                return network.unroll(params, (), rows, None)[1:]  # noqa: B023

            plain_epoch, our_epoch = make_epoch(plain.apply), make_epoch(our_unroll)
            runs = [
                functools.partial(plain_epoch, plain_params, batches),
                functools.partial(our_epoch, our_params, batches),
            ]
            before, after = (
                1e6 * seconds / num_batches
                for seconds in seconds_per_run(runs, settings)
            )
            print(
                f"{spec.name:>10} {rows:>6} {before:8.0f} {after:8.0f} "
                f"{before / after:6.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main(tyro.cli(Settings))
