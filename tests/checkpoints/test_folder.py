"""Checkpoints come back bit for bit, or say that they cannot."""

import errno
import hashlib
import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl_dist.checkpoints import Checkpoints, DamagedCheckpointError, files


class Learner(NamedTuple):
    """A learner's state as agents have it."""

    params: dict
    opt_state: optax.OptState
    num_updates: jax.Array


class State(NamedTuple):
    """A training state with every kind of leaf that a run has."""

    learner: Learner
    key: jax.Array
    env_keys: jax.Array
    observation: dict
    nothing: tuple
    odd: list


def make_state(width: int = 5) -> State:
    """A state whose values are all different from what an empty one would have."""
    rng = np.random.default_rng(0)
    params = {
        "torso": {"kernel": jnp.asarray(rng.normal(size=(3, width)), jnp.float32)},
        "head": {"bias": jnp.asarray(rng.normal(size=width), jnp.bfloat16)},
    }
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))
    return State(
        learner=Learner(params, optimizer.init(params), jnp.int32(7)),
        key=jax.random.key(3),
        env_keys=jax.random.split(jax.random.key(4, impl="rbg"), 4),
        observation={
            "pixels": jnp.asarray(rng.integers(0, 256, (4, 6)), jnp.uint8),
            "is_first": jnp.asarray([True, False, True, True]),
        },
        nothing=(),
        odd=[
            np.array([np.nan, -0.0, np.inf, 1e-310]),  # float64, as the host has it
            jnp.zeros((0, 3), jnp.int8),
            np.float16(0.1),
            np.int64(2**53 + 1),
        ],
    )


def bits(state) -> list[tuple]:
    """Structure, shape, type and bytes of every leaf."""
    leaves = []
    for path, leaf in jax.tree.leaves_with_path(state):
        dtype = str(leaf.dtype)
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        leaf = np.asarray(leaf)
        leaves.append((path, dtype, leaf.shape, leaf.tobytes()))
    return leaves


