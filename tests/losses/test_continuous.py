"""SAC, TD3 and deterministic gradients, worked by hand."""

# Losses take NumPy arrays as well, and here settings come in dictionaries.
# pyright: reportArgumentType=false

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist import losses

STEPS = {
    "rewards": np.array([1.0, -2.0]),
    "discounts": np.array([0.9, 0.0]),
    "next_q_values": np.array([[3.0, 2.0, 5.0], [1.0, 8.0, 0.0]]),
}


def test_sac_bootstraps_from_the_least_critic_and_the_entropy():
    got = losses.sac_critic_targets(
        **STEPS, next_log_probs=np.array([-1.5, 4.0]), temperature=0.2
    )
    np.testing.assert_allclose(got, [1 + 0.9 * (2 + 0.3), -2.0], rtol=1e-6)


def test_the_sac_actor_trades_value_for_entropy():
    got = losses.sac_actor_loss(
        q_values=STEPS["next_q_values"],
        log_probs=np.array([-1.5, 4.0]),
        temperature=0.2,
    )
    np.testing.assert_allclose(got, [-0.3 - 2.0, 0.8 - 0.0], rtol=1e-6)


def test_the_actor_s_gradient_comes_from_the_least_critic_alone():
    def loss(q_values):
        return losses.sac_actor_loss(
            q_values=q_values, log_probs=jnp.zeros(2), temperature=0.2
        ).sum()

    got = jax.grad(loss)(jnp.asarray(STEPS["next_q_values"]))
    np.testing.assert_array_equal(got, [[0, -1, 0], [0, 0, -1]])


def test_the_temperature_rises_while_the_entropy_is_below_its_target():
    def loss(log_temperature, log_prob):
        return losses.sac_temperature_loss(
            log_temperature=log_temperature,
            log_probs=jnp.array([log_prob]),
            target_entropy=-2.0,
        )[0]

    np.testing.assert_allclose(loss(np.log(0.5), 5.0), 0.5 * (-5.0 + 2.0), rtol=1e-6)
    assert jax.grad(loss)(0.0, 3.0) < 0  # entropy -3 is below -2: descent raises it
    assert jax.grad(loss)(0.0, 1.0) > 0


def test_the_target_entropy_is_minus_the_number_of_action_dimensions():
    assert losses.sac_target_entropy((3, 2)) == -6
    assert losses.sac_target_entropy((1,)) == -1
    with pytest.raises(ValueError, match="action_shape must be at least 1, got 0"):
        losses.sac_target_entropy((0,))


def test_td3_bootstraps_from_the_least_critic():
    got = losses.td3_critic_targets(**STEPS)
    np.testing.assert_allclose(got, [1 + 0.9 * 2, -2.0], rtol=1e-6)


def test_smoothing_clips_the_noise_and_then_the_action():
    given = {
        "actions": np.array([[0.0, 0.9, -0.9, 0.1, 0.2]]),
        "noise": np.array([[1.0, 9.0, -9.0, -2.0, -9.0]]),
    }
    got = losses.td3_smoothed_actions(**given)
    np.testing.assert_allclose(got, [[0.2, 1.0, -1.0, -0.3, -0.3]], rtol=1e-6)
    got = losses.td3_smoothed_actions(
        **given,
        noise_scale=0.1,
        noise_clip=0.3,
        low=-2.0,
        high=np.array([2.0, 2.0, 2.0, -0.2, 2.0]),
    )
    np.testing.assert_allclose(got, [[0.1, 1.2, -1.2, -0.2, -0.1]], rtol=1e-6)


def test_bounds_of_another_size_are_refused():
    for name in ("low", "high"):
        with pytest.raises(ValueError, match=rf"{name} has shape \(3,\), expected"):
            losses.td3_smoothed_actions(
                actions=np.ones((2, 4)), noise=np.ones((2, 4)), **{name: np.ones(3)}
            )


def test_the_deterministic_policy_gradient_is_that_of_the_critic():
    def critic(action):
        return -((action - 1.0) ** 2).sum(-1)

    actions = jnp.array([[0.5, 2.0], [1.0, -3.0]])
    slopes = jax.vmap(jax.grad(critic))(actions)

    def loss(actions):
        return losses.deterministic_policy_gradient_loss(
            actions=actions, action_gradients=slopes
        ).sum()

    got = jax.grad(loss)(actions)
    np.testing.assert_allclose(got, jax.grad(lambda a: -critic(a).sum())(actions))


def test_long_action_gradients_are_scaled_down_and_short_ones_are_not():
    def loss(actions):
        return losses.deterministic_policy_gradient_loss(
            actions=actions,
            action_gradients=jnp.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]]),
            max_norm=2.0,
        )

    got = jax.grad(lambda actions: loss(actions).sum())(jnp.ones((3, 2)))
    np.testing.assert_allclose(got, [[-1.2, -1.6], [-0.3, -0.4], [0, 0]], rtol=1e-6)
    np.testing.assert_allclose(loss(jnp.ones((3, 2))), [-2.8, -0.7, 0], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("sac_critic_targets", {"temperature": -1.0}, "temperature must be at least 0"),
        ("sac_critic_targets", {"temperature": np.ones(2)}, "temperature has shape"),
        ("sac_actor_loss", {"temperature": -1.0}, "temperature must be at least 0"),
        ("sac_actor_loss", {"temperature": np.ones(2)}, "temperature has shape"),
        (
            "sac_temperature_loss",
            {"log_temperature": np.ones(2)},
            "log_temperature has",
        ),
        ("td3_smoothed_actions", {"noise_scale": -1.0}, "noise_scale must be at least"),
        ("td3_smoothed_actions", {"noise_clip": -1.0}, "noise_clip must be at least 0"),
        ("deterministic_policy_gradient_loss", {"max_norm": 0.0}, "max_norm must be"),
        (
            "td3_critic_targets",
            {"next_q_values": np.ones((2, 0))},
            r"next_q_values has shape \(2, 0\), expected \(2, 1\)",
        ),
        (
            "td3_critic_targets",
            {"next_q_values": np.ones(())},
            "next_q_values must have at least 1 axes",
        ),
    ],
)
def test_wrong_settings_are_refused(name, changes, message):
    given = {
        "sac_critic_targets": {**STEPS, "next_log_probs": np.ones(2), "temperature": 1},
        "sac_actor_loss": {
            "q_values": np.ones((2, 2)),
            "log_probs": np.ones(2),
            "temperature": 1.0,
        },
        "sac_temperature_loss": {
            "log_temperature": np.ones(()),
            "log_probs": np.ones(2),
            "target_entropy": -1.0,
        },
        "td3_smoothed_actions": {"actions": np.ones((2, 3)), "noise": np.ones((2, 3))},
        "td3_critic_targets": STEPS,
        "deterministic_policy_gradient_loss": {
            "actions": np.ones((2, 3)),
            "action_gradients": np.ones((2, 3)),
        },
    }[name]
    with pytest.raises(ValueError, match=message):
        getattr(losses, name)(**given | changes)
