"""What stored memory and burn-in are worth to R2D2, and how wrong memory is without.

Trains CartPole-v1 without velocities four times: sequences begin with stored or zero
memory, with or without a burn-in. Then measures, with each trained network, how far
action values are from those of the true memory after a burn-in of so many rows, when it
begins with the memory that was stored or with zeros (figure 1 of the paper):

    |q(burnt in) - q(true)|_2 / max_a |q(true)_a|

True memory is that of the trained network, read from the beginning of the episode; rows
are those in the replay at the end of the run. Prints tables and draws
`discrepancy.png`. Measured: RESULTS.md.

What is there already is neither trained nor measured again, so that several processes
can share the work and one of them can sum it up.

    python -m experiments.r2d2_ablation
    python -m experiments.r2d2_ablation --total-steps 200000 --only stored_burn_in zero
"""

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import cartpole_no_velocity_r2d2, summarise
from jaxrl_dist import cli, runs, saved_runs
from jaxrl_dist.agents.r2d2 import R2D2Config
from jaxrl_dist.experiment import Experiment
from jaxrl_dist.networks.q_network import QNetwork
from jaxrl_dist.replay import store
from jaxrl_dist.replay.sequences import make_shape
from jaxrl_dist.run_folder import RunFolder
from jaxrl_dist.types import ArrayTree, Params, Trajectory

NAME = "cartpole_no_velocity_r2d2"
SHOWN = (0, 1, 2, 4, 8, 16)  # rows of burn-in, in the table
Variant = Literal["stored_burn_in", "stored", "zero_burn_in", "zero"]
COLORS: dict[Variant, str] = {
    "stored_burn_in": "#1f5fa8",
    "stored": "#2a9d8f",
    "zero_burn_in": "#c0562b",
    "zero": "#8d6cab",
}


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What is compared.

    Attributes:
        total_steps: environment steps of each run and seed.
        seed: of the first run of each.
        num_seeds: runs of each, with seeds that follow one another.
        output_dir: gets a folder for each variant, and the picture.
        only: names of the variants, as several processes share them; none of them for
            all.
    """

    total_steps: int = 500_000
    seed: int = 0
    num_seeds: int = 3
    output_dir: Path = Path("runs/r2d2_ablation")
    only: tuple[Variant, ...] = ()


def variants(whole: Experiment) -> dict[Variant, Experiment]:
    """Stored or zero memory, with or without a burn-in, by name.

    Args:
        whole: an experiment with an `R2D2Config` that has both.
    """
    agent = whole.agent
    assert isinstance(agent, R2D2Config)

    def change(**settings: Any) -> Experiment:
        return dataclasses.replace(whole, agent=dataclasses.replace(agent, **settings))

    return {
        "stored_burn_in": whole,
        "stored": change(burn_in=0),
        "zero_burn_in": change(stored_state=False),
        "zero": change(stored_state=False, burn_in=0),
    }


class Discrepancy(NamedTuple):
    """How far action values are from the true ones, by rows of burn-in, [K]."""

    stored: np.ndarray
    zero: np.ndarray


def discrepancy(
    network: QNetwork, params: Params, rows: Trajectory, starts: ArrayTree, period: int
) -> Discrepancy:
    """Compares action values after a burn-in with those of the true memory.

    Args:
        network: of the agent.
        params: trained.
        rows: [T, B, ...] in the order in which they were seen.
        starts: memory stored for rows 0, P, 2 P ..., [K, B, ...].
        period: P.

    Returns:
        Means over all sequences that lie within one episode whose beginning is there.
        On the scale of the network's outputs, of which it is a ratio.
    """
    longest = max(SHOWN)
    num_steps, batch_size = rows.is_first.shape
    _, outputs = network.unroll(
        params,
        network.initial_memory(batch_size),
        rows.observation,
        rows.is_first,
        noise=None,
    )
    true = outputs.mean(-1)  # [T, B, A]
    first = period * jnp.arange((num_steps - longest - 1) // period + 1)
    index = first[None] + jnp.arange(longest + 1)[:, None]  # [K, S]

    def windows(array: jax.Array) -> jax.Array:
        """[T, B, ...] as sequences [K, S B, ...]."""
        picked = array[index]
        return picked.reshape(index.shape[0], -1, *array.shape[2:])

    known = windows(jnp.cumsum(rows.is_first, axis=0) > 0)[0]
    # Where an episode begins, memory is right by itself.
    counts = known & ~windows(rows.is_first).any(axis=0)
    seen = jax.tree.map(windows, rows.observation), windows(rows.is_first)
    stored = jax.tree.map(lambda x: x[: len(first)].reshape(-1, *x.shape[2:]), starts)
    zero = network.initial_memory(len(first) * batch_size)

    def distance(memory: ArrayTree) -> np.ndarray:
        _, outputs = network.unroll(params, memory, *seen, noise=None)
        difference = jnp.linalg.norm(outputs.mean(-1) - windows(true), axis=-1)
        ratio = difference / jnp.abs(windows(true)).max(-1)
        total = jnp.where(counts[None], ratio, 0.0).sum(1)
        return np.asarray(total / jnp.maximum(1, counts.sum()))

    return Discrepancy(distance(stored), distance(zero))


def measure(path: Path) -> Discrepancy:
    """The discrepancies of a finished run, the mean over its seeds.

    Args:
        path: of the run's folder.
    """
    restored = saved_runs.restore(RunFolder.open(path))
    experiment = restored.named.experiment
    agent, replay = experiment.agent, experiment.replay
    assert isinstance(agent, R2D2Config) and replay is not None
    setting = restored.plan.setting
    assert setting.agent.sequence_length is not None
    shape = make_shape(
        replay,
        setting.agent.sequence_length,
        setting.num_envs * restored.plan.num_devices,
        num_devices=restored.plan.num_devices,
        period=setting.agent.sequence_period,
    )
    # Of the kind that the agent needs, as `Experiment` has checked.
    make: Any = experiment.network.build(setting.normaliser.spec)
    network = agent.build_head(make).network
    found = []
    for seed in range(experiment.num_seeds):
        stored, state = jax.tree.map(
            lambda x, s=seed: jnp.asarray(x[0, s]),
            (restored.state.replay.stored, restored.state.agent),
        )
        rows, starts = in_order(shape, stored)
        params = setting.agent.acting_params(state).params
        found.append(discrepancy(network, params, rows, starts, shape.period))
    return Discrepancy(*(np.mean(each, axis=0) for each in zip(*found, strict=True)))


def measured(path: Path) -> Discrepancy:
    """What `measure` finds in a run's folder, or found before."""
    file = path / "discrepancy.json"
    if not file.is_file():
        found = {name: each.tolist() for name, each in measure(path)._asdict().items()}
        file.write_text(json.dumps(found), encoding="utf-8")
    saved = json.loads(file.read_text(encoding="utf-8"))
    return Discrepancy(**{name: np.array(each) for name, each in saved.items()})


