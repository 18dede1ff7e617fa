"""Discrete SAC against targets and losses computed by hand."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.agents.discrete_sac import DiscreteSACConfig, discrete_sac_objective
from jaxrl_dist.agents.flat import layout_of
from jaxrl_dist.agents.policy_and_critics import ActingParams
from jaxrl_dist.types import TimeStep
from tests.agents.sequences import (
    ACTIONS,
    CONTINUOUS,
    DISCRETE,
    FEATURES,
    GAMMA,
    NETWORK,
    PLAIN,
    GradientAgent,
    compiled,
    compiled_parts,
    make_sample,
    targets_by_hand,
    with_gradients,
)

KEY = jax.random.key(3)
TEMPERATURE = 0.3
CONFIG = DiscreteSACConfig(PLAIN, PLAIN, gamma=GAMMA, initial_temperature=TEMPERATURE)
PARTS = compiled_parts(NETWORK.build(DISCRETE)("categorical"))
SHAPES = jax.eval_shape(discrete_sac_objective(PARTS, CONFIG).init, KEY)
ACTOR, CRITICS = (layout_of(x).unravel for x in SHAPES)


@functools.cache
def build(config: DiscreteSACConfig = CONFIG) -> tuple:
    network = NETWORK.build(DISCRETE)
    agent = compiled(with_gradients(config.build(network, 10)))
    state = agent.init(jax.random.key(0))
    # Target critics of their own, as they are after some updates.
    other = agent.init(jax.random.key(1)).params.critics
    return agent, state._replace(target=state.target._replace(critics=other))


def probabilities(state, observation: jax.Array) -> np.ndarray:
    logits = PARTS.policy(ACTOR(state.params.actor).policy, observation).logits
    powers = np.exp(np.asarray(logits, np.float64))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("n_step", [1, 3])
def test_errors_match_targets_computed_by_hand(n_step):
    agent, state = build(dataclasses.replace(CONFIG, n_step=n_step))
    sample = make_sample(n_step + 1, discrete=True)
    _, info = agent.update(state, sample, KEY)
    observation, action = sample.trajectory.observation, sample.trajectory.action
    chances = probabilities(state, observation)
    q_values = PARTS.q_values(CRITICS(state.target.critics), observation)
    soft = np.asarray(q_values).min(axis=-1) - TEMPERATURE * np.log(chances)
    values = (chances * soft).sum(axis=-1)
    predicted = np.asarray(PARTS.q_values(CRITICS(state.params.critics), observation))
    chosen = predicted[0][np.arange(3), np.asarray(action)[0, :3]]
    errors = targets_by_hand(sample, values)[:, None] - chosen
    np.testing.assert_allclose(
        info.priority, [*np.abs(errors).mean(axis=1), 0.0], rtol=1e-4
    )


def test_policy_loss_is_an_exact_mean_over_actions():
    agent, state = build()
    sample = make_sample(2, discrete=True)
    _, info = agent.update(state, sample, KEY)
    observation = sample.trajectory.observation[0]
    chances = probabilities(state, observation)
    q_values = PARTS.q_values(CRITICS(state.params.critics), observation)
    least = np.asarray(q_values).min(axis=-1)
    expected = (chances * (TEMPERATURE * np.log(chances) - least)).sum(axis=-1)
    np.testing.assert_allclose(
        info.metrics["policy_loss"], expected[:3].mean(), rtol=1e-4
    )


def test_actor_gradient_is_that_of_its_loss_by_finite_differences():
    agent, state = build(dataclasses.replace(CONFIG, learn_temperature=False))
    sample = make_sample(2, discrete=True)
    grads, _ = agent.gradients(state, sample, KEY)
    assert grads.actor[-1] == 0.0  # of the temperature
    direction = jax.random.normal(jax.random.key(5), state.params.actor.shape)
    direction = direction.at[-1].set(0.0)

    def loss(size: float) -> float:
        actor = state.params.actor + size * direction
        moved = state._replace(params=state.params._replace(actor=actor))
        return agent.gradients(moved, sample, KEY)[1].metrics["policy_loss"]

    slope = (loss(1e-2) - loss(-1e-2)) / 2e-2
    np.testing.assert_allclose(jnp.vdot(grads.actor, direction), slope, rtol=1e-2)


@pytest.mark.parametrize(("scale", "sign"), [(0.0, -1), (1e3, 1)])
def test_temperature_rises_while_entropy_is_below_its_target(scale, sign):
    agent, state = build()
    # All of the policy's parameters: at 0 it is uniform, far from 0 nearly certain.
    actor = state.params.actor.at[:-1].multiply(scale)
    state = state._replace(params=state.params._replace(actor=actor))
    after, info = agent.update(state, make_sample(2, discrete=True), KEY)
    target = 0.98 * math.log(ACTIONS)
    assert sign * (info.metrics["entropy"] - target) < 0
    assert sign * (after.params.actor[-1] - state.params.actor[-1]) > 0


def seen(batch_size: int) -> TimeStep:
    flags = jnp.zeros(batch_size, bool)
    observation = jax.random.normal(KEY, (batch_size, FEATURES))
    return TimeStep(observation, jnp.zeros(batch_size), flags, flags, flags)


def acting(agent: GradientAgent, state, num_updates: int) -> ActingParams:
    """Parameters that nearly always take the same action."""
    policy = jax.tree.map(lambda x: 1e3 * x, agent.acting_params(state).policy)
    return ActingParams(policy, jnp.int32(num_updates))


def test_actions_are_random_until_the_first_update_and_then_the_policys():
    agent, state = build()
    time_step = seen(4000)
    noise = agent.draw(KEY, 4000)
    _, first, extras = agent.act(acting(agent, state, 0), (), time_step, noise)
    assert extras == ()
    assert first.dtype == jnp.int32
    shares = np.bincount(first, minlength=ACTIONS) / 4000
    np.testing.assert_allclose(shares, 1 / ACTIONS, atol=0.03)
    _, greedy, _ = agent.act(acting(agent, state, 0), (), time_step, None)
    _, later, _ = agent.act(acting(agent, state, 1), (), time_step, noise)
    assert np.mean(np.asarray(later) == greedy) > 0.9
    assert np.mean(np.asarray(first) == greedy) < 0.5


def test_continuous_actions_are_refused_in_one_line():
    with pytest.raises(ValueError, match="Continuous has continuous") as error:
        CONFIG.build(NETWORK.build(CONTINUOUS), 10)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_step": 0}, "n_step must be at least 1"),
        ({"initial_temperature": 0.0}, "initial_temperature must be above 0"),
        ({"target_entropy_share": 1.1}, r"target_entropy_share must be in \[0, 1\]"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        DiscreteSACConfig(**settings)
