"""Tests of the cache of decoded data: keys, concurrent processes, damage, size limit, and folders without write access."""

from __future__ import annotations

import errno
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from trainyard.data import array_cache
from trainyard.data.array_cache import (
    ArrayWriter,
    clear_cache,
    find_cached,
    find_damage,
    list_entries,
    load_or_create,
)
from trainyard.errors import DatasetError

ROWS = np.arange(60, dtype=np.uint8).reshape(5, 4, 3)
KEY = array_cache._KEY
created = []


@pytest.fixture(autouse=True)
def _cache(monkeypatch):
    monkeypatch.setenv("TRAINYARD_CACHE_DIR", "cache")
    monkeypatch.setattr(array_cache, "_KEY", re.compile("[a-z]+"))
    created.clear()


def _create(writer: ArrayWriter):
    created.append(writer.folder)
    writer.add("labels", np.arange(5))
    writer.add_rows("images", iter(ROWS), 5, (4, 3))
    return {"count": 5}


def _load(key="k", size=100, create=_create):
    return load_or_create(key, "birds", size, create)


def _check(cached):
    assert np.array_equal(cached.arrays["images"], ROWS)
    assert cached.arrays["labels"].tolist() == [0, 1, 2, 3, 4]
    assert cached.notes == {"count": 5}


def test_arrays_are_created_once_and_then_mapped_into_memory():
    first, second = _load(), _load()
    assert len(created) == 1
    for cached in (first, second):
        _check(cached)
        assert cached.problem is None
        assert type(cached.arrays["images"]) is np.ndarray
        assert isinstance(cached.arrays["images"].base, np.memmap)
        assert not cached.arrays["images"].flags.writeable
    _load("other")
    assert len(created) == 2


def test_fewer_rows_than_announced_are_stored_with_their_number():
    cached = _load(create=lambda writer: writer.add_rows("images", iter(ROWS[:2]), 10**12, (4, 3)) or {})
    assert np.array_equal(cached.arrays["images"], ROWS[:2])
    empty = _load("empty", create=lambda writer: writer.add_rows("images", iter(()), 7, (4, 3)) or {})
    assert empty.arrays["images"].shape == (0, 4, 3)


def test_an_entry_whose_file_has_another_size_is_created_again():
    _load()
    file = Path("cache/k/images.npy")
    file.write_bytes(file.read_bytes()[:-1])
    assert find_cached("k") is None
    _check(_load())
    assert len(created) == 2
    Path("cache/k/entry.json").write_text("{")
    _check(_load())
    assert len(created) == 3


def test_a_changed_byte_is_found_by_the_checksum_but_not_by_loading():
    _load()
    (entry,) = list_entries()
    assert (entry.source, entry.shapes["images"]) == ("birds", (5, 4, 3))
    assert find_damage(entry) == []
    file = entry.folder / "images.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert find_cached("k") is not None
    (problem,) = find_damage(entry)
    assert "images.npy" in problem


def test_an_error_leaves_no_entry():
    def fail(writer):
        _create(writer)
        raise DatasetError("damaged")

    with pytest.raises(DatasetError, match="damaged"):
        _load(create=fail)
    assert list_entries() == []
    assert [path.name for path in Path("cache").iterdir() if path.is_dir()] == []
    _check(_load())


@pytest.mark.parametrize("value", ["-1", "much", "nan", "inf"])
def test_the_size_limit_must_be_a_number(monkeypatch, value):
    monkeypatch.setenv("TRAINYARD_CACHE_GB", value)
    with pytest.raises(DatasetError, match="TRAINYARD_CACHE_GB: expected a number of gigabytes"):
        _load()


def test_the_cache_can_be_disabled(monkeypatch):
    monkeypatch.setenv("TRAINYARD_CACHE_GB", "0")
    for _ in range(2):
        cached = _load()
        _check(cached)
        assert cached.problem is None
    assert created == [None, None]
    assert not Path("cache").exists()


def test_entries_that_were_not_used_for_the_longest_time_are_removed(monkeypatch):
    for age, key in ((300, "old"), (200, "used"), (100, "new")):
        _load(key)
        os.utime(Path("cache") / key, (time.time() - age,) * 2)
    size = list_entries()[0].size
    monkeypatch.setenv("TRAINYARD_CACHE_GB", str(3 * size / 1e9))
    opened = _load("old")  # is now the last used
    _load("newest", size)
    assert {entry.folder.name for entry in list_entries()} == {"old", "new", "newest"}
    clear_cache()
    _check(opened)  # the memory of a process stays valid when an entry is removed


