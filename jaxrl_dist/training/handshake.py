"""Before anything flows: is everybody a part of the same run?"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxrl_dist.replay import reverb
from jaxrl_dist.training.experience import HANDSHAKE, describe_spec
from jaxrl_dist.types import EnvironmentSpec


class HandshakeError(ValueError):
    """A process is no part of the run that a server belongs to."""


def describe(experiment: str, spec: EnvironmentSpec) -> dict[str, str]:
    """What the processes of a run must agree on, in words.

    Args:
        experiment: its name.
        spec: of the environment.
    """
    return {
        "experiment": experiment,
        "environment": spec.name,
        **describe_spec(spec.observation, "observation"),
        **describe_spec(spec.action, "action"),
    }


def offer(client: reverb.Client, mine: Mapping[str, str], timeout: float) -> None:
    """Says what the learner learns, for others to compare."""
    content = np.frombuffer(json.dumps(dict(mine)).encode(), np.uint8)
    row = {"bytes": content}
    with client.writer(row) as writer:
        writer.append({"bytes": content[None]})
        writer.create_items(HANDSHAKE, num_rows=1)
        writer.flush(timeout)


def compare(
    client: reverb.Client,
    mine: Mapping[str, str],
    timeout: float,
    meanwhile: Callable[[], None],
) -> None:
    """Compares with what the learner says.

    Args:
        client: to the server.
        mine: of `describe`.
        timeout: seconds to wait for the learner.
        meanwhile: called several times a second.

    Raises:
        HandshakeError: something differs; the message names it with both values.
        TimeoutError: the learner did not say anything in time.
    """
    config = reverb.SamplerConfig(batch_size=1, batches_ahead=0)
    deadline = time.monotonic() + timeout
    with client.sampler(HANDSHAKE, config) as sampler:
        while True:
            try:
                columns: Any = sampler.next(0.5).trajectory
                break
            except reverb.DeadlineError:
                meanwhile()
                if time.monotonic() > deadline:
                    raise TimeoutError(
                        f"the learner said nothing at {client.address} within "
                        f"{timeout:g} s: does it run?"
                    ) from None
    theirs = json.loads(columns["bytes"].tobytes())
    for name in [*mine, *theirs]:
        if mine.get(name) != theirs.get(name):
            raise HandshakeError(
                f"this process has {name} {mine.get(name)}, and the learner at "
                f"{client.address} has {theirs.get(name)}"
            )
