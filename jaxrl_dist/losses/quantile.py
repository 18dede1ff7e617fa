"""Distributional values as quantiles: where a given share of the mass lies below."""

import functools
import math

import jax
import jax.numpy as jnp

from jaxrl_dist.checks import (
    check_actions,
    check_at_least,
    check_floating,
    check_rank,
    check_shape,
)
from jaxrl_dist.losses.blocks import fold_columns
from jaxrl_dist.losses.precision import widen
from jaxrl_dist.losses.selection import select


def quantile_midpoints(num_quantiles: int) -> jax.Array:
    """The fractions whose quantiles describe a distribution best, for their number.

    Args:
        num_quantiles: N, at least 1.

    Returns:
        [N] (i + 1/2) / N, without unit. There is no gradient.

    Raises:
        ValueError: N is below 1.

    Source:
        Dabney et al. 2018, Distributional reinforcement learning with quantile
        regression, lemma 2, arXiv:1710.10044.

    Example:
        >>> from jaxrl_dist import losses
        >>> print(losses.quantile_midpoints(4))
        [0.125 0.375 0.625 0.875]
    """
    check_at_least(1, num_quantiles=num_quantiles)
    return (jnp.arange(num_quantiles) + 0.5) / num_quantiles


def quantile_huber_loss(
    *,
    quantiles: jax.Array,
    fractions: jax.Array,
    target_quantiles: jax.Array,
    kappa: float = 1.0,
) -> jax.Array:
    """Computes the quantile regression loss between two sets of quantiles.

    With u_ij = target_j - quantile_i and L the Huber loss (kappa 0: L(u) = |u|):

        loss = sum_i mean_j |tau_i - [u_ij < 0]| L_kappa(u_ij)

    As in QR-DQN, L is not divided by kappa: near 0 it is u^2 / 2 for every kappa, and
    kappa alone bounds the gradient. IQN divides; with kappa 1, which both use, that is
    the same, and otherwise divide the result. Kappa 0 is plain quantile regression,
    which is the limit of the divided loss.

    The gradient flows into `quantiles` only. Loss and gradient are found in one pass
    over the targets that keeps nothing of size N M.

    Args:
        quantiles: [..., N] of the learner, reward units.
        fractions: [N] or [..., N] tau in [0, 1]; fixed midpoints (QR-DQN) or sampled
            (IQN), without unit.
        target_quantiles: [..., M] samples or quantiles of the target, reward units.
        kappa: a number, where the loss turns linear, reward units, at least 0.

    Returns:
        [...] squared reward units (reward units if kappa is 0), in the common type.

    Raises:
        ValueError: shapes do not agree, N or M is 0, an array is not floating, or
            kappa is below 0. Other values are not checked.

    Source:
        Dabney et al. 2018, Distributional reinforcement learning with quantile
        regression, equation 10, arXiv:1710.10044; for sampled fractions Dabney et al.
        2018, Implicit quantile networks, equation 3, arXiv:1806.06923.
    """
    check_floating(
        quantiles=quantiles, fractions=fractions, target_quantiles=target_quantiles
    )
    check_rank(1, quantiles=quantiles, target_quantiles=target_quantiles)
    check_at_least(0, kappa=kappa)
    *batch_shape, num_quantiles = jnp.shape(quantiles)
    _check_sizes(tuple(batch_shape), num_quantiles, fractions, target_quantiles)
    dtype, (quantiles, fractions, targets) = widen(
        quantiles, fractions, target_quantiles
    )
    fractions, targets = jax.lax.stop_gradient((fractions, targets))
    batch_size = math.prod(batch_shape)
    losses: jax.Array = _loss(
        quantiles.reshape(batch_size, num_quantiles),
        jnp.broadcast_to(_flat(fractions), (batch_size, num_quantiles)),
        _flat(targets),
        float(kappa),
    )
    return losses.reshape(batch_shape).astype(dtype)


