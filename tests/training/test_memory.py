"""Agents that remember learn what they were shown before, on one device or two."""

import jax
import jax.numpy as jnp
import pytest

from jaxrl_dist.agents.a2c import A2CConfig
from jaxrl_dist.agents.impala import IMPALAConfig
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.agents.ppo import PPOConfig
from jaxrl_dist.environments.base import Environment, Outcome
from jaxrl_dist.evaluation import evaluate
from jaxrl_dist.networks.recurrent import CoreConfig
from jaxrl_dist.training.across_devices import make_on_device
from jaxrl_dist.types import ArraySpec, DiscreteSpec, EnvironmentSpec
from tests.training.runs import make_setting

STEP_SIZE = OptimizerConfig(learning_rate=0.02)
UPDATES, DELAY = 100, 3


def recalling() -> Environment:
    """Shows one of 2 cues; repeating it as an action 3 steps later pays 1."""

    def reset(key: jax.Array) -> tuple[tuple, jax.Array]:
        cue = jax.random.randint(key, (), 0, 2)
        return (cue, jnp.zeros((), jnp.int32)), jax.nn.one_hot(cue, 3)

    def step(key: jax.Array, state: tuple, action: jax.Array):
        cue, steps = state
        asked = steps + 1 == DELAY
        pay = (asked & (action == cue)).astype(jnp.float32)
        # From the second row on, nothing is seen of the cue.
        observation = jax.nn.one_hot(2, 3)
        outcome = Outcome(observation, pay, asked, jnp.zeros((), bool))
        return (cue, steps + 1), outcome

    spec = EnvironmentSpec("Recalling", ArraySpec((3,), jnp.float32), DiscreteSpec(2))
    return Environment(spec, reset, step)


def final_return(config, core: CoreConfig, num_devices: int) -> float:
    """Mean return of what was learnt, over many episodes."""
    setting = make_setting(
        config,
        recalling(),
        total_updates=UPDATES,
        num_envs=16,
        rollout_steps=16,
        num_devices=num_devices,
        core=core,
    )
    run = make_on_device(setting, num_devices=num_devices, num_seeds=1)
    state, report = run.train(run.init(0), jnp.int32(0), jnp.int32(UPDATES))
    assert report.finite.all()
    agent_state = jax.tree.map(lambda x: x[0, 0], state.agent)
    play = jax.jit(
        lambda params, key: evaluate(
            setting.agent, setting.environment, params, key, num_envs=64
        )
    )
    episodes = play(setting.agent.acting_params(agent_state), jax.random.key(1))
    assert episodes.finished.all()
    return float(episodes.returns.mean())


@pytest.mark.parametrize(
    ("config", "kind", "num_devices"),
    [
        (PPOConfig(STEP_SIZE, num_minibatches=2), "min_gru", 2),
        (A2CConfig(STEP_SIZE), "lstm", 1),
        (IMPALAConfig(STEP_SIZE), "gru", 2),
    ],
    ids=["ppo on 2 devices", "a2c", "impala on 2 devices"],
)
def test_an_agent_with_a_core_recalls_what_it_saw(config, kind, num_devices):
    core = CoreConfig(kind, 8, longest_memory=4)
    assert final_return(config, core, num_devices) > 0.97


def test_an_agent_without_memory_can_only_guess():
    assert final_return(A2CConfig(STEP_SIZE), CoreConfig("none"), 1) < 0.75
