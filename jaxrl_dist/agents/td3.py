"""TD3: a deterministic policy, twin critics, smoothed targets and a delayed actor."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_dist import losses
from jaxrl_dist.agents.base import NStep
from jaxrl_dist.agents.continuous_actions import ActionScale, make_acting
from jaxrl_dist.agents.policy_and_critics import (
    ActorAndCritics,
    Objective,
    PolicyAndCriticsAgentConfig,
    make_agent,
)
from jaxrl_dist.checks import check_at_least
from jaxrl_dist.networks.policy_and_critics import (
    MakePolicyAndCritics,
    PolicyAndCritics,
)
from jaxrl_dist.types import Agent, ArrayTree, Params


@dataclasses.dataclass(frozen=True)
class TD3Config(PolicyAndCriticsAgentConfig):
    """Settings of TD3. Noise is in units of half the range of the actions.

    Attributes:
        actor_period_updates: updates of the critics for each of the policy and of the
            target networks, from 1.
        exploration_std: standard deviation of the noise on actions taken, at least 0.
        noise_correlation_steps: environment steps over which that noise stays alike, at
            least 0; at 0, it is Gaussian noise fresh at each step, above it is an
            Ornstein-Uhlenbeck process.
        smoothing_std: standard deviation of the noise on the target policy's actions,
            at least 0.
        smoothing_clip: the most of it that is added, at least 0.

    Raises:
        ValueError: a setting is out of its range.

    Source:
        Fujimoto et al. 2018, Addressing function approximation error in actor-critic
        methods, algorithm 1, arXiv:1802.09477; critics and policy step together here.
    """

    actor_period_updates: int = 2
    exploration_std: float = 0.1
    noise_correlation_steps: float = 0.0
    smoothing_std: float = 0.2
    smoothing_clip: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, actor_period_updates=self.actor_period_updates)
        check_at_least(
            0,
            exploration_std=self.exploration_std,
            noise_correlation_steps=self.noise_correlation_steps,
            smoothing_std=self.smoothing_std,
            smoothing_clip=self.smoothing_clip,
        )

    def build(
        self,
        network: MakePolicyAndCritics,
        total_updates: int,
        axis_name: str | None = None,
    ) -> Agent:
        """Builds the agent.

        Args:
            network: makes the policy and its critics.
            total_updates: of the whole run, over which step sizes anneal.
            axis_name: device axis over which gradients are averaged; None for one.

        Raises:
            ValueError: actions are not continuous, or have no bounds.
        """
        parts = network("deterministic")

        def choose(
            policy: Params, observation: ArrayTree, noise: jax.Array | None
        ) -> jax.Array:
            action = parts.policy(policy, observation)
            if noise is None:
                return action
            return jnp.clip(action + self.exploration_std * noise, -1.0, 1.0)

        return make_agent(
            self,
            td3_objective(parts, self),
            make_acting(choose, parts.action, self.noise_correlation_steps),
            total_updates,
            actor_period_updates=self.actor_period_updates,
            axis_name=axis_name,
        )


class TD3Actor(NamedTuple):
    """What learns beside the critics."""

    policy: Params


def td3_objective(network: PolicyAndCritics, config: TD3Config) -> Objective:
    """Builds the objective of TD3.

    Args:
        network: a policy that is an action, and critics.
        config: noise on target actions.

    Returns:
        Parameters, errors and losses for `make_agent`.
    """
    scale = ActionScale.of(network.action)

    def init(key: jax.Array) -> ActorAndCritics:
        policy, critics = network.init(key)
        return ActorAndCritics(TD3Actor(policy), critics)

    def noise(key: jax.Array, steps: NStep) -> jax.Array:
        return jax.random.normal(key, steps.action.shape)

    def errors(
        params: ActorAndCritics, target: ActorAndCritics, steps: NStep, noise: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        next_action = losses.td3_smoothed_actions(
            actions=network.policy(target.actor.policy, steps.next_observation),
            noise=noise,
            noise_scale=config.smoothing_std,
            noise_clip=config.smoothing_clip,
        )
        targets = losses.td3_critic_targets(
            rewards=steps.reward,
            discounts=steps.discount,
            next_q_values=network.q_values(
                target.critics, steps.next_observation, next_action
            ),
        )
        q_values = network.q_values(
            params.critics, steps.observation, scale.to_unit(steps.action)
        )
        return targets[:, None] - q_values, {"q_value": q_values.mean(axis=-1)}

    def actor_losses(
        params: ActorAndCritics, steps: NStep, noise: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        del noise
        action = network.policy(params.actor.policy, steps.observation)
        policy_losses = -first_critic(network, params.critics, steps, action)
        return policy_losses, {"policy_loss": policy_losses}

    return Objective(init, noise, errors, actor_losses, target_actor=True)


def first_critic(
    network: PolicyAndCritics, critics: Params, steps: NStep, action: jax.Array
) -> jax.Array:
    """The value [B] that the first critic alone gives actions [B, D]."""
    first = jax.tree.map(lambda x: x[:1], critics)
    return network.q_values(first, steps.observation, action)[:, 0]
