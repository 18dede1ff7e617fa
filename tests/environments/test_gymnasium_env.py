"""Rows of Gymnasium's vector environments against a loop over single environments."""

from typing import Any, Literal

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from jaxrl_dist.environments.gymnasium_env import GymnasiumConfig, from_vector_env
from jaxrl_dist.types import ArraySpec, DiscreteSpec, TimeStep

B, T, LIMIT = 3, 60, 15


class Answering(gymnasium.Env):
    """Answers with samples of its spaces, and remembers the actions it was given."""

    def __init__(self, observation_space: spaces.Space, action_space: spaces.Space):
        self.observation_space, self.action_space = observation_space, action_space
        self.actions = []

    def reset(self, *, seed=None, options=None):
        """Answers anything."""
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        """Answers anything, and goes on for ever."""
        self.actions.append(action)
        return self.observation_space.sample(), 0.5, False, False, {}


def host(observation_space, action_space, num_envs: int = 2) -> tuple[Any, Any]:
    """A host environment of those spaces, and its single environments."""
    vector = SyncVectorEnv(
        [lambda: Answering(observation_space, action_space)] * num_envs
    )
    return from_vector_env(vector, name="Answering"), vector.envs


FLAG, ACTION = spaces.Discrete(2), spaces.Discrete(3)
NUMBERS = spaces.Box(-1.0, 1.0, (2,), np.float64)


def rows_by_hand(actions: np.ndarray, b: int) -> list[tuple]:
    """Rows of one CartPole, each end and each reset by `if`."""
    environment = gymnasium.make("CartPole-v1", max_episode_steps=LIMIT)
    observation, _ = environment.reset(seed=7 + b)
    rows: list[tuple] = [(observation, 0.0, False, True, False)]
    over = False
    for action in actions[:, b]:
        if over:
            observation, _ = environment.reset()
            rows.append((observation, 0.0, False, True, False))
            over = False
        else:
            observation, reward, terminated, truncated, _ = environment.step(action)
            over = terminated or truncated
            rows.append((observation, reward, terminated, False, over))
    environment.close()
    return rows


def play(vectorization: Literal["sync", "own"]) -> tuple[np.ndarray, list[TimeStep]]:
    """Random actions [T, B], and the T + 1 rows that they lead through."""
    config = GymnasiumConfig(num_envs=B, max_steps=LIMIT, vectorization=vectorization)
    environment = config.build()
    actions = np.random.default_rng(0).integers(0, 2, (T, B)).astype(np.int32)
    rows = [environment.reset(7), *map(environment.step, actions)]
    environment.close()
    return actions, rows


def test_rows_are_those_of_single_environments_one_after_the_other():
    actions, rows = play("sync")
    for b in range(B):
        for got, expected in zip(rows, rows_by_hand(actions, b), strict=True):
            np.testing.assert_array_equal(got.observation[b], expected[0])
            assert tuple(x[b] for x in got[1:]) == tuple(expected[1:])


@pytest.mark.parametrize("vectorization", ["sync", "own"])
def test_a_first_row_follows_each_last_one_and_earns_nothing(vectorization):
    _, rows = play(vectorization)
    _, reward, terminated, is_first, is_last = (
        np.stack(x) for x in zip(*rows, strict=True)
    )
    np.testing.assert_array_equal(is_first[1:], is_last[:-1])
    np.testing.assert_array_equal(reward, np.where(is_first, 0.0, 1.0))
    assert not (terminated & ~is_last).any()
    assert (is_last & terminated).any() and (is_last & ~terminated).any()


