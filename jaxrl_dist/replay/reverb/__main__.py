"""Starts a Reverb server, or asks after one: python -m jaxrl_dist.replay.reverb."""

import argparse
import signal
import sys
import threading
from collections.abc import Sequence

from jaxrl_dist.replay.reverb import environment
from jaxrl_dist.replay.reverb.client import Client
from jaxrl_dist.replay.reverb.errors import ReverbError
from jaxrl_dist.replay.reverb.server import Server, ServerConfig
from jaxrl_dist.replay.reverb.tables import load_tables

_WARNING = """\
WARNING: a Reverb server listens on ALL network interfaces and has NO authentication.
         Whoever reaches port {port} can read, change and delete everything in it.
         Keep the port closed to all but your own machines."""


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def serve(arguments: argparse.Namespace) -> int:
    """Serves tables until SIGTERM or Ctrl-C."""
    config = ServerConfig(
        port=arguments.port,
        checkpoint_dir=arguments.checkpoint_dir,
        checkpoint_every_seconds=arguments.checkpoint_every_seconds,
        keep_checkpoints=arguments.keep_checkpoints,
    )
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with Server(load_tables(arguments.tables), config, _say) as server:
        port = server.address.rpartition(":")[2]
        _say(_WARNING.format(port=port))
        print(f"serving {server.address}", flush=True)
        while not stopped.is_set():
            code = server.wait(0.2)
            if code is not None:
                _say(f"the Reverb server ended by itself, with {code}")
                return 1
    return 0


def check(arguments: argparse.Namespace) -> int:
    """Says whether everything is there that a server needs."""
    if arguments.install:
        environment.prepare(_say)
    lacks = environment.missing()
    if not lacks:
        fault = environment.import_fault(environment.interpreter())
        lacks = [f"dm-reverb cannot be imported: {fault}"] if fault else []
    for lack in lacks:
        print(f"missing: {lack}")
    if not lacks:
        print(f"ready: dm-reverb 0.14.0, run by {environment.interpreter()}")
    return 1 if lacks else 0


def info(arguments: argparse.Namespace) -> int:
    """Prints the tables of a running server."""
    with Client(arguments.address) as client:
        for table in client.server_info(arguments.timeout).tables.values():
            print(f"{table.table.name}: {table.current_size} items, {table.table}")
    return 0


def checkpoint(arguments: argparse.Namespace) -> int:
    """Lets a running server write a checkpoint."""
    with Client(arguments.address) as client:
        print(client.checkpoint(arguments.timeout))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jaxrl_dist.replay.reverb", description=__doc__
    )
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("serve", help=serve.__doc__)
    command.add_argument("--tables", required=True, help="JSON file of tables")
    command.add_argument("--port", type=int, help="default: a free one")
    command.add_argument("--checkpoint-dir", help="default: no checkpoints")
    command.add_argument("--checkpoint-every-seconds", type=float)
    command.add_argument("--keep-checkpoints", type=int, default=3)
    command.set_defaults(run=serve)
    command = commands.add_parser("check", help=check.__doc__)
    command.add_argument("--install", action="store_true", help="install first")
    command.set_defaults(run=check)
    for run in (info, checkpoint):
        command = commands.add_parser(run.__name__, help=run.__doc__)
        command.add_argument("address", help="host:port")
        command.add_argument("--timeout", type=float, default=30.0, help="seconds")
        command.set_defaults(run=run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; its exit code."""
    parsed = _parser().parse_args(arguments)
    try:
        return parsed.run(parsed)
    except (ReverbError, OSError, ValueError) as error:
        _say(f"error: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
