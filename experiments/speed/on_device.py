"""Steps per second of on-device PPO, beside PureJaxRL's `ppo.py` at its own settings.

Both train two 2x64 tanh networks with 128 steps, 4 epochs and 4 minibatches. Each runs
in a process of its own, as its users would start it. They compile before the clock
starts, then train in turns, one while the other waits; the ratio is that of medians.

    python -m experiments.speed.on_device --peer <checkout of PureJaxRL>/purejaxrl
    python -m experiments.speed.on_device --num-envs 1 64 4096 --num-seeds 1 256

Without `--peer` only our own figures are printed. PureJaxRL was written for gymnax
0.0.x: the peer's process wraps gymnax in gymnax's own adapter for the old interface,
and leaves the rest as it is.
"""

import dataclasses
import sys
import types
from collections.abc import Callable
from typing import Any

import jax
import tyro

from experiments.speed import workers
from jaxrl_dist.agents.ppo import PPOConfig
from jaxrl_dist.compiling import build_run, compile_plan
from jaxrl_dist.distribution import devices
from jaxrl_dist.environments.build import EnvironmentConfig
from jaxrl_dist.experiment import Budget, Experiment, plan
from jaxrl_dist.networks.build import ActorCriticConfig
from jaxrl_dist.training.on_device import OnDeviceConfig

ROLLOUT_STEPS = 128


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to measure.

    Attributes:
        environments: gymnax names.
        num_envs: environments side by side; a row of the table each.
        num_seeds: independent runs side by side; a row of the table each.
        total_steps: environment steps of a timed run and seed, at least one update.
        rounds: timed runs of each, in turns.
        peer: folder that holds PureJaxRL's ppo.py; None measures ours alone.
        timeout_seconds: deadline of every answer of a process.
    """

    environments: tuple[str, ...] = ("CartPole-v1",)
    num_envs: tuple[int, ...] = (4, 64, 512)
    num_seeds: tuple[int, ...] = (1,)
    total_steps: int = 500_000
    rounds: int = 7
    peer: str | None = None
    timeout_seconds: float = 900.0


@dataclasses.dataclass(frozen=True)
class Case:
    """One row of the table, for one of the two."""

    environment: str
    num_envs: int
    num_seeds: int
    total_steps: int
    peer: str | None  # folder of PureJaxRL; None for ours

    @property
    def num_updates(self) -> int:
        """Updates of one timed run."""
        return max(1, self.total_steps // (self.num_envs * ROLLOUT_STEPS))

    @property
    def rows(self) -> int:
        """Environment steps of one timed run, over all seeds."""
        return self.num_updates * self.num_envs * ROLLOUT_STEPS * self.num_seeds


def prepare_ours(case: Case) -> Callable[[], workers.Lap]:
    """Compiles our PPO."""
    experiment = Experiment(
        environment=EnvironmentConfig(case.environment, num_envs=case.num_envs),
        network=ActorCriticConfig(torso="mlp"),
        agent=PPOConfig(),
        runtime=OnDeviceConfig(rollout_steps=ROLLOUT_STEPS),
        budget=Budget(
            total_steps=case.num_updates * case.num_envs * ROLLOUT_STEPS, evaluations=1
        ),
        num_seeds=case.num_seeds,
    )
    return compile_ours(experiment, case.num_updates)


def compile_ours(experiment: Experiment, num_updates: int) -> Callable[[], workers.Lap]:
    """Compiles an experiment of ours.

    Returns:
        A function that trains once from the start. Its steps are transitions: an
        episode's last row is none.
    """
    devices.use_all_cores()
    built = plan(experiment)
    run, compiled = build_run(experiment, built), compile_plan(experiment, built)

    def train() -> workers.Lap:
        state = jax.block_until_ready(run.init(experiment.seed))

        def updates() -> float:
            _, report = compiled.functions.train(state, 0, num_updates)
            return float(jax.device_get(report.episodes.num_steps).sum())

        return workers.timed(updates)

    return train


def prepare_peer(case: Case) -> Callable[[], workers.Lap]:
    """Compiles PureJaxRL's PPO; the same answer, though it counts every row."""
    settings = peer_settings(
        case.environment, case.num_envs, case.rows // case.num_seeds
    )
    settings["ACTIVATION"] = "tanh"
    return compile_peer("ppo", str(case.peer), settings, case.rows, case.num_seeds)


