"""Soft actor-critic: values that count the policy's entropy, at a learned price."""

import dataclasses
import math
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
from jaxrl_dist.checks import check_above, check_at_least
from jaxrl_dist.networks.policy_and_critics import (
    MakePolicyAndCritics,
    PolicyAndCritics,
)
from jaxrl_dist.types import Agent, ArrayTree, Params


@dataclasses.dataclass(frozen=True)
class SACConfig(PolicyAndCriticsAgentConfig):
    """Settings of SAC.

    Entropies are those of actions in units of half their range, in [-1, 1]. With n_step
    above 1, of the entropies only that at the state reached counts.

    Attributes:
        initial_temperature: price of entropy, reward units per nat, above 0.
        learn_temperature: so that the policy's entropy stays near the target.
        target_entropy: in nats; None takes -1 for each number in an action.
        noise_correlation_steps: environment steps over which the noise of acting stays
            alike, at least 0; at 0, it is fresh at each step. Each action by itself is
            one of the policy's all the same. Where only a long push pays, fresh noise
            does not find out.

    Raises:
        ValueError: a setting is out of its range.

    Source:
        Haarnoja et al. 2018, Soft actor-critic algorithms and applications, algorithm
        1, arXiv:1812.05905; critics, policy and temperature step together here.
        Correlated noise: Lillicrap et al. 2016, section 3, arXiv:1509.02971.
    """

    initial_temperature: float = 1.0
    learn_temperature: bool = True
    target_entropy: float | None = None
    noise_correlation_steps: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_above(0, initial_temperature=self.initial_temperature)
        check_at_least(0, noise_correlation_steps=self.noise_correlation_steps)

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
        parts = network("tanh_gaussian")

        def choose(
            policy: Params, observation: ArrayTree, noise: jax.Array | None
        ) -> jax.Array:
            distribution = parts.policy(policy, observation)
            return distribution.mode() if noise is None else distribution.sample(noise)

        acting = make_acting(choose, parts.action, self.noise_correlation_steps)
        objective = sac_objective(parts, self)
        return make_agent(self, objective, acting, total_updates, axis_name=axis_name)


class SACActor(NamedTuple):
    """What learns beside the critics."""

    policy: Params
    log_temperature: jax.Array  # []


def initial_parameters(
    network: PolicyAndCritics, key: jax.Array, temperature: float
) -> ActorAndCritics:
    """Draws fresh parameters, with the logarithm of a temperature among them."""
    policy, critics = network.init(key)
    log_temperature = jnp.full((), math.log(temperature))
    return ActorAndCritics(SACActor(policy, log_temperature), critics)


def sac_objective(network: PolicyAndCritics, config: SACConfig) -> Objective:
    """Builds the objective of SAC.

    Args:
        network: a policy that is a distribution, and critics.
        config: temperature and target entropy.

    Returns:
        Parameters, errors and losses for `make_agent`.
    """
    scale = ActionScale.of(network.action)
    target_entropy = config.target_entropy
    if target_entropy is None:
        target_entropy = losses.sac_target_entropy(network.action.shape)

    def init(key: jax.Array) -> ActorAndCritics:
        return initial_parameters(network, key, config.initial_temperature)

    def noise(key: jax.Array, steps: NStep) -> jax.Array:
        return jax.random.normal(key, (2, *steps.action.shape))

    def errors(
        params: ActorAndCritics, target: ActorAndCritics, steps: NStep, noise: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        policy = network.policy(params.actor.policy, steps.next_observation)
        next_action, next_log_probs = policy.sample_with_log_prob(noise[0])
        targets = losses.sac_critic_targets(
            rewards=steps.reward,
            discounts=steps.discount,
            next_q_values=network.q_values(
                target.critics, steps.next_observation, next_action
            ),
            next_log_probs=next_log_probs,
            temperature=jnp.exp(params.actor.log_temperature),
        )
        q_values = network.q_values(
            params.critics, steps.observation, scale.to_unit(steps.action)
        )
        return targets[:, None] - q_values, {"q_value": q_values.mean(axis=-1)}

    def actor_losses(
        params: ActorAndCritics, steps: NStep, noise: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        policy = network.policy(params.actor.policy, steps.observation)
        action, log_probs = policy.sample_with_log_prob(noise[1])
        temperature = jnp.exp(params.actor.log_temperature)
        policy_losses = losses.sac_actor_loss(
            q_values=network.q_values(params.critics, steps.observation, action),
            log_probs=log_probs,
            temperature=temperature,
        )
        terms = {
            "policy_loss": policy_losses,
            "entropy": -log_probs,
            "temperature": jnp.broadcast_to(temperature, log_probs.shape),
        }
        if not config.learn_temperature:
            return policy_losses, terms
        temperature_losses = losses.sac_temperature_loss(
            log_temperature=params.actor.log_temperature,
            log_probs=log_probs,
            target_entropy=target_entropy,
        )
        return policy_losses + temperature_losses, terms

    return Objective(init, noise, errors, actor_losses)
