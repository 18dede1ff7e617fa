"""The learner's process: from the run's folder to its summary."""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrl_dist import runs
from jaxrl_dist.compilation_cache import use_compilation_cache
from jaxrl_dist.distribution import devices
from jaxrl_dist.parts import Part, build, connect
from jaxrl_dist.replay import reverb
from jaxrl_dist.run_folder import RunFolder
from jaxrl_dist.saved_runs import checkpoints_of, read
from jaxrl_dist.training import experience, feeds, handshake, supervision_record
from jaxrl_dist.training.evaluator import Examiner
from jaxrl_dist.training.experience import EXPERIENCE
from jaxrl_dist.training.heartbeat import START_SECONDS, beat
from jaxrl_dist.training.host_loop import Counters, Outcome
from jaxrl_dist.training.interruption import (
    Interruption,
    interruptible,
    saved_and_interrupted,
)
from jaxrl_dist.training.journal import Journal
from jaxrl_dist.training.learner import Connections, Learner, Plan
from jaxrl_dist.training.learning import Batch, Learning, make_learning, state_like
from jaxrl_dist.training.parameters import Publisher
from jaxrl_dist.training.telemetry import COLUMNS, Collector


class Begun(NamedTuple):
    """Where a learner begins."""

    learning: Learning
    state: Any
    counters: Counters
    seconds: float  # tracing and compiling


def run(arguments: argparse.Namespace) -> None:
    """Learns until the budget is used up, or the process is asked to end.

    Args:
        arguments: of the process: the run's folder, the server's address.

    Raises:
        Interrupted: by SIGINT or SIGTERM, after saving.
        NotFiniteError: a loss or a parameter became NaN or infinite.
        ValueError: settings or checkpoints do not fit.
        ReverbError: the server does not answer, or refuses.
    """
    folder = RunFolder.open(arguments.run)
    # Before anything is built: that already looks at the devices that are there.
    devices.use_all_cores(read(folder).experiment.runtime.num_devices)
    use_compilation_cache()
    part = build(folder.config)
    began = time.time() if arguments.began is None else arguments.began
    learn(part, folder, arguments.server, interruptible(), began=began)


def learn(
    part: Part,
    folder: RunFolder,
    address: str,
    interrupting: AbstractContextManager[Interruption],
    *,
    began: float,
) -> Outcome:
    """Learns, and leaves the results in the run's folder.

    Args:
        part: what this process knows of its run.
        folder: of the run.
        address: of the Reverb server.
        interrupting: entered once there is something to save, for the wish to stop.
        began: `time.time()` when the user's process started.

    Raises:
        Interrupted: after saving.
    """
    with ThreadPoolExecutor(1) as threads:
        # The others look for what is said here, while this compiles.
        connecting = threads.submit(connect_and_greet, address, part)
        beat(START_SECONDS)
        begun = begin(part, folder)
        client = connecting.result()
    session = runs.Session(part.named, part.plan, folder, begun.counters, began)
    logger = runs.make_logger(session)
    with interrupting as wish:
        try:
            connections = open_connections(client, part, begun.counters)
            learner = Learner(
                make_plan(part, folder),
                begun.learning,
                connections,
                journal=Journal(logger),
                checkpoints=checkpoints_of(folder, part.named.experiment),
            )
            outcome = learner.run(begun.state, begun.counters, wish)
        finally:
            logger.close()
        close(connections)
        runs.leave_results(session, begun.seconds, outcome)
    if outcome.interrupted:
        steps = part.named.experiment.budget.total_steps
        raise saved_and_interrupted(
            folder.path, outcome.counters.env_steps, steps, wish.signal or 0
        )
    return outcome


def connect_and_greet(address: str, part: Part) -> reverb.Client:
    """Connects, and says what is learnt here."""
    client = connect(address, part, beat, learner=True)
    handshake.offer(client, part.wiring.greeting, part.runtime.timeout_seconds)
    return client


