"""Rainbow: six improvements of DQN at once, each of which can be taken away.

Three are the agent's own: double Q-learning, n steps, and a distribution of returns.
Dueling streams and noisy layers belong to the network (`QNetworkConfig`), prioritized
draws to the replay (`ReplayConfig`).
"""

import dataclasses

from jaxrl_dist.agents.c51 import Support, c51_objective
from jaxrl_dist.agents.dqn import DQNConfig, dqn_objective
from jaxrl_dist.agents.exploration import ExplorationConfig
from jaxrl_dist.agents.value import ValueConfig, make_value_agent
from jaxrl_dist.networks.action_values import MakeQNetwork
from jaxrl_dist.types import Agent


@dataclasses.dataclass(frozen=True)
class RainbowConfig:
    """Settings of Rainbow.

    Attributes:
        learner: settings shared by all value-based agents; double, three steps, and no
            random actions, since a noisy network explores by itself.
        distributional: learn distributions over atoms; otherwise action values alone,
            with a Huber loss.
        support: where the atoms lie; discounted returns should fit in.

    Source:
        Hessel et al. 2018, arXiv:1710.02298.
    """

    learner: ValueConfig = ValueConfig(
        double=True,
        n_step=3,
        exploration=ExplorationConfig(epsilon_initial=0.0, epsilon_final=0.0),
    )
    distributional: bool = True
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
        if self.distributional:
            objective = c51_objective(
                network(self.support.num_atoms), self.support, self.learner.double
            )
        else:
            objective = dqn_objective(network(1), DQNConfig(learner=self.learner))
        return make_value_agent(self.learner, objective, total_updates, axis_name)
