"""On-policy agents that remember: what is stored, recomputed, and learnt from it."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist import rollout
from jaxrl_dist.agents.a2c import A2CConfig
from jaxrl_dist.agents.actor_critic import first_memory, values_of_rows
from jaxrl_dist.agents.impala import IMPALAConfig
from jaxrl_dist.agents.ppo import Items, Numbers, PPOConfig, learning_items
from jaxrl_dist.distribution import devices
from jaxrl_dist.environments.base import batch
from jaxrl_dist.networks.actor_critic import ActorCritic
from jaxrl_dist.networks.build import ActorCriticConfig
from jaxrl_dist.networks.recurrent import CoreConfig
from jaxrl_dist.types import Trajectory
from tests.agents.small import PLAIN
from tests.environments.wandering import wandering

T, B, SIZE = 13, 4, 8
KEY = jax.random.key(0)
ENVIRONMENT = batch(wandering())
# One gradient step, whose loss has no clipping in it.
PPO = PPOConfig(
    PLAIN, num_epochs=1, num_minibatches=1, clip_value=None, normalise_advantages=False
)
AGENTS = {"ppo": PPO, "a2c": A2CConfig(PLAIN), "impala": IMPALAConfig(PLAIN)}
# Compiled once and run for moments, so what counts is the compiling.
quick = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)
NETWORKS = [("lstm", False), ("gru", True), ("min_gru", False)]
networks = pytest.mark.parametrize(("kind", "shared"), NETWORKS)


@functools.cache
def make(kind: Any, shared: bool) -> tuple[ActorCritic, Any]:
    """A network and its parameters, whose policy is not almost uniform."""
    network = ActorCriticConfig(
        hidden=(8,), shared_torso=shared, core=CoreConfig(kind, SIZE)
    ).build(ENVIRONMENT.spec)
    params = quick(network.init)(KEY)
    head = params["params"]["policy_head"]["Dense_0"]
    head["kernel"] = 100 * head["kernel"]
    return network, params


@functools.cache
def acted(kind: Any, shared: bool) -> Trajectory:
    """Rows of the second of two rollouts, so that it begins within episodes."""
    network, params = make(kind, shared)
    agent = PPO.build(network, 1)

    def two_rollouts(params: Any, key: jax.Array) -> Trajectory:
        state = rollout.start(agent, ENVIRONMENT, key, B)
        for steps in (4, T):
            state, rows = rollout.rollout(
                agent, ENVIRONMENT, params, state, num_steps=steps
            )
        return rows

    rows = quick(two_rollouts)(params, KEY)
    assert not rows.is_first[0].all() and rows.is_last.any()
    ends = np.asarray(rows.is_last)[1:]
    terminated = np.asarray(rows.terminated)[:-1]
    assert (ends & terminated).any() and (ends & ~terminated).any()
    return rows


def assert_close(got: Any, wanted: Any, rtol: float = 1e-4) -> None:
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol / 100)


@networks
def test_what_the_learner_recomputes_is_what_the_actor_knew(kind, shared):
    network, params = make(kind, shared)
    rows = acted(kind, shared)
    memory, known = first_memory(rows), []
    one_row = quick(network.unroll)
    for t in range(T + 1):
        known.append(memory)
        now = rows.observation[t : t + 1], rows.is_first[t : t + 1]
        memory, _, _ = one_row(params, memory, *now)
    assert_close(jax.tree.map(lambda *x: jnp.stack(x), *known), rows.memory)
    last, policy, values = quick(network.unroll)(
        params, first_memory(rows), rows.observation, rows.is_first
    )
    assert_close(last, memory)
    before_last = jax.tree.map(lambda x: x[:-1], (policy, rows.extras))
    assert_close(*before_last)
    of_rows = quick(functools.partial(values_of_rows, network))
    assert_close(of_rows(params, rows), values)


def each_episode(network: ActorCritic, params: Any, rows: Trajectory) -> np.ndarray:
    """Values of all rows, of each episode by itself, a row at a time."""
    read = quick(network.unroll)
    values = np.zeros(rows.is_first.shape)
    for column in range(values.shape[1]):
        memory = jax.tree.map(lambda x, b=column: x[b : b + 1], first_memory(rows))
        for t in range(len(values)):
            if rows.is_first[t, column]:
                memory = network.initial_memory(1)
            seen = rows.observation[t : t + 1, column : column + 1]
            memory, _, value = read(params, memory, seen, jnp.zeros((1, 1), bool))
            values[t, column] = value[0, 0]
    return values


def items_of(
    config: PPOConfig, network: ActorCritic, params: Any, rows: Trajectory
) -> Items:
    """What PPO learns from, on one device."""
    return quick(
        lambda params, rows: learning_items(config, network, params, rows, None)
    )(params, rows)


@networks
def test_values_through_ends_are_those_of_each_episode_by_itself(kind, shared):
    network, params = make(kind, shared)
    rows = acted(kind, shared)
    alone = each_episode(network, params, rows)
    _, _, values = quick(network.unroll)(
        params, first_memory(rows), rows.observation, rows.is_first
    )
    assert_close(values, alone)


def test_a_truncated_episode_is_worth_what_its_last_memory_says():
    network, params = make("gru", True)
    rows = acted("gru", True)
    config = PPOConfig(PLAIN, gamma=0.9, lambda_=0.0)
    items = items_of(config, network, params, rows)
    target = Numbers(*jnp.unstack(items.numbers, axis=-1)).target.T
    alone = each_episode(network, params, rows)
    reached = np.asarray(rows.is_last)[1:] & ~np.asarray(rows.terminated)[:-1]
    assert reached.any()
    expected = np.asarray(rows.reward)[:-1] + 0.9 * alone[1:]
    np.testing.assert_allclose(target[reached], expected[reached], rtol=1e-4)


@functools.cache
def first_moment(name: str) -> Any:
    """A tenth of the gradient of a fresh agent: Adam's first moment after one step."""
    network, params = make("gru", False)
    agent = AGENTS[name].build(network, 1)
    state = quick(agent.init)(KEY)._replace(params=params)
    state, _ = quick(agent.update)(state, acted("gru", False), KEY)
    return state.opt_state


