"""One process of a run with actors: python -m jaxrl_dist.worker <role> ...

A launcher starts them. Each builds what it needs from the run's config.json, and meets
the others at the Reverb server. Exit status: as `jaxrl_dist.cli` says; 2 means that
starting it again would not help.
"""

import argparse
import contextlib
import functools
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrl_dist.compilation_cache import use_compilation_cache
from jaxrl_dist.environments.build import HostConfig
from jaxrl_dist.exit_status import FAILED, NOT_FINITE, REFUSED, SIGNALLED
from jaxrl_dist.parts import Part, build, connect
from jaxrl_dist.replay import reverb
from jaxrl_dist.run_folder import LASTING_ERRNOS, naming_the_folder
from jaxrl_dist.training import actor, evaluator, on_host
from jaxrl_dist.training.collecting import (
    Acting,
    Collect,
    Share,
    make_collect,
    start_key,
)
from jaxrl_dist.training.heartbeat import START_SECONDS, beat
from jaxrl_dist.training.host_loop import NotFiniteError
from jaxrl_dist.training.interruption import Interrupted
from jaxrl_dist.training.parameters import Fetcher
from jaxrl_dist.training.telemetry import Reporter

LOOK_SECONDS, ANSWER_SECONDS = 0.5, 2.0  # between questions to the server, for one
SERVER_STOP_SECONDS = 60.0  # for its last checkpoint
REFUSALS = (
    ValueError,
    FileNotFoundError,
    reverb.TableError,
    reverb.TablesDifferError,
)


def use_one_cpu_device() -> None:
    """Keeps JAX away from accelerators, and on one core."""
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 1)
    use_compilation_cache()


def run_actor(arguments: argparse.Namespace) -> None:
    """Acts, until it is ended."""
    use_one_cpu_device()
    part = build(arguments.config, num_devices=1)
    act(part, arguments.server, arguments.index, beat)


def act(part: Part, address: str, index: int, beat: Callable[..., None]) -> None:
    """Acts for ever.

    Args:
        part: what this process knows of its run.
        address: of the Reverb server.
        index: number of the actor.
        beat: called while it lives; by raising something it ends this.
    """
    experiment, wiring, runtime = part.named.experiment, part.wiring, part.runtime
    starting = functools.partial(beat, START_SECONDS)
    with contextlib.ExitStack() as ending:
        client = connect(address, part, starting)
        ending.enter_context(contextlib.closing(client))
        size = experiment.environment.num_envs // runtime.num_actors
        share = Share(index * size, size, experiment.environment.num_envs)
        incarnation = int(time.time()) & 0x7FFFFFFF
        key = start_key(experiment.seed, runtime.num_actors, index)
        if wiring.flow.kind != "rounds":
            # One that takes the place of another must not live its life again.
            key = jax.random.fold_in(key, incarnation)
        starting()
        collect = _collect(part, share, key, ending)
        fetcher = Fetcher(
            client, wiring.published, wiring.acting_like, seconds_between(part)
        )
        ending.callback(fetcher.close)
        links = actor.Links(client, fetcher, Reporter(client), beat)
        sender = actor.Sender(links, wiring.flow, runtime, wiring.row, share)
        actor.Actor(index, incarnation, links, collect, sender).run(
            runtime, lock_step=wiring.flow.kind == "rounds"
        )


def _collect(
    part: Part, share: Share, key: jax.Array, ending: contextlib.ExitStack
) -> Collect:
    """Compiles rollouts, on the device or on the host."""
    environment, wiring = part.named.experiment.environment, part.wiring
    compiling = (part.plan.setting, wiring.flow, share, key, wiring.acting_like)
    if not isinstance(environment, HostConfig):
        return make_collect(*compiling)
    host = ending.enter_context(environment.build(share.size))
    return on_host.make_host_collect(*compiling, environment=host)


def seconds_between(part: Part) -> float:
    """How often an actor looks for parameters: at once where it waits for them."""
    seconds = part.runtime.fetch_seconds
    return min(0.001, seconds) if part.wiring.flow.kind == "rounds" else seconds


def run_evaluator(arguments: argparse.Namespace) -> None:
    """Plays whole episodes for the learner, until it is ended."""
    use_one_cpu_device()
    evaluate(build(arguments.config, num_devices=1), arguments.server, beat)


