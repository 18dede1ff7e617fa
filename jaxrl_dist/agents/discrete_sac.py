"""SAC for discrete actions: each of its losses, averaged exactly over the actions."""

import dataclasses
import math

import jax
import jax.numpy as jnp

from jaxrl_dist import losses
from jaxrl_dist.agents.base import NStep
from jaxrl_dist.agents.policy_and_critics import (
    Acting,
    ActingParams,
    ActorAndCritics,
    Objective,
    PolicyAndCriticsAgentConfig,
    make_agent,
)
from jaxrl_dist.agents.sac import initial_parameters
from jaxrl_dist.checks import check_above, check_in_range
from jaxrl_dist.networks.distributions import Categorical
from jaxrl_dist.networks.policy_and_critics import (
    MakePolicyAndCritics,
    PolicyAndCritics,
)
from jaxrl_dist.types import Agent, ArrayTree, TimeStep


@dataclasses.dataclass(frozen=True)
class DiscreteSACConfig(PolicyAndCriticsAgentConfig):
    """Settings of discrete SAC.

    With n_step above 1, of the entropies only that at the state reached counts.

    Attributes:
        initial_temperature: price of entropy, reward units per nat, above 0.
        learn_temperature: so that the policy's entropy stays near the target.
        target_entropy_share: the target, as a share of that of random actions, log A,
            in [0, 1].

    Raises:
        ValueError: a setting is out of its range.

    Source:
        Christodoulou 2019, Soft actor-critic for discrete action settings,
        arXiv:1910.07207; critics, policy and temperature step together here.
    """

    initial_temperature: float = 1.0
    learn_temperature: bool = True
    target_entropy_share: float = 0.98

    def __post_init__(self) -> None:
        super().__post_init__()
        check_above(0, initial_temperature=self.initial_temperature)
        check_in_range(0, 1, target_entropy_share=self.target_entropy_share)

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
            ValueError: actions are not discrete.
        """
        parts = network("categorical")
        return make_agent(
            self,
            discrete_sac_objective(parts, self),
            make_discrete_acting(parts),
            total_updates,
            axis_name=axis_name,
        )


def make_discrete_acting(network: PolicyAndCritics) -> Acting:
    """Builds the functions that act; until the first update, actions are random.

    Args:
        network: a policy that is a Categorical, and critics.
    """
    num_actions = network.action.num_values

    def draw(key: jax.Array, batch_size: int) -> jax.Array:
        return Categorical.noise(key, (batch_size, num_actions))

    def act(
        params: ActingParams,
        memory: ArrayTree,
        time_step: TimeStep,
        noise: jax.Array | None,
    ) -> tuple[ArrayTree, jax.Array, ArrayTree]:
        policy: Categorical = network.policy(params.policy, time_step.observation)
        if noise is None:
            return memory, policy.mode(), ()
        logits = jnp.where(params.num_updates == 0, 0.0, policy.logits)
        return memory, Categorical(logits).sample(noise), ()

    return Acting(lambda batch_size: (), draw, act)


def discrete_sac_objective(
    network: PolicyAndCritics, config: DiscreteSACConfig
) -> Objective:
    """Builds the objective of discrete SAC.

    Args:
        network: a policy that is a Categorical, and critics of all actions.
        config: temperature and target entropy.

    Returns:
        Parameters, errors and losses for `make_agent`.
    """
    log_num_actions = math.log(network.action.num_values)
    target_entropy = config.target_entropy_share * log_num_actions

    def init(key: jax.Array) -> ActorAndCritics:
        return initial_parameters(network, key, config.initial_temperature)

    def errors(
        params: ActorAndCritics, target: ActorAndCritics, steps: NStep, noise: tuple
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        del noise
        policy = network.policy(params.actor.policy, steps.next_observation)
        log_probs = policy.log_probs()
        of_each_action = losses.sac_critic_targets(
            rewards=jnp.broadcast_to(steps.reward[:, None], log_probs.shape),
            discounts=jnp.broadcast_to(steps.discount[:, None], log_probs.shape),
            next_q_values=network.q_values(target.critics, steps.next_observation),
            next_log_probs=log_probs,
            temperature=jnp.exp(params.actor.log_temperature),
        )
        targets = jnp.sum(jnp.exp(log_probs) * of_each_action, axis=-1)
        all_values = network.q_values(params.critics, steps.observation)
        q_values = jax.vmap(
            lambda x: losses.action_values(q_values=x, actions=steps.action), -1, -1
        )(all_values)
        return targets[:, None] - q_values, {"q_value": q_values.mean(axis=-1)}

    def actor_losses(
        params: ActorAndCritics, steps: NStep, noise: tuple
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        del noise
        policy = network.policy(params.actor.policy, steps.observation)
        log_probs = policy.log_probs()
        probs = jnp.exp(log_probs)
        temperature = jnp.exp(params.actor.log_temperature)
        of_each_action = losses.sac_actor_loss(
            q_values=network.q_values(params.critics, steps.observation),
            log_probs=log_probs,
            temperature=temperature,
        )
        policy_losses = jnp.sum(probs * of_each_action, axis=-1)
        entropy = policy.entropy()
        terms = {
            "policy_loss": policy_losses,
            "entropy": entropy,
            "temperature": jnp.broadcast_to(temperature, entropy.shape),
        }
        if not config.learn_temperature:
            return policy_losses, terms
        temperature_losses = losses.sac_temperature_loss(
            log_temperature=params.actor.log_temperature,
            log_probs=-entropy,
            target_entropy=target_entropy,
        )
        return policy_losses + temperature_losses, terms

    return Objective(init, lambda key, steps: (), errors, actor_losses)
