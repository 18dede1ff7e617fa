"""Settings are checked when they are made, names when an environment is built."""

import dataclasses

import pytest
import tyro

from jaxrl_dist.environments.build import EnvironmentConfig
from jaxrl_dist.types import DiscreteSpec
from tests.environments.random_rollout import random_rows

OWN = "tests.environments.counting:counting"


@dataclasses.dataclass(frozen=True)
class Command:
    """A command line with an environment in it.

    Attributes:
        environment: the environment.
    """

    environment: EnvironmentConfig = EnvironmentConfig("Catch-bsuite")


def test_a_name_gives_a_batched_environment():
    environment = EnvironmentConfig("Catch-bsuite").build()
    assert environment.spec.action == DiscreteSpec(3)


def test_an_own_environment_works_where_a_name_does():
    environment = EnvironmentConfig(OWN, parameters={"length": 3}).build()
    rows, _ = random_rows(environment, 4, 2)
    assert rows.is_last[3].all() and rows.is_first[4].all()


def test_every_setting_is_a_flag():
    line = "--environment.name Acrobot-v1 --environment.num-envs 8"
    parameters = "--environment.parameters max_steps_in_episode 100 dt 0.1"
    config = tyro.cli(Command, args=(line + " " + parameters).split()).environment
    assert (config.name, config.num_envs) == ("Acrobot-v1", 8)
    assert config.parameters == {"max_steps_in_episode": 100, "dt": 0.1}
    assert isinstance(config.parameters["max_steps_in_episode"], int)
    config.build()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_envs": 0}, "num_envs must be at least 1, got 0"),
        ({"frame_stack": 0}, "frame_stack must be at least 1, got 0"),
        ({"max_steps": -1}, "max_steps must be at least 1, got -1"),
        (
            {"sticky_action_probability": 1.5},
            r"sticky_action_probability must be in \[0, 1\], got 1.5",
        ),
    ],
)
def test_a_setting_out_of_range_is_refused_when_it_is_made(settings, message):
    with pytest.raises(ValueError, match=message):
        EnvironmentConfig(**settings)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Catch", "gymnax does not know 'Catch'; nearest: Catch-bsuite"),
        ("no_such_module:make", "cannot load 'no_such_module:make'"),
        ("tests.environments.counting:nothing", "has no attribute 'nothing'"),
        ("collections:Counter", "must return an Environment .*, got Counter"),
    ],
)
def test_a_name_that_leads_nowhere_is_explained(name, message):
    with pytest.raises(ValueError, match=message):
        EnvironmentConfig(name).build()


def test_a_parameter_that_an_own_environment_lacks_is_named():
    config = EnvironmentConfig(OWN, parameters={"lenght": 3})
    with pytest.raises(ValueError, match="unexpected keyword argument 'lenght'"):
        config.build()


def test_the_original_protocol_of_minatar_is_its_parts():
    config = EnvironmentConfig("Breakout-MinAtar", original_minatar=True)
    assert config.build().spec.action == DiscreteSpec(6)
    parts = EnvironmentConfig(
        "Breakout-MinAtar",
        parameters={"max_steps_in_episode": 10**9},
        minimal_actions=False,
        sticky_action_probability=0.1,
    )
    got, _ = random_rows(config.build(), 40, 3)
    wanted, _ = random_rows(parts.build(), 40, 3)
    assert (got.observation == wanted.observation).all()
    assert (got.reward == wanted.reward).all() and got.is_last.any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "CartPole-v1"}, "original_minatar: CartPole-v1 is not a MinAtar"),
        ({"sticky_action_probability": 0.2}, "original_minatar decides max_steps"),
        ({"parameters": {"max_steps_in_episode": 9}}, "original_minatar decides max"),
    ],
)
def test_what_contradicts_the_original_protocol_is_refused(settings, message):
    settings = {"name": "Breakout-MinAtar", "original_minatar": True} | settings
    with pytest.raises(ValueError, match=message):
        EnvironmentConfig(**settings).build()
