"""What the losses and rlax both compute: the sizes, the inputs and the calls."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import rlax

from experiments.speed.turns import Contest
from jaxrl_dist import losses


def over_time(function: Callable[..., Any]) -> Callable[..., Any]:
    """Maps a function of [T, ...] over the batch of [T, B, ...] arrays."""
    return jax.vmap(function, in_axes=1, out_axes=1)


def trajectory_contests() -> list[Contest]:
    """Returns, advantages and corrections, at all lengths and widths."""
    contests = []
    for num_steps in (20, 100, 1000):
        for batch_size in (32, 256, 1024):
            contests += trajectory_contests_at(num_steps, batch_size)
    return contests


def trajectory_contests_at(num_steps: int, batch_size: int) -> list[Contest]:
    """The contests on [T, B] arrays of one size."""
    rng = np.random.default_rng(0)
    values = jnp.asarray(rng.normal(size=(num_steps + 1, batch_size)), jnp.float32)
    rewards, log_ratios = jnp.asarray(
        rng.normal(size=(2, num_steps, batch_size)), jnp.float32
    )
    discounts = jnp.full((num_steps, batch_size), 0.99)
    given = (rewards, discounts)

    def our_vtrace(values, rewards, discounts, log_ratios, **caps):
        return value_loss_terms(
            values,
            losses.vtrace(
                rewards=rewards,
                discounts=discounts,
                values=values[:-1],
                next_values=values[1:],
                log_ratios=log_ratios,
                **caps,
            ),
        )

    def our_gae(values, rewards, discounts):
        return value_loss_terms(
            values,
            losses.gae(
                rewards=rewards,
                discounts=discounts,
                values=values[:-1],
                next_values=values[1:],
                lambda_=0.95,
            ),
        )

    def value_loss_terms(values, estimates):
        return estimates.targets - values[:-1], estimates.advantages

    def their_vtrace(
        values, rewards, discounts, log_ratios, *, clip_rho=1.0, clip_pg_rho=1.0
    ):
        got = rlax.vtrace_td_error_and_advantage(
            values[:-1],
            values[1:],
            rewards,
            discounts,
            jnp.exp(log_ratios),
            clip_rho_threshold=clip_rho,
            clip_pg_rho_threshold=clip_pg_rho,
        )
        # Rlax leaves it to the caller to stop the gradient of the advantages.
        return got.errors, jax.lax.stop_gradient(got.pg_advantage)

    def their_gae(values, rewards, discounts):
        advantages = rlax.truncated_generalized_advantage_estimation(
            rewards, discounts, 0.95, values, stop_target_gradients=True
        )
        targets = jax.lax.stop_gradient(advantages + values[:-1])
        return targets - values[:-1], advantages

    def returns(name, ours, theirs):
        return (
            name,
            lambda values, rewards, discounts: ours(
                rewards=rewards, discounts=discounts, next_values=values[1:]
            ),
            over_time(
                lambda values, rewards, discounts: theirs(
                    rewards, discounts, values[1:]
                )
            ),
            (values, *given),
        )

    sizes = f"T={num_steps} B={batch_size}"
    entries = [
        ("vtrace", our_vtrace, over_time(their_vtrace), (values, *given, log_ratios)),
        (
            "vtrace, caps that differ",
            functools.partial(our_vtrace, clip_rho=1.2, clip_pg_rho=1.5),
            over_time(functools.partial(their_vtrace, clip_rho=1.2, clip_pg_rho=1.5)),
            (values, *given, log_ratios),
        ),
        ("gae", our_gae, over_time(their_gae), (values, *given)),
        returns(
            "lambda_returns",
            lambda **steps: losses.lambda_returns(**steps, lambda_=0.95),
            lambda *steps: rlax.lambda_returns(*steps, lambda_=0.95),
        ),
        returns(
            "n_step_returns",
            lambda **steps: losses.n_step_returns(**steps, n=5),
            lambda *steps: rlax.n_step_bootstrapped_returns(*steps, n=5),
        ),
    ]
    return [Contest(name, sizes, *rest) for name, *rest in entries]


def quantile_contests() -> list[Contest]:
    """The quantile Huber loss, at the sizes of QR-DQN and IQN."""
    contests = []
    for batch_size, number in ((32, 8), (32, 51), (32, 64), (32, 200), (256, 200)):
        rng = np.random.default_rng(0)
        quantiles, targets = jnp.asarray(
            rng.normal(size=(2, batch_size, number)), jnp.float32
        )
        fractions = jnp.broadcast_to(
            losses.quantile_midpoints(number), (batch_size, number)
        )

        def ours(quantiles, fractions, targets):
            return losses.quantile_huber_loss(
                quantiles=quantiles, fractions=fractions, target_quantiles=targets
            )

        def theirs(quantiles, fractions, targets):
            return rlax.quantile_regression_loss(quantiles, fractions, targets, 1.0)

        contests.append(
            Contest(
                "quantile_huber_loss",
                f"B={batch_size} N=M={number}",
                ours,
                jax.vmap(theirs),
                (quantiles, fractions, targets),
            )
        )
    return contests


def value_contests() -> list[Contest]:
    """One-step errors and categorical losses, at the sizes of a replay batch."""
    contests = []
    for batch_size in (32, 1024):
        contests += value_contests_at(batch_size, num_actions=6, num_atoms=51)
    return contests


def value_contests_at(
    batch_size: int, num_actions: int, num_atoms: int
) -> list[Contest]:
    """The contests on [B, A] and [B, A, N] arrays of one size."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> jax.Array:
        return jnp.asarray(rng.normal(size=(batch_size, *shape)), jnp.float32)

    actions = jnp.asarray(rng.integers(0, num_actions, batch_size))
    rewards, discounts = draw(), jnp.full(batch_size, 0.99)
    q_values, next_q_values, selector = (draw(num_actions) for _ in range(3))
    logits, next_logits = (draw(num_actions, num_atoms) for _ in range(2))
    atoms = jnp.linspace(-10.0, 10.0, num_atoms)

    def our_double_q(q_values, *given):
        actions, rewards, discounts, next_q_values, selector = given
        return losses.double_q_errors(
            q_values=q_values,
            actions=actions,
            rewards=rewards,
            discounts=discounts,
            next_q_values=next_q_values,
            next_q_selector=selector,
        )

    def our_c51(logits, *given):
        actions, rewards, discounts, next_logits, selector = given
        return losses.categorical_loss(
            logits=logits,
            actions=actions,
            rewards=rewards,
            discounts=discounts,
            next_logits=next_logits,
            next_selector=selector,
            atoms=atoms,
        )

    def their_c51(logits, actions, rewards, discounts, *following):
        return rlax.categorical_double_q_learning(
            atoms, logits, actions, rewards, discounts, atoms, *following
        )

    steps = (actions, rewards, discounts)
    sizes = f"B={batch_size} A={num_actions}"
    return [
        Contest(
            "double_q_errors",
            sizes,
            our_double_q,
            jax.vmap(rlax.double_q_learning),
            (q_values, *steps, next_q_values, selector),
        ),
        Contest(
            "categorical_loss",
            f"{sizes} N={num_atoms}",
            our_c51,
            jax.vmap(their_c51),
            (logits, *steps, next_logits, selector),
        ),
    ]


