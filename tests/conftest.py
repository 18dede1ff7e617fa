"""Every test sees four CPU devices, and arrays that never broadcast by accident.

Most of the time of tests goes into compiling programs that run for a moment. With
TEST_COMPILATION=quick in the environment, as `make test` has it, that takes a third of
the time and programs are slower; `make test-slow` has programs as users have them.
"""

import os

import jax
import pytest

QUICK = [
    "--xla_backend_optimization_level=0",
    "--xla_cpu_parallel_codegen_split_count=1",
]
if jax.__version_info__ < (0, 11):  # later ones do not know it
    QUICK.append("--xla_cpu_use_fusion_emitters=false")
if os.environ.get("TEST_COMPILATION") == "quick":
    # Nothing has been compiled yet, and processes that tests start inherit it.
    os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *QUICK])

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_collection_modifyitems(items):
    """Gives slow tests an hour, where others have five minutes."""
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture(scope="module", autouse=True)
def compiled_programs_end_with_their_file():
    """Lets compiled programs go: thousands in one process exhaust its mappings."""
    yield
    jax.clear_caches()
