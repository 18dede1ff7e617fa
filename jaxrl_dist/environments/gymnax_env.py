"""Every environment that gymnax registers, as an `Environment`.

gymnax's own `step` resets at once and shows the next episode's first observation in
place of the last. Here its parts are called one by one, so that the last observation
is a row of its own and termination and truncation stay apart.
"""

import dataclasses
import difflib
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist.environments.base import Environment, Outcome, bound_of
from jaxrl_dist.environments.deferred import deferred_imports
from jaxrl_dist.types import ArraySpec, ArrayTree, DiscreteSpec, EnvironmentSpec

with deferred_imports("matplotlib.pyplot", "seaborn"):
    import gymnax
    from gymnax.environments import spaces
    from gymnax.utils import load_mnist

# Environments that answer in float32 what is always 0 or 1: given as uint8, which is
# exact and a quarter of the size. Others state bounds of 0 and 1 for fractions.
_BINARY_OBSERVATIONS = ("-MinAtar", "Catch-bsuite", "DeepSea-bsuite")
# Environments that leave the bounds they state. (MNISTBandit reads its pixels as signed
# bytes, so that bright ones come out negative: that is gymnax's answer, and so ours.)
_UNKNOWN_BOUNDS = (
    "MemoryChain-bsuite",
    "UmbrellaChain-bsuite",
    "MNISTBandit-bsuite",
    "GaussianBandit-misc",
)
# gymnax's own environments whose observation is not decided by their state alone:
# MemoryChain shows the state before the action, UmbrellaChain random distractors,
# MNISTBandit an image and then nothing.
_OBSERVED_OTHERWISE = (
    "MemoryChain-bsuite",
    "UmbrellaChain-bsuite",
    "MNISTBandit-bsuite",
)
_MINIMAL_ACTIONS = "use_minimal_action_set"


def environment_names() -> tuple[str, ...]:
    """The names that gymnax knows, in its order."""
    return tuple(gymnax.registered_envs)


def make_gymnax_environment(
    name: str,
    parameters: Mapping[str, float] | None = None,
    *,
    minimal_actions: bool = True,
) -> Environment:
    """Builds one of gymnax's environments.

    Observations are what gymnax answers, with two exceptions: those that are always 0
    or 1 are uint8, and a discrete observation is one-hot, uint8.

    Args:
        name: as gymnax registers it, for example "CartPole-v1".
        parameters: settings by name, of two kinds: fields of the environment's
            parameters (`max_steps_in_episode`) and numeric arguments of its class
            (`num_bits` of MemoryChain). gymnax derives none from another: CartPole's
            `total_mass` stays as it is when `masspole` is changed.
        minimal_actions: MinAtar games offer only the actions that do something;
            False offers all six, as the original games do.

    Returns:
        The environment, not batched.

    Raises:
        ValueError: the name or a parameter is unknown, or a value does not fit.
        FileNotFoundError: MNISTBandit could not get its images.
    """
    environment, params = construct(name, parameters or {}, minimal_actions)
    space = environment.observation_space(params)
    action = _action_spec(environment.action_space(params))
    convert = _observation_converter(name, space)

    # gymnax broadcasts over ranks freely; a caller's stricter setting is not for it.
    def raw_reset(key: jax.Array) -> tuple[Any, ArrayTree]:
        with jax.numpy_rank_promotion("allow"):
            observation, state = environment.reset_env(key, params)
            return state, convert(observation)

    def raw_step(key: jax.Array, state: Any, action: jax.Array) -> tuple[Any, Outcome]:
        with jax.numpy_rank_promotion("allow"):
            observation, state, reward, terminated, _ = environment.step_env(
                key, state, action, params
            )
            truncated = environment.is_truncated(state, params) & ~terminated
            reward = jnp.asarray(reward, jnp.float32)
            return state, Outcome(convert(observation), reward, terminated, truncated)

    like = _stable_types(raw_reset, raw_step, action)

    def reset(key: jax.Array) -> tuple[Any, ArrayTree]:
        return _cast(raw_reset(key), like)

    def step(key: jax.Array, state: Any, action: jax.Array) -> tuple[Any, Outcome]:
        state, outcome = raw_step(key, state, action)
        state, observation = _cast((state, outcome.observation), like)
        return state, outcome._replace(observation=observation)

    def observe(state: Any) -> ArrayTree:
        with jax.numpy_rank_promotion("allow"):
            key = jax.random.key(0)  # not used where the state decides
            observation = environment.observe(key, state, None, params)
            return _cast(convert(observation), like[1])

    observation = _observation_spec(name, space, like[1])
    spec = EnvironmentSpec(name, observation, action)
    own = type(environment).__module__.startswith("gymnax.")
    observed = own and name not in _OBSERVED_OTHERWISE
    return Environment(spec, reset, step, observe if observed else None)


def _unknown_name_message(name: str) -> str:
    """One line that says what was asked for and what comes nearest."""
    lowered = {known.lower(): known for known in gymnax.registered_envs}
    near = difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.0)
    nearest = ", ".join(lowered[match] for match in near)
    return (
        f"name: gymnax does not know {name!r}; nearest: {nearest}; "
        "your own is given as 'package.module:function'"
    )


