"""The quick experiments reach their thresholds, with one seed each."""

import dataclasses
import importlib

import pytest

from experiments import summarise, vtrace_ablation
from jaxrl_dist import runs
from jaxrl_dist.training.on_device import OnDeviceConfig

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "name",
    [
        "cartpole_ppo",
        "cartpole_a2c",
        "cartpole_impala",
        "cartpole_pqn",
        "cartpole_sac",
        "pendulum_ppo",
        "pendulum_sac",
        "pendulum_td3",
        "mountain_car_continuous_sac",
        "mountain_car_continuous_td3",
        "catch_ppo",
        "memory_chain_r2d2",
        "memory_chain_ppo",
        "cartpole_no_velocity_ppo",
    ],
)
def test_the_final_policy_reaches_the_threshold(name, tmp_path):
    experiment = importlib.import_module(f"experiments.{name}").experiment()
    assert_reaches_threshold(experiment, name, tmp_path)


def test_impala_learns_from_actors_eight_updates_behind(tmp_path):
    name = "cartpole_impala"
    experiment = importlib.import_module(f"experiments.{name}").experiment()
    steps = experiment.runtime.rollout_steps
    runtime = OnDeviceConfig(rollout_steps=steps, policy_lag_updates=8)
    experiment = dataclasses.replace(experiment, runtime=runtime)
    assert_reaches_threshold(experiment, name, tmp_path)


def assert_reaches_threshold(experiment, name, tmp_path):
    summary, _ = runs.start(experiment, name=name, output_dir=tmp_path / "run")
    assert summary.env_steps <= experiment.budget.total_steps
    assert summary.evaluation is not None
    assert summary.evaluation.episodes >= 100
    assert summary.evaluation.return_mean >= experiment.threshold


def test_far_behind_vtrace_learns_what_ratios_of_one_do_not(tmp_path):
    folders = vtrace_ablation.run_both(vtrace_ablation.experiment(), tmp_path)
    corrected, not_corrected = (
        summarise.interquartile_mean(summarise.read_result(folder).returns)
        for folder in folders
    )
    assert corrected >= 450
    assert not_corrected <= corrected - 100
