"""QR-DQN: quantiles of the return at fixed fractions, for each action."""

import dataclasses

import jax
import jax.numpy as jnp

from jaxrl_dist import losses
from jaxrl_dist.agents.base import NStep
from jaxrl_dist.agents.value import (
    Objective,
    ReturnDistribution,
    ValueConfig,
    make_value_agent,
)
from jaxrl_dist.checks import check_at_least
from jaxrl_dist.networks.action_values import MakeQNetwork
from jaxrl_dist.networks.q_network import QNetwork
from jaxrl_dist.types import Agent, ArrayTree, Params


@dataclasses.dataclass(frozen=True)
class QRDQNConfig:
    """Settings of QR-DQN.

    Attributes:
        learner: settings shared by all value-based agents.
        num_quantiles: for each action, from 1.
        kappa: where the quantile loss turns linear, in reward units, at least 0.

    Raises:
        ValueError: a setting is out of its range.

    Source:
        Dabney et al. 2018, Distributional reinforcement learning with quantile
        regression, arXiv:1710.10044.
    """

    learner: ValueConfig = ValueConfig()
    num_quantiles: int = 200
    kappa: float = 1.0

    def __post_init__(self) -> None:
        check_at_least(1, num_quantiles=self.num_quantiles)
        check_at_least(0, kappa=self.kappa)

    @property
    def gamma(self) -> float:
        """Discount per environment step."""
        return self.learner.gamma

    def build(
        self, network: MakeQNetwork, total_updates: int, axis_name: str | None = None
    ) -> Agent:
        """Builds the agent.

        Args:
            network: of `QNetworkConfig.build`.
            total_updates: of the whole run, over which settings anneal.
            axis_name: device axis over which gradients are averaged; None for one.
        """
        objective = qr_dqn_objective(network(self.num_quantiles), self)
        return make_value_agent(self.learner, objective, total_updates, axis_name)


def qr_dqn_objective(network: QNetwork, config: QRDQNConfig) -> Objective:
    """Builds the objective of QR-DQN.

    Args:
        network: with one value per action and quantile.
        config: how the quantiles are learned.

    Returns:
        Parameters, action values and losses for `make_value_agent`; errors are those of
        the mean return, in reward units.
    """
    fractions = losses.quantile_midpoints(config.num_quantiles)

    def q_values(params: Params, observation: ArrayTree, noise: ArrayTree) -> jax.Array:
        return network.apply(params, observation, noise).mean(-1)

    def loss(
        params: Params, target_params: Params, steps: NStep, key: jax.Array
    ) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
        key_online, key_target = jax.random.split(key)
        noise, target_noise = network.noise(key_online), network.noise(key_target)
        picker = None
        if config.learner.double:
            picker = q_values(
                jax.lax.stop_gradient(params), steps.next_observation, noise
            )
        return quantile_losses(
            network.apply(params, steps.observation, noise),
            network.apply(target_params, steps.next_observation, target_noise),
            steps,
            fractions=fractions,
            picker=picker,
            kappa=config.kappa,
        )

    def distribution(params: Params, observation: ArrayTree) -> ReturnDistribution:
        quantiles = network.apply(params, observation, None)
        return ReturnDistribution(
            quantiles, jnp.full(quantiles.shape, 1.0 / config.num_quantiles)
        )

    return Objective(network.init, network.noise, q_values, loss, distribution)


def quantile_losses(
    quantiles: jax.Array,
    next_quantiles: jax.Array,
    steps: NStep,
    *,
    fractions: jax.Array,
    picker: jax.Array | None,
    kappa: float,
) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
    """Compares quantiles with those of what was reached.

    Args:
        quantiles: [B, A, N] of the online network, reward units.
        next_quantiles: [B, A, M] of the target network, reward units.
        steps: [B, ...] between the two.
        fractions: [N] of the quantiles.
        picker: [B, A] whose greatest picks the next action; None for the means of
            `next_quantiles`.
        kappa: where the loss turns linear, in reward units.

    Returns:
        Losses [B], errors [B] of the mean return in reward units, and metrics.
    """
    sizes = losses.quantile_q_loss(
        quantiles=quantiles,
        fractions=fractions,
        actions=steps.action,
        rewards=steps.reward,
        discounts=steps.discount,
        next_quantiles=next_quantiles,
        next_selector=picker,
        kappa=kappa,
    )
    means, next_means = quantiles.mean(-1), next_quantiles.mean(-1)
    errors = losses.double_q_errors(
        q_values=means,
        actions=steps.action,
        rewards=steps.reward,
        discounts=steps.discount,
        next_q_values=next_means,
        next_q_selector=next_means if picker is None else picker,
    )
    return sizes, jax.lax.stop_gradient(errors), {"q_mean": means.mean()}
