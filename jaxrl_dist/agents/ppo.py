"""Proximal policy optimisation: several clipped epochs over each batch of rollouts."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from jaxrl_dist import losses
from jaxrl_dist.agents.actor_critic import (
    ActorCriticState,
    first_memory,
    make_act,
    make_init,
    total_loss,
    values_of_rows,
    weighted_means,
)
from jaxrl_dist.agents.base import average_over, mask_weights, normalise, transitions
from jaxrl_dist.agents.minibatches import learn_from_minibatches, minibatch_order
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.checks import check_above, check_at_least, check_in_range
from jaxrl_dist.networks.actor_critic import ActorCritic
from jaxrl_dist.types import Agent, ArrayTree, Params, Trajectory, UpdateInfo


@dataclasses.dataclass(frozen=True)
class PPOConfig:
    """Settings of PPO.

    Attributes:
        optimizer: gradient step.
        gamma: discount per environment step, in [0, 1].
        lambda_: of generalised advantage estimation, in [0, 1].
        num_epochs: passes over each batch, from 1.
        num_minibatches: gradient steps per pass, from 1; divides the steps of the
            batch, or its environments where the network remembers.
        clip_ratio: how far the probability ratio may move from 1, above 0.
        anneal_clip_ratio: it falls linearly to 0 over the run.
        clip_value: how far values may move from the old ones, in reward units, above 0;
            None leaves them free.
        value_weight: of the value loss, at least 0.
        entropy_weight: of the entropy bonus, at least 0.
        normalise_advantages: to mean 0 and variance 1 over the whole batch.
        target_kl: once a minibatch has moved the policy further than this, in nats, the
            rest of the update is skipped; None never stops. Skipped gradient steps do
            not anneal the step size.

    Raises:
        ValueError: a setting is out of its range.

    Source:
        Schulman et al. 2017, arXiv:1707.06347.
    """

    optimizer: OptimizerConfig = OptimizerConfig()
    gamma: float = 0.99
    lambda_: float = 0.95
    num_epochs: int = 4
    num_minibatches: int = 4
    clip_ratio: float = 0.2
    anneal_clip_ratio: bool = False
    clip_value: float | None = 0.2
    value_weight: float = 0.5
    entropy_weight: float = 0.01
    normalise_advantages: bool = True
    target_kl: float | None = None

    def __post_init__(self) -> None:
        check_in_range(0, 1, gamma=self.gamma, lambda_=self.lambda_)
        check_at_least(
            1, num_epochs=self.num_epochs, num_minibatches=self.num_minibatches
        )
        check_at_least(
            0, value_weight=self.value_weight, entropy_weight=self.entropy_weight
        )
        check_above(0, clip_ratio=self.clip_ratio)
        for name in ("clip_value", "target_kl"):
            if (limit := getattr(self, name)) is not None:
                check_above(0, **{name: limit})

    def build(
        self, network: ActorCritic, total_updates: int, axis_name: str | None = None
    ) -> Agent:
        """Builds the agent.

        Args:
            network: the policy and its values.
            total_updates: batches of the whole run, over which settings anneal.
            axis_name: device axis over which gradients are averaged; None for one.
        """
        gradient_steps = total_updates * self.num_epochs * self.num_minibatches
        optimizer = self.optimizer.build(gradient_steps)

        def update(
            state: ActorCriticState, rows: Trajectory, key: jax.Array
        ) -> tuple[ActorCriticState, UpdateInfo]:
            items = learning_items(self, network, state.params, rows, axis_name)
            clip_ratio = self.clip_ratio
            if self.anneal_clip_ratio:
                clip_ratio *= 1.0 - state.num_updates / total_updates
            order = minibatch_order(
                key,
                num_items=len(items.numbers),
                num_epochs=self.num_epochs,
                num_minibatches=self.num_minibatches,
                unit="environments" if network.is_recurrent else "rows",
            )
            # One flat vector from minibatch to minibatch, instead of a dozen arrays.
            params, unravel = ravel_pytree(state.params)
            start = Progress(params, state.opt_state, jnp.zeros((), bool))
            learn = make_minibatch_step(self, network, unravel, optimizer, axis_name)
            progress, metrics = learn_from_minibatches(
                functools.partial(learn, clip_ratio=clip_ratio), start, items, order
            )
            params = unravel(progress.params)
            state = ActorCriticState(params, progress.opt_state, state.num_updates + 1)
            return state, UpdateInfo((), metrics)

        return Agent(
            init=make_init(network, optimizer),
            acting_params=lambda state: state.params,
            initial_memory=network.initial_memory,
            draw=network.noise,
            act=make_act(network),
            update=update,
        )


class Items(NamedTuple):
    """What to learn from, in any order.

    Without memory, steps [N, ...], N = T * B. With memory, environments [B, T, ...],
    because what a step remembers comes from the steps before it.
    """

    observation: ArrayTree  # [N, ...]
    action: jax.Array  # [N, ...]
    numbers: jax.Array  # [N, 5] the columns of `Numbers`, picked in one gather
    is_first: ArrayTree = ()  # [B, T] bool; () without memory
    memory: ArrayTree = ()  # [B, ...] before the first step; () without memory


class Numbers(NamedTuple):
    """The numbers that are known about each step before the update, [...] each."""

    log_prob: jax.Array  # of the action when it was taken, nats
    value: jax.Array  # reward units
    target: jax.Array  # for the value, reward units
    advantage: jax.Array
    weight: jax.Array  # 0 where the row is no step; of mean 1


class Progress(NamedTuple):
    """What changes from one minibatch to the next."""

    params: jax.Array  # [P] all parameters in one vector
    opt_state: optax.OptState
    stopped: jax.Array  # [] bool; the policy has moved beyond target_kl


def learning_items(
    config: PPOConfig,
    network: ActorCritic,
    params: Params,
    rows: Trajectory,
    axis_name: str | None,
) -> Items:
    """Estimates advantages and targets, and lays steps or environments out in a row."""
    steps = transitions(rows, config.gamma)
    values = values_of_rows(network, params, rows)
    estimates = losses.gae(
        rewards=steps.rewards,
        discounts=steps.discounts,
        values=values[:-1],
        next_values=values[1:],
        ends=steps.ends,
        lambda_=config.lambda_,
    )
    weights = mask_weights(steps.mask, axis_name)
    advantages = estimates.advantages
    if config.normalise_advantages:
        advantages = normalise(advantages, weights, axis_name)
    behaviour = jax.tree.map(lambda x: x[:-1], rows.extras)
    numbers = Numbers(
        log_prob=behaviour.log_prob(steps.actions),
        value=values[:-1],
        target=estimates.targets,
        advantage=advantages,
        weight=weights,
    )
    items = Items(
        observation=jax.tree.map(lambda x: x[:-1], rows.observation),
        action=steps.actions,
        numbers=jnp.stack(numbers, axis=-1),
        is_first=rows.is_first[:-1] if network.is_recurrent else (),
    )
    if network.is_recurrent:
        return _swap_time(items)._replace(memory=first_memory(rows))
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), items)


def _swap_time(items: Items) -> Items:
    """From time first to environments first, or back; memory has no time."""
    return jax.tree.map(lambda x: x.swapaxes(0, 1), items._replace(memory=()))


def make_minibatch_step(
    config: PPOConfig,
    network: ActorCritic,
    unravel: Callable[[jax.Array], Params],
    optimizer: optax.GradientTransformation,
    axis_name: str | None,
) -> Callable[..., tuple[Progress, dict[str, jax.Array]]]:
    """Builds the gradient step on one minibatch."""

    def loss(
        params: jax.Array, items: Items, clip_ratio: float | jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        memory = items.memory
        if network.is_recurrent:
            items = _swap_time(items)
        before = Numbers(*jnp.unstack(items.numbers, axis=-1))
        _, policy, values = network.unroll(
            unravel(params), memory, items.observation, items.is_first
        )
        log_ratios = policy.log_prob(items.action) - before.log_prob
        policy_loss = losses.clipped_surrogate_loss(
            log_ratios=log_ratios, advantages=before.advantage, epsilon=clip_ratio
        )
        if config.clip_value is None:
            value_loss = 0.5 * (values - before.target) ** 2
        else:
            value_loss = losses.clipped_value_loss(
                values=values,
                old_values=before.value,
                targets=before.target,
                epsilon=config.clip_value,
            )
        ratios = jnp.exp(log_ratios)
        terms = {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": policy.entropy(),
            "kl": ratios - 1.0 - log_ratios,
            "clip_share": jnp.abs(ratios - 1.0) > clip_ratio,
        }
        metrics = weighted_means(terms, before.weight)
        return total_loss(metrics, config), metrics

    def learn(
        now: Progress, items: Items, clip_ratio: float | jax.Array
    ) -> tuple[Progress, dict[str, jax.Array]]:
        grads, metrics = jax.grad(loss, has_aux=True)(now.params, items, clip_ratio)
        grads = average_over(grads, axis_name)
        steps: Any = optimizer.update(grads, now.opt_state, now.params)
        params, opt_state = now.params + steps[0], steps[1]
        if config.target_kl is None:
            return Progress(params, opt_state, now.stopped), metrics
        kl = average_over(metrics["kl"], axis_name)
        stopped = now.stopped | (kl > config.target_kl)
        new = Progress(params, opt_state, stopped)
        kept = now._replace(stopped=stopped)
        return jax.tree.map(lambda x, y: jnp.where(stopped, x, y), kept, new), metrics

    return learn