def in_order(shape: store.Shape, stored: store.Rows) -> tuple[Trajectory, ArrayTree]:
    """All rows of a ring from the oldest start on, [T, B, ...]; and their memory.

    Returns:
        Rows without memory, and the memory of every P-th of them, [K, B, ...].
    """
    skipped = int(store.first_start(shape, stored))
    number = int(stored.number) - skipped
    oldest = (int(stored.position) - number) % shape.length
    whole = shape._replace(sequence_length=number, batch_size=shape.num_envs)
    slot = jnp.arange(shape.num_envs) * shape.length + oldest
    rows = store.read(whole, stored, slot)._replace(memory=())
    num_starts = -(-number // shape.period)
    places = oldest // shape.period + jnp.arange(num_starts)
    places = places % (shape.length // shape.period)
    starts = jax.tree.map(lambda x: jnp.swapaxes(x[:, places], 0, 1), stored.memory)
    return rows, starts


def table(found: Mapping[Variant, Discrepancy]) -> str:
    """The discrepancies as a Markdown table."""
    lines = [
        "| trained with | begins with | "
        + " | ".join(f"{rows} rows" for rows in SHOWN)
        + " |",
        "| --- | --- |" + " ---: |" * len(SHOWN),
    ]
    for name, each in found.items():
        for begin, values in each._asdict().items():
            cells = " | ".join(f"{values[rows]:.4f}" for rows in SHOWN)
            lines.append(f"| {name} | {begin} | {cells} |")
    return "\n".join(lines)


def draw(found: Mapping[Variant, Discrepancy], path: Path) -> None:
    """Draws the discrepancies against the rows of burn-in, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for name, each in found.items():
        color = COLORS[name]
        label = f"trained with {name.replace('_', ' ')}"
        axes.plot(each.stored, color=color, label=f"{label}: from stored memory")
        axes.plot(each.zero, color=color, linestyle="--", label=f"{label}: from zeros")
    axes.set_yscale("log")
    axes.set_title(f"{NAME}: action values after a burn-in", loc="left", fontsize=11)
    axes.set_xlabel("rows of burn-in")
    axes.set_ylabel("distance from the true ones, relative")
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=7)
    FigureCanvasAgg(figure).print_png(path)


def run_all(arguments: Arguments) -> dict[Variant, Path]:
    """Trains every variant, or those asked for; the folders of the runs by name."""
    whole = cartpole_no_velocity_r2d2.experiment()
    budget = dataclasses.replace(whole.budget, total_steps=arguments.total_steps)
    whole = dataclasses.replace(
        whole, budget=budget, seed=arguments.seed, num_seeds=arguments.num_seeds
    )
    folders = {}
    for name, experiment in variants(whole).items():
        if arguments.only and name not in arguments.only:
            continue
        folder = arguments.output_dir / name
        if not RunFolder(folder).summary.is_file():
            # Named after the module with which each row can be had alone.
            runs.start(experiment, name=NAME, output_dir=folder)
        folders[name] = folder
    return folders


def main(arguments: Sequence[str]) -> None:
    """Runs the comparison as the command line says, prints and draws its results."""
    parsed = cli.parse(
        Arguments,
        arguments,
        prog="python -m experiments.r2d2_ablation",
        description=__doc__,
    )
    cli.prepare(cartpole_no_velocity_r2d2.experiment().runtime.num_devices)
    folders = run_all(parsed)
    found: dict[Variant, Discrepancy] = {
        name: measured(folder) for name, folder in folders.items()
    }
    print(summarise.table(list(folders.values())))
    print()
    print(table(found))
    picture = parsed.output_dir / "discrepancy.png"
    draw(found, picture)
    print(f"drawn in {picture}")


if __name__ == "__main__":
    cli.with_one_line(lambda: main(sys.argv[1:]))
