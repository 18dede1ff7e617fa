"""The compiled loop: chunks, seeds, steps counted, and actors behind the learner."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.agents.a2c import A2CConfig
from jaxrl_dist.agents.impala import IMPALAConfig
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.agents.ppo import PPOConfig
from jaxrl_dist.training import on_device
from jaxrl_dist.training.on_device import OnDeviceConfig, make_evaluate, make_on_device
from jaxrl_dist.types import TimeStep, Trajectory, UpdateInfo
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


class Recording:
    """What a run went through, update by update."""

    def __init__(self, setting: on_device.Setting) -> None:
        agent = setting.agent

        def update(state, rows: Trajectory, key: jax.Array):
            # Metrics are what comes out of an update, so the rows come out as one.
            state, info = agent.update(state, rows, key)
            return state, UpdateInfo((), info.metrics | {"rows": rows})

        setting = setting._replace(agent=agent._replace(update=update))
        self.one_update = jax.jit(functools.partial(on_device.one_update, setting))
        key = jax.random.key(0)
        self.states = [on_device.init(setting, agent.init(key), key)]
        self.rows: list[Trajectory] = []
        self.num_steps = 0

    def run(self, num_updates: int) -> "Recording":
        """Goes on for some updates."""
        for _ in range(num_updates):
            done = jnp.int32(len(self.rows))
            state, (metrics, _, sums) = self.one_update(self.states[-1], done)
            self.states.append(state)
            self.rows.append(metrics["rows"])
            self.num_steps += int(sums.num_steps)
        return self


def logits_of(setting: on_device.Setting, params, rows: Trajectory) -> jax.Array:
    """What a policy would have answered in the rows [T, B] that were acted on."""
    seen = TimeStep(*rows[:1], *rows[4:6], *rows[1:3])
    seen = jax.tree.map(lambda x: x[:-1].reshape(-1, *x.shape[2:]), seen)
    _, _, distribution = setting.agent.act(params, (), seen, None)
    return distribution.logits.reshape(*rows.action[:-1].shape, -1)


@pytest.mark.parametrize("lag", [0, 1, 3])
def test_actors_have_the_parameters_of_as_many_updates_ago(lag):
    setting = make_setting(
        IMPALAConfig(LARGE_STEPS), wandering(), policy_lag_updates=lag, normalise=True
    )
    record = Recording(setting).run(6)
    for update, rows in enumerate(record.rows):
        acted = rows.extras.logits[:-1]
        for age in range(update + 1):
            params = record.states[update - age].agent.params
            distance = jnp.abs(acted - logits_of(setting, params, rows)).max()
            assert (distance < 1e-4) == (age == min(lag, update)), (update, age)


def test_steps_counted_are_the_transitions_of_the_rows():
    setting = make_setting(A2CConfig(LARGE_STEPS), wandering(), rollout_steps=9)
    record = Recording(setting).run(4)
    counted = 0
    for rows in record.rows:
        for is_last in np.asarray(rows.is_last)[:-1].ravel():
            counted += not is_last
    assert 0 < counted < 4 * 9 * 4
    assert record.num_steps == counted


def test_a_number_that_is_not_finite_is_noticed():
    tree = {"count": jnp.int32(1), "a": jnp.ones(3)}
    assert on_device.all_finite(tree)
    for bad in (jnp.nan, jnp.inf):
        assert not on_device.all_finite(tree | {"b": jnp.array([0.0, bad])})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rollout_steps": 0}, "rollout_steps must be at least 1, got 0"),
        ({"policy_lag_updates": -1}, "policy_lag_updates must be at least 0, got -1"),
        ({"num_devices": 0}, "num_devices must be at least 1, got 0"),
    ],
)
def test_a_setting_out_of_range_is_refused_when_it_is_made(settings, message):
    with pytest.raises(ValueError, match=message):
        OnDeviceConfig(**settings)
