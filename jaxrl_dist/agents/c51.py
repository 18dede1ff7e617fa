"""C51: a distribution of returns over fixed atoms, for each action."""

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
from jaxrl_dist.checks import check_above, check_at_least
from jaxrl_dist.networks.action_values import MakeQNetwork
from jaxrl_dist.networks.q_network import QNetwork
from jaxrl_dist.types import Agent, ArrayTree, Params


@dataclasses.dataclass(frozen=True)
class Support:
    """The returns that a categorical distribution can name, evenly spaced.

    Attributes:
        num_atoms: how many, from 2.
        v_min: the least return, in reward units.
        v_max: the greatest, above v_min. Returns beyond either count as that end.

    Raises:
        ValueError: a setting is out of its range.
    """

    num_atoms: int = 51
    v_min: float = -10.0
    v_max: float = 10.0

    def __post_init__(self) -> None:
        check_at_least(2, num_atoms=self.num_atoms)
        check_above(self.v_min, v_max=self.v_max)

    def atoms(self) -> jax.Array:
        """The returns, [num_atoms], in reward units."""
        return jnp.linspace(self.v_min, self.v_max, self.num_atoms)


@dataclasses.dataclass(frozen=True)
class C51Config:
    """Settings of C51.

    Attributes:
        learner: settings shared by all value-based agents.
        support: where the atoms lie; discounted returns should fit in.

    Source:
        Bellemare et al. 2017, arXiv:1707.06887.
    """

    learner: ValueConfig = ValueConfig()
    support: Support = Support()

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
        objective = c51_objective(
            network(self.support.num_atoms), self.support, self.learner.double
        )
        return make_value_agent(self.learner, objective, total_updates, axis_name)


def c51_objective(network: QNetwork, support: Support, double: bool) -> Objective:
    """Builds the objective of C51.

    Args:
        network: with a logit per action and atom.
        support: the atoms.
        double: the online network picks the next action.

    Returns:
        Parameters, action values and losses for `make_value_agent`. Losses are
        cross-entropies in nats, and are the errors too: priorities measure how badly
        the distribution fits, as in Rainbow.
    """
    atoms = support.atoms()

    def q_values(params: Params, observation: ArrayTree, noise: ArrayTree) -> jax.Array:
        logits = network.apply(params, observation, noise)
        return losses.categorical_mean(
            probabilities=jax.nn.softmax(logits), atoms=atoms
        )

    def loss(
        params: Params, target_params: Params, steps: NStep, key: jax.Array
    ) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
        key_online, key_target = jax.random.split(key)
        noise, target_noise = network.noise(key_online), network.noise(key_target)
        logits = network.apply(params, steps.observation, noise)
        picker = None
        if double:
            picker = q_values(
                jax.lax.stop_gradient(params), steps.next_observation, noise
            )
        entropies = losses.categorical_loss(
            logits=logits,
            actions=steps.action,
            rewards=steps.reward,
            discounts=steps.discount,
            next_logits=network.apply(
                target_params, steps.next_observation, target_noise
            ),
            next_selector=picker,
            atoms=atoms,
        )
        means = jax.nn.softmax(logits).mean((0, 1)) @ atoms
        return entropies, entropies, {"q_mean": means}

    def distribution(params: Params, observation: ArrayTree) -> ReturnDistribution:
        logits = network.apply(params, observation, None)
        probabilities = jax.nn.softmax(logits)
        return ReturnDistribution(jnp.broadcast_to(atoms, logits.shape), probabilities)

    return Objective(network.init, network.noise, q_values, loss, distribution)
