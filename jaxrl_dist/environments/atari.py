"""Atari 2600 games, by the vector environment that ale_py brings itself.

It runs the emulators in threads of its own, without Python, scales and stacks their
frames, and resets at the step after a last row: its answers are our rows. Two of its
settings are not used. Its `reward_clipping` would hide what a game pays; here rewards
are clipped only for learning, by `agents.clipping`, and returns are those of the game.
Its `episodic_life` begins a new game when a life is lost; here a lost life is a row
that terminates without being the last, so that no value flows across it, and the game
goes on. ale_py is imported when games are built, and nowhere else in the package.
"""

import dataclasses
import difflib
from typing import Any, ClassVar, Literal

import numpy as np

from jaxrl_dist.checks import check_at_least, check_in_range
from jaxrl_dist.environments.host import (
    HostEnvironment,
    first_rows,
    import_extra,
    next_rows,
)
from jaxrl_dist.types import ArraySpec, DiscreteSpec, EnvironmentSpec, TimeStep

EXTRA = "atari"


@dataclasses.dataclass(frozen=True)
class AtariConfig:
    """Which game, how many of it, and by which protocol; presets are below.

    Observations are grey, uint8, [frame_stack, size, size], the newest frame last. The
    frames before a game's first are black.

    Attributes:
        name: of the game as ale_py calls it, such as pong or ms_pacman.
        num_envs: games stepped at once by each actor, from 1.
        sticky_action_probability: chance, at each frame, that the emulator goes on with
            the action before, in [0, 1].
        full_action_set: offer all 18 actions, not those alone that the game knows.
        frame_skip: frames for which an action is held, from 1; their rewards are added.
        max_pool: show the brighter of the last two frames at each pixel.
        noop_starts: a game begins after at most so many frames of doing nothing, drawn
            by chance, from 0.
        fire_start: press fire once at the beginning, where the game has it.
        max_frames: of the emulator, after which an episode is truncated, from 1.
        lost_life: terminate lets no value flow across the loss of a life, though the
            game goes on; ignore does nothing about it.
        clip_rewards: agents learn from rewards clipped to [-1, 1]; returns are reported
            as the game pays them.
        size: height and width of a frame, from 1.
        frame_stack: frames shown at once, from 1.
        num_threads: that run the emulators of an actor, from 1; None takes one for each
            core.
        normalise_observations: agents see each pixel with mean 0 and variance 1, so
            that what seldom moves stands out; no published protocol has it.

    Raises:
        ValueError: a setting is out of its range.
    """

    name: str = "pong"
    num_envs: int = 16
    sticky_action_probability: float = 0.25
    full_action_set: bool = False
    frame_skip: int = 4
    max_pool: bool = True
    noop_starts: int = 0
    fire_start: bool = False
    max_frames: int = 108_000
    lost_life: Literal["ignore", "terminate"] = "ignore"
    clip_rewards: bool = True
    size: int = 84
    frame_stack: int = 4
    num_threads: int | None = None
    normalise_observations: bool = False
    scale_rewards: ClassVar[bool] = False  # what other configurations may ask

    def __post_init__(self) -> None:
        check_at_least(
            1,
            num_envs=self.num_envs,
            frame_skip=self.frame_skip,
            max_frames=self.max_frames,
            size=self.size,
            frame_stack=self.frame_stack,
        )
        check_at_least(0, noop_starts=self.noop_starts)
        if self.num_threads is not None:
            check_at_least(1, num_threads=self.num_threads)
        check_in_range(0, 1, sticky_action_probability=self.sticky_action_probability)

    def build(self, num_envs: int | None = None) -> HostEnvironment:
        """Starts the emulators.

        Args:
            num_envs: B; None for what the setting says.

        Raises:
            ValueError: ale_py is missing, or does not know the game.
        """
        games = _start_games(self, self.num_envs if num_envs is None else num_envs)
        return _in_rows(games, self)


