"""Gymnasium's vector environments, as environments on the host.

Gymnasium shows the last observation of an episode and resets at the step after it, if
its autoreset mode is NEXT_STEP: its answers are our rows, one for one. In SAME_STEP the
first observation comes in place of the last, and in DISABLED somebody else resets; in
both, an environment that has just begun would have to wait while the others take the
step that brought their last rows, and Gymnasium steps all or none. They are refused.

Gymnasium is imported when an environment is built, and nowhere else in the package.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from jaxrl_dist.checks import check_above, check_at_least
from jaxrl_dist.environments.base import bound_of
from jaxrl_dist.environments.host import (
    HostEnvironment,
    first_rows,
    import_extra,
    next_rows,
)
from jaxrl_dist.types import (
    ArraySpec,
    ArrayTree,
    DiscreteSpec,
    EnvironmentSpec,
    TimeStep,
)

EXTRA = "gymnasium"
CLOSING_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class GymnasiumConfig:
    """Which environment of Gymnasium, and how many of it; they are stepped on the host.

    Attributes:
        name: as Gymnasium registers it, `CartPole-v1`, or `module:Name-v0`, where the
            module registers it when imported.
        num_envs: environments stepped at once by each actor, from 1.
        arguments: of the environment's class, by name.
        vectorization: sync steps them one after the other; async in a process each; own
            takes the vector environment that the environment brings itself.
        max_steps: environment steps after which an episode is truncated, from 1; None
            leaves the environment's own limit alone.
        frame_stack: observations shown at once, along a new first axis, from 1.
        clip_rewards: agents learn from rewards clipped to [-1, 1]; returns are reported
            as they are.
        normalise_observations: agents see observations with mean 0 and variance 1.
        scale_rewards: agents learn from rewards divided by the returns' deviation.
        step_seconds: that async waits for the slowest environment before it gives up.

    Raises:
        ValueError: a setting is out of its range, or two do not go together.
    """

    name: str = "CartPole-v1"
    num_envs: int = 16
    arguments: dict[str, int | float | bool | str] = dataclasses.field(
        default_factory=dict
    )
    vectorization: Literal["sync", "async", "own"] = "sync"
    max_steps: int | None = None
    frame_stack: int = 1
    clip_rewards: bool = False
    normalise_observations: bool = False
    scale_rewards: bool = False
    step_seconds: float = 60.0

    def __post_init__(self) -> None:
        check_at_least(1, num_envs=self.num_envs, frame_stack=self.frame_stack)
        check_above(0, step_seconds=self.step_seconds)
        if self.max_steps is not None:
            check_at_least(1, max_steps=self.max_steps)
        if self.vectorization == "own" and self.frame_stack > 1:
            raise ValueError(
                f"frame_stack is {self.frame_stack}, and vectorization own takes none; "
                "use sync or async"
            )
        if self.clip_rewards and self.scale_rewards:
            raise ValueError("clip_rewards and scale_rewards: only one can be True")

    def build(self, num_envs: int | None = None) -> HostEnvironment:
        """Makes the environments.

        Args:
            num_envs: B; None for what the setting says.

        Raises:
            ValueError: Gymnasium is missing, does not know the name or the arguments,
                or its spaces or its autoreset mode are none that fit here.
        """
        vector = _make_vector(self, self.num_envs if num_envs is None else num_envs)
        wait = self.step_seconds if self.vectorization == "async" else None
        try:
            return from_vector_env(
                vector, name=self.name, step_seconds=wait, frames=self.frame_stack
            )
        except ValueError:
            vector.close()
            raise


def from_vector_env(
    vector: Any,
    *,
    name: str,
    step_seconds: float | None = None,
    frames: int = 1,
) -> HostEnvironment:
    """Takes any vector environment that speaks Gymnasium's way.

    Observations are cast to what JAX computes with: float64 to float32, int64 to int32.
    Continuous actions are clipped to the bounds of their space.

    Args:
        vector: a `gymnasium.vector.VectorEnv`, whose autoreset mode is NEXT_STEP.
        name: of the environment.
        step_seconds: that an `AsyncVectorEnv` is waited for; None for any other.
        frames: that stand along the first axis of each observation.

    Returns:
        The environment; closing it closes the vector environment.

    Raises:
        ValueError: of its autoreset mode or its spaces.
    """
    _check_autoreset(vector, name)
    spec = EnvironmentSpec(
        name,
        _observation_spec(vector.single_observation_space, name, frames),
        _action_spec(vector.single_action_space, name),
    )
    prepared = _action_converter(vector.single_action_space)
    is_last: Any = np.zeros(vector.num_envs, bool)

    def reset(seed: int) -> TimeStep:
        nonlocal is_last
        if step_seconds is None:
            observation, _ = vector.reset(seed=seed)
        else:
            vector.reset_async(seed=seed)
            observation, _ = vector.reset_wait(timeout=step_seconds)
        row = first_rows(_as_in(spec.observation, observation), vector.num_envs)
        is_last = row.is_last
        return row

    def step(actions: np.ndarray) -> TimeStep:
        nonlocal is_last
        if step_seconds is None:
            answer = vector.step(prepared(actions))
        else:
            vector.step_async(prepared(actions))
            answer = vector.step_wait(timeout=step_seconds)
        observation, *outcome, _ = answer
        row = next_rows(is_last, _as_in(spec.observation, observation), *outcome)
        is_last = row.is_last
        return row

    def close() -> None:
        if step_seconds is None:
            vector.close()
        else:
            vector.close(timeout=CLOSING_SECONDS)

    return HostEnvironment(spec, vector.num_envs, reset, step, close)


def _make_vector(config: GymnasiumConfig, num_envs: int) -> Any:
    """Has Gymnasium make its vector environment."""
    gymnasium = import_extra("gymnasium", EXTRA)
    settings: dict[str, Any] = dict(config.arguments)
    if config.max_steps is not None:
        settings["max_episode_steps"] = config.max_steps
    if config.vectorization == "own":
        mode, vector_settings = "vector_entry_point", {}
    else:
        mode = config.vectorization
        vector_settings = {"autoreset_mode": gymnasium.vector.AutoresetMode.NEXT_STEP}
    if mode == "async":
        vector_settings["context"] = "spawn"  # a fork would share JAX's threads
    wrappers = []
    if config.frame_stack > 1:
        stack = gymnasium.wrappers.FrameStackObservation
        wrappers = [functools.partial(stack, stack_size=config.frame_stack)]
    try:
        return gymnasium.make_vec(
            config.name,
            num_envs=num_envs,
            vectorization_mode=mode,
            vector_kwargs=vector_settings,
            wrappers=wrappers,
            **settings,
        )
    # TypeError: the class refuses its arguments; the others: there is no such module,
    # or a package that the environment itself needs is missing.
    except (gymnasium.error.Error, TypeError, ModuleNotFoundError) as error:
        raise ValueError(f"name: cannot make {config.name!r}: {error}") from error


def _check_autoreset(vector: Any, name: str) -> None:
    mode = vector.metadata.get("autoreset_mode")
    if getattr(mode, "name", None) == "NEXT_STEP":
        return
    raise ValueError(
        f"{name} resets in mode {getattr(mode, 'name', mode)}, which hides the last "
        "observation or holds the others up; make it with AutoresetMode.NEXT_STEP"
    )


def _observation_spec(space: Any, name: str, frames: int) -> ArrayTree:
    """Shapes, types and ranges of what is observed, as JAX will hold them."""
    spaces = import_extra("gymnasium", EXTRA).spaces
    if isinstance(space, spaces.Dict):
        return {
            key: _observation_spec(each, name, frames) for key, each in space.items()
        }
    if isinstance(space, spaces.Tuple):
        return tuple(_observation_spec(each, name, frames) for each in space.spaces)
    if isinstance(space, spaces.Discrete):
        start = int(space.start)
        return ArraySpec((), np.dtype(np.int32), start, start + int(space.n) - 1)
    if isinstance(space, spaces.Box):
        if frames > 1 and len(space.shape) > 3:
            raise ValueError(
                f"frame_stack: {name} observes images with colours, "
                f"{space.shape[1:]}; make them grey, or leave frame_stack 1"
            )
        dtype = _narrow(np.dtype(space.dtype))
        bounds = bound_of(space.low), bound_of(space.high)
        image = len(space.shape) == 3
        return ArraySpec(
            space.shape, dtype, *bounds, channels_first=image and frames > 1
        )
    raise ValueError(f"{name} observes {_kind(space)}; {_KNOWN}")


def _action_spec(space: Any, name: str) -> DiscreteSpec | ArraySpec:
    """One choice, or one array between finite bounds."""
    spaces = import_extra("gymnasium", EXTRA).spaces
    if isinstance(space, spaces.Discrete):
        return DiscreteSpec(int(space.n))
    if not isinstance(space, spaces.Box):
        raise ValueError(
            f"{name} takes actions of {_kind(space)}; Discrete and Box can be used"
        )
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        raise ValueError(
            f"{name} takes actions between {space.low} and {space.high}; continuous "
            "actions need finite bounds (gymnasium.wrappers.RescaleAction)"
        )
    low, high = bound_of(space.low), bound_of(space.high)
    return ArraySpec(space.shape, np.dtype(np.float32), low, high)


_KNOWN = "Box, Discrete, and Dict and Tuple of these, can be used"


def _kind(space: Any) -> str:
    return f"{type(space).__name__}, {space}"


def _action_converter(space: Any) -> Callable[[np.ndarray], np.ndarray]:
    """What is done to actions before Gymnasium sees them."""
    if hasattr(space, "n"):
        return lambda actions: actions.astype(space.dtype) + space.start
    return lambda actions: np.clip(actions, space.low, space.high).astype(space.dtype)


def _narrow(dtype: np.dtype) -> np.dtype:
    """The type of at most 32 bits that holds the same kind of numbers."""
    narrower = {"float64": np.float32, "int64": np.int32, "uint64": np.uint32}
    return np.dtype(narrower.get(dtype.name, dtype))


def _as_in(spec: ArrayTree, observation: ArrayTree) -> ArrayTree:
    """Gives observations the types of their spec; what has them is not copied."""
    if isinstance(spec, ArraySpec):
        return np.asarray(observation, spec.dtype)
    if isinstance(spec, dict):
        return {key: _as_in(each, observation[key]) for key, each in spec.items()}
    return tuple(_as_in(*pair) for pair in zip(spec, observation, strict=True))
