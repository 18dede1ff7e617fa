"""Steps per second of agents that learn from replay, beside PureJaxRL and rejax.

Each case does what the peer does at its own settings (`off_policy_cases`). A process
for each compiles, fills the replay as far as the first update, and then trains in
turns; the ratio is that of medians. Evaluations are off on both sides.

    python -m experiments.speed.off_policy --purejaxrl <checkout>/purejaxrl \
        --rejax <folder>
    python -m experiments.speed.off_policy --only SAC

The folder of rejax is one into which `pip install --no-deps --target <folder>
rejax==0.1.3 flashbax==0.1.3` has put both; PureJaxRL needs flashbax. Peers that are not
named are left out. The ratio in processor time is that of steps per second of processor
time: on a machine with other work, it is the steadier of the two.

Both peers were written for gymnax 0.0.x. Their processes wrap gymnax in its own adapter
for the old interface, and leave them as they are; PureJaxRL's also has a module `wandb`
without content, and `jax.tree_map`, which JAX dropped. Its DQN trains from the start in
each round, 10,000 of 200,000 steps without an update; the others go on from where they
were.
"""

import dataclasses
import sys
import types
from collections.abc import Callable
from typing import Any

import jax
import tyro

from experiments.speed import workers
from experiments.speed.off_policy_cases import CASES, Case
from jaxrl_dist.compiling import build_run, compile_plan
from jaxrl_dist.distribution import devices
from jaxrl_dist.experiment import Budget, plan


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to measure.

    Attributes:
        purejaxrl: folder that holds PureJaxRL's dqn.py.
        rejax: folder that holds the packages rejax and flashbax.
        only: measure only what has this in its name.
        rounds: timed runs of each, in turns.
        num_devices: of ours; None leaves the choice to the framework.
        timeout_seconds: deadline of every answer of a process.
    """

    purejaxrl: str | None = None
    rejax: str | None = None
    only: str = ""
    rounds: int = 7
    num_devices: int | None = None
    timeout_seconds: float = 900.0


def prepare_ours(case: Case, num_devices: int | None) -> Callable[[], workers.Lap]:
    """Compiles our agent, and fills its replay.

    Returns:
        A function that trains on from where it stands. Its steps are transitions: an
        episode's last row is none.
    """
    experiment = case.ours()
    experiment = dataclasses.replace(
        experiment,
        runtime=dataclasses.replace(experiment.runtime, num_devices=num_devices),
        budget=Budget(total_steps=100 * case.steps, evaluations=1),
    )
    devices.use_all_cores()
    built = plan(experiment)
    run, compiled = build_run(experiment, built), compile_plan(experiment, built)
    steps_per_rollout = experiment.environment.num_envs * built.setting.rollout_steps
    warmup, number = (x // steps_per_rollout for x in (case.warmup_steps, case.steps))
    state, _ = compiled.functions.train(run.init(experiment.seed), 0, warmup)
    jax.block_until_ready(state)

    def updates() -> float:
        nonlocal state
        state, report = compiled.functions.train(state, warmup, number)
        return float(jax.device_get(report.episodes.num_steps).sum())

    return lambda: workers.timed(updates)


def use_gymnax_as_before() -> None:
    """Gives this process the interface of gymnax 0.0.x."""
    import gymnax
    from gymnax.wrappers import purerl
    from gymnax.wrappers.compat import LegacyStepAPIWrapper

    log: Any = purerl.LogWrapper
    make = gymnax.make
    purerl.LogWrapper = lambda environment: LegacyStepAPIWrapper(log(environment))  # type: ignore

    def make_as_before(name: str, **parameters: Any) -> tuple[Any, Any]:
        environment, settings = make(name, **parameters)
        return LegacyStepAPIWrapper(environment), settings

    # rejax copies all that it holds, and this adapter cannot be copied.
    LegacyStepAPIWrapper.__deepcopy__ = lambda self, memo: self  # type: ignore
    gymnax.make = make_as_before


def prepare_purejaxrl(case: Case, folders: list[str]) -> Callable[[], workers.Lap]:
    """Compiles PureJaxRL's DQN; the function trains from the start."""
    import gymnax

    make = gymnax.make
    use_gymnax_as_before()
    gymnax.make = make  # its wrappers know the new interface; the last one adapts
    sys.modules["wandb"] = types.ModuleType("wandb")
    jax.tree_map = jax.tree.map  # type: ignore[attr-defined]
    sys.path[:0] = folders
    dqn: Any = __import__("dqn")
    settings = case.settings | {"TOTAL_TIMESTEPS": case.steps}
    program = jax.jit(dqn.make_train(settings)).lower(jax.random.key(0)).compile()

    def run() -> float:
        jax.block_until_ready(program(jax.random.key(0)))
        return case.steps

    return lambda: workers.timed(run)


def prepare_rejax(case: Case, folders: list[str]) -> Callable[[], workers.Lap]:
    """Compiles an algorithm of rejax and fills its replay; the function trains on."""
    use_gymnax_as_before()
    sys.path[:0] = folders
    rejax: Any = __import__("rejax")
    algorithm = rejax.get_algo(case.peer).create(
        **case.settings, skip_initial_evaluation=True
    )
    algorithm = algorithm.replace(eval_callback=lambda *_: ())

    def training(steps: int) -> Any:
        own = algorithm.replace(total_timesteps=steps, eval_freq=steps)
        return jax.jit(lambda state: own.train(train_state=state)[0])

    def settled(state: Any) -> Any:
        """Without weak types, so that one program takes all states."""
        return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), state)

    state = settled(jax.jit(algorithm.init_state)(jax.random.key(0)))
    state = settled(training(case.warmup_steps)(state))
    train = training(case.steps).lower(state).compile()

    def run() -> float:
        nonlocal state
        state = jax.block_until_ready(settled(train(state)))
        return case.steps

    return lambda: workers.timed(run)


def prepare(task: workers.Task) -> Callable[[], workers.Lap]:
    """Compiles a case, of ours or of a peer's where folders are given."""
    case, folders = CASES[task["name"]], task["folders"]
    if not folders:
        return prepare_ours(case, task["num_devices"])
    if case.peer == "purejaxrl":
        return prepare_purejaxrl(case, folders)
    return prepare_rejax(case, folders)


def measure(name: str, arguments: Arguments) -> str:
    """Measures one row of the table, ours and the peer's in turns."""
    folders = [arguments.rejax]
    if CASES[name].peer == "purejaxrl":
        folders = [arguments.purejaxrl, arguments.rejax]
    tasks = [{"name": name, "num_devices": arguments.num_devices, "folders": []}]
    if None not in folders:
        tasks.append(tasks[0] | {"folders": folders})
    results = workers.measure(
        "experiments.speed.off_policy",
        tasks,
        rounds=arguments.rounds,
        timeout_seconds=arguments.timeout_seconds,
    )
    return workers.row([name], results)


def main(arguments: Arguments) -> None:
    """Prints the table, a row as soon as it is measured."""
    print(workers.head(["settings of"], 2 if arguments.rejax else 1), flush=True)
    for name in CASES:
        if arguments.only in name:
            print(measure(name, arguments), flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--work"]:
        workers.work(prepare)
    else:
        main(tyro.cli(Arguments, description=__doc__))
