"""What an actor costs beyond its games: ale_py's vector environment alone against it.

    python -m experiments.speed.atari
    python -m experiments.speed.atari --num-envs 32 --seconds 3 --rounds 9
    python -m experiments.speed.atari --size 42 --torso nature_cnn

All take turns in one process, for some seconds each: ale_py's own vector environment
with actions drawn beforehand; rollouts of ours on the same games by a policy that costs
next to nothing; and these rollouts sent to a Reverb server, which runs on the same
cores. The table shows the median turn of each, and its share of the first.

Then the same actor acts by the network of `pong_impala`, and a learner of the same
process learns from each of its rollouts: what each of environment, inference, sending
and learning takes of their sum.

Target: at least 80% of ale_py alone with sending. Measured: RESULTS.md, "Atari".
"""

import argparse
import contextlib
import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import pong_impala
from jaxrl_dist.environments.atari import AtariConfig
from jaxrl_dist.environments.host import HostEnvironment
from jaxrl_dist.experiment import plan
from jaxrl_dist.networks.distributions import Categorical
from jaxrl_dist.replay import reverb
from jaxrl_dist.training import actor
from jaxrl_dist.training.actors_config import ActorsConfig
from jaxrl_dist.training.collecting import Acting, Share, without_environments
from jaxrl_dist.training.experience import EXPERIENCE
from jaxrl_dist.training.flow import Flow
from jaxrl_dist.training.on_device import Setting
from jaxrl_dist.training.on_host import make_host_collect
from jaxrl_dist.training.wiring import Wiring, wire
from jaxrl_dist.types import Agent, DiscreteSpec

KEPT_ITEMS = 64  # by the server; the oldest go, so that nobody needs to take them


class Parts(NamedTuple):
    """A run with one actor, built."""

    games: AtariConfig
    runtime: ActorsConfig
    setting: Setting
    flow: Flow
    share: Share
    wiring: Wiring


class Timed:
    """Games whose steps are timed."""

    def __init__(self, config: AtariConfig) -> None:
        self.config, self.seconds = config, 0.0

    def build(self, num_envs: int) -> HostEnvironment:
        """Starts them."""
        games = self.config.build(num_envs)

        def step(actions: np.ndarray) -> Any:
            began = time.perf_counter()
            answer = games.step(actions)
            self.seconds += time.perf_counter() - began
            return answer

        return games._replace(step=step)


def make_parts(arguments: argparse.Namespace, *, free: bool) -> Parts:
    """Builds pong_impala with one actor, whose policy may cost next to nothing."""
    experiment = pong_impala.experiment()
    games, runtime = experiment.environment, experiment.runtime
    assert isinstance(games, AtariConfig) and isinstance(runtime, ActorsConfig)
    number = arguments.num_envs
    games = dataclasses.replace(
        games, num_envs=number, size=arguments.size, num_threads=arguments.num_threads
    )
    runtime = dataclasses.replace(
        runtime,
        num_actors=1,
        rollout_steps=arguments.rollout_steps,
        batch_trajectories=number,
    )
    network = dataclasses.replace(experiment.network, torso=arguments.torso)
    built = plan(
        dataclasses.replace(
            experiment, environment=games, runtime=runtime, network=network
        )
    )
    setting, flow = built.setting, built.flow
    assert flow is not None
    if free:
        setting = setting._replace(agent=free_agent(setting))
    wiring = wire(setting, flow, runtime, None, name="speed", num_episodes=1)
    return Parts(games, runtime, setting, flow, Share(0, number, number), wiring)


def free_agent(setting: Setting) -> Agent:
    """An agent that acts at random without looking, and says what IMPALA's would."""
    space = setting.environment.spec.action
    assert isinstance(space, DiscreteSpec)
    num_actions = space.num_values

    def act(params: Any, memory: Any, time_step: Any, noise: jax.Array) -> tuple:
        del params, time_step
        return memory, noise, Categorical(jnp.zeros((len(noise), num_actions)))

    def draw(key: jax.Array, batch_size: int) -> jax.Array:
        return jax.random.randint(key, (batch_size,), 0, num_actions)

    return setting.agent._replace(act=act, draw=draw)


def alone(config: AtariConfig) -> Callable[[float], float]:
    """ale_py's vector environment as it comes; (seconds) to steps per second."""
    from ale_py.vector_env import AtariVectorEnv

    games = AtariVectorEnv(
        config.name,
        config.num_envs,
        num_threads=config.num_threads or 0,
        img_height=config.size,
        img_width=config.size,
        stack_num=config.frame_stack,
        frameskip=config.frame_skip,
        noop_max=config.noop_starts + 1,
        use_fire_reset=config.fire_start,
    )
    games.reset(seed=0)
    space: Any = games.single_action_space
    shape = (1000, config.num_envs)
    actions = np.random.default_rng(0).integers(0, space.n, shape).astype(np.int32)

    def run(seconds: float) -> float:
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            games.step(actions[done % len(actions)])
            done += 1
        return done * config.num_envs / (time.perf_counter() - began)

    return run


