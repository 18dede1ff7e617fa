"""Each variant of the ablation lacks one part of Rainbow, and nothing else."""

import pytest

from experiments import rainbow_ablation
from jaxrl_dist import configuration
from jaxrl_dist.experiment import plan

WHOLE = rainbow_ablation.EXPERIMENTS["breakout_rainbow"]()
VARIANTS = rainbow_ablation.variants(WHOLE)
CHANGED = {
    "rainbow": set(),
    "no_double": {"agent.learner.double"},
    "no_multi_step": {"agent.learner.n_step"},
    "no_distributional": {"agent.distributional"},
    "no_dueling": {"network.dueling"},
    "no_noisy": {
        "network.noisy",
        "agent.learner.exploration.epsilon_initial",
        "agent.learner.exploration.epsilon_final",
        "agent.learner.exploration.decay_fraction",
    },
    "no_prioritized": {"replay.prioritized"},
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_variant_lacks_one_part_and_fits_together(name):
    lines = configuration.differences(WHOLE, VARIANTS[name])
    assert {line.partition(":")[0] for line in lines} == CHANGED[name]
    plan(VARIANTS[name])


def test_every_part_is_taken_away_once():
    assert set(VARIANTS) == set(CHANGED)
