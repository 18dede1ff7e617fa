"""The learner of value-based agents: acting, targets that move, devices, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.agents.c51 import C51Config, Support
from jaxrl_dist.agents.dqn import DQNConfig
from jaxrl_dist.agents.exploration import ExplorationConfig
from jaxrl_dist.agents.iqn import IQNConfig
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.agents.qr_dqn import QRDQNConfig
from jaxrl_dist.agents.rainbow import RainbowConfig
from jaxrl_dist.agents.value import ValueConfig, ValueState
from jaxrl_dist.distribution import devices
from jaxrl_dist.networks.action_values import QNetworkConfig
from jaxrl_dist.types import ArraySpec, DiscreteSpec, EnvironmentSpec, TimeStep
from tests.agents.tabular import STATES, make_sample, make_table

KEY = jax.random.key(0)
PLAIN = OptimizerConfig(learning_rate=0.1, anneal=False, max_gradient_norm=1e6)
AGENTS = {
    "dqn": DQNConfig(ValueConfig(PLAIN, n_step=2)),
    "c51": C51Config(ValueConfig(PLAIN, n_step=2)),
    "qr_dqn": QRDQNConfig(ValueConfig(PLAIN, n_step=2), num_quantiles=4),
    "iqn": IQNConfig(ValueConfig(PLAIN, n_step=2), 4, 4, 4),
    "rainbow": RainbowConfig(),
}


def seen(observation: jax.Array) -> TimeStep:
    nothing = jnp.zeros(len(observation))
    return TimeStep(observation, nothing, nothing > 0, nothing > 0, nothing > 0)


@pytest.mark.parametrize("name", AGENTS)
def test_without_chance_an_agent_takes_the_action_of_the_greatest_mean(name):
    agent = AGENTS[name].build(make_table, 10)
    state = agent.init(KEY)
    every = jnp.arange(STATES)
    acting = agent.acting_params(state)
    memory, action, _ = agent.act(acting, (), seen(every), None)
    tables = np.asarray(state.params).reshape(STATES, 3, -1)
    if name in ("c51", "rainbow"):
        mass = np.exp(tables) / np.exp(tables).sum(-1, keepdims=True)
        means = mass @ np.linspace(-10, 10, 51)
    elif name == "iqn":
        means = tables[..., 0] + 0.5 * tables[..., 1]
    else:
        means = tables.mean(-1)
    assert memory == () and action.dtype == jnp.int32
    np.testing.assert_array_equal(action, means.argmax(-1))


def test_the_share_of_random_actions_falls_with_the_updates():
    exploration = ExplorationConfig(1.0, 0.1, decay_fraction=0.5)
    agent = DQNConfig(ValueConfig(exploration=exploration)).build(make_table, 100)
    state = agent.init(KEY)
    shares = []
    for updates in (0, 25, 50, 100):
        now = state._replace(num_updates=jnp.int32(updates))
        noise = agent.draw(KEY, 3000)
        observation = jnp.zeros(3000, jnp.int32)
        acting = agent.acting_params(now)
        _, action, _ = agent.act(acting, (), seen(observation), noise)
        _, best, _ = agent.act(acting, (), seen(observation), None)
        shares.append(float((action != best).mean()) * 3 / 2)  # of 3, 1 is the best
    np.testing.assert_allclose(shares, [1.0, 0.55, 0.1, 0.1], atol=0.05)


@pytest.mark.parametrize(
    ("period", "step_size", "moved"),
    [(3, 1.0, [0, 0, 1, 0]), (1, 0.25, [1, 1, 1, 1]), (2, 0.5, [0, 1, 0, 1])],
)
def test_the_target_network_moves_when_it_is_due(period, step_size, moved):
    config = ValueConfig(
        PLAIN, target_period_updates=period, target_step_size=step_size
    )
    agent = DQNConfig(config).build(make_table, 10)
    state: ValueState = agent.init(KEY)
    for moves in moved:
        before = state.target_params
        state, _ = agent.update(state, make_sample(1), KEY)
        expected = before + moves * step_size * (state.params - before)
        np.testing.assert_allclose(state.target_params, expected, rtol=1e-5)
        assert not np.allclose(state.params, before)


@pytest.mark.parametrize("name", ["dqn", "c51", "qr_dqn"])
def test_gradients_of_a_batch_do_not_depend_on_the_number_of_devices(name):
    sample, config = make_sample(2, seed=1), AGENTS[name]
    alone = config.build(make_table, 1)
    wanted, expected = jax.jit(alone.gradients)(alone.init(KEY), sample, KEY)
    shared = config.build(make_table, 1, devices.AXIS_NAME)
    gradients = devices.compile_for(2, shared.gradients, in_axes=(None, 0, None))
    halves = sample._replace(
        trajectory=jax.tree.map(
            lambda x: jnp.stack(jnp.split(x, 2, axis=1)), sample.trajectory
        ),
        weight=sample.weight.reshape(2, -1),
        slot=sample.slot.reshape(2, -1),
    )
    counts = (~sample.trajectory.is_last[0]).reshape(2, -1).sum(1)
    assert counts[0] != counts[1], "devices count equally many steps"
    got, info = gradients(alone.init(KEY), halves, KEY)
    for mine in got:
        np.testing.assert_allclose(mine, wanted, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(info.priority.ravel(), expected.priority, rtol=1e-4)


def test_a_noisy_network_learns_with_noise_and_shows_what_it_has_learned_without():
    spec = EnvironmentSpec("Small", ArraySpec((4,), jnp.float32), DiscreteSpec(3))
    network = QNetworkConfig(hidden=(8,), noisy=True, dueling=True).build(spec)
    agent = RainbowConfig().build(network, 10)
    acting = agent.acting_params(agent.init(KEY))
    observation = jax.random.normal(KEY, (200, 4))
    picked = [
        agent.act(acting, (), seen(observation), agent.draw(jax.random.key(k), 200))[1]
        for k in range(2)
    ]
    greedy = [agent.act(acting, (), seen(observation), None)[1] for _ in range(2)]
    assert (picked[0] != picked[1]).any() and (greedy[0] == greedy[1]).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ValueConfig(n_step=0), "n_step must be at least 1, got 0"),
        (lambda: ValueConfig(gamma=1.1), r"gamma must be in \[0, 1\], got 1.1"),
        (lambda: ValueConfig(target_step_size=0.0), r"target_step_size must be in \("),
        (lambda: Support(num_atoms=1), "num_atoms must be at least 2, got 1"),
        (lambda: Support(v_min=3.0, v_max=3.0), "v_max must be above 3.0, got 3.0"),
        (lambda: QRDQNConfig(num_quantiles=0), "num_quantiles must be at least 1"),
        (lambda: IQNConfig(num_policy_fractions=0), "num_policy_fractions must be"),
        (
            lambda: DQNConfig(ValueConfig(double=True), munchausen=True),
            "munchausen averages over the next actions",
        ),
        (lambda: ExplorationConfig(epsilon_final=-0.1), "epsilon_final must be in"),
    ],
)
def test_a_setting_out_of_range_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", AGENTS)
def test_an_actor_ranks_sequences_as_the_learner_would(name):
    agent = AGENTS[name].build(make_table, 10)
    state = agent.init(KEY)  # whose target is the network that acts
    assert agent.sequence_length is not None
    sample = make_sample(agent.sequence_length - 1, batch_size=8)
    _, info = agent.update(state, sample, KEY)
    assert agent.initial_priorities is not None
    priorities = agent.initial_priorities(
        agent.acting_params(state), sample.trajectory, KEY
    )
    np.testing.assert_allclose(priorities, info.priority, rtol=1e-5, atol=1e-6)
    assert priorities.max() > 0
