"""What R2D2 learns from sequences: values of a trace, after a burn-in."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from jaxrl_dist import losses
from jaxrl_dist.agents.base import (
    Transitions,
    average_over,
    mask_weights,
    transitions,
)
from jaxrl_dist.agents.exploration import Acting
from jaxrl_dist.agents.flat import Flat
from jaxrl_dist.agents.r2d2_heads import Head
from jaxrl_dist.agents.value import ValueConfig, ValueState
from jaxrl_dist.types import ArrayTree, Params, Sample, Trajectory, UpdateInfo


class Settings(Protocol):
    """The settings of `R2D2Config` that are read here."""

    @property
    def learner(self) -> ValueConfig:
        """Settings shared by all value-based agents."""
        ...

    @property
    def burn_in(self) -> int:
        """Rows read only for the memory."""
        ...

    @property
    def trace(self) -> int:
        """Rows whose values are learned."""
        ...

    @property
    def stored_state(self) -> bool:
        """Whether sequences begin with the memory that the actor had."""
        ...

    @property
    def rescaling_epsilon(self) -> float:
        """Slope that the compressed scale keeps."""
        ...

    @property
    def priority_eta(self) -> float:
        """Share of the greatest error in a priority."""
        ...


class Learned(NamedTuple):
    """What a batch of sequences says about the values of its traces, [trace, B]."""

    losses: jax.Array
    errors: jax.Array  # of the mean, on the compressed scale
    mask: jax.Array  # 1, or 0 where the row was an episode's last: no step
    q_mean: jax.Array  # [] of all actions, reward units


def make_learn(config: Settings, head: Head) -> Callable[..., Learned]:
    """Builds (params, target params, Trajectory [L, B, ...], key) to Learned."""
    network, learner, trace = head.network, config.learner, config.trace
    epsilon = config.rescaling_epsilon

    def learn(
        params: Params, target_params: Params, rows: Trajectory, key: jax.Array
    ) -> Learned:
        key_online, key_target, key_fractions = jax.random.split(key, 3)
        noise, target_noise = network.noise(key_online), network.noise(key_target)
        seen = rows_of(rows, config.burn_in, None)
        fractions, target_fractions = head.fractions(key_fractions, seen.is_first.shape)

        def outputs(params: Params, noise: ArrayTree, fractions: Any) -> jax.Array:
            memory = memory_after_burn_in(config, head, params, rows, noise)
            _, values = network.unroll(
                params,
                memory,
                seen.observation,
                seen.is_first,
                noise=noise,
                fractions=fractions,
            )
            return values  # [trace + n, B, A, N]

        online = outputs(params, noise, fractions)
        target = outputs(target_params, target_noise, target_fractions)
        picker = online if learner.double else target
        picker = action_values(picker[1:, ..., head.picking], epsilon)
        steps = transitions(seen, learner.gamma)  # trace + n - 1 of them

        next_outputs = target[1:, ..., head.learned]
        targets = targets_of(config, steps, next_outputs, picker)[:trace]
        taken = steps.actions[:trace, :, None, None]
        predictions = jnp.take_along_axis(online[:trace], taken, axis=2)[:, :, 0]
        predictions = predictions[..., head.learned]
        first = None if fractions is None else fractions[:trace]
        return Learned(
            head.loss(predictions, targets, first),
            jax.lax.stop_gradient(targets.mean(-1) - predictions.mean(-1)),
            steps.mask[:trace],
            action_values(jax.lax.stop_gradient(online), epsilon).mean(),
        )

    return learn


def targets_of(
    config: Settings, steps: Transitions, next_outputs: jax.Array, picker: jax.Array
) -> jax.Array:
    """What the outputs of the actions taken should move towards, [T, B, M].

    Args:
        config: how many steps count.
        steps: [T, B].
        next_outputs: [T, B, A, M] of the target network, on the compressed scale, which
            is monotonic: quantiles become quantiles, each by itself.
        picker: [T, B, A] whose greatest picks the next action.
    """

    def of_one(next_q_values: jax.Array) -> jax.Array:
        return losses.rescaled_n_step_targets(
            rewards=steps.rewards,
            discounts=steps.discounts,
            next_q_values=next_q_values,
            next_q_selector=picker,
            ends=steps.ends,
            n=config.learner.n_step,
            epsilon=config.rescaling_epsilon,
        )

    return jax.vmap(of_one, in_axes=-1, out_axes=-1)(next_outputs)


def rows_of(rows: Trajectory, start: int, end: int | None) -> Trajectory:
    """Rows from one to another, without their memory."""
    return jax.tree.map(lambda x: x[start:end], rows._replace(memory=()))


def memory_after_burn_in(
    config: Settings, head: Head, params: Params, rows: Trajectory, noise: ArrayTree
) -> ArrayTree:
    """The memory before the first row of the trace, [B, ...]; without gradient.

    Args:
        config: whether memory was stored, and how many rows are read first.
        head: whose network reads.
        params: of the network.
        rows: [L, B, ...]; of their memory, the first row's is read alone.
        noise: of the network.
    """
    memory = head.network.initial_memory(rows.is_first.shape[1])
    if config.stored_state:
        memory = jax.tree.map(lambda x: x[0], rows.memory)
    if not config.burn_in:
        return memory
    seen = rows_of(rows, 0, config.burn_in)
    # What is answered to them is not used, at whatever fractions.
    fractions, _ = head.fractions(jax.random.key(0), seen.is_first.shape)
    memory, _ = head.network.unroll(
        jax.lax.stop_gradient(params),
        memory,
        seen.observation,
        seen.is_first,
        noise=noise,
        fractions=fractions,
    )
    return jax.lax.stop_gradient(memory)


def action_values(outputs: jax.Array, epsilon: float) -> jax.Array:
    """Means in reward units, [..., A], of outputs [..., A, N] on the compressed one."""
    return losses.signed_parabolic(outputs, epsilon=epsilon).mean(-1)


def make_gradients(
    config: Settings,
    learn: Callable[..., Learned],
    layout: Flat,
    axis_name: str | None,
) -> Callable[..., tuple[jax.Array, UpdateInfo]]:
    """Builds the function that finds the gradients of a sample, [P]."""

    def gradients(
        state: ValueState, sample: Sample, key: jax.Array
    ) -> tuple[jax.Array, UpdateInfo]:
        target_params = layout.unravel(state.target_params)

        def loss(params: jax.Array) -> tuple[jax.Array, Any]:
            learned = learn(
                layout.unravel(params), target_params, sample.trajectory, key
            )
            weights = mask_weights(learned.mask, axis_name)
            # Importance weights scale gradients; the loss that is shown is without.
            shown = {
                "loss": jnp.mean(weights * learned.losses),
                "q_mean": learned.q_mean,
            }
            scaled = weights * sample.weight[None] * learned.losses
            return jnp.mean(scaled), (learned, shown)

        grads, (learned, metrics) = jax.grad(loss, has_aux=True)(state.params)
        grads = average_over(grads, axis_name)
        metrics["gradient_norm"] = jnp.linalg.norm(grads)
        return grads, UpdateInfo(priorities(config, learned), metrics)

    return gradients


def priorities(config: Settings, learned: Learned) -> jax.Array:
    """Priorities of sequences, [B], on the compressed scale."""
    return losses.sequence_priorities(
        errors=learned.errors, mask=learned.mask, eta=config.priority_eta
    )


def make_initial_priorities(
    config: Settings, learn: Callable[..., Learned]
) -> Callable:
    """Builds the function by which actors rank what they send, [B]; see `Agent`."""

    def initial_priorities(
        acting: Acting, rows: Trajectory, key: jax.Array
    ) -> jax.Array:
        learned = learn(acting.params, acting.params, rows, key)
        return priorities(config, learned)

    return initial_priorities
