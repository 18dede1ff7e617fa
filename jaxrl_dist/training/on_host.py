"""Policies of a run that act in environments on the host."""

from collections.abc import Callable

import jax
import numpy as np

from jaxrl_dist.environments.build import HostConfig
from jaxrl_dist.evaluation import evaluate_on_host
from jaxrl_dist.rollout_on_host import compile_acting
from jaxrl_dist.training.on_device import EVALUATION, Setting, normalised
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


def make_host_player(
    setting: Setting, config: HostConfig, *, num_episodes: int, greedy: bool = True
) -> Callable[..., np.ndarray]:
    """Compiles whole episodes with given parameters, and makes their environments.

    Args:
        setting: the run.
        config: of the environments; as many as it says play side by side, or fewer.
        num_episodes: at least, from 1: each environment plays the same number.
        greedy: take the most likely action instead of a sample.

    Returns:
        ((params, statistics), seed, number of the evaluation, each_step) to returns
        [episodes], environment reward units; each_step is called after every step.

    Raises:
        ValueError: the environments cannot be built.
    """
    environment = config.build(min(config.num_envs, num_episodes))
    acting = compile_acting(seeing(setting))

    def play(
        params: tuple[Params, ArrayTree],
        seed: int,
        number: int,
        each_step: Callable[[], None] = lambda: None,
    ) -> np.ndarray:
        episodes = evaluate_on_host(
            acting,
            environment,
            jax.device_put(params),
            seed=seed_of(seed, EVALUATION, number),
            episodes_per_env=-(-num_episodes // environment.num_envs),
            greedy=greedy,
            each_step=each_step,
        )
        return np.asarray(episodes.returns).ravel()

    return play


def seed_of(*numbers: int) -> int:
    """One seed out of several numbers, each at least 0.

    Returns:
        A number below 2^30, so that environments may count on from it.
    """
    (word,) = np.random.SeedSequence(numbers).generate_state(1)
    return int(word) >> 2
