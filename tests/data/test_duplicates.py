"""Tests that test images which are identical to training images are noticed, in data sets of any kind."""

from __future__ import annotations

import numpy as np
import pytest

from trainyard.data import Npz, load_dataset
from trainyard.data.duplicates import count_shared_images


def _draw(count, shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (28, 28), (9, 7, 3), (64, 64, 3)])
def test_identical_images_are_counted_also_if_they_are_repeated(shape):
    train, test = _draw(50, shape), _draw(10, shape, seed=1)
    expected = sum(any(np.array_equal(image, other) for other in train) for image in test)
    assert count_shared_images(test, train) == expected
    test[[2, 5, 9]] = train[[7, 7, 0]]
    assert count_shared_images(test, train) >= 3
    assert count_shared_images(train, train) == 50


def test_images_that_differ_in_one_pixel_are_not_identical():
    train = np.zeros((4, 64, 64), np.uint8)
    test = train.copy()
    test[:3, 20, 33] = 1  # not among the values that are compared first
    assert count_shared_images(test, train) == 1


def test_a_data_set_with_shared_images_has_a_notice():
    images, labels = _draw(20, (6, 6)), np.arange(20) % 2
    np.savez("birds.npz", x_train=images, y_train=labels, x_test=images[:3], y_test=labels[:3])
    (notice,) = load_dataset(Npz(path="birds.npz"), 0).notices
    assert "3 of 3" in notice
    np.savez("birds.npz", x_train=images, y_train=labels, x_test=255 - images[:3], y_test=labels[:3])
    assert load_dataset(Npz(path="birds.npz"), 0).notices == ()
