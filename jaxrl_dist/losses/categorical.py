"""Distributional values as probabilities of fixed returns, the atoms."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist.checks import (
    check_actions,
    check_floating,
    check_rank,
    check_same_shape,
    check_shape,
    is_known,
)
from jaxrl_dist.losses.precision import widen
from jaxrl_dist.losses.projection import at_once, by_columns, shares, with_rank
from jaxrl_dist.losses.selection import select


def categorical_projection(
    *, atoms: jax.Array, probabilities: jax.Array, target_atoms: jax.Array
) -> jax.Array:
    """Projects distributions onto other atoms, keeping their mass and mean.

    Mass at z goes to the two target atoms around z, in proportion to how near they
    are; mass beyond the target atoms goes to the outermost one. The atoms it comes
    from may have any order and may repeat, as clipped ones do. Gradients flow into
    the probabilities, and into the atoms as far as the weights are differentiable.

    Args:
        atoms: [N] or [..., N] where the mass is, reward units.
        probabilities: [..., N] the mass.
        target_atoms: [M] or [..., M] where the mass shall be, strictly ascending or
            strictly descending, M at least 2, reward units; evenly spaced or not.

    Returns:
        [..., M] the mass at the target atoms, in the common type of the arrays.

    Raises:
        ValueError: shapes do not agree, M is below 2, an array is not floating, or the
            target atoms are not strictly monotone where their values are known. Other
            values are not checked.

    Source:
        Bellemare et al. 2017, A distributional perspective on reinforcement learning,
        equation 7, arXiv:1707.06887, for atoms with any spacing.
    """
    check_floating(atoms=atoms, probabilities=probabilities)
    check_rank(1, probabilities=probabilities)
    *batch_shape, num_atoms = jnp.shape(probabilities)
    _check_atoms(tuple(batch_shape), num_atoms, atoms=atoms)
    _check_support(tuple(batch_shape), target_atoms=target_atoms)
    dtype, (atoms, probabilities, target_atoms) = widen(
        atoms, probabilities, target_atoms
    )
    places = jnp.broadcast_to(with_rank(atoms, probabilities.ndim), probabilities.shape)
    on_cpu = jax.default_backend() == "cpu"
    project = by_columns if on_cpu else at_once
    return project(places, probabilities, target_atoms).astype(dtype)


def two_hot(*, values: jax.Array, atoms: jax.Array) -> jax.Array:
    """Encodes numbers as probabilities of the two atoms around each.

    Their mean is the number, where it lies within the atoms; numbers beyond become the
    outermost atom. `categorical_mean` is the inverse. Gradients flow into the values.

    Args:
        values: [...] any unit.
        atoms: [N] strictly ascending or strictly descending, N at least 2, in the
            unit of the values.

    Returns:
        [..., N] at most two of N above 0, adding up to 1, in the common type.

    Raises:
        ValueError: the atoms are not [N], N is below 2, an array is not floating, or
            the atoms are not strictly monotone where their values are known.

    Source:
        Schrittwieser et al. 2020, Mastering Atari, Go, chess and shogi by planning
        with a learned model, appendix F, arXiv:1911.08265.

    Example:
        >>> print(two_hot(values=jnp.array(2.5), atoms=jnp.array([0.0, 2.0, 4.0])))
        [0.   0.75 0.25]
    """
    check_floating(values=values)
    _check_support((), atoms=atoms)
    dtype, (values, atoms) = widen(values, atoms)
    return shares(atoms, rank=values.ndim + 1)(values[..., None]).astype(dtype)


def categorical_mean(*, probabilities: jax.Array, atoms: jax.Array) -> jax.Array:
    """Computes the mean of distributions over atoms; the inverse of `two_hot`.

    Gradients flow into both arrays.

    Args:
        probabilities: [..., N] at least 0, adding up to 1.
        atoms: [N] or [..., N], any unit.

    Returns:
        [...] in the unit of the atoms, in the common type.

    Raises:
        ValueError: shapes do not agree, or an array is not floating. Values are not
            checked.

    Source:
        Bellemare et al. 2017, section 4, arXiv:1707.06887.
    """
    check_floating(probabilities=probabilities, atoms=atoms)
    check_rank(1, probabilities=probabilities)
    *batch_shape, num_atoms = jnp.shape(probabilities)
    _check_atoms(tuple(batch_shape), num_atoms, atoms=atoms)
    dtype, (probabilities, atoms) = widen(probabilities, atoms)
    atoms = with_rank(atoms, probabilities.ndim)
    return jnp.sum(probabilities * atoms, axis=-1).astype(dtype)


def categorical_td_loss(
    *,
    logits: jax.Array,
    rewards: jax.Array,
    discounts: jax.Array,
    next_logits: jax.Array,
    atoms: jax.Array,
) -> jax.Array:
    """Computes the loss of distributional state values.

        loss = -sum_i m_i log p_i(x),  m = projection of r + d z, z ~ p(x')

    It is a cross-entropy: its least value is the entropy of m, not 0. The gradient
    flows into `logits` only.

    Args:
        logits: [..., N] of p(x), the learner's distribution over the atoms, in nats.
        rewards: [...] environment reward units.
        discounts: [...] in [0, 1]; gamma, or 0 where the episode terminated.
        next_logits: [..., N] of p(x') of the target network, in nats.
        atoms: [N] strictly ascending or strictly descending, reward units.

    Returns:
        [...] nats, in the common type of the arrays.

    Raises:
        ValueError: shapes do not agree, an array is not floating, or the atoms are not
            strictly monotone where their values are known. Other values are not
            checked.

    Source:
        Bellemare et al. 2017, algorithm 1, arXiv:1707.06887.
    """
    check_floating(
        logits=logits, rewards=rewards, discounts=discounts, next_logits=next_logits
    )
    check_rank(1, logits=logits)
    *batch_shape, num_atoms = jnp.shape(logits)
    check_same_shape(logits=logits, next_logits=next_logits)
    check_shape(tuple(batch_shape), rewards=rewards, discounts=discounts)
    _check_support((), atoms=atoms)
    _check_atoms((), num_atoms, atoms=atoms)
    dtype, (logits, *rest) = widen(logits, rewards, discounts, next_logits, atoms)
    rewards, discounts, next_logits, atoms = jax.lax.stop_gradient(rest)
    support = with_rank(atoms, logits.ndim)
    target = categorical_projection(
        atoms=rewards[..., None] + discounts[..., None] * support,
        probabilities=jax.nn.softmax(next_logits),
        target_atoms=atoms,
    )
    # Atoms without mass are left out, so that a logit of -inf is no 0 times inf.
    log_probs = jnp.where(target > 0.0, jax.nn.log_softmax(logits), 0.0)
    return -jnp.sum(target * log_probs, axis=-1).astype(dtype)


def categorical_loss(
    *,
    logits: jax.Array,
    actions: jax.Array,
    rewards: jax.Array,
    discounts: jax.Array,
    next_logits: jax.Array,
    next_selector: jax.Array | None = None,
    atoms: jax.Array,
) -> jax.Array:
    """Computes the loss of C51: Q-learning with a distribution for each action.

    As `categorical_td_loss`, from the distribution of the action taken to that of the
    next action which the selector values most. The gradient flows into `logits` only.

    Args:
        logits: [..., A, N] of the learner's distributions over the atoms, in nats.
        actions: [...] integers in [0, A); what was done.
        rewards: [...] environment reward units.
        discounts: [...] in [0, 1]; gamma, or 0 where the episode terminated. For n
            steps, the product of n, with n-step rewards.
        next_logits: [..., A, N] of the target network, in nats.
        next_selector: [..., A] action values whose greatest picks the next action:
            those of the learner for double Q-learning. None for the means of
            `next_logits`, as in C51. Of equal entries the first is picked.
        atoms: [N] strictly ascending or strictly descending, reward units.

    Returns:
        [...] nats, in the common type of the arrays.

    Raises:
        ValueError: shapes do not agree, an array is of the wrong type, the atoms are
            not strictly monotone or an action is out of range where their values are
            known. Other values are not checked.

    Source:
        Bellemare et al. 2017, algorithm 1, arXiv:1707.06887; the selector as in
        Hessel et al. 2018, Rainbow, section 3, arXiv:1710.02298.
    """
    check_rank(2, logits=logits)
    check_same_shape(logits=logits, next_logits=next_logits)
    *batch_shape, num_actions, num_atoms = jnp.shape(logits)
    check_actions(
        batch_shape=tuple(batch_shape), num_actions=num_actions, actions=actions
    )
    _check_atoms((), num_atoms, atoms=atoms)
    if next_selector is None:
        next_selector = categorical_mean(
            probabilities=jax.nn.softmax(widen(next_logits)[1][0]), atoms=atoms
        )
    check_floating(next_selector=next_selector)
    check_shape((*batch_shape, num_actions), next_selector=next_selector)
    picked = jnp.argmax(next_selector, axis=-1)
    return categorical_td_loss(
        logits=select(jnp.asarray(logits), jnp.asarray(actions), axis=-2),
        rewards=rewards,
        discounts=discounts,
        next_logits=select(jnp.asarray(next_logits), picked, axis=-2),
        atoms=atoms,
    )


def _check_atoms(
    batch_shape: tuple[int, ...], num_atoms: int, *, atoms: jax.Array
) -> None:
    if jnp.shape(atoms) not in {(num_atoms,), (*batch_shape, num_atoms)}:
        raise ValueError(
            f"atoms has shape {jnp.shape(atoms)}, expected {(num_atoms,)}"
            + (f" or {(*batch_shape, num_atoms)}" if batch_shape else "")
        )


def _check_support(batch_shape: tuple[int, ...], **supports: jax.Array) -> None:
    for name, support in supports.items():
        check_floating(**{name: support})
        shape = jnp.shape(support)
        if not shape or shape[:-1] not in {(), batch_shape} or shape[-1] < 2:
            raise ValueError(f"{name} must be [M] with M at least 2, got shape {shape}")
        if not is_known(support):
            continue
        gaps = np.diff(np.asarray(support, np.float64))
        if not ((gaps > 0).all() or (gaps < 0).all()):
            raise ValueError(f"{name} must be strictly monotone, got {support}")
