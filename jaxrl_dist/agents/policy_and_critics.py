"""The learner of every agent with a policy and critics that learn from replay.

SAC, TD3 and discrete SAC differ in their objective and in how they act, not here.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxrl_dist import losses
from jaxrl_dist.agents.base import masked_means, n_step_transitions, over_steps
from jaxrl_dist.agents.flat import layout_of, soft_update, step_along
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.checks import check_above, check_at_least, check_in_range
from jaxrl_dist.types import Agent, Params, Sample, UpdateInfo

ADAM = OptimizerConfig(
    learning_rate=3e-4, anneal=False, max_gradient_norm=None, epsilon=1e-8
)


@dataclasses.dataclass(frozen=True)
class PolicyAndCriticsAgentConfig:
    """Settings that all agents with a policy and critics share.

    Attributes:
        optimizer: gradient step of the critics.
        actor_optimizer: gradient step of the policy and of what belongs to it.
        gamma: discount per environment step, in [0, 1].
        n_step: rewards that count before the value of what was reached, from 1.
        target_step_size: how far the target networks move towards the learner's (tau),
            in (0, 1].

    Raises:
        ValueError: a setting is out of its range.
    """

    optimizer: OptimizerConfig = ADAM
    actor_optimizer: OptimizerConfig = ADAM
    gamma: float = 0.99
    n_step: int = 1
    target_step_size: float = 0.005

    def __post_init__(self) -> None:
        check_in_range(0, 1, gamma=self.gamma, target_step_size=self.target_step_size)
        check_above(0, target_step_size=self.target_step_size)
        check_at_least(1, n_step=self.n_step)


class ActorAndCritics(NamedTuple):
    """Something of each of the two parts that learn from losses of their own."""

    actor: Any  # of the policy and what belongs to it, such as a temperature
    critics: Any


class Objective(NamedTuple):
    """What makes one agent with a policy and critics different from another.

    `params` and `target` are ActorAndCritics of trees. The learner sees to it that
    errors teach the critics alone, and actor losses the actor.
    """

    init: Callable  # (key) to params
    noise: Callable  # (key, NStep) to the random numbers of one update
    errors: Callable  # (params, target, NStep [B], noise) to the critics' TD errors
    # [B, K] in reward units, and terms, name to [B]
    actor_losses: Callable  # (params, NStep [B], noise) to losses [B], and terms
    target_actor: bool = False  # whether `target.actor` is looked at; () otherwise


class ActingParams(NamedTuple):
    """What a policy acts with."""

    policy: Params
    num_updates: jax.Array  # [] int32; at 0, actions are uniformly random


class Acting(NamedTuple):
    """How an agent acts: functions of an `Agent`."""

    initial_memory: Callable
    draw: Callable
    act: Callable  # its params are ActingParams


class PolicyAndCriticsState(NamedTuple):
    """All that changes while the agent learns; a checkpoint holds exactly this."""

    params: ActorAndCritics  # [P] and [C], each one array after another
    target: ActorAndCritics  # () or [P], and [C]
    opt_state: ActorAndCritics
    num_updates: jax.Array  # [] int32


class Learner(NamedTuple):
    """What the functions of a learner have in common."""

    config: PolicyAndCriticsAgentConfig
    objective: Objective
    layouts: ActorAndCritics  # Flat, of each part
    optimizers: ActorAndCritics
    actor_period: int
    axis_name: str | None


def make_agent(
    config: PolicyAndCriticsAgentConfig,
    objective: Objective,
    acting: Acting,
    total_updates: int,
    *,
    actor_period_updates: int = 1,
    axis_name: str | None = None,
) -> Agent:
    """Builds an agent from what is special about it.

    Args:
        config: settings of the learner.
        objective: parameters, errors and losses.
        acting: how it acts; the policy's parameters are `actor.policy`.
        total_updates: of the whole run, over which step sizes anneal.
        actor_period_updates: updates of the critics for each of the actor and of the
            target networks, from 1.
        axis_name: device axis over which gradients are averaged; None for one device.

    Returns:
        The agent's pure functions. `update` takes a Sample of n_step + 1 rows, and
        answers the mean size of the critics' errors as priorities.
    """
    shapes = jax.eval_shape(objective.init, jax.random.key(0))
    actor_updates = max(1, total_updates // actor_period_updates)
    learner = Learner(
        config,
        objective,
        layouts=ActorAndCritics(*map(layout_of, shapes)),
        optimizers=ActorAndCritics(
            config.actor_optimizer.build(actor_updates),
            config.optimizer.build(total_updates),
        ),
        actor_period=actor_period_updates,
        axis_name=axis_name,
    )

    def acting_params(state: PolicyAndCriticsState) -> ActingParams:
        actor = learner.layouts.actor.unravel(state.params.actor)
        return ActingParams(actor.policy, state.num_updates)

    gradients = functools.partial(find_gradients, learner)
    apply_gradients = functools.partial(take_step, learner)

    def update(
        state: PolicyAndCriticsState, sample: Sample, key: jax.Array
    ) -> tuple[PolicyAndCriticsState, UpdateInfo]:
        grads, info = gradients(state, sample, key)
        return apply_gradients(state, grads), info

    return Agent(
        init=functools.partial(init_state, learner),
        acting_params=acting_params,
        initial_memory=acting.initial_memory,
        draw=acting.draw,
        act=acting.act,
        update=update,
        gradients=gradients,
        apply_gradients=apply_gradients,
        sequence_length=config.n_step + 1,
    )


def init_state(learner: Learner, key: jax.Array) -> PolicyAndCriticsState:
    """Makes a fresh state, whose target networks are copies."""
    trees = learner.objective.init(key)
    params = ActorAndCritics(
        *(x.ravel(tree) for x, tree in zip(learner.layouts, trees, strict=True))
    )
    opt_state = ActorAndCritics(
        *(x.init(part) for x, part in zip(learner.optimizers, params, strict=True))
    )
    # Copies, because the state is donated and a buffer can be donated only once.
    target = watched(learner, jax.tree.map(jnp.copy, params))
    return PolicyAndCriticsState(params, target, opt_state, jnp.zeros((), jnp.int32))


def watched(learner: Learner, params: ActorAndCritics) -> ActorAndCritics:
    """Those parameters of which there are target networks."""
    return params if learner.objective.target_actor else params._replace(actor=())


def if_actor_is_due(
    learner: Learner,
    state: PolicyAndCriticsState,
    now: Callable[[], Any],
    otherwise: Callable[[], Any],
) -> Any:
    """Does one thing in updates of the actor, and another in those between them."""
    if learner.actor_period == 1:
        return now()
    due = (state.num_updates + 1) % learner.actor_period == 0
    return jax.lax.cond(due, now, otherwise)


def find_gradients(
    learner: Learner, state: PolicyAndCriticsState, sample: Sample, key: jax.Array
) -> tuple[ActorAndCritics, UpdateInfo]:
    """Finds the gradients of a sample, [P] and [C], averaged over devices."""
    config, objective, layouts = learner.config, learner.objective, learner.layouts
    steps = n_step_transitions(sample.trajectory, config.gamma)
    noise = objective.noise(key, steps)
    actor, critics = (
        x.unravel(part) for x, part in zip(layouts, state.params, strict=True)
    )
    target = ActorAndCritics(
        layouts.actor.unravel(state.target.actor) if objective.target_actor else (),
        layouts.critics.unravel(state.target.critics),
    )

    def critics_loss(flat: jax.Array) -> tuple[jax.Array, Any]:
        params = ActorAndCritics(actor, layouts.critics.unravel(flat))
        errors, terms = objective.errors(params, target, steps, noise)
        critic_losses = losses.squared_loss(errors=errors).sum(axis=-1)
        # Importance weights scale gradients; the loss that is shown is without.
        terms = masked_means(terms | {"critic_loss": critic_losses}, steps.mask)
        loss = jnp.mean(steps.mask * sample.weight * critic_losses)
        return loss, (errors, terms)

    def actor_loss(flat: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        params = ActorAndCritics(layouts.actor.unravel(flat), critics)
        actor_losses, terms = objective.actor_losses(params, steps, noise)
        # Times the period, so that their mean over all updates is right.
        terms = {name: learner.actor_period * x for name, x in terms.items()}
        return jnp.mean(steps.mask * actor_losses), masked_means(terms, steps.mask)

    def actor_gradients() -> tuple[jax.Array, dict[str, jax.Array]]:
        return jax.grad(actor_loss, has_aux=True)(state.params.actor)

    def nothing() -> tuple[jax.Array, dict[str, jax.Array]]:
        shapes = jax.eval_shape(actor_gradients)
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

    grads, (errors, terms) = jax.grad(critics_loss, has_aux=True)(state.params.critics)
    actor_grads, actor_terms = if_actor_is_due(learner, state, actor_gradients, nothing)
    both = ActorAndCritics(actor_grads, grads)
    both, metrics = over_steps(
        (both, terms | actor_terms), steps.mask, learner.axis_name
    )
    sizes = jnp.abs(errors).mean(axis=-1)
    return both, UpdateInfo(steps.mask * sizes, metrics)


def take_step(
    learner: Learner, state: PolicyAndCriticsState, grads: ActorAndCritics
) -> PolicyAndCriticsState:
    """Steps along gradients, and moves the target networks."""
    params, opt_state = state.params, state.opt_state
    critics, critics_opt_state = step_along(
        learner.optimizers.critics, grads.critics, opt_state.critics, params.critics
    )

    def step_actor() -> tuple[jax.Array, optax.OptState, ActorAndCritics]:
        actor, actor_opt_state = step_along(
            learner.optimizers.actor, grads.actor, opt_state.actor, params.actor
        )
        moved = watched(learner, ActorAndCritics(actor, critics))
        target = soft_update(state.target, moved, learner.config.target_step_size)
        return actor, actor_opt_state, target

    def keep() -> tuple[jax.Array, optax.OptState, ActorAndCritics]:
        return params.actor, opt_state.actor, state.target

    actor, actor_opt_state, target = if_actor_is_due(learner, state, step_actor, keep)
    return PolicyAndCriticsState(
        ActorAndCritics(actor, critics),
        target,
        ActorAndCritics(actor_opt_state, critics_opt_state),
        state.num_updates + 1,
    )