def damage(file: Path) -> None:
    """Flips one bit in the middle of a file, as a failing disk does."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def largest_file(folder: Path) -> Path:
    return max(
        (x for x in folder.rglob("*") if x.is_file()), key=lambda x: x.stat().st_size
    )


def save_steps(checkpoints: Checkpoints, *steps: int, metric: float | None = None):
    for step in steps:
        checkpoints.save(step, {"step": np.int32(step)}, metric=metric, metadata={})


SMALL = {"step": np.int32(0)}


def test_every_kind_of_leaf_comes_back_bit_for_bit(tmp_path):
    state = make_state()
    checkpoints = Checkpoints(tmp_path)
    metadata = {"num_devices": 2, "commit": None, "seconds": 1.5}
    folder = checkpoints.save(1_000, state, metric=12.5, metadata=metadata)
    restored, info = checkpoints.restore(like=state)
    assert bits(restored) == bits(state)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    assert (info.step, info.metric, info.metadata) == (1_000, 12.5, metadata)
    assert info.damaged == ()
    assert folder == tmp_path / "000000001000"


def test_shapes_alone_are_enough_to_restore(tmp_path):
    state = make_state()
    Checkpoints(tmp_path).save(0, state, metric=None, metadata={})
    like = jax.eval_shape(make_state)._replace(odd=state.odd)
    restored, _ = Checkpoints(tmp_path).restore(like=like)
    assert bits(restored) == bits(state)


def test_random_keys_go_on_where_they_were(tmp_path):
    key = jax.random.key(5)
    Checkpoints(tmp_path).save(0, {"key": key}, metric=None, metadata={})
    restored, _ = Checkpoints(tmp_path).restore(like={"key": key})
    assert jax.random.bits(restored["key"]) == jax.random.bits(key)


def test_arrays_spread_over_devices_keep_their_leading_axis(tmp_path):
    spread = jax.pmap(lambda x, key: {"x": 2 * x, "key": key})(
        jnp.arange(4.0), jax.random.split(jax.random.key(0), 4)
    )
    assert len(spread["x"].sharding.device_set) == 4
    Checkpoints(tmp_path).save(0, spread, metric=None, metadata={})
    restored, _ = Checkpoints(tmp_path).restore(like=spread)
    assert bits(restored) == bits(spread)


def test_a_lone_array_is_a_state_too(tmp_path):
    Checkpoints(tmp_path).save(0, jnp.arange(3), metric=None, metadata={})
    restored, _ = Checkpoints(tmp_path).restore(like=jnp.arange(3))
    np.testing.assert_array_equal(restored, [0, 1, 2])


def test_the_last_and_the_best_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep_last=2)
    for step, metric in ((10, 1.0), (20, 9.0), (30, None), (40, float("nan"))):
        save_steps(checkpoints, step, metric=metric)
    save_steps(checkpoints, 50, metric=3.0)
    assert checkpoints.steps() == [20, 40, 50]
    assert (checkpoints.best(), checkpoints.latest()) == (20, 50)
    assert sorted(x.name for x in tmp_path.iterdir()) == [
        "000000000020",
        "000000000040",
        "000000000050",
    ]


def test_of_equally_good_ones_the_latest_is_the_best(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    save_steps(checkpoints, 1, 2, 3, metric=500.0)
    assert checkpoints.best() == 3


def test_a_checkpoint_can_be_rated_later_and_is_kept_until_then(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep_last=1)

    def save(step: int) -> None:
        state = {"step": np.int32(step)}
        checkpoints.save_in_background(
            step, state, metric=None, metadata={"of": step}, to_be_rated=True
        ).result()

    for step in (10, 20, 30):
        save(step)
    assert checkpoints.steps() == [10, 20, 30]
    checkpoints.rate_in_background(10, 7.0).result()
    checkpoints.rate_in_background(20, float("nan")).result()
    save(40)
    checkpoints.rate_in_background(30, 5.0).result()
    checkpoints.rate_in_background(40, 1.0).result()
    assert (checkpoints.steps(), checkpoints.best()) == ([10, 40], 10)
    restored, info = checkpoints.restore(10, like=SMALL)  # its digests are right
    assert (restored["step"], info.metric, info.metadata) == (10, 7.0, {"of": 10})


def test_a_rating_hides_no_damage_and_may_come_too_late(tmp_path, caplog):
    checkpoints = Checkpoints(tmp_path, keep_last=1)
    save_steps(checkpoints, 10)
    damage(largest_file(tmp_path / "000000000010" / "state"))
    checkpoints.rate_in_background(10, 7.0).result()
    with pytest.raises(DamagedCheckpointError, match="has changed"):
        checkpoints.restore(10, like=SMALL)
    checkpoints.rate_in_background(5, 7.0).result()
    assert "there is no checkpoint of step 5 to be rated" in caplog.text
    assert checkpoints.steps() == [10]
    assert len(list(tmp_path.iterdir())) == 1


def test_without_keep_best_only_the_last_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep_last=1, keep_best=False)
    save_steps(checkpoints, 1, metric=5.0)
    save_steps(checkpoints, 2, metric=1.0)
    assert checkpoints.steps() == [2]


def test_the_one_just_saved_is_kept_even_if_older_than_others(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep_last=1, keep_best=False)
    save_steps(checkpoints, 100)
    save_steps(checkpoints, 50)
    assert checkpoints.steps() == [50, 100]
    checkpoints.discard_after(50)
    assert checkpoints.steps() == [50]


def test_saving_a_step_again_replaces_it(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(5, {"x": np.int32(1)}, metric=1.0, metadata={})
    checkpoints.save(5, {"x": np.int32(2)}, metric=2.0, metadata={})
    restored, info = checkpoints.restore(like={"x": np.int32(0)})
    assert (restored["x"], info.metric) == (2, 2.0)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["largest", "checkpoint.json", "SHA256SUMS"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, caplog, name):
    checkpoints = Checkpoints(tmp_path)
    save_steps(checkpoints, 1, 2, 3)
    folder = tmp_path / "000000000003"
    damage(largest_file(folder / "state") if name == "largest" else folder / name)
    restored, info = checkpoints.restore(like=SMALL)
    assert (restored["step"], info.step, info.damaged) == (2, 2, (3,))
    assert "passing over a checkpoint" in caplog.text
    assert str(folder) in caplog.text
    # Out of the way, so that the run which goes on from 2 can save 3 again.
    assert checkpoints.steps() == [1, 2]


def test_every_file_of_a_checkpoint_is_guarded(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    save_steps(checkpoints, 1)
    for file in [x for x in tmp_path.rglob("*") if x.is_file()]:
        content = file.read_bytes()
        file.unlink()
        with pytest.raises(DamagedCheckpointError, match=file.name):
            checkpoints.restore(1, like=SMALL)
        file.write_bytes(content)
    assert checkpoints.restore(1, like=SMALL)[0]["step"] == 1


def test_when_all_are_damaged_that_is_said(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    save_steps(checkpoints, 1, 2)
    for folder in tmp_path.iterdir():
        damage(largest_file(folder / "state"))
    with pytest.raises(DamagedCheckpointError, match=r"is damaged: steps \[1, 2\]"):
        checkpoints.restore(like=SMALL)
    assert checkpoints.steps() == [1, 2]


def test_a_step_that_was_asked_for_is_not_replaced_by_another(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    save_steps(checkpoints, 1, 2)
    damage(largest_file(tmp_path / "000000000002" / "state"))
    with pytest.raises(DamagedCheckpointError, match="000000000002 is damaged"):
        checkpoints.restore(2, like=SMALL)
    assert checkpoints.restore(1, like=SMALL)[1].step == 1


def test_without_checkpoints_that_is_said(tmp_path):
    empty = Checkpoints(tmp_path / "checkpoints")
    assert (empty.steps(), empty.latest(), empty.best()) == ([], None, None)
    with pytest.raises(FileNotFoundError, match="there is no checkpoint in"):
        empty.restore(like=SMALL)
    save_steps(empty, 7)
    with pytest.raises(FileNotFoundError, match=r"of step 8 .* those of steps \[7\]"):
        empty.restore(8, like=SMALL)


def test_an_interrupted_write_is_no_checkpoint_and_is_cleaned_up(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    save_steps(checkpoints, 1)
    script = f"""
