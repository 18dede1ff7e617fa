"""What must be true of returns and corrections, whatever the trajectory."""

# Losses take NumPy arrays as well, and here settings come in dictionaries.
# pyright: reportArgumentType=false

import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrl_dist import losses
from tests.losses.steps import make_steps, pick

# Sizes are few, so that few programs are compiled; seeds are many.
few_examples = settings(max_examples=12, deadline=None, derandomize=True)
seeds = st.integers(0, 2**16)
shapes = st.sampled_from([(1, 2), (4, 3), (9, 1)])
lambdas = st.sampled_from([0.0, 0.3, 0.95, 1.0])
RETURN = ("rewards", "discounts", "ends", "next_values")


def near(got, expected, tolerance=1e-4):
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@few_examples
@given(seeds, shapes)
def test_on_policy_vtrace_is_the_longest_n_step_return(seed, shape):
    steps = make_steps(shape, seed) | {"log_ratios": np.zeros(shape)}
    got = losses.vtrace(**steps)
    expected = losses.n_step_returns(**pick(steps, *RETURN), n=shape[0])
    near(got.targets, expected)
    near(got.advantages, expected - steps["values"])


@few_examples
@given(seeds, shapes)
def test_lambda_0_looks_one_step_and_lambda_1_as_far_as_there_is(seed, shape):
    steps = pick(make_steps(shape, seed), *RETURN)
    for lambda_, n in ((0.0, 1), (1.0, shape[0])):
        near(
            losses.lambda_returns(**steps, lambda_=lambda_),
            losses.n_step_returns(**steps, n=n),
        )


@few_examples
@given(seeds, shapes, lambdas)
def test_shifting_all_values_and_rewards_to_match_shifts_the_targets(
    seed, shape, lambda_
):
    """With r + (1 - d) s for rewards and v + s for values, every target rises by s."""
    steps = make_steps(shape, seed)
    shift = 2.5
    shifted = steps | {
        "rewards": steps["rewards"] + (1 - steps["discounts"]) * shift,
        "values": steps["values"] + shift,
        "next_values": steps["next_values"] + shift,
    }
    for one, other in ((steps, shifted),):
        before = losses.vtrace(**one, lambda_=lambda_, clip_c=0.8)
        after = losses.vtrace(**other, lambda_=lambda_, clip_c=0.8)
        near(after.targets, before.targets + shift)
        near(after.advantages, before.advantages)
        names = (*RETURN, "values")
        before = losses.gae(**pick(one, *names), lambda_=lambda_)
        after = losses.gae(**pick(other, *names), lambda_=lambda_)
        near(after.targets, before.targets + shift)
        near(after.advantages, before.advantages)


@few_examples
@given(seeds, shapes, st.integers(1, 5))
def test_each_episode_alone_gives_what_it_gives_among_others(seed, shape, n):
    """Cutting the trajectory at its ends changes no return."""
    steps = {k: v[:, 0] for k, v in pick(make_steps(shape, seed), *RETURN).items()}
    whole = losses.n_step_returns(**steps, n=n)
    starts = [0, *(np.flatnonzero(steps["ends"]) + 1)]
    for start, stop in zip(starts, [*starts[1:], shape[0]], strict=True):
        if start < stop:
            alone = {name: array[start:stop] for name, array in steps.items()}
            near(whole[start:stop], losses.n_step_returns(**alone, n=n))


@few_examples
@given(seeds, shapes, lambdas)
def test_scan_and_associative_scan_agree_in_value_and_gradient(seed, shape, lambda_):
    steps = pick(make_steps(shape, seed), *RETURN)

    def total(next_values, method):
        returns = losses.lambda_returns(
            **steps | {"next_values": next_values}, lambda_=lambda_, method=method
        )
        return (returns * np.linspace(1, 2, shape[0])[:, None]).sum()

    both = jax.jit(jax.value_and_grad(total), static_argnums=1)
    value, slopes = both(steps["next_values"], "scan")
    other_value, other_slopes = both(steps["next_values"], "associative")
    near(value, other_value, 1e-3)
    near(slopes, other_slopes)


@few_examples
@given(seeds, shapes, lambdas)
def test_with_the_taken_action_certain_retrace_is_the_lambda_return(
    seed, shape, lambda_
):
    """Where V(x) is Q(x, a) and pi is mu, no correction is for the policy."""
    steps = make_steps(shape, seed)
    got = losses.retrace(
        **pick(steps, "rewards", "discounts", "ends"),
        q_values=steps["values"],
        next_state_values=steps["next_values"],
        log_ratios=np.zeros(shape),
        lambda_=lambda_,
    )
    near(got, losses.lambda_returns(**pick(steps, *RETURN), lambda_=lambda_))


@few_examples
@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3),
    st.sampled_from([0.0, 1e-3, 0.5]),
)
def test_the_inverse_undoes_the_rescaling_and_keeps_order_and_sign(values, epsilon):
    values = np.sort(np.array(values, np.float32))
    there = losses.signed_hyperbolic(values, epsilon=epsilon)
    np.testing.assert_allclose(
        losses.signed_parabolic(there, epsilon=epsilon), values, rtol=1e-5, atol=1e-30
    )
    assert (np.diff(there) >= 0).all()
    assert (np.sign(there) == np.sign(values)).all()


@few_examples
@given(seeds)
def test_sorting_targets_or_quantiles_with_their_fractions_changes_no_loss(seed):
    rng = np.random.default_rng(seed)
    quantiles, fractions, targets = (
        rng.normal(size=4),
        rng.random(4),
        rng.normal(size=6),
    )
    order = rng.permutation(4)
    near(
        losses.quantile_huber_loss(
            quantiles=quantiles, fractions=fractions, target_quantiles=targets
        ),
        losses.quantile_huber_loss(
            quantiles=quantiles[order],
            fractions=fractions[order],
            target_quantiles=np.sort(targets),
        ),
    )