@pytest.mark.parametrize("name", AGENTS)
def test_two_devices_have_the_gradient_of_one(name):
    network, params = make("gru", False)
    agent = AGENTS[name].build(network, 1, devices.AXIS_NAME)
    update = devices.compile_for(2, agent.update, in_axes=(None, 0, None))

    def halves(x: jax.Array) -> jax.Array:
        return jnp.stack(jnp.split(x, 2, axis=1))

    rows = jax.tree.map(halves, acted("gru", False))
    state, _ = update(quick(agent.init)(KEY)._replace(params=params), rows, KEY)
    for device in range(2):
        mine = jax.tree.map(lambda x, d=device: x[d], state.opt_state)
        assert_close(mine, first_moment(name))


def test_a_step_of_ppo_is_the_gradient_through_all_rows():
    network, params = make("gru", False)
    rows = acted("gru", False)
    items = items_of(PPO, network, params, rows)
    numbers = Numbers(*(x.T for x in jnp.unstack(items.numbers, axis=-1)))
    steps = jnp.asarray(~np.asarray(rows.is_last)[:-1])

    def loss(params: Any) -> jax.Array:
        _, policy, values = network.unroll(
            params, first_memory(rows), rows.observation[:-1], rows.is_first[:-1]
        )
        log_probs = policy.log_prob(rows.action[:-1])
        ratios = jnp.exp(log_probs - jax.lax.stop_gradient(log_probs))
        losses = -ratios * numbers.advantage - PPO.entropy_weight * policy.entropy()
        losses += PPO.value_weight * 0.5 * (values - numbers.target) ** 2
        return jnp.sum(losses, where=steps) / steps.sum()

    gradient = quick(jax.grad(loss))(params)
    flat = jnp.concatenate([x.ravel() for x in jax.tree.leaves(gradient)])
    moments = [x for x in jax.tree.leaves(first_moment("ppo")) if x.shape == flat.shape]
    np.testing.assert_allclose(moments[0], 0.1 * flat, rtol=1e-3, atol=1e-7)


def test_minibatches_are_whole_environments():
    network, params = make("min_gru", True)
    rows = acted("min_gru", True)
    items = items_of(PPO, network, params, rows)
    np.testing.assert_array_equal(items.observation[2], rows.observation[:-1, 2])
    np.testing.assert_array_equal(items.is_first[2], rows.is_first[:-1, 2])
    of_memory = jax.tree.map(lambda x: x[2], (items.memory, first_memory(rows)))
    assert_close(*of_memory, rtol=0.0)
    config = PPOConfig(PLAIN, num_minibatches=3)
    agent = config.build(network, 1)
    message = "num_minibatches is 3, which does not divide the 4 environments that"
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(agent.update, jax.eval_shape(agent.init, KEY), rows, KEY)