import os, numpy as np
from jaxrl_dist.checkpoints import Checkpoints, files
write = files.write_arrays
def die(*args):
    write(*args)
    os._exit(9)
files.write_arrays = die
checkpoints = Checkpoints({str(tmp_path)!r})
checkpoints.save(2, {{"step": np.int32(2)}}, metric=1.0, metadata={{}})
"""
    killed = subprocess.run([sys.executable, "-c", script], timeout=60, check=False)
    assert killed.returncode == 9
    assert len(list(tmp_path.iterdir())) == 2
    assert (checkpoints.steps(), checkpoints.best()) == ([1], None)
    assert checkpoints.restore(like=SMALL)[1].step == 1
    save_steps(checkpoints, 3)
    assert sorted(int(x.name) for x in tmp_path.iterdir()) == [1, 3]


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ({"a": np.zeros(3), "b": np.zeros((2, 4))}, r"b as float64\[2\], expected flo"),
        ({"a": np.zeros(3, np.int32), "b": np.zeros(2)}, r"a as float64\[3\], expe"),
        ({"a": np.zeros(3), "c": np.zeros(2)}, r"has no c, expected float64\[2\]"),
        ({"a": np.zeros(3)}, r"has b as float64\[2\], which is not expected"),
    ],
)
def test_a_state_of_another_structure_is_refused_in_one_line(tmp_path, like, message):
    state = {"a": np.zeros(3), "b": np.zeros(2)}
    Checkpoints(tmp_path).save(1, state, metric=None, metadata={})
    with pytest.raises(ValueError, match=message) as caught:
        Checkpoints(tmp_path).restore(like=like)
    assert "another experiment, agent or network" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert Checkpoints(tmp_path).steps() == [1]


def test_a_network_of_another_width_is_named_by_its_leaf(tmp_path):
    Checkpoints(tmp_path).save(1, make_state(width=5), metric=None, metadata={})
    with pytest.raises(ValueError, match=r"learner\.params\.head\.bias as bfloat16\[5"):
        Checkpoints(tmp_path).restore(like=make_state(width=6))


def test_keys_of_another_generator_are_refused(tmp_path):
    Checkpoints(tmp_path).save(1, {"key": jax.random.key(0)}, metric=None, metadata={})
    with pytest.raises(ValueError, match=r"key as key<fry>\[\], expected key<rbg>\[\]"):
        Checkpoints(tmp_path).restore(like={"key": jax.random.key(0, impl="rbg")})


def test_nothing_is_written_when_the_arguments_are_wrong(tmp_path):
    folder = tmp_path / "checkpoints"
    with pytest.raises(ValueError, match="keep_last must be at least 1, got 0"):
        Checkpoints(folder, keep_last=0)
    with pytest.raises(ValueError, match="step must be at least 0, got -1"):
        save_steps(Checkpoints(folder), -1)
    with pytest.raises(TypeError, match="not JSON serializable"):
        Checkpoints(folder).save(1, SMALL, metric=None, metadata={"x": object()})
    with pytest.raises(ValueError, match="note is 'text'; a state holds arrays only"):
        Checkpoints(folder).save(1, {"note": "text"}, metric=None, metadata={})
    assert not folder.exists()


def test_digests_can_be_checked_without_this_package(tmp_path):
    save_steps(Checkpoints(tmp_path), 1)
    folder = tmp_path / "000000000001"
    about = json.loads((folder / "checkpoint.json").read_text())
    assert about["leaves"] == [
        {"path": "step", "shape": [], "dtype": "int32", "key_impl": None}
    ]
    sums = (folder / "SHA256SUMS").read_text()
    lines = [line.split("  ") for line in sums.splitlines()]
    assert "checkpoint.json" in [name for _, name in lines]
    for digest, name in lines:
        data = (folder / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == digest


def test_of_several_processes_one_saves_and_any_restores(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    script = f"""
import sys, jax, jax.experimental.multihost_utils, numpy as np
from jaxrl_dist.checkpoints import Checkpoints
rank = int(sys.argv[1])
jax.distributed.initialize({address!r}, num_processes=2, process_id=rank)
assert jax.process_count() == 2
checkpoints = Checkpoints({str(tmp_path)!r})
if rank == 0:
    checkpoints.save(3, {{"x": np.arange(5)}}, metric=None, metadata={{}})
