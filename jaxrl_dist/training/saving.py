"""The learner's checkpoints: written while it goes on, rated when it is known how."""

import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any

from jaxrl_dist.checkpoints import Checkpoints
from jaxrl_dist.training.host_loop import Counters
from jaxrl_dist.training.on_device import TrainState


class Saver:
    """Has checkpoints written in the background, and finds out what went wrong."""

    def __init__(self, checkpoints: Checkpoints, metadata: dict[str, Any]) -> None:
        """Begins.

        Args:
            checkpoints: that take the states.
            metadata: stored with every one of them.
        """
        self._checkpoints = checkpoints
        self._metadata = metadata
        self._under_way: list[Future] = []

    def save(
        self, state: TrainState, counters: Counters, *, to_be_rated: bool = False
    ) -> None:
        """Has a state saved.

        Args:
            state: may be given away once this returns.
            counters: how far the run has come.
            to_be_rated: keep it until `rate` has been called for its step.

        Raises:
            OSError: an earlier one cannot be written, because the disk is full.
            Exception: for another reason, as orbax or the system says.
        """
        for saving in [x for x in self._under_way if x.done()]:
            self._under_way.remove(saving)
            saving.result()
        self._under_way.append(
            self._checkpoints.save_in_background(
                counters.env_steps,
                state,
                metric=None,
                metadata=self._metadata | {"counters": counters._asdict()},
                to_be_rated=to_be_rated,
            )
        )

    def rate(self, step: int, quality: float) -> None:
        """Says how good the state of a step is; greater is better."""
        rating = self._checkpoints.rate_in_background(step, quality)
        self._under_way.append(rating)

    def finish(self, meanwhile: Callable[[], None], timeout: float) -> None:
        """Waits for the disk.

        Args:
            meanwhile: called several times a second.
            timeout: seconds to wait.

        Raises:
            OSError: something cannot be written, because the disk is full.
            Exception: for another reason, as orbax or the system says.
            TimeoutError: the disk took longer.
        """
        began = time.monotonic()
        while wait(self._under_way, timeout=0.5).not_done:
            meanwhile()
            if time.monotonic() - began > timeout:
                self._under_way = []  # nobody waits for them any more
                raise TimeoutError(
                    f"not every checkpoint was written within {timeout:g} s in "
                    f"{self._checkpoints.folder}"
                )
        under_way, self._under_way = self._under_way, []
        for saving in under_way:
            saving.result()

    def abandon(self, meanwhile: Callable[[], None], timeout: float) -> None:
        """Waits for what is under way, whatever becomes of it: orbax needs a process.

        Args:
            meanwhile: called several times a second.
            timeout: seconds to wait.
        """
        began = time.monotonic()
        while wait(self._under_way, timeout=0.5).not_done:
            meanwhile()
            if time.monotonic() - began > timeout:
                return
