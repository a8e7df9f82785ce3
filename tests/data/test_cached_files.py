"""Tests of the cache of large compressed npz files and gzipped idx files."""

from __future__ import annotations

import functools
import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from trainyard.config.registry import find_component
from trainyard.data import Npz, cached_files, load_dataset
from trainyard.data.array_cache import list_entries
from trainyard.errors import DatasetError

FILE = Path("birds.npz")


@pytest.fixture(autouse=True)
def loads(monkeypatch):
    """Every file counts as large; returns the files that were decompressed."""
    monkeypatch.setattr(cached_files, "MIN_CACHED_BYTES", 100)
    paths = []
    for name in ("load_npz", "load_idx"):
        load = getattr(cached_files, name)
        recorded = functools.partial(lambda load, path, *names: (paths.append(path), load(path, *names))[1], load)
        monkeypatch.setattr(cached_files, name, recorded)
    return paths


def _write(save=np.savez_compressed, seed=0, **changes):
    images = np.random.default_rng(seed).integers(0, 256, (12, 5, 4, 3), dtype=np.uint8)
    labels = np.arange(12) % 3
    arrays = {"x_train": images, "y_train": labels, "x_test": 255 - images, "y_test": labels}
    save(FILE, **(arrays | {"class_names": np.array(["crow", "gull", "kite"])} | changes))


def _load():
    return load_dataset(Npz(path=str(FILE)), 0)


def test_a_compressed_file_is_decompressed_once(loads):
    _write()
    first, second = _load(), _load()
    assert len(loads) == 1
    assert first.digest == second.digest
    assert second.spec.class_names == ("crow", "gull", "kite")
    _write(np.savez)
    assert _load().digest == first.digest
    assert len(list_entries()) == 1  # files without compression are read directly


def test_arrays_in_fortran_order_and_of_other_types_are_the_same_from_the_cache():
    _write()
    expected = _load()
    with np.load(FILE) as arrays:
        _write(**{name: np.asfortranarray(arrays[name].astype(np.int64)) for name in ("x_train", "x_test")})
    assert {_load().digest for _ in range(2)} == {expected.digest}


def test_a_changed_file_is_decompressed_again(loads):
    _write()
    before = _load()
    _write(seed=1)
    os.utime(FILE, ns=(1, 1))
    assert _load().digest != before.digest
    assert len(loads) == 2


@pytest.mark.parametrize("change", [{"x_train": np.array([object()])}, {"y_test": np.array(["a"])}])
def test_an_invalid_file_is_rejected_each_time(change):
    _write(**change)
    for _ in range(2):
        with pytest.raises(DatasetError):
            _load()


def test_a_truncated_file_is_rejected():
    _write()
    FILE.write_bytes(FILE.read_bytes()[:300])
    with pytest.raises(DatasetError, match="expected an npz file"):
        _load()
    assert list_entries() == []


@pytest.mark.parametrize("convert", [lambda images: images, lambda images: images / 255, lambda images: images > 127])
def test_settings_that_change_images_and_splits_do_not_depend_on_the_cache(convert):
    """Test images that are held out of images from the cache are not in memory, in contrast to other images."""
    images = convert(np.random.default_rng(0).integers(0, 256, (30, 5, 4, 3), dtype=np.uint8))
    labels = np.array(["crow", "gull", "kite"])[np.arange(30) % 3]
    fields = {"test_fraction": 0.2, "validation_fraction": 0.25, "transpose": True, "limit": 9}
    datasets = []
    for save in (np.savez, np.savez_compressed, np.savez_compressed):
        save(FILE, x=images, y=labels)
        datasets.append(load_dataset(Npz(path=str(FILE), **fields), 0))
    assert len({dataset.digest for dataset in datasets}) == 1
    assert datasets[0].spec.image_shape == (4, 5, 3)


IDX = Path("idx")


def _write_idx(compress=gzip.compress, seed=0):
    """Writes idx files with labels of less than 100 bytes, which are not cached."""
    images = np.random.default_rng(seed).integers(0, 256, (12, 5, 4), dtype=np.uint8)
    IDX.mkdir(exist_ok=True)
    for part, pixels in (("train", images), ("t10k", 255 - images)):
        for name, array in (("images-idx3-ubyte", pixels), ("labels-idx1-ubyte", np.arange(12, dtype=np.uint8) % 3)):
            header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            (IDX / f"{part}-{name}").write_bytes(compress(header + array.tobytes()))


def _load_idx():
    return load_dataset(find_component("dataset", "idx")(path=str(IDX)), 0)


def test_gzipped_idx_files_are_decompressed_once(loads):
    _write_idx()
    first, second = _load_idx(), _load_idx()
    assert [path.name for path in loads].count("train-images-idx3-ubyte") == 1
    assert len(list_entries()) == 2
    assert second.digest == first.digest
    _write_idx(seed=1)
    os.utime(IDX / "train-images-idx3-ubyte", ns=(1, 1))
    os.utime(IDX / "t10k-images-idx3-ubyte", ns=(1, 1))
    assert _load_idx().digest != first.digest
    assert len(list_entries()) == 4


def test_plain_idx_files_are_read_directly():
    _write_idx()
    expected = _load_idx().digest
    _write_idx(bytes)
    assert _load_idx().digest == expected
    assert len(list_entries()) == 2


def test_a_damaged_gzipped_idx_file_is_rejected_each_time():
    _write_idx(lambda content: gzip.compress(content)[:-12])
    for _ in range(2):
        with pytest.raises(DatasetError, match="idx file"):
            _load_idx()
    assert list_entries() == []
