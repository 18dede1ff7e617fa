"""Soft and Munchausen Q-learning against their formulas, term by term."""

import math

import jax
import numpy as np
import pytest

from jaxrl_dist import losses
from tests.losses.test_td import ALWAYS, BATCH, make_batch


def probabilities(values, temperature):
    weights = [math.exp((q - max(values)) / temperature) for q in values]
    return [weight / sum(weights) for weight in weights]


def soft_value(values, temperature):
    """The policy's mean of Q minus tau log pi, not the log-sum-exp it is equal to."""
    return sum(
        p * (q - temperature * math.log(p))
        for p, q in zip(probabilities(values, temperature), values, strict=True)
    )


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
def test_soft_errors_match_the_definition(temperature):
    batch = {name: make_batch()[name] for name in ALWAYS}
    with jax.enable_x64(True):
        got = losses.soft_q_errors(**batch, temperature=temperature)
    for at in np.ndindex(BATCH):
        b = {name: array[at] for name, array in batch.items()}
        target = b["rewards"] + b["discounts"] * soft_value(
            b["next_q_values"], temperature
        )
        np.testing.assert_allclose(got[at], target - b["q_values"][b["actions"]])


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.3, "alpha": 0.8, "floor": -0.5},
        {"temperature": 1.0, "alpha": 1.0, "floor": -100.0},
        {"temperature": 0.7, "alpha": 0.0, "floor": 0.0},
    ],
    ids=str,
)
def test_munchausen_errors_match_the_definition(settings):
    batch = {name: make_batch()[name] for name in (*ALWAYS, "next_q_selector")}
    batch["target_q_values"] = batch.pop("next_q_selector")
    with jax.enable_x64(True):
        got = losses.munchausen_errors(**batch, **settings)
    tau = settings["temperature"]
    for at in np.ndindex(BATCH):
        b = {name: array[at] for name, array in batch.items()}
        log_policy = math.log(probabilities(b["target_q_values"], tau)[b["actions"]])
        bonus = settings["alpha"] * max(tau * log_policy, settings["floor"])
        target = b["rewards"] + bonus
        target += b["discounts"] * soft_value(b["next_q_values"], tau)
        np.testing.assert_allclose(got[at], target - b["q_values"][b["actions"]])


def test_the_defaults_are_the_paper_s():
    batch = {name: make_batch()[name] for name in (*ALWAYS, "next_q_selector")}
    batch["target_q_values"] = batch.pop("next_q_selector")
    np.testing.assert_array_equal(
        losses.munchausen_errors(**batch),
        losses.munchausen_errors(**batch, temperature=0.03, alpha=0.9, floor=-1.0),
    )


def test_a_low_temperature_is_q_learning():
    batch = {name: make_batch()[name] for name in ALWAYS}
    np.testing.assert_allclose(
        losses.soft_q_errors(**batch, temperature=1e-4),
        losses.q_errors(**batch),
        atol=1e-3,
    )


@pytest.mark.parametrize("name", ["next_q_values", "target_q_values"])
def test_another_number_of_actions_is_refused(name):
    batch = {each: make_batch()[each] for each in ALWAYS}
    batch["target_q_values"] = batch["q_values"]
    batch[name] = np.concatenate([batch[name]] * 2, axis=-1)
    function = losses.munchausen_errors
    if name == "next_q_values":
        function = losses.soft_q_errors
        del batch["target_q_values"]
    with pytest.raises(ValueError, match=f"{name} has shape .*, but q_values has"):
        function(**batch, temperature=1.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ({"alpha": -0.1}, r"alpha must be in \[0, 1\], got -0.1"),
        ({"alpha": 1.1}, r"alpha must be in \[0, 1\], got 1.1"),
        ({"floor": 0.1}, r"floor must be in \[-inf, 0\], got 0.1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    batch = {name: make_batch()[name] for name in ALWAYS}
    with pytest.raises(ValueError, match=message):
        losses.munchausen_errors(**batch, target_q_values=batch["q_values"], **settings)
    if "temperature" in settings:
        with pytest.raises(ValueError, match=message):
            losses.soft_q_errors(**batch, **settings)
