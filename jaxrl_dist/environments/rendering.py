"""One episode of a policy as an animated GIF."""

import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxrl_dist.checks import check_at_least
from jaxrl_dist.environments import drawing, gymnax_env, return_drawing
from jaxrl_dist.environments.base import BatchedEnvironment, BatchState
from jaxrl_dist.environments.build import EnvironmentConfig
from jaxrl_dist.environments.previous_step import Seen
from jaxrl_dist.environments.wrappers import innermost_state
from jaxrl_dist.types import ArraySpec, ArrayTree, TimeStep

# (memory, TimeStep [1, ...], key) to (memory, action [1, ...])
Policy = Callable[[ArrayTree, TimeStep, jax.Array], tuple[ArrayTree, jax.Array]]
# (TimeStep [1, ...]) to returns and their probabilities, [1, A, N] each
Returns = Callable[[TimeStep], tuple[jax.Array, jax.Array]]
_CAPTION_HEIGHT = 22  # pixels


class Thought(NamedTuple):
    """What the policy made of an observation."""

    action: np.ndarray  # that it took
    returns: tuple[np.ndarray, np.ndarray] | None  # [A, N], and how probable they are


class RenderedEpisode(NamedTuple):
    """What a GIF shows."""

    num_frames: int  # observations, the first and the last included
    episode_return: float  # environment reward units, of the steps shown
    ended: bool  # False if it was cut off at max_steps


def can_render(config: EnvironmentConfig) -> bool:
    """Whether there is a way to draw this environment.

    Args:
        config: of an environment that exists; drawn are those in `drawing.DRAWINGS`
            and all whose observations are images, [height, width(, channels)].
    """
    return config.name in drawing.DRAWINGS or _is_image(_bare_spec(config))


