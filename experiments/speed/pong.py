"""How long until Pong is won, in one process: games on the host, the rest on a device.

    python -m experiments.speed.pong
    python -m experiments.speed.pong --num-envs 32 --size 42 --minutes 30

It is `pong_impala` without Reverb and without other processes, for a machine where an
accelerator is at hand and a Reverb server is not: after each rollout of all games, the
agent learns from so many trajectories at a time as `pong_impala` would, with V-trace
for what it learnt in between. It ends when the mean return of the last 100 episodes has
reached the goal, or when the time is up, and then plays whole games with the most
likely actions. Measured: RESULTS.md, "Atari".
"""

import argparse
import collections
import dataclasses
import json
import time
from typing import Any

import jax
import numpy as np

from experiments import pong_impala
from jaxrl_dist.agents.impala import IMPALAConfig
from jaxrl_dist.environments.atari import AtariConfig
from jaxrl_dist.experiment import Plan, plan
from jaxrl_dist.rollout_on_host import compile_acting, rollout_on_host, start_on_host
from jaxrl_dist.training.collecting import without_environments
from jaxrl_dist.training.on_host import make_host_player, players, seeing
from jaxrl_dist.types import Trajectory

RECENT = 100  # episodes
LINE_SECONDS = 5.0


class Returns:
    """Returns of the games under way, and of the last ones that ended."""

    def __init__(self, num_envs: int) -> None:
        self.recent: collections.deque[float] = collections.deque(maxlen=RECENT)
        self.num_steps = 0
        self._so_far = np.zeros(num_envs)

    def follow(self, rows: Trajectory) -> None:
        """Follows the games through a rollout [T + 1, B]."""
        for reward, is_last in zip(rows.reward[:-1], rows.is_last[:-1], strict=True):
            self._so_far += np.where(is_last, 0.0, reward)
            self.recent.extend(self._so_far[is_last])
            self._so_far[is_last] = 0.0
            self.num_steps += int((~is_last).sum())

    def mean(self) -> float:
        """Of the last games; -21 until there are enough of them."""
        full = len(self.recent) == RECENT
        return float(np.mean(self.recent)) if full else -21.0


def make_learn(built: Plan, batch: int) -> Any:
    """Compiles updates from so many trajectories each, one after the other."""
    agent, normaliser = built.setting.agent, built.setting.normaliser

    def learn(state: Any, seen: Any, rows: Trajectory, key: jax.Array) -> Any:
        def slices(x: jax.Array) -> jax.Array:
            """[N, T + 1, batch, ...] out of [T + 1, B, ...]."""
            parts = x.reshape(len(x), -1, batch, *x.shape[2:])
            return parts.swapaxes(0, 1)

        def one(state: Any, part: Trajectory) -> tuple[Any, Any]:
            state, info = agent.update(state, normaliser.rows(seen, part), key)
            return state, info.metrics

        state, metrics = jax.lax.scan(one, state, jax.tree.map(slices, rows))
        means = jax.tree.map(lambda x: x.mean(), metrics)
        return state, normaliser.update(seen, rows), means

    return jax.jit(learn, donate_argnums=(0, 1))


def make_plan(arguments: argparse.Namespace) -> tuple[Plan, AtariConfig]:
    """Builds pong_impala, of the size asked for."""
    experiment = pong_impala.experiment()
    games = experiment.environment
    assert isinstance(games, AtariConfig)
    assert isinstance(experiment.agent, IMPALAConfig)
    games = dataclasses.replace(games, num_envs=arguments.num_envs, size=arguments.size)
    runtime = dataclasses.replace(
        experiment.runtime, num_actors=1, rollout_steps=arguments.rollout_steps
    )
    optimizer = dataclasses.replace(
        experiment.agent.optimizer,
        learning_rate=arguments.learning_rate,
        anneal=False,
    )
    experiment = dataclasses.replace(
        experiment,
        environment=games,
        runtime=runtime,
        agent=dataclasses.replace(experiment.agent, optimizer=optimizer),
        seed=arguments.seed,
    )
    return plan(experiment), games


def main() -> None:
    """Trains, prints a line every few seconds, and evaluates."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--rollout-steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=8, help="trajectories")
    parser.add_argument("--size", type=int, default=84)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--goal", type=float, default=19.0)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--episodes", type=int, default=32, help="of the evaluation")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    train(arguments)


def train(arguments: argparse.Namespace) -> None:
    """See the module."""
    built, games = make_plan(arguments)
    agent, key = built.setting.agent, jax.random.key(arguments.seed)
    acting, host = compile_acting(seeing(built.setting)), games.build()
    learn, returns = make_learn(built, arguments.batch), Returns(games.num_envs)
    state, metrics = jax.jit(agent.init)(key), {}
    seen = built.setting.normaliser.init(games.num_envs)
    now = start_on_host(acting, host, arguments.seed)
    print(json.dumps(vars(arguments) | {"device": jax.devices()[0].device_kind}))
    began = said = time.monotonic()
    seconds = acted = 0.0
    params: Any = (agent.acting_params(state), without_environments(seen))
    while returns.mean() < arguments.goal and seconds < 60 * arguments.minutes:
        start = time.monotonic()
        now, rows = rollout_on_host(
            acting, host, params, now, num_steps=arguments.rollout_steps
        )
        acted += time.monotonic() - start
        returns.follow(rows)
        state, seen, metrics = jax.block_until_ready(learn(state, seen, rows, key))
        params = (agent.acting_params(state), without_environments(seen))
        seconds = time.monotonic() - began
        if time.monotonic() - said > LINE_SECONDS:
            said = time.monotonic()
            say(returns, seconds, acted, metrics)
    host.close()
    say(returns, seconds, acted, metrics)
    with players(games, arguments.episodes) as host:
        play = make_host_player(
            built.setting, host, params, num_episodes=arguments.episodes
        )
        final = play(params, arguments.seed, 0)
    print(
        f"{returns.num_steps:,} steps in {seconds:.0f} s; greedy: mean return "
        f"{final.mean():.2f} ± {final.std():.2f} over {len(final)} games, "
        f"{final.min():g} to {final.max():g}"
    )


def say(returns: Returns, seconds: float, acted: float, metrics: Any) -> None:
    """Prints a line of JSON."""
    line = {
        "steps": returns.num_steps,
        "seconds": round(seconds, 1),
        "return_mean": round(returns.mean(), 2),
        "acting_share": round(acted / seconds, 3),
        **{name: round(float(x), 4) for name, x in metrics.items()},
    }
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
