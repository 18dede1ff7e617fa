"""Games in rows against ale_py's single emulator, one frame after the other."""

import dataclasses
import sys
from typing import Any

import ale_py
import numpy as np
import pytest
from ale_py.roms import get_rom_path

from jaxrl_dist.environments.atari import AtariConfig, dqn, impala, machado
from jaxrl_dist.types import DiscreteSpec, TimeStep

PLAIN = AtariConfig("breakout", num_envs=2, sticky_action_probability=0.0, size=42)
LIMIT, SKIP = 900, 4


def play(config: AtariConfig, num_steps: int, seed: int = 3) -> tuple:
    """Random actions [T, B], and the T + 1 rows that they lead through."""
    games = config.build()
    random, action = np.random.default_rng(seed), games.spec.action
    assert isinstance(action, DiscreteSpec)
    shape = (num_steps, config.num_envs)
    actions = random.integers(0, action.num_values, shape).astype(np.int32)
    rows = [games.reset(seed), *map(games.step, actions)]
    games.close()
    return actions, rows


def stacked(rows: list[TimeStep]) -> TimeStep:
    arrays: Any = [np.stack(x) for x in zip(*rows, strict=True)]
    return TimeStep(*arrays)


class Game:
    """One emulator that is stepped frame by frame, for at most LIMIT of them."""

    def __init__(self, config: AtariConfig) -> None:
        self.ale = ale_py.ALEInterface()
        self.ale.setFloat("repeat_action_probability", 0.0)
        path: Any = get_rom_path(config.name)
        self.ale.loadROM(path)
        self.config, self.set = config, self.ale.getMinimalActionSet()

    def rows(self, actions: np.ndarray) -> list[tuple]:
        """(reward, terminated, is_first, is_last) of each row."""
        terminates = self.config.lost_life == "terminate"
        rows, over = [(0.0, False, True, False)], False
        for action in actions:
            if over:
                self.ale.reset_game()
                rows.append((0.0, False, True, False))
                over = False
                continue
            lives, reward = self.ale.lives(), 0
            for _ in range(SKIP):
                reward += self.ale.act(self.set[action])
                if self.ale.game_over():
                    break
            lost = terminates and self.ale.lives() < lives
            ended = self.ale.game_over()
            over = ended or self.ale.getEpisodeFrameNumber() >= LIMIT
            rows.append((float(reward), ended or lost, False, over))
        return rows


@pytest.mark.parametrize("lost_life", ["ignore", "terminate"])
def test_rows_are_those_of_one_emulator_after_the_other(lost_life):
    config = dataclasses.replace(
        PLAIN, name="space_invaders", max_frames=LIMIT, lost_life=lost_life
    )
    actions, rows = play(config, 500)
    got = stacked(rows)
    for b in range(2):
        expected = np.array(Game(config).rows(actions[:, b]), float).T
        for mine, theirs in zip(got[1:], expected, strict=True):
            np.testing.assert_array_equal(mine[:, b], theirs)
    is_last, terminated = np.asarray(got.is_last), np.asarray(got.terminated)
    assert (is_last & ~terminated).any(), "no episode was cut off"
    assert (terminated & ~is_last).any() == (lost_life == "terminate")
    assert np.asarray(got.reward).any()


def test_the_newest_frame_stands_last_and_a_game_begins_with_black_ones():
    _, rows = play(PLAIN, 40)
    got = stacked(rows)
    frames = np.asarray(got.observation)
    assert frames.shape == (41, 2, 4, 42, 42) and frames.dtype == np.uint8
    np.testing.assert_array_equal(frames[1:, :, :-1], frames[:-1, :, 1:])
    assert not frames[0, :, :-1].any() and frames[0, :, -1].any()


def test_rewards_are_those_that_the_game_pays_even_if_learning_clips_them():
    config = dataclasses.replace(PLAIN, name="space_invaders")
    assert config.clip_rewards
    assert np.asarray(stacked(play(config, 250)[1]).reward).max() > 1.0


def test_seeds_decide_what_is_left_to_chance():
    sticky = AtariConfig("breakout", 2, sticky_action_probability=0.5, size=42)
    one, same = (stacked(play(sticky, 60)[1]).observation for _ in range(2))
    np.testing.assert_array_equal(one, same)
    actions = np.ones(2, np.int32)
    games = sticky.build()
    firsts = []
    for seed in (1, 9):
        games.reset(seed)
        firsts.append([games.step(actions).observation for _ in range(20)])
    games.close()
    assert not np.array_equal(*firsts)


def test_presets_are_what_their_sources_say():
    nature, published, stochastic = (f("breakout") for f in (dqn, impala, machado))
    assert nature.lost_life == published.lost_life == "terminate"
    assert nature.sticky_action_probability == published.sticky_action_probability == 0
    assert (nature.max_frames, published.max_frames) == (18_000, 108_000)
    assert nature.noop_starts == 30 and nature.frame_skip == 4 and nature.clip_rewards
    assert stochastic.sticky_action_probability == 0.25 and stochastic.frame_skip == 5
    assert stochastic.lost_life == "ignore" and stochastic.noop_starts == 0
    for config, number in ((nature, 4), (stochastic, 18)):
        games = config.build(1)
        assert games.spec.action == DiscreteSpec(number) and games.num_envs == 1
        games.close()


def test_a_game_begins_after_as_many_frames_of_nothing_as_were_asked_for_at_most():
    distinct = []
    for noop_starts in (0, 3):
        config = dataclasses.replace(
            PLAIN, name="pong", num_envs=8, noop_starts=noop_starts
        )
        games = config.build()
        games.reset(0)
        shown = [games.step(np.zeros(8, np.int32)).observation for _ in range(30)][-1]
        games.close()
        distinct.append(len(np.unique(np.asarray(shown).reshape(8, -1), axis=0)))
    assert distinct[0] == 1 and 3 <= distinct[1] <= 4


@pytest.mark.parametrize(
    "settings",
    [
        {"num_envs": 0},
        {"sticky_action_probability": 1.5},
        {"frame_skip": 0},
        {"noop_starts": -1},
        {"max_frames": 0},
        {"size": 0},
        {"frame_stack": 0},
        {"num_threads": 0},
    ],
)
def test_settings_out_of_range_are_refused_by_name(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        AtariConfig(**settings)


def test_an_unknown_game_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="does not know 'Pong'; nearest: pong"):
        AtariConfig("Pong").build()


def test_what_is_missing_is_said_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ale_py.vector_env", None)
    with pytest.raises(ValueError, match=r"pip install 'jaxrl-dist\[atari\]'"):
        AtariConfig().build()
