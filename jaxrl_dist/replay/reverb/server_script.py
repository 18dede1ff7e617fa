# /// script
# requires-python = "==3.11.*"
# dependencies = [
#   "absl-py==2.3.0",
#   "astunparse==1.6.3",
#   "attrs==25.3.0",
#   "cachetools==5.5.2",
#   "certifi==2025.4.26",
#   "charset-normalizer==3.4.2",
#   "dm-reverb[tensorflow]==0.14.0",
#   "dm-tree==0.1.9",
#   "flatbuffers==25.2.10",
#   "gast==0.6.0",
#   "google-auth-oauthlib==1.2.2",
#   "google-auth==2.40.2",
#   "google-pasta==0.2.0",
#   "grpcio==1.71.0",
#   "h5py==3.13.0",
#   "idna==3.10",
#   "keras==2.15.0",
#   "libclang==18.1.1",
#   "markdown==3.8",
#   "markupsafe==3.0.2",
#   "ml-dtypes==0.3.2",
#   "numpy==1.26.4",
#   "oauthlib==3.2.2",
#   "opt-einsum==3.4.0",
#   "packaging==25.0",
#   "portpicker==1.6.0",
#   "protobuf==4.25.8",
#   "psutil==7.0.0",
#   "pyasn1-modules==0.4.2",
#   "pyasn1==0.6.1",
#   "requests-oauthlib==2.0.0",
#   "requests==2.32.3",
#   "rsa==4.9.1",
#   "setuptools==80.9.0",
#   "six==1.17.0",
#   "tensorboard-data-server==0.7.2",
#   "tensorboard==2.15.2",
#   "tensorflow-estimator==2.15.0",
#   "tensorflow-io-gcs-filesystem==0.37.1",
#   "tensorflow==2.15.1",
#   "termcolor==3.1.0",
#   "typing-extensions==4.13.2",
#   "urllib3==2.4.0",
#   "werkzeug==3.1.3",
#   "wheel==0.45.1",
#   "wrapt==1.14.1",
# ]
# ///
"""Hosts Reverb tables, in an environment of its own; server.py starts it.

It never imports this package: dm-reverb needs TensorFlow 2.15 and NumPy 1. Its argument
holds the settings as JSON. SIGTERM ends it, after a last checkpoint; the guard that it
runs under sends that when whoever started the server is no more. Stdout carries events,
one JSON object a line; stderr is the log.
"""

import collections
import json
import logging
import os
import pathlib
import signal
import sys
import threading
import time

# At the end, where nothing of these folders can stand in for an installed module.
HERE = pathlib.Path(__file__).parent
sys.path += [str(HERE), str(HERE.parents[1] / "processes")]

from ports import check_port_is_free, free_port  # noqa: E402 - needs the path
from server_checkpoints import Checkpoints  # noqa: E402 - needs the path

logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="server: %(message)s")
LOG = logging.getLogger("server")
WATCH_SECONDS = 0.1


def emit(event: str, **fields) -> None:
    """Tells whoever started this process what happened."""
    print(json.dumps({"event": event, **fields}), flush=True)


def build_signature(described: dict):
    """Turns a described signature into nested TensorSpecs."""
    import tensorflow as tf

    ((kind, content),) = described.items()
    if kind == "array":
        return tf.TensorSpec(content["shape"], tf.dtypes.as_dtype(content["dtype"]))
    if kind == "dict":
        return {name: build_signature(part) for name, part in content.items()}
    if kind in ("tuple", "list"):
        return (tuple if kind == "tuple" else list)(map(build_signature, content))
    if kind == "namedtuple":
        names = [name for name, _ in content["fields"]]
        parts = [build_signature(part) for _, part in content["fields"]]
        return collections.namedtuple(content["name"], names)(*parts)
    raise ValueError(f"unknown kind of signature {kind!r}")


def build_table(described: dict):
    """Turns a described table into an empty Reverb table."""
    import reverb

    def selector(options: dict):
        kinds = {
            "uniform": reverb.selectors.Uniform,
            "fifo": reverb.selectors.Fifo,
            "lifo": reverb.selectors.Lifo,
            "max_heap": reverb.selectors.MaxHeap,
            "min_heap": reverb.selectors.MinHeap,
        }
        if options["kind"] == "prioritized":
            return reverb.selectors.Prioritized(options["exponent"])
        return kinds[options["kind"]]()

    class Limiter(reverb.rate_limiters.RateLimiter):
        """Any of Reverb's rate limiters: they differ only in these four numbers."""

    return reverb.Table(
        name=described["name"],
        sampler=selector(described["sampler"]),
        remover=selector(described["remover"]),
        max_size=described["max_size"],
        max_times_sampled=described["max_times_sampled"],
        rate_limiter=Limiter(**described["rate_limiter"]),
        signature=(
            build_signature(described["signature"]) if described["signature"] else None
        ),
    )


