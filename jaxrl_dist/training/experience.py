"""What flows between actors and learner: rows with their origin, and the tables.

- experience: trajectories or sequences, from the actors to the learner
- old: trajectories once more, to be learnt from again; optional
- parameters: the newest ones, with their version; one item
- handshake: what the learner learns; one item
- to_evaluate: parameters of a moment, for the evaluator
- evaluations: the returns that it found
- telemetry: what the actors did
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist.replay import reverb
from jaxrl_dist.replay.sequences import ReplayConfig
from jaxrl_dist.training.actors_config import ActorsConfig
from jaxrl_dist.training.columns import Columns
from jaxrl_dist.training.flow import Flow
from jaxrl_dist.types import ArraySpec, Trajectory

EXPERIENCE, OLD, PARAMETERS = "experience", "old", "parameters"
TO_EVALUATE, EVALUATIONS = "to_evaluate", "evaluations"
HANDSHAKE, TELEMETRY = "handshake", "telemetry"
MESSAGES = 10_000  # that a table of reports holds before the oldest go


class Row(NamedTuple):
    """One row of one environment, and where it comes from."""

    trajectory: Trajectory  # of a single row
    version: Any  # [] int32, updates that the parameters had seen which acted
    source: Any  # [] int32, number of the environment among those of all actors
    sequence: Any  # [] int64, number of the rollout among those of its environment
    carried: Any = ()  # [] float32, discounted return before this row; () if not needed


def row_like(rows: Trajectory, carried: bool) -> Row:
    """The shapes of one row.

    Args:
        rows: [T, B, ...] shapes of a rollout.
        carried: whether the learner keeps statistics of returns.
    """

    def single(x: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(x.shape[2:], x.dtype)

    number = jax.ShapeDtypeStruct((), jnp.int32)
    return Row(
        trajectory=jax.tree.map(single, rows),
        version=number,
        source=number,
        sequence=np.zeros((), np.int64),
        carried=jax.ShapeDtypeStruct((), jnp.float32) if carried else (),
    )


def experience_tables(
    flow: Flow, config: ActorsConfig, replay: ReplayConfig | None, row: Columns
) -> list[reverb.Table]:
    """The tables that experience flows through."""
    signature = row.signature(flow.item_rows, whole=flow.whole)
    if flow.kind == "replay":
        assert replay is not None
        return [_replay_table(flow, config, replay, signature)]
    batches = 1 if flow.kind == "rounds" else config.queue_batches
    fresh = flow.batch_size - flow.replayed
    tables = [reverb.queue(EXPERIENCE, batches * fresh, signature)]
    if flow.replayed:
        size = config.replayed_trajectories
        tables.append(reverb.Table(OLD, max_size=size, signature=signature))
    return tables


def _replay_table(
    flow: Flow, config: ActorsConfig, replay: ReplayConfig, signature: reverb.Signature
) -> reverb.Table:
    ratio, period = flow.samples_per_insert, flow.period
    kind = reverb.Selector("uniform")
    if replay.prioritized:
        kind = reverb.Selector("prioritized", replay.alpha)
    least = max(1, flow.batch_size, replay.warmup_steps // period)
    # Inserts come by rollouts, and samples by batches: so far the two must be able to
    # run apart, or each would wait for the other.
    rollout = ratio * flow.num_envs * max(1, config.rollout_steps // period)
    buffer = config.limiter_batches * flow.batch_size + rollout
    return reverb.Table(
        EXPERIENCE,
        sampler=kind,
        max_size=max(least, replay.capacity // period),
        rate_limiter=reverb.samples_per_insert(
            ratio, min_size_to_sample=least, error_buffer=max(1.0, ratio, buffer)
        ),
        signature=signature,
    )


def newest(name: str, signature: reverb.Signature) -> reverb.Table:
    """A table that holds what was inserted last, for any number of readers."""
    fifo = reverb.Selector("fifo")
    return reverb.Table(name, fifo, fifo, max_size=1, signature=signature)


def messages(name: str, signature: reverb.Signature) -> reverb.Table:
    """A table that gives each message to one reader, and never makes a writer wait."""
    fifo = reverb.Selector("fifo")
    return reverb.Table(name, fifo, fifo, MESSAGES, 1, signature=signature)


def bytes_signature() -> reverb.Signature:
    """The signature of items that are some bytes."""
    return reverb.Signature({"bytes": reverb.ColumnSpec((1, None), np.uint8)})


def describe_spec(spec: Any, at: str = "") -> dict[str, str]:
    """Says a tree of specs in words, by name: shape, dtype and number of values."""
    if isinstance(spec, ArraySpec):
        return {at: f"{np.dtype(spec.dtype).name}{list(spec.shape)}"}
    if hasattr(spec, "num_values"):
        return {at: f"one of {spec.num_values}"}
    parts = spec.items() if isinstance(spec, dict) else enumerate(spec)
    described: dict[str, str] = {}
    for name, part in parts:
        described |= describe_spec(part, f"{at}.{name}" if at else str(name))
    return described
