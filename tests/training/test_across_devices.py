"""The compiled loop over several devices and seeds, in chunks."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cartpole_ppo import experiment
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.agents.ppo import PPOConfig
from jaxrl_dist.experiment import plan
from jaxrl_dist.training.across_devices import make_evaluate, make_on_device
from tests.environments.wandering import wandering
from tests.training.runs import assert_close, make_setting

LARGE_STEPS = OptimizerConfig(learning_rate=0.05, anneal=False)
PPO = PPOConfig(LARGE_STEPS, num_epochs=2, num_minibatches=2)


def real_copy(tree):
    """A copy that survives the donation of its original."""
    return jax.tree.map(lambda x: x.copy(), tree)


def test_updates_in_two_chunks_are_those_of_one_chunk_bit_for_bit():
    setting = make_setting(PPO, wandering(), num_devices=2, normalise=True)
    run = make_on_device(setting, num_devices=2, num_seeds=1)
    begin = run.init(3)
    together, report = run.train(real_copy(begin), jnp.int32(0), jnp.int32(4))
    state, first = run.train(begin, jnp.int32(0), jnp.int32(1))
    state, second = run.train(state, jnp.int32(1), jnp.int32(3))
    assert_close(state, together)
    for name in ("num_steps", "num_episodes", "length_sum"):
        parts = (getattr(part.episodes, name) for part in (first, second))
        np.testing.assert_array_equal(sum(parts), getattr(report.episodes, name))
    for name, mean in report.metrics.items():
        expected = (first.metrics[name] + 3 * second.metrics[name]) / 4
        np.testing.assert_allclose(mean, expected, rtol=1e-4, atol=1e-6)
    assert report.finite.all()


def test_devices_keep_equal_agents_and_statistics_and_see_different_episodes():
    setting = make_setting(PPO, wandering(), num_devices=4, num_envs=8, normalise=True)
    run = make_on_device(setting, num_devices=4, num_seeds=1)
    state, _ = run.train(run.init(0), jnp.int32(0), jnp.int32(3))
    shared = (state.agent, state.normaliser._replace(return_so_far=()))
    for device in range(1, 4):
        mine, first = (jax.tree.map(lambda x, d=d: x[d], shared) for d in (device, 0))
        assert_close(mine, first)
    luck = np.asarray(state.rollout.time_step.reward)
    assert len(np.unique(luck)) > 4
    # Every row is seen once: 3 updates of 8 steps of 8 environments.
    assert (state.normaliser.observations.num_seen == 3 * 8 * 8).all()


def test_eight_seeds_at_once_are_eight_single_runs():
    setting = make_setting(PPO, wandering(), num_devices=2)
    together = make_on_device(setting, num_devices=2, num_seeds=8)
    alone = make_on_device(setting, num_devices=2, num_seeds=1)
    states, reports = together.train(together.init(5), jnp.int32(0), jnp.int32(3))
    for seed in range(8):
        state, report = alone.train(alone.init(5 + seed), jnp.int32(0), jnp.int32(3))
        mine = jax.tree.map(lambda x, s=seed: x[:, s : s + 1], (states, reports))
        assert_close(mine, (state, report), rtol=1e-4)


def test_each_seed_is_evaluated_on_the_episodes_of_a_run_of_its_own():
    setting = make_setting(PPO, wandering(), num_devices=2)
    state = make_on_device(setting, num_devices=2, num_seeds=1).init(0)
    play = functools.partial(make_evaluate, setting, num_devices=2, num_episodes=8)
    both = jax.tree.map(lambda x: jnp.concatenate([x, x], axis=1), state)
    together = play(num_seeds=2)(both, np.int32(5), np.int32(1)).returns
    alone = play(num_seeds=1)
    for index in range(2):
        returns = alone(state, np.int32(5 + index), np.int32(1)).returns
        np.testing.assert_allclose(together[:, index], returns[:, 0], rtol=1e-5)
    assert (together[:, 0] != together[:, 1]).any()


def test_matrices_of_several_seeds_are_factorised_one_by_one():
    # A batched factorisation on two devices of a CPU with two cores never ends.
    run = make_on_device(plan(experiment()).setting, num_devices=2, num_seeds=3)
    program = str(jax.make_jaxpr(lambda: run.init(0))())
    shapes = re.findall(r"name=qr\s+jaxpr=\{ lambda ; \w+:f32\[([\d,]+)\]", program)
    assert shapes
    assert all(shape.count(",") == 1 for shape in shapes), shapes
