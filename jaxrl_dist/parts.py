"""What any process of a run with actors needs: the run, built, and its server."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from jaxrl_dist import configuration
from jaxrl_dist.actor_runs import wire_of
from jaxrl_dist.experiment import Plan, plan
from jaxrl_dist.replay import reverb
from jaxrl_dist.saved_runs import NamedExperiment
from jaxrl_dist.training import handshake
from jaxrl_dist.training.actors_config import ActorsConfig
from jaxrl_dist.training.wiring import Wiring


class Part(NamedTuple):
    """What a process knows of its run."""

    named: NamedExperiment
    runtime: ActorsConfig
    plan: Plan
    wiring: Wiring


def build(config: Path, *, num_devices: int | None = None) -> Part:
    """Builds a run from its configuration; nothing is compiled.

    Args:
        config: the run's config.json.
        num_devices: of this process; None for those of the learner.
    """
    named: NamedExperiment = configuration.from_json(json.loads(config.read_text()))
    experiment, runtime = named.experiment, named.experiment.runtime
    assert isinstance(runtime, ActorsConfig)
    if num_devices is not None:
        own = dataclasses.replace(runtime, num_devices=num_devices)
        experiment = dataclasses.replace(experiment, runtime=own)
    built = plan(experiment)
    return Part(named, runtime, built, wire_of(named.name, experiment, built))


def connect(
    address: str, part: Part, beat: Callable[[], None], *, learner: bool = False
) -> reverb.Client:
    """Waits for the server, and checks that it is that of this run.

    Args:
        address: "host:port".
        part: what this process knows of its run.
        beat: called several times a second.
        learner: this is the one whom the others compare themselves with.

    Raises:
        DeadlineError: the server does not answer, or there is no learner.
        HandshakeError: the learner learns something else.
        TableError, TablesDifferError: the server belongs to another run.
    """
    seconds = part.runtime.timeout_seconds
    client = reverb.Client(address)
    client.wait_until_serving(seconds)
    if not learner:
        handshake.compare(client, part.wiring.greeting, seconds, beat)
    client.check_tables(part.wiring.tables)
    return client
