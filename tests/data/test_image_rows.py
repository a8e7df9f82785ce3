"""Tests of images that are selected from a memory-mapped file: they equal a selection in memory."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from trainyard.config.compose import compose_config
from trainyard.data import image_rows as image_rows_module
from trainyard.data import load_dataset
from trainyard.data.dataset import Split, standardise_dataset
from trainyard.data.image_rows import ImageRows, is_mapped, iterate_chunks, read_rows, select_rows
from trainyard.data.loading import hold_out_validation, limit_dataset


@pytest.fixture(params=["gray", "colour"])
def images(request, tmp_path):
    """Random images in memory, and the same images in a memory-mapped file."""
    shape = (50, 4, 5) if request.param == "gray" else (50, 4, 5, 3)
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.save(tmp_path / "images.npy", array)
    return array, np.load(tmp_path / "images.npy", mmap_mode="r")


KEYS = [0, -1, np.int64(3), slice(None), slice(2, 9), slice(None, None, 7), np.array([5, 5, 0]), [1, 2], (slice(None), 0),
        (slice(1, 4), -1), (slice(None), slice(1, -1), 0)]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_indexing_equals_that_of_an_array(images, key):
    array, mapped = images
    rows = np.random.default_rng(1).permutation(50)[:30]
    selected = select_rows(mapped, rows)
    assert isinstance(selected, ImageRows)
    assert np.array_equal(selected[key], array[rows][key])
    assert (selected.shape, selected.dtype, selected.ndim, selected.nbytes, len(selected)) == (
        array[rows].shape, array.dtype, array.ndim, array[rows].nbytes, 30,
    )  # fmt: skip


def test_selections_of_selections_stay_on_the_disk(images):
    array, mapped = images
    rows, others = np.arange(40, 5, -1), np.array([3, 0, 3, 9])
    selected = select_rows(select_rows(mapped, rows), others)
    assert is_mapped(selected)
    assert not is_mapped(select_rows(array, rows))
    assert np.array_equal(np.asarray(selected), array[rows][others])
    assert np.array_equal(read_rows(selected, np.array([2, 1])), array[rows][others][[2, 1]])
    assert np.array_equal(read_rows(array, others), array[others])
    assert is_mapped(np.asarray(mapped)[3:])


@pytest.mark.parametrize(("count", "is_copy"), [(12, True), (13, False), (50, False)])
def test_only_small_selections_of_large_arrays_are_copies(images, monkeypatch, count, is_copy):
    array, _ = images
    monkeypatch.setattr(image_rows_module, "_CHUNK_BYTES", 100)
    rows = np.random.default_rng(1).permutation(50)[:count]
    selected = select_rows(array, rows)
    assert (isinstance(selected, np.ndarray), is_mapped(selected)) == (is_copy, False)
    assert np.array_equal(np.asarray(selected), array[rows])
    few = select_rows(selected, np.array([3, 0]))
    assert isinstance(few, np.ndarray)
    assert np.array_equal(few, array[rows][[3, 0]])


def test_chunks_have_all_images_in_order(images, monkeypatch):
    array, mapped = images
    monkeypatch.setattr(image_rows_module, "_CHUNK_BYTES", 3 * array[:1].nbytes)
    for source in (array, select_rows(mapped, np.arange(50))):
        chunks = list(iterate_chunks(source))
        assert [len(chunk) for chunk in chunks] == [3] * 16 + [2]
        assert np.array_equal(np.concatenate(chunks), array)
        assert np.array_equal(np.concatenate(list(iterate_chunks(source, every=4))), array[::4])


def test_digests_splits_and_standardisation_of_mapped_images_equal_those_in_memory(tmp_path, monkeypatch):
    dataset = load_dataset(compose_config([]).dataset, 0)
    monkeypatch.setattr(image_rows_module, "_CHUNK_BYTES", 1000)

    def store(split: Split, name: str) -> Split:
        np.save(tmp_path / name, split.images)
        return Split(np.load(tmp_path / f"{name}.npy", mmap_mode="r"), split.labels)

    mapped = dataclasses.replace(dataset, train=store(dataset.train, "train"), test=store(dataset.test, "test"))
    results = [
        standardise_dataset(hold_out_validation(limit_dataset(data, 200, seed=1), 0.2, seed=2))
        for data in (dataset, mapped)
    ]
    assert results[0].digest == results[1].digest
    assert results[0].spec == results[1].spec
    assert isinstance(results[1].train.images, ImageRows)
