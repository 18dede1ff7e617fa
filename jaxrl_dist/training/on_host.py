"""Policies of a run that act in environments on the host."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist.environments.build import HostConfig
from jaxrl_dist.environments.host import HostEnvironment, idle
from jaxrl_dist.evaluation import evaluate_on_host
from jaxrl_dist.rollout_on_host import compile_acting, rollout_on_host, start_on_host
from jaxrl_dist.training.across_devices import EVALUATION
from jaxrl_dist.training.collecting import (
    Acting,
    Collect,
    Collected,
    CollectorState,
    Share,
    actor_params,
    after_rollout,
    first_state,
)
from jaxrl_dist.training.flow import Flow
from jaxrl_dist.training.on_device import Setting, normalised
from jaxrl_dist.types import Agent, ArrayTree, Params, TimeStep


def seeing(setting: Setting) -> Agent:
    """The agent of a run, whose parameters come with statistics of observations.

    Args:
        setting: the run.

    Returns:
        The agent; its `act` takes (params, statistics) as params.
    """

    def act(
        acting: tuple[Params, ArrayTree],
        memory: ArrayTree,
        time_step: TimeStep,
        noise: ArrayTree,
    ) -> tuple[ArrayTree, jax.Array, ArrayTree]:
        params, statistics = acting
        agent = normalised(setting.agent, setting.normaliser, statistics)
        return agent.act(params, memory, time_step, noise)

    return setting.agent._replace(act=act)


def make_host_collect(
    setting: Setting,
    flow: Flow,
    share: Share,
    key: jax.Array,
    acting_like: Acting,
    *,
    environment: HostEnvironment,
) -> Collect:
    """Compiles the rollouts of environments on the host.

    Args:
        setting: the run; its environment stands in for those on the host.
        flow: how experience gets to the learner.
        share: which environments are this actor's.
        key: random key of the environments and of what the policy draws; used up.
        acting_like: shapes of what acting takes.
        environment: as many of them as the share says; the caller's to close.
    """
    functions = compile_acting(seeing(setting))
    place = jax.jit(lambda params: actor_params(setting.agent, params, share))
    after = jax.jit(lambda *arguments: after_rollout(setting, flow, *arguments))

    start = jax.jit(lambda key: first_state(setting, flow, share, key))

    def begin(environment: HostEnvironment = environment) -> CollectorState:
        seed = int(jax.random.bits(key)) >> 2  # environments count on from it
        return start(key)._replace(rollout=start_on_host(functions, environment, seed))

    def run(
        acting: Acting,
        state: CollectorState,
        environment: HostEnvironment = environment,
    ) -> tuple[CollectorState, Collected]:
        acting = jax.device_put(acting)
        now, rows = rollout_on_host(
            functions,
            environment,
            (place(acting.params), acting.normaliser),
            state.rollout,
            num_steps=setting.rollout_steps,
        )
        # What nobody looks at there need not go to the device once more.
        looked_at = rows if flow.ranked else rows._replace(observation=(), extras=())
        state, collected = after(acting, state._replace(rollout=()), looked_at)
        return state._replace(rollout=now), collected._replace(rows=rows)

    instead = idle(environment.spec, share.size)
    jax.block_until_ready(run(_zeros(acting_like), begin(instead), instead))
    return Collect(begin, run)


def players(config: HostConfig, num_episodes: int) -> HostEnvironment:
    """Environments for a number of episodes: as many as there are, or fewer.

    Raises:
        ValueError: the environments cannot be built.
    """
    return config.build(min(config.num_envs, num_episodes))


def make_host_player(
    setting: Setting,
    environment: HostEnvironment,
    acting_like: tuple[Params, ArrayTree],
    *,
    num_episodes: int,
    greedy: bool = True,
) -> Callable[..., np.ndarray]:
    """Compiles whole episodes with given parameters.

    Args:
        setting: the run.
        environment: of `players`; the caller's to close.
        acting_like: shapes of (params, statistics), or these themselves.
        num_episodes: from 1, spread evenly over the environments.
        greedy: take the most likely action instead of a sample.

    Returns:
        ((params, statistics), seed, number of the evaluation, each_step) to returns
        [num_episodes], environment reward units; each_step is called after every step.
    """
    acting = compile_acting(seeing(setting))
    number = environment.num_envs
    instead = idle(environment.spec, number)

    def placed(given: tuple[Params, ArrayTree]) -> tuple[Params, ArrayTree]:
        params, statistics = given
        whole = Share(0, number, number)
        return actor_params(setting.agent, params, whole), statistics

    zeros = placed(_zeros(acting_like))
    evaluate_on_host(acting, instead, zeros, seed=0, greedy=greedy, max_steps=1)

    def play(
        params: tuple[Params, ArrayTree],
        seed: int,
        evaluation: int,
        each_step: Callable[[], None] = lambda: None,
    ) -> np.ndarray:
        episodes = evaluate_on_host(
            acting,
            environment,
            jax.device_put(placed(params)),
            seed=seed_of(seed, EVALUATION, evaluation),
            episodes_per_env=-(-num_episodes // number),
            greedy=greedy,
            each_step=each_step,
        )
        return np.asarray(episodes.returns).ravel()[:num_episodes]

    return play


def _zeros(like: ArrayTree) -> ArrayTree:
    """Arrays on the device, as they are given once acting begins."""
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)


def seed_of(*numbers: int) -> int:
    """One seed out of several numbers, each at least 0.

    Returns:
        A number below 2^30, so that environments may count on from it.
    """
    (word,) = np.random.SeedSequence(numbers).generate_state(1)
    return int(word) >> 2
