"""Tests of the conversion of arrays of images to raw pixels: values, shapes and messages."""

from __future__ import annotations

import re

import numpy as np
import pytest

from trainyard.data.image_arrays import convert_images
from trainyard.errors import DatasetError

RAW = np.random.default_rng(0).integers(0, 256, (5, 9, 10), dtype=np.uint8)
RAW[0, 0, :2] = 0, 255
BINARY = RAW // 128


@pytest.mark.parametrize(
    ("array", "pixel_max", "expected"),
    [
        (RAW, 255, RAW),
        *((RAW.astype(dtype), 255, RAW) for dtype in ("u2", "i2", ">i4", "<u4", "i8", ">u8")),
        *((RAW.astype(dtype), 255, RAW) for dtype in ("f2", "f4", ">f4", "f8")),
        *(((RAW / 255).astype(dtype), 255, RAW) for dtype in ("f2", "f4", ">f8")),
        (RAW * np.float32(1 / 255), 255, RAW),
        ((RAW.astype("f4") / 255).astype("f8"), 255, RAW),
        (BINARY.astype("f4"), 255, BINARY * 255),
        (BINARY == 1, 255, BINARY * 255),
        (BINARY == 1, 1, BINARY),
        (BINARY, 1, BINARY),
        (RAW // 16, 16, RAW // 16),
        ((RAW // 16).astype("f4"), 16, RAW // 16),
        (RAW // 16 / 16, 16, RAW // 16),
        (RAW[..., None], 255, RAW),
        (np.asfortranarray(RAW), 255, RAW),
        (np.stack([RAW] * 4, axis=-1), 255, np.stack([RAW] * 4, axis=-1)),
        (np.stack([RAW] * 5, axis=-1), 255, np.stack([RAW] * 5, axis=-1)),
        (RAW[:, :3, :, None], 255, RAW[:, :3]),
        (np.concatenate([RAW] * 3000) / 255, 255, np.concatenate([RAW] * 3000)),
    ],
)
def test_raw_pixels_keep_their_values(array, pixel_max, expected):
    before = array.copy()
    images, notes = convert_images(array, "x", pixel_max)
    assert (images.dtype, images.flags.c_contiguous, notes) == (np.uint8, True, [])
    assert np.array_equal(images, expected)
    assert np.array_equal(array, before)


def test_floats_of_zero_and_one_are_pixels_if_other_images_exceed_one():
    assert np.array_equal(convert_images(BINARY.astype("f4"), "x", 255, binary_is_unit=False)[0], BINARY)
    assert np.array_equal(convert_images(RAW / 255, "x", 255, binary_is_unit=False)[0], RAW)


@pytest.mark.parametrize(("pixel_max", "array"), [(255, RAW / 256), (255, RAW / 300), (1, RAW / 255), (16, RAW / 255)])
def test_other_floats_are_rounded_to_the_nearest_pixel_with_a_warning(pixel_max, array):
    images, notes = convert_images(array.astype("f4"), "x", pixel_max)
    assert np.array_equal(images, np.rint(array.astype("f4").astype("f8") * pixel_max))
    (note,) = notes
    assert note.endswith("rounded to the nearest multiple")
    assert f"multiples of 1/{pixel_max};" in note


@pytest.mark.parametrize("side", [8, 28, 32])
def test_square_images_that_are_flattened_get_their_shape(side):
    square = np.arange(2 * side * side).reshape(2, side, side) % 256
    images, notes = convert_images(square.reshape(2, -1), "x", 255)
    assert np.array_equal(images, square)
    assert notes == [f"images of {side**2} values were reshaped to {side} x {side}"]


WHOLE = RAW.astype("f8")


@pytest.mark.parametrize(
    ("array", "received", "recovered"),
    [
        (RAW / 127.5 - 1, "got float64 from -1 to 1", RAW),
        (RAW.astype(int) - 128, "got values from -128 to 127", RAW),
        ((RAW.astype(int) - 128).astype("i1"), "got values from -128 to 127", RAW),
        (RAW.astype("u2") * 257, "got values from 0 to 65535", RAW),
        (RAW.astype("f4") * 257, "got float32 from 0 to 65535", RAW),
        ((WHOLE * 4095 / 255).round().astype("u2"), "got values from 0 to 4095", RAW),
        ((WHOLE - 100) / 50, "got float64 from -2 to 3.1", RAW),
        (WHOLE - 100, "got float64 from -100 to 155", RAW),
        (WHOLE * 0.999, "got float64 from 0 to 254.745 with fractions", RAW),
        (WHOLE / 100, "got float64 from 0 to 2.55 with fractions", None),
        (np.full((2, 4, 4), 1e30), "got float64 from 1e\\+30 to 1e\\+30", None),
    ],
)
def test_an_error_states_the_range_and_an_expression_that_recovers_the_pixels(array, received, recovered):
    with pytest.raises(DatasetError, match=f"^x: expected integers from 0 to 255 .*{received}") as caught:
        convert_images(array, "x", 255)
    expression = re.search(r": images = (np\.rint.*)$", str(caught.value))[1]
    converted = eval(expression, {"np": np, "images": array})
    assert converted.dtype == np.uint8
    if recovered is not None:
        assert np.array_equal(converted, recovered)


def _with(value, index):
    array = RAW / 255
    array[index] = value
    return array


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (_with(np.nan, (3, 2, 1)), r"got nan at index \(3, 2, 1\).*np\.nan_to_num"),
        (_with(-np.inf, (0, 0, 0)), r"got -inf at index \(0, 0, 0\)"),
        (np.full((2, 4, 4), np.nan, "f4"), r"got nan at index \(0, 0, 0\)"),
        (np.zeros((2, 3, 32, 32), "u1"), r"got \(2, 3, 32, 32\).*channels.*images\.transpose\(0, 2, 3, 1\)"),
        (np.zeros((2, 1, 28, 30), "u1"), r"images\.transpose\(0, 2, 3, 1\)"),
        (np.zeros((2, 4, 9, 9), "f4"), r"images\.transpose\(0, 2, 3, 1\)"),
        (np.zeros((2, 3072), "u1"), r"reshape\(-1, 32, 32, 3\).*reshape\(-1, 3, 32, 32\)\.transpose\(0, 2, 3, 1\)"),
        (np.zeros((2, 4), "u1"), r"shape \(2, 4\)\. Trainyard trains on images only"),
        (np.zeros((2, 16000), "f4"), r"Trainyard trains on images only, not on tables, audio or video"),
        (np.zeros(7), r"got an array of shape \(7,\)\. Trainyard trains on images only"),
        (np.zeros((2, 4, 6, 5, 3)), r"Trainyard trains on images only"),
        (np.zeros((0, 4, 4)), r"got an array of shape \(0, 4, 4\)"),
        (np.zeros((2, 4, 4), complex), r"got other values \(complex128\)\. Trainyard trains on images only"),
        (np.zeros((2, 4, 4), "M8[s]"), r"got dates"),
        (np.zeros((2, 4, 4), "m8[s]"), r"got time differences"),
        (np.zeros((2, 4, 4), [("r", "u1"), ("g", "u1")]), r"got records"),
        (np.array(["good", "bad"]), r"got texts"),
        (np.array([b"good", b"bad"]), r"got texts"),
        (np.array([None, None]), r"got Python objects"),
    ],
)  # fmt: skip
def test_what_is_not_an_array_of_images_is_rejected(array, message):
    with pytest.raises(DatasetError, match=f"^x: expected integers from 0 to 255 or floats .*{message}"):
        convert_images(array, "x", 255)
