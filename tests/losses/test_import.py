"""The losses stand alone: importing them loads JAX and NumPy, and little else."""

import json
import subprocess
import sys

import pytest

HEAVY = {"flax", "optax", "chex", "gymnax", "orbax", "grpc", "tensorflow", "rlax"}
HEAVY |= {"matplotlib", "tyro", "rich", "tensorboardX"}

LOADED = """
import json, sys
import jaxrl_dist.losses
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""
TIMES = """
import time
start = time.perf_counter()
import jax, jax.numpy, numpy
middle = time.perf_counter()
import jaxrl_dist.losses
print(middle - start, time.perf_counter() - middle)
"""


def run(program):
    answer = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return answer.stdout


def test_nothing_heavy_is_loaded_with_the_losses():
    assert not set(json.loads(run(LOADED))) & HEAVY


def test_only_jax_numpy_and_checks_are_imported_by_the_files():
    program = LOADED.replace(
        "import jaxrl_dist.losses",
        "import jax, jax.numpy, numpy\n"
        "before = set(sys.modules)\n"
        "import jaxrl_dist.losses\n"
        "new = set(sys.modules) - before",
    )
    program = program.replace("in sys.modules}", "in new}")
    assert set(json.loads(run(program))) == {"jaxrl_dist"}


@pytest.mark.slow
def test_importing_the_losses_takes_at_most_a_tenth_longer_than_importing_jax():
    """The median of several processes: one alone depends on what else is running."""
    shares = []
    for _ in range(7):
        jax_seconds, losses_seconds = map(float, run(TIMES).split())
        shares.append(losses_seconds / jax_seconds)
    assert sorted(shares)[3] <= 0.1
