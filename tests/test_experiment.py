"""How an experiment becomes a plan."""

import dataclasses

import pytest

from jaxrl_dist.agents.dqn import DQNConfig
from jaxrl_dist.experiment import plan
from jaxrl_dist.runtimes import with_actors
from tests.small_experiments import (
    PRIORITIZED,
    STEPS_PER_UPDATE,
    UPDATES,
    small,
    with_budget,
)


def test_a_learner_makes_the_updates_that_are_due_when_all_steps_are_taken():
    experiment = small(DQNConfig(), replay=PRIORITIZED)
    assert plan(experiment).schedule.total == UPDATES  # rollouts
    # Two updates for as many steps as a rollout has, but for the first two rollouts.
    assert plan(with_actors(experiment)).schedule.total == 2 * (UPDATES - 2)
    often = dataclasses.replace(PRIORITIZED, updates_per_step=8 / STEPS_PER_UPDATE)
    experiment = dataclasses.replace(experiment, replay=often)
    schedule = plan(with_actors(experiment)).schedule
    assert schedule.total == 8 * (UPDATES - 2)
    assert schedule.evaluate_every == schedule.total // 2


def test_a_budget_that_ends_before_learning_begins_is_refused():
    experiment = small(DQNConfig(), replay=PRIORITIZED)
    assert plan(with_budget(experiment, PRIORITIZED.warmup_steps)).schedule.total == 2
    with pytest.raises(ValueError, match=r"budget.total_steps is 31, .* 32: nothing"):
        plan(with_budget(experiment, PRIORITIZED.warmup_steps - 1))
