"""A policy and several critics, as SAC and TD3 learn them: each with an MLP of its own.

The critics are one set of batched products: their parameters are stacked along a first
axis, [K, ...], and what they answer stands along the last one.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrl_dist.checks import check_at_least
from jaxrl_dist.networks.build import action_bounds
from jaxrl_dist.networks.dense import Dense
from jaxrl_dist.networks.heads import (
    POLICY_INIT,
    VALUE_INIT,
    CategoricalHead,
    OnTorso,
    TanhGaussianHead,
)
from jaxrl_dist.networks.observations import example_observation, prepare
from jaxrl_dist.networks.torsos import MLP, Activation
from jaxrl_dist.types import (
    ArraySpec,
    ArrayTree,
    DiscreteSpec,
    EnvironmentSpec,
    Params,
)

PolicyKind = Literal["tanh_gaussian", "deterministic", "categorical"]


class PolicyAndCriticsParams(NamedTuple):
    """Parameters, apart because they learn from different losses."""

    policy: Params
    critics: Params  # [K, ...] of the K critics


class PolicyAndCritics(NamedTuple):
    """A policy and K critics as pure functions, not yet compiled.

    `observation` is as the environment's spec says, after any leading axes. Continuous
    actions are in units of half their range, in [-1, 1], so that entropies and noise
    mean the same whatever the bounds.
    """

    init: Callable  # (key) to PolicyAndCriticsParams
    policy: Callable  # (policy's params, observation) to a distribution [...]; of kind
    # deterministic, to the action [..., D] itself
    q_values: Callable  # continuous actions: (critics' params, observation, action
    # [..., D]) to [..., K]; discrete: (critics' params, observation) to [..., A, K];
    # reward units
    action: Any  # ArraySpec or DiscreteSpec, of the environment


MakePolicyAndCritics = Callable[[PolicyKind], PolicyAndCritics]


@dataclasses.dataclass(frozen=True)
class PolicyAndCriticsConfig:
    """Settings of a policy and its critics.

    Attributes:
        hidden: units per layer of each MLP.
        activation: function after each layer.
        layer_norm: whether layers are normalized before their activation.
        num_critics: K, from 1; the least of their values counts.

    Raises:
        ValueError: a setting is below 1.
    """

    hidden: tuple[int, ...] = (256, 256)
    activation: Activation = "relu"
    layer_norm: bool = False
    num_critics: int = 2

    def __post_init__(self) -> None:
        check_at_least(1, num_critics=self.num_critics)
        for layer, units in enumerate(self.hidden):
            check_at_least(1, **{f"hidden[{layer}]": units})

    def build(self, spec: EnvironmentSpec) -> MakePolicyAndCritics:
        """Builds the networks for an environment, up to the kind of their policy.

        Args:
            spec: of the environment.

        Returns:
            make(kind) to the networks' pure functions, not yet compiled. The agent
            knows the kind. Raises ValueError where it does not fit the actions.
        """

        def make(kind: PolicyKind) -> PolicyAndCritics:
            return _make(self, spec, *_policy_head(kind, spec))

        return make


class DeterministicHead(nn.Module):
    """One action, squashed into [-1, 1] by tanh.

    Attributes:
        size: D, the length of an action.
    """

    size: int

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """Maps features [..., F] to an action [..., D]."""
        return jnp.tanh(Dense(self.size, kernel_init=POLICY_INIT)(features))


def _make(
    config: PolicyAndCriticsConfig,
    spec: EnvironmentSpec,
    policy_head: nn.Module,
    num_values: int | None,
) -> PolicyAndCritics:
    """The networks' functions; num_values is A, or None for critics of actions."""
    policy_torso, torso = (
        MLP(config.hidden, config.activation, config.layer_norm) for _ in range(2)
    )
    policy_module = OnTorso(policy_torso, policy_head)
    critic = OnTorso(torso, Dense(num_values or 1, kernel_init=VALUE_INIT))

    def critic_inputs(observation: ArrayTree, *action: jax.Array) -> jax.Array:
        flat = prepare(observation, spec.observation, flat=True)
        return jnp.concatenate([flat, *action], axis=-1)

    def init(key: jax.Array) -> PolicyAndCriticsParams:
        key_policy, key_critics = jax.random.split(key)
        example = example_observation(spec.observation)
        action = spec.action
        continuous = isinstance(action, ArraySpec)
        rest = [jnp.zeros((1, *action.shape))] if continuous else []
        inputs = critic_inputs(example, *rest)
        # One critic after another: on a CPU, a batch of the QR decompositions of
        # orthogonal initializers can hang.
        critics = jax.lax.map(
            lambda k: critic.init(k, inputs),
            jax.random.split(key_critics, config.num_critics),
        )
        policy_params = policy_module.init(key_policy, critic_inputs(example))
        return PolicyAndCriticsParams(policy_params, critics)

    def policy(params: Params, observation: ArrayTree) -> Any:
        prepared = prepare(observation, spec.observation, flat=True)
        return policy_module.apply(params, prepared)

    def q_values(
        params: Params, observation: ArrayTree, *action: jax.Array
    ) -> jax.Array:
        inputs = critic_inputs(observation, *action)
        values: Any = jax.vmap(critic.apply, (0, None), -1)(params, inputs)
        return jnp.squeeze(values, axis=-2) if num_values is None else values

    return PolicyAndCritics(init, policy, q_values, spec.action)


def _policy_head(
    kind: PolicyKind, spec: EnvironmentSpec
) -> tuple[nn.Module, int | None]:
    """The policy's head, and the number of actions where they are discrete."""
    action = spec.action
    if isinstance(action, DiscreteSpec):
        if kind != "categorical":
            raise ValueError(
                f"{spec.name} has discrete actions, and this agent takes continuous "
                "ones; discrete SAC or a value-based agent would do"
            )
        return CategoricalHead(action.num_values), action.num_values
    if kind == "categorical":
        raise ValueError(
            f"{spec.name} has continuous actions, and this agent takes discrete ones; "
            "SAC or TD3 would do"
        )
    if len(action.shape) != 1:
        raise ValueError(
            f"{spec.name} has actions of shape {action.shape}; SAC and TD3 need one "
            "axis, so wrap the environment to take flat actions"
        )
    action_bounds(spec)  # raises where there are none
    (size,) = action.shape
    if kind == "deterministic":
        return DeterministicHead(size), None
    return TanhGaussianHead((-1.0,) * size, (1.0,) * size), None
