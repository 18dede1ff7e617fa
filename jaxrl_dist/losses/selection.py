"""Reading off what belongs to the chosen actions."""

import jax
import jax.numpy as jnp

from jaxrl_dist.checks import check_actions, check_floating, check_rank


def action_values(*, q_values: jax.Array, actions: jax.Array) -> jax.Array:
    """Takes the values of the given actions.

    Gradients flow into the values of these actions.

    Args:
        q_values: [..., A] any unit.
        actions: [...] integers in [0, A).

    Returns:
        [...] in the unit and type of `q_values`.

    Raises:
        ValueError: shapes do not agree, the values are not floating, the actions are
            not integers, or are out of range where their values are known. Inside
            compiled code an action of A or above reads nan.

    Source:
        Sutton & Barto 2018, Reinforcement Learning, section 3.5.
    """
    check_floating(q_values=q_values)
    check_rank(1, q_values=q_values)
    *batch_shape, num_actions = jnp.shape(q_values)
    check_actions(
        batch_shape=tuple(batch_shape), num_actions=num_actions, actions=actions
    )
    return select(jnp.asarray(q_values), jnp.asarray(actions), axis=-1)


def select(values: jax.Array, indices: jax.Array, *, axis: int) -> jax.Array:
    """Takes one entry along an axis for each element: [..., A, ...], [...] to [...].

    Args:
        values: [..., A] or, with `axis` -2, [..., A, N].
        indices: [...] integers in [0, A).
        axis: where A is, counted from the end.

    Returns:
        [...] or [..., N].
    """
    indices = jnp.expand_dims(indices, tuple(range(axis, 0)))
    return jnp.squeeze(jnp.take_along_axis(values, indices, axis=axis), axis=axis)
