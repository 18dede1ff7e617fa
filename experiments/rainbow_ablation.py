"""What each part of Rainbow is worth: the whole, and then without each of the six.

MinAtar's Breakout by default, or any task by its flags. Without noisy layers, random
actions explore instead: their share falls from 1 to 0.01 over a tenth of the run.
Measured: RESULTS.md.

    python -m experiments.rainbow_ablation
    python -m experiments.rainbow_ablation --of cartpole_rainbow --total-steps 50000
    python -m experiments.rainbow_ablation --only no_double no_noisy
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from experiments import breakout_rainbow, cartpole_rainbow, summarise
from jaxrl_dist import cli, runs
from jaxrl_dist.agents.exploration import ExplorationConfig
from jaxrl_dist.agents.rainbow import RainbowConfig
from jaxrl_dist.experiment import Experiment
from jaxrl_dist.networks.action_values import QNetworkConfig
from jaxrl_dist.replay.sequences import ReplayConfig

EXPERIMENTS = {
    "breakout_rainbow": breakout_rainbow.experiment,
    "cartpole_rainbow": cartpole_rainbow.experiment,
}
Variant = Literal[
    "rainbow",
    "no_double",
    "no_multi_step",
    "no_distributional",
    "no_dueling",
    "no_noisy",
    "no_prioritized",
]


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What is compared.

    Attributes:
        of: the experiment whose parts are taken away.
        total_steps: environment steps of each run and seed.
        seed: of the first run of each.
        num_seeds: runs of each, with seeds that follow one another.
        output_dir: gets a folder for each variant; None for `runs/...`.
        only: names of the variants to train, as several processes share them; none of
            them for all.
    """

    of: Literal["breakout_rainbow", "cartpole_rainbow"] = "breakout_rainbow"
    total_steps: int = 1_000_000
    seed: int = 0
    num_seeds: int = 3
    output_dir: Path | None = None
    only: tuple[Variant, ...] = ()


def variants(whole: Experiment) -> dict[Variant, Experiment]:
    """Rainbow, and Rainbow without each of its parts, by name.

    Args:
        whole: an experiment with a `RainbowConfig`.
    """
    agent, network, replay = whole.agent, whole.network, whole.replay
    assert isinstance(agent, RainbowConfig) and isinstance(network, QNetworkConfig)
    assert replay is not None

    def change(
        agent: RainbowConfig = agent,
        network: QNetworkConfig = network,
        replay: ReplayConfig = replay,
    ) -> Experiment:
        return dataclasses.replace(whole, agent=agent, network=network, replay=replay)

    def learner(**settings: Any) -> RainbowConfig:
        changed = dataclasses.replace(agent.learner, **settings)
        return dataclasses.replace(agent, learner=changed)

    dice = ExplorationConfig(epsilon_final=0.01, decay_fraction=0.1)
    return {
        "rainbow": whole,
        "no_double": change(learner(double=False)),
        "no_multi_step": change(learner(n_step=1)),
        "no_distributional": change(dataclasses.replace(agent, distributional=False)),
        "no_dueling": change(network=dataclasses.replace(network, dueling=False)),
        "no_noisy": change(
            learner(exploration=dice), dataclasses.replace(network, noisy=False)
        ),
        "no_prioritized": change(replay=dataclasses.replace(replay, prioritized=False)),
    }


def run_all(arguments: Arguments) -> list[Path]:
    """Trains every variant, or those that were asked for.

    Returns:
        The folders of the runs, the whole first.
    """
    whole = EXPERIMENTS[arguments.of]()
    budget = dataclasses.replace(whole.budget, total_steps=arguments.total_steps)
    whole = dataclasses.replace(
        whole, budget=budget, seed=arguments.seed, num_seeds=arguments.num_seeds
    )
    folders = []
    for name, experiment in variants(whole).items():
        if arguments.only and name not in arguments.only:
            continue
        folder = arguments.output_dir and arguments.output_dir / name
        # Named after the module with which each row of the table can be had alone.
        _, folder = runs.start(experiment, name=arguments.of, output_dir=folder)
        folders.append(folder)
    return folders


def main(arguments: Sequence[str]) -> None:
    """Runs the comparison as the command line says, and prints its table."""
    parsed = cli.parse(
        Arguments,
        arguments,
        prog="python -m experiments.rainbow_ablation",
        description=__doc__,
    )
    cli.prepare(EXPERIMENTS[parsed.of]().runtime.num_devices)
    print(summarise.table(run_all(parsed)))


if __name__ == "__main__":
    cli.with_one_line(lambda: main(sys.argv[1:]))
