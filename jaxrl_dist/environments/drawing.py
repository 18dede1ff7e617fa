"""Pictures of environments: what one state of each looks like."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

Point = tuple[float, float]
Colour = tuple[int, int, int]

WIDTH = 400  # pixels
BACKGROUND, INK = (250, 250, 248), (45, 48, 56)
BLUE, RED, GREEN, SAND = (70, 120, 200), (214, 80, 70), (60, 160, 90), (190, 150, 100)
# Colours of the channels of an image, told apart by most people with any eyesight.
CHANNELS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (255, 255, 255),
    (150, 150, 150),
    (170, 110, 40),
)
DARK = (24, 24, 32)
_SMOOTHING = 3  # shapes are drawn this much larger; scaling down smooths their edges


class Picture:
    """A picture whose shapes are given in the units of what it shows, y upwards."""

    def __init__(self, low: Point, high: Point) -> None:
        self._low, self._high = low, high
        self._scale = WIDTH * _SMOOTHING / (high[0] - low[0])
        height = round((high[1] - low[1]) * self._scale / _SMOOTHING)
        size = (WIDTH * _SMOOTHING, height * _SMOOTHING)
        self._image = Image.new("RGB", size, BACKGROUND)
        self._draw = ImageDraw.Draw(self._image)

    def _pixels(self, points: tuple[Point, ...]) -> list[Point]:
        (left, _), (_, top), scale = self._low, self._high, self._scale
        return [((x - left) * scale, (top - y) * scale) for x, y in points]

    def line(self, *points: Point, width: float, colour: Colour) -> None:
        """Joins points by a line of some width, with round ends."""
        pixels = round(width * self._scale)
        self._draw.line(self._pixels(points), colour, max(pixels, 1), joint="curve")
        for end in (points[0], points[-1]):
            self.disk(end, width / 2, colour)

    def polygon(self, *points: Point, colour: Colour) -> None:
        """Fills the area between points."""
        self._draw.polygon(self._pixels(points), fill=colour)

    def disk(self, centre: Point, radius: float, colour: Colour) -> None:
        """Fills a circle."""
        ((x, y),), r = self._pixels((centre,)), radius * self._scale
        self._draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def image(self) -> Image.Image:
        """The picture so far, WIDTH pixels wide."""
        return self._image.reduce(_SMOOTHING)


def draw_cart_pole(environment: Any, params: Any, state: Any) -> Image.Image:
    """A cart on its track, with the pole."""
    x, theta, length = float(state.x), float(state.theta), 2 * params.length
    side = 1.15 * params.x_threshold
    picture = Picture((-side, -0.4), (side, length + 0.5))
    picture.line((-side, 0), (side, 0), width=0.02, colour=INK)
    left, right = x - 0.25, x + 0.25
    picture.polygon((left, 0), (right, 0), (right, 0.25), (left, 0.25), colour=BLUE)
    tip = (x + length * math.sin(theta), 0.25 + length * math.cos(theta))
    picture.line((x, 0.25), tip, width=0.09, colour=SAND)
    picture.disk((x, 0.25), 0.05, INK)
    return picture.image()


def draw_pendulum(environment: Any, params: Any, state: Any) -> Image.Image:
    """The rod, upright at angle 0, and the torque as a bar at its tip."""
    theta, length, torque = float(state.theta), params.l, float(state.last_u)
    picture = Picture((-1.5 * length, -1.5 * length), (1.5 * length, 1.5 * length))
    tip = (-length * math.sin(theta), length * math.cos(theta))
    picture.line((0, 0), tip, width=0.16 * length, colour=RED)
    reach = 0.4 * length * torque / params.max_torque
    pushed = (tip[0] - reach * math.cos(theta), tip[1] - reach * math.sin(theta))
    picture.line(tip, pushed, width=0.05 * length, colour=INK)
    picture.disk((0, 0), 0.06 * length, INK)
    return picture.image()


def draw_acrobot(environment: Any, params: Any, state: Any) -> Image.Image:
    """Two links hanging from a joint, and the height that the tip must reach."""
    first, second = params.link_length_1, params.link_length_2
    side = 1.1 * (first + second)
    angle = float(state.joint_angle1)
    joint = (first * math.sin(angle), -first * math.cos(angle))
    angle += float(state.joint_angle2)
    tip = (joint[0] + second * math.sin(angle), joint[1] - second * math.cos(angle))
    picture = Picture((-side, -side), (side, side))
    picture.line((-side, 1), (side, 1), width=0.02, colour=GREEN)
    picture.line((0, 0), joint, width=0.16, colour=BLUE)
    picture.line(joint, tip, width=0.16, colour=SAND)
    for pin in ((0.0, 0.0), joint):
        picture.disk(pin, 0.06, INK)
    return picture.image()


def draw_mountain_car(environment: Any, params: Any, state: Any) -> Image.Image:
    """The car between its two hills, and the flag at the goal."""

    def on_hill(x: float, above: float = 0.0) -> Point:
        return x, 0.45 * math.sin(3 * x) + 0.55 + above

    left, right, goal = params.min_position, params.max_position, params.goal_position
    hill = [on_hill(x) for x in np.linspace(left, right, 100)]
    picture = Picture((left, 0), (right, 1.25))
    picture.polygon(*hill, (right, 0), (left, 0), colour=SAND)
    picture.line(on_hill(goal), on_hill(goal, 0.16), width=0.012, colour=INK)
    pole, tail = on_hill(goal, 0.16), on_hill(goal, 0.09)
    picture.polygon(pole, tail, (goal + 0.08, (pole[1] + tail[1]) / 2), colour=RED)
    picture.disk(on_hill(float(state.position), 0.035), 0.04, BLUE)
    return picture.image()


def draw_point_robot(environment: Any, params: Any, state: Any) -> Image.Image:
    """The point, and the goal somewhere on a half circle."""
    radius = params.circle_radius
    side = 1.4 * radius
    picture = Picture((-side, -0.4 * radius), (side, side))
    angles = np.linspace(0, math.pi, 60)
    arc = [(radius * math.cos(a), radius * math.sin(a)) for a in angles]
    picture.line(*arc, width=0.015 * radius, colour=INK)
    picture.disk(_point(state.goal), params.goal_radius, GREEN)
    picture.disk(_point(state.pos), 0.05 * radius, RED)
    return picture.image()


def draw_reacher(environment: Any, params: Any, state: Any) -> Image.Image:
    """The links of the arm, and where its end should be."""
    links = np.stack([np.cos(state.angles), np.sin(state.angles)], axis=-1)
    joints = np.concatenate([np.zeros((1, 2)), np.cumsum(links, axis=0)])
    side = len(links) + 0.3
    picture = Picture((-side, -side), (side, side))
    picture.disk(_point(state.goal_xy), 0.15, GREEN)
    picture.line(*map(_point, joints), width=0.14, colour=BLUE)
    for joint in joints:
        picture.disk(_point(joint), 0.06, INK)
    return picture.image()


def draw_swimmer(environment: Any, params: Any, state: Any) -> Image.Image:
    """The swimmer, its goal, and the urchins that it had better not touch."""
    picture = Picture((-1.5, -1.5), (1.5, 1.5))
    picture.disk(_point(state.goal_xy), 0.12, GREEN)
    for urchin in np.asarray(state.urchin_xys):
        picture.disk(_point(urchin), 0.1, INK)
    picture.disk(_point(state.xy), 0.06, RED)
    return picture.image()


def _point(xy: Any) -> Point:
    return float(xy[0]), float(xy[1])


def draw_maze(environment: Any, params: Any, state: Any) -> Image.Image:
    """Walls, the goal and the agent."""
    walls = np.asarray(environment.occupied_map)
    grid = np.zeros((*walls.shape, 3), bool)
    grid[..., 0] = walls
    grid[(*np.asarray(state.goal), 1)] = True
    grid[(*np.asarray(state.pos), 2)] = True
    return draw_grid(grid, (INK, GREEN, RED), BACKGROUND)


def draw_frozen_lake(environment: Any, params: Any, state: Any) -> Image.Image:
    """Holes and the goal in the ice, and the agent."""
    from gymnax.environments.misc import frozen_lake

    tiles = np.asarray(environment.desc)
    agent = np.arange(tiles.size).reshape(tiles.shape) == int(state.position)
    holes, goal = tiles == frozen_lake.HOLE, tiles == frozen_lake.GOAL
    grid = np.stack([holes, goal, agent], axis=-1)
    return draw_grid(grid, (INK, GREEN, RED), (215, 235, 245))


def draw_grid(
    grid: np.ndarray,
    colours: tuple[Colour, ...] = CHANNELS,
    background: Colour = DARK,
) -> Image.Image:
    """Draws cells in the colour of the last channel that is not 0 in them.

    Args:
        grid: [height, width] or [height, width, channels] of numbers or bools.
        colours: of the channels; they repeat if there are more channels.
        background: colour of a cell in which every channel is 0.

    Returns:
        An image of whole cells, its longer side about WIDTH pixels.
    """
    grid = grid if grid.ndim == 3 else grid[..., None]
    height, width, channels = grid.shape
    pixels = np.full((height, width, 3), background, np.uint8)
    for channel in range(channels):
        pixels[grid[..., channel] != 0] = colours[channel % len(colours)]
    cell = max(WIDTH // max(height, width), 1)
    pixels = pixels.repeat(cell, axis=0).repeat(cell, axis=1)
    if cell >= 8:  # thin lines between cells, where there is room
        pixels[::cell] = pixels[:, ::cell] = (np.array(background) * 0.8).astype(int)
    return Image.fromarray(pixels)


DRAWINGS: dict[str, Callable[[Any, Any, Any], Image.Image]] = {
    "CartPole-v1": draw_cart_pole,
    "Pendulum-v1": draw_pendulum,
    "Acrobot-v1": draw_acrobot,
    "MountainCar-v0": draw_mountain_car,
    "MountainCarContinuous-v0": draw_mountain_car,
    "PointRobot-misc": draw_point_robot,
    "Reacher-misc": draw_reacher,
    "Swimmer-misc": draw_swimmer,
    "FourRooms-misc": draw_maze,
    "MetaMaze-misc": draw_maze,
    "FrozenLake-misc": draw_frozen_lake,
}
"""How to draw a state of gymnax's: (environment, its parameters, state) to image."""
