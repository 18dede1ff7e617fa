"""Sequences of rows whose ends are known, and small networks for those who replay."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.networks.policy_and_critics import (
    PolicyAndCritics,
    PolicyAndCriticsConfig,
)
from jaxrl_dist.types import (
    Agent,
    ArraySpec,
    DiscreteSpec,
    EnvironmentSpec,
    Sample,
    Trajectory,
)

FEATURES, ACTIONS = 3, 4
LOW, HIGH = np.array([-2.0, 0.0], np.float32), np.array([2.0, 0.5], np.float32)
OBSERVATION = ArraySpec((FEATURES,), jnp.float32)
PUSHES = ArraySpec((2,), jnp.float32, LOW, HIGH)
CONTINUOUS = EnvironmentSpec("Continuous", OBSERVATION, PUSHES)
DISCRETE = EnvironmentSpec("Discrete", OBSERVATION, DiscreteSpec(ACTIONS))
PLAIN = OptimizerConfig(learning_rate=0.01, anneal=False, max_gradient_norm=None)
NETWORK = PolicyAndCriticsConfig(hidden=(8,), activation="tanh")  # smooth
GAMMA = 0.9
# Columns of `make_sample`, by what happens in them.
GOES_ON, TERMINATES, IS_TRUNCATED, BEGINS_ON_LAST_ROW = range(4)


def make_sample(length: int, *, discrete: bool = False, copies: int = 1) -> Sample:
    """Sequences [length, 4 * copies] of random rows: one column for each kind of end.

    The second column terminates and the third is truncated with the second step where
    there is one, else with the first. The last one begins on a last row.
    """
    random = np.random.default_rng(length)
    shape = (length, 4 * copies)
    end = min(2, length - 1)
    is_last, terminated = np.zeros(shape, bool), np.zeros(shape, bool)
    is_last[end, TERMINATES::4] = is_last[end, IS_TRUNCATED::4] = True
    terminated[end - 1, TERMINATES::4] = True
    is_last[0, BEGINS_ON_LAST_ROW::4] = True
    is_first = np.roll(is_last, 1, axis=0)
    is_first[0] = False
    action: Any = random.uniform(LOW, HIGH, (*shape, 2)).astype(np.float32)
    if discrete:
        action = random.integers(0, ACTIONS, shape).astype(np.int32)
    rows = Trajectory(
        observation=jnp.asarray(random.normal(size=(*shape, FEATURES)), jnp.float32),
        is_first=jnp.asarray(is_first),
        is_last=jnp.asarray(is_last),
        action=jnp.asarray(action),
        reward=jnp.asarray(random.normal(size=shape), jnp.float32),
        terminated=jnp.asarray(terminated),
    )
    weight = jnp.asarray(random.uniform(0.2, 1.0, shape[1]), jnp.float32)
    return Sample(rows, weight, slot=jnp.arange(shape[1]))


def targets_by_hand(sample: Sample, values: np.ndarray) -> np.ndarray:
    """What critics should answer in the first three columns, one step at a time.

    Args:
        sample: of `make_sample`, with one column of each kind.
        values: [length, 4] of the observations of the rows.
    """
    reward = np.asarray(sample.trajectory.reward)
    num_steps = len(reward) - 1
    end = min(2, num_steps)
    whole = sum(GAMMA**t * reward[t, GOES_ON] for t in range(num_steps))
    terminated, truncated = (
        sum(GAMMA**t * reward[t, column] for t in range(end))
        for column in (TERMINATES, IS_TRUNCATED)
    )
    return np.array(
        [
            whole + GAMMA**num_steps * values[num_steps, GOES_ON],
            terminated,
            truncated + GAMMA**end * values[end, IS_TRUNCATED],
        ]
    )


def split(sample: Sample, parts: int) -> list[Sample]:
    """A sample as several, each with some of its sequences."""
    size = len(sample.weight) // parts

    def piece(number: int) -> Sample:
        of = slice(number * size, (number + 1) * size)
        rows = jax.tree.map(lambda x: x[:, of], sample.trajectory)
        return Sample(rows, sample.weight[of], sample.slot[of])

    return [piece(number) for number in range(parts)]


class GradientAgent(NamedTuple):
    """An agent of which it is known that it tells its gradients."""

    init: Callable
    act: Callable
    acting_params: Callable
    initial_memory: Callable
    draw: Callable
    update: Callable
    gradients: Callable
    apply_gradients: Callable
    sequence_length: int | None


def with_gradients(agent: Agent) -> GradientAgent:
    """The same agent, for the type checker."""
    assert agent.gradients is not None
    assert agent.apply_gradients is not None
    return GradientAgent(**{x: getattr(agent, x) for x in GradientAgent._fields})


def compiled(agent: GradientAgent) -> GradientAgent:
    """An agent whose functions are compiled, for one device."""
    return agent._replace(
        init=jax.jit(agent.init),
        act=jax.jit(agent.act),
        update=jax.jit(agent.update),
        gradients=jax.jit(agent.gradients),
        apply_gradients=jax.jit(agent.apply_gradients),
    )


def compiled_parts(network: PolicyAndCritics) -> PolicyAndCritics:
    """A network whose functions are compiled."""
    return network._replace(
        policy=jax.jit(network.policy), q_values=jax.jit(network.q_values)
    )
