"""PPO against gradient steps written by hand, and each of its settings."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl_dist.agents.actor_critic import ActorCriticState
from jaxrl_dist.agents.ppo import PPOConfig
from jaxrl_dist.networks.actor_critic import ActorCritic
from jaxrl_dist.types import ArraySpec, EnvironmentSpec, Trajectory
from tests.agents.small import PLAIN, make_network, make_rows

NETWORK = make_network()
ROWS = make_rows()
KEY = jax.random.key(5)
# Step size and clip ranges so that ratios and values leave them after a few epochs.
CONFIG = PPOConfig(
    dataclasses.replace(PLAIN, learning_rate=0.05),
    lambda_=0.9,
    num_epochs=3,
    num_minibatches=1,
    clip_value=0.1,
    entropy_weight=0.1,
)


def fresh(config: PPOConfig, network: ActorCritic = NETWORK) -> ActorCriticState:
    """A state, the same for every configuration."""
    return config.build(network, 1).init(jax.random.key(0))


@functools.cache
def updated(
    config: PPOConfig, num_updates: int = 0, total: int = 1
) -> tuple[ActorCriticState, dict[str, jax.Array]]:
    """The state after one update, and what it reports."""
    update = jax.jit(config.build(NETWORK, total).update)
    state = fresh(config)._replace(num_updates=jnp.int32(num_updates))
    state, info = update(state, ROWS, KEY)
    return state, info.metrics


def assert_same(got: Any, wanted: Any, rtol: float = 0.0) -> None:
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol)


def gae_by_hand(values: np.ndarray, config: PPOConfig) -> np.ndarray:
    """Advantages [T, B], one episode's piece at a time; last rows keep 0."""
    rows = jax.tree.map(np.asarray, ROWS)
    advantages = np.zeros(values[:-1].shape)
    for b in range(values.shape[1]):
        later = 0.0
        for t in reversed(range(len(values) - 1)):
            if rows.is_last[t, b]:
                continue
            if rows.is_last[t + 1, b]:
                later = 0.0
            going_on = 0.0 if rows.terminated[t, b] else config.gamma
            error = rows.reward[t, b] + going_on * values[t + 1, b] - values[t, b]
            later = error + going_on * config.lambda_ * later
            advantages[t, b] = later
    return advantages


def loss_by_hand(params, before: dict[str, Any], config: PPOConfig) -> jax.Array:
    """Equations 7 and 9 over the steps that count, picked out instead of weighed."""
    steps = before["steps"]
    _, policy, values = NETWORK.unroll(params, (), ROWS.observation, ROWS.is_first)
    log_probs = jax.nn.log_softmax(policy.logits)[steps]
    chosen = jnp.take_along_axis(log_probs, before["action"][:, None], axis=1)[:, 0]
    ratio, advantage = jnp.exp(chosen - before["log_prob"]), before["advantage"]
    clipped = jnp.clip(ratio, 1 - config.clip_ratio, 1 + config.clip_ratio)
    surrogate = jnp.minimum(ratio * advantage, clipped * advantage).mean()
    value, old, target = values[steps], before["value"], before["target"]
    assert config.clip_value is not None
    near = old + jnp.clip(value - old, -config.clip_value, config.clip_value)
    value_loss = 0.5 * jnp.maximum((value - target) ** 2, (near - target) ** 2).mean()
    entropy = -(jnp.exp(log_probs) * log_probs).sum(-1).mean()
    loss = -surrogate + config.value_weight * value_loss
    return loss - config.entropy_weight * entropy


def before_by_hand(params, config: PPOConfig) -> dict[str, Any]:
    """What is known of the steps that count, [N] each, before the update."""
    steps = np.nonzero(~np.asarray(ROWS.is_last)[:-1])
    _, _, values = NETWORK.unroll(params, (), ROWS.observation, ROWS.is_first)
    values = np.asarray(values)
    advantages = gae_by_hand(values, config)[steps]
    action = ROWS.action[steps]
    log_probs = jax.nn.log_softmax(ROWS.extras.logits)[steps]
    return {
        "steps": steps,
        "action": action,
        "log_prob": jnp.take_along_axis(log_probs, action[:, None], axis=1)[:, 0],
        "value": jnp.asarray(values[steps]),
        "target": jnp.asarray(values[steps] + advantages),
        "advantage": jnp.asarray((advantages - advantages.mean()) / advantages.std()),
    }


def test_whole_batch_epochs_are_the_gradient_steps_of_the_paper():
    params = fresh(CONFIG).params
    before = before_by_hand(params, CONFIG)
    optimizer = optax.adam(0.05, eps=PLAIN.epsilon)
    state = optimizer.init(params)
    gradient = jax.jit(jax.grad(lambda params: loss_by_hand(params, before, CONFIG)))
    for _ in range(CONFIG.num_epochs):
        deltas, state = optimizer.update(gradient(params), state)
        params = optax.apply_updates(params, deltas)
    got, metrics = updated(CONFIG)
    assert_same(got.params, params, rtol=1e-4)
    assert got.num_updates == 1
    assert metrics["clip_share"] > 0.1


