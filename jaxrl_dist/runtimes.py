"""Where an experiment runs: all on the device, or with actors; and how to say so."""

import dataclasses

from jaxrl_dist.experiment import Experiment
from jaxrl_dist.training.actors_config import ActorsConfig
from jaxrl_dist.training.on_device import OnDeviceConfig

DESCRIPTION = """
--runtime device runs all on the device; --runtime actors starts actor processes, a
Reverb server and a learner, with settings of its own (--actors 4 is short for that with
4 of them, and --runtime actors --help lists all).
"""


def with_actors(experiment: Experiment) -> Experiment:
    """The same run with actor processes and a learner, by default settings."""
    before = experiment.runtime
    if isinstance(before, ActorsConfig):
        return experiment
    steps = before.rollout_steps
    if experiment.replay is not None:
        # An actor that looks for parameters, and sends, after each step is slow; and
        # its rollouts are as long as some sequences are apart.
        period = getattr(experiment.agent, "sequence_period", 1)
        steps = period * -(-max(steps, ActorsConfig.rollout_steps) // period)
    runtime = ActorsConfig(rollout_steps=steps)
    return dataclasses.replace(experiment, runtime=runtime)


def on_device(experiment: Experiment) -> Experiment:
    """The same run all on the device, by default settings."""
    before = experiment.runtime
    if isinstance(before, OnDeviceConfig):
        return experiment
    runtime = OnDeviceConfig(rollout_steps=before.rollout_steps)
    return dataclasses.replace(experiment, runtime=runtime)


RUNTIMES = {"device": on_device, "actors": with_actors}


def where_it_runs(
    experiment: Experiment, arguments: list[str]
) -> tuple[Experiment, list[str]]:
    """Takes `--runtime` and `--actors`, which decide what other flags there are.

    Returns:
        The settings where the command line says nothing, and the other arguments.

    Raises:
        ValueError: `--runtime` is followed by something unknown.
    """
    rest: list[str] = []
    given = iter(arguments)
    for argument in given:
        flag, equals, value = argument.partition("=")
        if flag == "--actors":
            experiment = with_actors(experiment)
            rest.append(f"--runtime.num-actors{equals}{value}")
        elif flag == "--runtime":
            value = value if equals else next(given, "nothing")
            if value not in RUNTIMES:
                raise ValueError(f"--runtime must be device or actors, got {value}")
            experiment = RUNTIMES[value](experiment)
        else:
            rest.append(argument)
    return experiment, rest
