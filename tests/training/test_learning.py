"""Every agent learns a task of seconds, on one device or several."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from jaxrl_dist.agents.a2c import A2CConfig
from jaxrl_dist.agents.c51 import C51Config, Support
from jaxrl_dist.agents.dqn import DQNConfig
from jaxrl_dist.agents.impala import IMPALAConfig
from jaxrl_dist.agents.iqn import IQNConfig
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.agents.ppo import PPOConfig
from jaxrl_dist.agents.pqn import PQNConfig
from jaxrl_dist.agents.qr_dqn import QRDQNConfig
from jaxrl_dist.agents.value import ValueConfig
from jaxrl_dist.environments.base import Environment, Outcome
from jaxrl_dist.evaluation import evaluate
from jaxrl_dist.experiment import ReplayedValueAgent
from jaxrl_dist.replay.sequences import ReplayConfig
from jaxrl_dist.training.across_devices import make_on_device
from jaxrl_dist.types import ArraySpec, DiscreteSpec, EnvironmentSpec
from tests.training.runs import make_setting

CHOICES, LENGTH = 3, 4
STEP_SIZE = OptimizerConfig(learning_rate=0.02)
LEARNER = ValueConfig(STEP_SIZE, gamma=0.5, target_period_updates=10)
REPLAY = ReplayConfig(
    capacity=4096, batch_size=32, warmup_steps=256, updates_per_step=4 / 128
)


def following() -> Environment:
    """Shows one of 3 cues; the action of its number pays 1 and ends nothing."""

    def show(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        cue = jax.random.randint(key, (), 0, CHOICES)
        return cue, jax.nn.one_hot(cue, CHOICES)

    def reset(key: jax.Array) -> tuple[tuple, jax.Array]:
        cue, observation = show(key)
        return (cue, jnp.zeros((), jnp.int32)), observation

    def step(key: jax.Array, state: tuple, action: jax.Array):
        cue, steps = state
        pay = (action == cue).astype(jnp.float32)
        cue, observation = show(key)
        over = steps + 1 >= LENGTH
        outcome = Outcome(observation, pay, jnp.zeros((), bool), over)
        return (cue, steps + 1), outcome

    observation = ArraySpec((CHOICES,), jnp.float32)
    spec = EnvironmentSpec("Following", observation, DiscreteSpec(CHOICES))
    return Environment(spec, reset, step)


CASES: dict[str, tuple[Any, int, int]] = {  # agent, devices, updates behind
    "ppo": (PPOConfig(STEP_SIZE, num_minibatches=2), 1, 0),
    "a2c on 2 devices": (A2CConfig(STEP_SIZE), 2, 0),
    "impala on 4 devices, actors 5 updates behind": (IMPALAConfig(STEP_SIZE), 4, 5),
    "dqn on 2 devices": (DQNConfig(LEARNER), 2, 0),
    "c51, actors 3 updates behind": (
        C51Config(LEARNER, Support(21, 0.0, LENGTH)),
        1,
        3,
    ),
    "pqn on 2 devices": (PQNConfig(STEP_SIZE, gamma=0.5, num_minibatches=4), 2, 0),
    "qr_dqn": (QRDQNConfig(LEARNER, num_quantiles=8), 1, 0),
    "iqn": (IQNConfig(LEARNER, 4, 4, 4, num_cosines=8), 1, 0),
}
QUICK = (
    "ppo",
    "impala on 4 devices, actors 5 updates behind",
    "dqn on 2 devices",
    "c51, actors 3 updates behind",
)


@pytest.mark.parametrize(
    ("config", "num_devices", "lag"),
    [
        pytest.param(*case, id=name, marks=() if name in QUICK else pytest.mark.slow)
        for name, case in CASES.items()
    ],
)
def test_an_agent_learns_to_follow_cues(config, num_devices, lag):
    setting = make_setting(
        config,
        following(),
        total_updates=150,
        num_envs=16,
        policy_lag_updates=lag,
        num_devices=num_devices,
        replay=REPLAY if isinstance(config, ReplayedValueAgent) else None,
    )
    run = make_on_device(setting, num_devices=num_devices, num_seeds=1)
    state, report = run.train(run.init(0), jnp.int32(0), jnp.int32(150))
    assert report.finite.all()
    agent_state = jax.tree.map(lambda x: x[0, 0], state.agent)
    params = setting.agent.acting_params(agent_state)
    play = jax.jit(
        lambda params, key: evaluate(
            setting.agent, setting.environment, params, key, num_envs=32
        )
    )
    episodes = play(params, jax.random.key(1))
    assert episodes.finished.all()
    assert episodes.returns.mean() > 0.97 * LENGTH
