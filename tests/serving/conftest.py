"""Finished runs that the tests in this folder only read. A test that changes one copies its folder first."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def trained_pair(train_once):
    """Two runs with models in one store: without and with standardised pixels."""
    trained = train_once()
    return trained, train_once("dataset.standardise=true", beside=trained)


@pytest.fixture(scope="session")
def trained(trained_pair):
    """The run without standardised pixels. Next to its folder are an npz and a PNG file with its test images."""
    result, _ = trained_pair
    test = result.dataset.test
    np.savez(result.folder.parent / "test.npz", x_test=test.images, y_test=test.labels)
    scaled = (test.images[0] * 15.9375).astype(np.uint8)  # from 0..16 to 0..255
    Image.fromarray(scaled).save(result.folder.parent / "first.png")
    return result