def quantile_q_loss(
    *,
    quantiles: jax.Array,
    fractions: jax.Array,
    actions: jax.Array,
    rewards: jax.Array,
    discounts: jax.Array,
    next_quantiles: jax.Array,
    next_selector: jax.Array | None = None,
    kappa: float = 1.0,
) -> jax.Array:
    """Computes the loss of QR-DQN and IQN: Q-learning with quantiles for each action.

    `quantile_huber_loss` from the quantiles of the action taken to r + d times those
    of the next action which the selector values most. The gradient flows into
    `quantiles` only.

    Args:
        quantiles: [..., A, N] of the learner, reward units.
        fractions: [N] or [..., N] tau in [0, 1] of these quantiles, without unit.
        actions: [...] integers in [0, A); what was done.
        rewards: [...] environment reward units.
        discounts: [...] in [0, 1]; gamma, or 0 where the episode terminated. For n
            steps, the product of n, with n-step rewards.
        next_quantiles: [..., A, M] of the target network, reward units.
        next_selector: [..., A] action values whose greatest picks the next action:
            those of the learner for double Q-learning. None for the means of
            `next_quantiles`. Of equal entries the first is picked.
        kappa: a number, where the loss turns linear, reward units, at least 0.

    Returns:
        [...] squared reward units (reward units if kappa is 0), in the common type.

    Raises:
        ValueError: shapes do not agree, an array is of the wrong type, kappa is below
            0, or an action is out of range where its value is known. Other values are
            not checked.

    Source:
        Dabney et al. 2018, Distributional reinforcement learning with quantile
        regression, algorithm 1, arXiv:1710.10044.
    """
    check_floating(
        quantiles=quantiles,
        rewards=rewards,
        discounts=discounts,
        next_quantiles=next_quantiles,
    )
    check_rank(2, quantiles=quantiles, next_quantiles=next_quantiles)
    *batch_shape, num_actions, _ = jnp.shape(quantiles)
    batch_shape = tuple(batch_shape)
    check_actions(batch_shape=batch_shape, num_actions=num_actions, actions=actions)
    check_shape(batch_shape, rewards=rewards, discounts=discounts)
    if next_selector is None:
        next_selector = jnp.mean(widen(next_quantiles)[1][0], axis=-1)
    check_floating(next_selector=next_selector)
    expected = (*batch_shape, num_actions)
    check_shape(expected, next_selector=next_selector)
    check_shape(
        (*expected, jnp.shape(next_quantiles)[-1]), next_quantiles=next_quantiles
    )
    picked = jnp.argmax(next_selector, axis=-1)
    dtype, (rewards, discounts, nexts) = widen(rewards, discounts, next_quantiles)
    nexts = select(nexts, picked, axis=-2)
    losses = quantile_huber_loss(
        quantiles=select(jnp.asarray(quantiles), jnp.asarray(actions), axis=-2),
        fractions=fractions,
        target_quantiles=rewards[..., None] + discounts[..., None] * nexts,
        kappa=kappa,
    )
    return losses.astype(jnp.result_type(quantiles, fractions, dtype))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _loss(
    quantiles: jax.Array, fractions: jax.Array, targets: jax.Array, kappa: float
) -> jax.Array:
    return _loss_and_slopes(quantiles, fractions, targets, kappa)[0]


def _loss_forward(
    quantiles: jax.Array, fractions: jax.Array, targets: jax.Array, kappa: float
) -> tuple[jax.Array, jax.Array]:
    return _loss_and_slopes(quantiles, fractions, targets, kappa)


def _loss_backward(
    kappa: float, slopes: jax.Array, cotangents: jax.Array
) -> tuple[jax.Array, None, None]:
    return cotangents[:, None] * slopes, None, None


_loss.defvjp(_loss_forward, _loss_backward)


def _loss_and_slopes(
    quantiles: jax.Array, fractions: jax.Array, targets: jax.Array, kappa: float
) -> tuple[jax.Array, jax.Array]:
    """The loss [B], and its derivative with respect to each quantile, [B, N]."""

    def add_target(
        sums: tuple[jax.Array, jax.Array], target: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        errors = target[:, None] - quantiles
        weights = jnp.where(errors < 0.0, 1.0 - fractions, fractions)
        if kappa == 0.0:
            slopes = jnp.sign(errors)
            values = jnp.abs(errors)
        else:
            slopes = jnp.clip(errors, -kappa, kappa)
            values = slopes * (errors - 0.5 * slopes)
        return sums[0] + weights * values, sums[1] - weights * slopes

    sums = (jnp.zeros_like(quantiles), jnp.zeros_like(quantiles))
    values, slopes = fold_columns(add_target, sums, targets.T)
    num_targets = targets.shape[1]
    return jnp.sum(values, axis=1) / num_targets, slopes / num_targets


def _flat(array: jax.Array) -> jax.Array:
    return array.reshape(-1, array.shape[-1])


def _check_sizes(
    batch_shape: tuple[int, ...],
    num_quantiles: int,
    fractions: jax.Array,
    target_quantiles: jax.Array,
) -> None:
    num_targets = jnp.shape(target_quantiles)[-1]
    check_shape((*batch_shape, num_targets), target_quantiles=target_quantiles)
    if not num_quantiles or not num_targets:
        raise ValueError(
            f"quantiles and target_quantiles must not be empty, got {num_quantiles} "
            f"and {num_targets}"
        )
    if jnp.shape(fractions) not in {(num_quantiles,), (*batch_shape, num_quantiles)}:
        raise ValueError(
            f"fractions has shape {jnp.shape(fractions)}, expected {(num_quantiles,)} "
            f"or {(*batch_shape, num_quantiles)}"
        )
