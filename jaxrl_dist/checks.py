"""Argument checks that name the argument. They run while tracing, and only then.

Shapes and types are always known then. Values are known only outside compiled code:
a check on a value passes where the value is traced.
"""

import contextlib
import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


def is_known(setting: object) -> bool:
    """Whether a value can be looked at: it is not traced by a transformation."""
    return not isinstance(setting, Tracer)


@contextlib.contextmanager
def settings_of(at: str, config: Any) -> Iterator[None]:
    """Within the block, errors call settings by their whole names.

    A dataclass knows the names of its settings, and not where it stands itself: of
    `gamma must be in [0, 1]` this makes `agent.gamma must be in [0, 1]`.

    Args:
        at: where the settings stand, such as "agent"; "" changes nothing.
        config: the dataclass, or its class.

    Raises:
        ValueError: one was raised within the block.
    """
    try:
        yield
    except ValueError as error:
        message = str(error)
        if not at or message.startswith(f"{at}."):
            raise
        name = re.match(r"\w*", message)
        own = name and name[0] in {field.name for field in dataclasses.fields(config)}
        raise ValueError(f"{at}{'.' if own else ': '}{message}") from error


def check_same_shape(**arrays: jax.Array) -> None:
    """Checks that all arrays have the shape of the first.

    Args:
        **arrays: the arrays, under the names the caller knows them by.

    Raises:
        ValueError: one differs; the message gives both names and both shapes.
    """
    (first, like), *rest = ((name, jnp.shape(array)) for name, array in arrays.items())
    for name, shape in rest:
        if shape != like:
            raise ValueError(f"{name} has shape {shape}, but {first} has shape {like}")


def check_at_least(minimum: float, **settings: float | jax.Array) -> None:
    """Checks that settings are not below a minimum.

    Args:
        minimum: the least value allowed.
        **settings: the values, under the names the user knows them by.

    Raises:
        ValueError: one is below; the message gives its name and value.
    """
    for name, setting in settings.items():
        if is_known(setting) and not setting >= minimum:
            raise ValueError(f"{name} must be at least {minimum}, got {setting}")


def check_above(bound: float, **settings: float | jax.Array) -> None:
    """Checks that settings are strictly above a bound.

    Args:
        bound: what every value must exceed.
        **settings: the values, under the names the user knows them by.

    Raises:
        ValueError: one is not above; the message gives its name and value.
    """
    for name, setting in settings.items():
        if is_known(setting) and not setting > bound:
            raise ValueError(f"{name} must be above {bound}, got {setting}")


def check_in_range(low: float, high: float, **settings: float | jax.Array) -> None:
    """Checks that settings lie in a closed interval.

    Args:
        low: the least value allowed.
        high: the greatest value allowed.
        **settings: the values, under the names the user knows them by.

    Raises:
        ValueError: one lies outside; the message gives its name and value.
    """
    for name, setting in settings.items():
        if is_known(setting) and not low <= setting <= high:
            raise ValueError(f"{name} must be in [{low}, {high}], got {setting}")


def check_floating(**arrays: jax.Array) -> None:
    """Checks that arrays are of a floating type, so that nothing is rounded.

    Args:
        **arrays: the arrays, under the names the caller knows them by.

    Raises:
        ValueError: one is of integers or flags; the message gives its name and type.
    """
    for name, array in arrays.items():
        dtype = jnp.result_type(array)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(f"{name} must be of a floating type, got {dtype}")


def check_steps(*, ends: jax.Array | None = None, **arrays: jax.Array) -> None:
    """Checks arrays that hold one number for each step: [T, ...], T at least 1.

    Args:
        ends: flags of the same shape, or None where the function takes none.
        **arrays: the arrays, under the names the caller knows them by.

    Raises:
        ValueError: an array is not floating, has another shape than the first, or has
            no time axis or an empty one; or ends is not of flags, or of another shape.
    """
    check_floating(**arrays)
    check_same_shape(**arrays)
    name, array = next(iter(arrays.items()))
    shape = jnp.shape(array)
    if not shape or shape[0] == 0:
        raise ValueError(f"{name} needs at least one step, [T, ...], got shape {shape}")
    if ends is None:
        return
    if jnp.result_type(ends) != jnp.bool_:
        raise ValueError(f"ends must be of type bool, got {jnp.result_type(ends)}")
    check_same_shape(**{name: array, "ends": ends})


def check_shape(shape: tuple[int, ...], **arrays: float | jax.Array) -> None:
    """Checks that arrays have a shape that follows from other arguments.

    Args:
        shape: what is expected.
        **arrays: the arrays, under the names the caller knows them by.

    Raises:
        ValueError: one differs; the message gives its name, its shape and what was
            expected.
    """
    for name, array in arrays.items():
        if jnp.shape(array) != shape:
            raise ValueError(f"{name} has shape {jnp.shape(array)}, expected {shape}")


def check_rank(rank: int, **arrays: jax.Array) -> None:
    """Checks that arrays have at least so many axes.

    Args:
        rank: the least number of axes.
        **arrays: the arrays, under the names the caller knows them by.

    Raises:
        ValueError: one has fewer; the message gives its name and shape.
    """
    for name, array in arrays.items():
        if jnp.ndim(array) < rank:
            raise ValueError(
                f"{name} must have at least {rank} axes, got shape {jnp.shape(array)}"
            )


def check_actions(
    *, batch_shape: tuple[int, ...], num_actions: int, **actions: jax.Array
) -> None:
    """Checks indices of actions: integers, one for each element, in range if known.

    Args:
        batch_shape: the shape they must have.
        num_actions: A; indices must lie in [0, A).
        **actions: the indices, under the names the caller knows them by.

    Raises:
        ValueError: not integers, of another shape, or out of range where the values
            are known, that is outside compiled code.
    """
    for name, indices in actions.items():
        dtype = jnp.result_type(indices)
        if not jnp.issubdtype(dtype, jnp.integer):
            raise ValueError(f"{name} must be integers, got {dtype}")
        check_shape(batch_shape, **{name: indices})
        if not is_known(indices) or not np.size(indices):
            continue
        low, high = np.min(indices), np.max(indices)
        if low < 0 or high >= num_actions:
            raise ValueError(
                f"{name} must be in [0, {num_actions}), got values from {low} to {high}"
            )