def render_episode(
    config: EnvironmentConfig,
    policy: Policy,
    key: jax.Array,
    path: str | os.PathLike[str],
    *,
    memory: ArrayTree = (),
    max_steps: int = 1000,
    returns: Returns | None = None,
) -> RenderedEpisode:
    """Plays one episode and writes it as a GIF.

    Args:
        config: the environment, with its wrappers.
        policy: what to do, for a batch of one; it is compiled here.
        key: of resets, steps and the policy.
        path: ends in .gif; its folder is made if need be.
        memory: of the policy before the episode, for a batch of one.
        max_steps: environment steps after which the picture ends, from 1.
        returns: what each action is expected to earn, drawn beside the environment;
            None to draw the environment alone.

    Returns:
        How long the episode was and what it earned.

    Raises:
        ValueError: nobody knows how to draw the environment, path is no .gif, or
            max_steps is below 1.
    """
    path = pathlib.Path(path)
    if path.suffix != ".gif":
        raise ValueError(f"a rendered episode is a .gif, got {path}")
    draw, frames_per_second = _drawer(config)
    check_at_least(1, max_steps=max_steps)
    frames, thoughts, total, ended = [], [], 0.0, False
    think = _thinker(policy, returns)
    for state, row, thought in _play(config.build(), think, memory, key, max_steps):
        total += float(row.reward[0])
        image = draw(state, row)
        frames.append(_captioned(image, f"step {len(frames)}   return {total:.4g}"))
        thoughts.append(thought)
        ended = bool(row.is_last[0])
    if returns is not None:
        frames = _beside_returns(frames, thoughts)
    path.parent.mkdir(parents=True, exist_ok=True)
    durations = [1000 // frames_per_second] * (len(frames) - 1) + [1000]  # milliseconds
    first, *rest = frames
    first.save(path, save_all=True, append_images=rest, duration=durations, loop=0)
    return RenderedEpisode(len(frames), total, ended)


def _thinker(policy: Policy, returns: Returns | None) -> Callable:
    """Builds (memory, TimeStep, key) to (memory, action, returns or None)."""

    def think(memory: ArrayTree, row: TimeStep, key: jax.Array) -> tuple:
        memory, action = policy(memory, row, key)
        return memory, action, None if returns is None else returns(row)

    return think


def _play(
    environment: BatchedEnvironment,
    think: Callable,
    memory: ArrayTree,
    key: jax.Array,
    max_steps: int,
) -> Iterator[tuple[BatchState, TimeStep, Thought | None]]:
    """Yields state, row and thought of one environment, from a first row to a last one.

    There is no thought about the final row: nothing is done there.
    """

    @jax.jit
    def advance(state: Any, row: TimeStep, memory: ArrayTree, key: jax.Array) -> tuple:
        key_act, key_env = jax.random.split(key)
        memory, action, returns = think(memory, row, key_act)
        state, row = environment.step(state, action, environment.draw(key_env, 1))
        return state, row, memory, Thought(action, returns)

    key_reset, *keys = jax.random.split(key, max_steps + 1)
    state, row = jax.jit(environment.reset, static_argnums=1)(key_reset, 1)
    for key_step in keys:
        seen = state, row
        state, row, memory, thought = advance(state, row, memory, key_step)
        yield *seen, jax.tree.map(lambda x: np.asarray(x)[0], thought)
        if row.is_last[0]:
            break
    yield state, row, None


def _beside_returns(
    frames: list[Image.Image], thoughts: list[Thought | None]
) -> list[Image.Image]:
    """The frames, each with the returns that were expected to its right."""
    known = [thought.returns for thought in thoughts if thought and thought.returns]
    edges = return_drawing.choose_cells(
        *(np.stack(arrays) for arrays in zip(*known, strict=True))
    )
    wide = []
    for frame, thought in zip(frames, thoughts, strict=True):
        taken = int(thought.action) if thought else None
        returns = thought.returns if thought and thought.returns else known[-1]
        chart = return_drawing.draw_returns(*returns, taken, edges)
        size = (frame.width + chart.width, max(frame.height, chart.height))
        whole = Image.new("RGB", size, drawing.BACKGROUND)
        whole.paste(frame, (0, 0))
        whole.paste(chart, (frame.width, 0))
        wide.append(whole)
    return wide


def _drawer(
    config: EnvironmentConfig,
) -> tuple[Callable[[Any, TimeStep], Image.Image], int]:
    """How to draw (state, row) of a batch of one, and how many frames per second."""
    if config.name in drawing.DRAWINGS:
        environment, params = gymnax_env.construct(
            config.name, config.parameters, config.minimal_actions
        )
        picture = drawing.DRAWINGS[config.name]

        def draw_state(state: Any, row: TimeStep) -> Image.Image:
            state = jax.tree.map(lambda x: np.asarray(x)[0], state.inner)
            return picture(environment, params, innermost_state(state))

        return draw_state, 30
    spec = _bare_spec(config)
    if not _is_image(spec):
        drawn = ", ".join(drawing.DRAWINGS)
        raise ValueError(
            f"cannot draw {config.name}: drawn are {drawn} and environments whose "
            "observations are images"
        )

    def draw_observation(state: Any, row: TimeStep) -> Image.Image:
        shown = row.observation
        if isinstance(shown, Seen):
            shown = shown.observation
        latest = np.asarray(shown)[0][..., -spec.shape[-1] :]  # of a stack
        return drawing.draw_grid(latest)

    return draw_observation, 10


def _bare_spec(config: EnvironmentConfig) -> Any:
    """What the environment itself shows, without wrappers."""
    return config.build_bare().spec.observation


def _is_image(spec: Any) -> bool:
    """Whether observations are [height, width] or [height, width, channels]."""
    return isinstance(spec, ArraySpec) and (
        len(spec.shape) in {2, 3} and min(spec.shape[:2]) > 1
    )


def _captioned(image: Image.Image, caption: str) -> Image.Image:
    """The image with a line of text above it."""
    whole = Image.new(
        "RGB", (image.width, image.height + _CAPTION_HEIGHT), drawing.BACKGROUND
    )
    whole.paste(image, (0, _CAPTION_HEIGHT))
    font = ImageFont.load_default(14)
    ImageDraw.Draw(whole).text((6, 3), caption, drawing.INK, font)
    return whole
