"""What each wrapper changes, and that it changes nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.environments import wrappers
from jaxrl_dist.environments.base import Environment, Outcome, batch, check_environment
from jaxrl_dist.environments.build import EnvironmentConfig
from jaxrl_dist.environments.gymnax_env import make_gymnax_environment
from jaxrl_dist.types import ArraySpec, DiscreteSpec, EnvironmentSpec
from tests.environments.counting import counting
from tests.environments.random_rollout import random_rows


def echo(num_actions: int = 5) -> Environment:
    """Shows the action that was executed; the reward is ten times it."""

    def reset(key):
        return jnp.zeros(()), -jnp.ones((1, 2), jnp.int32)

    def step(key, state, action):
        shown = jnp.stack([action, action + 100])[None]
        never = jnp.zeros((), bool)
        return state, Outcome(shown, 10.0 * action - 20, never, never)

    spec = ArraySpec((1, 2), jnp.int32, -1, ((9, 109),))
    return Environment(
        EnvironmentSpec("Echo", spec, DiscreteSpec(num_actions)), reset, step
    )


@pytest.mark.parametrize(
    ("name", "hidden"),
    [
        ("CartPole-v1", (1, 3)),
        ("Pendulum-v1", (2,)),
        ("MountainCarContinuous-v0", (1,)),
    ],
)
def test_velocities_and_nothing_else_read_zero(name, hidden):
    plain = make_gymnax_environment(name)
    with jax.disable_jit():  # two compiled programs may differ in their last bit
        rows, _ = random_rows(batch(plain), 5, 2)
        masked, _ = random_rows(batch(wrappers.mask_velocity(plain)), 5, 2)
    expected = np.array(rows.observation)
    assert expected[-1, :, hidden].all()
    expected[..., hidden] = 0
    np.testing.assert_array_equal(masked.observation, expected)


def test_any_index_of_a_vector_can_be_hidden():
    environment = wrappers.mask_velocity(make_gymnax_environment("Acrobot-v1"), [4, 5])
    _, observation = environment.reset(jax.random.key(0))
    assert not observation[4:].any() and observation[:4].any()


@pytest.mark.parametrize(
    ("name", "indices", "message"),
    [
        ("Catch-bsuite", None, "Catch-bsuite is not one of CartPole-v1, Pendulum-v1"),
        ("CartPole-v1", (4,), r"CartPole-v1 has no indices \(4,\)"),
        ("Catch-bsuite", (0,), r"Catch-bsuite has no indices \(0,\)"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(name, indices, message):
    with pytest.raises(ValueError, match=message):
        wrappers.mask_velocity(make_gymnax_environment(name), indices)


def executed_actions(probability: float) -> tuple[np.ndarray, np.ndarray]:
    """Actions executed and asked for, [T, B]."""
    environment = batch(wrappers.sticky_actions(echo(), probability))
    rows, actions = random_rows(environment, 500, 8)
    return np.asarray(rows.observation[1:, :, 0, 0]), np.asarray(actions)


def test_actions_stick_as_often_as_they_should():
    executed, asked = executed_actions(0.25)
    before = np.concatenate([np.zeros((1, 8)), executed[:-1]])
    differs = before != asked
    stuck = executed[differs] == before[differs]
    assert (stuck | (executed[differs] == asked[differs])).all()
    assert 0.22 < stuck.mean() < 0.28  # 3200 draws: four deviations are 0.03


def test_actions_stick_always_or_never_at_the_ends_of_the_range():
    executed, _ = executed_actions(1.0)
    assert not executed.any()
    executed, asked = executed_actions(0.0)
    np.testing.assert_array_equal(executed, asked)


def test_continuous_actions_stick_too():
    pendulum = make_gymnax_environment("Pendulum-v1")
    stuck = wrappers.sticky_actions(pendulum, 1.0)
    check_environment(stuck)
    state, _ = stuck.reset(jax.random.key(0))
    key = jax.random.key(1)
    _, outcome = stuck.step(key, state, jnp.ones(1))
    _, still = pendulum.step(key, state.inner, jnp.zeros(1))
    np.testing.assert_array_equal(outcome.observation, still.observation)


def test_frames_are_joined_oldest_first_and_begin_repeated():
    rows, _ = random_rows(batch(wrappers.frame_stack(counting(3), 3)), 5, 2)
    frames = rows.observation[:, 0]
    expected = [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3], [0, 0, 0], [0, 0, 1]]
    np.testing.assert_array_equal(frames, expected)


def test_stacked_images_keep_their_type_and_bounds():
    stacked = wrappers.frame_stack(make_gymnax_environment("Breakout-MinAtar"), 4)
    spec = ArraySpec((10, 10, 16), np.dtype(np.uint8), 0.0, 1.0)
    assert stacked.spec.observation == spec
    check_environment(stacked)
    wide = wrappers.frame_stack(echo(), 2)
    check_environment(wide)
    assert wide.spec.observation.high == ((9.0, 109.0, 9.0, 109.0),)


def test_rewards_are_clipped():
    rows, actions = random_rows(batch(wrappers.clip_rewards(echo())), 50, 2)
    np.testing.assert_array_equal(rows.reward[1:], np.clip(10 * actions - 20, -1, 1))


def test_the_time_limit_truncates_but_never_hides_a_termination():
    rows, _ = random_rows(batch(wrappers.time_limit(counting(9), 3)), 4, 2)
    assert rows.is_last[3].all() and not rows.terminated.any()
    limited = wrappers.time_limit(counting(1), 1)
    key = jax.random.key(0)
    state, _ = limited.reset(key)
    _, outcome = limited.step(key, state, jnp.int32(0))
    assert outcome.terminated and not outcome.truncated
    rows, _ = random_rows(batch(wrappers.time_limit(counting(2, False), 3)), 4, 2)
    assert rows.is_last[2].all()


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (lambda x: wrappers.sticky_actions(x, 1.5), "sticky_action_probability"),
        (lambda x: wrappers.frame_stack(x, 0), "frame_stack must be at least 1, got 0"),
        (lambda x: wrappers.clip_rewards(x, 1, 1), "high must be above 1, got 1"),
        (lambda x: wrappers.time_limit(x, 0), "max_steps must be at least 1, got 0"),
    ],
)
def test_a_wrapper_names_the_setting_that_is_out_of_range(wrap, message):
    with pytest.raises(ValueError, match=message):
        wrap(counting())


def test_settings_choose_the_wrappers_and_all_of_them_go_together():
    config = EnvironmentConfig(
        "CartPole-v1",
        sticky_action_probability=0.1,
        frame_stack=2,
        mask_velocity=True,
        clip_rewards=True,
        max_steps=5,
    )
    environment = config.build_single()
    check_environment(environment)
    assert environment.spec.observation.shape == (8,)
    rows, _ = random_rows(batch(environment), 6, 3)
    assert rows.is_last[5].all() and not rows.observation[..., (1, 3, 5, 7)].any()
    assert rows.observation.any()


def test_wrappers_pass_on_what_can_be_observed_of_a_state():
    plain = make_gymnax_environment("CartPole-v1")
    for environment in (
        wrappers.mask_velocity(plain),
        wrappers.sticky_actions(plain, 0.5),
        wrappers.frame_stack(plain, 2),
        wrappers.time_limit(plain, 3),
        wrappers.clip_rewards(plain),
    ):
        assert environment.observe is not None
        state, observation = environment.reset(jax.random.key(0))
        np.testing.assert_array_equal(environment.observe(state), observation)
