"""One episode of a policy as an animated GIF."""

import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxrl_dist.checks import check_at_least
from jaxrl_dist.environments import drawing, gymnax_env
from jaxrl_dist.environments.base import BatchedEnvironment, BatchState
from jaxrl_dist.environments.build import EnvironmentConfig
from jaxrl_dist.environments.wrappers import innermost_state
from jaxrl_dist.types import ArraySpec, ArrayTree, TimeStep

# (memory, TimeStep [1, ...], key) to (memory, action [1, ...])
Policy = Callable[[ArrayTree, TimeStep, jax.Array], tuple[ArrayTree, jax.Array]]
_CAPTION_HEIGHT = 22  # pixels


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
) -> RenderedEpisode:
    """Plays one episode and writes it as a GIF.

    Args:
        config: the environment, with its wrappers.
        policy: what to do, for a batch of one; it is compiled here.
        key: of resets, steps and the policy.
        path: ends in .gif; its folder is made if need be.
        memory: of the policy before the episode, for a batch of one.
        max_steps: environment steps after which the picture ends, from 1.

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
    frames, total, ended = [], 0.0, False
    for state, row in _play(config.build(), policy, memory, key, max_steps):
        total += float(row.reward[0])
        image = draw(state, row)
        frames.append(_captioned(image, f"step {len(frames)}   return {total:.4g}"))
        ended = bool(row.is_last[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    durations = [1000 // frames_per_second] * (len(frames) - 1) + [1000]  # milliseconds
    first, *rest = frames
    first.save(path, save_all=True, append_images=rest, duration=durations, loop=0)
    return RenderedEpisode(len(frames), total, ended)


def _play(
    environment: BatchedEnvironment,
    policy: Policy,
    memory: ArrayTree,
    key: jax.Array,
    max_steps: int,
) -> Iterator[tuple[BatchState, TimeStep]]:
    """Yields (state, row) of one environment, from a first row to a last one."""

    @jax.jit
    def advance(state: Any, row: TimeStep, memory: ArrayTree, key: jax.Array) -> tuple:
        key_act, key_env = jax.random.split(key)
        memory, action = policy(memory, row, key_act)
        state, row = environment.step(state, action, environment.draw(key_env, 1))
        return state, row, memory

    key_reset, *keys = jax.random.split(key, max_steps + 1)
    state, row = jax.jit(environment.reset, static_argnums=1)(key_reset, 1)
    yield state, row
    for key_step in keys:
        state, row, memory = advance(state, row, memory, key_step)
        yield state, row
        if row.is_last[0]:
            return


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
        latest = np.asarray(row.observation)[0][..., -spec.shape[-1] :]  # of a stack
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
