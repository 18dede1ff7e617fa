"""Rollouts against a loop in plain Python over one environment at a time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist import rollout
from jaxrl_dist.agents.a2c import A2CConfig
from jaxrl_dist.environments.base import batch
from jaxrl_dist.rollout import RolloutState
from jaxrl_dist.types import TimeStep, Trajectory
from tests.agents.small import make_network
from tests.environments.counting import counting
from tests.environments.wandering import wandering

T, B = 14, 3
SINGLE = wandering()
ENVIRONMENT = batch(SINGLE)
AGENT = A2CConfig().build(make_network(SINGLE.spec), total_updates=1)


@pytest.fixture(scope="module")
def params():
    return AGENT.init(jax.random.key(7)).params


@pytest.fixture(scope="module")
def begin() -> RolloutState:
    return rollout.start(AGENT, ENVIRONMENT, jax.random.key(0), B)


@functools.partial(jax.jit, static_argnames="num_steps")
def run(params, state: RolloutState, num_steps: int = T):
    return rollout.rollout(AGENT, ENVIRONMENT, params, state, num_steps=num_steps)


def rollout_by_hand(params, state: RolloutState) -> Trajectory:
    """Rows [T, B] of one environment after the other, resets by `if`."""
    _, key_draws = jax.random.split(state.key)
    keys = [jax.random.split(key) for key in jax.random.split(key_draws, T)]
    draw_noise, draw_chance = (
        jax.jit(draw, static_argnums=1) for draw in (AGENT.draw, ENVIRONMENT.draw)
    )
    draws = [(draw_noise(act, B), draw_chance(env, B)) for act, env in keys]
    columns = []
    for b in range(B):
        inner, row = jax.tree.map(at(b), (state.env_state.inner, state.time_step))
        columns.append(walk_by_hand(params, inner, row, jax.tree.map(at(b), draws)))
    return jax.tree.map(lambda *x: np.stack(x, axis=1), *columns)


def walk_by_hand(params, inner, row: TimeStep, draws: list) -> Trajectory:
    """Rows [T] of one environment."""
    step, act = jax.jit(SINGLE.step), jax.jit(AGENT.act)
    rows = []
    for noise, chance in draws:
        batch_of_one = jax.tree.map(lambda x: x[None], (row, noise))
        _, action, extras = jax.tree.map(at(0), act(params, (), *batch_of_one))
        if row.is_last:
            inner, observation = chance.fresh_state, chance.fresh_observation
            answer = (observation, 0.0, False, True, False)
        else:
            inner, outcome = step(chance.key, inner, action)
            over = outcome.terminated | outcome.truncated
            answer = (outcome[0], outcome.reward, outcome.terminated, False, over)
        after = TimeStep(*map(jnp.asarray, answer))
        done = (action, after.reward, after.terminated, extras)
        rows.append(Trajectory(row.observation, row.is_first, row.is_last, *done))
        row = after
    return jax.tree.map(lambda *x: np.stack(x), *rows)


def at(index: int):
    """Picks one element of the leading axis."""
    return lambda x: x[index]


def assert_equal(got, wanted, rtol=0.0) -> None:
    """Checks two trees, leaf by leaf."""
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol)


def test_rows_are_those_of_a_plain_loop(params, begin):
    _, rows = run(params, begin)
    expected = rollout_by_hand(params, begin)
    ends, terminated = expected.is_last[1:], expected.terminated[:-1]
    assert (ends & terminated).any() and (ends & ~terminated).any()
    assert_equal(jax.tree.map(lambda x: x[:-1], rows), expected, rtol=1e-6)


def test_the_final_row_is_seen_but_not_acted_on(params, begin):
    state, rows = run(params, begin)
    assert rows.reward.shape == (T + 1, B)
    final = jax.tree.map(lambda x: x[-1], rows)
    assert_equal(
        (final.observation, final.is_first, final.is_last),
        (
            state.time_step.observation,
            state.time_step.is_first,
            state.time_step.is_last,
        ),
    )
    for unknown in jax.tree.leaves((final.action, final.reward, final.extras)):
        assert not unknown.any()
    assert not final.terminated.any()


def test_a_rollout_goes_on_where_the_one_before_stopped(params, begin):
    now, rows = run(params, begin)
    seen = [rows]
    for _ in range(2):
        now, rows = run(params, now)
        reached, begun = jax.tree.map(at(-1), seen[-1]), jax.tree.map(at(0), rows)
        assert_equal(reached.observation, begun.observation)
        assert_equal(reached[1:3], begun[1:3])  # is_first and is_last
        seen.append(rows)
    is_first = np.concatenate([rows.is_first[:-1] for rows in seen])
    is_last = np.concatenate([rows.is_last[:-1] for rows in seen])
    np.testing.assert_array_equal(is_first[1:], is_last[:-1])


def test_no_step_is_lost_or_taken_twice_between_rollouts():
    environment = batch(counting(4, terminates=False))
    agent = A2CConfig().build(make_network(environment.spec), total_updates=1)
    params = agent.init(jax.random.key(0)).params
    state = rollout.start(agent, environment, jax.random.key(0), 2)
    go_on = jax.jit(
        lambda state: rollout.rollout(agent, environment, params, state, num_steps=7)
    )
    seen = []
    for _ in range(4):
        state, rows = go_on(state)
        seen.extend(np.asarray(rows.observation)[:-1, :, 0])
    expected = [[t % 5] * 2 for t in range(28)]
    np.testing.assert_array_equal(seen, expected)


def test_drawing_ahead_gives_the_numbers_of_drawing_step_by_step(
    params, begin, monkeypatch
):
    expected = run(params, begin)
    monkeypatch.setattr(rollout, "DRAWN_AHEAD_BYTES", 0)

    def step_by_step(params, state):
        return rollout.rollout(AGENT, ENVIRONMENT, params, state, num_steps=T)

    assert_equal(jax.jit(step_by_step)(params, begin), expected)


def test_two_rollouts_share_no_random_numbers(params, begin):
    now, _ = run(params, begin)
    again = begin._replace(key=now.key)
    _, rows = run(params, begin)
    _, others = run(params, again)
    # The reward of a walk shows its luck.
    mine, theirs = (set(np.asarray(x.reward % 1).ravel()) for x in (rows, others))
    assert mine & theirs <= {0.0}
