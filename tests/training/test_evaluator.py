"""Evaluations that a learner asks for, and the answers that are its own."""

from typing import Any

import numpy as np

from jaxrl_dist.training.collecting import Acting
from jaxrl_dist.training.evaluator import Examiner, Result, request_columns

ACTING = Acting({"weights": np.zeros(3, np.float32)}, ())


class Writer:
    """Counts what is sent."""

    def __init__(self):
        self.sent = 0

    def append(self, row):
        """Takes a row."""

    def create_items(self, table, num_rows):
        """Takes an item."""
        self.sent += 1
        return [self.sent]


class Client:
    """Hands its writer out."""

    def __init__(self):
        self.sent = Writer()

    def writer(self, row):
        """The one writer."""
        return self.sent


def result(number: int, step: int) -> Result:
    return Result(np.int32(number), np.int64(step), np.zeros(2, np.float32))


def test_only_the_answer_to_what_was_asked_counts_and_it_does_once():
    client: Any = Client()
    came: list[Result] = []
    examiner = Examiner(client, request_columns(ACTING), lambda: came)
    examiner.ask(50, 1000, ACTING)
    # Of a learner that died, which had come to the same update after other steps.
    came[:] = [result(50, 980), result(40, 1000)]
    assert examiner.take() == []
    assert examiner.expected == {50: 1000}
    examiner.again()
    assert client.sent.sent == 2
    came[:] = [result(50, 1000), result(50, 1000)]
    assert [int(x.step) for x in examiner.take()] == [1000]
    assert examiner.expected == {} and examiner.take() == []
