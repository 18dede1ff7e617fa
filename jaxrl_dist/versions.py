"""What a number was measured with: versions, devices, hardware."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

PACKAGES = (
    "jaxrl-dist",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "gymnax",
    "orbax-checkpoint",
    "numpy",
)


def versions() -> dict[str, str]:
    """Versions by name: Python, the packages that decide results, and our commit.

    Returns:
        Names as installers know them. "commit" is there when the package runs from a
        git checkout; it ends in "-dirty" when files differ from it.
    """
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # run without being installed
            found[name] = "not installed"
    checkout = Path(__file__).resolve().parents[1]
    commit = git_commit(checkout)
    return found | ({} if commit is None else {"commit": commit})


def git_commit(checkout: Path) -> str | None:
    """The commit of a git checkout.

    Args:
        checkout: its top folder.

    Returns:
        Twelve digits or more, with "-dirty" behind if files differ; None if it is no
        checkout, or git is not there to ask.
    """
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty"]
    try:
        answer = subprocess.run(
            [*command, "--abbrev=12", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def devices() -> list[str]:
    """The devices that JAX sees, such as "cpu:0" or "gpu:0 NVIDIA H200"."""
    return [_describe(device) for device in jax.devices()]


def hardware() -> str:
    """The machine in a few words: cores this process may use, and their model."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cores = os.cpu_count() or 1
    return f"{cores} × {_processor()}"


def _describe(device: Any) -> str:
    name = f"{device.platform}:{device.id}"
    kind = device.device_kind
    return name if kind.lower() == device.platform else f"{name} {kind}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            for line in stream:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()
