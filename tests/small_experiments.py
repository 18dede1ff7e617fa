"""Experiments of a second, for tests of runs."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from jaxrl_dist.agents.a2c import A2CConfig
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.checkpoints import Checkpoints
from jaxrl_dist.checkpoints.files import read_arrays
from jaxrl_dist.checkpoints.folder import STATE
from jaxrl_dist.environments.build import EnvironmentConfig
from jaxrl_dist.experiment import NETWORKS, AgentConfig, Budget, Experiment
from jaxrl_dist.replay.sequences import ReplayConfig
from jaxrl_dist.run_folder import RunFolder
from jaxrl_dist.training.on_device import OnDeviceConfig

STEPS_PER_UPDATE = 16
UPDATES = 8  # of a whole run; its evaluations come after 4 and 8
# Two updates per rollout, from the second on; the ring has gone round by the sixth.
PRIORITIZED = ReplayConfig(
    capacity=80,
    batch_size=8,
    warmup_steps=2 * STEPS_PER_UPDATE,
    updates_per_step=2 / STEPS_PER_UPDATE,
    prioritized=True,
)


def small(
    agent: AgentConfig | None = None,
    *,
    num_devices: int = 1,
    num_seeds: int = 1,
    policy_lag_updates: int = 0,
    environment: str = "CartPole-v1",
    normalise_observations: bool = False,
    updates: int = UPDATES,
    replay: ReplayConfig | None = None,
    **network: Any,
) -> Experiment:
    """A run of a few updates of a small network."""
    agent = A2CConfig() if agent is None else agent
    return Experiment(
        environment=EnvironmentConfig(
            environment,
            num_envs=4,
            normalise_observations=normalise_observations,
        ),
        agent=agent,
        network=NETWORKS[type(agent)](hidden=(4,), **network),
        replay=replay,
        runtime=OnDeviceConfig(
            rollout_steps=STEPS_PER_UPDATE // 4,
            num_devices=num_devices,
            policy_lag_updates=policy_lag_updates,
        ),
        budget=Budget(
            # Last rows are no steps, so that a run takes a few less.
            total_steps=updates * STEPS_PER_UPDATE,
            evaluations=2,
            reports=4,
            eval_episodes=4,
            keep_checkpoints=9,
        ),
        seed=3,
        num_seeds=num_seeds,
    )


def with_budget(experiment: Experiment, total_steps: int) -> Experiment:
    """The same experiment with another budget."""
    budget = dataclasses.replace(experiment.budget, total_steps=total_steps)
    return dataclasses.replace(experiment, budget=budget)


def without_annealing() -> A2CConfig:
    """An agent whose updates do not depend on how long the run will be."""
    return A2CConfig(optimizer=OptimizerConfig(anneal=False))


def saved_leaves(folder: Path) -> dict[str, np.ndarray]:
    """Everything in a run's latest checkpoint, by name; random keys as their data."""
    checkpoints = Checkpoints(RunFolder(folder).checkpoints)
    return read_arrays(checkpoints.folder / f"{checkpoints.latest():012d}" / STATE)


def assert_equal_bit_for_bit(
    got: dict[str, np.ndarray], expected: dict[str, np.ndarray]
) -> None:
    """Compares every leaf as bytes, so that NaN equals NaN and 0 is not -0."""
    assert got.keys() == expected.keys()
    different = [
        name for name, leaf in expected.items() if leaf.tobytes() != got[name].tobytes()
    ]
    assert not different
