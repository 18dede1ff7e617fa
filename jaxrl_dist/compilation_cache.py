"""Compiled programs, kept between processes: a second start need not compile.

What is kept is machine code that later runs with the user's rights. It therefore lies
in a folder that only this user can write, and apart for each kind of processor.
"""

import hashlib
import importlib.metadata
import logging
import os
import platform
import stat
from collections.abc import Mapping
from pathlib import Path

import jax

SWITCH = "JAXRL_DIST_COMPILATION_CACHE"  # "off" to keep nothing
MAX_BYTES = 2**30  # of all entries; those that were not used for longest go first

logger = logging.getLogger(__name__)


def use_compilation_cache(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Has JAX keep what it compiles, and take what it kept before.

    To be called before anything is compiled. All programs are kept, however small: a
    start compiles dozens that take 30 ms each. A cache that the user has told JAX of
    (`JAX_COMPILATION_CACHE_DIR`) is left as it is.

    Args:
        environ: of the process. `XDG_CACHE_HOME`, or else `HOME`, says where caches
            lie; `JAXRL_DIST_COMPILATION_CACHE=off` switches this one off.

    Returns:
        The folder; None without a cache, for the reason that a warning gives.
    """
    if environ.get(SWITCH, "").lower() in ("off", "0", "false", "no"):
        return None
    chosen = jax.config.values["jax_compilation_cache_dir"]
    if chosen is not None:
        return Path(chosen)
    try:
        folder = private_folder(_caches(environ) / "jaxrl_dist", "compiled", _machine())
        remove_oldest(folder, MAX_BYTES)
    except OSError as error:
        logger.warning("compiled programs are not kept: %s", error)
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return folder


def private_folder(root: Path, *names: str) -> Path:
    """Makes a folder that nobody else can write.

    Args:
        root: the first that must be private; what lies above is the user's affair.
        *names: of the folders inside, one in the other.

    Returns:
        The innermost, which exists.

    Raises:
        PermissionError: one of them is a link, another user's, or writable by others.
        OSError: it cannot be made.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    folder = root
    for name in ("", *names):
        folder = folder / name
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode):
            raise PermissionError(f"{folder} is a link; it must be a folder")
        if status.st_uid != os.geteuid():
            raise PermissionError(f"{folder} belongs to another user")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(f"{folder} can be written by others: chmod 700 it")
    return folder


def remove_oldest(folder: Path, max_bytes: int) -> None:
    """Removes files until the rest fit, those not used for longest first.

    Args:
        folder: of files.
        max_bytes: that the rest may take.
    """
    files = [(file, file.stat()) for file in folder.iterdir() if file.is_file()]
    # Reading counts as use where the file system notes it.
    files.sort(key=lambda item: max(item[1].st_atime, item[1].st_mtime), reverse=True)
    total = 0
    for file, status in files:
        total += status.st_size
        if total > max_bytes:
            file.unlink(missing_ok=True)  # another run may be removing it too


def _caches(environ: Mapping[str, str]) -> Path:
    given = Path(environ.get("XDG_CACHE_HOME", ""))
    if given.is_absolute():
        return given
    if "HOME" not in environ:
        raise FileNotFoundError("neither XDG_CACHE_HOME nor HOME is set")
    return Path(environ["HOME"]) / ".cache"


def _machine() -> str:
    """A name for what compiled code needs: XLA uses every feature of the processor.

    JAX's own key does not tell processors apart, and a home folder may be shared by
    machines of several kinds.
    """
    facts = [
        importlib.metadata.version("jaxlib"),
        platform.system(),
        platform.machine(),
    ]
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            wanted = ("model name", "flags", "Features", "CPU part")
            facts += sorted({line for line in stream if line.startswith(wanted)})
    except OSError:  # not Linux
        facts.append(platform.processor())
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
