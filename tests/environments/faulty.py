"""Catch that fails once in one actor, in the way that a test asks for.

The environment variable FAULT is `raise` or `hang`, and FAULT_FILE a file that is made
when it has happened.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist.environments.base import Environment, Outcome
from jaxrl_dist.environments.build import EnvironmentConfig

STEPS_BEFORE = 2_000  # environment steps of that actor


def make() -> Environment:
    """Catch, with a look at the host in every step."""
    catch = EnvironmentConfig("Catch-bsuite").build_bare()
    steps = 0

    def look(reward: np.ndarray) -> np.ndarray:
        nonlocal steps
        steps += reward.size
        if steps > STEPS_BEFORE and "actor" in sys.argv and sys.argv[-1] == "0":
            fail_once()
        return reward

    def step(key: jax.Array, state: Any, action: jax.Array) -> tuple[Any, Outcome]:
        state, outcome = catch.step(key, state, action)
        like = jax.ShapeDtypeStruct((), jnp.float32)
        reward = outcome.reward.astype(jnp.float32)
        reward = jax.pure_callback(look, like, reward, vmap_method="broadcast_all")
        return state, outcome._replace(reward=reward)

    return catch._replace(step=step)


def fail_once() -> None:
    """Raises or hangs, unless that has happened before."""
    file = Path(os.environ["FAULT_FILE"])
    if file.exists():
        return
    file.touch()
    if os.environ["FAULT"] == "raise":
        raise RuntimeError("the paddle broke")
    time.sleep(3600)
