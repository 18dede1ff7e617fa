"""Runs whose processes are killed, hang and fail, and learn all the same."""

import random
import signal
import time

import pytest

from jaxrl_dist.run_folder import RunFolder
from tests.training.chaos import Run, command, resumed, running

CARTPOLE = command("experiments.cartpole_impala", 500_000)
THRESHOLD = 475.0  # of cartpole_impala
ON_CATCH = ("experiments.cartpole_impala", 200_000, "--environment.name")
CATCH = command(*ON_CATCH, "Catch-bsuite")
FAULTY = command(*ON_CATCH, "tests.environments.faulty:make")
CATCH_THRESHOLD = 0.95  # of catch_ppo


def ends_well(run: Run, threshold: float) -> None:
    assert run.end() == 0, run.said()
    run.assert_nothing_is_left()
    assert run.final_return() >= threshold


@pytest.mark.reverb
@pytest.mark.slow
def test_an_actor_killed_every_few_seconds_costs_only_its_experience(tmp_path):
    draw = random.Random(0)
    with running(CARTPOLE, tmp_path) as run:
        run.wait_for_progress()
        while run.process.poll() is None and run.step() < 400_000:
            run.kill(f"actor-{draw.randrange(2)}")
            time.sleep(4)
            run.wait_for_progress(1)  # on a slow machine, an actor takes long to start
        ends_well(run, THRESHOLD)
        restarts = run.restarts()
        assert restarts["actor-0"] + restarts["actor-1"] >= 3
        assert restarts["learner"] == 0


@pytest.mark.reverb
@pytest.mark.slow
def test_all_actors_may_be_killed_at_once(tmp_path):
    with running(CARTPOLE, tmp_path) as run:
        run.wait_for_progress()
        run.kill("actor-0")
        run.kill("actor-1")
        ends_well(run, THRESHOLD)
        restarts = run.restarts()
        assert (restarts["actor-0"], restarts["actor-1"]) == (1, 1)


@pytest.mark.reverb
@pytest.mark.slow
def test_a_learner_goes_on_from_its_checkpoint(tmp_path):
    with running(CARTPOLE, tmp_path) as run:
        for _ in range(2):
            run.wait_for_progress(40_000)
            assert RunFolder(run.folder).checkpoints.is_dir()
            run.kill("learner")
        ends_well(run, THRESHOLD)
        restarts = run.restarts()
        assert restarts == restarts | {"learner": 2, "actor-0": 0, "actor-1": 0}


@pytest.mark.reverb
@pytest.mark.slow
@pytest.mark.parametrize("which", ["reverb", "server"])
def test_a_server_goes_on_from_its_checkpoint_at_the_same_port(which, tmp_path):
    with running(CARTPOLE, tmp_path) as run:
        for _ in range(2):
            run.wait_for_progress(20_000)
            run.kill(which)
        ends_well(run, THRESHOLD)
        restarts = run.restarts()
        assert restarts == restarts | {"server": 2, "learner": 0}


@pytest.mark.reverb
@pytest.mark.slow
def test_an_environment_that_hangs_is_replaced(tmp_path):
    fault = tmp_path / "hung"
    hasty = [*FAULTY, "--runtime.heartbeat-seconds", "20"]
    with running(hasty, tmp_path, FAULT="hang", FAULT_FILE=str(fault)) as run:
        run.wait_until(fault.exists)
        ends_well(run, CATCH_THRESHOLD)
        assert "actor-0 sent no heartbeat in time and was killed" in run.said()
        assert run.restarts()["actor-0"] >= 1


@pytest.mark.reverb
@pytest.mark.slow
def test_an_environment_that_raises_leaves_its_traceback_in_the_log(tmp_path):
    fault = tmp_path / "raised"
    with running(FAULTY, tmp_path, FAULT="raise", FAULT_FILE=str(fault)) as run:
        ends_well(run, CATCH_THRESHOLD)
        log = (run.folder / "logs" / "actor-0.log").read_text()
        assert "Traceback" in log and "the paddle broke" in log
        assert run.restarts()["actor-0"] == 1


@pytest.mark.reverb
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_saves_and_can_be_gone_on_with(number, tmp_path):
    with running(CATCH, tmp_path) as run:
        run.wait_for_progress()
        run.process.send_signal(number)
        assert run.end() == 128 + number, run.said()
        assert "interrupted at environment step" in run.said()
        run.assert_nothing_is_left()
    later = tmp_path / "later"
    later.mkdir()
    with resumed(run.folder, later) as run:
        ends_well(run, CATCH_THRESHOLD)


@pytest.mark.reverb
@pytest.mark.slow
def test_a_killed_run_leaves_nothing_behind(tmp_path):
    with running(CATCH, tmp_path) as run:
        run.wait_until(lambda: {"actor-1", "learner", "reverb"} <= set(run.workers()))
        run.process.kill()
        run.process.wait()
        run.assert_nothing_is_left()
