"""From settings to environments: one dataclass, a name, and what wraps it."""

import dataclasses
import importlib
import inspect
from collections.abc import Mapping

from jaxrl_dist.checks import check_at_least, check_in_range
from jaxrl_dist.environments import host, wrappers
from jaxrl_dist.environments.atari import AtariConfig
from jaxrl_dist.environments.base import (
    BatchedEnvironment,
    Environment,
    batch,
    check_environment,
)
from jaxrl_dist.environments.gymnasium_env import GymnasiumConfig
from jaxrl_dist.environments.previous_step import show_previous_step

HostConfig = GymnasiumConfig | AtariConfig  # what is stepped on the host
NO_LIMIT = 10**9  # steps, more than anybody plays
ORIGINAL_STICKINESS = 0.1


@dataclasses.dataclass(frozen=True)
class EnvironmentConfig:
    """Which environment, how many of it, and what is done to its answers.

    Attributes:
        name: of an environment that gymnax registers, or `package.module:function`, a
            function that returns an `Environment`.
        num_envs: environments stepped at once, over all devices, from 1.
        parameters: numbers by name, for example `max_steps_in_episode 100`. For an own
            environment they are the function's keyword arguments.
        minimal_actions: MinAtar only: offer the actions that do something, not all six.
        original_minatar: MinAtar only: its first protocol, instead of gymnax's: all six
            actions, sticky with probability 0.1, and no limit of steps but Freeway's.
        sticky_action_probability: chance that an environment repeats the action before
            instead of doing the one it is given, in [0, 1].
        frame_stack: observations shown at once, along the last axis, from 1.
        mask_velocity: hide the velocities (CartPole, Pendulum, MountainCarContinuous).
        show_previous_step: let agents also see the action before and its reward, zeros
            at first; images are then flattened.
        clip_rewards: clip rewards to [-1, 1], for evaluation as well.
        normalise_observations: agents see observations with mean 0 and variance 1.
        scale_rewards: agents learn from rewards divided by the returns' deviation.
        max_steps: environment steps after which an episode is truncated, from 1; None
            leaves the environment's own limit alone.

    Raises:
        ValueError: a setting is outside its range.
    """

    name: str = "CartPole-v1"
    num_envs: int = 64
    parameters: dict[str, int | float] = dataclasses.field(default_factory=dict)
    minimal_actions: bool = True
    original_minatar: bool = False
    sticky_action_probability: float = 0.0
    frame_stack: int = 1
    mask_velocity: bool = False
    show_previous_step: bool = False
    clip_rewards: bool = False
    normalise_observations: bool = False
    scale_rewards: bool = False
    max_steps: int | None = None

    def __post_init__(self) -> None:
        check_at_least(1, num_envs=self.num_envs, frame_stack=self.frame_stack)
        if self.max_steps is not None:
            check_at_least(1, max_steps=self.max_steps)
        check_in_range(0, 1, sticky_action_probability=self.sticky_action_probability)

    def build_single(self) -> Environment:
        """Builds one instance, with its wrappers.

        Raises:
            ValueError: the name or a parameter is unknown, or a wrapper does not fit.
        """
        if self.original_minatar:
            return _originally(self).build_single()
        environment = self.build_bare()
        if self.max_steps is not None:
            environment = wrappers.time_limit(environment, self.max_steps)
        if self.sticky_action_probability > 0:
            probability = self.sticky_action_probability
            environment = wrappers.sticky_actions(environment, probability)
        if self.clip_rewards:
            environment = wrappers.clip_rewards(environment)
        if self.mask_velocity:
            environment = wrappers.mask_velocity(environment)
        if self.frame_stack > 1:
            environment = wrappers.frame_stack(environment, self.frame_stack)
        if self.show_previous_step:
            environment = show_previous_step(environment)
        return environment

    def build(self) -> BatchedEnvironment:
        """Builds environments that answer in rows; see `build_single` for errors."""
        return batch(self.build_single())

    def build_bare(self) -> Environment:
        """Builds one instance without wrappers; see `build_single` for errors."""
        if self.original_minatar:
            return _originally(self).build_bare()
        if ":" in self.name:
            if not self.minimal_actions:
                raise ValueError(f"minimal_actions: {self.name} is not a MinAtar game")
            return _load(self.name, self.parameters)
        # gymnax takes a while to import: `--help` need not wait for it.
        from jaxrl_dist.environments import gymnax_env

        return gymnax_env.make_gymnax_environment(
            self.name, self.parameters, minimal_actions=self.minimal_actions
        )


def _originally(config: EnvironmentConfig) -> EnvironmentConfig:
    """Says MinAtar's first protocol in terms of the other settings.

    Raises:
        ValueError: the environment is no MinAtar game, or a setting contradicts it.

    Source:
        Young and Tian 2019, arXiv:1903.03176.
    """
    if not config.name.endswith("-MinAtar"):
        raise ValueError(f"original_minatar: {config.name} is not a MinAtar game")
    limit = "max_steps_in_episode"
    if limit in config.parameters or config.sticky_action_probability:
        raise ValueError(
            f"original_minatar decides {limit} and sticky_action_probability; leave "
            "them out, or set original_minatar False"
        )
    parameters = dict(config.parameters)
    if config.name != "Freeway-MinAtar":  # whose episodes end by this limit alone
        parameters[limit] = NO_LIMIT
    return dataclasses.replace(
        config,
        original_minatar=False,
        minimal_actions=False,
        sticky_action_probability=ORIGINAL_STICKINESS,
        parameters=parameters,
    )


def _load(path: str, parameters: Mapping[str, float]) -> Environment:
    """Calls the function that `package.module:function` names."""
    module_name, _, function_name = path.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"name: cannot load {path!r}: {error}") from error
    try:
        inspect.signature(function).bind(**parameters)
    except (TypeError, ValueError) as error:  # ValueError: it has no signature
        raise ValueError(
            f"parameters: cannot call {path} with {dict(parameters)}: {error}"
        ) from error
    environment = function(**parameters)
    if not isinstance(environment, Environment):
        raise ValueError(
            f"name: {path!r} must return an Environment "
            f"(jaxrl_dist.environments.base), got {type(environment).__name__}"
        )
    check_environment(environment)
    return environment


def host_stand_in(config: HostConfig) -> BatchedEnvironment:
    """Builds an environment on the host once, to see what shapes it answers.

    Args:
        config: of the environment.

    Returns:
        What answers zeros in these shapes, on the device.

    Raises:
        ValueError: it cannot be built.
    """
    environment = config.build(1)
    environment.close()
    return host.stand_in(environment.spec)
