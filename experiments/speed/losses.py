"""Times the losses against rlax under `vmap`, in one process, taking turns.

    python -m experiments.speed.losses
    python -m experiments.speed.losses --only vtrace

Every figure is what the fastest tenth of 100 samples stayed below; "ratio" is rlax's
time over ours, so above 1 is faster. With "gradient", value and gradient of the mean
are timed together. Results: RESULTS.md.
"""

import argparse
import platform

import jax
import rlax

from experiments.speed import loss_contests
from experiments.speed.turns import time_in_turns, with_gradient


def main() -> None:
    """Runs all contests, or those of one name, and prints a table."""
    # Otherwise handing a small program to another thread takes longer than it runs.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    parser = argparse.ArgumentParser(description="Times the losses against rlax.")
    parser.add_argument("--only", help="part of a loss's name")
    only = parser.parse_args().only
    device = jax.devices()[0]
    print(
        f"jax {jax.__version__}, rlax {rlax.__version__}, {device.device_kind}, "
        f"{platform.machine()}, Python {platform.python_version()}\n"
    )
    print("| loss | sizes | ours, ms | rlax, ms | ratio | with gradient: | | |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    contests = (
        loss_contests.trajectory_contests()
        + loss_contests.quantile_contests()
        + loss_contests.value_contests()
        + loss_contests.policy_contests()
    )
    for contest in contests:
        if only and only not in contest.name:
            continue
        cells = [contest.name, contest.sizes]
        for change in (lambda function: function, with_gradient):
            both = [jax.jit(change(each)) for each in (contest.ours, contest.theirs)]
            ours, theirs = time_in_turns(both, contest.arguments)
            cells += [f"{ours:.3f}", f"{theirs:.3f}", f"{theirs / ours:.2f}"]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
