"""Returns of a fixed policy over whole episodes, apart from any training data."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist import rollout
from jaxrl_dist.environments.base import BatchedEnvironment
from jaxrl_dist.environments.host import HostEnvironment
from jaxrl_dist.rollout_on_host import Acting, seen_of, start_on_host
from jaxrl_dist.types import Agent, Params


class Episodes(NamedTuple):
    """Episodes of a fixed policy; each environment contributed the same number."""

    returns: jax.Array  # [E, B] undiscounted, environment reward units
    lengths: jax.Array  # [E, B] int32, environment steps
    finished: jax.Array  # [E, B] bool; False where max_steps cut the evaluation short:
    # what was reached until then counts, and 0 of episodes not begun


class Evaluation(NamedTuple):
    """Where an evaluation stands."""

    rollout: rollout.RolloutState
    episodes: Episodes
    episode: jax.Array  # [B] int32, which episode each environment is in
    return_: jax.Array  # [B] of the episode so far
    length: jax.Array  # [B] int32, of the episode so far
    steps: jax.Array  # [] int32


def evaluate(
    agent: Agent,
    environment: BatchedEnvironment,
    params: Params,
    key: jax.Array,
    *,
    num_envs: int,
    episodes_per_env: int = 1,
    greedy: bool = True,
    max_steps: int = 100_000,
) -> Episodes:
    """Plays whole episodes with fixed parameters.

    Each environment contributes its first episodes, a fixed number of them, so that
    short episodes are not favoured, as they are when counting the first to finish.

    Args:
        agent: whose policy acts.
        environment: played from fresh resets.
        params: of the policy.
        key: random key; used up.
        num_envs: B, environments side by side.
        episodes_per_env: E, episodes of each.
        greedy: take the most likely action instead of a sample.
        max_steps: rows of each environment, resets included, after which an unfinished
            episode is given up.

    Returns:
        [E, B] episodes.
    """
    shape = (episodes_per_env, num_envs)
    number = jnp.arange(episodes_per_env)[:, None]
    nothing = jnp.zeros(num_envs, jnp.int32)

    def unfinished(now: Evaluation) -> jax.Array:
        return jnp.any(now.episode < episodes_per_env) & (now.steps < max_steps)

    def one_step(now: Evaluation) -> Evaluation:
        state = now.rollout
        key, key_act, key_env = jax.random.split(state.key, 3)
        noise = None if greedy else agent.draw(key_act, num_envs)
        chance = environment.draw(key_env, num_envs)
        memory, action, _ = agent.act(params, state.memory, state.time_step, noise)
        env_state, row = environment.step(state.env_state, action, chance)
        # A first row resets: its reward is 0, and nothing of it belongs to an episode.
        return_ = now.return_ + row.reward
        length = now.length + ~row.is_first
        here = (number == now.episode[None]) & row.is_last[None]
        episodes = Episodes(
            jnp.where(here, return_[None], now.episodes.returns),
            jnp.where(here, length[None], now.episodes.lengths),
            here | now.episodes.finished,
        )
        return Evaluation(
            rollout.RolloutState(env_state, row, memory, key),
            episodes,
            now.episode + row.is_last,
            jnp.where(row.is_last, 0.0, return_),
            jnp.where(row.is_last, 0, length),
            now.steps + 1,
        )

    begin = Evaluation(
        rollout.start(agent, environment, key, num_envs),
        Episodes(jnp.zeros(shape), jnp.zeros(shape, jnp.int32), jnp.zeros(shape, bool)),
        episode=nothing,
        return_=jnp.zeros(num_envs),
        length=nothing,
        steps=jnp.zeros((), jnp.int32),
    )
    end = jax.lax.while_loop(unfinished, one_step, begin)
    under_way = number == end.episode[None]
    return end.episodes._replace(
        returns=jnp.where(under_way, end.return_[None], end.episodes.returns),
        lengths=jnp.where(under_way, end.length[None], end.episodes.lengths),
    )


def evaluate_on_host(
    acting: Acting,
    environment: HostEnvironment,
    params: Params,
    *,
    seed: int,
    episodes_per_env: int = 1,
    greedy: bool = True,
    max_steps: int = 100_000,
    each_step: Callable[[], None] = lambda: None,
) -> Episodes:
    """Plays whole episodes with fixed parameters, in environments on the host.

    Args:
        acting: of `compile_acting`.
        environment: reset first.
        params: of the policy, on its device.
        seed: of the environments and of what a policy that is not greedy draws, from 0.
        episodes_per_env: E, the first episodes of each environment.
        greedy: as for `evaluate`, like the next.
        max_steps: rows of each environment.
        each_step: called after every step.

    Returns:
        [E, B] episodes.
    """
    shape = (episodes_per_env, environment.num_envs)
    returns = np.zeros(shape)  # float64, so that long sums are exact
    lengths = np.zeros(shape, np.int32)
    finished = np.zeros(shape, bool)
    episode = np.zeros(environment.num_envs, np.int32)
    state = start_on_host(acting, environment, seed)
    now, memory, key = state.time_step, state.memory, state.key
    noise = None
    for _ in range(max_steps):
        if not greedy:
            key, drawn = acting.draw(key, 1, environment.num_envs)
            noise = jax.tree.map(lambda x: x[0], drawn)
        memory, action = acting.act(params, memory, seen_of(now), noise)
        now = environment.step(np.asarray(action))
        (counted,) = np.nonzero(episode < episodes_per_env)
        place = episode[counted], counted
        returns[place] += now.reward[counted]
        lengths[place] += ~now.is_first[counted]
        finished[place] = now.is_last[counted]
        episode += now.is_last
        each_step()
        if (episode >= episodes_per_env).all():
            break
    played = (returns.astype(np.float32), lengths, finished)
    return Episodes(*map(jnp.asarray, played))
