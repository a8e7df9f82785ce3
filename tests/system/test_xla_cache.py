"""What XLA compiled is used again only where it is whole and was made for this machine, these versions and threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainyard.system import xla_cache

PROGRAM = """
import json
from trainyard import compose_config, run_experiment
from trainyard.system import environment
result = run_experiment(compose_config(["dataset.limit=200", "training.epochs=1", "tracking=off", "training.threads=2"]))
print(json.dumps([environment.digest_weights(result.model), result.training.compile_seconds]))
"""


YESTERDAY = time.time() - 86_400


@pytest.fixture
def fresh(monkeypatch):
    """As in a process that has not imported TensorFlow."""
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    monkeypatch.setenv("TF_XLA_FLAGS", "")


def _folder() -> Path:
    (flag,) = [flag for flag in os.environ["TF_XLA_FLAGS"].split() if "directory" in flag]
    return Path(flag.partition("=")[2])


def test_each_number_of_threads_has_a_folder_of_its_own(fresh, monkeypatch):
    folders = []
    for threads, flags in [(1, ""), (2, ""), (2, "--xla_cpu_enable_fast_math=true"), (2, "")]:
        monkeypatch.setenv("XLA_FLAGS", flags)
        xla_cache.prepare_cache(threads)
        folders.append(_folder())
    assert folders[1] == folders[3]
    assert len(set(folders)) == 3
    assert folders[0].parent == Path(os.environ["XDG_CACHE_HOME"]) / "trainyard" / "xla"
    assert folders[0].stat().st_mode & 0o077 == 0


def test_the_users_own_flags_stay(fresh, monkeypatch):
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_auto_jit=2")
    xla_cache.prepare_cache(2)
    assert os.environ["TF_XLA_FLAGS"].startswith("--tf_xla_auto_jit=2 --tf_xla_persistent_cache_directory=")
    own = "--tf_xla_persistent_cache_directory=/somewhere/else"
    monkeypatch.setenv("TF_XLA_FLAGS", own)
    xla_cache.prepare_cache(2)
    assert os.environ["TF_XLA_FLAGS"] == own
    assert not xla_cache.clear_cache()


def test_only_sealed_programs_are_kept(fresh):
    xla_cache.prepare_cache(2)
    folder = _folder()
    for name in ("whole", "changed", "unfinished"):
        (folder / f"{name}.pb").write_bytes(b"machine code")
    (folder / "unfinished.pb").rename(folder / "later.pb")
    xla_cache.seal_cache(YESTERDAY)
    (folder / "later.sha256").unlink()
    (folder / "changed.pb").write_bytes(b"machine c0de")
    xla_cache.prepare_cache(2)
    assert [path.name for path in folder.glob("*.pb")] == ["whole.pb"]
    assert sorted(path.name for path in folder.iterdir()) == ["whole.pb", "whole.sha256"]


def test_a_program_that_two_processes_compiled_is_sealed_by_the_second(fresh):
    xla_cache.prepare_cache(2)
    program, older = (_folder() / f"{name}.pb" for name in ("twice", "older"))
    program.write_bytes(b"as the first compiled it")
    older.write_bytes(b"of yesterday")
    xla_cache.seal_cache(YESTERDAY)
    older.write_bytes(b"of yesterday, damaged")
    os.utime(older, (YESTERDAY, YESTERDAY))
    began = YESTERDAY + 3600
    program.write_bytes(b"as the second did")
    xla_cache.seal_cache(began)
    assert not xla_cache.is_changed(program)
    assert xla_cache.is_changed(older)


def test_the_cache_does_not_grow_without_end(fresh, monkeypatch):
    monkeypatch.setattr(xla_cache, "KEPT_PROGRAMS", 2)
    xla_cache.prepare_cache(2)
    for age, name in enumerate(("new", "middle", "old")):
        path = _folder() / f"{name}.pb"
        path.write_bytes(name.encode())
        os.utime(path, (1e9 - age, 1e9 - age))
    xla_cache.seal_cache(YESTERDAY)
    xla_cache.prepare_cache(2)
    assert sorted(path.stem for path in _folder().glob("*.pb")) == ["middle", "new"]


def test_a_folder_that_cannot_be_made_is_done_without(fresh, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    xla_cache.prepare_cache(2)
    assert os.environ["TF_XLA_FLAGS"] == ""


@pytest.mark.slow
def test_a_second_process_takes_what_the_first_compiled_and_a_poisoned_cache_does_no_harm():
    def run() -> tuple[str, float]:
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return tuple(json.loads(done.stdout.splitlines()[-1]))

    def programs() -> list[Path]:
        return list((Path(os.environ["XDG_CACHE_HOME"]) / "trainyard" / "xla").glob("*/*.pb"))

    weights, _ = run()
    (program,) = programs()
    made = program.stat().st_mtime_ns
    assert run()[0] == weights
    assert program.stat().st_mtime_ns == made  # read, not written
    half = program.read_bytes()[: program.stat().st_size // 2]
    program.write_bytes(half)
    program.with_suffix(".sha256").write_text(xla_cache._digest(program))  # poisoned so that our own check is passed
    assert run()[0] == weights
    assert [path.stat().st_size > len(half) for path in programs()] == [True]
