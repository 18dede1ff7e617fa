"""The compiled loop: steps counted, and actors behind the learner."""

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
from jaxrl_dist.training.on_device import OnDeviceConfig
from jaxrl_dist.types import TimeStep, Trajectory, UpdateInfo
from tests.environments.wandering import wandering
from tests.training.runs import make_setting

LARGE_STEPS = OptimizerConfig(learning_rate=0.05, anneal=False)
PPO = PPOConfig(LARGE_STEPS, num_epochs=2, num_minibatches=2)


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
