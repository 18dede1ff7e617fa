"""Every registered environment runs, in rows, with the types and ranges it states."""

import array
import gzip
import struct

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.utils import load_mnist

from jaxrl_dist.environments.base import Environment, batch
from jaxrl_dist.environments.gymnax_env import (
    environment_names,
    make_gymnax_environment,
)
from jaxrl_dist.types import ArraySpec, DiscreteSpec
from tests.environments.random_rollout import random_rows

STEPS, BATCH = 60, 3


@pytest.fixture
def mnist_files(tmp_path, monkeypatch):
    """Five digits in MNIST's own file format, where gymnax looks for them."""
    random = np.random.default_rng(0)
    for part in ("train", "t10k"):
        images = struct.pack(">IIII", 2051, 5, 28, 28)
        pixels = random.integers(0, 256, 5 * 28 * 28).astype(np.uint8)
        labels = struct.pack(">II", 2049, 5) + bytes(range(5))
        for name, data in {
            f"{part}-images-idx3-ubyte.gz": images + array.array("B", pixels).tobytes(),
            f"{part}-labels-idx1-ubyte.gz": labels,
        }.items():
            (tmp_path / name).write_bytes(gzip.compress(data))
    monkeypatch.setattr(load_mnist.load_mnist, "__defaults__", (str(tmp_path),))


def seen_twice(environment: Environment) -> Environment:
    """Shows beside what is seen what `observe` says of the state."""
    observe = environment.observe or (lambda state: ())

    def reset(key):
        state, observation = environment.reset(key)
        return state, (observation, observe(state))

    def step(key, state, action):
        state, outcome = environment.step(key, state, action)
        both = (outcome.observation, observe(state))
        return state, outcome._replace(observation=both)

    return Environment(environment.spec, reset, step)


def check_rows(environment: Environment) -> None:
    """Checks a random rollout against the environment's spec."""
    rows, _ = random_rows(batch(seen_twice(environment)), STEPS, BATCH)
    seen, observed = rows.observation
    if environment.observe is not None:
        np.testing.assert_array_equal(observed, seen)
    rows = rows._replace(observation=seen)
    spec = environment.spec.observation
    assert rows.observation.shape == (STEPS + 1, BATCH, *spec.shape)
    assert rows.observation.dtype == spec.dtype
    assert rows.reward.shape == rows.terminated.shape == (STEPS + 1, BATCH)
    assert rows.reward.dtype == jnp.float32 and rows.terminated.dtype == bool
    low = -np.inf if spec.low is None else np.asarray(spec.low, np.float32)
    high = np.inf if spec.high is None else np.asarray(spec.high, np.float32)
    observation = np.asarray(rows.observation, np.float32)
    assert (observation >= low).all() and (observation <= high).all()
    assert np.isfinite(observation).all() and np.isfinite(rows.reward).all()
    np.testing.assert_array_equal(rows.is_last[:-1], rows.is_first[1:])
    assert not rows.reward[rows.is_first].any()
    assert not rows.terminated[rows.is_first].any()
    assert rows.is_last[rows.terminated].all()


@pytest.mark.parametrize("name", environment_names())
@pytest.mark.usefixtures("mnist_files")
def test_a_random_rollout_keeps_to_the_spec(name):
    check_rows(make_gymnax_environment(name))


def test_an_observation_with_random_parts_is_not_made_from_the_state():
    environment = make_gymnax_environment("UmbrellaChain-bsuite", {"n_distractor": 20})
    check_rows(environment)
    rows, _ = random_rows(batch(environment), 5, 2)
    distractors = np.asarray(rows.observation[..., 3:]).reshape(-1, 20)
    assert len(np.unique(distractors, axis=0)) == len(distractors)


@pytest.mark.parametrize("name", ["Breakout-MinAtar", "Catch-bsuite", "DeepSea-bsuite"])
def test_small_observations_are_exactly_those_of_gymnax(name):
    environment, params = gymnax.make(name)
    ours = make_gymnax_environment(name)
    key = jax.random.key(0)
    observation, state = environment.reset_env(key, params)
    our_state, our_observation = ours.reset(key)
    for seed in range(6):
        assert our_observation.dtype == jnp.uint8
        np.testing.assert_array_equal(our_observation, observation)
        key, action = jax.random.key(seed), jnp.int32(seed % 2)
        observation, state, reward, *_ = environment.step_env(
            key, state, action, params
        )
        our_state, outcome = ours.step(key, our_state, action)
        our_observation = outcome.observation
        assert outcome.reward == reward


