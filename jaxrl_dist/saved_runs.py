"""A run that lies in a folder: what it is, its checkpoints, and how well it plays."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from jaxrl_dist.checkpoints import Checkpoints
from jaxrl_dist.checks import check_at_least, check_in_range
from jaxrl_dist.compiling import state_shapes
from jaxrl_dist.environments.build import HostConfig
from jaxrl_dist.experiment import MAX_SEED, Experiment, Plan, plan
from jaxrl_dist.run_folder import RunFolder
from jaxrl_dist.training import reporting
from jaxrl_dist.training.across_devices import make_evaluate
from jaxrl_dist.training.collecting import Share, actor_params
from jaxrl_dist.training.on_device import TrainState, normalised
from jaxrl_dist.training.on_host import make_host_player, players
from jaxrl_dist.types import ArrayTree, TimeStep


@dataclasses.dataclass(frozen=True)
class NamedExperiment:
    """What a run's `config.json` holds.

    Attributes:
        name: of the experiment's module.
        experiment: its settings, with the number of devices that the run has.
    """

    name: str
    experiment: Experiment


def read(folder: RunFolder) -> NamedExperiment:
    """Reads what a run is.

    Raises:
        ValueError: its configuration is damaged, or not of a run of an experiment.
    """
    named = folder.read_config()
    if not isinstance(named, NamedExperiment):
        raise ValueError(f"{folder.config} does not describe a run of an experiment")
    return named


def checkpoints_of(folder: RunFolder, experiment: Experiment) -> Checkpoints:
    """The checkpoints of a run."""
    return Checkpoints(folder.checkpoints, experiment.budget.keep_checkpoints)


class Restored(NamedTuple):
    """A run as one of its checkpoints has it."""

    named: NamedExperiment
    plan: Plan
    state: TrainState  # [D, S, ...]
    step: int  # environment steps of one seed


def restore(folder: RunFolder, step: int | None = None) -> Restored:
    """Reads a run back, to look at it.

    Args:
        folder: of the run.
        step: of the checkpoint; None for the latest good one.

    Raises:
        ValueError: the folder is no run's, or holds another experiment's checkpoint.
        FileNotFoundError: there is no such checkpoint.
        DamagedCheckpointError: the checkpoint is damaged.
    """
    named = read(folder)
    built = plan(named.experiment)
    state, info = checkpoints_of(folder, named.experiment).restore(
        step, like=state_shapes(named.experiment, built)
    )
    return Restored(named, built, state, info.step)


def evaluate(
    restored: Restored, *, episodes: int, greedy: bool, seed: int
) -> np.ndarray:
    """Plays whole episodes with a run's parameters.

    Args:
        restored: of `restore`.
        episodes: of each seed of the run, at least, from 1.
        greedy: take the most likely action instead of a sample.
        seed: of the evaluation, from 0 to 2^31 - 1; the run's first seed plays with
            it, and the others with those that follow.

    Returns:
        The returns [S, episodes], environment reward units.

    Raises:
        ValueError: `episodes` or `seed` is out of its range.
    """
    check_at_least(1, episodes=episodes)
    check_in_range(0, MAX_SEED, seed=seed)
    environment = restored.named.experiment.environment
    if isinstance(environment, HostConfig):
        acting = _first_seed(restored)
        with players(environment, episodes) as host:
            play_on_host = make_host_player(
                restored.plan.setting,
                host,
                acting,
                num_episodes=episodes,
                greedy=greedy,
            )
            return play_on_host(acting, seed, 0)[None]
    play = make_evaluate(
        restored.plan.setting,
        num_devices=restored.plan.num_devices,
        num_seeds=restored.named.experiment.num_seeds,
        num_episodes=episodes,
        greedy=greedy,
    )
    answer = play(restored.state, np.int32(seed), np.int32(0))
    return reporting.by_seed(jax.device_get(answer.returns))


def policy(
    restored: Restored, *, greedy: bool
) -> tuple[Callable[..., tuple[ArrayTree, jax.Array]], ArrayTree]:
    """The policy of a run's first seed, for one environment.

    Args:
        restored: of `restore`.
        greedy: take the most likely action instead of a sample.

    Returns:
        (memory, TimeStep [1, ...], key) to (memory, action [1, ...]), and the memory
        before an episode.
    """
    setting = restored.plan.setting
    params, statistics = _first_seed(restored)
    params = actor_params(setting.agent, params, Share(0, 1, 1))
    agent = normalised(setting.agent, setting.normaliser, statistics)

    def act(
        memory: ArrayTree, time_step: TimeStep, key: jax.Array
    ) -> tuple[ArrayTree, jax.Array]:
        noise = None if greedy else agent.draw(key, 1)
        memory, action, _ = agent.act(params, memory, time_step, noise)
        return memory, action

    return act, agent.initial_memory(1)


def expected_returns(
    restored: Restored,
) -> Callable[[TimeStep], tuple[jax.Array, jax.Array]]:
    """What a run's first seed expects each action to earn, for one environment.

    Args:
        restored: of `restore`.

    Returns:
        TimeStep [1, ...] to returns and their probabilities, [1, A, N] each. Returns
        are discounted, in reward units as the agent sees them.

    Raises:
        ValueError: the agent learns no distribution of returns.
    """
    setting = restored.plan.setting
    distribution = setting.agent.distribution
    if distribution is None:
        agent = type(restored.named.experiment.agent).__name__.removesuffix("Config")
        raise ValueError(
            f"this {agent} learns no distribution of returns; C51, QR-DQN, IQN and a "
            "distributional Rainbow do"
        )
    params, statistics = _first_seed(restored)

    def returns(time_step: TimeStep) -> tuple[jax.Array, jax.Array]:
        observation = setting.normaliser.observations(statistics, time_step.observation)
        return distribution(params, observation)

    return returns


def _first_seed(restored: Restored) -> tuple[ArrayTree, ArrayTree]:
    """What the first seed acts with: its parameters and observation statistics."""
    state = restored.state
    agent_state, statistics = jax.tree.map(
        lambda x: x[0, 0], (state.agent, state.normaliser)
    )
    return restored.plan.setting.agent.acting_params(agent_state), statistics