def test_data_that_is_larger_than_the_cache_is_created_in_memory(monkeypatch):
    _load("small")
    monkeypatch.setenv("TRAINYARD_CACHE_GB", "0.000001")
    cached = _load("large", 2000)
    _check(cached)
    assert "birds: decoded images are not cached" in cached.problem
    assert [entry.folder.name for entry in list_entries()] == ["small"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.ENOLCK])
def test_a_cache_that_cannot_be_written_is_not_used_and_the_reason_is_returned(monkeypatch, number):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir" if number != errno.ENOLCK else "rename", fail)
    cached = _load()
    _check(cached)
    assert os.strerror(number) in cached.problem
    assert "TRAINYARD_CACHE_DIR" in cached.problem


def _load_slowly(queue):
    def create(writer):
        time.sleep(0.3)
        return _create(writer)

    _check(_load(create=create))
    queue.put(len(created))


def test_processes_that_load_at_the_same_time_create_an_entry_once():
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=_load_slowly, args=(queue,)) for _ in range(4)]
    for process in processes:
        process.start()
    counts = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert sum(counts) == 1


def test_an_entry_is_created_again_after_the_process_that_wrote_it_was_killed():
    program = """
import time
from trainyard.data.array_cache import load_or_create
def create(writer):
    writer.add("images", __import__("numpy").zeros(9))
    print("started", flush=True)
    time.sleep(600)
load_or_create("k", "birds", 1, create)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "started\n"
    assert clear_cache() == 0  # the entry is being written
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert Path("cache/partial.k").is_dir()
    _check(_load())
    assert not Path("cache/partial.k").exists()


def test_clearing_removes_entries_and_unfinished_entries_but_not_other_files(monkeypatch):
    _load("a")
    _load("b")
    Path("cache/partial.c").mkdir()
    Path("cache/own").mkdir()
    monkeypatch.setattr(array_cache, "_KEY", re.compile("[a-c]"))
    Path("cache/own/file").write_text("x")
    assert clear_cache() > 120
    assert [path.name for path in Path("cache").iterdir() if path.suffix != ".lock"] == ["own"]
    assert Path("cache/own/file").exists()
    monkeypatch.setenv("TRAINYARD_CACHE_DIR", "nowhere")
    assert clear_cache() == 0
    assert list_entries() == []


def test_unfinished_entries_are_removed_after_a_day():
    for name, age in (("partial.old", 2 * array_cache._STALE_SECONDS), ("partial.new", 0)):
        folder = Path("cache") / name
        folder.mkdir(parents=True)
        os.utime(folder, (time.time() - age,) * 2)
    _load()
    assert {path.name for path in Path("cache").iterdir() if path.is_dir()} == {"partial.new", "k"}


def test_folders_of_other_programs_in_the_folder_of_the_cache_are_kept(monkeypatch):
    monkeypatch.setattr(array_cache, "_KEY", KEY)
    for name in ("partial.results", "results", "partial.0123"):
        (Path("cache") / name).mkdir(parents=True)
        (Path("cache") / name / "entry.json").write_text('{"source": "x", "shapes": {}, "sizes": {}, "notes": {}}')
        os.utime(Path("cache") / name, (time.time() - 2 * array_cache._STALE_SECONDS,) * 2)
    _load("0123456789abcdef" * 2)
    assert [entry.folder.name for entry in list_entries()] == ["0123456789abcdef" * 2]
    assert clear_cache() > 0
    folders = sorted(path.name for path in Path("cache").iterdir() if path.is_dir())
    assert folders == ["partial.0123", "partial.results", "results"]


def test_clearing_keeps_the_lock_of_an_entry_that_is_being_written():
    Path("cache/partial.k").mkdir(parents=True)
    with FileLock("cache/k.lock"):
        clear_cache()
        assert Path("cache/partial.k").is_dir()
        assert Path("cache/k.lock").exists()


def test_data_that_fits_neither_into_the_cache_nor_into_memory_is_an_error(monkeypatch):
    monkeypatch.setenv("TRAINYARD_CACHE_GB", "0.00000001")
    with pytest.raises(DatasetError, match=r"expected images that fit into the available memory"):
        _load(size=10**15)
    assert not created
