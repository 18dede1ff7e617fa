"""Environments that live outside of JAX: in Python, C++ or processes of their own.

They answer in the same rows as those on the device, in numpy arrays. What steps them is
`rollout_on_host`; what makes them is `gymnasium_env` and `atari`.
"""

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist.environments.base import BatchedEnvironment, BatchState, Chance
from jaxrl_dist.types import ArraySpec, ArrayTree, EnvironmentSpec, TimeStep


class HostEnvironment(NamedTuple):
    """B independent environments on the host, in rows of numpy arrays [B, ...].

    The step after a last row begins a new episode, whatever action it is given. The
    arrays of an answer may be used again by the next one: who keeps them copies them.
    """

    spec: EnvironmentSpec
    num_envs: int  # B
    reset: Callable[[int], TimeStep]  # (seed, at least 0) to the first rows
    step: Callable[[np.ndarray], TimeStep]  # (actions [B, ...]) to the rows they led to
    close: Callable[[], None]  # ends whatever runs behind it; may be called twice

    def __enter__(self) -> "HostEnvironment":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def first_rows(observation: ArrayTree, num_envs: int) -> TimeStep:
    """The rows that a reset of all environments answers.

    Args:
        observation: [B, ...].
        num_envs: B.
    """
    # TimeStep is annotated for JAX; these are arrays of numpy, here and below.
    false: Any = np.zeros(num_envs, bool)
    reward: Any = np.zeros(num_envs, np.float32)
    true: Any = np.ones(num_envs, bool)
    return TimeStep(observation, reward, false, true, false)


def next_rows(
    after_last: Any,
    observation: ArrayTree,
    reward: Any,
    terminated: Any,
    truncated: Any,
) -> TimeStep:
    """The rows that a step answers, where it was a reset as where it was none.

    Args:
        after_last: [B] bool; the row before was a last one, so this step was a reset.
        observation: [B, ...].
        reward: [B] of any type; rubbish where the step was a reset, like the next two.
        terminated: [B] bool.
        truncated: [B] bool; counts only where not terminated.
    """
    stepped = ~after_last
    earned: Any = np.where(stepped, reward, 0).astype(np.float32)
    return TimeStep(
        observation=observation,
        reward=earned,
        terminated=terminated & stepped,
        is_first=after_last,
        is_last=(terminated | truncated) & stepped,
    )


def stand_in(spec: EnvironmentSpec) -> BatchedEnvironment:
    """An environment on the device that answers zeros shaped as one on the host does.

    It takes the place of one where only shapes are looked at, by `jax.eval_shape`.

    Args:
        spec: of the environment on the host.
    """

    def answer(batch_size: int) -> TimeStep:
        observation = jax.tree.map(
            lambda array: jnp.zeros((batch_size, *array.shape), array.dtype),
            spec.observation,
            is_leaf=lambda array: isinstance(array, ArraySpec),
        )
        false = jnp.zeros(batch_size, bool)
        return TimeStep(observation, jnp.zeros(batch_size), false, false, false)

    def draw(key: jax.Array, batch_size: int) -> Chance:
        return Chance(jax.random.split(key, batch_size), (), ())

    return BatchedEnvironment(
        spec,
        reset=lambda key, batch_size: (
            BatchState((), jnp.zeros(batch_size, bool)),
            answer(batch_size),
        ),
        draw=draw,
        step=lambda state, action, chance: (state, answer(len(chance.key))),
    )


def idle(spec: EnvironmentSpec, num_envs: int) -> HostEnvironment:
    """An environment on the host that answers zeros: what meets it is compiled.

    Args:
        spec: of the environment whose place it takes.
        num_envs: B.
    """
    observation = jax.tree.map(
        lambda array: np.zeros((num_envs, *array.shape), array.dtype),
        spec.observation,
        is_leaf=lambda array: isinstance(array, ArraySpec),
    )
    row = first_rows(observation, num_envs)
    return HostEnvironment(
        spec, num_envs, lambda seed: row, lambda actions: row, lambda: None
    )


def import_extra(module: str, extra: str) -> ModuleType:
    """Imports a module that only some users have.

    Args:
        module: its full name.
        extra: of this package, that brings it.

    Raises:
        ValueError: it is missing; the message says what installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{error.name} is missing: pip install 'jaxrl-dist[{extra}]'"
        ) from error