def construct(
    name: str, parameters: Mapping[str, float], minimal_actions: bool
) -> tuple[Any, Any]:
    """Makes gymnax's object and its parameters.

    Args:
        name: as for `make_gymnax_environment`, like the rest and the errors.
        parameters: settings by name.
        minimal_actions: whether MinAtar games offer only what does something.
    """
    if name not in gymnax.registered_envs:
        raise ValueError(_unknown_name_message(name))
    settings = dict(parameters)
    environment, params = _make(name, {})
    arguments = {
        argument.name: argument.default
        for argument in inspect.signature(type(environment)).parameters.values()
        if isinstance(argument.default, int | float)
    }
    has_minimal = arguments.pop(_MINIMAL_ACTIONS, None) is not None
    if not (minimal_actions or has_minimal):
        raise ValueError(f"minimal_actions: {name} has but one set of actions")
    given = {
        key: _fit(name, key, settings.pop(key), default)
        for key, default in arguments.items()
        if key in settings
    }
    if not minimal_actions:
        given[_MINIMAL_ACTIONS] = False
    if given:
        environment, params = _make(name, given)
    fields = {x.name: getattr(params, x.name) for x in dataclasses.fields(params)}
    settable = {key: x for key, x in fields.items() if isinstance(x, int | float)}
    for key in settings:
        if key not in settable:
            valid = ", ".join(sorted(settable | arguments))
            raise ValueError(f"parameters: {name} has no {key!r}; valid: {valid}")
    values = {key: _fit(name, key, x, settable[key]) for key, x in settings.items()}
    return environment, params.replace(**values)


def _make(name: str, arguments: dict[str, Any]) -> tuple[Any, Any]:
    """Makes gymnax's object and its default parameters."""
    try:
        return gymnax.make(name, **arguments)
    except OSError as error:  # URLError is one
        folder = inspect.signature(load_mnist.load_mnist).parameters["directory"]
        raise FileNotFoundError(
            f"{name} needs the four MNIST .gz files in {folder.default}, and gymnax "
            f"could not download them: {error}"
        ) from error


def _fit(name: str, key: str, given: float, default: float) -> float:
    """The given value in the type of the default, or an error that says why not."""
    kind = type(default)
    if not math.isfinite(given) or float(kind(given)) != float(given):
        raise ValueError(
            f"parameters: {key} of {name} is of type {kind.__name__} "
            f"({default} by default), got {given}"
        )
    return kind(given)


def _observation_converter(name: str, space: spaces.Space) -> Callable:
    """What is done to each observation that gymnax answers."""
    if isinstance(space, spaces.Discrete):
        return lambda x: jax.nn.one_hot(x, space.n, dtype=jnp.uint8)
    if name.endswith(_BINARY_OBSERVATIONS):
        return lambda x: x.astype(jnp.uint8)
    return lambda x: x


def _observation_spec(name: str, space: spaces.Space, like: ArrayTree) -> ArrayTree:
    """Shapes and types as they really are; bounds as gymnax states them."""
    if isinstance(space, spaces.Discrete):
        return ArraySpec(like.shape, like.dtype, 0.0, 1.0)
    if isinstance(space, spaces.Box) and name not in _UNKNOWN_BOUNDS:
        return ArraySpec(
            like.shape, like.dtype, bound_of(space.low), bound_of(space.high)
        )
    return jax.tree.map(lambda x: ArraySpec(x.shape, x.dtype), like)


def _action_spec(space: spaces.Space) -> DiscreteSpec | ArraySpec:
    """One choice, or an array between finite bounds."""
    if isinstance(space, spaces.Discrete):
        return DiscreteSpec(space.n)
    if isinstance(space, spaces.Box):
        low, high = bound_of(space.low), bound_of(space.high)
        return ArraySpec(tuple(space.shape), np.dtype(space.dtype), low, high)
    raise ValueError(f"actions of {space} are neither one choice nor one array")


def _stable_types(
    reset: Callable, step: Callable, action: DiscreteSpec | ArraySpec
) -> tuple[Any, ArrayTree]:
    """Types that hold (state, observation) of both reset and step.

    gymnax builds some states from Python numbers, whose types give way to others;
    a compiled loop needs the same types before and after.
    """
    if isinstance(action, DiscreteSpec):
        action_like = jax.ShapeDtypeStruct((), jnp.int32)
    else:
        action_like = jax.ShapeDtypeStruct(action.shape, action.dtype)
    key = jax.eval_shape(jax.random.key, 0)
    state, observation = jax.eval_shape(reset, key)
    next_state, outcome = jax.eval_shape(step, key, state, action_like)
    return jax.tree.map(
        lambda x, y: jax.ShapeDtypeStruct(x.shape, jnp.promote_types(x.dtype, y.dtype)),
        (state, observation),
        (next_state, outcome.observation),
    )


def _cast(values: ArrayTree, like: ArrayTree) -> ArrayTree:
    """Gives arrays the types decided for them, and none that gives way."""
    return jax.tree.map(lambda x, type_of: jnp.asarray(x, type_of.dtype), values, like)
