"""In lock-step, actors and a learner compute what the on-device runtime computes."""

import dataclasses

import numpy as np
import pytest

from jaxrl_dist import runs
from jaxrl_dist.agents.dqn import DQNConfig
from jaxrl_dist.agents.impala import IMPALAConfig
from jaxrl_dist.agents.ppo import PPOConfig
from jaxrl_dist.networks.recurrent import CoreConfig
from jaxrl_dist.training.actors_config import ActorsConfig
from tests.small_experiments import PRIORITIZED, saved_leaves, small
from tests.training.actor_threads import run

pytestmark = pytest.mark.reverb
PPO = PPOConfig(num_minibatches=2)
CASES = {
    "impala": (IMPALAConfig(), None, 1, {}),
    "ppo with two actors as on two devices": (PPO, None, 2, {}),
    "ppo that remembers": (PPO, None, 1, {"core": CoreConfig("gru", 4)}),
    "dqn from a prioritized replay": (DQNConfig(), PRIORITIZED, 1, {}),
}


QUICK = ("impala",)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in CASES
    ],
)
def test_its_parameters_are_those_of_the_on_device_runtime(name, tmp_path, monkeypatch):
    monkeypatch.setenv("CI", "1")  # plain lines
    config, replay, number, network = CASES[name]
    on_device = small(config, num_devices=number, replay=replay, **network)
    environment = dataclasses.replace(on_device.environment, scale_rewards=not replay)
    on_device = dataclasses.replace(on_device, environment=environment)
    runtime = ActorsConfig(
        num_actors=number,
        num_devices=number,
        rollout_steps=on_device.runtime.rollout_steps,
        lock_step=True,
        timeout_seconds=300.0,
    )
    with_actors = dataclasses.replace(on_device, runtime=runtime)
    summary, folder = runs.start(on_device, name="small", output_dir=tmp_path / "one")
    outcome, other = run(with_actors, tmp_path / "two")
    assert outcome.counters.env_steps == summary.env_steps

    wanted, got = saved_leaves(folder), saved_leaves(other.path)
    compared = 0
    for leaf, values in got.items():
        if leaf.startswith(("agent.", "normaliser.", "replay.")):
            np.testing.assert_allclose(
                values.astype(np.float64),
                wanted[leaf].astype(np.float64),
                rtol=2e-4,
                atol=1e-5,
                err_msg=leaf,
            )
            compared += 1
    assert compared > 5
