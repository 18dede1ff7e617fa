"""IQN: quantiles of the return at any fractions, drawn anew for every pass."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_dist import losses
from jaxrl_dist.agents.base import NStep
from jaxrl_dist.agents.qr_dqn import quantile_losses
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

SHOWN_QUANTILES = 64  # of the distribution that is shown to people


@dataclasses.dataclass(frozen=True)
class IQNConfig:
    """Settings of IQN.

    Attributes:
        learner: settings shared by all value-based agents.
        num_online_fractions: N, of the online network, drawn for each item, from 1.
        num_target_fractions: N', of the target network, from 1.
        num_policy_fractions: K, over which action values are averaged, from 1.
        num_cosines: that embed a fraction, from 1.
        kappa: where the quantile loss turns linear, in reward units, at least 0.

    Raises:
        ValueError: a setting is out of its range.

    Source:
        Dabney et al. 2018, Implicit quantile networks, arXiv:1806.06923.
    """

    learner: ValueConfig = ValueConfig()
    num_online_fractions: int = 64
    num_target_fractions: int = 64
    num_policy_fractions: int = 32
    num_cosines: int = 64
    kappa: float = 1.0

    def __post_init__(self) -> None:
        check_at_least(
            1,
            num_online_fractions=self.num_online_fractions,
            num_target_fractions=self.num_target_fractions,
            num_policy_fractions=self.num_policy_fractions,
            num_cosines=self.num_cosines,
        )
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
        objective = iqn_objective(network(cosines=self.num_cosines), self)
        return make_value_agent(self.learner, objective, total_updates, axis_name)


class Drawn(NamedTuple):
    """The random numbers of one pass."""

    noise: ArrayTree  # of a noisy network
    fractions: jax.Array  # [K] in [0, 1)


def iqn_objective(network: QNetwork, config: IQNConfig) -> Objective:
    """Builds the objective of IQN.

    Args:
        network: that answers at the fractions it is given.
        config: how many of them, and the loss.

    Returns:
        Parameters, action values and losses for `make_value_agent`; errors are those of
        the mean return, in reward units. Where nothing is left to chance, action values
        are averages over the midpoints of K equal parts.
    """
    policy_size = config.num_policy_fractions
    midpoints = losses.quantile_midpoints(policy_size)

    def draw(key: jax.Array) -> Drawn:
        key_noise, key_fractions = jax.random.split(key)
        fractions = jax.random.uniform(key_fractions, (policy_size,))
        return Drawn(network.noise(key_noise), fractions)

    def q_values(
        params: Params, observation: ArrayTree, drawn: Drawn | None
    ) -> jax.Array:
        noise, fractions = (None, midpoints) if drawn is None else drawn
        return network.apply(params, observation, noise, fractions).mean(-1)

    def loss(
        params: Params, target_params: Params, steps: NStep, key: jax.Array
    ) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
        key_online, key_target, key_fractions = jax.random.split(key, 3)
        noise, target_noise = network.noise(key_online), network.noise(key_target)
        batch_size = len(steps.reward)
        sizes = [
            config.num_online_fractions,
            config.num_target_fractions,
            policy_size,
        ]
        shape = (batch_size, sum(sizes))
        drawn = jax.random.uniform(key_fractions, shape)
        fractions, target_fractions, policy_fractions = jnp.split(
            drawn, [sizes[0], sizes[0] + sizes[1]], axis=-1
        )
        # As in the paper, the target network picks, by fractions of their own.
        picking, pick_noise = target_params, target_noise
        if config.learner.double:
            picking, pick_noise = jax.lax.stop_gradient(params), noise
        picker = network.apply(
            picking, steps.next_observation, pick_noise, policy_fractions
        ).mean(-1)
        return quantile_losses(
            network.apply(params, steps.observation, noise, fractions),
            network.apply(
                target_params, steps.next_observation, target_noise, target_fractions
            ),
            steps,
            fractions=fractions,
            picker=picker,
            kappa=config.kappa,
        )

    def distribution(params: Params, observation: ArrayTree) -> ReturnDistribution:
        shown = losses.quantile_midpoints(SHOWN_QUANTILES)
        quantiles = network.apply(params, observation, None, shown)
        return ReturnDistribution(
            quantiles, jnp.full(quantiles.shape, 1.0 / SHOWN_QUANTILES)
        )

    return Objective(network.init, draw, q_values, loss, distribution)
