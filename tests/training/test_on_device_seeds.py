"""Several seeds in one program."""

import re

import jax

from experiments.cartpole_ppo import experiment
from jaxrl_dist.experiment import plan
from jaxrl_dist.training.on_device import make_on_device


def test_matrices_of_several_seeds_are_factorised_one_by_one():
    # A batched factorisation on two devices of a CPU with two cores never ends.
    run = make_on_device(plan(experiment()).setting, num_devices=2, num_seeds=3)
    program = str(jax.make_jaxpr(lambda: run.init(0))())
    shapes = re.findall(r"name=qr\s+jaxpr=\{ lambda ; \w+:f32\[([\d,]+)\]", program)
    assert shapes
    assert all(shape.count(",") == 1 for shape in shapes), shapes
