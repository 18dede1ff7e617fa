"""Several epochs of shuffled minibatches over one batch of steps."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrl_dist.agents.shuffling import permutation
from jaxrl_dist.types import ArrayTree


def minibatch_order(
    key: jax.Array,
    *,
    num_items: int,
    num_epochs: int,
    num_minibatches: int,
    unit: str = "rows",
) -> jax.Array:
    """Shuffles items anew for each epoch.

    Args:
        key: random key; used up.
        num_items: N.
        num_epochs: passes over all items, from 1.
        num_minibatches: of each pass, from 1; divides the items.
        unit: what items are called in the error.

    Returns:
        [epochs * minibatches, items of each] int32; each item once per epoch.

    Raises:
        ValueError: the minibatches do not divide the items.
    """
    check_divides(num_minibatches, num_items, unit)
    keys = jax.random.split(key, num_epochs)
    order = jax.vmap(lambda k: permutation(k, num_items))(keys)
    return order.reshape(num_epochs * num_minibatches, -1)


def check_divides(num_minibatches: int, num_items: int, unit: str) -> None:
    """Checks that minibatches of equal size use every item, which is one of a unit.

    Raises:
        ValueError: they do not; the message gives the nearest numbers that would do.
    """
    if num_items % num_minibatches == 0:
        return
    fitting = [n for n in range(1, num_items + 1) if num_items % n == 0]
    below = max((n for n in fitting if n < num_minibatches), default=None)
    above = min((n for n in fitting if n > num_minibatches), default=None)
    near = " or ".join(str(n) for n in (below, above) if n is not None)
    raise ValueError(
        f"agent.num_minibatches is {num_minibatches}, which does not divide the "
        f"{num_items} {unit} that an update has on each device; {near} would do"
    )


def learn_from_minibatches(
    learn: Callable[[Any, ArrayTree], tuple[Any, dict[str, jax.Array]]],
    start: Any,
    items: ArrayTree,
    order: jax.Array,
) -> tuple[Any, dict[str, jax.Array]]:
    """Takes one gradient step after another.

    Args:
        learn: (progress, items of one minibatch) to (progress, metrics).
        start: progress before the first step.
        items: [N, ...] each.
        order: which items each minibatch has, from `minibatch_order`.

    Returns:
        Progress after the last step, and the mean of each metric.
    """

    def one_minibatch(now: Any, indices: jax.Array) -> tuple[Any, dict]:
        return learn(now, jax.tree.map(lambda x: x[indices], items))

    progress, metrics = jax.lax.scan(one_minibatch, start, order)
    return progress, jax.tree.map(jnp.mean, metrics)
