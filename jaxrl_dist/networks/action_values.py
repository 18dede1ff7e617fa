"""Settings of networks of action values, for agents that learn those."""

import dataclasses
from typing import Protocol

from jaxrl_dist.checks import check_above, check_at_least
from jaxrl_dist.networks.action_value_heads import ActionValueHead, CosineEmbedding
from jaxrl_dist.networks.q_network import ActionValueModule, QNetwork, make_q_network
from jaxrl_dist.networks.recurrent import CoreConfig
from jaxrl_dist.networks.torso_choice import TorsoName, choose_torso, make_torso
from jaxrl_dist.networks.torsos import Activation
from jaxrl_dist.types import DiscreteSpec, EnvironmentSpec


class MakeQNetwork(Protocol):
    """Builds a network with the outputs that an agent asks for."""

    def __call__(
        self,
        num_values: int = 1,
        *,
        cosines: int | None = None,
        may_remember: bool = False,
    ) -> QNetwork:
        """Builds the network.

        Args:
            num_values: N numbers per action, from 1: 1 for values, else the atoms or
                quantiles of a distribution.
            cosines: for implicit quantiles, how many the embedding of a fraction has,
                from 1; N is then the number of fractions given. None for the others.
            may_remember: the agent keeps the network's memory, and calls `unroll`.

        Raises:
            ValueError: a number is below 1, both are asked for, or there is a core in
                a network that may not remember.
        """
        ...


@dataclasses.dataclass(frozen=True)
class QNetworkConfig:
    """Settings of a network of action values.

    Attributes:
        torso: what reads observations; auto takes an MLP for flat ones, MinAtar's
            network for small images and the Nature network for images from 36x36.
        hidden: units per layer of the MLP, () for none; the convolutional torsos have
            the sizes of their papers, with their dense layer.
        activation: function after each layer of MLP and head.
        layer_norm: whether layers of torso and head are normalized before their
            activation.
        core: what remembers between torso and head, for R2D2; none for a network
            without memory.
        head_hidden: units per layer between torso or core and outputs, in each stream
            of a dueling network. Only these layers are noisy: with (), the outputs
            alone.
        dueling: whether values come from a state's value and advantages.
        noisy: whether the head's layers have learned noise on their weights.
        noisy_std: that noise before training (sigma_0), above 0.

    Raises:
        ValueError: a size is below 1, or noisy_std not above 0.
    """

    torso: TorsoName = "auto"
    hidden: tuple[int, ...] = (120, 84)
    activation: Activation = "relu"
    layer_norm: bool = False
    core: CoreConfig = CoreConfig()
    head_hidden: tuple[int, ...] = ()
    dueling: bool = False
    noisy: bool = False
    noisy_std: float = 0.5

    def __post_init__(self) -> None:
        for name in ("hidden", "head_hidden"):
            for layer, units in enumerate(getattr(self, name)):
                check_at_least(1, **{f"{name}[{layer}]": units})
        check_above(0, noisy_std=self.noisy_std)

    def build(self, spec: EnvironmentSpec) -> MakeQNetwork:
        """Prepares the network for an environment.

        Args:
            spec: of the environment.

        Returns:
            What builds it with the outputs that an agent asks for.

        Raises:
            ValueError: the torso does not fit, or actions are continuous.
        """
        action = spec.action
        if not isinstance(action, DiscreteSpec):
            raise ValueError(
                f"a network of action values needs discrete actions, but {spec.name} "
                f"takes arrays of shape {action.shape}; use an agent for continuous "
                "actions"
            )
        torso_name = choose_torso(self.torso, spec)

        def make(
            num_values: int = 1,
            *,
            cosines: int | None = None,
            may_remember: bool = False,
        ) -> QNetwork:
            check_at_least(1, num_values=num_values)
            if self.core.kind != "none" and not may_remember:
                raise ValueError(
                    f"network.core.kind is {self.core.kind}, and this agent keeps no "
                    "memory; use R2D2, or network.core.kind none"
                )
            if cosines is not None:
                check_at_least(1, cosines=cosines)
                if num_values != 1:
                    raise ValueError(
                        "an implicit network has one number per action and fraction, "
                        f"got cosines={cosines} with num_values={num_values}"
                    )
            module = ActionValueModule(
                torso=make_torso(
                    torso_name,
                    hidden=self.hidden,
                    activation=self.activation,
                    layer_norm=self.layer_norm,
                ),
                core=self.core.build(),
                embedding=None if cosines is None else CosineEmbedding(cosines),
                head=ActionValueHead(
                    num_actions=action.num_values,
                    num_values=num_values,
                    hidden=self.head_hidden,
                    activation=self.activation,
                    layer_norm=self.layer_norm,
                    dueling=self.dueling,
                    noisy_std=self.noisy_std if self.noisy else None,
                ),
            )
            return make_q_network(module, spec, flat=torso_name == "mlp")

        return make
