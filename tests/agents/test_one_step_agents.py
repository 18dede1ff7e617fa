"""A2C and IMPALA: one gradient step whose loss is written out by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl_dist.agents.a2c import A2CConfig
from jaxrl_dist.agents.actor_critic import ActorCriticState
from jaxrl_dist.agents.impala import IMPALAConfig
from jaxrl_dist.networks.distributions import Categorical
from jaxrl_dist.types import Params, Trajectory
from tests.agents.small import PLAIN, make_network, make_rows

NETWORK = make_network()
ROWS = make_rows()
KEY = jax.random.key(5)
A2C = A2CConfig(PLAIN, gamma=0.9, lambda_=0.8, entropy_weight=0.1)
IMPALA = IMPALAConfig(
    PLAIN, gamma=0.9, lambda_=0.8, clip_rho=1.2, clip_c=0.7, clip_pg_rho=2.0
)


def gradients(
    config: A2CConfig | IMPALAConfig, rows: Trajectory = ROWS
) -> tuple[Params, dict[str, jax.Array]]:
    """The gradients of a fresh agent, and its metrics."""
    agent = config.build(NETWORK, 1)
    assert agent.gradients is not None
    grads, info = jax.jit(agent.gradients)(agent.init(KEY), rows, KEY)
    return grads, info.metrics


def assert_close(got: Params, wanted: Params, rtol: float = 1e-4) -> None:
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-6)


def estimates_by_hand(
    values: np.ndarray, ratios: np.ndarray, config: A2CConfig | IMPALAConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Value targets and advantages [T, B]: V-trace, which is GAE with caps of 1."""
    caps = (1.0, 1.0, 1.0)
    if isinstance(config, IMPALAConfig):
        caps = config.clip_rho, config.clip_c, config.clip_pg_rho
    rows = jax.tree.map(np.asarray, ROWS)
    targets, advantages = values[:-1].copy(), np.zeros(values[:-1].shape)
    for b in range(values.shape[1]):
        later = 0.0
        for t in reversed(range(len(values) - 1)):
            if rows.is_last[t, b]:
                continue
            if rows.is_last[t + 1, b]:
                later = 0.0
            rho, c, pg_rho = (min(cap, ratios[t, b]) for cap in caps)
            discount = 0.0 if rows.terminated[t, b] else config.gamma
            error = rows.reward[t, b] + discount * values[t + 1, b] - values[t, b]
            carried = discount * config.lambda_ * later
            advantages[t, b] = pg_rho * (error + carried)
            later = rho * error + c * carried
            targets[t, b] = values[t, b] + later
    return targets, advantages


def gradients_by_hand(config: A2CConfig | IMPALAConfig) -> Params:
    """The gradient of the loss over the steps that count, picked out one by one."""
    params = config.build(NETWORK, 1).init(KEY).params
    steps = np.nonzero(~np.asarray(ROWS.is_last)[:-1])
    action = ROWS.action[steps][:, None]

    def chosen(logits: jax.Array) -> jax.Array:
        log_probs = jax.nn.log_softmax(logits)[steps]
        return jnp.take_along_axis(log_probs, action, axis=1)[:, 0]

    _, policy, values = NETWORK.unroll(params, (), ROWS.observation, ROWS.is_first)
    ratios = np.ones(ROWS.reward.shape)
    if isinstance(config, IMPALAConfig) and config.correct:
        ratios[steps] = np.exp(chosen(policy.logits) - chosen(ROWS.extras.logits))
    targets, advantages = estimates_by_hand(np.asarray(values), ratios, config)

    def loss(params: Params) -> jax.Array:
        _, policy, values = NETWORK.unroll(params, (), ROWS.observation, ROWS.is_first)
        log_probs = jax.nn.log_softmax(policy.logits)[steps]
        entropy = -(jnp.exp(log_probs) * log_probs).sum(-1).mean()
        policy_loss = -(chosen(policy.logits) * jnp.asarray(advantages[steps])).mean()
        errors = values[steps] - jnp.asarray(targets[steps])
        value_loss = 0.5 * jnp.square(errors).mean()
        loss = policy_loss + config.value_weight * value_loss
        return loss - config.entropy_weight * entropy

    return jax.jit(jax.grad(loss))(params)


