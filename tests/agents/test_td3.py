"""TD3 against targets computed by hand; its actor is delayed, its targets smoothed."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.agents.base import n_step_transitions
from jaxrl_dist.agents.flat import layout_of
from jaxrl_dist.agents.td3 import TD3Config, td3_objective
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
CONFIG = TD3Config(
    PLAIN,
    PLAIN,
    gamma=GAMMA,
    target_step_size=0.1,
    smoothing_std=0.5,
    smoothing_clip=0.3,
)
PARTS = compiled_parts(NETWORK.build(CONTINUOUS)("deterministic"))
SHAPES = jax.eval_shape(td3_objective(PARTS, CONFIG).init, KEY)
ACTOR, CRITICS = (layout_of(x).unravel for x in SHAPES)


@functools.cache
def build(config: TD3Config = CONFIG):
    agent = compiled(with_gradients(config.build(NETWORK.build(CONTINUOUS), 10)))
    state = agent.init(jax.random.key(0))
    # Target networks of their own, as they are after some updates.
    return agent, state._replace(target=agent.init(jax.random.key(1)).params)


@pytest.mark.parametrize("n_step", [1, 3])
def test_errors_match_targets_computed_by_hand(n_step):
    agent, state = build(dataclasses.replace(CONFIG, n_step=n_step))
    sample = make_sample(n_step + 1)
    _, info = agent.update(state, sample, KEY)

    observation, action = sample.trajectory.observation, sample.trajectory.action
    noise = 0.5 * np.asarray(jax.random.normal(KEY, (4, 2)))
    assert (np.abs(noise) > 0.3).any(), "some noise is clipped"
    policy = ACTOR(state.target.actor).policy
    smoothed = np.asarray(PARTS.policy(policy, observation)) + np.clip(noise, -0.3, 0.3)
    next_action = jnp.asarray(np.clip(smoothed, -1.0, 1.0))
    q_values = PARTS.q_values(CRITICS(state.target.critics), observation, next_action)
    values = np.asarray(q_values.min(axis=-1))

    center, half_range = (LOW + HIGH) / 2, (HIGH - LOW) / 2
    unit = jnp.asarray((np.asarray(action[0]) - center) / half_range)
    predicted = np.asarray(
        PARTS.q_values(CRITICS(state.params.critics), observation[0], unit)
    )
    errors = targets_by_hand(sample, values)[:, None] - predicted[:3]
    np.testing.assert_allclose(
        info.priority, [*np.abs(errors).mean(axis=1), 0.0], rtol=1e-4
    )


def test_actor_and_targets_move_in_every_second_update_alone():
    agent, state = build()
    moved, count = [], None
    for _ in range(4):
        before, (state, _) = state, agent.update(state, make_sample(2), KEY)
        parts = [(before.params.actor, state.params.actor)]
        parts += zip(before.target, state.target, strict=True)
        parts += [(before.params.critics, state.params.critics)]
        moved.append([not np.array_equal(*pair) for pair in parts])
        count = [x for x in jax.tree.leaves(state.opt_state.actor) if x.ndim == 0]
    late, now = [False, False, False, True], [True, True, True, True]
    assert moved == [late, now, late, now]
    assert count == [2]  # optimizer steps of the actor


def test_actor_climbs_the_value_of_the_first_critic():
    agent, state = build(dataclasses.replace(CONFIG, actor_period_updates=1))
    sample = make_sample(2)
    grads, info = agent.gradients(state, sample, KEY)
    steps = n_step_transitions(sample.trajectory, GAMMA)
    critics = CRITICS(state.params.critics)

    def loss(flat: jax.Array) -> jax.Array:
        """Equation 7 of Silver et al. 2014, over those rows that are steps."""
        action = PARTS.policy(ACTOR(flat).policy, steps.observation)
        values = PARTS.q_values(critics, steps.observation, action)[:3, 0]
        return -values.mean()

    direction = jax.random.normal(jax.random.key(5), state.params.actor.shape)
    ahead, behind = (
        loss(state.params.actor + size * direction) for size in (1e-2, -1e-2)
    )
    np.testing.assert_allclose(
        jnp.vdot(grads.actor, direction), (ahead - behind) / 2e-2, rtol=1e-2
    )
    np.testing.assert_allclose(
        info.metrics["policy_loss"], loss(state.params.actor), rtol=1e-5
    )


def test_reported_policy_loss_is_right_on_average_over_a_period():
    sample = make_sample(2)
    agent, state = build(dataclasses.replace(CONFIG, actor_period_updates=3))
    reported = []
    for number in range(3):
        _, info = agent.gradients(
            state._replace(num_updates=jnp.int32(number)), sample, KEY
        )
        reported.append(float(info.metrics["policy_loss"]))
    assert reported[:2] == [0.0, 0.0]
    agent, state = build(dataclasses.replace(CONFIG, actor_period_updates=1))
    _, info = agent.gradients(state, sample, KEY)
    np.testing.assert_allclose(
        np.mean(reported), info.metrics["policy_loss"], rtol=1e-5
    )


def test_discrete_actions_are_refused_in_one_line():
    with pytest.raises(ValueError, match="Discrete has discrete actions") as error:
        CONFIG.build(NETWORK.build(DISCRETE), 10)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_step": 0}, "n_step must be at least 1"),
        ({"actor_period_updates": 0}, "actor_period_updates must be at least 1"),
        ({"exploration_std": -0.1}, "exploration_std must be at least 0"),
        ({"smoothing_std": -0.1}, "smoothing_std must be at least 0"),
        ({"smoothing_clip": -0.1}, "smoothing_clip must be at least 0"),
        ({"noise_correlation_steps": -1.0}, "noise_correlation_steps must be at"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        TD3Config(**settings)
