"""What the processes of a run send each other."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.actor_runs import wire_of
from jaxrl_dist.agents.dqn import DQNConfig
from jaxrl_dist.agents.exploration import ExplorationConfig
from jaxrl_dist.agents.impala import IMPALAConfig
from jaxrl_dist.agents.ppo import PPOConfig
from jaxrl_dist.agents.pqn import PQNConfig
from jaxrl_dist.agents.value import ValueConfig
from jaxrl_dist.experiment import plan
from jaxrl_dist.training.actors_config import ActorsConfig
from tests.small_experiments import PRIORITIZED, small

LADDER = ExplorationConfig(ladder=7.0)


def test_parameters_travel_in_half_the_bytes_and_statistics_do_not():
    runtime = ActorsConfig(num_actors=1, rollout_steps=4, bfloat16_parameters=True)
    experiment = small(IMPALAConfig(), normalise_observations=True)
    experiment = dataclasses.replace(experiment, runtime=runtime)
    published = wire_of("small", experiment, plan(experiment)).published
    dtypes: dict[str, set] = {"params": set(), "normaliser": set()}
    for name, spec in zip(published.names, published.specs, strict=True):
        if name.startswith("arrays."):
            dtypes[name.split(".")[1]].add(np.dtype(spec.dtype))
    assert dtypes["params"] == {np.dtype(jnp.bfloat16)}
    assert dtypes["normaliser"] == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("agent", "replay"),
    [
        (DQNConfig(ValueConfig(exploration=LADDER)), PRIORITIZED),
        (PQNConfig(exploration=LADDER, num_minibatches=2), None),
        (IMPALAConfig(), None),
        (PPOConfig(num_minibatches=2), None),
    ],
)
def test_rows_are_the_same_on_however_many_devices_the_learner_learns(agent, replay):
    like = []
    for num_devices in (1, 2):
        runtime = ActorsConfig(num_actors=1, rollout_steps=4, num_devices=num_devices)
        experiment = dataclasses.replace(small(agent, replay=replay), runtime=runtime)
        like.append(wire_of("small", experiment, plan(experiment)).rows_like)
    assert like[0] == like[1]
