"""Drawings show the state they are given, and a GIF shows one whole episode."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxrl_dist.environments import (
    drawing,
    gymnax_env,
    rendering,
    return_drawing,
)
from jaxrl_dist.environments.base import Environment, Outcome
from jaxrl_dist.environments.build import EnvironmentConfig
from jaxrl_dist.types import ArraySpec, DiscreteSpec, EnvironmentSpec


def always(action: int):
    """A policy that counts its actions in its memory."""
    return lambda memory, row, key: (memory + 1, jnp.full(1, action, jnp.int32))


def centre_of(image: Image.Image, colour: tuple[int, int, int]) -> tuple[float, float]:
    """Where a colour is, from (0, 0) at the lower left to (1, 1)."""
    rows, columns = np.nonzero((np.asarray(image) == colour).all(-1))
    return columns.mean() / image.width, 1 - rows.mean() / image.height


def dot(size: int = 3) -> Environment:
    """An image with one pixel that moves right at each step and ends at the edge."""

    def image(x):
        return jnp.stack([jnp.arange(size) == x] * 2).astype(jnp.uint8)

    def reset(key):
        return jnp.int32(0), image(0)

    def step(key, state, action):
        over = state + 1 >= size - 1
        return state + 1, Outcome(image(state + 1), jnp.float32(2), over, over)

    spec = ArraySpec((2, size), jnp.uint8, 0, 1)
    return Environment(EnvironmentSpec("Dot", spec, DiscreteSpec(2)), reset, step)


@pytest.mark.parametrize("name", drawing.DRAWINGS)
def test_every_drawing_draws_the_state_of_a_reset(name):
    environment, params = gymnax_env.construct(name, {}, minimal_actions=True)
    _, state = environment.reset(jax.random.key(0), params)
    image = drawing.DRAWINGS[name](environment, params, jax.device_get(state))
    assert image.mode == "RGB" and 300 <= max(image.size) <= drawing.WIDTH
    assert len(image.getcolors(100_000) or ()) >= 3


@pytest.mark.parametrize(("theta", "leans"), [(0.2, 1), (-0.2, -1)])
def test_the_pole_leans_the_way_it_falls(theta, leans):
    environment, params = gymnax_env.construct("CartPole-v1", {}, True)
    _, state = environment.reset(jax.random.key(0), params)
    image = drawing.draw_cart_pole(environment, params, state.replace(theta=theta))
    cart, pole = centre_of(image, drawing.BLUE), centre_of(image, drawing.SAND)
    assert (pole[0] - cart[0]) * leans > 0.01 and pole[1] > cart[1]


def test_the_pendulum_stands_upright_at_0_and_falls_left_first():
    environment, params = gymnax_env.construct("Pendulum-v1", {}, True)
    _, state = environment.reset(jax.random.key(0), params)
    for theta, x, y in (
        (0.0, 0.5, 0.67),
        (math.pi, 0.5, 0.33),
        (math.pi / 2, 0.33, 0.5),
    ):
        state = state.replace(theta=theta, last_u=0.0)
        image = drawing.draw_pendulum(environment, params, state)
        np.testing.assert_allclose(centre_of(image, drawing.RED), (x, y), atol=0.04)


def test_a_cell_has_the_colour_of_its_last_channel():
    grid = np.zeros((4, 4, 2))
    grid[0, 0, 0] = grid[3, 3, 0] = grid[3, 3, 1] = 1
    pixels = np.asarray(drawing.draw_grid(grid))
    assert pixels.shape == (400, 400, 3)
    assert tuple(pixels[50, 50]) == drawing.CHANNELS[0]
    assert tuple(pixels[350, 350]) == drawing.CHANNELS[1]
    assert tuple(pixels[50, 350]) == drawing.DARK


def test_the_gif_shows_every_observation_of_one_episode(tmp_path):
    path = tmp_path / "new" / "episode.gif"
    config = EnvironmentConfig("CartPole-v1", frame_stack=2, max_steps=200)
    episode = rendering.render_episode(
        config, always(1), jax.random.key(0), path, memory=jnp.int32(0)
    )
    assert episode.ended and 8 <= episode.episode_return <= 12
    assert episode.num_frames == episode.episode_return + 1
    with Image.open(path) as gif:
        assert getattr(gif, "n_frames") == episode.num_frames  # noqa: B009


def test_an_episode_is_cut_off_at_the_limit(tmp_path):
    episode = rendering.render_episode(
        EnvironmentConfig("Breakout-MinAtar"),
        always(0),
        jax.random.key(0),
        tmp_path / "episode.gif",
        memory=jnp.int32(0),
        max_steps=3,
    )
    assert episode == (4, 0.0, False)


def test_an_own_environment_is_drawn_if_it_shows_images(tmp_path):
    config = EnvironmentConfig(f"{__name__}:dot", frame_stack=2)
    assert rendering.can_render(config)
    path = tmp_path / "dot.gif"
    episode = rendering.render_episode(
        config, always(0), jax.random.key(0), path, memory=jnp.int32(0)
    )
    assert episode == (3, 4.0, True)
    with Image.open(path) as gif:
        places = []
        for frame in range(3):
            gif.seek(frame)
            places.append(centre_of(gif.convert("RGB"), drawing.CHANNELS[0])[0])
    np.testing.assert_allclose(places, [1 / 6, 3 / 6, 5 / 6], atol=0.01)


def test_what_cannot_be_drawn_is_said_before_anything_runs(tmp_path):
    config = EnvironmentConfig("MemoryChain-bsuite")
    assert not rendering.can_render(config)
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="cannot draw MemoryChain-bsuite: drawn are"):
        rendering.render_episode(config, always(0), key, tmp_path / "x.gif")
    with pytest.raises(ValueError, match="is a .gif, got"):
        rendering.render_episode(config, always(0), key, tmp_path / "x.mp4")


def test_expected_returns_stand_beside_each_picture_and_mark_what_was_done(tmp_path):
    config = EnvironmentConfig("Breakout-MinAtar")

    def returns(row):
        place = jnp.argmax(row.observation[0, -1, :, 0])  # of the paddle
        quantiles = jnp.linspace(0.0, 1.0, 20)[None] + place
        both = jnp.concatenate([quantiles, quantiles + 1, quantiles + 2])[None]
        return both, jnp.full(both.shape, 1 / 20)

    def draw(name, **settings):
        episode = rendering.render_episode(
            config,
            always(2),
            jax.random.key(0),
            tmp_path / name,
            memory=jnp.int32(0),
            max_steps=3,
            **settings,
        )
        with Image.open(tmp_path / name) as gif:
            gif.seek(1)
            return episode, np.asarray(gif.convert("RGB")).astype(int)

    alone, picture = draw("alone.gif")
    episode, both = draw("both.gif", returns=returns)
    assert episode == alone
    assert both.shape[1] == 2 * picture.shape[1] and both.shape[0] >= picture.shape[0]
    # A GIF has a palette for each frame, so that colours are near and not the same.
    left = both[: picture.shape[0], : picture.shape[1]]
    assert np.mean(np.abs(left - picture).max(-1) > 40) < 0.01
    chart = both[:, picture.shape[1] :]
    blue = np.abs(chart - return_drawing.TAKEN).max(-1) < 30
    heights = np.nonzero(blue.sum(1) > 20)[0]
    assert heights.min() > 200 and heights.max() < 340  # the lowest of three rows