def peer_settings(environment: str, num_envs: int, total_steps: int) -> dict[str, Any]:
    """The settings that PureJaxRL gives its own scripts for gymnax."""
    return {
        "LR": 2.5e-4,
        "NUM_ENVS": num_envs,
        "NUM_STEPS": ROLLOUT_STEPS,
        "TOTAL_TIMESTEPS": total_steps,
        "UPDATE_EPOCHS": 4,
        "NUM_MINIBATCHES": 4,
        "GAMMA": 0.99,
        "GAE_LAMBDA": 0.95,
        "CLIP_EPS": 0.2,
        "ENT_COEF": 0.01,
        "VF_COEF": 0.5,
        "MAX_GRAD_NORM": 0.5,
        "ENV_NAME": environment,
        "ANNEAL_LR": True,
        "DEBUG": False,
    }


def compile_peer(
    script: str, folder: str, settings: dict[str, Any], rows: int, num_seeds: int = 1
) -> Callable[[], workers.Lap]:
    """Compiles one of PureJaxRL's scripts.

    Args:
        script: the name of its module, which offers `make_train`.
        folder: where it lies.
        settings: as `make_train` takes them.
        rows: environment steps of one run, over all seeds.
        num_seeds: independent runs side by side.

    Returns:
        A function that trains once from the start.
    """
    import gymnax
    from gymnax.wrappers.compat import LegacyStepAPIWrapper

    # It imports two other simulators, which are not needed here and not installed.
    for name in ("brax", "brax.envs", "brax.envs.wrappers", "navix"):
        sys.modules[name] = types.ModuleType(name)
    training: Any = types.ModuleType("brax.envs.wrappers.training")
    training.EpisodeWrapper = training.AutoResetWrapper = None
    sys.modules[training.__name__] = training
    sys.modules["brax"].envs = sys.modules["brax.envs"]  # type: ignore[attr-defined]

    make = gymnax.make

    def make_as_before(name: str) -> tuple[Any, Any]:
        environment, parameters = make(name)
        return LegacyStepAPIWrapper(environment), parameters

    gymnax.make = make_as_before
    sys.path.insert(0, folder)
    module: Any = __import__(script)
    keys = jax.random.split(jax.random.key(0), num_seeds)
    function, argument = module.make_train(settings), keys[0]
    if num_seeds > 1:
        function, argument = jax.vmap(function), keys
    program = jax.jit(function).lower(argument).compile()

    def run() -> float:
        jax.block_until_ready(program(argument))
        return rows

    return lambda: workers.timed(run)


def prepare(task: workers.Task) -> Callable[[], workers.Lap]:
    """Compiles a case; answers a function that trains once from the start."""
    case = Case(**task)
    return prepare_peer(case) if case.peer else prepare_ours(case)


def measure(case: Case, arguments: Arguments) -> str:
    """Measures one row of the table, ours and the peer's in turns."""
    cases = [case]
    if arguments.peer:
        cases.append(dataclasses.replace(case, peer=arguments.peer))
    results = workers.measure(
        "experiments.speed.on_device",
        [dataclasses.asdict(each) for each in cases],
        rounds=arguments.rounds,
        timeout_seconds=arguments.timeout_seconds,
    )
    columns = [case.environment, str(case.num_envs), str(case.num_seeds)]
    return workers.row(columns, results)


def main(arguments: Arguments) -> None:
    """Prints the table, a row as soon as it is measured."""
    columns = ["environment", "environments", "seeds"]
    print(workers.head(columns, 2 if arguments.peer else 1), flush=True)
    for environment in arguments.environments:
        for num_envs in arguments.num_envs:
            for num_seeds in arguments.num_seeds:
                case = Case(
                    environment, num_envs, num_seeds, arguments.total_steps, None
                )
                print(measure(case, arguments), flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--work"]:
        workers.work(prepare)
    else:
        main(tyro.cli(Arguments, description=__doc__))
