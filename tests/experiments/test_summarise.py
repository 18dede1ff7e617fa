"""Rows of the table of results, from the folders of real runs."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from experiments import cartpole_a2c, summarise
from jaxrl_dist import runs
from jaxrl_dist.agents.a2c import A2CConfig
from jaxrl_dist.run_folder import RunFolder
from jaxrl_dist.saved_runs import NamedExperiment, read
from tests.small_experiments import small


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([7.0], 7.0),
        ([4.0, 1.0, 3.0, 2.0], 2.5),  # the middle two
        ([100.0, 1.0, 2.0, 3.0, -50.0], (0.75 * 1 + 2 + 0.75 * 3) / 2.5),
        (range(8), 3.5),
    ],
)
def test_interquartile_mean_weighs_the_middle_half(values, expected):
    np.testing.assert_allclose(summarise.interquartile_mean(list(values)), expected)


def test_the_command_names_what_differs_from_the_preset_but_seeds():
    preset = cartpole_a2c.experiment()
    run = dataclasses.replace(
        preset,
        environment=dataclasses.replace(
            preset.environment,
            name="Acrobot-v1",
            parameters={"max_steps_in_episode": 100},
            scale_rewards=False,
        ),
        network=dataclasses.replace(preset.network, hidden=(32, 16)),
        agent=A2CConfig(normalise_advantages=True),
        seed=7,
        num_seeds=5,
    )
    assert summarise.command(NamedExperiment("cartpole_a2c", run)) == (
        "python -m experiments.cartpole_a2c --environment.name Acrobot-v1 "
        "--environment.parameters max_steps_in_episode 100 "
        "--environment.no-scale-rewards --agent.normalise-advantages "
        "--network.hidden 32 16"
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A run of two seeds, and one with the same settings but later seeds."""
    base = tmp_path_factory.mktemp("runs")
    run = small(num_seeds=2)
    _, first = runs.start(run, name="cartpole_a2c", output_dir=base / "first")
    # The same results again: what is tested is which runs belong together.
    later = RunFolder(base / "later")
    shutil.copytree(first, later.path)
    run = dataclasses.replace(read(later).experiment, seed=run.seed + 2)
    later.write_config(NamedExperiment("cartpole_a2c", run))
    return [first, later.path]


def test_runs_that_differ_only_in_seeds_become_one_row_of_final_returns(folders):
    returns = np.concatenate([summarise.read_result(path).returns for path in folders])
    assert returns.shape == (4,)
    *_, row = lines = summarise.table(folders).splitlines()
    assert len(lines) == 3
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[0] == "CartPole-v1"
    assert cells[6] == "4"
    np.testing.assert_allclose(
        float(cells[3]), summarise.interquartile_mean(returns), atol=0.05
    )


def test_a_run_that_was_interrupted_is_refused(folders, tmp_path):
    run = RunFolder(shutil.copytree(folders[0], tmp_path / "run"))
    summary = json.loads(run.summary.read_text(encoding="utf-8"))
    run.summary.write_text(json.dumps(summary | {"evaluation": None}))
    with pytest.raises(ValueError, match="was interrupted"):
        summarise.table([run.path])


def test_a_run_that_has_not_ended_is_refused(folders, tmp_path):
    config = folders[0] / "config.json"
    (tmp_path / config.name).write_bytes(config.read_bytes())
    with pytest.raises(ValueError, match="has not ended"):
        summarise.table([tmp_path])
