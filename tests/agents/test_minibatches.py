"""Epochs use every item once, in an order of their own, and in equal minibatches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.agents.minibatches import learn_from_minibatches, minibatch_order

KEY = jax.random.key(5)


def test_every_item_is_used_once_in_every_epoch():
    order = minibatch_order(KEY, num_items=96, num_epochs=3, num_minibatches=4)
    assert order.shape == (12, 24)
    epochs = np.asarray(order).reshape(3, 96)
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(96), (3, 1)))
    assert not np.array_equal(epochs[0], epochs[1])


@pytest.mark.parametrize(("number", "near"), [(7, "6 or 8"), (100, "96")])
def test_minibatches_that_do_not_divide_the_items_are_refused(number, near):
    with pytest.raises(ValueError, match=f"minibatches is {number}, .*; {near} would"):
        minibatch_order(KEY, num_items=96, num_epochs=1, num_minibatches=number)


def test_steps_follow_one_another_and_metrics_are_means():
    def learn(now, items):
        return 10 * now + items["x"].sum(), {"first": items["x"][0]}

    items = {"x": jnp.arange(4.0)}
    order = jnp.array([[2, 3], [0, 1]])
    progress, metrics = learn_from_minibatches(learn, jnp.ones(()), items, order)
    assert float(progress) == 10 * (10 * 1 + 5) + 1
    assert float(metrics["first"]) == 1.0