def policy_contests() -> list[Contest]:
    """What PPO and R2D2 compute for each element of a batch."""
    rng = np.random.default_rng(0)
    size = 128 * 256
    logits, old_logits = jnp.asarray(rng.normal(size=(2, size, 6)), jnp.float32)
    log_ratios, advantages = jnp.asarray(rng.normal(size=(2, size)) / 4, jnp.float32)

    def our_clip(log_ratios, advantages):
        loss = losses.clipped_surrogate_loss(
            log_ratios=log_ratios, advantages=advantages, epsilon=0.2
        )
        return jnp.mean(loss)

    def their_clip(log_ratios, advantages):
        return rlax.clipped_surrogate_pg_loss(jnp.exp(log_ratios), advantages, 0.2)

    sizes = f"B={size}"
    return [
        Contest(
            "clipped_surrogate_loss",
            sizes,
            our_clip,
            their_clip,
            (log_ratios, advantages),
        ),
        Contest(
            "entropy",
            f"{sizes} A=6",
            lambda logits: losses.entropy(logits=logits),
            lambda logits: rlax.softmax().entropy(logits),
            (logits,),
        ),
        Contest(
            "categorical_kl",
            f"{sizes} A=6",
            lambda logits, other: losses.categorical_kl(
                logits=logits, other_logits=other
            ),
            rlax.categorical_kl_divergence,
            (logits, old_logits),
        ),
        Contest(
            "signed_hyperbolic",
            sizes,
            losses.signed_hyperbolic,
            rlax.signed_hyperbolic,
            (advantages,),
        ),
        Contest(
            "signed_parabolic",
            sizes,
            losses.signed_parabolic,
            rlax.signed_parabolic,
            (advantages,),
        ),
    ]
