"""Networks of action values, for every agent that learns those of discrete actions."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrl_dist.checks import check_above, check_at_least, check_shape
from jaxrl_dist.networks.action_value_heads import ActionValueHead, CosineEmbedding
from jaxrl_dist.networks.noisy import draw_noise
from jaxrl_dist.networks.observations import example_observation, prepare
from jaxrl_dist.networks.torso_choice import TorsoName, choose_torso, make_torso
from jaxrl_dist.networks.torsos import Activation
from jaxrl_dist.types import ArrayTree, DiscreteSpec, EnvironmentSpec, Params


class QNetwork(NamedTuple):
    """Action values as pure functions, not yet compiled.

    `observation` is as the environment's spec says, after any leading axes. The noise
    of a noisy network is one for all of them; None leaves the means of the weights.
    `fractions`, [..., N] in [0, 1] or [N] for all observations alike, are for an
    implicit network and no other.
    """

    init: Callable  # (key) to params
    noise: Callable  # (key) to noise, [size] float32; () unless the network is noisy
    apply: Callable  # (params, observation [..., *shape], noise, fractions=None) to
    # [..., A, N]
    num_actions: int  # A


class MakeQNetwork(Protocol):
    """Builds a network with the outputs that an agent asks for."""

    def __call__(self, num_values: int = 1, *, cosines: int | None = None) -> QNetwork:
        """Builds the network.

        Args:
            num_values: N numbers per action, from 1: 1 for values, else the atoms or
                quantiles of a distribution.
            cosines: for implicit quantiles, how many the embedding of a fraction has,
                from 1; N is then the number of fractions given. None for the others.

        Raises:
            ValueError: a number is below 1, or both are asked for.
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
        head_hidden: units per layer between torso and outputs, in each stream of a
            dueling network. Only the layers after the torso are noisy: with (), the
            outputs alone.
        dueling: whether values come from a state's value and advantages.
        noisy: whether the layers after the torso have learned noise on their weights.
        noisy_std: that noise before training (sigma_0), above 0.

    Raises:
        ValueError: a size is below 1, or noisy_std not above 0.
    """

    torso: TorsoName = "auto"
    hidden: tuple[int, ...] = (120, 84)
    activation: Activation = "relu"
    layer_norm: bool = False
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

        def make(num_values: int = 1, *, cosines: int | None = None) -> QNetwork:
            check_at_least(1, num_values=num_values)
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
            return _q_network(module, spec, flat=torso_name == "mlp")

        return make


class ActionValueModule(nn.Module):
    """A torso, for implicit quantiles the embedding of fractions, and a head.

    Attributes:
        torso: from prepared observations to features.
        embedding: mixes fractions into the features; None for no fractions.
        head: from features to numbers for each action.
    """

    torso: nn.Module
    embedding: CosineEmbedding | None
    head: ActionValueHead

    def __call__(
        self,
        prepared: jax.Array,
        noise: jax.Array | None,
        fractions: Any,
    ) -> jax.Array:
        """Maps prepared observations to [..., A, N]; see `QNetwork.apply`."""
        features = self.torso(prepared)
        if self.embedding is None:
            return self.head(features, noise)
        mixed = self.embedding(features, fractions)  # [..., N, F]
        return jnp.swapaxes(self.head(mixed, noise)[..., 0], -2, -1)


def _q_network(
    module: ActionValueModule, spec: EnvironmentSpec, *, flat: bool
) -> QNetwork:
    """Gives a module the interface of a network of action values."""
    is_implicit = module.embedding is not None

    def example() -> jax.Array:
        observation = example_observation(spec.observation)
        return prepare(observation, spec.observation, flat=flat)

    num_axes = jax.eval_shape(example).ndim - 1  # of one observation
    size = _noise_size(module, example)

    def init(key: jax.Array) -> Params:
        fractions = jnp.zeros((1, 1)) if is_implicit else None
        return module.init(key, example(), None, fractions)

    def noise(key: jax.Array) -> ArrayTree:
        return draw_noise(key, size) if size else ()

    def apply(
        params: Params,
        observation: ArrayTree,
        noise: ArrayTree | None,
        fractions: jax.Array | None = None,
    ) -> jax.Array:
        prepared = prepare(observation, spec.observation, flat=flat)
        leading = prepared.shape[: prepared.ndim - num_axes]
        _check_fractions(fractions, leading, is_implicit)
        if not size:
            noise = None
        elif noise is not None:
            check_shape((size,), noise=noise)
        answer: Any = module.apply(params, prepared, noise, fractions)
        return answer

    return QNetwork(init, noise, apply, module.head.num_actions)


def _noise_size(module: ActionValueModule, example: Callable[[], jax.Array]) -> int:
    """How many random numbers the network takes; 0 unless it is noisy."""

    def features() -> Any:
        return module.torso.init_with_output(jax.random.key(0), example())[0]

    return sum(module.head.noise_sizes(jax.eval_shape(features).shape[-1]))


def _check_fractions(
    fractions: jax.Array | None, leading: tuple[int, ...], is_implicit: bool
) -> None:
    """Checks that fractions are there where they are needed, and only there."""
    if not is_implicit and fractions is not None:
        raise ValueError("fractions are for an implicit network, which has cosines")
    if not is_implicit:
        return
    if fractions is None:
        raise ValueError("an implicit network needs fractions [..., N]")
    if not fractions.ndim or fractions.shape[:-1] not in {(), leading}:
        raise ValueError(
            f"fractions have shape {fractions.shape}, expected [N], or {leading} and "
            "one axis more, as the observations have"
        )
