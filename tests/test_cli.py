"""The command lines: one line for what is wrong, before anything is compiled."""

import dataclasses
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxrl_dist import __main__ as commands
from jaxrl_dist import cli, configuration, runs, saved_runs
from jaxrl_dist.agents.c51 import C51Config, Support
from jaxrl_dist.agents.exploration import ExplorationConfig
from jaxrl_dist.agents.ppo import PPOConfig
from jaxrl_dist.agents.value import ValueConfig
from jaxrl_dist.environments.build import EnvironmentConfig
from jaxrl_dist.networks.action_values import QNetworkConfig
from jaxrl_dist.replay.sequences import ReplayConfig
from jaxrl_dist.run_folder import RunFolder
from jaxrl_dist.types import TimeStep
from tests.small_experiments import small


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXRL_DIST_COMPILATION_CACHE", "off")
    monkeypatch.chdir(tmp_path)


def what_is_said(capsys, *arguments: str, name: str = "small") -> str:
    """The one line with which a wrong command line ends, and which is all it does."""
    with pytest.raises(SystemExit) as stop:
        cli.main(small(), arguments, name=name)
    assert stop.value.code == 2
    return only_line(capsys)


def only_line(capsys, out: str = "") -> str:
    said = capsys.readouterr()
    assert said.out == out
    (line,) = said.err.splitlines()
    return line.removeprefix("error: ")


WRONG = {
    "an unknown environment": (
        "--environment.name CartPole",
        "environment.name: gymnax does not know 'CartPole'; nearest: CartPole-v1, ",
    ),
    "a policy that does not fit the actions": (
        "--network.policy gaussian",
        "network.policy=gaussian does not fit CartPole-v1, whose actions are discrete; "
        "use auto",
    ),
    "a policy that does not fit the actions, which are continuous": (
        "--environment.name Pendulum-v1 --network.policy categorical",
        "network.policy=categorical does not fit Pendulum-v1, whose actions are "
        "continuous; use auto",
    ),
    "environments that do not divide over devices": (
        "--environment.num-envs 6 --runtime.num-devices 4",
        "runtime.num_devices is 4, over which 6 environments do not divide; "
        "1, 2, 3 would do",
    ),
    "devices that are not there": (
        "--runtime.num-devices 5",
        "runtime.num_devices is 5, but the devices that are there are 4 of kind cpu; "
        "1 to 4 would do",
    ),
    "no environments": (
        "--environment.num-envs 0",
        "environment.num_envs must be at least 1, got 0",
    ),
    "a negative size": (
        "--network.hidden 64 -1",
        "network.hidden[1] must be at least 1, got -1",
    ),
    "a rollout of no steps": (
        "--runtime.rollout-steps 0",
        "runtime.rollout_steps must be at least 1, got 0",
    ),
    "a budget below 0": (
        "--budget.total-steps -5",
        "budget.total_steps must be at least 1, got -5",
    ),
    "a budget of less than one update": (
        "--budget.total-steps 15",
        "budget.total_steps is 15, and one update takes 16: environment.num_envs 4 "
        "times runtime.rollout_steps 4",
    ),
    "a negative seed": ("--seed -1", "seed must be in [0, 2147483647], got -1"),
    "a nested setting that is NaN": (
        "--agent.optimizer.learning-rate nan",
        "agent.optimizer.learning_rate must be above 0, got nan",
    ),
    "a setting without a range that is NaN": (
        "--threshold nan",
        "threshold must be a number, got nan",
    ),
    "a whole number that is NaN": (
        "--seed nan",
        "--seed: invalid literal for int() with base 10: 'nan'; expected --seed INT",
    ),
    "a setting out of its range": (
        "--agent.gamma 1.5",
        "agent.gamma must be in [0, 1], got 1.5",
    ),
    "a choice that is none": (
        "--agent.optimizer.name sgd",
        "invalid choice 'sgd' for argument '--agent.optimizer.name'. Expected one of "
        "('adam', 'radam', 'rmsprop').",
    ),
    "an unknown flag": (
        "--agent.gama 0.9",
        "unknown flag --agent.gama; did you mean --agent.gamma",
    ),
    "a value where none belongs": (
        "--agent.optimizer.anneal false",
        "nothing takes the argument false; flags that are on or off take none",
    ),
    "a flag without its value": (
        "--seed",
        "Missing value for argument '--seed'. Expected 1 values.",
    ),
    "an environment parameter that is not there": (
        "--environment.parameters speed 3",
        "environment.parameters: CartPole-v1 has no 'speed'; valid: ",
    ),
    "an infinite whole number": (
        "--environment.parameters max_steps_in_episode inf",
        "environment.parameters: max_steps_in_episode of CartPole-v1 is of type int "
        "(500 by default), got inf",
    ),
    "an output folder that cannot be written": (
        "--output-dir file/run",
        "--output-dir file/run cannot be written: Not a directory; name a folder that "
        "can",
    ),
    "a folder to resume that is not there": (
        "--resume nowhere",
        "run folder nowhere does not exist",
    ),
}


