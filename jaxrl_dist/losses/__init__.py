"""Losses: arrays in, arrays out; they import nothing but JAX, NumPy and checks.

Time is the leading axis, [T, ...], where there is time; every further axis is batch.
A loss is one number for each element: the caller takes the mean, with `masked_mean`
where some elements do not count. No `vmap` is needed. Array arguments are named, so
that two of one shape cannot be swapped.

Results have the common type of the arrays given; bfloat16 is added up in float32.
Shapes, types and settings are checked while tracing and cost nothing afterwards; the
values in arrays are not checked inside compiled code.
"""

from jaxrl_dist.losses.categorical import (
    categorical_loss,
    categorical_mean,
    categorical_projection,
    categorical_td_loss,
    two_hot,
)
from jaxrl_dist.losses.continuous import (
    deterministic_policy_gradient_loss,
    sac_actor_loss,
    sac_critic_targets,
    sac_target_entropy,
    sac_temperature_loss,
    td3_critic_targets,
    td3_smoothed_actions,
)
from jaxrl_dist.losses.distributions import (
    categorical_kl,
    categorical_log_probs,
    entropy,
)
from jaxrl_dist.losses.importance import importance_corrected_n_step_returns
from jaxrl_dist.losses.kl_penalty import adapted_kl_coefficient, kl_penalized_loss
from jaxrl_dist.losses.mpo import (
    kl_constraint_loss,
    mpo_temperature_loss,
    mpo_weights,
    vmpo_temperature_loss,
    vmpo_weights,
)
from jaxrl_dist.losses.policy import (
    a2c_loss,
    clipped_surrogate_loss,
    clipped_value_loss,
    dual_clipped_surrogate_loss,
    policy_gradient_loss,
)
from jaxrl_dist.losses.priorities import importance_weights, sequence_priorities
from jaxrl_dist.losses.quantile import (
    quantile_huber_loss,
    quantile_midpoints,
    quantile_q_loss,
)
from jaxrl_dist.losses.recurrence import linear_recurrence
from jaxrl_dist.losses.reductions import masked_mean
from jaxrl_dist.losses.regression import huber_loss, squared_loss
from jaxrl_dist.losses.rescaling import (
    rescaled_n_step_targets,
    signed_hyperbolic,
    signed_parabolic,
)
from jaxrl_dist.losses.retrace import off_policy_returns, q_lambda, retrace, tree_backup
from jaxrl_dist.losses.returns import (
    GAE,
    discounted_returns,
    gae,
    lambda_returns,
    n_step_returns,
)
from jaxrl_dist.losses.selection import action_values
from jaxrl_dist.losses.soft_q import munchausen_errors, soft_q_errors
from jaxrl_dist.losses.td import (
    double_q_errors,
    expected_sarsa_errors,
    q_errors,
    sarsa_errors,
    td_errors,
)
from jaxrl_dist.losses.vtrace import VTrace, leaky_vtrace, vtrace

__all__ = [
    "GAE",
    "VTrace",
    "a2c_loss",
    "action_values",
    "adapted_kl_coefficient",
    "categorical_kl",
    "categorical_log_probs",
    "categorical_loss",
    "categorical_mean",
    "categorical_projection",
    "categorical_td_loss",
    "clipped_surrogate_loss",
    "clipped_value_loss",
    "deterministic_policy_gradient_loss",
    "discounted_returns",
    "double_q_errors",
    "dual_clipped_surrogate_loss",
    "entropy",
    "expected_sarsa_errors",
    "gae",
    "huber_loss",
    "importance_corrected_n_step_returns",
    "importance_weights",
    "kl_constraint_loss",
    "kl_penalized_loss",
    "lambda_returns",
    "leaky_vtrace",
    "linear_recurrence",
    "masked_mean",
    "mpo_temperature_loss",
    "mpo_weights",
    "munchausen_errors",
    "n_step_returns",
    "off_policy_returns",
    "policy_gradient_loss",
    "q_errors",
    "q_lambda",
    "quantile_huber_loss",
    "quantile_midpoints",
    "quantile_q_loss",
    "rescaled_n_step_targets",
    "retrace",
    "sac_actor_loss",
    "sac_critic_targets",
    "sac_target_entropy",
    "sac_temperature_loss",
    "sarsa_errors",
    "sequence_priorities",
    "signed_hyperbolic",
    "signed_parabolic",
    "soft_q_errors",
    "squared_loss",
    "td3_critic_targets",
    "td3_smoothed_actions",
    "td_errors",
    "tree_backup",
    "two_hot",
    "vmpo_temperature_loss",
    "vmpo_weights",
    "vtrace",
]
