"""Parallelised Q-learning: lambda-returns of many environments, without a replay."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxrl_dist import losses
from jaxrl_dist.agents.actor_critic import weighted_means
from jaxrl_dist.agents.base import average_over, mask_weights, transitions
from jaxrl_dist.agents.exploration import (
    Acting,
    ExplorationConfig,
    epsilon_at,
    make_act,
    make_draw,
    placed,
)
from jaxrl_dist.agents.flat import Flat, layout_of
from jaxrl_dist.agents.lasting_actions import explorer
from jaxrl_dist.agents.minibatches import learn_from_minibatches, minibatch_order
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.checks import check_at_least, check_in_range
from jaxrl_dist.networks.action_values import MakeQNetwork
from jaxrl_dist.networks.q_network import QNetwork
from jaxrl_dist.types import (
    Agent,
    ArrayTree,
    Params,
    Trajectory,
    UpdateInfo,
)


@dataclasses.dataclass(frozen=True)
class PQNConfig:
    """Settings of PQN, which needs a network with layer norm to be stable.

    Attributes:
        optimizer: gradient step.
        gamma: discount per environment step, in [0, 1].
        lambda_: mixes returns of every length, in [0, 1]; 0 looks one step ahead.
        num_epochs: passes over each batch, from 1.
        num_minibatches: gradient steps per pass, from 1; divides the batch.
        exploration: share of random actions.

    Raises:
        ValueError: a setting is out of its range.

    Source:
        Gallici et al. 2024, Simplifying Deep Temporal Difference Learning, algorithm 1
        and section 4, arXiv:2407.04811.
    """

    optimizer: OptimizerConfig = OptimizerConfig("radam", max_gradient_norm=10.0)
    gamma: float = 0.99
    lambda_: float = 0.65
    num_epochs: int = 2
    num_minibatches: int = 32
    exploration: ExplorationConfig = ExplorationConfig()

    def __post_init__(self) -> None:
        check_in_range(0, 1, gamma=self.gamma, lambda_=self.lambda_)
        check_at_least(
            1, num_epochs=self.num_epochs, num_minibatches=self.num_minibatches
        )

    def build(
        self,
        network: MakeQNetwork,
        total_updates: int,
        axis_name: str | None = None,
    ) -> Agent:
        """Builds the agent.

        Args:
            network: makes the action values.
            total_updates: batches of the whole run, over which exploration decays and
                the step size anneals.
            axis_name: device axis over which gradients are averaged; None for one.

        Raises:
            ValueError: the network is noisy.
        """
        values = network()
        if jax.eval_shape(values.noise, jax.random.key(0)) != ():
            raise ValueError(
                "PQN explores by random actions alone; set network.noisy to False"
            )
        layout = layout_of(jax.eval_shape(values.init, jax.random.key(0)))
        gradient_steps = total_updates * self.num_epochs * self.num_minibatches
        optimizer = self.optimizer.build(gradient_steps)

        def init(key: jax.Array) -> PQNState:
            params = layout.ravel(values.init(key))
            return PQNState(params, optimizer.init(params), jnp.zeros((), jnp.int32))

        def acting_params(state: PQNState) -> Acting:
            progress = state.num_updates / total_updates
            epsilon = epsilon_at(self.exploration, progress)
            return Acting(layout.unravel(state.params), epsilon)

        learn = make_minibatch_step(values, layout, optimizer, axis_name)

        def update(
            state: PQNState, rows: Trajectory, key: jax.Array
        ) -> tuple[PQNState, UpdateInfo]:
            params = layout.unravel(state.params)
            items = learning_items(self, values, params, rows, axis_name)
            order = minibatch_order(
                key,
                num_items=len(items.target),
                num_epochs=self.num_epochs,
                num_minibatches=self.num_minibatches,
            )
            start = Progress(state.params, state.opt_state)
            progress, metrics = learn_from_minibatches(learn, start, items, order)
            metrics["epsilon"] = acting_params(state).epsilon
            state = PQNState(*progress, num_updates=state.num_updates + 1)
            return state, UpdateInfo((), metrics)

        act = make_act(
            self.exploration.ladder,
            lambda *inputs: values.apply(*inputs)[..., 0],
            axis_name,
        )
        draw = make_draw(values.noise)
        return Agent(
            **explorer(self.exploration, draw, act, axis_name)._asdict(),
            init=init,
            acting_params=acting_params,
            update=update,
            placed=placed,
        )


class PQNState(NamedTuple):
    """All that changes while the agent learns; a checkpoint holds exactly this."""

    params: jax.Array  # [P] all parameters in one vector
    opt_state: optax.OptState
    num_updates: jax.Array  # [] int32, batches of experience used


class Progress(NamedTuple):
    """What changes from one minibatch to the next."""

    params: jax.Array  # [P]
    opt_state: optax.OptState


class Items(NamedTuple):
    """Steps to learn from, in any order; N = T * B."""

    observation: ArrayTree  # [N, ...]
    action: jax.Array  # [N] int32
    target: jax.Array  # [N] for the value of the action, reward units
    weight: jax.Array  # [N] 0 where the row is no step; of mean 1


def learning_items(
    config: PQNConfig,
    network: QNetwork,
    params: Params,
    rows: Trajectory,
    axis_name: str | None,
) -> Items:
    """Computes targets once for all epochs, and lays all steps out in one row of N.

    The target of a step is its lambda-return, with the greatest value of any action as
    the value of each observation: Q(lambda) in the form of Peng and Williams 1996,
    which also passes on what random actions earned.
    """
    steps = transitions(rows, config.gamma)
    q_values = network.apply(params, rows.observation, ())[..., 0]
    targets = losses.lambda_returns(
        rewards=steps.rewards,
        discounts=steps.discounts,
        next_values=q_values[1:].max(axis=-1),
        ends=steps.ends,
        lambda_=config.lambda_,
    )
    items = Items(
        observation=jax.tree.map(lambda x: x[:-1], rows.observation),
        action=steps.actions,
        target=targets,
        weight=mask_weights(steps.mask, axis_name),
    )
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), items)


def make_minibatch_step(
    network: QNetwork,
    layout: Flat,
    optimizer: optax.GradientTransformation,
    axis_name: str | None,
) -> Callable[[Progress, Items], tuple[Progress, dict[str, jax.Array]]]:
    """Builds the gradient step on one minibatch."""

    def loss(params: jax.Array, items: Items) -> tuple[jax.Array, dict[str, jax.Array]]:
        q_values = network.apply(layout.unravel(params), items.observation, ())
        chosen = losses.action_values(q_values=q_values[..., 0], actions=items.action)
        squares = losses.squared_loss(errors=items.target - chosen)
        terms = {"loss": squares, "q_value": chosen}
        metrics = weighted_means(terms, items.weight)
        return metrics["loss"], metrics

    def learn(now: Progress, items: Items) -> tuple[Progress, dict[str, jax.Array]]:
        grads, metrics = jax.grad(loss, has_aux=True)(now.params, items)
        grads = average_over(grads, axis_name)
        metrics["gradient_norm"] = jnp.linalg.norm(grads)
        steps: Any = optimizer.update(grads, now.opt_state, now.params)
        return Progress(now.params + steps[0], steps[1]), metrics

    return learn
