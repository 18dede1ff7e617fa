"""Losses: arrays in, arrays out; they import nothing but JAX and checks."""

from jaxrl_dist.losses.policy import (
    categorical_kl,
    clipped_surrogate_loss,
    clipped_value_loss,
    entropy,
    policy_gradient_loss,
)
from jaxrl_dist.losses.recurrence import linear_recurrence
from jaxrl_dist.losses.returns import (
    GAE,
    discounted_returns,
    gae,
    lambda_returns,
    n_step_returns,
)
from jaxrl_dist.losses.vtrace import VTrace, vtrace

__all__ = [
    "GAE",
    "VTrace",
    "categorical_kl",
    "clipped_surrogate_loss",
    "clipped_value_loss",
    "discounted_returns",
    "entropy",
    "gae",
    "lambda_returns",
    "linear_recurrence",
    "n_step_returns",
    "policy_gradient_loss",
    "vtrace",
]
