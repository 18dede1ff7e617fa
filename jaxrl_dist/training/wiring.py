"""The tables of a run, and what flows through each: the same for all its processes."""

from typing import NamedTuple

import jax

from jaxrl_dist.replay import reverb
from jaxrl_dist.replay.sequences import ReplayConfig
from jaxrl_dist.training import evaluator, experience, handshake, telemetry
from jaxrl_dist.training.actors_config import ActorsConfig
from jaxrl_dist.training.collecting import Acting, rows_like, without_environments
from jaxrl_dist.training.columns import Columns, columns_of
from jaxrl_dist.training.flow import WHOLE_BYTES, Flow
from jaxrl_dist.training.on_device import Setting
from jaxrl_dist.training.parameters import published_like
from jaxrl_dist.types import Trajectory


class Wiring(NamedTuple):
    """What the processes of a run send each other."""

    flow: Flow
    rows_like: Trajectory  # [T + 1, 1, ...] shapes of a rollout of one environment
    acting_like: Acting  # shapes of what acting takes
    row: Columns  # of experience
    published: Columns  # parameters
    requests: Columns  # of evaluations
    results: Columns  # of evaluations
    tables: tuple[reverb.Table, ...]
    greeting: dict[str, str]  # what all must agree on, in words


def wire(
    setting: Setting,
    flow: Flow,
    config: ActorsConfig,
    replay: ReplayConfig | None,
    *,
    name: str,
    num_episodes: int,
) -> Wiring:
    """Finds the columns and tables of a run; nothing is computed.

    Args:
        setting: the run.
        flow: how its experience flows.
        config: of the runtime.
        replay: what the agent learns from, if it keeps experience.
        name: of the experiment.
        num_episodes: of each evaluation.
    """
    agent, normaliser = setting.agent, setting.normaliser

    def make_acting() -> Acting:
        params = agent.acting_params(agent.init(jax.random.key(0)))
        return Acting(params, without_environments(normaliser.init(1)))

    acting_like = jax.eval_shape(make_acting)
    rows = rows_like(setting, 1)
    keeps_returns = normaliser.init(1) != ()
    row = columns_of(experience.row_like(rows, keeps_returns))
    small = row.num_bytes * flow.item_rows <= WHOLE_BYTES
    flow = flow._replace(whole=small or flow.kind != "replay")
    published = columns_of(
        published_like(acting_like),
        # Not the statistics: a mean far from 0 would move by deviations.
        in_bfloat16="arrays.params" if config.bfloat16_parameters else None,
    )
    requests = evaluator.request_columns(acting_like)
    results = evaluator.result_columns(num_episodes)
    tables = [
        *experience.experience_tables(flow, config, replay, row),
        experience.newest(experience.PARAMETERS, published.signature(1)),
        experience.newest(experience.HANDSHAKE, experience.bytes_signature()),
        experience.messages(experience.TO_EVALUATE, requests.signature(1)),
        experience.messages(experience.EVALUATIONS, results.signature(1)),
        experience.messages(experience.TELEMETRY, telemetry.COLUMNS.signature(1)),
    ]
    return Wiring(
        flow=flow,
        rows_like=rows,
        acting_like=acting_like,
        row=row,
        published=published,
        requests=requests,
        results=results,
        tables=tuple(tables),
        greeting=handshake.describe(name, setting.environment.spec),
    )
