"""The learner of every discrete value-based agent that learns from replay.

DQN, C51, QR-DQN, IQN and Rainbow differ in their objective, not here.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxrl_dist.agents.base import (
    average_over,
    mask_weights,
    n_step_transitions,
)
from jaxrl_dist.agents.exploration import (
    Acting,
    ExplorationConfig,
    epsilon_at,
    make_act,
    make_draw,
    placed,
)
from jaxrl_dist.agents.flat import Flat, layout_of
from jaxrl_dist.agents.lasting_actions import explorer
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.checks import check_at_least, check_in_range
from jaxrl_dist.types import (
    Agent,
    Sample,
    Trajectory,
    UpdateInfo,
)


@dataclasses.dataclass(frozen=True)
class ValueConfig:
    """Settings that all value-based agents share.

    Attributes:
        optimizer: gradient step.
        gamma: discount per environment step, in [0, 1].
        n_step: rewards that count before the value of what was reached, from 1.
        double: the online network picks the next action, and the target network values
            it; otherwise the target network does both.
        target_period_updates: updates between two steps of the target network towards
            the online one, from 1.
        target_step_size: how far each of them goes, in (0, 1]; 1 copies.
        exploration: share of random actions; a noisy network can do without any.

    Raises:
        ValueError: a setting is out of its range.

    Source:
        Mnih et al. 2015, doi:10.1038/nature14236; double: van Hasselt et al. 2016,
        arXiv:1509.06461.
    """

    optimizer: OptimizerConfig = OptimizerConfig(anneal=False, max_gradient_norm=10.0)
    gamma: float = 0.99
    n_step: int = 1
    double: bool = False
    target_period_updates: int = 500
    target_step_size: float = 1.0
    exploration: ExplorationConfig = ExplorationConfig()

    def __post_init__(self) -> None:
        check_in_range(0, 1, gamma=self.gamma)
        check_at_least(
            1, n_step=self.n_step, target_period_updates=self.target_period_updates
        )
        if not 0 < self.target_step_size <= 1:
            raise ValueError(
                f"target_step_size must be in (0, 1], got {self.target_step_size}"
            )


class ValueState(NamedTuple):
    """All that changes while the agent learns; a checkpoint holds exactly this."""

    params: jax.Array  # [P] of the online network, one after another
    target_params: jax.Array  # [P]
    opt_state: optax.OptState
    num_updates: jax.Array  # [] int32


class ReturnDistribution(NamedTuple):
    """Distributions of returns, one for each action."""

    returns: jax.Array  # [B, A, N] in reward units
    probabilities: jax.Array  # [B, A, N] of these returns; they add up to 1


class Objective(NamedTuple):
    """What makes one value-based agent different from another."""

    init: Callable  # (key) to params
    draw: Callable  # (key) to the random numbers of one pass, shared by its batch
    q_values: Callable  # (params, observation [B, ...], drawn) to [B, A] in reward
    # units; with None drawn, nothing is left to chance
    loss: Callable  # (params, target params, NStep [B, ...], key) to (losses [B],
    # errors [B] in the unit of priorities, metrics)
    distribution: Callable | None = None  # (params, observation [B, ...]) to a
    # ReturnDistribution; None where only the mean is learned


def make_value_agent(
    config: ValueConfig,
    objective: Objective,
    total_updates: int,
    axis_name: str | None = None,
) -> Agent:
    """Builds a value-based agent from what is special about it.

    Args:
        config: settings of the learner.
        objective: parameters, action values and losses.
        total_updates: of the whole run, over which exploration decays and the step
            size anneals.
        axis_name: device axis over which gradients are averaged; None for one device.

    Returns:
        The agent's pure functions. `update` takes a Sample of n_step + 1 rows, and
        answers the size of each error as its priority.
    """
    learner = make_learner(
        config,
        objective.init,
        lambda layout: make_gradients(config, objective, layout, axis_name),
        total_updates,
    )
    exploring = explorer(
        config.exploration,
        make_draw(objective.draw),
        make_act(config.exploration.ladder, objective.q_values, axis_name),
        axis_name,
    )
    return Agent(
        **learner._asdict(),
        **exploring._asdict(),
        sequence_length=config.n_step + 1,
        distribution=make_distribution(objective),
        initial_priorities=make_initial_priorities(config, objective),
        placed=placed,
    )


class Learner(NamedTuple):
    """The part of an `Agent` that is the same however gradients are found."""

    init: Callable
    acting_params: Callable
    update: Callable
    gradients: Callable
    apply_gradients: Callable


def make_learner(
    config: ValueConfig,
    init_params: Callable,
    make_gradients: Callable[[Flat], Callable],
    total_updates: int,
) -> Learner:
    """Builds what a value-based agent does with its gradients.

    Args:
        config: settings of the learner.
        init_params: (key) to params.
        make_gradients: from the layout of parameters to (ValueState, Sample, key) to
            gradients [P] and UpdateInfo.
        total_updates: of the whole run.
    """
    layout = layout_of(jax.eval_shape(init_params, jax.random.key(0)))
    optimizer = config.optimizer.build(total_updates)
    find_gradients = make_gradients(layout)

    def init(key: jax.Array) -> ValueState:
        params = layout.ravel(init_params(key))
        # A copy, because the state is donated and a buffer can be donated only once.
        target_params = jnp.copy(params)
        return ValueState(
            params, target_params, optimizer.init(params), jnp.zeros((), jnp.int32)
        )

    def acting_params(state: ValueState) -> Acting:
        progress = state.num_updates / total_updates
        epsilon = epsilon_at(config.exploration, progress)
        return Acting(layout.unravel(state.params), epsilon)

    def gradients(
        state: ValueState, sample: Sample, key: jax.Array
    ) -> tuple[jax.Array, UpdateInfo]:
        grads, info = find_gradients(state, sample, key)
        info.metrics["epsilon"] = acting_params(state).epsilon
        return grads, info

    def apply_gradients(state: ValueState, grads: jax.Array) -> ValueState:
        steps: Any = optimizer.update(grads, state.opt_state, state.params)
        params, opt_state = state.params + steps[0], steps[1]
        num_updates = state.num_updates + 1
        target_params = moved_target(
            config, state.target_params, params=params, num_updates=num_updates
        )
        return ValueState(params, target_params, opt_state, num_updates)

    def update(
        state: ValueState, sample: Sample, key: jax.Array
    ) -> tuple[ValueState, UpdateInfo]:
        grads, info = gradients(state, sample, key)
        return apply_gradients(state, grads), info

    return Learner(init, acting_params, update, gradients, apply_gradients)


def make_distribution(objective: Objective) -> Callable | None:
    """Builds (acting, observation [B, ...]) to ReturnDistribution; None without one."""
    find = objective.distribution
    if find is None:
        return None
    return lambda acting, observation: find(acting.params, observation)


def make_initial_priorities(config: ValueConfig, objective: Objective) -> Callable:
    """Builds the function by which actors rank what they send, [B]; see `Agent`.

    Source:
        Horgan et al. 2018, section 3, arXiv:1803.00933.
    """

    def initial_priorities(
        acting: Acting, rows: Trajectory, key: jax.Array
    ) -> jax.Array:
        steps = n_step_transitions(rows, config.gamma)
        _, errors, _ = objective.loss(acting.params, acting.params, steps, key)
        return steps.mask * jnp.abs(errors)

    return initial_priorities


def make_gradients(
    config: ValueConfig, objective: Objective, layout: Flat, axis_name: str | None
) -> Callable[..., tuple[jax.Array, UpdateInfo]]:
    """Builds the function that finds the gradients of a sample, [P]."""

    def gradients(
        state: ValueState, sample: Sample, key: jax.Array
    ) -> tuple[jax.Array, UpdateInfo]:
        steps = n_step_transitions(sample.trajectory, config.gamma)
        weights = mask_weights(steps.mask, axis_name)
        target_params = layout.unravel(state.target_params)

        def loss(params: jax.Array) -> tuple[jax.Array, Any]:
            losses, errors, metrics = objective.loss(
                layout.unravel(params), target_params, steps, key
            )
            # Importance weights scale gradients; the loss that is shown is without.
            shown = metrics | {"loss": jnp.mean(weights * losses)}
            return jnp.mean(weights * sample.weight * losses), (errors, shown)

        grads, (errors, metrics) = jax.grad(loss, has_aux=True)(state.params)
        grads = average_over(grads, axis_name)
        metrics["gradient_norm"] = jnp.linalg.norm(grads)
        return grads, UpdateInfo(steps.mask * jnp.abs(errors), metrics)

    return gradients


def moved_target(
    config: ValueConfig,
    target_params: jax.Array,
    *,
    params: jax.Array,
    num_updates: jax.Array,
) -> jax.Array:
    """Moves the target network towards the online one, when it is due.

    Args:
        config: how far, and how often.
        target_params: [P] as they were.
        params: [P] of the online network.
        num_updates: [] int32, made so far.

    Returns:
        [P] as they are now.
    """
    moved = params
    if config.target_step_size < 1.0:
        moved = target_params + config.target_step_size * (params - target_params)
    if config.target_period_updates == 1:
        return moved
    due = num_updates % config.target_period_updates == 0
    return jnp.where(due, moved, target_params)
