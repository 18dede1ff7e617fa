"""Every agent learns a task of seconds, on one device or several."""

import jax
import jax.numpy as jnp
import pytest

from jaxrl_dist.agents.a2c import A2CConfig
from jaxrl_dist.agents.impala import IMPALAConfig
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.agents.ppo import PPOConfig
from jaxrl_dist.environments.base import Environment, Outcome
from jaxrl_dist.evaluation import evaluate
from jaxrl_dist.training.on_device import make_on_device
from jaxrl_dist.types import ArraySpec, DiscreteSpec, EnvironmentSpec
from tests.training.runs import make_setting

CHOICES, LENGTH = 3, 4
STEP_SIZE = OptimizerConfig(learning_rate=0.02)


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


@pytest.mark.parametrize(
    ("config", "num_devices", "lag"),
    [
        (PPOConfig(STEP_SIZE, num_minibatches=2), 1, 0),
        (A2CConfig(STEP_SIZE), 2, 0),
        (IMPALAConfig(STEP_SIZE), 4, 5),
    ],
    ids=["ppo", "a2c on 2 devices", "impala on 4 devices, actors 5 updates behind"],
)
def test_an_agent_learns_to_follow_cues(config, num_devices, lag):
    setting = make_setting(
        config,
        following(),
        total_updates=150,
        num_envs=16,
        policy_lag_updates=lag,
        num_devices=num_devices,
    )
    run = make_on_device(setting, num_devices=num_devices, num_seeds=1)
    state, report = run.train(run.init(0), jnp.int32(150))
    assert report.finite.all()
    params = jax.tree.map(lambda x: x[0, 0], state.agent.params)
    play = jax.jit(
        lambda params, key: evaluate(
            setting.agent, setting.environment, params, key, num_envs=32
        )
    )
    episodes = play(params, jax.random.key(1))
    assert episodes.finished.all()
    assert episodes.returns.mean() > 0.97 * LENGTH
