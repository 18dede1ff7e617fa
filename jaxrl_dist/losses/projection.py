"""How mass at some atoms is shared out to others, in the two ways that are quick."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxrl_dist.losses.blocks import fold_columns


def by_columns(
    places: jax.Array, probabilities: jax.Array, target_atoms: jax.Array
) -> jax.Array:
    """Shares out the mass of one atom after the other, in few passes over [..., M]."""
    share = shares(target_atoms, rank=probabilities.ndim)

    def add_atom(masses: jax.Array, column: tuple[jax.Array, jax.Array]) -> jax.Array:
        place, mass = column
        return masses + mass[..., None] * share(place[..., None])

    columns = (jnp.moveaxis(places, -1, 0), jnp.moveaxis(probabilities, -1, 0))
    shape = (*probabilities.shape[:-1], target_atoms.shape[-1])
    return fold_columns(add_atom, jnp.zeros(shape, probabilities.dtype), columns)


def at_once(
    places: jax.Array, probabilities: jax.Array, target_atoms: jax.Array
) -> jax.Array:
    """The same as one sum over all pairs of atoms, [..., N, M], which is one kernel.

    By columns, XLA took minutes to compile Rainbow for a GPU.
    """
    targets = target_atoms[..., None, :] if target_atoms.ndim > 1 else target_atoms
    share = shares(targets, rank=probabilities.ndim + 1)
    return jnp.sum(probabilities[..., None] * share(places[..., None]), axis=-2)


def shares(target_atoms: jax.Array, *, rank: int) -> Callable[[jax.Array], jax.Array]:
    """How mass at a place, [..., 1], is shared out to the targets, [..., M]."""
    # A descending support is an ascending one, seen in a mirror.
    direction = jnp.sign(target_atoms[..., -1:] - target_atoms[..., :1])
    targets = target_atoms * direction
    per_gap = 1.0 / jnp.diff(targets)
    # Outside the outermost targets there is nothing left after clipping.
    nothing = jnp.zeros_like(per_gap[..., :1])
    above = with_rank(jnp.concatenate([per_gap, nothing], axis=-1), rank)
    below = with_rank(jnp.concatenate([nothing, per_gap], axis=-1), rank)
    direction, targets = with_rank(direction, rank), with_rank(targets, rank)

    def share(place: jax.Array) -> jax.Array:
        inside = jnp.clip(place * direction, targets[..., :1], targets[..., -1:])
        distances = inside - targets
        return jnp.maximum(
            0.0, 1.0 - jnp.maximum(distances * above, -distances * below)
        )

    return share


def with_rank(array: jax.Array, rank: int) -> jax.Array:
    """Adds leading axes of length 1."""
    return array.reshape((1,) * (rank - array.ndim) + array.shape)
