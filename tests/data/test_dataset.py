from __future__ import annotations

import numpy as np
import pytest

from trainyard.data.dataset import Dataset, DataSpec, Split
from trainyard.data.loading import draw_stratified_sample, hold_out_validation, limit_dataset

LABELS = np.repeat(np.arange(3, dtype=np.uint8), [60, 30, 10])


def _dataset() -> Dataset:
    images = np.arange(100, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    split = Split(images, LABELS)
    return Dataset("three", DataSpec((2, 2), ("a", "b", "c"), 255), train=split, test=split, source="here")


@pytest.mark.parametrize("count", [1, 2, 7, 10, 50, 100])
def test_samples_of_any_size_keep_the_class_proportions(count):
    indices = draw_stratified_sample(LABELS, count, seed=3)
    assert len(set(indices)) == count
    assert np.all(np.abs(np.bincount(LABELS[indices], minlength=3) - count * np.array([0.6, 0.3, 0.1])) <= 1)


def test_the_sample_depends_only_on_the_seed():
    samples = [tuple(draw_stratified_sample(LABELS, 20, seed)) for seed in (0, 0, 1)]
    assert samples[0] == samples[1] != samples[2]


def test_validation_images_are_removed_from_training_and_no_image_is_lost():
    dataset = hold_out_validation(_dataset(), 0.2, seed=1)
    assert (len(dataset.train), len(dataset.validation)) == (80, 20)
    all_images = np.concatenate([dataset.train.images, dataset.validation.images])
    assert sorted(all_images[:, 0, 0]) == list(range(100))
    assert np.bincount(dataset.validation.labels).tolist() == [12, 6, 2]


@pytest.mark.parametrize("fraction", [0.0001, 0.9999])
def test_validation_and_training_keep_at_least_one_image(fraction):
    dataset = hold_out_validation(_dataset(), fraction, seed=1)
    assert min(len(dataset.train), len(dataset.validation)) == 1


def test_a_limit_keeps_that_number_of_training_and_test_images():
    dataset = limit_dataset(_dataset(), 10, seed=0)
    assert (len(dataset.train), len(dataset.test), dataset.limited) == (10, 10, True)
    assert len(limit_dataset(_dataset(), 1000, seed=0).train) == 100


def test_the_digest_depends_on_each_part_of_the_data():
    dataset = _dataset()
    digests = {
        dataset.digest,
        hold_out_validation(dataset, 0.2, 0).digest,
        limit_dataset(dataset, 9, 0).digest,
    }
    assert len(digests) == 3
    assert dataset.digest == _dataset().digest
    reshaped = Split(dataset.train.images.reshape(100, 4, 1), LABELS)
    assert reshaped.digest != dataset.train.digest


@pytest.mark.parametrize("pixel_max", [16, 255])
def test_scaling_by_table_equals_division_in_numpy_exactly(pixel_max):
    raw = np.arange(pixel_max + 1, dtype=np.uint8)
    table = DataSpec((2, 2), ("a",), pixel_max).build_scale_table()
    assert np.array_equal(table[raw], raw / np.float32(pixel_max))
    assert table.dtype == np.float32
