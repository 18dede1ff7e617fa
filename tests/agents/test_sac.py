"""SAC against targets computed by hand, and where its gradients go."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.agents.base import n_step_transitions
from jaxrl_dist.agents.flat import layout_of
from jaxrl_dist.agents.policy_and_critics import PolicyAndCriticsState
from jaxrl_dist.agents.sac import SACConfig, sac_objective
from tests.agents.sequences import (
    CONTINUOUS,
    DISCRETE,
    GAMMA,
    HIGH,
    LOW,
    NETWORK,
    PLAIN,
    compiled,
    compiled_parts,
    make_sample,
    targets_by_hand,
    with_gradients,
)

KEY = jax.random.key(3)
CONFIG = SACConfig(
    PLAIN, PLAIN, gamma=GAMMA, target_step_size=0.1, initial_temperature=0.3
)
PARTS = compiled_parts(NETWORK.build(CONTINUOUS)("tanh_gaussian"))
OBJECTIVE = sac_objective(PARTS, CONFIG)
SHAPES = jax.eval_shape(OBJECTIVE.init, KEY)


@functools.cache
def build(config: SACConfig = CONFIG):
    agent = compiled(with_gradients(config.build(NETWORK.build(CONTINUOUS), 10)))
    state = agent.init(jax.random.key(0))
    # Target critics of their own, as they are after some updates.
    other = agent.init(jax.random.key(1)).params.critics
    return agent, state._replace(target=state.target._replace(critics=other))


def trees(state: PolicyAndCriticsState):
    """The policy's and the critics' parameters, and the target critics'."""
    actor, critics = (layout_of(x).unravel for x in SHAPES)
    return (
        actor(state.params.actor).policy,
        critics(state.params.critics),
        critics(state.target.critics),
    )


def temperature(state: PolicyAndCriticsState) -> jax.Array:
    return jnp.exp(layout_of(SHAPES.actor).unravel(state.params.actor).log_temperature)


@pytest.mark.parametrize("n_step", [1, 3])
def test_errors_match_targets_computed_by_hand(n_step):
    agent, state = build(dataclasses.replace(CONFIG, n_step=n_step))
    assert agent.sequence_length == n_step + 1
    sample = make_sample(n_step + 1)
    _, info = agent.update(state, sample, KEY)

    policy, critics, target_critics = trees(state)
    observation, action = sample.trajectory.observation, sample.trajectory.action
    # Both halves of the noise are drawn at once; the first is for the states reached.
    noise = jax.random.normal(KEY, (2, 4, 2))[0]
    drawn = jnp.broadcast_to(noise, (n_step + 1, 4, 2))
    distribution = PARTS.policy(policy, observation)
    next_action, log_probs = distribution.sample_with_log_prob(drawn)
    q_values = PARTS.q_values(target_critics, observation, next_action)
    values = np.asarray(q_values.min(axis=-1) - 0.3 * log_probs)

    center, half_range = (LOW + HIGH) / 2, (HIGH - LOW) / 2
    unit = (np.asarray(action[0]) - center) / half_range
    predicted = np.asarray(PARTS.q_values(critics, observation[0], jnp.asarray(unit)))
    errors = targets_by_hand(sample, values)[:, None] - predicted[:3]
    np.testing.assert_allclose(
        info.priority, [*np.abs(errors).mean(axis=1), 0.0], rtol=1e-4
    )


def test_importance_weights_scale_what_critics_learn_and_not_the_policy():
    agent, state = build()
    sample = make_sample(2)
    grads, _ = agent.gradients(state, sample, KEY)
    louder = sample._replace(weight=10.0 * sample.weight)
    others, _ = agent.gradients(state, louder, KEY)
    np.testing.assert_allclose(others.critics, 10.0 * grads.critics, rtol=1e-4)
    np.testing.assert_array_equal(others.actor, grads.actor)


def test_actor_gradient_is_that_of_its_loss_by_finite_differences():
    agent, state = build()
    sample = make_sample(2)
    grads, _ = agent.gradients(state, sample, KEY)
    steps = n_step_transitions(sample.trajectory, GAMMA)
    noise = OBJECTIVE.noise(KEY, steps)[1]
    actor_layout, (_, critics, _) = layout_of(SHAPES.actor), trees(state)

    def loss(flat: jax.Array) -> jax.Array:
        """Equation 7 of the paper, over those rows that are steps."""
        policy = actor_layout.unravel(flat).policy
        distribution = PARTS.policy(policy, steps.observation)
        action, log_probs = distribution.sample_with_log_prob(noise)
        least = PARTS.q_values(critics, steps.observation, action).min(axis=-1)
        return (0.3 * log_probs - least)[:3].mean()

    direction = jax.random.normal(jax.random.key(5), state.params.actor.shape)
    # The temperature, the last number, has a loss of its own.
    direction = direction.at[-1].set(0.0)
    ahead, behind = (
        loss(state.params.actor + size * direction) for size in (1e-2, -1e-2)
    )
    np.testing.assert_allclose(
        jnp.vdot(grads.actor, direction), (ahead - behind) / 2e-2, rtol=1e-2
    )


@pytest.mark.parametrize(("log_std", "sign"), [(0.0, -1), (-9.0, 1)])
def test_temperature_rises_while_entropy_is_below_its_target(log_std, sign):
    agent, state = build()
    layout = layout_of(SHAPES.actor)
    actor = layout.unravel(state.params.actor)
    head = actor.policy["params"]["head"]["GaussianHead_0"]["log_std"]
    head["bias"] = jnp.full(2, log_std)
    state = state._replace(params=state.params._replace(actor=layout.ravel(actor)))
    after, info = agent.update(state, make_sample(2), KEY)
    assert sign * (info.metrics["entropy"] - -2.0) < 0  # the target of two numbers
    assert sign * (temperature(after) - temperature(state)) > 0


def test_temperature_stays_where_it_is_not_learned():
    agent, state = build(dataclasses.replace(CONFIG, learn_temperature=False))
    after, info = agent.update(state, make_sample(2), KEY)
    assert temperature(after) == temperature(state)
    np.testing.assert_allclose(info.metrics["temperature"], 0.3, rtol=1e-6)
    assert not np.array_equal(after.params.actor, state.params.actor)


def test_entropy_is_that_of_actions_in_units_of_half_their_range():
    agent, state = build()
    sample = make_sample(2)
    _, info = agent.update(state, sample, KEY)
    policy, _, _ = trees(state)
    distribution = PARTS.policy(policy, sample.trajectory.observation[0])
    assert (distribution.low, distribution.high) == ((-1.0, -1.0), (1.0, 1.0))
    _, log_probs = distribution.sample_with_log_prob(
        jax.random.normal(KEY, (2, 4, 2))[1]
    )
    np.testing.assert_allclose(
        info.metrics["entropy"], -log_probs[:3].mean(), rtol=1e-5
    )


def test_discrete_actions_are_refused_in_one_line():
    with pytest.raises(ValueError, match="Discrete has discrete actions") as error:
        CONFIG.build(NETWORK.build(DISCRETE), 10)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_step": 0}, "n_step must be at least 1"),
        ({"gamma": 1.1}, r"gamma must be in \[0, 1\]"),
        ({"target_step_size": 0.0}, "target_step_size must be above 0"),
        ({"initial_temperature": 0.0}, "initial_temperature must be above 0"),
        ({"noise_correlation_steps": -1.0}, "noise_correlation_steps must be at"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        SACConfig(**settings)
