"""What V-trace is worth: IMPALA with actors far behind, corrected and not.

CartPole-v1 with actors whose parameters are 16 updates old and a step size that stays,
so that they never catch up, trained twice with the same seeds: with V-trace's ratios,
and with all ratios fixed to 1, as if the experience were the learner's own. Target: the
first solves the task, the second is clearly worse. Measured: RESULTS.md.

    python -m experiments.vtrace_ablation
    python -m experiments.vtrace_ablation --runtime.policy-lag-updates 32
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments import cartpole_impala, summarise
from jaxrl_dist import cli, runs
from jaxrl_dist.agents.impala import IMPALAConfig
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.experiment import Experiment
from jaxrl_dist.training.on_device import OnDeviceConfig


def experiment() -> Experiment:
    """Describes the corrected run; nothing is built until it starts."""
    optimizer = OptimizerConfig(learning_rate=1e-3, anneal=False)
    return dataclasses.replace(
        cartpole_impala.experiment(),
        agent=IMPALAConfig(optimizer=optimizer),
        runtime=OnDeviceConfig(rollout_steps=20, policy_lag_updates=16),
        num_seeds=5,
    )


def run_both(corrected: Experiment, output_dir: Path | None = None) -> list[Path]:
    """Trains with the correction, then without.

    Args:
        corrected: of an IMPALA agent.
        output_dir: gets a folder for each; None for `runs/cartpole_impala/...`.

    Returns:
        The folders of the two runs.
    """
    folders = []
    for correct in (True, False):
        agent = dataclasses.replace(corrected.agent, correct=correct)
        folder = None
        if output_dir is not None:
            folder = output_dir / ("vtrace" if correct else "ratios_of_one")
        # Named after the module with which each row of the table can be had alone.
        _, folder = runs.start(
            dataclasses.replace(corrected, agent=agent),
            name="cartpole_impala",
            output_dir=folder,
        )
        folders.append(folder)
    return folders


def main(arguments: Sequence[str]) -> None:
    """Runs the comparison as the command line says, and prints its table."""
    corrected = cli.parse(
        Experiment,
        arguments,
        default=experiment(),
        prog="python -m experiments.vtrace_ablation",
        description=__doc__,
    )
    cli.prepare(corrected.runtime.num_devices)
    print(summarise.table(run_both(corrected)))


if __name__ == "__main__":
    cli.with_one_line(lambda: main(sys.argv[1:]))
