"""Every experiment module describes a run that fits together."""

import importlib
import pkgutil

import pytest

import experiments
from jaxrl_dist.experiment import plan
from jaxrl_dist.training.actors_config import ActorsConfig

# Modules that describe no run of their own.
NO_RUNS = {"summarise", "rainbow_ablation", "r2d2_ablation"}
MODULES = sorted(
    module.name
    for module in pkgutil.iter_modules(experiments.__path__)
    if not module.ispkg and module.name not in NO_RUNS
)


@pytest.mark.parametrize("name", MODULES)
def test_settings_fit_together_and_fill_the_budget_but_for_one_update(name):
    described = importlib.import_module(f"experiments.{name}").experiment()
    built = plan(described)
    number, runtime = described.environment.num_envs, described.runtime
    if isinstance(runtime, ActorsConfig):
        number = runtime.batch_trajectories or number
    steps = number * runtime.rollout_steps
    if built.flow is not None and built.flow.kind == "replay":
        # Updates of a learner, which makes none before its replay is warm.
        assert described.replay is not None
        done = built.schedule.total / described.replay.updates_per_step
        done += described.replay.warmup_steps
        steps = 1 / described.replay.updates_per_step
    else:
        done = built.schedule.total * steps
    left = described.budget.total_steps - done
    assert 0 <= left < steps


@pytest.mark.parametrize("name", MODULES)
def test_its_docstring_says_how_to_run_it_and_where_its_numbers_are(name):
    text = importlib.import_module(f"experiments.{name}").__doc__ or ""
    assert f"    python -m experiments.{name}\n" in text
    assert "RESULTS.md" in text