def evaluate(part: Part, address: str, beat: Callable[..., None]) -> None:
    """Evaluates for ever; the arguments are those of `act`."""
    client = connect(address, part, functools.partial(beat, START_SECONDS))
    beat(START_SECONDS)
    with contextlib.closing(client), make_player(part, beat) as play:
        evaluator.run(
            client,
            play,
            requests=part.wiring.requests,
            results=part.wiring.results,
            beat=beat,
        )


@contextlib.contextmanager
def make_player(
    part: Part, beat: Callable[..., None]
) -> Iterator[Callable[[Acting, int], np.ndarray]]:
    """What plays whole episodes, on the device or on the host."""
    experiment = part.named.experiment
    number = experiment.budget.eval_episodes
    if not isinstance(experiment.environment, HostConfig):
        yield evaluator.make_player(
            part.plan.setting,
            seed=experiment.seed,
            num_episodes=number,
            acting_like=part.wiring.acting_like,
        )
        return
    with on_host.players(experiment.environment, number) as host:
        play = on_host.make_host_player(
            part.plan.setting, host, part.wiring.acting_like, num_episodes=number
        )
        yield lambda acting, index: play(acting, experiment.seed, index, beat)


def run_learner(arguments: argparse.Namespace) -> None:
    """Learns until the budget is used up."""
    from jaxrl_dist import learner_process  # heavier than what actors need

    with naming_the_folder(arguments.run):
        learner_process.run(arguments)


def run_server(arguments: argparse.Namespace) -> None:
    """Serves the tables of a run until it is asked to end, and saves them.

    The server is a process of its own; this one lives as long as that one answers.
    """
    config = reverb.ServerConfig(
        port=int(arguments.server.rpartition(":")[2]),
        checkpoint_dir=arguments.run / "server",
        checkpoint_every_seconds=arguments.checkpoint_seconds,
        keep_checkpoints=1,
        stop_timeout_seconds=SERVER_STOP_SECONDS,
        # The one before still saves its tables if only this process was killed.
        port_timeout_seconds=SERVER_STOP_SECONDS,
    )
    tables = reverb.load_tables(arguments.tables)
    with (
        reverb.Server(tables, config, _log) as server,
        reverb.Client(server.address) as client,
    ):
        ended = threading.Event()  # as long as nothing is served, a signal ends it
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
        while not ended.wait(LOOK_SECONDS):
            with contextlib.suppress(reverb.DeadlineError, reverb.UnavailableError):
                client.server_info(ANSWER_SECONDS)
                beat()
            if (status := server.wait(0.0)) is not None:
                raise reverb.ServerError(f"the Reverb server ended with {status}")


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


ROLES = {
    "actor": run_actor,
    "learner": run_learner,
    "evaluator": run_evaluator,
    "server": run_server,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one process; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m jaxrl_dist.worker")
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--server", required=True, help="host:port")
    parser.add_argument("--index", type=int, default=0, help="of an actor")
    parser.add_argument("--run", type=Path, help="folder, of learner and server")
    parser.add_argument("--tables", type=Path, help="file, of a server")
    parser.add_argument("--checkpoint-seconds", type=float, help="of a server")
    parser.add_argument("--began", type=float, default=None, help="time.time()")
    parsed = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    return one_line(lambda: ROLES[parsed.role](parsed))


def one_line(action: Callable[[], Any]) -> int:
    """Does something; says in one line what anybody may get wrong, and its status."""
    try:
        action()
    except Interrupted as stop:
        return SIGNALLED + stop.signal
    except NotFiniteError as error:
        return _say(error, NOT_FINITE)
    except REFUSALS as error:
        return _say(error, REFUSED)
    except (TimeoutError, reverb.ReverbError) as error:
        return _say(error, FAILED)
    except OSError as error:
        return _say(error, REFUSED if error.errno in LASTING_ERRNOS else FAILED)
    return 0


def _say(error: Exception, status: int) -> int:
    with contextlib.suppress(OSError):  # the log may be on the disk that is full
        print("error:", " ".join(str(error).split()), file=sys.stderr, flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
