"""What stands in for environments on the host, where only shapes are looked at."""

import jax
import pytest

from jaxrl_dist import rollout
from jaxrl_dist.agents.a2c import A2CConfig
from jaxrl_dist.environments.build import host_stand_in
from jaxrl_dist.environments.gymnasium_env import GymnasiumConfig
from jaxrl_dist.environments.host import idle
from jaxrl_dist.rollout_on_host import compile_acting, rollout_on_host, start_on_host
from tests.agents.small import make_network

B, T = 3, 5


def test_a_stand_in_has_the_shapes_of_what_it_stands_for():
    config = GymnasiumConfig("Acrobot-v1", num_envs=B, frame_stack=2)
    environment, stand_in = config.build(), host_stand_in(config)
    assert stand_in.spec == environment.spec
    agent = A2CConfig().build(make_network(environment.spec), total_updates=1)
    params, acting = agent.init(jax.random.key(0)).params, compile_acting(agent)
    state = start_on_host(acting, environment, 0)
    _, rows = rollout_on_host(acting, environment, params, state, num_steps=T)
    environment.close()

    def on_device():
        state = rollout.start(agent, stand_in, jax.random.key(0), B)
        return rollout.rollout(agent, stand_in, params, state, num_steps=T)[1]

    shapes = jax.eval_shape(on_device)
    assert jax.tree.structure(rows) == jax.tree.structure(shapes)
    for got, like in zip(jax.tree.leaves(rows), jax.tree.leaves(shapes), strict=True):
        assert (got.shape, got.dtype) == (like.shape, like.dtype)


def test_a_block_closes_its_environments_also_when_it_fails():
    spec, closed = host_stand_in(GymnasiumConfig("Acrobot-v1")).spec, []
    environment = idle(spec, B)._replace(close=lambda: closed.append(1))
    with environment as entered:
        assert (entered, closed) == (environment, [])
    assert closed == [1]
    with pytest.raises(ValueError, match="halfway"), environment:
        raise ValueError("halfway")
    assert closed == [1, 1]
