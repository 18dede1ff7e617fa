"""Every public loss with arguments to call it with, for what holds of all of them."""

from jaxrl_dist import losses
from tests.losses.entries import entry

STEPS = "rewards discounts ends "
ACTION = "q_values actions rewards discounts next_q_values "

RECURRENT = [
    entry(
        losses.linear_recurrence,
        "increments=rewards factors=discounts initial=last",
        "increments factors initial",
        over_time=True,
        batch_axes={"initial": 0},
        scale=0.9,
    ),
    entry(
        losses.discounted_returns,
        "rewards discounts bootstrap_value=last",
        "rewards discounts bootstrap_value",
        over_time=True,
        batch_axes={"bootstrap_value": 0},
    ),
    entry(
        losses.lambda_returns,
        STEPS + "next_values",
        "rewards discounts next_values",
        over_time=True,
        lambda_=0.8,
    ),
    entry(losses.gae, STEPS + "values next_values", over_time=True, lambda_=0.8),
    entry(
        losses.vtrace,
        STEPS + "values next_values log_ratios",
        over_time=True,
        clip_rho=1.2,
        clip_c=0.7,
        clip_pg_rho=2.0,
        lambda_=0.9,
    ),
    entry(
        losses.leaky_vtrace,
        STEPS + "values next_values log_ratios",
        over_time=True,
        alpha_rho=0.5,
        alpha_c=0.3,
    ),
    entry(
        losses.off_policy_returns,
        STEPS + "q_values=values next_state_values traces=weights",
        over_time=True,
    ),
    entry(
        losses.retrace,
        STEPS + "q_values=values next_state_values log_ratios",
        over_time=True,
        lambda_=0.9,
    ),
    entry(
        losses.tree_backup,
        STEPS + "q_values=values next_state_values log_probs",
        over_time=True,
        lambda_=0.9,
    ),
    entry(
        losses.q_lambda,
        STEPS + "q_values=values next_state_values",
        over_time=True,
        lambda_=0.9,
    ),
]
OVER_TIME = [
    *RECURRENT,
    entry(
        losses.n_step_returns,
        STEPS + "next_values",
        "rewards discounts next_values",
        over_time=True,
        n=2,
    ),
    entry(
        losses.importance_corrected_n_step_returns,
        STEPS + "values next_values log_ratios",
        over_time=True,
        n=2,
    ),
    entry(
        losses.rescaled_n_step_targets,
        STEPS + "next_q_values next_q_selector",
        over_time=True,
        n=2,
    ),
    entry(losses.sequence_priorities, "errors mask", over_time=True),
    entry(losses.mpo_weights, "q_values=values", over_time=True, temperature=0.7),
    entry(
        losses.mpo_temperature_loss,
        "q_values=values temperature",
        "temperature",
        over_time=True,
        shared="temperature",
        epsilon=0.1,
    ),
]
ONE_STEP = [
    entry(losses.td_errors, "values rewards discounts next_values", "values"),
    entry(losses.q_errors, ACTION, "q_values"),
    entry(losses.double_q_errors, ACTION + "next_q_selector", "q_values"),
    entry(losses.sarsa_errors, ACTION + "next_actions", "q_values"),
    entry(losses.expected_sarsa_errors, ACTION + "next_probabilities", "q_values"),
    entry(losses.soft_q_errors, ACTION, "q_values", temperature=0.5),
    entry(
        losses.munchausen_errors,
        ACTION + "target_q_values",
        "q_values",
        temperature=0.5,
    ),
    entry(losses.squared_loss, "errors", "errors"),
    entry(losses.huber_loss, "errors", "errors", delta=0.5),
    entry(losses.action_values, "q_values actions", "q_values"),
    entry(losses.signed_hyperbolic, "values", "values"),
    entry(losses.signed_parabolic, "values", "values"),
]
DISTRIBUTIONAL = [
    entry(
        losses.categorical_projection,
        "atoms probabilities target_atoms",
        "atoms probabilities target_atoms",
        shared="atoms target_atoms",
    ),
    entry(losses.two_hot, "values atoms", "values atoms", shared="atoms"),
    entry(
        losses.categorical_mean,
        "probabilities atoms",
        "probabilities atoms",
        shared="atoms",
    ),
    entry(
        losses.categorical_td_loss,
        "logits rewards discounts next_logits atoms",
        "logits",
        shared="atoms",
    ),
    entry(
        losses.categorical_loss,
        "logits=action_logits actions rewards discounts "
        "next_logits=next_action_logits next_selector atoms",
        "logits",
        shared="atoms",
    ),
    entry(
        losses.quantile_huber_loss, "quantiles fractions target_quantiles", "quantiles"
    ),
    entry(
        losses.quantile_q_loss,
        "quantiles=action_quantiles fractions actions rewards discounts "
        "next_quantiles=next_action_quantiles next_selector",
        "quantiles",
    ),
]
POLICY = [
    entry(losses.policy_gradient_loss, "log_probs advantages", "log_probs"),
    entry(losses.entropy, "logits=policy_logits", "logits"),
    entry(
        losses.categorical_kl,
        "logits=policy_logits other_logits",
        "logits other_logits",
    ),
    entry(losses.categorical_log_probs, "logits=policy_logits actions", "logits"),
    entry(
        losses.clipped_surrogate_loss,
        "log_ratios advantages",
        "log_ratios",
        epsilon=5.0,
    ),
    entry(
        losses.dual_clipped_surrogate_loss,
        "log_ratios advantages",
        "log_ratios",
        epsilon=5.0,
    ),
    entry(
        losses.clipped_value_loss,
        "values old_values targets",
        "values",
        epsilon=9.0,
    ),
    entry(
        losses.kl_penalized_loss,
        "log_ratios advantages kl coefficient=temperature",
        "log_ratios kl",
        shared="coefficient",
    ),
    entry(
        losses.adapted_kl_coefficient,
        "coefficient=temperature kl=multiplier",
        whole_batch=True,
        target_kl=0.1,
    ),
    entry(
        losses.a2c_loss,
        "log_probs entropies advantages values targets",
        "log_probs entropies values",
    ),
    entry(losses.vmpo_weights, "advantages mask", whole_batch=True, temperature=0.7),
    entry(
        losses.vmpo_temperature_loss,
        "advantages mask temperature",
        "temperature",
        whole_batch=True,
        epsilon=0.1,
    ),
    entry(
        losses.kl_constraint_loss,
        "kl multiplier",
        "kl multiplier",
        shared="multiplier",
        epsilon=0.1,
    ),
    entry(
        losses.importance_weights, "probabilities=weights", whole_batch=True, beta=0.6
    ),
    entry(losses.masked_mean, "losses=errors mask weights", "losses", whole_batch=True),
]
CONTINUOUS = [
    entry(
        losses.sac_critic_targets,
        "rewards discounts next_q_values=critics next_log_probs temperature",
        shared="temperature",
    ),
    entry(
        losses.sac_actor_loss,
        "q_values=critics log_probs temperature",
        "q_values log_probs",
        shared="temperature",
    ),
    entry(
        losses.sac_temperature_loss,
        "log_temperature log_probs",
        "log_temperature",
        shared="log_temperature",
        target_entropy=-2.0,
    ),
    entry(losses.td3_critic_targets, "rewards discounts next_q_values=critics"),
    entry(losses.td3_smoothed_actions, "actions=continuous_actions noise"),
    entry(
        losses.deterministic_policy_gradient_loss,
        "actions=continuous_actions action_gradients",
        "actions",
        max_norm=0.5,
    ),
]
ENTRIES = [*OVER_TIME, *ONE_STEP, *DISTRIBUTIONAL, *POLICY, *CONTINUOUS]
# Take no arrays: nothing here applies to them.
WITHOUT_ARRAYS = {"GAE", "VTrace", "quantile_midpoints", "sac_target_entropy"}
BY_ELEMENT = [entry for entry in ENTRIES if entry.batch_axis is not None]