def wait_for_port(port: int, seconds: float) -> None:
    """Waits for a port that a server before this one may still listen on.

    Raises:
        OSError: somebody still does after so many seconds.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return check_port_is_free(port)
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


class NoCheckpointer:
    """Refuses checkpoints; without it Reverb would write to a temporary folder."""

    def internal_checkpointer(self) -> None:
        """Nothing, which Reverb understands."""


def start(settings: dict, port: int, checkpoints: Checkpoints | None):
    """Starts a server with the newest checkpoint that loads.

    Returns:
        The server and the name of the checkpoint it holds, or None for none.

    Raises:
        RuntimeError: there are checkpoints and none loads. An empty server in their
            place would be a loss that nobody notices.
    """
    import reverb

    def attempt(path: pathlib.Path | None):
        checkpointer = NoCheckpointer()
        if checkpoints:
            checkpoints.offer(path)
            checkpointer = reverb.platform.checkpointers_lib.DefaultCheckpointer(
                str(checkpoints.incoming)
            )
        tables = [build_table(described) for described in settings["tables"]]
        return reverb.Server(tables, port, checkpointer)

    if checkpoints is None:
        return attempt(None), None
    checkpoints.recover_incoming()
    faults = []
    for path in checkpoints.kept():
        try:
            checkpoints.check(path)
            return attempt(path), path.name
        except Exception as error:  # whatever Reverb raises, an older one may load
            faults.append(f"{path.name}: {error}")
            LOG.warning("%s does not load, falling back: %s", path.name, error)
            emit("fallback", checkpoint=path.name, fault=str(error))
    if faults:
        raise RuntimeError(
            f"none of the checkpoints in {checkpoints.folder} loads: "
            f"{'; '.join(faults)}. Move the folder away to start with empty tables."
        )
    return attempt(None), None


def watch(checkpoints: Checkpoints, done: threading.Event) -> None:
    """Keeps every checkpoint that Reverb writes, whoever asked for it."""
    while not done.wait(WATCH_SECONDS):
        try:
            checkpoints.take_in()
        except OSError as error:
            LOG.warning("a checkpoint could not be kept: %s", error)


def serve(settings: dict) -> None:
    """Runs a server until it is told to stop; checkpoints at last.

    Before it serves there is nothing to save: a signal then ends it at once.

    Raises:
        OSError: somebody else listens on the port.
        RuntimeError: there are checkpoints and none loads.
    """
    import reverb

    folder = settings["checkpoint_dir"]
    checkpoints = (
        Checkpoints(pathlib.Path(folder), settings["keep_checkpoints"])
        if folder
        else None
    )
    port = settings["port"] or free_port()
    wait_for_port(port, settings["port_timeout_seconds"])
    server, restored = start(settings, port, checkpoints)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    LOG.info("listening on ALL interfaces, port %d, without authentication", port)
    emit("serving", port=port, restored=restored)
    watched = threading.Event()
    if checkpoints:
        threading.Thread(target=watch, args=(checkpoints, watched), daemon=True).start()
    period = settings["checkpoint_every_seconds"] if checkpoints else None
    client = reverb.Client(f"localhost:{port}")
    due = time.monotonic() + period if period else float("inf")
    while not stopped.wait(0.1):
        if time.monotonic() >= due:
            try:
                client.checkpoint()
            except Exception as error:  # a full disk, say; the tables are still whole
                LOG.warning("no checkpoint could be written: %s", error)
            due = time.monotonic() + period
    if checkpoints:
        client.checkpoint()
        watched.set()
        checkpoints.take_in()
    server.stop()
    emit("stopped")


def main() -> int:
    """Reads the settings, serves, and says why if it cannot."""
    settings = json.loads(sys.argv[1])
    try:
        serve(settings)
    except Exception as error:  # reported to whoever waits for this process
        LOG.exception("the server failed")
        emit("failed", message=f"{type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # Reverb's threads need not agree to an end
