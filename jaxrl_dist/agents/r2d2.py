"""R2D2: Q-learning with memory, from sequences that begin with the actor's own.

The memory with which a sequence begins was computed by older parameters. Reading some
rows before those that are learned from, the burn-in, makes up for most of that.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax

from jaxrl_dist.agents.exploration import (
    Acting,
    Chance,
    ExplorationConfig,
    choose,
    make_draw,
    placed,
)
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.agents.r2d2_heads import (
    Drawn,
    Head,
    implicit_head,
    q_head,
    quantile_head,
)
from jaxrl_dist.agents.r2d2_learning import (
    action_values,
    make_gradients,
    make_initial_priorities,
    make_learn,
)
from jaxrl_dist.agents.value import ValueConfig, make_learner
from jaxrl_dist.checks import check_above, check_at_least, check_in_range
from jaxrl_dist.networks.action_values import MakeQNetwork
from jaxrl_dist.types import Agent, ArrayTree, TimeStep

HeadName = Literal["q", "qr", "iqn"]


@dataclasses.dataclass(frozen=True)
class R2D2Config:
    """Settings of R2D2.

    A sequence has burn_in + trace + learner.n_step rows: T rows hold T - 1 steps, so
    that the last of the trace's values has the n steps that it looks ahead. Sequences
    begin every trace / 2 rows of an environment.

    Attributes:
        learner: settings shared by all value-based agents.
        burn_in: rows read only for the memory, without gradient, from 0.
        trace: rows whose values are learned, from 1.
        stored_state: sequences begin with the memory that the actor had; otherwise with
            the initial one, as if an episode began.
        head: what is learned of a return: q, its mean; qr, quantiles at fixed
            fractions; iqn, quantiles at drawn ones. Action values are means of the
            quantiles in reward units.
        num_quantiles: for each action, from 1; of iqn as many again pick actions.
        num_cosines: iqn only: that embed a fraction, from 1.
        huber_delta: q only: error, on the compressed scale, beyond which the loss is
            linear, above 0; None keeps it quadratic.
        kappa: qr and iqn only: where the quantile loss turns linear, on the compressed
            scale, at least 0.
        rescaling_epsilon: slope that the compressed scale keeps for large values, at
            least 0.
        priority_eta: share of the greatest error in a sequence's priority, in [0, 1];
            the mean has the rest.

    Raises:
        ValueError: a setting is out of its range.

    Source:
        Kapturowski et al. 2019, Recurrent experience replay in distributed
        reinforcement learning, https://openreview.net/forum?id=r1lyTjAqYX.
    """

    learner: ValueConfig = ValueConfig(
        optimizer=OptimizerConfig(
            learning_rate=1e-4, anneal=False, max_gradient_norm=40.0, epsilon=1e-3
        ),
        gamma=0.997,
        n_step=5,
        double=True,
        target_period_updates=2_500,
        exploration=ExplorationConfig(0.4, 0.4, ladder=7.0),
    )
    burn_in: int = 40
    trace: int = 80
    stored_state: bool = True
    head: HeadName = "q"
    num_quantiles: int = 32
    num_cosines: int = 64
    huber_delta: float | None = None
    kappa: float = 1.0
    rescaling_epsilon: float = 1e-3
    priority_eta: float = 0.9

    def __post_init__(self) -> None:
        check_at_least(
            0,
            burn_in=self.burn_in,
            kappa=self.kappa,
            rescaling_epsilon=self.rescaling_epsilon,
        )
        check_at_least(
            1,
            trace=self.trace,
            num_quantiles=self.num_quantiles,
            num_cosines=self.num_cosines,
        )
        if self.huber_delta is not None:
            check_above(0, huber_delta=self.huber_delta)
        check_in_range(0, 1, priority_eta=self.priority_eta)
        if self.head not in ("q", "qr", "iqn"):
            raise ValueError(f"head must be q, qr or iqn, got {self.head!r}")
        lasting = self.learner.exploration.random_action_steps
        if lasting != 1:
            raise ValueError(
                "learner.exploration.random_action_steps must be 1 for R2D2, whose "
                f"memory is that of its network, got {lasting}"
            )

    @property
    def gamma(self) -> float:
        """Discount per environment step."""
        return self.learner.gamma

    @property
    def sequence_period(self) -> int:
        """Rows from the beginning of a sequence to that of the next."""
        return max(1, self.trace // 2)

    def build(
        self, network: MakeQNetwork, total_updates: int, axis_name: str | None = None
    ) -> Agent:
        """Builds the agent.

        Args:
            network: of `QNetworkConfig.build`; without a core it learns from sequences
                all the same, as a control.
            total_updates: of the whole run, over which settings anneal.
            axis_name: device axis over which gradients are averaged; None for one.
        """
        head = self.build_head(network)
        learn = make_learn(self, head)
        learner = make_learner(
            self.learner,
            head.network.init,
            lambda layout: make_gradients(self, learn, layout, axis_name),
            total_updates,
        )

        def draw_network(key: jax.Array) -> Drawn:
            key_noise, key_fractions = jax.random.split(key)
            noise = head.network.noise(key_noise)
            return Drawn(noise, head.acting_fractions(key_fractions))

        return Agent(
            **learner._asdict(),
            initial_memory=head.network.initial_memory,
            draw=make_draw(draw_network),
            act=make_act(self, head, axis_name),
            sequence_length=self.burn_in + self.trace + self.learner.n_step,
            sequence_period=self.sequence_period,
            first_row_only=False,
            initial_priorities=make_initial_priorities(self, learn),
            placed=placed,
        )

    def build_head(self, network: MakeQNetwork) -> Head:
        """Builds the network, and what is special about its outputs."""
        if self.head == "q":
            return q_head(network, self.huber_delta)
        if self.head == "qr":
            return quantile_head(network, self.num_quantiles, self.kappa)
        return implicit_head(
            network,
            self.num_quantiles,
            num_cosines=self.num_cosines,
            kappa=self.kappa,
        )


def make_act(config: R2D2Config, head: Head, axis_name: str | None) -> Callable:
    """Builds the function that acts and remembers; its extras are ()."""

    def act(
        acting: Acting, memory: ArrayTree, time_step: TimeStep, noise: Chance | None
    ) -> tuple[ArrayTree, jax.Array, ArrayTree]:
        drawn: Any = None if noise is None else noise.network
        if drawn is None:
            drawn = Drawn(None, head.acting_fractions(None))
        observation, is_first = jax.tree.map(
            lambda x: x[None], (time_step.observation, time_step.is_first)
        )
        memory, outputs = head.network.unroll(
            acting.params,
            memory,
            observation,
            is_first,
            noise=drawn.noise,
            fractions=drawn.fractions,
        )
        action = choose(
            acting,
            action_values(outputs[0], config.rescaling_epsilon),
            noise,
            ladder=config.learner.exploration.ladder,
            axis_name=axis_name,
        )
        return memory, action, ()

    return act
