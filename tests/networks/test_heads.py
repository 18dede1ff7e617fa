"""Heads: what they answer and how they begin."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.networks.distributions import DiagonalGaussian
from jaxrl_dist.networks.heads import (
    MAX_LOG_STD,
    CategoricalHead,
    GaussianHead,
    TanhGaussianHead,
    ValueHead,
)

FEATURES = jax.random.normal(jax.random.key(1), (2, 3, 16))


def answer(head, features=FEATURES) -> tuple[Any, Any]:
    """Fresh parameters of a head, and what it says about features."""
    params = head.init(jax.random.key(0), features)
    return params, head.apply(params, features)


def test_values_are_one_number_per_element():
    _, values = answer(ValueHead())
    assert values.shape == (2, 3)


def test_value_weights_have_norm_one_and_policy_weights_a_hundredth():
    value, _ = answer(ValueHead())
    policy, _ = answer(CategoricalHead(2))
    value_kernel, policy_kernel = (
        np.asarray(p["params"]["Dense_0"]["kernel"]) for p in (value, policy)
    )
    np.testing.assert_allclose(np.linalg.norm(value_kernel, axis=0), 1.0, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(policy_kernel, axis=0), 0.01, rtol=1e-5)


def test_first_categorical_policy_is_nearly_uniform():
    _, distribution = answer(CategoricalHead(5))
    assert distribution.logits.shape == (2, 3, 5)
    np.testing.assert_allclose(distribution.entropy(), np.log(5), atol=1e-2)


def test_state_independent_deviation_is_one_parameter_per_number():
    params, distribution = answer(GaussianHead(2, initial_std=0.5))
    assert params["params"]["log_std"].shape == (2,)
    np.testing.assert_allclose(jnp.exp(distribution.log_std), 0.5, rtol=1e-6)
    assert distribution.mean.shape == distribution.log_std.shape == (2, 3, 2)


def test_state_dependent_deviation_begins_at_the_initial_one_and_is_bounded():
    head = GaussianHead(2, state_dependent_std=True, initial_std=0.5)
    params, distribution = answer(head, jnp.zeros((3, 16)))
    np.testing.assert_allclose(jnp.exp(distribution.log_std), 0.5, rtol=1e-6)
    far = head.apply(params, 1e6 * FEATURES)
    assert isinstance(far, DiagonalGaussian)
    assert float(far.log_std.max()) == MAX_LOG_STD


@pytest.mark.parametrize("state_dependent_std", [False, True])
def test_squashed_policy_begins_at_the_center_of_the_bounds(state_dependent_std):
    _, distribution = answer(
        TanhGaussianHead((-1.0, 0.0), (3.0, 1.0), state_dependent_std)
    )
    assert distribution.mode().shape == (2, 3, 2)
    expected = np.broadcast_to([1.0, 0.5], (2, 3, 2))
    np.testing.assert_allclose(distribution.mode(), expected, atol=0.2)
