"""R2D2: targets by hand, burn-in, memory, what its heads learn, and devices."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist import rollout
from jaxrl_dist.agents.dqn import DQNConfig
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.agents.r2d2 import R2D2Config
from jaxrl_dist.agents.r2d2_learning import make_learn, memory_after_burn_in
from jaxrl_dist.agents.value import ValueConfig, ValueState
from jaxrl_dist.distribution import devices
from jaxrl_dist.environments.base import batch
from jaxrl_dist.networks.action_values import MakeQNetwork, QNetworkConfig
from jaxrl_dist.networks.recurrent import CoreConfig, CoreKind
from jaxrl_dist.types import Agent, Sample, Trajectory
from tests.agents import tabular
from tests.agents.small import SPEC, make_rows, spoil_last_rows
from tests.environments.wandering import wandering

KEY = jax.random.key(0)
GAMMA, EPSILON = 0.9, 1e-3
PLAIN = OptimizerConfig(learning_rate=0.1, anneal=False, max_gradient_norm=1e6)
LEARNER = ValueConfig(PLAIN, gamma=GAMMA, n_step=3, double=True)
CONFIG = R2D2Config(LEARNER, burn_in=4, trace=6, num_quantiles=3, num_cosines=4)
ROWS = CONFIG.burn_in + CONFIG.trace + LEARNER.n_step
KINDS: tuple[CoreKind, ...] = ("lstm", "gru", "min_gru")


def make_network(kind: CoreKind = "lstm", **settings: Any) -> MakeQNetwork:
    """A small network with a core."""
    core = CoreConfig(kind, 5)
    return QNetworkConfig(hidden=(8,), core=core, dueling=True, **settings).build(SPEC)


def make_sample(kind: CoreKind = "lstm", batch_size: int = 8) -> Sample:
    """Sequences with ends of both kinds in them, and random memory in each row."""
    rows = make_rows(ROWS - 1, batch_size)
    random = np.random.default_rng(1)
    memory = jax.tree.map(
        lambda x: jnp.asarray(random.normal(size=(ROWS, *x.shape)), x.dtype),
        make_network(kind)(may_remember=True).initial_memory(batch_size),
    )
    weight = jnp.asarray(random.uniform(0.2, 1.0, batch_size), jnp.float32)
    return Sample(rows._replace(memory=memory), weight, jnp.arange(batch_size))


def compress(values: np.ndarray) -> np.ndarray:
    return np.sign(values) * (np.sqrt(np.abs(values) + 1) - 1) + EPSILON * values


def expand(values: np.ndarray) -> np.ndarray:
    root = np.sqrt(1 + 4 * EPSILON * (np.abs(values) + 1 + EPSILON)) - 1
    return np.sign(values) * ((root / (2 * EPSILON)) ** 2 - 1)


def target_by_hand(rows: Trajectory, at: tuple, online, target) -> np.ndarray | None:
    """The compressed n-step target of one row, [N]; None if it is no step."""
    start, column = at
    if rows.is_last[start, column]:
        return None
    total, factor, t = 0.0, 1.0, start
    for t in range(start, start + LEARNER.n_step):
        total += factor * float(rows.reward[t, column])
        factor *= 0.0 if rows.terminated[t, column] else GAMMA
        if rows.is_last[t + 1, column]:
            break
    reached = int(rows.observation[t + 1, column])
    best = expand(online[reached]).mean(-1).argmax()
    return compress(total + factor * expand(target[reached, best]))


@pytest.mark.parametrize("head", ["q", "qr"])
def test_targets_are_those_of_the_paper_for_every_row_of_the_trace(head):
    config = dataclasses.replace(CONFIG, head=head)
    learn = make_learn(config, config.build_head(tabular.make_table))
    rows = tabular.make_sample(ROWS - 1, batch_size=16).trajectory
    width = 1 if head == "q" else 3
    online, target = jax.random.normal(KEY, (2, tabular.STATES, tabular.ACTIONS, width))
    got = jax.jit(learn)(online, target, rows, KEY)
    tables = np.asarray(online, float), np.asarray(target, float)
    got, rows = jax.device_get((got, rows))
    for t, column in np.ndindex(config.trace, 16):
        row = config.burn_in + t
        expected = target_by_hand(rows, (row, column), *tables)
        assert got.mask[t, column] == (expected is not None)
        if expected is None:
            continue
        state, action = rows.observation[row, column], rows.action[row, column]
        prediction = tables[0][state, action]
        error = expected.mean() - prediction.mean()
        np.testing.assert_allclose(got.errors[t, column], error, rtol=2e-3, atol=2e-3)
        size = 0.5 * error**2
        if head == "qr":
            apart = expected[None] - prediction[:, None]
            linear = np.minimum(np.abs(apart), 1.0)
            huber = linear * (np.abs(apart) - 0.5 * linear)
            tilt = np.abs(np.array([1, 3, 5])[:, None] / 6 - (apart < 0))
            size = (tilt * huber).mean(1).sum()
        np.testing.assert_allclose(got.losses[t, column], size, rtol=5e-3, atol=5e-3)


class Built(NamedTuple):
    """An agent, compiled, and the state it starts from."""

    config: R2D2Config
    agent: Agent
    state: ValueState
    gradients: Callable


@functools.cache
def built(kind: CoreKind = "lstm", **settings: Any) -> Built:
    """Builds an agent of CONFIG with other settings."""
    config = dataclasses.replace(CONFIG, **settings)
    agent = config.build(make_network(kind), 10)
    assert agent.gradients is not None
    gradients = jax.jit(agent.gradients)
    return Built(config, agent, jax.jit(agent.init)(KEY), gradients)


def with_rows(sample: Sample, rows: Trajectory) -> Sample:
    return sample._replace(trajectory=rows)


@pytest.mark.parametrize(("kind", "head"), [("lstm", "q"), ("min_gru", "iqn")])
def test_burn_in_carries_no_gradient(kind, head):
    whole, rest = built(kind, head=head), built(kind, head=head, burn_in=0)
    sample = make_sample(kind)
    # The rows after the burn-in alone, with the memory that it leads to as a constant.
    network_head = whole.config.build_head(make_network(kind))

    @jax.jit
    def after_burn_in() -> Trajectory:
        params, rows = whole.agent.acting_params(whole.state).params, sample.trajectory
        memory = memory_after_burn_in(whole.config, network_head, params, rows, ())
        rest = jax.tree.map(lambda x: x[CONFIG.burn_in :], rows)
        return rest._replace(memory=jax.tree.map(lambda x: x[None], memory))

    rows = after_burn_in()
    got, _ = whole.gradients(whole.state, sample, KEY)
    wanted, _ = rest.gradients(whole.state, with_rows(sample, rows), KEY)
    assert jnp.linalg.norm(wanted) > 0.01
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_fresh_parameters_give_the_values_and_memory_of_the_actor(kind):
    core = CoreConfig(kind, 5)
    make = QNetworkConfig(hidden=(8,), core=core).build(wandering().spec)
    network, agent = make(may_remember=True), CONFIG.build(make, 10)
    head, start = CONFIG.build_head(make), 3
    begin, end = start + CONFIG.burn_in, start + ROWS

    @jax.jit
    def play() -> tuple:
        environment = batch(wandering())
        acting = agent.acting_params(agent.init(KEY))
        now = rollout.start(agent, environment, KEY, 4)
        _, rows = rollout.rollout(agent, environment, acting, now, num_steps=30)
        # Each row by itself, as it was acted on, from the memory stored with it.
        alone = jax.tree.map(lambda x: x[begin:end].reshape(-1, *x.shape[2:]), rows)
        _, acted = network.unroll(
            acting.params,
            alone.memory,
            alone.observation[None],
            alone.is_first[None],
            noise=(),
        )
        sequence = jax.tree.map(lambda x: x[start:end], rows)
        memory = memory_after_burn_in(CONFIG, head, acting.params, sequence, ())
        _, learned = network.unroll(
            acting.params,
            memory,
            rows.observation[begin:end],
            rows.is_first[begin:end],
            noise=(),
        )
        return rows, memory, learned, acted

    rows, memory, learned, acted = play()
    assert rows.is_first[start + 1 : begin].any() and rows.is_first[begin:end].any()
    stored = jax.tree.map(lambda x: x[begin], rows.memory)
    for got, wanted in zip(
        jax.tree.leaves(memory), jax.tree.leaves(stored), strict=True
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        learned, acted.reshape(learned.shape), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("stored", [True, False])
def test_a_sequence_begins_with_stored_memory_or_as_an_episode_does(stored):
    mine, sample = built(stored_state=stored), make_sample()
    rows = sample.trajectory
    got, _ = mine.gradients(mine.state, sample, KEY)

    def after(change: Callable) -> jax.Array:
        memory = jax.tree.map(change, rows.memory)
        changed = with_rows(sample, rows._replace(memory=memory))
        return mine.gradients(mine.state, changed, KEY)[0]

    zeroed = after(lambda x: x.at[0].set(0.0))
    assert np.allclose(got, zeroed, rtol=1e-4, atol=1e-6) == (not stored)
    # Of all memory, that of the first row is read and no other.
    np.testing.assert_array_equal(after(lambda x: x.at[1:].set(9.0)), got)


def test_what_stands_in_last_rows_changes_nothing():
    mine, sample = built(), make_sample()
    got, info = mine.gradients(mine.state, sample, KEY)
    spoilt = with_rows(sample, spoil_last_rows(sample.trajectory, seed=2))
    other, other_info = mine.gradients(mine.state, spoilt, KEY)
    np.testing.assert_allclose(got, other, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(info.priority, other_info.priority, rtol=1e-4)


def test_gradients_of_a_batch_do_not_depend_on_the_number_of_devices():
    mine, sample = built(), make_sample()
    wanted, expected = mine.gradients(mine.state, sample, KEY)
    shared = CONFIG.build(make_network(), 10, devices.AXIS_NAME)
    assert shared.gradients is not None
    gradients = devices.compile_for(2, shared.gradients, in_axes=(None, 0, None))
    halves = sample._replace(
        trajectory=jax.tree.map(
            lambda x: jnp.stack(jnp.split(x, 2, axis=1)), sample.trajectory
        ),
        weight=sample.weight.reshape(2, -1),
        slot=sample.slot.reshape(2, -1),
    )
    counts = (~sample.trajectory.is_last[4:10]).reshape(6, 2, -1).sum((0, 2))
    assert counts[0] != counts[1], "devices count equally many steps"
    got, info = gradients(mine.state, halves, KEY)
    for one in got:
        np.testing.assert_allclose(one, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(info.priority.ravel(), expected.priority, rtol=1e-4)


def test_an_actor_ranks_sequences_as_the_learner_would():
    mine, sample = built(), make_sample()
    _, info = mine.gradients(mine.state, sample, KEY)
    acting = mine.agent.acting_params(mine.state)
    assert mine.agent.initial_priorities is not None
    priority = jax.jit(mine.agent.initial_priorities)(acting, sample.trajectory, KEY)
    np.testing.assert_allclose(priority, info.priority, rtol=1e-4, atol=1e-6)
    learn = make_learn(mine.config, mine.config.build_head(make_network()))
    got = jax.jit(learn)(acting.params, acting.params, sample.trajectory, KEY)
    sizes = np.where(got.mask > 0, np.abs(got.errors), 0.0)
    means = sizes.sum(0) / got.mask.sum(0)
    expected = 0.9 * sizes.max(0) + 0.1 * means
    np.testing.assert_allclose(priority, expected, rtol=1e-4, atol=1e-6)


def test_sequences_overlap_by_half_of_their_trace():
    agent = CONFIG.build(make_network(), 10)
    assert agent.sequence_length == 4 + 6 + 3
    assert agent.sequence_period == 3
    assert not agent.first_row_only


@pytest.mark.parametrize("network", ["lstm", "gru", "min_gru"])
def test_an_agent_without_memory_refuses_a_recurrent_network(network):
    with pytest.raises(
        ValueError, match=f"^network.core.kind is {network}, and .*R2D2"
    ):
        DQNConfig().build(make_network(network), 1)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"burn_in": -1}, "burn_in must be at least 0, got -1"),
        ({"trace": 0}, "trace must be at least 1, got 0"),
        ({"priority_eta": 1.5}, r"priority_eta must be in \[0, 1\], got 1.5"),
        ({"num_quantiles": 0}, "num_quantiles must be at least 1, got 0"),
        ({"huber_delta": 0.0}, "huber_delta must be above 0, got 0.0"),
        ({"head": "c51"}, "head must be q, qr or iqn, got 'c51'"),
    ],
)
def test_a_setting_out_of_range_is_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        R2D2Config(**setting)
