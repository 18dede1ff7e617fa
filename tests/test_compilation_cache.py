"""A second process takes what the first compiled, from a private folder."""

import json
import os
import subprocess
import sys

import pytest

from jaxrl_dist.compilation_cache import (
    private_folder,
    remove_oldest,
    use_compilation_cache,
)

COMPILE = """
import json, warnings
import jax
from jaxrl_dist.compilation_cache import use_compilation_cache

warnings.simplefilter("error")
jax.config.update("jax_num_cpu_devices", 2)
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
folder = use_compilation_cache()
keys = jax.random.split(jax.random.key(0), 2)
draw = jax.pmap(lambda key: jax.lax.pmean(jax.random.normal(key, (3,)), "i"), "i")
drawn = [float(x) for x in draw(keys)[0]]
hits = events.count("/jax/compilation_cache/cache_hits")
misses = events.count("/jax/compilation_cache/cache_misses")
print(json.dumps([str(folder), hits, misses, drawn]))
"""


def compile_in_a_new_process(**environ: str) -> list:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JAX", "XDG"))}
    answer = subprocess.run(
        [sys.executable, "-c", COMPILE],
        env=kept | environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def test_a_second_process_compiles_nothing(tmp_path):
    environ = {"XDG_CACHE_HOME": str(tmp_path)}
    folder, hits, misses, drawn = compile_in_a_new_process(**environ)
    assert folder.startswith(str(tmp_path / "jaxrl_dist" / "compiled"))
    assert (hits, misses > 0) == (0, True)
    again = compile_in_a_new_process(**environ)
    assert again == [folder, misses, 0, drawn]
    for path in (tmp_path / "jaxrl_dist", tmp_path / "jaxrl_dist" / "compiled", folder):
        assert os.stat(path).st_mode & 0o777 == 0o700


def test_it_can_be_switched_off(tmp_path):
    environ = {"HOME": str(tmp_path), "JAXRL_DIST_COMPILATION_CACHE": "off"}
    assert compile_in_a_new_process(**environ)[:3] == ["None", 0, 0]
    assert list(tmp_path.iterdir()) == []


def test_a_cache_of_the_users_own_is_left_as_it_is(tmp_path):
    environ = {
        "HOME": str(tmp_path),
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "own"),
    }
    assert compile_in_a_new_process(**environ)[0] == str(tmp_path / "own")
    assert not (tmp_path / ".cache").exists()


def test_a_folder_that_others_can_write_is_not_used(tmp_path, caplog):
    (tmp_path / "jaxrl_dist").mkdir()
    (tmp_path / "jaxrl_dist").chmod(0o770)
    assert use_compilation_cache({"XDG_CACHE_HOME": str(tmp_path)}) is None
    assert "jaxrl_dist can be written by others: chmod 700 it" in caplog.text


def test_without_a_home_nothing_is_kept(caplog):
    assert use_compilation_cache({"XDG_CACHE_HOME": "relative"}) is None
    assert "neither XDG_CACHE_HOME nor HOME is set" in caplog.text


def test_a_link_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="root is a link"):
        private_folder(tmp_path / "root")


def test_another_users_folder_is_refused(tmp_path, monkeypatch):
    private_folder(tmp_path / "root", "inner")
    monkeypatch.setattr(os, "geteuid", lambda: os.stat(tmp_path).st_uid + 1)
    with pytest.raises(PermissionError, match="root belongs to another user"):
        private_folder(tmp_path / "root", "inner")


def test_what_was_not_used_for_longest_goes_first(tmp_path):
    for age, name in enumerate(["new", "middle", "old", "oldest"]):
        (tmp_path / name).write_bytes(b"x" * 100)
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    remove_oldest(tmp_path, max_bytes=250)
    assert {x.name for x in tmp_path.iterdir()} == {"new", "middle"}
    remove_oldest(tmp_path, max_bytes=250)
    assert len(list(tmp_path.iterdir())) == 2
