"""What R2D2 can learn of a return: its mean, or quantiles, fixed or drawn."""

from collections.abc import Callable
from typing import NamedTuple

import jax

from jaxrl_dist import losses
from jaxrl_dist.networks.action_values import MakeQNetwork
from jaxrl_dist.networks.q_network import QNetwork
from jaxrl_dist.types import ArrayTree

WHOLE = slice(None)


class Drawn(NamedTuple):
    """The random numbers of one pass while acting."""

    noise: ArrayTree  # of a noisy network; None for the means of its weights
    fractions: ArrayTree  # [K] in [0, 1) of an implicit network; None of any other


class Head(NamedTuple):
    """What one kind of output does otherwise than another.

    Of the outputs [..., A, N] some are learned and some pick the next action. All are
    on the compressed scale.
    """

    network: QNetwork
    acting_fractions: Callable  # (key, or None to leave nothing to chance) to [K], or
    # None
    fractions: Callable  # (key, shape) to fractions for the online and for the target
    # network, [*shape, N] each; or None twice
    learned: slice  # of N
    picking: slice  # of N
    loss: Callable  # (predictions [..., N], targets [..., M], online fractions) to
    # losses [...]


def q_head(make: MakeQNetwork, huber_delta: float | None) -> Head:
    """One value for each action, N = M = 1.

    Args:
        make: builds the network.
        huber_delta: error, on the compressed scale, beyond which the loss is linear;
            None keeps it quadratic.
    """

    def loss(predictions: jax.Array, targets: jax.Array, fractions: None) -> jax.Array:
        errors = (targets - predictions)[..., 0]
        if huber_delta is None:
            return losses.squared_loss(errors=errors)
        return losses.huber_loss(errors=errors, delta=huber_delta)

    return Head(
        network=make(1, may_remember=True),
        acting_fractions=lambda key: None,
        fractions=lambda key, shape: (None, None),
        learned=WHOLE,
        picking=WHOLE,
        loss=loss,
    )


def quantile_head(make: MakeQNetwork, num_quantiles: int, kappa: float) -> Head:
    """Quantiles at fixed fractions, as in QR-DQN; N = M.

    Args:
        make: builds the network.
        num_quantiles: N.
        kappa: where the quantile loss turns linear, on the compressed scale.
    """
    midpoints = losses.quantile_midpoints(num_quantiles)

    def loss(predictions: jax.Array, targets: jax.Array, fractions: None) -> jax.Array:
        return losses.quantile_huber_loss(
            quantiles=predictions,
            fractions=midpoints,
            target_quantiles=targets,
            kappa=kappa,
        )

    return Head(
        network=make(num_quantiles, may_remember=True),
        acting_fractions=lambda key: None,
        fractions=lambda key, shape: (None, None),
        learned=WHOLE,
        picking=WHOLE,
        loss=loss,
    )


def implicit_head(
    make: MakeQNetwork, num_quantiles: int, *, num_cosines: int, kappa: float
) -> Head:
    """Quantiles at fractions that are drawn anew, as in IQN.

    One pass of each network answers at 2 num_quantiles fractions: by one half it is
    learned or learned from, the other half picks actions.

    Args:
        make: builds the network.
        num_quantiles: for each of the two purposes.
        num_cosines: that embed a fraction.
        kappa: where the quantile loss turns linear, on the compressed scale.
    """
    learned = slice(0, num_quantiles)

    def acting_fractions(key: jax.Array | None) -> jax.Array:
        if key is None:
            return losses.quantile_midpoints(num_quantiles)
        return jax.random.uniform(key, (num_quantiles,))

    def fractions(
        key: jax.Array, shape: tuple[int, ...]
    ) -> tuple[jax.Array, jax.Array]:
        drawn = jax.random.uniform(key, (2, *shape, 2 * num_quantiles))
        return drawn[0], drawn[1]

    def loss(
        predictions: jax.Array, targets: jax.Array, fractions: jax.Array
    ) -> jax.Array:
        return losses.quantile_huber_loss(
            quantiles=predictions,
            fractions=fractions[..., learned],
            target_quantiles=targets,
            kappa=kappa,
        )

    return Head(
        network=make(cosines=num_cosines, may_remember=True),
        acting_fractions=acting_fractions,
        fractions=fractions,
        learned=learned,
        picking=slice(num_quantiles, None),
        loss=loss,
    )
