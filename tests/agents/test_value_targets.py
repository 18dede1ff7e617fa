"""Losses of value-based agents across ends, against plain loops over a table."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.agents.c51 import C51Config, Support
from jaxrl_dist.agents.dqn import DQNConfig
from jaxrl_dist.agents.iqn import IQNConfig
from jaxrl_dist.agents.qr_dqn import QRDQNConfig
from jaxrl_dist.agents.rainbow import RainbowConfig
from jaxrl_dist.agents.value import ValueConfig
from tests.agents.tabular import make_sample, make_table, n_step_by_hand

GAMMA, KEY = 0.9, jax.random.key(0)
SUPPORT = Support(num_atoms=5, v_min=-2.0, v_max=2.0)


def huber(error: float, delta: float) -> float:
    size = abs(error)
    return 0.5 * size**2 if size <= delta else delta * (size - 0.5 * delta)


def dqn(taken, reached, picker, step, before):
    reward, factor, action = step
    target = reward + factor * reached[np.argmax(picker[:, 0]), 0]
    error = target - taken[action, 0]
    return huber(error, 0.7), abs(error)


def munchausen(taken, reached, picker, step, before):
    reward, factor, action = step

    def log_policy(q):
        return q / 0.5 - math.log(sum(math.exp(x / 0.5) for x in q))

    bonus = max(0.5 * log_policy(before[:, 0])[action], -1.0)
    soft = 0.5 * math.log(sum(math.exp(x / 0.5) for x in reached[:, 0]))
    error = reward + 0.9 * bonus + factor * soft - taken[action, 0]
    return huber(error, 0.7), abs(error)


def c51(taken, reached, picker, step, before):
    reward, factor, action = step
    atoms = np.linspace(SUPPORT.v_min, SUPPORT.v_max, SUPPORT.num_atoms)

    def probabilities(logits):
        return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)

    best = np.argmax(probabilities(picker) @ atoms)
    target = np.zeros(SUPPORT.num_atoms)
    for atom, mass in zip(atoms, probabilities(reached)[best], strict=True):
        place = np.clip(reward + factor * atom, SUPPORT.v_min, SUPPORT.v_max)
        low = min(int((place - SUPPORT.v_min) // 1.0), SUPPORT.num_atoms - 2)
        share = place - atoms[low]
        target[low] += mass * (1 - share)
        target[low + 1] += mass * share
    entropy = -(target * np.log(probabilities(taken)[action])).sum()
    return entropy, entropy


def quantiles(taken, reached, picker, step, before):
    reward, factor, action = step
    best = np.argmax(picker.mean(-1))
    loss = 0.0
    for i, quantile in enumerate(taken[action]):
        fraction = (i + 0.5) / len(taken[action])
        errors = reward + factor * reached[best] - quantile
        losses = [abs(fraction - (e < 0)) * huber(e, 0.5) for e in errors]
        loss += sum(losses) / len(losses)
    error = reward + factor * reached[best].mean() - taken[action].mean()
    return loss, abs(error)


def learner(n: int, double: bool) -> ValueConfig:
    return ValueConfig(gamma=GAMMA, n_step=n, double=double)


def soft(n: int, double: bool) -> DQNConfig:
    return DQNConfig(
        learner(n, double), 0.7, munchausen=True, munchausen_temperature=0.5
    )


CASES = {
    "dqn": (lambda *x: DQNConfig(learner(*x), 0.7), dqn, False),
    "double dqn": (lambda *x: DQNConfig(learner(*x), 0.7), dqn, True),
    "munchausen": (soft, munchausen, False),
    "c51": (lambda *x: C51Config(learner(*x), SUPPORT), c51, False),
    "rainbow": (lambda *x: RainbowConfig(learner(*x), support=SUPPORT), c51, True),
    "qr_dqn": (lambda *x: QRDQNConfig(learner(*x), 4, 0.5), quantiles, False),
    "double qr_dqn": (lambda *x: QRDQNConfig(learner(*x), 4, 0.5), quantiles, True),
}


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_losses_and_priorities_are_those_of_a_plain_loop(case, n):
    make_config, by_hand, double = CASES[case]
    agent = make_config(n, double).build(make_table, 100)
    assert agent.sequence_length == n + 1
    state, sample = agent.init(KEY), make_sample(n)
    target = state.target_params + jax.random.normal(KEY, state.params.shape)
    state = state._replace(target_params=target)
    gradients: Any = agent.gradients
    _, info = jax.jit(gradients)(state, sample, KEY)

    rows, width = sample.trajectory, state.params.size // 18
    online, target = (
        np.asarray(x, np.float64).reshape(6, 3, width) for x in (state.params, target)
    )
    losses, kinds = [], set()
    for column, priority in enumerate(info.priority):
        step = n_step_by_hand(rows, column, GAMMA)
        if step is None:
            assert priority == 0.0
            continue
        reward, factor, reached = step
        first, action = (int(x[0, column]) for x in (rows.observation, rows.action))
        loss, size = by_hand(
            online[first],
            target[reached],
            (online if double else target)[reached],
            (reward, factor, action),
            target[first],
        )
        losses.append(loss)
        kinds.add(round(factor, 6))
        np.testing.assert_allclose(priority, size, rtol=1e-4, atol=1e-5)
    assert len(kinds) == n + 1, "not every way to end was there"
    np.testing.assert_allclose(info.metrics["loss"], np.mean(losses), rtol=1e-4)


def test_iqn_weighs_errors_by_fractions_drawn_evenly():
    number = 4096
    agent = IQNConfig(learner(2, False), number, 8, 8, kappa=0.5).build(make_table, 100)
    state, sample = agent.init(KEY), make_sample(2)
    flat = state.params.reshape(6, 3, 2).at[..., 1].set(0.0).ravel()
    state = state._replace(params=flat, target_params=flat + 1.0 * (flat != 0))
    gradients: Any = agent.gradients
    _, info = jax.jit(gradients)(state, sample, KEY)
    online = np.asarray(flat, np.float64).reshape(6, 3, 2)[..., 0]
    rows, losses = sample.trajectory, []
    for column, priority in enumerate(info.priority):
        step = n_step_by_hand(rows, column, GAMMA)
        if step is None:
            continue
        reward, factor, reached = step
        first, action = (int(x[0, column]) for x in (rows.observation, rows.action))
        error = reward + factor * (online[reached].max() + 1.0) - online[first, action]
        losses.append(0.5 * huber(error, 0.5))
        np.testing.assert_allclose(priority, abs(error), rtol=1e-4, atol=1e-5)
    mean = info.metrics["loss"] / number
    np.testing.assert_allclose(mean, np.mean(losses), rtol=0.02)


def test_importance_weights_scale_each_items_gradient():
    agent = DQNConfig(learner(1, False)).build(make_table, 100)
    state, sample = agent.init(KEY), make_sample(1)

    gradients: Any = agent.gradients

    def gradient(weight):
        return gradients(state, sample._replace(weight=weight), KEY)[0]

    ones = jnp.ones_like(sample.weight)
    parts = jax.vmap(gradient)(jnp.diag(ones))
    np.testing.assert_allclose(
        gradient(sample.weight),
        jnp.einsum("i,ip->p", sample.weight, parts),
        rtol=1e-4,
        atol=1e-6,
    )
    assert not np.allclose(gradient(sample.weight), gradient(ones), rtol=1e-2)
