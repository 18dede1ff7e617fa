"""DQN: action values by Q-learning; also double, and Munchausen's."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxrl_dist import losses
from jaxrl_dist.agents.base import NStep
from jaxrl_dist.agents.value import Objective, ValueConfig, make_value_agent
from jaxrl_dist.checks import check_above, check_in_range
from jaxrl_dist.networks.action_values import MakeQNetwork
from jaxrl_dist.networks.q_network import QNetwork
from jaxrl_dist.types import Agent, ArrayTree, Params


@dataclasses.dataclass(frozen=True)
class DQNConfig:
    """Settings of DQN.

    Attributes:
        learner: settings shared by all value-based agents.
        huber_delta: error, in reward units, beyond which the loss is linear, above 0;
            None keeps it quadratic.
        munchausen: rewards the agent for its own certainty, and values what was reached
            by a soft maximum over the target network.
        munchausen_temperature: of its policy, in reward units per nat, above 0.
        munchausen_alpha: how much of the log-probability is added, in [0, 1].
        munchausen_floor: the least that it counts, in reward units, at most 0.

    Raises:
        ValueError: a setting is out of its range, or both `munchausen` and
            `learner.double` are set.

    Source:
        Mnih et al. 2015, doi:10.1038/nature14236; van Hasselt et al. 2016,
        arXiv:1509.06461; Vieillard et al. 2020, arXiv:2007.14430.
    """

    learner: ValueConfig = ValueConfig()
    huber_delta: float | None = 1.0
    munchausen: bool = False
    munchausen_temperature: float = 0.03
    munchausen_alpha: float = 0.9
    munchausen_floor: float = -1.0

    def __post_init__(self) -> None:
        if self.huber_delta is not None:
            check_above(0, huber_delta=self.huber_delta)
        check_above(0, munchausen_temperature=self.munchausen_temperature)
        check_in_range(0, 1, munchausen_alpha=self.munchausen_alpha)
        check_in_range(-float("inf"), 0, munchausen_floor=self.munchausen_floor)
        if self.munchausen and self.learner.double:
            raise ValueError(
                "munchausen averages over the next actions, and learner.double picks "
                "one; set only one of the two"
            )

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
        objective = dqn_objective(network(1), self)
        return make_value_agent(self.learner, objective, total_updates, axis_name)


def dqn_objective(network: QNetwork, config: DQNConfig) -> Objective:
    """Builds the objective of DQN.

    Args:
        network: with one value per action.
        config: which kind of target, and of loss.

    Returns:
        Parameters, action values and losses for `make_value_agent`; errors are TD
        errors in reward units.
    """

    def q_values(params: Params, observation: ArrayTree, noise: ArrayTree) -> jax.Array:
        return network.apply(params, observation, noise)[..., 0]

    def loss(
        params: Params, target_params: Params, steps: NStep, key: jax.Array
    ) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
        key_online, key_target = jax.random.split(key)
        noise, target_noise = network.noise(key_online), network.noise(key_target)
        taken = q_values(params, steps.observation, noise)
        reached = q_values(target_params, steps.next_observation, target_noise)
        arguments: dict[str, Any] = {
            "q_values": taken,
            "actions": steps.action,
            "rewards": steps.reward,
            "discounts": steps.discount,
            "next_q_values": reached,
        }
        if config.munchausen:
            errors = losses.munchausen_errors(
                **arguments,
                target_q_values=q_values(
                    target_params, steps.observation, target_noise
                ),
                temperature=config.munchausen_temperature,
                alpha=config.munchausen_alpha,
                floor=config.munchausen_floor,
            )
        elif config.learner.double:
            picker = q_values(
                jax.lax.stop_gradient(params), steps.next_observation, noise
            )
            errors = losses.double_q_errors(**arguments, next_q_selector=picker)
        else:
            errors = losses.q_errors(**arguments)
        if config.huber_delta is None:
            sizes = losses.squared_loss(errors=errors)
        else:
            sizes = losses.huber_loss(errors=errors, delta=config.huber_delta)
        return sizes, errors, {"q_mean": jnp.mean(taken)}

    return Objective(network.init, network.noise, q_values, loss)