@pytest.mark.parametrize(
    "config", [A2C, IMPALA, dataclasses.replace(IMPALA, correct=False)]
)
def test_gradients_are_those_of_the_loss_written_by_hand(config):
    if isinstance(config, IMPALAConfig) and not config.correct:
        config = dataclasses.replace(config, clip_rho=1.0, clip_c=1.0, clip_pg_rho=1.0)
    assert_close(gradients(config)[0], gradients_by_hand(config))


def test_an_update_applies_its_gradients_and_counts():
    agent = A2C.build(NETWORK, 1)
    assert agent.apply_gradients is not None
    state = agent.init(KEY)
    grads, metrics = gradients(A2C)
    updated, info = jax.jit(agent.update)(state, ROWS, KEY)
    applied = jax.jit(agent.apply_gradients)(state, grads)
    assert_close(updated.params, applied.params, rtol=1e-6)
    assert isinstance(updated, ActorCriticState) and updated.num_updates == 1
    norm = optax.tree.norm(grads)
    np.testing.assert_allclose(info.metrics["gradient_norm"], norm, rtol=1e-5)
    np.testing.assert_allclose(metrics["gradient_norm"], norm, rtol=1e-5)


def on_policy(rows: Trajectory) -> Trajectory:
    """Rows as if a fresh IMPALA agent itself had acted in them."""
    params = IMPALA.build(NETWORK, 1).init(KEY).params
    flat = rows.observation.reshape(-1, rows.observation.shape[-1])
    _, distribution = NETWORK.act(params, (), flat, rows.is_first.ravel())
    logits = distribution.logits.reshape(*rows.reward.shape, -1)
    return rows._replace(extras=Categorical(logits))


def test_with_fresh_actors_the_correction_changes_nothing():
    config = dataclasses.replace(IMPALA, clip_rho=1.001, clip_c=1.0, clip_pg_rho=1.0)
    rows = on_policy(ROWS)
    corrected, metrics = gradients(config, rows)
    assert metrics["clipped_ratio_share"] == 0.0
    assert_close(
        corrected, gradients(dataclasses.replace(config, correct=False), rows)[0]
    )


def test_with_stale_actors_the_correction_matters():
    plain = dataclasses.replace(IMPALA, correct=False)
    corrected, metrics = gradients(IMPALA)
    assert metrics["clipped_ratio_share"] > 0.05
    with pytest.raises(AssertionError):
        assert_close(corrected, gradients(plain)[0], rtol=0.05)


def test_impala_with_fresh_actors_is_a2c():
    rows = on_policy(ROWS)
    impala = IMPALAConfig(PLAIN, gamma=0.9, lambda_=0.8, entropy_weight=0.1)
    assert_close(gradients(impala, rows)[0], gradients(A2C, rows)[0])


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (A2CConfig, {"gamma": -0.1}, r"gamma must be in \[0, 1\], got -0.1"),
        (A2CConfig, {"lambda_": 2.0}, r"lambda_ must be in \[0, 1\], got 2.0"),
        (A2CConfig, {"value_weight": -1.0}, "value_weight must be at least 0, got"),
        (IMPALAConfig, {"gamma": 1.5}, r"gamma must be in \[0, 1\], got 1.5"),
        (IMPALAConfig, {"clip_rho": -1.0}, "clip_rho must be at least 0, got -1.0"),
        (IMPALAConfig, {"clip_c": -1.0}, "clip_c must be at least 0, got -1.0"),
        (IMPALAConfig, {"clip_pg_rho": -1.0}, "clip_pg_rho must be at least 0, got"),
        (IMPALAConfig, {"entropy_weight": -1.0}, "entropy_weight must be at least 0"),
    ],
)
def test_a_setting_out_of_range_is_refused_when_it_is_made(config, settings, message):
    with pytest.raises(ValueError, match=message):
        config(**settings)