@pytest.mark.parametrize(("given", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_in_one_line_before_anything_is_compiled(
    capsys, caplog, tmp_path, given, said
):
    (tmp_path / "file").write_text("")
    with jax.log_compiles():
        assert what_is_said(capsys, *given.split()).startswith(said)
    assert "jit(train_all)" not in caplog.text
    assert [x.name for x in tmp_path.iterdir()] == ["file"]


def test_minibatches_that_do_not_divide_a_batch_are_refused_before_compiling(
    capsys, caplog, tmp_path
):
    with jax.log_compiles(), pytest.raises(SystemExit) as stop:
        cli.main(small(PPOConfig()), ["--agent.num-minibatches", "3"], name="small")
    assert stop.value.code == 2
    assert only_line(capsys, "small: compiling for 1 device\n") == (
        "agent.num_minibatches is 3, which does not divide the 16 rows that an update "
        "has on each device; 2 or 4 would do"
    )
    assert "Finished XLA compilation of jit(train_all)" not in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_that_holds_something_is_refused(capsys, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious").write_text("do not touch")
    said = what_is_said(capsys, "--output-dir", "run")
    assert said.startswith("--output-dir run is not empty: name another folder, or go")
    assert [x.name for x in (tmp_path / "run").iterdir()] == ["precious"]


def test_a_threshold_is_dropped_with_its_environment_unless_given_anew():
    preset = dataclasses.replace(small(), threshold=475.0)
    moved = dataclasses.replace(preset, environment=EnvironmentConfig("Acrobot-v1"))
    given = dataclasses.replace(moved, threshold=-85.0)
    kept = cli.without_the_threshold_of_another
    assert kept(preset, preset).threshold == 475.0
    assert kept(moved, preset).threshold is None
    assert kept(given, preset).threshold == -85.0


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A finished run, of two seeds."""
    path = tmp_path_factory.mktemp("runs") / "small" / "run"
    runs.start(small(num_seeds=2), name="small", output_dir=path)
    return path


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("small", "--agent.gamma 0.5", r"settings except budget.\*, got agent.gamma: "),
        ("small", "--seed 4", r"settings except budget.\*, got seed: 3 -> 4"),
        ("small", "--output-dir x", "--output-dir x does not go with --resume"),
        ("other", "", r"--resume \S* is a run of small, not of other; python -m"),
    ],
)
def test_a_run_is_resumed_as_it_is_or_not_at_all(capsys, run, name, given, message):
    said = what_is_said(capsys, "--resume", str(run), *given.split(), name=name)
    assert re.search(message, said)


def test_a_finished_run_says_so_and_all_is_well(capsys, run):
    commands.main(["resume", str(run)])
    expected = (
        f"{run} has finished its budget of 128 steps; go on with a larger "
        "--budget.total-steps\n"
    )
    assert capsys.readouterr() == (expected, "")
    cli.main(small(), ["--resume", str(run)], name="small")
    assert capsys.readouterr() == (expected, "")


def test_resuming_takes_the_rest_of_the_budget_from_the_run(run):
    commands.main(["resume", str(run), "--budget.reports", "1"])  # nothing to do
    saved = runs.read(RunFolder(run)).experiment.budget
    assert (saved.eval_episodes, saved.reports) == (4, 4)


def test_evaluate_prints_each_seed_and_all(capsys, run):
    commands.main(["evaluate", str(run), "--episodes", "6", "--step", "last"])
    title, header, *rows = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"small, CartPole-v1, step \d+, greedy", title)
    assert header.split() == ["episodes", "mean", "std", "min", "max"]
    cells = [row.split() for row in rows]
    assert [row[:-4] for row in cells] == [
        ["seed", "3", "6"],
        ["seed", "4", "6"],
        ["total", "12"],
    ]
    means = [float(row[-4]) for row in cells]
    assert means[2] == pytest.approx((means[0] + means[1]) / 2, abs=0.01)


def test_render_draws_an_episode(capsys, run):
    commands.main(["render", str(run), "--sampled", "--max-steps", "5"])
    gif = run / "episode.gif"
    assert gif.read_bytes()[:3] == b"GIF"
    assert capsys.readouterr().out == f"{gif}: 6 frames, return 5, cut off\n"


def test_render_draws_beside_it_the_returns_that_are_expected(capsys, tmp_path):
    c51 = dataclasses.replace(
        small(normalise_observations=True, num_devices=2),
        agent=C51Config(
            # Whose rungs are counted over devices, of which one game has none.
            ValueConfig(exploration=ExplorationConfig(ladder=7.0)),
            support=Support(num_atoms=5, v_min=0.0, v_max=100.0),
        ),
        network=QNetworkConfig(hidden=(4,)),
        replay=ReplayConfig(
            capacity=64, batch_size=4, warmup_steps=16, updates_per_step=1 / 16
        ),
    )
    _, folder = runs.start(c51, name="small", output_dir=tmp_path / "run")
    capsys.readouterr()
    sizes = []
    for flags in ([], ["--sampled"], ["--distribution"]):
        commands.main(["render", str(folder), "--max-steps", "3", *flags])
        assert "episode.gif: 4 frames, return 3, cut off" in capsys.readouterr().out
        with Image.open(folder / "episode.gif") as gif:
            sizes.append(gif.size)
    (alone, _), (sampled, _), (both, _) = sizes
    assert (sampled, both) == (alone, 2 * alone)
    assert_best_mean_is_the_action(commands.restore(folder, "last"))


def assert_best_mean_is_the_action(restored: saved_runs.Restored) -> None:
    """The greedy action is the one whose expected return is the greatest."""
    act, memory = saved_runs.policy(restored, greedy=True)
    returns = saved_runs.expected_returns(restored)
    actions = set()
    for seed in range(20):
        key, false = jax.random.key(seed), jnp.zeros(1, bool)
        seen = TimeStep(jax.random.normal(key, (1, 4)), jnp.zeros(1), *[false] * 3)
        values, probabilities = returns(seen)
        means = (values * probabilities).sum(-1)
        _, action = act(memory, seen, key)
        np.testing.assert_array_equal(action, means.argmax(-1))
        actions.add(int(action[0]))
    assert actions == {0, 1}


def test_list_shows_experiments_and_runs(capsys, run, monkeypatch):
    folder = run.parents[1]
    monkeypatch.chdir(folder)
    (folder / "runs").symlink_to(folder, target_is_directory=True)
    commands.main(["list"])
    said = capsys.readouterr().out
    assert re.search(r"^  cartpole_ppo +PPO on CartPole-v1", said, re.MULTILINE)
    assert re.search(r"^  runs/\S+ +small +\d+ steps +return ", said, re.MULTILINE)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("train", "no command train; there are list, evaluate, resume, render"),
        ("evaluate", "Missing from python -m jaxrl_dist evaluate: RUN"),
        ("evaluate nowhere", "run folder nowhere does not exist"),
        (
            "evaluate RUN --step 7",
            r"no checkpoint of step 7 in \S*: there are those of",
        ),
        ("evaluate RUN --step good", "--step good must be best, last or a number"),
        ("evaluate RUN --episodes 0", "episodes must be at least 1, got 0"),
        ("evaluate RUN --seed -2", r"seed must be in \[0, 2147483647\], got -2"),
        ("resume RUN --budget.total-steps 0", "budget.total_steps must be at least 1"),
        ("resume RUN --agent.gamma 1", "unknown flag --agent.gamma; --help lists all"),
        ("resume --budget.reports 3 RUN", "resume takes the run first, got --budget"),
        ("render RUN --seed -2", r"seed must be in \[0, 2147483647\], got -2"),
        ("render RUN --distribution", "this A2C learns no distribution of returns; C5"),
        ("render RUN --output x.png", "a rendered episode is a .gif, got x.png"),
    ],
)
def test_a_wrong_command_is_answered_in_one_line(capsys, run, given, message):
    with pytest.raises(SystemExit) as stop:
        commands.main([str(run) if x == "RUN" else x for x in given.split()])
    assert stop.value.code == 2
    assert re.match(message, only_line(capsys))


def test_a_file_that_cannot_be_written_is_said_in_one_line(capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        cli.with_one_line(lambda: tmp_path.joinpath("new").joinpath("a").mkdir())
    assert stop.value.code == 2
    assert "No such file" in only_line(capsys)
    with pytest.raises(SystemExit) as stop:
        cli.with_one_line(lambda: tmp_path.write_text(""))
    assert stop.value.code == 1
    assert only_line(capsys).endswith(f"Is a directory: '{tmp_path}'")


def test_help_gives_every_setting_with_its_default(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(small(), ["--help"])
    assert stop.value.code == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    names = [name for name, _ in configuration.leaves(small())]
    names.remove("replay")  # A2C has none, and so no flags for one
    for name in names:
        flag = "--" + name.replace("_", "-").replace("lambda-", "lambda_")
        found = re.search(re.escape(flag) + r"[ ,].*?\(default: ", said)
        assert found is not None, name