@pytest.mark.parametrize(
    "change", [{"clip_value": None}, {"clip_value": 0.01}, {"clip_ratio": 0.02}]
)
def test_clipping_limits_the_steps(change):
    other, _ = updated(dataclasses.replace(CONFIG, **change))
    same, _ = updated(CONFIG)
    moved = jax.tree.map(lambda x, y: jnp.abs(x - y).max(), other.params, same.params)
    assert max(jax.tree.leaves(moved)) > 1e-3


def test_beyond_the_target_kl_nothing_changes_any_more():
    # The first step sees a policy as far from the behaviour as the rows say, so that it
    # is taken or not; every later one would only go further.
    _, metrics = updated(dataclasses.replace(CONFIG, num_epochs=1))
    limit = float(metrics["kl"]) * 1.001
    once, _ = updated(dataclasses.replace(CONFIG, num_epochs=1, target_kl=limit))
    often, _ = updated(dataclasses.replace(CONFIG, num_epochs=6, target_kl=limit))
    free, _ = updated(dataclasses.replace(CONFIG, num_epochs=6))
    # Two programs: the last bit may differ, where a further step would move by 0.05.
    stopped, first = ((x.params, x.opt_state) for x in (often, once))
    assert_same(stopped, first, rtol=1e-6)
    never, _ = updated(dataclasses.replace(CONFIG, target_kl=limit / 2))
    before = fresh(CONFIG)
    assert_same((never.params, never.opt_state), (before.params, before.opt_state))
    with pytest.raises(AssertionError):
        assert_same(free.params, once.params, rtol=1e-3)


def test_the_clip_ratio_falls_to_half_after_half_of_the_run():
    annealed = dataclasses.replace(CONFIG, clip_ratio=0.2, anneal_clip_ratio=True)
    half, _ = updated(annealed, num_updates=5, total=10)
    fixed, _ = updated(dataclasses.replace(CONFIG, clip_ratio=0.1))
    assert_same(half.params, fixed.params, rtol=1e-5)


def test_minibatches_that_do_not_divide_the_batch_are_refused_while_tracing():
    config = dataclasses.replace(CONFIG, num_minibatches=7)
    agent = config.build(NETWORK, 1)
    message = (
        "agent.num_minibatches is 7, which does not divide the 96 rows that an update "
        "has on each device; 6 or 8 would do"
    )
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(agent.update, fresh(config), ROWS, KEY)
    config = dataclasses.replace(CONFIG, num_minibatches=100)
    with pytest.raises(ValueError, match="; 96 would do"):
        jax.eval_shape(config.build(NETWORK, 1).update, fresh(config), ROWS, KEY)


@pytest.mark.parametrize("policy", ["gaussian", "tanh_gaussian"])
def test_a_continuous_policy_moves_towards_what_pays(policy):
    spec = EnvironmentSpec(
        "Line", ArraySpec((1,), jnp.float32), ArraySpec((1,), jnp.float32, -1.0, 1.0)
    )
    config = dataclasses.replace(CONFIG, num_minibatches=2, entropy_weight=0.0)
    network = make_network(spec, policy=policy)
    agent = config.build(network, 1)
    ones, false = jnp.ones((17, 16)), jnp.zeros((17, 16), bool)

    @jax.jit
    def improve(state: ActorCriticState, key: jax.Array) -> ActorCriticState:
        key_act, key_update = jax.random.split(key)
        noise = jax.random.normal(key_act, (17, 16, 1))
        observation = ones[..., None]
        _, policy, _ = network.unroll(state.params, (), observation, false)
        action = policy.sample(noise)
        reward = -jnp.square(action[..., 0] - 0.5)
        rows = Trajectory(observation, ~false, false, action, reward, ~false, policy)
        return agent.update(state, rows, key_update)[0]

    state = agent.init(jax.random.key(0))
    for step in range(30):
        state = improve(state, jax.random.key(step))
    _, policy = network.act(state.params, (), jnp.ones((1, 1)), jnp.ones(1, bool))
    np.testing.assert_allclose(policy.mode(), 0.5, atol=0.15)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": 1.1}, r"gamma must be in \[0, 1\], got 1.1"),
        ({"lambda_": -0.1}, r"lambda_ must be in \[0, 1\], got -0.1"),
        ({"num_epochs": 0}, "num_epochs must be at least 1, got 0"),
        ({"num_minibatches": 0}, "num_minibatches must be at least 1, got 0"),
        ({"clip_ratio": 0.0}, "clip_ratio must be above 0, got 0.0"),
        ({"clip_value": 0.0}, "clip_value must be above 0, got 0.0"),
        ({"value_weight": -1.0}, "value_weight must be at least 0, got -1.0"),
        ({"entropy_weight": -1.0}, "entropy_weight must be at least 0, got -1.0"),
        ({"target_kl": 0.0}, "target_kl must be above 0, got 0.0"),
    ],
)
def test_a_setting_out_of_range_is_refused_when_it_is_made(settings, message):
    with pytest.raises(ValueError, match=message):
        PPOConfig(**settings)
