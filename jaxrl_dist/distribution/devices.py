"""Devices of this process: how many, and functions compiled for all of them at once.

The only file that names `pmap`. Values carry a leading device axis [D, ...]: a
replicated value is equal along it, a sharded one is not.
"""

import functools
import os
from collections.abc import Callable
from typing import Any

import jax

AXIS_NAME = "devices"
# XLA on a CPU would spread the many small operations of a program over a pool of
# threads. With a device on each core there is no idle one, and handing operations over
# costs more than doing them (a rollout of 2 CartPoles 2.2 times as much, a PPO update
# 1.5 times).
CPU_COMPILER_OPTIONS = {
    "xla_cpu_enable_concurrency_optimized_scheduler": False,
    # XLA keeps to 256 bits even where a core has registers of 512. With these, an
    # update of SAC or TD3 takes some 10% less, and one of DQN is no slower. Where there
    # are none, it changes nothing.
    "xla_cpu_prefer_vector_width": 512,
}
UNSET = -1  # what JAX takes for a number of CPU devices that nobody has chosen
# Two CPU devices wait some 45 microseconds for each other in every gradient step. With
# fewer rows each than this, one device alone is quicker: for PPO on CartPole with 2x64
# networks 1.3 times at 64 and at 128 rows each; two are 1.5 times as quick at 256.
CPU_ROWS_PER_DEVICE = 256


def use_all_cores(at_least: int | None = None) -> None:
    """Gives JAX one CPU device per core; call before JAX touches any device.

    XLA runs plain matrix products of one CPU device on one core, so the second core is
    used only by a second device. Does nothing where the user has set the number
    (`JAX_NUM_CPU_DEVICES`), or where JAX is already running.

    Args:
        at_least: devices wanted even with fewer cores, as a run needs that was started
            elsewhere with more; None for one per core.
    """
    if jax.config.values["jax_num_cpu_devices"] != UNSET:
        return
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cores = os.cpu_count() or 1
    try:
        jax.config.update("jax_num_cpu_devices", max(cores, at_least or 1))
    except RuntimeError:
        return  # JAX is running already, with the devices that it has


def choose_number(
    batch_size: int, asked: int | None = None, *, gradient_rows: int | None = None
) -> int:
    """How many devices a batch runs on.

    Args:
        batch_size: environments, to be divided evenly over the devices.
        asked: a number the user insists on; None takes the most that divide the batch
            and, on a CPU, are worth their collectives.
        gradient_rows: rows [T, B] behind each gradient step; None if many.

    Returns:
        The number of devices, at least 1.

    Raises:
        ValueError: the number asked for is not there, or does not divide the batch.
    """
    available = jax.local_device_count()
    if asked is None:
        most = available
        if gradient_rows is not None and jax.default_backend() == "cpu":
            most = min(available, max(1, gradient_rows // CPU_ROWS_PER_DEVICE))
        return max(n for n in range(1, most + 1) if batch_size % n == 0)
    if not 1 <= asked <= available:
        raise ValueError(
            f"num_devices is {asked}, but the devices that are there are {available} "
            f"of kind {jax.default_backend()}; 1 to {available} would do"
        )
    if batch_size % asked:
        fitting = [n for n in range(1, available + 1) if batch_size % n == 0]
        raise ValueError(
            f"num_devices is {asked}, over which {batch_size} environments do not "
            f"divide; {', '.join(map(str, fitting))} would do"
        )
    return asked


def compile_for(
    num_devices: int,
    function: Callable,
    *,
    donate: tuple[int, ...] = (),
    **options: Any,
) -> Callable:
    """Compiles a function of one device's share for several devices.

    Args:
        num_devices: D; the first D local devices are used.
        function: works on arrays without the device axis; collectives over `AXIS_NAME`
            see all devices.
        donate: positions of arguments whose memory the results may reuse.
        **options: further options of `jax.pmap`, such as `in_axes`.

    Returns:
        The function of arrays with a leading device axis [D, ...].
    """
    devices = jax.local_devices()[:num_devices]
    return jax.pmap(
        function,
        axis_name=AXIS_NAME,
        devices=devices,
        donate_argnums=donate,
        **options,
    )


def trace(function: Any, *arguments: Any) -> Callable:
    """Traces what `compile_for` answered, for arguments of these shapes.

    Args:
        function: of `compile_for`.
        *arguments: arrays, or `jax.ShapeDtypeStruct` in their place.

    Returns:
        A function () to the compiled program. Tracing is done by then, and compiling,
        which needs no Python and may be left to a thread, when it is called.
    """
    lowered = function.lower(*arguments)
    options = CPU_COMPILER_OPTIONS if jax.default_backend() == "cpu" else None
    return functools.partial(lowered.compile, compiler_options=options)
