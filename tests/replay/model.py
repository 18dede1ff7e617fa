"""Replay as plain Python lists, to compare with; and rows to put into it."""

from typing import Any

import jax
import numpy as np

from jaxrl_dist.replay.sequences import Replay
from jaxrl_dist.types import Trajectory


def compiled(replay: Replay) -> Replay:
    """The replay with each of its functions compiled by itself."""
    return Replay(*(jax.jit(function) for function in replay))


class Model:
    """What a replay holds and what may be drawn, one environment after another."""

    def __init__(
        self, num_envs: int, length: int, sequence_length: int, period: int = 1
    ) -> None:
        self.length, self.sequence_length = length, sequence_length
        self.period, self.first_row_only = period, True
        self.rows: list[dict[int, Any]] = [
            {} for _ in range(num_envs)
        ]  # position to row
        self.age: list[list[int]] = [
            [] for _ in range(num_envs)
        ]  # positions, oldest first
        self.priority: dict[tuple[int, int], float] = {}  # (environment, position)
        self.position, self.greatest = 0, 1.0

    def add(self, rows: Trajectory, priority: np.ndarray | None = None) -> None:
        """Appends rows [T, B, ...] one by one."""
        entered, given = self.greatest, {}
        for t in range(rows.is_last.shape[0]):
            for environment, ages in enumerate(self.age):
                row = jax.tree.map(lambda x, t=t, e=environment: x[t, e], rows)
                self.add_row(environment, row)
                start = ages[-self.sequence_length :][0]
                if len(ages) >= self.sequence_length and start % self.period == 0:
                    value = entered if priority is None else priority[t, environment]
                    if not 0 <= value < np.inf:
                        value = entered
                    given[environment, start] = float(value)
                    is_last = self.rows[environment][start].is_last
                    passed = self.first_row_only and is_last
                    self.priority[environment, start] = 0.0 if passed else float(value)
            self.position = (self.position + 1) % self.length
        kept = [value for at, value in given.items() if at in self.priority]
        self.greatest = max([self.greatest, *kept])

    def add_row(self, environment: int, row: Any) -> None:
        """Appends one row, over the oldest if there is no room."""
        ages = self.age[environment]
        if len(ages) == self.length:
            self.priority.pop((environment, ages.pop(0)), None)
        ages.append(self.position)
        self.rows[environment][self.position] = row

    def sequences(self) -> dict[int, list[Any]]:
        """Every complete sequence by its slot."""
        found = {}
        for environment, ages in enumerate(self.age):
            for first in range(len(ages) - self.sequence_length + 1):
                positions = ages[first : first + self.sequence_length]
                if positions[0] % self.period:
                    continue
                slot = environment * self.length + positions[0]
                found[slot] = [self.rows[environment][p] for p in positions]
        return found

    def set_priorities(self, slot: np.ndarray, priority: np.ndarray) -> int:
        """Sets priorities, the greatest where one slot is named twice."""
        best: dict[tuple[int, int], float] = {}
        refused = 0
        for where, value in zip(slot, priority, strict=True):
            at = (int(where) // self.length, int(where) % self.length)
            if not 0 <= value < np.inf:
                refused += 1
            elif at in self.priority:
                best[at] = max(best.get(at, 0.0), float(value))
                self.greatest = max(self.greatest, float(value))
        self.priority |= best
        return refused


def make_rows(
    num_steps: int, num_envs: int, first: int = 0, seed: int = 0
) -> Trajectory:
    """Rows [T, B] of many types, each of which says when and where it was."""
    rng = np.random.default_rng((seed, first))
    shape = (num_steps, num_envs)
    time = first + np.arange(num_steps)[:, None] + np.zeros(shape, int)
    number = time * 100 + np.arange(num_envs)
    arrays: dict[str, Any] = dict(
        observation={
            "picture": rng.integers(0, 255, (*shape, 3, 2)).astype(np.uint8),
            "number": np.stack([number, -number], -1).astype(np.float32),
        },
        is_first=rng.random(shape) < 0.2,
        is_last=rng.random(shape) < 0.2,
        action=rng.integers(0, 5, shape).astype(np.int32),
        reward=rng.normal(size=shape).astype(np.float32),
        terminated=rng.random(shape) < 0.1,
        extras={"half": rng.normal(size=(*shape, 3)).astype(np.float16)},
        memory=(
            rng.normal(size=(*shape, 5)).astype(np.float32),
            rng.random(shape) < 0.5,
        ),
    )
    return Trajectory(**arrays)
