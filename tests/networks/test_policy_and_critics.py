"""Policies and critics: shapes, independent critics, what does not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.networks.distributions import Categorical, TanhGaussian
from jaxrl_dist.networks.policy_and_critics import PolicyAndCriticsConfig
from jaxrl_dist.types import ArraySpec, DiscreteSpec, EnvironmentSpec

KEY = jax.random.key(0)
OBSERVATION = ArraySpec((3,), jnp.float32)
BOX = EnvironmentSpec("Box", OBSERVATION, ArraySpec((2,), jnp.float32, -2.0, 2.0))
CHOICE = EnvironmentSpec("Choice", OBSERVATION, DiscreteSpec(4))
CONFIG = PolicyAndCriticsConfig(hidden=(8, 8), num_critics=3)


@pytest.mark.parametrize("leading", [(), (5,), (7, 5)])
def test_answers_have_any_leading_axes_and_critics_last(leading):
    observation, action = jnp.ones((*leading, 3)), jnp.ones((*leading, 2))
    network = CONFIG.build(BOX)("tanh_gaussian")
    params = network.init(KEY)
    distribution = network.policy(params.policy, observation)
    assert isinstance(distribution, TanhGaussian)
    assert distribution.mean.shape == (*leading, 2)
    values = network.q_values(params.critics, observation, action)
    assert values.shape == (*leading, 3)


def test_discrete_critics_value_all_actions_at_once():
    network = CONFIG.build(CHOICE)("categorical")
    params = network.init(KEY)
    observation = jnp.ones((5, 3))
    distribution = network.policy(params.policy, observation)
    assert isinstance(distribution, Categorical)
    assert distribution.logits.shape == (5, 4)
    assert network.q_values(params.critics, observation).shape == (5, 4, 3)


def test_deterministic_policy_answers_actions_in_units_of_half_their_range():
    network = CONFIG.build(BOX)("deterministic")
    params = network.init(KEY)
    loud = jax.tree.map(lambda x: 30.0 * x, params.policy)
    action = network.policy(loud, jax.random.normal(KEY, (100, 3)))
    assert action.shape == (100, 2)
    assert 0.9 < np.abs(action).max() <= 1.0


def test_critics_are_independent_and_equal_one_by_one():
    network = CONFIG.build(BOX)("tanh_gaussian")
    params = network.init(KEY)
    observation = jax.random.normal(KEY, (5, 3))
    action = jax.random.uniform(KEY, (5, 2))
    values = network.q_values(params.critics, observation, action)
    assert np.abs(values[:, 0] - values[:, 1]).max() > 1e-2
    for number in range(3):
        one = jax.tree.map(lambda x, k=number: x[k : k + 1], params.critics)
        alone = network.q_values(one, observation, action)[:, 0]
        np.testing.assert_allclose(values[:, number], alone, rtol=1e-4, atol=1e-6)


def test_critics_see_the_action():
    network = CONFIG.build(BOX)("tanh_gaussian")
    params = network.init(KEY)
    gradient = jax.grad(
        lambda action: network.q_values(params.critics, jnp.ones(3), action).sum()
    )(jnp.zeros(2))
    assert (np.abs(gradient) > 1e-4).all()


@pytest.mark.parametrize(
    ("kind", "spec", "message"),
    [
        ("tanh_gaussian", CHOICE, "Choice has discrete actions"),
        ("deterministic", CHOICE, "Choice has discrete actions"),
        ("categorical", BOX, "Box has continuous actions"),
        (
            "tanh_gaussian",
            BOX._replace(action=ArraySpec((2,), jnp.float32)),
            "needs finite bounds on actions; those of Box",
        ),
        (
            "deterministic",
            BOX._replace(action=ArraySpec((2, 2), jnp.float32, -1.0, 1.0)),
            r"Box has actions of shape \(2, 2\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(kind, spec, message):
    with pytest.raises(ValueError, match=message) as error:
        CONFIG.build(spec)(kind)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": (8, 0)}, r"hidden\[1\] must be at least 1"),
        ({"num_critics": 0}, "num_critics must be at least 1"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        PolicyAndCriticsConfig(**settings)
