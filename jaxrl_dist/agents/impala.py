"""IMPALA: an actor-critic corrected by V-trace for the age of its experience."""

import dataclasses

import jax
import jax.numpy as jnp

from jaxrl_dist import losses
from jaxrl_dist.agents.actor_critic import (
    first_memory,
    make_one_step_agent,
    total_loss,
    weighted_means,
)
from jaxrl_dist.agents.base import mask_weights, transitions
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.checks import check_at_least, check_in_range
from jaxrl_dist.networks.actor_critic import ActorCritic
from jaxrl_dist.types import Agent, Params, Trajectory


@dataclasses.dataclass(frozen=True)
class IMPALAConfig:
    """Settings of IMPALA.

    Attributes:
        optimizer: gradient step.
        gamma: discount per environment step, in [0, 1].
        lambda_: shortens the traces of V-trace, in [0, 1].
        clip_rho: cap on the ratio that weighs a TD error, at least 0.
        clip_c: cap on the ratio that carries corrections back in time, at least 0.
        clip_pg_rho: cap on the ratio that weighs an advantage, at least 0.
        value_weight: of the value loss, at least 0.
        entropy_weight: of the entropy bonus, in reward units per nat, at least 0.
        correct: False takes all ratios as 1, as if the experience were the learner's
            own; for ablations.

    Raises:
        ValueError: a setting is out of its range.

    Source:
        Espeholt et al. 2018, IMPALA, arXiv:1802.01561.
    """

    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-3)
    gamma: float = 0.99
    lambda_: float = 1.0
    clip_rho: float = 1.0
    clip_c: float = 1.0
    clip_pg_rho: float = 1.0
    value_weight: float = 0.5
    entropy_weight: float = 0.01
    correct: bool = True

    def __post_init__(self) -> None:
        check_in_range(0, 1, gamma=self.gamma, lambda_=self.lambda_)
        check_at_least(
            0,
            clip_rho=self.clip_rho,
            clip_c=self.clip_c,
            clip_pg_rho=self.clip_pg_rho,
            value_weight=self.value_weight,
            entropy_weight=self.entropy_weight,
        )

    def build(
        self, network: ActorCritic, total_updates: int, axis_name: str | None = None
    ) -> Agent:
        """Builds the agent.

        Args:
            network: the policy and its values.
            total_updates: batches of the whole run, over which the step size anneals.
            axis_name: device axis over which gradients are averaged; None for one.
        """

        def loss(
            params: Params, rows: Trajectory
        ) -> tuple[jax.Array, dict[str, jax.Array]]:
            steps = transitions(rows, self.gamma)
            _, distribution, values = network.unroll(
                params, first_memory(rows), rows.observation, rows.is_first
            )
            policy, behaviour = jax.tree.map(
                lambda x: x[:-1], (distribution, rows.extras)
            )
            log_probs = policy.log_prob(steps.actions)
            log_ratios = log_probs - behaviour.log_prob(steps.actions)
            if not self.correct:
                log_ratios = jnp.zeros_like(log_ratios)
            estimates = losses.vtrace(
                rewards=steps.rewards,
                discounts=steps.discounts,
                values=values[:-1],
                next_values=values[1:],
                log_ratios=log_ratios,
                ends=steps.ends,
                clip_rho=self.clip_rho,
                clip_c=self.clip_c,
                clip_pg_rho=self.clip_pg_rho,
                lambda_=self.lambda_,
            )
            weights = mask_weights(steps.mask, axis_name)
            policy_loss = losses.policy_gradient_loss(
                log_probs=log_probs, advantages=estimates.advantages
            )
            errors = values[:-1] - estimates.targets
            ratios = jnp.exp(jax.lax.stop_gradient(log_ratios))
            terms = {
                "policy_loss": policy_loss,
                "value_loss": 0.5 * errors**2,
                "entropy": policy.entropy(),
                "clipped_ratio_share": ratios > self.clip_rho,
            }
            metrics = weighted_means(terms, weights)
            return total_loss(metrics, self), metrics

        optimizer = self.optimizer.build(total_updates)
        return make_one_step_agent(network, optimizer, loss, axis_name)
