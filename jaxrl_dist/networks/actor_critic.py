"""A policy and a value function as one network: torso, core where it has one, heads."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrl_dist.networks.distributions import Distribution
from jaxrl_dist.networks.observations import example_observation, prepare
from jaxrl_dist.networks.recurrent import Core
from jaxrl_dist.types import ArrayTree, EnvironmentSpec, Params


class ActorCritic(NamedTuple):
    """A policy and a value function as pure functions, not yet compiled.

    `observation` is as the environment's spec says, after leading axes. `is_first` is
    bool; where it is True, memory is reset before the observation is read.
    """

    init: Callable  # (key) to params
    initial_memory: Callable  # (batch_size) to memory [B, ...]; () for feed-forward
    noise: Callable  # (key, batch_size) to the noise of one action each, [B, ...]
    act: Callable  # (params, memory, observation [B, ...], is_first [B]) to
    # (memory, distribution [B, ...]); of the value function, nothing is computed but
    # the memory that it has of its own
    unroll: Callable  # (params, memory, observation [T, B, ...], is_first [T, B]) to
    # (memory, distribution [T, B, ...], values [T, B] in reward units); without memory,
    # any leading axes do
    is_recurrent: bool


class Memory(NamedTuple):
    """What a recurrent network remembers, [B, ...] each."""

    policy: ArrayTree
    value: ArrayTree  # () where policy and value function share their features


class ActorCriticModule(nn.Module):
    """A policy and a value function, with a torso and core each or one for both.

    Attributes:
        policy_torso: from prepared observations to features.
        value_torso: the same for the value function; None to share torso and core.
        policy_core: what remembers the policy's features; None for no memory.
        value_core: the same for the value function's own features.
        policy_head: from features to a distribution over actions.
        value_head: from features to values.
    """

    policy_torso: nn.Module
    value_torso: nn.Module | None
    policy_core: Core | None
    value_core: Core | None
    policy_head: nn.Module
    value_head: nn.Module

    def __call__(
        self, memory: Memory, prepared: jax.Array, is_first: jax.Array
    ) -> tuple[Memory, Distribution, jax.Array]:
        """Maps prepared observations to a distribution and values, reward units.

        Args:
            memory: [B, ...] before the first row.
            prepared: [T, B, ...]; any leading axes where there is no core.
            is_first: [T, B] bool.
        """
        of_policy, features = _read(
            self.policy_core, memory.policy, self.policy_torso(prepared), is_first
        )
        of_value, value_features = memory.value, features
        if self.value_torso is not None:
            of_value, value_features = _read(
                self.value_core, memory.value, self.value_torso(prepared), is_first
            )
        values: Any = self.value_head(value_features)
        return Memory(of_policy, of_value), self.policy_head(features), values

    def policy(
        self, memory: Memory, prepared: jax.Array, is_first: jax.Array
    ) -> tuple[Memory, Distribution]:
        """Maps one row of prepared observations [B, ...] to a distribution alone."""
        features = self.policy_torso(prepared)
        of_policy, features = _read_one(
            self.policy_core, memory.policy, features, is_first
        )
        of_value = memory.value
        if self.value_torso is not None and self.value_core is not None:
            seen = self.value_torso(prepared)
            of_value, _ = _read_one(self.value_core, of_value, seen, is_first)
        return Memory(of_policy, of_value), self.policy_head(features)


def make_actor_critic(
    module: ActorCriticModule, spec: EnvironmentSpec, *, noise: Callable, flat: bool
) -> ActorCritic:
    """Gives a module the interface of an actor-critic.

    Args:
        module: policy and value function.
        spec: of the environment.
        noise: (key, batch_size) to the noise of one action each.
        flat: whether images are flattened.
    """
    is_recurrent = module.policy_core is not None

    def initial_memory(batch_size: int) -> ArrayTree:
        if not is_recurrent:
            return ()
        cores = module.policy_core, module.value_core
        return Memory(
            *(core.initial_memory(batch_size) if core else () for core in cores)
        )

    def inside(memory: ArrayTree) -> Memory:
        return memory if is_recurrent else Memory((), ())

    def outside(memory: Memory) -> ArrayTree:
        return memory if is_recurrent else ()

    def init(key: jax.Array) -> Params:
        example = example_observation(spec.observation)
        prepared = prepare(example, spec.observation, flat=flat)[None]
        memory = inside(initial_memory(1))
        return module.init(key, memory, prepared, jnp.zeros((1, 1), bool))

    def act(
        params: Params, memory: ArrayTree, observation: ArrayTree, is_first: jax.Array
    ) -> tuple[ArrayTree, Distribution]:
        prepared = prepare(observation, spec.observation, flat=flat)
        answer: Any = module.apply(
            params, inside(memory), prepared, is_first, method="policy"
        )
        return outside(answer[0]), answer[1]

    def unroll(
        params: Params, memory: ArrayTree, observation: ArrayTree, is_first: jax.Array
    ) -> tuple[ArrayTree, Distribution, jax.Array]:
        prepared = prepare(observation, spec.observation, flat=flat)
        answer: Any = module.apply(params, inside(memory), prepared, is_first)
        return outside(answer[0]), *answer[1:]

    return ActorCritic(
        init=init,
        initial_memory=initial_memory,
        noise=noise,
        act=act,
        unroll=unroll,
        is_recurrent=is_recurrent,
    )


def _read(
    core: Core | None, memory: ArrayTree, features: jax.Array, is_first: jax.Array
) -> tuple[ArrayTree, jax.Array]:
    """Memory and features [T, B, F] after a core; as they are without one."""
    return (memory, features) if core is None else core(memory, features, is_first)


def _read_one(
    core: Core | None, memory: ArrayTree, features: jax.Array, is_first: jax.Array
) -> tuple[ArrayTree, jax.Array]:
    """The same for one row [B, F]."""
    if core is None:
        return memory, features
    memory, outputs = core(memory, features[None], is_first[None])
    return memory, outputs[0]
