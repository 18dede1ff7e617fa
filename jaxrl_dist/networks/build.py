"""Actor-critic networks, chosen from an environment's spec or by name."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax
import numpy as np

from jaxrl_dist.checks import check_above, check_at_least
from jaxrl_dist.networks.actor_critic import (
    ActorCritic,
    ActorCriticModule,
    make_actor_critic,
)
from jaxrl_dist.networks.distributions import (
    Categorical,
    DiagonalGaussian,
    Distribution,
    TanhGaussian,
)
from jaxrl_dist.networks.heads import (
    CategoricalHead,
    GaussianHead,
    OnTorso,
    TanhGaussianHead,
    ValueHead,
)
from jaxrl_dist.networks.recurrent import CoreConfig
from jaxrl_dist.networks.torso_choice import TorsoName, choose_torso, make_torso
from jaxrl_dist.networks.torsos import MLP, Activation
from jaxrl_dist.types import DiscreteSpec, EnvironmentSpec

PolicyName = Literal["auto", "categorical", "gaussian", "tanh_gaussian"]


@dataclasses.dataclass(frozen=True)
class ActorCriticConfig:
    """Settings of a policy and a value function.

    Attributes:
        torso: what reads observations; auto takes an MLP for flat ones, MinAtar's
            network for small images and the Nature network for images from 36x36.
        hidden: units per layer of the MLP; the convolutional torsos have the sizes of
            their papers.
        activation: function after each layer of the MLP.
        layer_norm: whether the torso's layers are normalized before their activation.
        shared_torso: whether policy and value function read the same features, and
            share the core that remembers them; otherwise each has its own torso and
            core.
        core: what remembers between torso and heads; none for a network without memory.
        head_hidden: units per layer between torso or core and each output.
        policy: distribution over actions; auto takes categorical for discrete actions
            and gaussian for continuous ones, which the environment then clips.
        state_dependent_std: whether a Gaussian's standard deviation is computed from
            the observation; otherwise it is a parameter of its own.
        initial_std: a Gaussian's standard deviation before training, above 0, in units
            of the action, or before squashing.

    Raises:
        ValueError: a size is below 1, or initial_std not above 0.
    """

    torso: TorsoName = "auto"
    hidden: tuple[int, ...] = (64, 64)
    activation: Activation = "tanh"
    layer_norm: bool = False
    shared_torso: bool = False
    core: CoreConfig = CoreConfig()
    head_hidden: tuple[int, ...] = ()
    policy: PolicyName = "auto"
    state_dependent_std: bool = False
    initial_std: float = 1.0

    def __post_init__(self) -> None:
        for name in ("hidden", "head_hidden"):
            for layer, units in enumerate(getattr(self, name)):
                check_at_least(1, **{f"{name}[{layer}]": units})
        check_above(0, initial_std=self.initial_std)

    def build(self, spec: EnvironmentSpec) -> ActorCritic:
        """Builds the network for an environment.

        Args:
            spec: of the environment.

        Returns:
            The network's pure functions, not yet compiled.

        Raises:
            ValueError: torso or policy do not fit the environment.
        """
        torso_name = choose_torso(self.torso, spec)
        policy_head, noise = _policy_head(self, spec)

        def torso() -> nn.Module:
            return make_torso(
                torso_name,
                hidden=self.hidden,
                activation=self.activation,
                layer_norm=self.layer_norm,
            )

        def with_layers(head: nn.Module) -> nn.Module:
            if not self.head_hidden:
                return head
            layers = MLP(self.head_hidden, self.activation, self.layer_norm)
            return OnTorso(layers, head)

        module = ActorCriticModule(
            policy_torso=torso(),
            value_torso=None if self.shared_torso else torso(),
            policy_core=self.core.build(),
            value_core=None if self.shared_torso else self.core.build(),
            policy_head=with_layers(policy_head),
            value_head=with_layers(ValueHead()),
        )
        return make_actor_critic(module, spec, noise=noise, flat=torso_name == "mlp")


def _policy_head(
    config: ActorCriticConfig, spec: EnvironmentSpec
) -> tuple[nn.Module, Callable]:
    """The head for an action space, and the noise that its distribution takes."""
    action, name = spec.action, config.policy
    discrete = isinstance(action, DiscreteSpec)
    if name != "auto" and discrete != (name == "categorical"):
        raise ValueError(
            f"network.policy={name} does not fit {spec.name}, whose actions are "
            f"{'discrete' if discrete else 'continuous'}; use auto"
        )
    if isinstance(action, DiscreteSpec):
        head = CategoricalHead(action.num_values)
        return head, _noise(Categorical, action.num_values)
    if len(action.shape) != 1:
        raise ValueError(
            f"{spec.name} has actions of shape {action.shape}; a Gaussian policy needs "
            "one axis, so wrap the environment to take flat actions"
        )
    (size,) = action.shape
    std = (config.state_dependent_std, config.initial_std)
    if name == "tanh_gaussian":
        low, high = action_bounds(spec)
        return TanhGaussianHead(low, high, *std), _noise(TanhGaussian, size)
    return GaussianHead(size, *std), _noise(DiagonalGaussian, size)


def _noise(distribution: type[Distribution], size: int) -> Callable:
    def noise(key: jax.Array, batch_size: int) -> jax.Array:
        return distribution.noise(key, (batch_size, size))

    return noise


def action_bounds(
    spec: EnvironmentSpec,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Lower and upper bound of each number of an action, as squashed policies need.

    Args:
        spec: of an environment with continuous actions.

    Raises:
        ValueError: a bound is missing or infinite, or the lower is not the lower.
    """
    action: Any = spec.action
    bounds = [
        np.broadcast_to(np.asarray(np.nan if bound is None else bound), action.shape)
        for bound in (action.low, action.high)
    ]
    low, high = bounds
    if not np.all(np.isfinite(low) & np.isfinite(high) & (low < high)):
        raise ValueError(
            f"a policy squashed by tanh needs finite bounds on actions; those of "
            f"{spec.name} are low {action.low} and high {action.high}; bound them, or "
            "use an agent with a gaussian policy"
        )
    return tuple(low.astype(float).tolist()), tuple(high.astype(float).tolist())
