"""PQN against targets and gradient steps written by hand."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl_dist.agents.exploration import ExplorationConfig
from jaxrl_dist.agents.pqn import PQNConfig, PQNState, learning_items
from jaxrl_dist.distribution import devices
from jaxrl_dist.networks.action_values import QNetworkConfig
from jaxrl_dist.networks.q_network import QNetwork
from jaxrl_dist.types import TimeStep, Trajectory
from tests.agents.small import PLAIN, SPEC, make_rows, spoil_last_rows

MAKE = QNetworkConfig(hidden=(8,), layer_norm=True).build(SPEC)
ROWS = make_rows()
KEY = jax.random.key(5)
CONFIG = PQNConfig(PLAIN, gamma=0.9, lambda_=0.6, num_epochs=3, num_minibatches=1)


def table(values: list[list[float]]) -> QNetwork:
    """Action values that stand in a table; the observation is the row."""
    q_values = jnp.asarray(values, jnp.float32)[..., None]
    return MAKE()._replace(apply=lambda params, row, noise: q_values[row])


def targets_of(is_last: list[bool], terminated: list[bool]) -> np.ndarray:
    """Targets of four steps through five rows, [4]; the greatest values are 1 to 5."""
    column = (5, 1)
    rows = Trajectory(
        observation=jnp.arange(5).reshape(column),
        is_first=jnp.zeros(column, bool),
        is_last=jnp.asarray(is_last).reshape(column),
        action=jnp.zeros(column, jnp.int32),
        reward=jnp.array([10.0, 20.0, 30.0, 40.0, 999.0]).reshape(column),
        terminated=jnp.asarray(terminated).reshape(column),
    )
    network = table([[1, 0], [-9, 2], [3, 3], [4, -1], [0, 5]])
    return np.asarray(learning_items(CONFIG, network, (), rows, None).target)


def test_targets_mix_the_greatest_values_and_later_targets():
    got = targets_of([False] * 5, [False] * 5)
    fourth = 40 + 0.9 * 5
    third = 30 + 0.9 * (0.4 * 4 + 0.6 * fourth)
    second = 20 + 0.9 * (0.4 * 3 + 0.6 * third)
    first = 10 + 0.9 * (0.4 * 2 + 0.6 * second)
    np.testing.assert_allclose(got, [first, second, third, fourth], rtol=1e-5)


def test_no_value_follows_a_termination():
    # The second step terminates: row 2 is last, and its own step is none.
    got = targets_of([False, False, True, False, False], [False, True] + [False] * 3)
    fourth, second = 40 + 0.9 * 5, 20.0
    first = 10 + 0.9 * (0.4 * 2 + 0.6 * second)
    np.testing.assert_allclose(got[[0, 1, 3]], [first, second, fourth], rtol=1e-5)


def test_a_truncated_episode_is_worth_its_last_observation_and_nothing_later():
    got = targets_of([False, False, True, False, False], [False] * 5)
    second = 20 + 0.9 * 3
    first = 10 + 0.9 * (0.4 * 2 + 0.6 * second)
    np.testing.assert_allclose(got[:2], [first, second], rtol=1e-5)


@functools.cache
def updated(config: PQNConfig = CONFIG, rows: str = "") -> tuple[PQNState, Any]:
    """The state after one update, and what it reports."""
    agent = config.build(MAKE, 4)
    trajectory = spoil_last_rows(ROWS, seed=1) if rows == "spoilt" else ROWS
    return jax.jit(agent.update)(agent.init(KEY), trajectory, KEY)


def assert_same(got: Any, wanted: Any) -> None:
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)


def test_whole_batch_epochs_are_gradient_steps_towards_targets_that_stay():
    agent, network = CONFIG.build(MAKE, 4), MAKE()
    state = agent.init(KEY)
    params = agent.acting_params(state).params
    items = learning_items(CONFIG, network, params, ROWS, None)
    counts = np.flatnonzero(~np.asarray(ROWS.is_last)[:-1].ravel())

    @jax.jit
    @jax.grad
    def gradient(params):
        q_values = network.apply(params, items.observation[counts], ())
        action = items.action[counts]
        chosen = q_values[np.arange(len(counts)), action, 0]
        return jnp.mean(0.5 * (chosen - items.target[counts]) ** 2)

    optimizer = optax.adam(PLAIN.learning_rate, eps=PLAIN.epsilon)
    opt_state = optimizer.init(params)
    for _ in range(CONFIG.num_epochs):
        deltas, opt_state = optimizer.update(gradient(params), opt_state)
        params = optax.apply_updates(params, deltas)
    got, info = updated()
    assert_same(agent.acting_params(got).params, params)
    assert got.num_updates == 1
    assert info.priority == () and info.metrics["loss"] > 0


def test_what_stands_in_last_rows_changes_no_update():
    assert_same(updated(rows="spoilt"), updated())


@pytest.mark.parametrize("num_devices", [2, 4])
def test_an_update_on_several_devices_equals_one_on_the_whole_batch(num_devices):
    config = dataclasses.replace(CONFIG, num_epochs=1)
    agent = config.build(MAKE, 4, devices.AXIS_NAME)
    update = devices.compile_for(num_devices, agent.update, in_axes=(None, 0, None))
    rows = jax.tree.map(
        lambda x: jnp.stack(jnp.split(x, num_devices, axis=1)), make_rows()
    )
    got, info = update(agent.init(KEY), rows, KEY)
    wanted, expected = updated(config)
    for device in range(num_devices):
        # Adam's first moment after one step is a tenth of the gradient.
        mine = jax.tree.map(lambda x, d=device: x[d], got)
        assert_same(mine.opt_state, wanted.opt_state)
    for name, value in expected.metrics.items():
        np.testing.assert_allclose(info.metrics[name].mean(), value, rtol=1e-4)


def test_random_actions_become_rarer_over_the_run():
    exploration = ExplorationConfig(1.0, 0.2, decay_fraction=0.5)
    config = dataclasses.replace(CONFIG, exploration=exploration)
    agent = config.build(MAKE, 4)
    state = agent.init(KEY)
    shares = [
        float(agent.acting_params(state._replace(num_updates=jnp.int32(n))).epsilon)
        for n in range(4)
    ]
    np.testing.assert_allclose(shares, [1.0, 0.6, 0.2, 0.2], rtol=1e-6)
    assert float(updated(config)[1].metrics["epsilon"]) == 1.0


def test_it_learns_which_of_three_actions_pays_where():
    config = dataclasses.replace(CONFIG, gamma=0.5, num_minibatches=2)
    agent = config.build(MAKE, 40)
    T, B = 9, 16  # noqa: N806

    @jax.jit
    def improve(state: PQNState, key: jax.Array) -> PQNState:
        key_see, key_draw, key_update = jax.random.split(key, 3)
        seen = jax.random.normal(key_see, (T, B, 4))
        zeros, false = jnp.zeros((T, B)), jnp.zeros((T, B), bool)
        acting = agent.acting_params(state)
        chance = jax.vmap(lambda k: agent.draw(k, B))(jax.random.split(key_draw, T))

        def act(observation, noise):
            step = TimeStep(observation, zeros[0], false[0], false[0], false[0])
            return agent.act(acting, (), step, noise)[1]

        action = jax.vmap(act)(seen, chance)
        reward = (action == best(seen)).astype(jnp.float32)
        rows = Trajectory(seen, false, false, action, reward, false)
        return agent.update(state, rows, key_update)[0]

    def best(seen: jax.Array) -> jax.Array:
        return jnp.argmax(seen[..., :3], axis=-1)

    state = agent.init(KEY)
    for number in range(40):
        state = improve(state, jax.random.key(number))
    seen = jax.random.normal(jax.random.key(99), (500, 4))
    false = jnp.zeros(500, bool)
    step = TimeStep(seen, jnp.zeros(500), false, false, false)
    _, action, _ = agent.act(agent.acting_params(state), (), step, None)
    assert (action == best(seen)).mean() > 0.85


def test_a_noisy_network_is_refused():
    make = QNetworkConfig(hidden=(8,), noisy=True).build(SPEC)
    with pytest.raises(ValueError, match="set network.noisy to False"):
        CONFIG.build(make, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": 1.1}, r"gamma must be in \[0, 1\], got 1.1"),
        ({"lambda_": -0.1}, r"lambda_ must be in \[0, 1\], got -0.1"),
        ({"num_epochs": 0}, "num_epochs must be at least 1, got 0"),
        ({"num_minibatches": 0}, "num_minibatches must be at least 1, got 0"),
    ],
)
def test_a_setting_out_of_range_is_refused_when_it_is_made(settings, message):
    with pytest.raises(ValueError, match=message):
        PQNConfig(**settings)
