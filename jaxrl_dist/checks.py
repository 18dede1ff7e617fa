"""Argument checks that name the argument. They run while tracing, and only then."""

import jax
import jax.numpy as jnp


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


def check_at_least(minimum: float, **settings: float) -> None:
    """Checks that settings are not below a minimum.

    Args:
        minimum: the least value allowed.
        **settings: the values, under the names the user knows them by.

    Raises:
        ValueError: one is below; the message gives its name and value.
    """
    for name, setting in settings.items():
        if not setting >= minimum:
            raise ValueError(f"{name} must be at least {minimum}, got {setting}")


def check_above(bound: float, **settings: float) -> None:
    """Checks that settings are strictly above a bound.

    Args:
        bound: what every value must exceed.
        **settings: the values, under the names the user knows them by.

    Raises:
        ValueError: one is not above; the message gives its name and value.
    """
    for name, setting in settings.items():
        if not setting > bound:
            raise ValueError(f"{name} must be above {bound}, got {setting}")


def check_in_range(low: float, high: float, **settings: float) -> None:
    """Checks that settings lie in a closed interval.

    Args:
        low: the least value allowed.
        high: the greatest value allowed.
        **settings: the values, under the names the user knows them by.

    Raises:
        ValueError: one lies outside; the message gives its name and value.
    """
    for name, setting in settings.items():
        if not low <= setting <= high:
            raise ValueError(f"{name} must be in [{low}, {high}], got {setting}")
