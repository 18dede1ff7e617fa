"""Random actions that last: as long as they should, and never beyond an episode."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.agents.exploration import (
    Acting,
    ExplorationConfig,
    make_act,
    make_draw,
)
from jaxrl_dist.agents.lasting_actions import NONE, Explorer, explorer
from jaxrl_dist.agents.r2d2 import R2D2Config
from jaxrl_dist.agents.value import ValueConfig
from jaxrl_dist.types import TimeStep

BEST, ACTIONS = 3, 5


def make_explorer(steps: float) -> Explorer:
    """One whose network holds one action for best, whatever it sees."""

    def q_values(params: None, observation: jax.Array, noise: None) -> jax.Array:
        return jnp.zeros((len(observation), ACTIONS)).at[:, BEST].set(1.0)

    draw, act = make_draw(lambda key: ()), make_act(0.0, q_values, None)
    config = ExplorationConfig(random_action_steps=steps)
    return explorer(config, draw, act, None)


def seen(is_first: jax.Array) -> TimeStep:
    """Answers that differ only in whether they begin an episode."""
    nothing = jnp.zeros(len(is_first))
    return TimeStep(nothing, nothing, nothing > 0, is_first, nothing > 0)


def play(exploring: Explorer, epsilon: float, is_first: np.ndarray) -> np.ndarray:
    """Actions [T, B] at random, with `is_first` [T, B]."""
    acting = Acting(None, jnp.float32(epsilon))
    memory, actions = exploring.initial_memory(is_first.shape[1]), []
    act = jax.jit(exploring.act)
    for key, first in zip(
        jax.random.split(jax.random.key(0), len(is_first)), is_first, strict=True
    ):
        noise = exploring.draw(key, len(first))
        memory, action, _ = act(acting, memory, seen(jnp.asarray(first)), noise)
        actions.append(action)
    return np.stack(actions)


def test_a_random_action_lasts_as_long_as_asked_on_average():
    actions = play(make_explorer(4.0), 1.0, np.zeros((100, 2000), bool))
    # One that follows another is the same by chance as well, 1 in 5.
    changes = np.mean(actions[1:] != actions[:-1])
    assert changes == pytest.approx(0.25 * (1 - 1 / ACTIONS), rel=0.02)
    shares = np.bincount(actions.ravel(), minlength=ACTIONS) / actions.size
    np.testing.assert_allclose(shares, 1 / ACTIONS, atol=0.01)


def test_no_random_action_lasts_into_the_next_episode():
    is_first = np.zeros((6, 3000), bool)
    is_first[3] = True
    actions = play(make_explorer(1e9), 1.0, is_first)
    assert (actions[:3] == actions[0]).all() and (actions[3:] == actions[3]).all()
    assert np.mean(actions[2] == actions[3]) == pytest.approx(1 / ACTIONS, abs=0.03)


def test_between_random_actions_the_best_one_is_taken():
    actions = play(make_explorer(4.0), 0.0, np.zeros((10, 100), bool))
    assert (actions == BEST).all()
    # Of moments at which one may begin, a fifth does, and 4/5 of these are another.
    actions = play(make_explorer(4.0), 0.2, np.zeros((300, 2000), bool))
    explored = 0.2 * 4 / (0.2 * 4 + 0.8)
    share = np.mean(actions[50:] != BEST)
    assert share == pytest.approx(explored * (1 - 1 / ACTIONS), rel=0.03)


def test_without_chance_nothing_lasts():
    exploring = make_explorer(4.0)
    memory = exploring.initial_memory(3)
    assert (memory == NONE).all()
    under_way = jnp.full(3, 1, jnp.int32)
    acting = Acting(None, jnp.float32(1.0))
    kept, action, _ = exploring.act(acting, under_way, seen(jnp.zeros(3, bool)), None)
    assert (action == BEST).all() and (kept == under_way).all()


def test_single_random_actions_need_no_memory():
    assert make_explorer(1.0).initial_memory(3) == ()


def test_too_short_actions_and_a_network_with_memory_are_refused():
    with pytest.raises(ValueError, match="random_action_steps must be at least 1"):
        ExplorationConfig(random_action_steps=0.5)
    lasting = ExplorationConfig(random_action_steps=2.0)
    with pytest.raises(ValueError, match="random_action_steps must be 1 for R2D2"):
        R2D2Config(learner=ValueConfig(exploration=lasting))
