"""What actors say of themselves, and how messages are read out of their tables."""

import threading
from typing import Any, NamedTuple

import numpy as np

from jaxrl_dist.replay import reverb
from jaxrl_dist.training.columns import Columns, columns_of, only_row
from jaxrl_dist.training.experience import TELEMETRY
from jaxrl_dist.training.parameters import insert


class ActorReport(NamedTuple):
    """What an actor did since its report before; [] float64 each."""

    actor: Any  # number of the actor
    num_steps: Any  # environment steps
    num_episodes: Any  # ended
    return_sum: Any  # of these, environment reward units
    return_min: Any  # infinite without any
    return_max: Any  # minus infinite without any
    length_sum: Any  # environment steps
    seconds: Any  # of all
    acting_seconds: Any  # environments and policy
    sending_seconds: Any  # into the buffer of what goes to the server
    waiting_seconds: Any  # for the limiter of the table
    idle_seconds: Any  # for parameters, in lock-step


LIKE = ActorReport(*(np.zeros((), np.float64) for _ in ActorReport._fields))
COLUMNS = columns_of(LIKE)


class Reporter:
    """Sends an actor's reports."""

    def __init__(self, client: reverb.Client) -> None:
        self._writer = client.writer(COLUMNS.row())

    def send(self, report: ActorReport) -> None:
        """Sends one, without waiting for it to arrive.

        Raises:
            ReverbError: earlier ones were refused.
        """
        insert(self._writer, TELEMETRY, COLUMNS, report)

    def close(self) -> None:
        """Sends what is left."""
        self._writer.close(5.0)


class Collector:
    """Gathers the messages of a table, in a thread."""

    def __init__(self, client: reverb.Client, table: str, columns: Columns) -> None:
        """Starts the thread.

        Args:
            client: to the server.
            table: of messages.
            columns: of each of them.
        """
        self._client = client
        self._table = table
        self._columns = columns
        self._lock = threading.Lock()
        self._messages: list[Any] = []
        self._stopped = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=table, daemon=True)
        self._thread.start()

    def take(self) -> list[Any]:
        """What came since the last call.

        Raises:
            ReverbError: nothing can be read, for another reason than a lost server.
        """
        if self._error is not None:
            raise self._error
        with self._lock:
            messages, self._messages = self._messages, []
        return messages

    def close(self) -> None:
        """Ends the thread."""
        self._stopped.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        config = reverb.SamplerConfig(batch_size=1, batches_ahead=0)
        try:
            with self._client.sampler(self._table, config) as sampler:
                while not self._stopped.is_set():
                    try:
                        sample = sampler.next(0.5)
                    except (reverb.DeadlineError, reverb.UnavailableError):
                        continue
                    message = only_row(self._columns, sample)
                    with self._lock:
                        self._messages.append(message)
        except Exception as error:  # told to the learner by its next call
            self._error = error
