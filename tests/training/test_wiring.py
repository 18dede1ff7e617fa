"""What the processes of a run send each other."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from jaxrl_dist.actor_runs import wire_of
from jaxrl_dist.agents.impala import IMPALAConfig
from jaxrl_dist.experiment import plan
from jaxrl_dist.training.actors_config import ActorsConfig
from tests.small_experiments import small


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