def close(connections: Connections) -> None:
    """Ends all threads of a learner."""
    connections.publisher.close()
    for each in (connections.feed, connections.telemetry, connections.examiner):
        each.close()
    connections.client.close()


def make_plan(part: Part, folder: RunFolder) -> Plan:
    """What the learner of a run is to do."""
    record = folder.path / supervision_record.NAME
    replay = part.plan.setting.replay
    return Plan(
        config=part.runtime,
        flow=part.wiring.flow,
        schedule=part.plan.schedule,
        beta=(0.0, 0.0) if replay is None else replay.beta,
        metadata={"experiment": part.named.name},
        restarts=lambda: sum(supervision_record.read_restarts(record).values()),
    )


def begin(part: Part, folder: RunFolder) -> Begun:
    """Compiles the learner, and makes its first state or restores the last one."""
    started = time.perf_counter()
    experiment, built = part.named.experiment, part.plan
    learning = make_learning(
        built.setting, part.wiring.flow, built.num_devices, batch_like(part)
    )
    seconds = time.perf_counter() - started
    checkpoints = checkpoints_of(folder, experiment)
    if checkpoints.latest() is None:
        return Begun(learning, learning.init(experiment.seed), Counters(), seconds)
    like = state_like(
        built.setting, part.wiring.flow, built.num_devices, experiment.seed
    )
    state, info = checkpoints.restore(like=like)
    return Begun(learning, state, Counters(**info.metadata["counters"]), seconds)


def batch_like(part: Part) -> Batch:
    """Shapes of a batch on the learner's devices, [D, 1, ...]."""
    flow, num_devices = part.wiring.flow, part.plan.num_devices
    share = flow.batch_size // num_devices

    def rows(x: Any) -> jax.ShapeDtypeStruct:
        shape = (num_devices, 1, flow.item_rows, share, *x.shape[2:])
        return jax.ShapeDtypeStruct(shape, x.dtype)

    number = jax.ShapeDtypeStruct((num_devices, 1, share), np.float32)
    keeps_returns = part.plan.setting.normaliser.init(1) != ()
    return Batch(
        trajectory=jax.tree.map(rows, part.wiring.rows_like),
        weight=number if flow.kind == "replay" else (),
        carried=number if flow.kind == "queue" and keeps_returns else (),
    )


def open_connections(
    client: reverb.Client, part: Part, counters: Counters
) -> Connections:
    """Connects a learner with all that it sends and receives."""
    wiring, runtime = part.wiring, part.runtime
    seconds = runtime.timeout_seconds

    def greet() -> None:
        handshake.offer(client, wiring.greeting, seconds)

    source = make_source(client, part, counters)
    priorities = None
    replay = part.named.experiment.replay
    if wiring.flow.kind == "replay" and replay is not None and replay.prioritized:
        priorities = client.priority_updater(EXPERIENCE, timeout_seconds=seconds)
    # In lock-step, actors wait for each publication.
    pause = 0.0 if wiring.flow.kind == "rounds" else runtime.fetch_seconds
    results = Collector(client, experience.EVALUATIONS, wiring.results)
    return Connections(
        client=client,
        feed=feeds.Feed(source.make),
        source=source,
        publisher=Publisher(client, wiring.published, seconds, pause),
        telemetry=Collector(client, experience.TELEMETRY, COLUMNS),
        examiner=Examiner(client, wiring.requests, results.take),
        priorities=priorities,
        greet=greet,
        beat=beat,
    )


def make_source(client: reverb.Client, part: Part, counters: Counters) -> Any:
    """Where the learner's batches come from."""
    arguments = (client, part.wiring.flow, part.wiring.row, part.plan.num_devices)
    if part.wiring.flow.kind == "queue":
        return feeds.QueueSource(*arguments)
    if part.wiring.flow.kind == "replay":
        return feeds.ReplaySource(*arguments)
    rounds = feeds.RoundsSource(*arguments, num_actors=part.runtime.num_actors)
    rounds.version = counters.updates
    return rounds
