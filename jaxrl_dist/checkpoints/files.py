"""The files of one checkpoint: arrays by way of orbax, and everything's digest.

orbax is imported when first used, which takes about a third of a second. Its API
changes at 1.0: this is the only file that knows it.
"""

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

FULL_DISK_BYTES = 1 << 20  # free, below which it is full
DIGESTS = "SHA256SUMS"
RATING = "rating.json"  # comes later than the digests, and has none


class DamagedCheckpointError(ValueError):
    """What lies on the disk is not what was written."""


@contextlib.contextmanager
def naming_a_full_disk(folder: Path) -> Iterator[None]:
    """Lets a full disk be known by its name, whatever orbax made of it.

    Args:
        folder: on that disk.

    Raises:
        OSError: ENOSPC, if anything went wrong and the disk is full.
    """
    try:
        yield
    except Exception as error:
        if not _is_full(folder, error):
            raise
        message = "no checkpoint can be written: the disk is full"
        raise OSError(errno.ENOSPC, message, str(folder)) from error


def _is_full(folder: Path, error: Exception) -> bool:
    if os.strerror(errno.ENOSPC) in str(error):
        return True  # though there may be room again: what failed was removed
    try:
        return shutil.disk_usage(folder.parent).free < FULL_DISK_BYTES
    except OSError:
        return False


def write_arrays(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes arrays by name into a new folder.

    Args:
        folder: absolute; it must not exist.
        arrays: each with at least one element.
    """
    import orbax.checkpoint as ocp

    with _checkpointer() as checkpointer:
        checkpointer.save(folder, args=ocp.args.PyTreeSave(arrays))


def read_arrays(folder: Path) -> dict[str, np.ndarray]:
    """Reads what `write_arrays` wrote, bit for bit.

    Args:
        folder: absolute.

    Returns:
        The arrays by name.
    """
    with _checkpointer() as checkpointer:
        return checkpointer.restore(folder)


def write_digests(folder: Path) -> None:
    """Writes the SHA-256 digest of every file in a folder, in the form of `sha256sum`.

    Args:
        folder: its files are final.
    """
    lines = [f"{_digest(folder / name)}  {name}\n" for name in _file_names(folder)]
    (folder / DIGESTS).write_text("".join(lines), encoding="utf-8")


def verify_digests(folder: Path) -> None:
    """Checks that a folder's files are those that were written.

    Args:
        folder: of `write_digests`.

    Raises:
        DamagedCheckpointError: a file is missing, added or changed; the message names
            it.
    """
    try:
        text = (folder / DIGESTS).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedCheckpointError(f"{folder} has no readable {DIGESTS}") from error
    expected = {
        name: digest
        for digest, _, name in (line.partition("  ") for line in text.splitlines())
    }
    names = _file_names(folder)
    for name in sorted(expected.keys() ^ set(names)):
        fault = "added" if name in names else "missing"
        raise DamagedCheckpointError(f"{folder} is damaged: {name} is {fault}")
    for name in names:
        if _digest(folder / name) != expected[name]:
            raise DamagedCheckpointError(f"{folder} is damaged: {name} has changed")


def _checkpointer() -> Any:
    import orbax.checkpoint as ocp

    # orbax would have every process of a multi-host run call it, and wait for all.
    alone = ocp.options.MultiprocessingOptions(
        primary_host=jax.process_index(), active_processes={jax.process_index()}
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


def _file_names(folder: Path) -> list[str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    names = sorted(file.relative_to(folder).as_posix() for file in files)
    return [name for name in names if name not in (DIGESTS, RATING)]


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
