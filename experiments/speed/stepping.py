"""Steps per second of environments alone, beside gymnax's own `step`.

Both sides run one compiled loop with random actions and keep every observation, reward
and end, as a rollout does. Runs alternate within one process. Steps are real
transitions: ours needs one row more per episode and is not paid for it.

    python -m experiments.speed.stepping --environments CartPole-v1 Breakout-MinAtar
"""

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import tyro

from jaxrl_dist.environments.build import EnvironmentConfig
from jaxrl_dist.environments.gymnax_env import gymnax
from jaxrl_dist.types import TimeStep

Run = Callable[[jax.Array, Any], tuple[Any, Any]]  # (key, state) to (state, kept)


@dataclasses.dataclass(frozen=True)
class SteppingConfig:
    """What to measure.

    Attributes:
        environments: names that gymnax registers.
        num_envs: environments stepped at once, on one device.
        num_steps: steps of each environment in one compiled loop.
        loops: loops in one timed run.
        repeats: timed runs of each side, alternating; medians are reported.
        seed: of actions, resets and steps.
    """

    environments: tuple[str, ...] = ("CartPole-v1", "Breakout-MinAtar")
    num_envs: int = 64
    num_steps: int = 128
    loops: int = 40
    repeats: int = 15
    seed: int = 0


def gymnax_loop(config: SteppingConfig, name: str) -> tuple[Callable, Run]:
    """Gymnax's own reset and step, drawing as its users do: a split for each step."""
    environment, params = gymnax.make(name)
    space = environment.action_space(params)

    def reset(key: jax.Array) -> Any:
        keys = jax.random.split(key, config.num_envs)
        _, state = jax.vmap(environment.reset, (0, None))(keys, params)
        return state

    def run(key: jax.Array, state: Any) -> tuple[Any, Any]:
        def step(now: tuple, _: None) -> tuple[tuple, Any]:
            key, state = now
            key, key_act, key_step = jax.random.split(key, 3)
            actions = jax.vmap(space.sample)(jax.random.split(key_act, config.num_envs))
            observation, state, reward, terminated, truncated, _ = jax.vmap(
                environment.step, (0, 0, 0, None)
            )(jax.random.split(key_step, config.num_envs), state, actions, params)
            return (key, state), (observation, reward, terminated, truncated)

        (_, state), kept = jax.lax.scan(step, (key, state), None, config.num_steps)
        return state, kept

    return reset, run


def gymnax_ahead_loop(config: SteppingConfig, name: str) -> tuple[Callable, Run]:
    """Gymnax's own step at its best: actions and keys are drawn before the loop."""
    environment, params = gymnax.make(name)
    space = environment.action_space(params)
    shape = (config.num_steps, config.num_envs)
    reset, _ = gymnax_loop(config, name)

    def run(key: jax.Array, state: Any) -> tuple[Any, Any]:
        key_act, key_step = jax.random.split(key)
        sample = jax.vmap(jax.vmap(space.sample))
        actions = sample(jax.random.split(key_act, shape))

        def step(state: Any, inputs: tuple) -> tuple[Any, Any]:
            action, keys = inputs
            observation, state, *ends, _ = jax.vmap(environment.step, (0, 0, 0, None))(
                keys, state, action, params
            )
            return state, (observation, ends)

        return jax.lax.scan(step, state, (actions, jax.random.split(key_step, shape)))

    return reset, run


def our_loop(config: SteppingConfig, name: str) -> tuple[Callable, Run]:
    """This project's environments, as a rollout uses them."""
    environment = EnvironmentConfig(name, num_envs=config.num_envs).build()
    gymnax_environment, params = gymnax.make(name)
    space = gymnax_environment.action_space(params)
    shape = (config.num_steps, config.num_envs)

    def reset(key: jax.Array) -> Any:
        return environment.reset(key, config.num_envs)[0]

    def run(key: jax.Array, state: Any) -> tuple[Any, Any]:
        key_act, key_step = jax.random.split(key)
        sample = jax.vmap(jax.vmap(space.sample))
        actions = sample(jax.random.split(key_act, shape))
        keys = jax.random.split(key_step, config.num_steps)
        chances = jax.vmap(environment.draw, (0, None))(keys, config.num_envs)

        def step(state: Any, inputs: tuple) -> tuple[Any, Any]:
            return environment.step(state, *inputs)

        return jax.lax.scan(step, state, (actions, chances))

    return reset, run


def main(config: SteppingConfig) -> None:
    """Measures every environment and prints medians and their ratios."""
    device = jax.devices()[0]
    print(f"{config.num_envs} environments on {device.device_kind}, {device.platform}")
    for name in config.environments:
        measure(config, name)


def measure(config: SteppingConfig, name: str) -> None:
    """Alternates both sides and prints their medians."""
    sides = {
        "gymnax": gymnax_loop,
        "gymnax, drawn ahead": gymnax_ahead_loop,
        "ours": our_loop,
    }
    loops = {side: make(config, name) for side, make in sides.items()}
    timers = {side: timer(config, *loop) for side, loop in loops.items()}
    speeds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(config.repeats):
        for side, run in timers.items():
            speeds[side].append(run())
    medians = {side: statistics.median(all_of) for side, all_of in speeds.items()}
    for side, all_of in speeds.items():
        print(
            f"{name:24} {side:20} {medians[side] / 1e6:8.3f} million steps/s "
            f"(from {min(all_of) / 1e6:.3f} to {max(all_of) / 1e6:.3f}), "
            f"ours / this {medians['ours'] / medians[side]:.2f}"
        )


def timer(config: SteppingConfig, reset: Callable, run: Run) -> Callable[[], float]:
    """Compiles a loop; each call of the result times it, in real steps per second."""
    key_reset, key_run, *keys = jax.random.split(jax.random.key(config.seed), 12)
    compiled = jax.jit(run, donate_argnums=1)
    state, _ = compiled(key_run, jax.jit(reset)(key_reset))

    def timed() -> float:
        nonlocal state
        rows = []
        start = time.perf_counter()
        for loop in range(config.loops):
            state, kept = compiled(keys[loop % len(keys)], state)
            rows.append(kept.is_last if isinstance(kept, TimeStep) else None)
        jax.block_until_ready(state)
        seconds = time.perf_counter() - start
        resets = sum(int(is_last.sum()) for is_last in rows if is_last is not None)
        return (config.loops * config.num_steps * config.num_envs - resets) / seconds

    return timed


if __name__ == "__main__":
    main(tyro.cli(SteppingConfig))