def test_processes_of_their_own_answer_the_same_rows():
    actions = np.random.default_rng(1).integers(0, 2, (LIMIT + 3, 2)).astype(np.int32)
    answers = []
    for vectorization in ("sync", "async"):
        config = GymnasiumConfig(num_envs=2, max_steps=9, vectorization=vectorization)
        environment = config.build()
        answers.append([environment.reset(3), *map(environment.step, actions)])
        environment.close()
    for one, other in zip(*answers, strict=True):
        for mine, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_observations_of_every_space_are_as_their_spec_says():
    space = spaces.Dict(
        image=spaces.Box(0, 255, (4, 5, 3), np.uint8),
        pair=spaces.Tuple((spaces.Discrete(4, start=2), NUMBERS)),
    )
    environment, _ = host(space, ACTION)
    assert environment.spec.action == DiscreteSpec(3)
    assert environment.spec.observation == {
        "image": ArraySpec((4, 5, 3), np.dtype(np.uint8), 0, 255),
        "pair": (
            ArraySpec((), np.dtype(np.int32), 2, 5),
            ArraySpec((2,), np.dtype(np.float32), -1, 1),
        ),
    }
    for row in (environment.reset(0), environment.step(np.zeros(2, np.int32))):
        assert row.observation["image"].shape == (2, 4, 5, 3)
        choice, numbers = row.observation["pair"]
        assert choice.dtype == np.int32 and choice.shape == (2,)
        assert choice.min() >= 2 and choice.max() <= 5
        assert numbers.dtype == np.float32 and numbers.shape == (2, 2)


def test_choices_begin_where_the_space_begins():
    environment, singles = host(FLAG, spaces.Discrete(3, start=5))
    environment.reset(0)
    environment.step(np.array([0, 2], np.int32))
    assert [single.actions for single in singles] == [[5], [7]]


def test_continuous_actions_are_clipped_to_the_bounds():
    environment, singles = host(FLAG, NUMBERS)
    environment.reset(0)
    environment.step(np.array([[-3.0, 0.5], [2.0, 0.0]], np.float32))
    np.testing.assert_array_equal(singles[0].actions[0], [-1.0, 0.5])
    np.testing.assert_array_equal(singles[1].actions[0], [1.0, 0.0])


@pytest.mark.parametrize(
    "observed, actions, message",
    [
        (spaces.Text(3), ACTION, "Answering observes Text"),
        (spaces.MultiBinary(3), ACTION, "observes MultiBinary"),
        (FLAG, spaces.MultiDiscrete([2, 3]), "takes actions of MultiDiscrete"),
        (FLAG, spaces.Box(-np.inf, 1.0, (2,)), "need finite bounds"),
    ],
)
def test_a_space_that_fits_nothing_is_refused_by_name(observed, actions, message):
    with pytest.raises(ValueError, match=message):
        host(observed, actions)


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
def test_other_ways_to_reset_are_refused_with_the_reason(mode):
    vector = SyncVectorEnv([lambda: Answering(FLAG, ACTION)], autoreset_mode=mode)
    with pytest.raises(ValueError, match=rf"mode {mode.name}.*NEXT_STEP"):
        from_vector_env(vector, name="Answering")


def test_frames_stand_along_the_first_axis_and_an_image_says_so():
    config = GymnasiumConfig("Acrobot-v1", num_envs=2, frame_stack=4)
    environment = config.build()
    assert environment.spec.observation.shape == (4, 6)
    first = environment.reset(0).observation
    later = environment.step(np.zeros(2, np.int32)).observation
    np.testing.assert_array_equal(later[:, :-1], first[:, 1:])
    environment.close()
    image = spaces.Box(0, 255, (4, 36, 36), np.uint8)
    vector = SyncVectorEnv([lambda: Answering(image, ACTION)])
    assert from_vector_env(vector, name="x", frames=4).spec.observation.channels_first


@pytest.mark.parametrize(
    "config, message",
    [
        (GymnasiumConfig("CartPoles-v1"), "name: cannot make 'CartPoles-v1'"),
        (GymnasiumConfig("no_such_module:X-v0"), "No module named 'no_such_module'"),
        (GymnasiumConfig(arguments={"gravity_of": 1}), "gravity_of"),
    ],
)
def test_what_gymnasium_cannot_make_is_said(config, message):
    with pytest.raises(ValueError, match=message):
        config.build()


@pytest.mark.parametrize(
    "settings",
    [
        {"num_envs": 0},
        {"max_steps": 0},
        {"step_seconds": 0.0},
        {"vectorization": "own", "frame_stack": 4},
        {"clip_rewards": True, "scale_rewards": True},
    ],
)
def test_settings_out_of_range_are_refused_by_name(settings):
    with pytest.raises(ValueError, match=list(settings)[-1]):
        GymnasiumConfig(**settings)
