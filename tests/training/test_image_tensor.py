"""Images in tensors equal the images in memory, whatever their source is."""

from __future__ import annotations

import numpy as np
import pytest

from trainyard.data import image_rows
from trainyard.training.image_tensor import copy_to_tensor

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 3, 5), dtype=np.uint8)
ROWS = np.array([4, 0, 6])


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (IMAGES, IMAGES),
        (IMAGES[:, ::-1], IMAGES[:, ::-1]),
        (image_rows.ImageRows(IMAGES, ROWS), IMAGES[ROWS]),
        (IMAGES[:0], IMAGES[:0]),
    ],
    ids=["array", "view", "rows", "none"],
)
def test_the_tensor_has_the_images_in_the_new_shape(keras, monkeypatch, images, expected):
    monkeypatch.setattr(image_rows, "_CHUNK_BYTES", 30)
    shape = (len(expected), 15)
    assert np.array_equal(copy_to_tensor(images, shape).numpy(), expected.reshape(shape))


def test_the_tensor_does_not_change_with_the_images(keras):
    images = IMAGES.copy()
    tensor = copy_to_tensor(images, images.shape)
    images[:] = 0
    assert np.array_equal(tensor.numpy(), IMAGES)
