"""Action values as one network: torso, core where it has one, embedding and head."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrl_dist.checks import check_shape
from jaxrl_dist.networks.action_value_heads import ActionValueHead, CosineEmbedding
from jaxrl_dist.networks.noisy import draw_noise
from jaxrl_dist.networks.observations import example_observation, prepare
from jaxrl_dist.networks.recurrent import Core
from jaxrl_dist.types import ArrayTree, EnvironmentSpec, Params


class QNetwork(NamedTuple):
    """Action values as pure functions, not yet compiled.

    `observation` is as the environment's spec says, after leading axes. The noise of a
    noisy network is one for all of them; None leaves the means of the weights.
    `fractions`, [..., N] in [0, 1] or [N] for all observations alike, are for an
    implicit network and no other.
    """

    init: Callable  # (key) to params
    initial_memory: Callable  # (batch_size) to memory [B, ...]; () for feed-forward
    noise: Callable  # (key) to noise, [size] float32; () unless the network is noisy
    apply: Callable  # (params, observation [..., *shape], noise, fractions=None) to
    # [..., A, N]; of a network without memory
    unroll: Callable  # (params, memory, observation [T, B, *shape], is_first [T, B], *,
    # noise, fractions=None) to (memory, [T, B, A, N]); where is_first, memory is reset
    # before the observation is read
    num_actions: int  # A


class ActionValueModule(nn.Module):
    """A torso, a core that remembers, the embedding of fractions, and a head.

    Attributes:
        torso: from prepared observations to features.
        core: remembers features; None for no memory.
        embedding: mixes fractions into the features; None for no fractions.
        head: from features to numbers for each action.
    """

    torso: nn.Module
    core: Core | None
    embedding: CosineEmbedding | None
    head: ActionValueHead

    def __call__(
        self,
        prepared: jax.Array,
        noise: jax.Array | None,
        fractions: Any,
    ) -> jax.Array:
        """Maps prepared observations to [..., A, N]; see `QNetwork.apply`."""
        return self._answer(self.torso(prepared), noise, fractions)

    def unroll(
        self,
        memory: ArrayTree,
        prepared: jax.Array,
        is_first: jax.Array,
        *,
        noise: jax.Array | None,
        fractions: Any,
    ) -> tuple[ArrayTree, jax.Array]:
        """Maps prepared observations [T, B, ...] likewise; see `QNetwork.unroll`."""
        features = self.torso(prepared)
        if self.core is not None:
            memory, features = self.core(memory, features, is_first)
        return memory, self._answer(features, noise, fractions)

    def _answer(
        self, features: jax.Array, noise: jax.Array | None, fractions: Any
    ) -> jax.Array:
        """Maps what head and embedding read to [..., A, N]."""
        if self.embedding is None:
            return self.head(features, noise)
        mixed = self.embedding(features, fractions)  # [..., N, F]
        return jnp.swapaxes(self.head(mixed, noise)[..., 0], -2, -1)


def make_q_network(
    module: ActionValueModule, spec: EnvironmentSpec, *, flat: bool
) -> QNetwork:
    """Gives a module the interface of a network of action values.

    Args:
        module: torso, core, embedding and head.
        spec: of the environment.
        flat: whether images are flattened.
    """
    ready = _make_ready(module, spec, flat)
    is_implicit = module.embedding is not None
    size = _noise_size(module, spec, flat)

    def initial_memory(batch_size: int) -> ArrayTree:
        return () if module.core is None else module.core.initial_memory(batch_size)

    def init(key: jax.Array) -> Params:
        return module.init(
            key,
            initial_memory(1),
            _example(spec, flat)[None],
            jnp.zeros((1, 1), bool),
            noise=None,
            fractions=jnp.zeros((1, 1, 1)) if is_implicit else None,
            method="unroll",
        )

    def noise(key: jax.Array) -> ArrayTree:
        return draw_noise(key, size) if size else ()

    def apply(
        params: Params,
        observation: ArrayTree,
        noise: ArrayTree | None,
        fractions: jax.Array | None = None,
    ) -> jax.Array:
        prepared, noise = ready(observation, noise, fractions)
        answer: Any = module.apply(params, prepared, noise, fractions)
        return answer

    def unroll(
        params: Params,
        memory: ArrayTree,
        observation: ArrayTree,
        is_first: jax.Array,
        *,
        noise: ArrayTree | None,
        fractions: jax.Array | None = None,
    ) -> tuple[ArrayTree, jax.Array]:
        prepared, noise = ready(observation, noise, fractions)
        inputs = {"noise": noise, "fractions": fractions}
        answer: Any = module.apply(
            params, memory, prepared, is_first, **inputs, method="unroll"
        )
        return answer

    return QNetwork(
        init=init,
        initial_memory=initial_memory,
        noise=noise,
        apply=apply,
        unroll=unroll,
        num_actions=module.head.num_actions,
    )


def _example(spec: EnvironmentSpec, flat: bool) -> jax.Array:
    """One prepared observation of zeros, [1, ...]."""
    return prepare(example_observation(spec.observation), spec.observation, flat=flat)


def _make_ready(
    module: ActionValueModule, spec: EnvironmentSpec, flat: bool
) -> Callable[..., tuple[jax.Array, jax.Array | None]]:
    """Builds what prepares observations, and checks noise and fractions."""
    size = _noise_size(module, spec, flat)
    num_axes = jax.eval_shape(lambda: _example(spec, flat)).ndim - 1

    def ready(
        observation: ArrayTree, noise: ArrayTree | None, fractions: jax.Array | None
    ) -> tuple[jax.Array, jax.Array | None]:
        prepared = prepare(observation, spec.observation, flat=flat)
        leading = prepared.shape[: prepared.ndim - num_axes]
        _check_fractions(fractions, leading, module.embedding is not None)
        if not size:
            return prepared, None
        if noise is not None:
            check_shape((size,), noise=noise)
        return prepared, noise

    return ready


def _noise_size(module: ActionValueModule, spec: EnvironmentSpec, flat: bool) -> int:
    """How many random numbers the network takes; 0 unless it is noisy."""
    if module.core is not None:
        return sum(module.head.noise_sizes(module.core.size))

    def features() -> Any:
        key = jax.random.key(0)
        return module.torso.init_with_output(key, _example(spec, flat))[0]

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
