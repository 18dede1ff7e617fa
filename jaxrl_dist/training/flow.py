"""How experience gets from actors to a learner, as the agent needs it."""

from typing import Literal, NamedTuple

from jaxrl_dist.replay.sequences import ReplayConfig
from jaxrl_dist.training.actors_config import ActorsConfig
from jaxrl_dist.types import Agent


class Flow(NamedTuple):
    """How experience gets from the actors to the learner.

    In "rounds", the learner takes one rollout of each environment at a time, and the
    actors wait for what it makes of them. In a "queue", trajectories are learnt from
    once each, as they come. In a "replay", sequences are drawn again and again.
    """

    kind: Literal["rounds", "queue", "replay"]
    item_rows: int  # of each trajectory or sequence
    period: int  # rows between the beginnings of two of them
    batch_size: int  # of them in one update
    replayed: int  # of a batch, trajectories that were learnt from before
    num_envs: int  # of all actors
    samples_per_insert: float  # of each item, on average
    whole: bool = True  # each travels as one, and shares no rows with others
    ranked: bool = False  # actors find out how telling each is, for the draws


WHOLE_BYTES = 8_192  # sequences up to this size share no rows: it costs more


def make_flow(
    config: ActorsConfig,
    agent: Agent,
    replay: ReplayConfig | None,
    *,
    num_envs: int,
    newest_only: bool,
) -> Flow:
    """Finds how the experience of an agent flows.

    Args:
        config: of the runtime.
        agent: who learns.
        replay: what from, if it keeps experience.
        num_envs: of all actors.
        newest_only: the agent learns from its newest policy only.

    Raises:
        ValueError: settings that do not fit each other.
    """
    if num_envs % config.num_actors:
        fitting = [n for n in range(1, num_envs + 1) if num_envs % n == 0]
        raise ValueError(
            f"num_actors is {config.num_actors}, over which {num_envs} environments "
            f"do not divide; {', '.join(map(str, fitting))} would do"
        )
    lock_step = newest_only if config.lock_step is None else config.lock_step
    if newest_only and not lock_step:
        raise ValueError(
            "lock_step must be None or True: the agent learns from its newest policy "
            "only, and does not correct for actors that are behind"
        )
    rows, length = config.rollout_steps + 1, agent.sequence_length
    if lock_step:
        return Flow("rounds", rows, rows, num_envs, 0, num_envs, 1.0)
    if length is not None and replay is not None:
        return _replay_flow(config, agent, replay, num_envs)
    fresh = config.batch_trajectories or num_envs
    old = round(fresh * config.replayed_per_new)
    if (fresh + old) % config.num_devices:
        raise ValueError(
            f"batch_trajectories is {fresh}, with {old} old ones besides: they must "
            f"divide over num_devices, {config.num_devices}"
        )
    return Flow("queue", rows, rows, fresh + old, old, num_envs, 1.0)


def _replay_flow(
    config: ActorsConfig, agent: Agent, replay: ReplayConfig, num_envs: int
) -> Flow:
    period = agent.sequence_period
    if config.rollout_steps % period:
        raise ValueError(
            f"rollout_steps is {config.rollout_steps}, and a sequence begins every "
            f"{period} rows: a multiple of {period} would do"
        )
    assert agent.sequence_length is not None
    return Flow(
        kind="replay",
        item_rows=agent.sequence_length,
        period=period,
        batch_size=replay.batch_size,
        replayed=0,
        num_envs=num_envs,
        samples_per_insert=replay.updates_per_step * replay.batch_size * period,
        ranked=replay.prioritized and agent.initial_priorities is not None,
    )