def test_the_time_limit_truncates_and_the_fall_terminates():
    # Too soon to have fallen: the pole needs 9 steps at least.
    limited = make_gymnax_environment("CartPole-v1", {"max_steps_in_episode": 5})
    rows, _ = random_rows(batch(limited), 5, 8)
    assert rows.is_last[5].all() and not rows.terminated.any()
    rows, _ = random_rows(batch(make_gymnax_environment("CartPole-v1")), 60, 8)
    assert rows.is_last.any()
    np.testing.assert_array_equal(rows.terminated, rows.is_last)


def test_the_state_of_a_reset_and_of_a_step_are_of_one_type():
    for name in ("Pendulum-v1", "SpaceInvaders-MinAtar", "UmbrellaChain-bsuite"):
        environment = make_gymnax_environment(name)
        key = jax.random.key(0)
        action = environment.spec.action
        shape = () if isinstance(action, DiscreteSpec) else action.shape
        state, observation = jax.eval_shape(environment.reset, key)
        next_state, outcome = jax.eval_shape(
            environment.step, key, state, jnp.zeros(shape, jnp.int32)
        )
        assert (state, observation) == (next_state, outcome.observation)


def test_parameters_and_arguments_are_set_by_name():
    rows, _ = random_rows(
        batch(make_gymnax_environment("MemoryChain-bsuite", {"memory_length": 3})), 5, 2
    )
    np.testing.assert_array_equal(rows.is_last[:, 0], [0, 0, 0, 0, 1, 0])
    chain = make_gymnax_environment("MemoryChain-bsuite", {"num_bits": 4})
    assert chain.spec.observation.shape == (6,)
    assert make_gymnax_environment("Breakout-MinAtar").spec.action == DiscreteSpec(3)
    full = make_gymnax_environment("Breakout-MinAtar", minimal_actions=False)
    assert full.spec.action == DiscreteSpec(6)


def test_bounds_are_numbers_where_they_agree_and_infinite_where_there_are_none():
    high = make_gymnax_environment("CartPole-v1").spec.observation.high
    np.testing.assert_allclose(high, [4.8, np.inf, 0.418879, np.inf], rtol=1e-5)
    assert make_gymnax_environment("PointRobot-misc").spec.observation.high is None
    action = make_gymnax_environment("Pendulum-v1").spec.action
    assert action == ArraySpec((1,), np.dtype(np.float32), -2.0, 2.0)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"'CartPole-v0'; nearest: CartPole-v1, "):
        make_gymnax_environment("CartPole-v0")
    with pytest.raises(ValueError, match="nearest: Breakout-MinAtar"):
        make_gymnax_environment("breakout")


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        (
            "MemoryChain-bsuite",
            {"memory": 3},
            "has no 'memory'; valid: max_steps_in_episode, memory_length, num_bits",
        ),
        ("CartPole-v1", {"max_steps_in_episode": 1.5}, r"of type int \(500 .* got 1.5"),
        ("Acrobot-v1", {"available_torque": 1}, "has no 'available_torque'"),
    ],
)
def test_a_parameter_that_does_not_fit_is_named(name, parameters, message):
    with pytest.raises(ValueError, match=message):
        make_gymnax_environment(name, parameters)


def test_only_minatar_has_a_choice_of_actions():
    with pytest.raises(ValueError, match="minimal_actions: CartPole-v1"):
        make_gymnax_environment("CartPole-v1", minimal_actions=False)


def test_missing_digits_say_where_they_belong(tmp_path, monkeypatch):
    def refuse(url, target):
        raise OSError("no network")

    monkeypatch.setattr(load_mnist, "urlretrieve", refuse)
    monkeypatch.setattr(load_mnist.load_mnist, "__defaults__", (str(tmp_path),))
    with pytest.raises(FileNotFoundError, match=f"in {tmp_path}, .*: no network"):
        make_gymnax_environment("MNISTBandit-bsuite")
