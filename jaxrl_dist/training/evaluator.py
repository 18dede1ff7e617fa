"""Evaluation as a process of its own: parameters of a moment in, returns out."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrl_dist.distribution import devices
from jaxrl_dist.replay import reverb
from jaxrl_dist.training.across_devices import make_evaluate
from jaxrl_dist.training.collecting import Acting
from jaxrl_dist.training.columns import Columns, columns_of, only_row
from jaxrl_dist.training.experience import EVALUATIONS, TO_EVALUATE
from jaxrl_dist.training.on_device import Setting, TrainState
from jaxrl_dist.training.parameters import insert
from jaxrl_dist.types import ArrayTree


class Request(NamedTuple):
    """What is to be evaluated."""

    number: Any  # [] int32, updates that the parameters have seen
    step: Any  # [] int64, environment steps by then
    acting: Acting


class Result(NamedTuple):
    """How it played."""

    number: Any  # [] int32, of the request
    step: Any  # [] int64
    returns: Any  # [episodes] undiscounted, environment reward units


def request_columns(acting_like: Acting) -> Columns:
    """The columns of requests, from shapes of what acting takes."""
    number, step = np.zeros((), np.int32), np.zeros((), np.int64)
    return columns_of(Request(number, step, acting_like))


def result_columns(num_episodes: int) -> Columns:
    """The columns of results."""
    number, step = np.zeros((), np.int32), np.zeros((), np.int64)
    return columns_of(Result(number, step, np.zeros(num_episodes, np.float32)))


def make_player(
    setting: Setting, *, seed: int, num_episodes: int, acting_like: Acting
) -> Callable[[Acting, int], np.ndarray]:
    """Compiles whole episodes with given parameters, on one device.

    Args:
        setting: the run.
        seed: of the run; the episodes are those that an on-device run would play.
        num_episodes: at least, from 1.
        acting_like: shapes of what acting takes.

    Returns:
        (Acting, number of the evaluation) to returns [episodes].
    """
    agent = setting.agent._replace(acting_params=lambda params: params)
    play = make_evaluate(
        setting._replace(agent=agent),
        num_devices=1,
        num_seeds=1,
        num_episodes=num_episodes,
    )

    def state(acting: Acting) -> TrainState:
        params, statistics = acting
        nothing: Any = ()
        return TrainState(params, (), (), nothing, statistics, (), nothing)

    def leading(x: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((1, 1, *x.shape), x.dtype)

    like = state(jax.tree.map(leading, acting_like))
    compiled = devices.trace(play, like, np.int32(0), np.int32(0))()

    def evaluate(acting: Acting, number: int) -> np.ndarray:
        wrapped = state(jax.tree.map(lambda x: x[None, None], acting))
        episodes = compiled(wrapped, np.int32(seed), np.int32(number))
        return np.asarray(episodes.returns, np.float32).ravel()

    return evaluate


def run(
    client: reverb.Client,
    play: Callable[[Acting, int], np.ndarray],
    *,
    requests: Columns,
    results: Columns,
    beat: Callable[[], None],
) -> None:
    """Answers requests, for ever.

    Args:
        client: to the server.
        play: of `make_player`.
        requests: columns of what comes.
        results: columns of what goes.
        beat: says that this process lives.

    Raises:
        ReverbError: for another reason than a lost server.
    """
    config = reverb.SamplerConfig(batch_size=1, batches_ahead=0)
    with (
        client.writer(results.row()) as writer,
        client.sampler(TO_EVALUATE, config) as sampler,
    ):
        while True:
            beat()
            try:
                sample = sampler.next(0.5)
            except (reverb.DeadlineError, reverb.UnavailableError):
                continue
            request: Request = only_row(requests, sample)
            returns = play(request.acting, int(request.number))
            result = Result(request.number, request.step, returns)
            insert(writer, EVALUATIONS, results, result)


class Examiner:
    """The learner's side: asks for evaluations, and gathers the results.

    Attributes:
        expected: step of each evaluation that has not come, by number.
    """

    def __init__(
        self, client: reverb.Client, requests: Columns, collect: Callable[[], list]
    ) -> None:
        """Begins.

        Args:
            client: to the server.
            requests: columns of what goes.
            collect: () to the results that came since.
        """
        self.expected: dict[int, int] = {}
        self._requests = requests
        self._collect = collect
        self._writer = client.writer(requests.row())
        self._asked: dict[int, Request] = {}

    def ask(self, number: int, step: int, acting: ArrayTree) -> None:
        """Asks for an evaluation of parameters, in numpy."""
        self.expected[number] = step
        self._asked[number] = Request(number, step, acting)
        self._send(number)

    def again(self) -> None:
        """Asks for all that has not come once more: the server has lost it."""
        for number in self.expected:
            self._send(number)

    def take(self) -> list[Result]:
        """The results that came; each once."""
        came = []
        for result in self._collect():
            number = int(result.number)
            # A learner that died may have asked for this number at another step.
            if self.expected.get(number) == int(result.step):
                del self.expected[number], self._asked[number]
                came.append(result)
        return came

    def close(self) -> None:
        """Ends; what is on its way is given up."""
        self._writer.cancel()

    def _send(self, number: int) -> None:
        insert(self._writer, TO_EVALUATE, self._requests, self._asked[number])
