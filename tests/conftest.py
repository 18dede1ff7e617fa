"""Every test sees four CPU devices, and arrays that never broadcast by accident."""

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="module", autouse=True)
def compiled_programs_end_with_their_file():
    """Lets compiled programs go: thousands in one process exhaust its mappings."""
    yield
    jax.clear_caches()