jax.experimental.multihost_utils.sync_global_devices("saved")
if rank == 1:
    state, _ = checkpoints.restore(like={{"x": np.arange(5)}})
    assert (state["x"] == np.arange(5)).all()
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(rank)]) for rank in (0, 1)
    ]
    try:
        assert [process.wait(timeout=60) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    assert Checkpoints(tmp_path).steps() == [3]


def test_orbax_is_not_imported_before_it_is_used():
    script = (
        "import sys, jaxrl_dist.checkpoints;"
        "jaxrl_dist.checkpoints.Checkpoints('x').latest();"
        "sys.exit(any('orbax' in name for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", script], timeout=60, check=True)


def test_saving_a_small_state_is_quick(tmp_path):
    state = make_state()
    checkpoints = Checkpoints(tmp_path)
    seconds = []
    for step in range(6):
        start = time.perf_counter()
        checkpoints.save(step, state, metric=None, metadata={})
        seconds.append(time.perf_counter() - start)
    # 0.03 s here; the bound leaves room for a busy machine.
    assert min(seconds[1:]) < 0.3


@pytest.mark.parametrize(
    ("free", "said", "message"),
    [
        (1000, "something of orbax", "the disk is full"),
        # What could not be written has been removed, and there is room again.
        (1 << 30, "ocdbt: No space left on device", "the disk is full"),
        (1 << 30, "something of orbax", "something of orbax"),
    ],
)
def test_a_full_disk_is_named_whatever_orbax_makes_of_it(
    free, said, message, tmp_path, monkeypatch
):
    def refuse(*_):
        raise ValueError(said)

    usage = shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(1, {"x": np.int32(1)}, metric=None, metadata={})
    monkeypatch.setattr(files, "write_arrays", refuse)
    kind = ValueError if message == said else OSError
    with pytest.raises(kind, match=message) as caught:
        checkpoints.save(2, {"x": np.int32(2)}, metric=None, metadata={})
    if isinstance(caught.value, OSError):
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.filename == str(tmp_path / "checkpoints")
    assert checkpoints.latest() == 1