class Actor:
    """Rollouts of one actor, sent to a server or not.

    Attributes:
        games: whose steps are timed.
        sending_seconds: that it took to send, and to wait for room.
        rows: of the last rollout.
    """

    def __init__(self, parts: Parts, client: reverb.Client | None) -> None:
        setting = parts.setting
        key = jax.random.key(0)
        params = setting.agent.acting_params(jax.jit(setting.agent.init)(key))
        self.games, self.sending_seconds, self.rows = Timed(parts.games), 0.0, None
        built = self.games.build(parts.share.size)
        seen = without_environments(setting.normaliser.init(parts.share.size))
        self._acting = jax.device_put(Acting(params, seen))
        self._collect = make_host_collect(
            setting, parts.flow, parts.share, key, self._acting, environment=built
        )
        self._state, self._sequence = self._collect.begin(), 0
        self._steps = setting.rollout_steps * parts.share.size
        self._sender: actor.Sender | None = None
        if client is not None:
            nobody: Any = None
            links = actor.Links(client, nobody, nobody, lambda: None)
            self._sender = actor.Sender(
                links, parts.flow, parts.runtime, parts.wiring.row, parts.share
            )

    def rollout(self) -> int:
        """Collects and sends one rollout; its steps."""
        with self._sending() as sender:
            if sender is not None:
                sender.wait_for_room()
        self._state, collected = self._collect.run(self._acting, self._state)
        self.rows = jax.block_until_ready(collected).rows
        with self._sending() as sender:
            if sender is not None:
                sender.send(collected, 0, self._sequence)
        self._sequence += 1
        return self._steps

    def run(self, seconds: float) -> float:
        """Steps per second over some seconds."""
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            done += self.rollout()
        return done / (time.perf_counter() - began)

    @contextlib.contextmanager
    def _sending(self) -> Iterator[actor.Sender | None]:
        began = time.perf_counter()
        yield self._sender
        self.sending_seconds += time.perf_counter() - began


def start_server(parts: Parts) -> reverb.Server:
    """A server whose table of experience nobody needs to empty."""
    fifo = reverb.Selector("fifo")
    flow = parts.flow
    signature = parts.wiring.row.signature(flow.item_rows, whole=flow.whole)
    kept = reverb.Table(EXPERIENCE, fifo, fifo, KEPT_ITEMS, signature=signature)
    others = [table for table in parts.wiring.tables if table.name != EXPERIENCE]
    return reverb.Server([kept, *others])


def compare(arguments: argparse.Namespace) -> None:
    """Prints steps per second of all three, and their shares of the first."""
    parts = make_parts(arguments, free=True)
    with start_server(parts) as server, reverb.Client(server.address) as client:
        runs = {
            "ale_py alone": alone(parts.games),
            "rollouts": Actor(parts, None).run,
            "rollouts, sent": Actor(parts, client).run,
        }
        for run in runs.values():
            run(1.0)  # compiles
        laps: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(arguments.rounds):
            for name, run in runs.items():
                laps[name].append(run(arguments.seconds))
    first = statistics.median(laps["ale_py alone"])
    print(f"{'':16} {'steps/s':>8} {'share':>6}  rounds, of ale_py alone's beside them")
    for name, figures in laps.items():
        pairs = zip(figures, laps["ale_py alone"], strict=True)
        each = " ".join(f"{mine / theirs:.2f}" for mine, theirs in pairs)
        middle = statistics.median(figures)
        print(f"{name:16} {middle:8,.0f} {middle / first:6.2f}  {each}")


def shares(arguments: argparse.Namespace) -> None:
    """Prints what each part of acting and learning takes, with the real network."""
    parts = make_parts(arguments, free=False)
    agent, normaliser = parts.setting.agent, parts.setting.normaliser
    key = jax.random.key(1)

    def learn(state: Any, seen: Any, rows: Any) -> tuple:
        state, info = agent.update(state, normaliser.rows(seen, rows), key)
        return state, normaliser.update(seen, rows), info

    update = jax.jit(learn, donate_argnums=(0, 1))
    state, seen = jax.jit(agent.init)(key), normaliser.init(parts.share.size)
    with start_server(parts) as server, reverb.Client(server.address) as client:
        acting, learning, steps, began = Actor(parts, client), 0.0, 0, 0.0
        for count in range(-2, arguments.rounds * 4):
            if count == 0:  # compiled by now
                began, learning, steps = time.perf_counter(), 0.0, 0
                acting.games.seconds = acting.sending_seconds = 0.0
            steps += acting.rollout()
            start = time.perf_counter()
            state, seen, info = update(state, seen, acting.rows)
            jax.block_until_ready((state, seen, info))
            learning += time.perf_counter() - start
        total = time.perf_counter() - began
    known = {
        "environment": acting.games.seconds,
        "sending": acting.sending_seconds,
        "learning": learning,
    }
    known["inference and copying"] = total - sum(known.values())
    print(f"\none process, in turns: {steps / total:,.0f} steps/s")
    for name, seconds in known.items():
        milliseconds = 1e3 * seconds / steps
        print(f"{name:22} {milliseconds:7.3f} ms per step {seconds / total:6.1%}")


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--num-envs", type=int, default=16)
    parser.add_argument("--num-threads", type=int, default=None, help="of ale_py")
    parser.add_argument("--rollout-steps", type=int, default=20)
    parser.add_argument("--size", type=int, default=84)
    parser.add_argument("--torso", default="nature_cnn")
    parser.add_argument("--seconds", type=float, default=3.0, help="of a turn")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", 1)
    compare(arguments)
    shares(arguments)


if __name__ == "__main__":
    main()
