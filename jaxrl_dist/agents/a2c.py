"""Advantage actor-critic, synchronous: one gradient step per batch of rollouts."""

import dataclasses

import jax

from jaxrl_dist import losses
from jaxrl_dist.agents.actor_critic import (
    first_memory,
    make_one_step_agent,
    total_loss,
    weighted_means,
)
from jaxrl_dist.agents.base import mask_weights, normalise, transitions
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.checks import check_at_least, check_in_range
from jaxrl_dist.networks.actor_critic import ActorCritic
from jaxrl_dist.types import Agent, Params, Trajectory


@dataclasses.dataclass(frozen=True)
class A2CConfig:
    """Settings of A2C.

    Attributes:
        optimizer: gradient step.
        gamma: discount per environment step, in [0, 1].
        lambda_: mixes n-step returns, in [0, 1]; 1 is the longest return there is.
        value_weight: of the value loss, at least 0.
        entropy_weight: of the entropy bonus, in reward units per nat, at least 0.
        normalise_advantages: to mean 0 and variance 1 over the batch.

    Raises:
        ValueError: a setting is out of its range.

    Source:
        Mnih et al. 2016, Asynchronous Methods for Deep Reinforcement Learning,
        arXiv:1602.01783; the synchronous form.
    """

    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-3)
    gamma: float = 0.99
    lambda_: float = 1.0
    value_weight: float = 0.5
    entropy_weight: float = 0.0
    normalise_advantages: bool = False

    def __post_init__(self) -> None:
        check_in_range(0, 1, gamma=self.gamma, lambda_=self.lambda_)
        check_at_least(
            0, value_weight=self.value_weight, entropy_weight=self.entropy_weight
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
            estimates = losses.gae(
                rewards=steps.rewards,
                discounts=steps.discounts,
                values=values[:-1],
                next_values=values[1:],
                ends=steps.ends,
                lambda_=self.lambda_,
            )
            weights = mask_weights(steps.mask, axis_name)
            advantages = estimates.advantages
            if self.normalise_advantages:
                advantages = normalise(advantages, weights, axis_name)
            policy = jax.tree.map(lambda x: x[:-1], distribution)
            policy_loss = losses.policy_gradient_loss(
                log_probs=policy.log_prob(steps.actions), advantages=advantages
            )
            errors = values[:-1] - estimates.targets
            terms = {
                "policy_loss": policy_loss,
                "value_loss": 0.5 * errors**2,
                "entropy": policy.entropy(),
            }
            metrics = weighted_means(terms, weights)
            return total_loss(metrics, self), metrics

        optimizer = self.optimizer.build(total_updates)
        return make_one_step_agent(network, optimizer, loss, axis_name)
