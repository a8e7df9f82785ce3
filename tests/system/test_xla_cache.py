"""Cached XLA programs are reused only if they are valid and were compiled for this machine, versions and threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainyard.system import xla_cache

pytestmark = pytest.mark.usefixtures("own_program_cache")

PROGRAM = """
import json, os, sys
from pathlib import Path
from trainyard import compose_config
from trainyard.data import load_dataset
from trainyard.system import configure_tensorflow, hash_weights, import_tensorflow
from trainyard.system.progress import Progress
from trainyard.training import train

import_tensorflow(2)
for overrides in json.loads(sys.argv[1]):
    config = compose_config(["dataset.limit=200", "training.epochs=1", "training.xla=on", *overrides])
    configure_tensorflow(0, 2)
    dataset = load_dataset(config.dataset, 0)
    model = config.model.build(dataset.spec)
    train(model, dataset, config, Progress(), lambda epoch, metrics: None)
    programs = Path(os.environ["XDG_CACHE_HOME"]).glob("trainyard/xla/*/*.pb")
    print(json.dumps([hash_weights(model), {str(path): path.stat().st_mtime_ns for path in programs}]))
"""
"""Trains with several overrides; prints for each the digest of the weights, and the cached programs with their times."""

YESTERDAY = time.time() - 86_400


@pytest.fixture
def fresh(monkeypatch):
    """Simulates a process that has not imported TensorFlow."""
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    monkeypatch.setenv("TF_XLA_FLAGS", "")


def _folder() -> Path:
    (flag,) = [flag for flag in os.environ["TF_XLA_FLAGS"].split() if "directory" in flag]
    return Path(flag.partition("=")[2])


def test_each_number_of_threads_has_a_separate_folder(fresh, monkeypatch):
    folders = []
    for threads, flags in [(1, ""), (2, ""), (2, "--xla_cpu_enable_fast_math=true"), (2, "")]:
        monkeypatch.setenv("XLA_FLAGS", flags)
        xla_cache.configure_xla_cache(threads)
        folders.append(_folder())
    assert folders[1] == folders[3]
    assert len(set(folders)) == 3
    assert folders[0].parent == Path(os.environ["XDG_CACHE_HOME"]) / "trainyard" / "xla"
    assert folders[0].stat().st_mode & 0o077 == 0


def test_flags_of_the_user_are_kept(fresh, monkeypatch):
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_auto_jit=2")
    xla_cache.configure_xla_cache(2)
    assert os.environ["TF_XLA_FLAGS"].startswith("--tf_xla_auto_jit=2 --tf_xla_persistent_cache_directory=")
    user_flag = "--tf_xla_persistent_cache_directory=/somewhere/else"
    monkeypatch.setenv("TF_XLA_FLAGS", user_flag)
    xla_cache.configure_xla_cache(2)
    assert os.environ["TF_XLA_FLAGS"] == user_flag
    assert not xla_cache.clear_xla_cache()


def test_programs_without_valid_digest_are_deleted(fresh):
    xla_cache.configure_xla_cache(2)
    folder = _folder()
    for name in ("valid", "changed", "unfinished"):
        (folder / f"{name}.pb").write_bytes(b"machine code")
    (folder / "unfinished.pb").rename(folder / "later.pb")
    xla_cache.write_digests(YESTERDAY)
    (folder / "later.sha256").unlink()
    (folder / "changed.pb").write_bytes(b"machine c0de")
    xla_cache.configure_xla_cache(2)
    assert [path.name for path in folder.glob("*.pb")] == ["valid.pb"]
    assert sorted(path.name for path in folder.iterdir()) == ["valid.pb", "valid.sha256"]


def test_digest_is_updated_if_a_second_process_overwrites_a_program(fresh):
    xla_cache.configure_xla_cache(2)
    program, older = (_folder() / f"{name}.pb" for name in ("twice", "older"))
    program.write_bytes(b"compiled by the first process")
    older.write_bytes(b"from yesterday")
    xla_cache.write_digests(YESTERDAY)
    older.write_bytes(b"from yesterday, damaged")
    os.utime(older, (YESTERDAY, YESTERDAY))
    compilation_start = YESTERDAY + 3600
    program.write_bytes(b"compiled by the second process")
    xla_cache.write_digests(compilation_start)
    assert not xla_cache.is_corrupted(program)
    assert xla_cache.is_corrupted(older)
    os.utime(program.with_suffix(".sha256"), (YESTERDAY, YESTERDAY))
    xla_cache.write_digests(compilation_start)  # a correct digest is not written again, because others may read it
    assert program.with_suffix(".sha256").stat().st_mtime == YESTERDAY


def test_oldest_programs_are_deleted_above_the_maximum(fresh, monkeypatch):
    monkeypatch.setattr(xla_cache, "MAX_CACHED_PROGRAMS", 2)
    xla_cache.configure_xla_cache(2)
    for age, name in enumerate(("new", "middle", "old")):
        path = _folder() / f"{name}.pb"
        path.write_bytes(name.encode())
        os.utime(path, (1e9 - age, 1e9 - age))
    xla_cache.write_digests(YESTERDAY)
    xla_cache.configure_xla_cache(2)
    assert sorted(path.stem for path in _folder().glob("*.pb")) == ["middle", "new"]


def test_no_cache_is_used_if_the_folder_cannot_be_created(fresh, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    xla_cache.configure_xla_cache(2)
    assert os.environ["TF_XLA_FLAGS"] == ""


def _train(*overrides: list[str]) -> list[tuple[str, dict[str, int]]]:
    """Runs `PROGRAM` in a new process."""
    command = [sys.executable, "-c", PROGRAM, json.dumps(overrides)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-3000:]
    return [tuple(json.loads(line)) for line in process.stdout.splitlines()]


@pytest.mark.slow
def test_second_process_uses_the_cache_and_recovers_from_corrupted_programs():
    """The second process reads the program of its first network, and compiles the damaged one of its second network."""

    networks = ["model.hidden_units=[16]"], ["model.hidden_units=[17]"]
    (first_weights, first_programs), (second_weights, programs) = _train(*networks)
    (intact,) = first_programs
    (damaged,) = map(Path, programs.keys() - {intact})
    half = damaged.read_bytes()[: damaged.stat().st_size // 2]
    damaged.write_bytes(half)
    damaged.with_suffix(".sha256").write_text(
        xla_cache.compute_sha256(damaged)
    )  # corrupted, but with a matching digest
    (first_weights_again, programs_read), (second_weights_again, programs_written) = _train(*networks)
    assert first_weights_again == first_weights
    assert programs_read[intact] == first_programs[intact]  # read, not written
    assert second_weights_again == second_weights
    assert [Path(program).stat().st_size > len(half) for program in programs_written] == [True]


@pytest.mark.slow
def test_trainings_that_differ_in_numbers_share_a_program():
    """The weights differ, so the numbers are used although the program was compiled for others."""

    def recipes(rate: float) -> list[list[str]]:
        return [
            [f"optimizer.learning_rate={rate}", f"model.l2={rate}"],
            ["optimizer=adamw", f"optimizer.weight_decay={rate}", "schedule=cosine",
             f"optimizer.learning_rate={rate}"],
            ["schedule=exponential", f"optimizer.learning_rate={rate}", "training.precision=mixed_bfloat16"],
            ["schedule=piecewise", "schedule.at_epochs=[0.5]", "schedule.factors=[0.1]", f"optimizer.learning_rate={rate}"],
        ]  # fmt: skip

    results = [_train(*recipes(rate)) for rate in (0.001, 0.002)]
    assert len(results[0][-1][1]) == len(recipes(0))
    assert results[0][-1][1] == results[1][-1][1]  # read, not written
    assert len({weights for trainings in results for weights, _ in trainings}) == 2 * len(recipes(0))