def dqn(name: str, num_envs: int = 16) -> AtariConfig:
    """The protocol of DQN: lost lives terminate, games begin with nothing done.

    Source:
        Mnih et al. 2015, methods and extended data table 1, doi:10.1038/nature14236:
        the game's own actions, held for 4 frames, none sticky; up to 30 frames of doing
        nothing; rewards clipped; evaluated for 5 minutes of 60 frames per second.
    """
    return AtariConfig(
        name,
        num_envs,
        sticky_action_probability=0.0,
        noop_starts=30,
        max_frames=18_000,
        lost_life="terminate",
    )


def impala(name: str, num_envs: int = 16) -> AtariConfig:
    """The protocol of IMPALA on single games: that of DQN for half an hour.

    Source:
        Espeholt et al. 2018, appendix G, arXiv:1802.01561: 84x84 grey, 4 frames held
        and stacked, the brighter of the last 2; lost lives terminate; rewards clipped
        to [-1, 1]. Half an hour is 108,000 frames.
    """
    return dataclasses.replace(dqn(name, num_envs), max_frames=108_000)


def machado(name: str, num_envs: int = 16) -> AtariConfig:
    """The protocol that makes games stochastic: sticky actions, and nothing else known.

    Source:
        Machado et al. 2018, sections 4 and 5, arXiv:1709.06009: all 18 actions, sticky
        with probability 0.25, held for 5 frames; lost lives are not told; no frames of
        doing nothing; 5 minutes of 60 frames per second.
    """
    return AtariConfig(
        name,
        num_envs,
        sticky_action_probability=0.25,
        full_action_set=True,
        frame_skip=5,
        max_frames=18_000,
    )


def _start_games(config: AtariConfig, num_envs: int) -> Any:
    """Has ale_py make its vector environment."""
    import_extra("gymnasium", EXTRA)  # ale_py needs it without asking for it
    ale_py = import_extra("ale_py.vector_env", EXTRA)
    known = import_extra("ale_py.roms", EXTRA).get_all_rom_ids()
    if config.name not in known:
        near = difflib.get_close_matches(config.name.lower(), known, n=3, cutoff=0.0)
        raise ValueError(
            f"name: ale_py does not know {config.name!r}; nearest: {', '.join(near)}"
        )
    return ale_py.AtariVectorEnv(
        config.name,
        num_envs,
        num_threads=config.num_threads or 0,  # 0: one for each core
        max_num_frames_per_episode=config.max_frames,
        repeat_action_probability=config.sticky_action_probability,
        full_action_space=config.full_action_set,
        autoreset_mode="NextStep",
        img_height=config.size,
        img_width=config.size,
        stack_num=config.frame_stack,
        frameskip=config.frame_skip,
        maxpool=config.max_pool,
        noop_max=config.noop_starts + 1,  # ale_py stays below it
        episodic_life=False,
        life_loss_info=False,
        reward_clipping=False,
        use_fire_reset=config.fire_start,
    )


def _in_rows(games: Any, config: AtariConfig) -> HostEnvironment:
    """Gives the games' answers our names, and lost lives their meaning."""
    shape = (config.frame_stack, config.size, config.size)
    spec = EnvironmentSpec(
        config.name,
        ArraySpec(shape, np.dtype(np.uint8), 0, 255, channels_first=True),
        DiscreteSpec(int(games.single_action_space.n)),
    )
    terminates = config.lost_life == "terminate"
    num_envs = games.num_envs
    is_last: Any = np.zeros(num_envs, bool)
    lives = np.zeros(num_envs, np.int32)

    def reset(seed: int) -> TimeStep:
        nonlocal is_last, lives
        observation, info = games.reset(seed=seed)
        lives, row = info["lives"], first_rows(observation, num_envs)
        is_last = row.is_last
        return row

    def step(actions: np.ndarray) -> TimeStep:
        nonlocal is_last, lives
        observation, *outcome, info = games.step(actions)
        row = next_rows(is_last, observation, *outcome)
        if terminates:
            lost = (info["lives"] < lives) & ~is_last
            row = row._replace(terminated=row.terminated | lost)
        lives, is_last = info["lives"], row.is_last
        return row

    def close() -> None:
        nonlocal games
        games = None  # its threads end when nothing holds it any more

    return HostEnvironment(spec, num_envs, reset, step, close)
