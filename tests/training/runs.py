"""Small runs of the on-device runtime."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist.distribution import devices
from jaxrl_dist.environments.base import Environment, batch
from jaxrl_dist.experiment import NETWORKS, AgentConfig
from jaxrl_dist.replay.sequences import ReplayConfig
from jaxrl_dist.training.from_replay import make_replay_setting
from jaxrl_dist.training.normaliser import make_normaliser
from jaxrl_dist.training.on_device import Setting


def make_setting(
    config: AgentConfig,
    environment: Environment,
    *,
    total_updates: int = 1,
    num_envs: int = 4,
    rollout_steps: int = 8,
    policy_lag_updates: int = 0,
    num_devices: int = 1,
    hidden: tuple[int, ...] = (8,),
    normalise: bool = False,
    replay: ReplayConfig | None = None,
    **network_settings: Any,
) -> Setting:
    """A run of an agent in an environment; `num_envs` are over all devices."""
    axis_name = devices.AXIS_NAME if num_devices > 1 else None
    normaliser = make_normaliser(
        environment.spec,
        observations=normalise,
        rewards=normalise,
        gamma=config.gamma,
        axis_name=axis_name,
    )
    settings = {"hidden": hidden, **network_settings}
    network = NETWORKS[type(config)](**settings).build(normaliser.spec)
    agent = config.build(network, total_updates, axis_name)
    setting = None
    if replay is not None and agent.sequence_length is not None:
        setting = make_replay_setting(
            replay,
            agent,
            num_envs=num_envs,
            rollout_steps=rollout_steps,
            total_rollouts=total_updates,
            num_devices=num_devices,
            axis_name=axis_name,
        )
    return Setting(
        agent=agent,
        environment=batch(environment),
        normaliser=normaliser,
        num_envs=num_envs // num_devices,
        rollout_steps=rollout_steps,
        policy_lag_updates=policy_lag_updates,
        replay=setting,
    )


def assert_close(got, wanted, rtol: float = 0.0) -> None:
    """Checks two trees, leaf by leaf; keys count by their data."""
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol / 10)
