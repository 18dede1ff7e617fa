"""Event files hold every scalar, and a resumed run disowns what it takes again."""

import struct
import time
from pathlib import Path

from tensorboardX.proto import event_pb2

from jaxrl_dist.loggers import TensorBoard


def read_events(folder: Path) -> list:
    """The events of all files in the order in which TensorBoard reads them."""
    events = []
    for file in sorted(folder.iterdir()):
        data = file.read_bytes()
        while data:  # length, its checksum, the event, its checksum
            (length,) = struct.unpack("<Q", data[:8])
            event = vars(event_pb2)["Event"]()
            event.ParseFromString(data[12 : 12 + length])
            events.append(event)
            data = data[12 + length + 4 :]
    return events


def test_scalars_are_written_and_seeds_averaged(tmp_path):
    before = time.time()
    logger = TensorBoard(tmp_path / "events")
    logger.write(10, {"losses/value": 0.5, "evaluation/return_mean": [1.0, 3.0]})
    logger.close()
    version, event = read_events(tmp_path / "events")
    assert version.file_version == "brain.Event:2"
    assert event.step == 10
    assert before <= event.wall_time <= time.time()
    values = {x.tag: x.simple_value for x in event.summary.value}
    assert values == {"losses/value": 0.5, "evaluation/return_mean": 2.0}


def test_a_resumed_run_adds_a_file_and_disowns_later_steps(tmp_path):
    for last_step in (None, 10):
        logger = TensorBoard(tmp_path, last_step)
        logger.write(20, {"x": 1.0})
        logger.close()
    assert len(list(tmp_path.iterdir())) == 2
    *_, restart, again = read_events(tmp_path)
    start = vars(event_pb2)["SessionLog"].START
    assert (restart.step, restart.session_log.status) == (11, start)
    assert again.step == 20


def test_nothing_is_made_before_the_first_report(tmp_path):
    TensorBoard(tmp_path / "events").close()
    assert not (tmp_path / "events").exists()
