from __future__ import annotations

import numpy as np
import pytest

from trainyard import run_experiment
from trainyard.config.compose import compose_config
from trainyard.config.validation import find_section_problems
from trainyard.data.augmentation import Affine
from trainyard.data.batches import BatchMaker
from trainyard.data.dataset import DataSpec

SEED = np.array([1, 2], np.int64)


def _apply(images, **settings):
    return Affine(**settings).apply(images.astype(np.float32), SEED).numpy()


@pytest.fixture
def marked():
    """64 images of 11 x 11 pixels with one white pixel, above and left of the centre."""
    images = np.zeros((64, 11, 11))
    images[:, 3, 4] = 1
    return images


def test_shifts_are_within_bounds_and_keep_pixels_that_stay_in_the_image(keras, marked):
    moved = _apply(marked, shift=0.2)
    assert moved.shape == marked.shape
    rows, columns = (np.einsum("nij,ij->n", moved, axis) for axis in np.indices((11, 11)))
    assert moved.sum(axis=(1, 2)) == pytest.approx(1, abs=1e-4)
    for centre, start in ((rows, 3), (columns, 4)):
        assert np.abs(centre - start).max() <= 2.2 + 1e-4
        assert np.ptp(centre) > 3
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.4


def test_rotation_keeps_angles_within_bounds(keras, marked):
    moved = _apply(marked, rotate=90)
    rows, columns = (np.einsum("nij,ij->n", moved, axis) / moved.sum(axis=(1, 2)) for axis in np.indices((11, 11)))
    angles = np.degrees(np.arctan2(columns - 5, rows - 5) - np.arctan2(-1, -2))
    angles = (angles + 180) % 360 - 180
    assert np.abs(angles).max() <= 90 + 8
    assert np.ptp(angles) > 120


def test_flips_mirror_about_half_of_the_images(keras, marked):
    mirrored = _apply(marked, flip_horizontal=True)
    positions = {tuple(map(int, np.unravel_index(image.argmax(), image.shape))) for image in mirrored}
    assert positions == {(3, 4), (3, 6)}
    assert 16 < sum(image[3, 6] > 0.99 for image in mirrored) < 48
    assert {int(image[:, 4].argmax()) for image in _apply(marked, flip_vertical=True)} == {3, 7}


def test_zoom_changes_the_size_within_bounds(keras):
    square = np.zeros((64, 21, 21))
    square[:, 7:14, 7:14] = 1
    areas = _apply(square, zoom=0.3).sum(axis=(1, 2))
    assert 49 * 0.7**2 - 6 < areas.min() < 35
    assert 65 < areas.max() < 49 * 1.3**2 + 6


def test_each_image_is_transformed_differently_and_all_its_channels_alike(keras):
    images = np.zeros((8, 9, 9, 3))
    images[:, 4, 4] = [1.0, 0.5, 0.25]
    moved = _apply(images, shift=0.3, rotate=20)
    assert len({image.tobytes() for image in moved}) == 8
    assert np.allclose(moved[..., 1], moved[..., 0] / 2, atol=1e-6)


def test_pixels_from_outside_a_standardised_image_have_the_value_of_raw_pixel_0(keras):
    spec = DataSpec((8, 8), ("a", "b"), 255, mean=(0.5,), std=(0.25,))
    batches = BatchMaker(spec, augmentation=Affine(shift=0.5), seed=3)
    black = np.zeros((16, 8, 8), np.uint8)
    images, _ = batches.make(black, np.zeros(16, np.uint8), (0, 0))
    assert np.unique(images.numpy()) == pytest.approx([-2.0])


def test_augmentation_depends_on_seed_epoch_and_batch_number(keras):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8), dtype=np.uint8)
    labels = np.zeros(4, np.uint8)

    def batch(seed, *position):
        maker = BatchMaker(DataSpec((8, 8), ("a", "b"), 255), augmentation=Affine(rotate=30), seed=seed)
        return maker.make(pixels, labels, position or None)[0].numpy().tobytes()

    batches = [batch(2**32 - 1, 0, 0), batch(1, 0, 0), batch(1, 1, 0), batch(1, 0, 1)]
    assert len(set(batches)) == 4
    assert batch(1, 0, 1) == batches[3]
    assert batch(1) not in batches


@pytest.mark.slow
def test_both_engines_train_on_the_same_augmented_images(keras):
    def losses(engine):
        overrides = ["augmentation=shift_rotate", f"training.engine={engine}", "training.epochs=2"]
        small = ["model.hidden_units=[16]", "tracking=off", "dataset.limit=100"]
        result = run_experiment(compose_config([*overrides, *small]))
        assert not result.training.xla.on
        return [epoch["loss/train"] for epoch in result.training.history]

    assert losses("compiled") == pytest.approx(losses("fit"), rel=1e-5)


def test_affine_without_any_transformation_is_rejected():
    (problem,) = find_section_problems(Affine(), "augmentation")
    assert problem.startswith("augmentation.shift: no transformation is enabled")
    flipped = Affine(flip_horizontal=True)
    assert list(find_section_problems(flipped, "augmentation")) == []
    assert flipped.changes_images
