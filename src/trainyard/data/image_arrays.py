"""Converting arrays of images, as people store them, to raw pixels: uint8 from 0 to ``pixel_max``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainyard.errors import DatasetError

_BLOCK_PIXELS = 2**20
"""The number of pixels that are converted at once, which bounds the memory for intermediate results."""
_MIN_SIDE = 8
"""The smallest side of square images that are recognized in an array (n, values). Fewer values may be features."""
_MAX_CHANNELS = 4
"""The largest size of the second axis that is recognized as channels, if height and width are larger."""
_TOLERANCE = 1e-3
"""The distance from an integer pixel value, in pixel values, up to which a float is that value."""
_BIT_DEPTH_MAXIMA = (255, 1023, 4095, 16383, 65535)
"""The largest pixel values of images with 8, 10, 12, 14 and 16 bits."""
_OTHER_KINDS = {
    "O": "Python objects",
    "S": "texts",
    "U": "texts",
    "M": "dates",
    "m": "time differences",
    "V": "records",
}
"""The contents of arrays that cannot be images, by the kind of their dtype."""


def convert_images(
    array: NDArray[Any], source: str, pixel_max: int, *, binary_is_unit: bool = True
) -> tuple[NDArray[np.uint8], list[str]]:
    """Converts an array of images to raw pixels, and removes a channel axis of length 1.

    Args:
        array: (n, height, width), (n, height, width, channels), or (n, height * width) with height equal to width.
            Integers from 0 to `pixel_max`; floats from 0 to 1, which are multiplied by `pixel_max`; floats that are
            integers from 0 to `pixel_max`; or booleans, which become 0 and `pixel_max`.
        source: The beginning of messages: the file and the name of the array.
        pixel_max: The largest possible raw pixel value, 1 to 255.
        binary_is_unit: Whether floats that are all 0.0 or 1.0 are in 0..1. If false, they are raw pixel values.

    Returns:
        The images, uint8 (n, height, width) or (n, height, width, channels), and notices about the conversion.

    Raises:
        DatasetError: If the array does not contain images or its values are different. The message states the NumPy
            expression that converts them.
    """
    kind = array.dtype.kind
    if kind not in "buif":
        raise DatasetError(
            f"{source}: expected {_describe_expected(pixel_max)}, got {_OTHER_KINDS.get(kind, 'other values')} "
            f"({array.dtype}). Trainyard trains on images only"
        )
    images, notices = _arrange_axes(array, source, pixel_max)
    if kind == "b":
        return np.multiply(images, np.uint8(pixel_max), dtype=np.uint8), notices
    if kind == "f":
        pixels, is_exact = _convert_floats(images, source, pixel_max, binary_is_unit=binary_is_unit)
        warning = f"pixels are not multiples of 1/{pixel_max}; they were rounded to the nearest multiple"
        return pixels, notices if is_exact else [*notices, warning]
    if images.dtype == np.uint8 and pixel_max == np.iinfo(np.uint8).max:  # memory-mapped images are not read
        return np.ascontiguousarray(images), notices
    low, high = int(images.min()), int(images.max())
    if low < 0 or high > pixel_max:
        raise _build_range_error(images, source, pixel_max, f"values from {low} to {high}")
    return np.ascontiguousarray(images, dtype=np.uint8), notices


def _describe_expected(pixel_max: int) -> str:
    """Returns a description of the arrays that are accepted."""
    values = f"integers from 0 to {pixel_max} or floats from 0 to 1"
    return f"{values}, (n, height, width) or (n, height, width, channels)"


def _arrange_axes(array: NDArray[Any], source: str, pixel_max: int) -> tuple[NDArray[Any], list[str]]:
    """Returns images as (n, height, width) or (n, height, width, channels), and notices about a new shape."""
    expected, shape = f"{source}: expected {_describe_expected(pixel_max)}, got", array.shape
    if array.ndim == 2 and shape[0]:  # noqa: PLR2004 - flattened images
        side, colour_side = math.isqrt(shape[1]), math.isqrt(shape[1] // 3)
        if side**2 == shape[1] and side >= _MIN_SIDE:
            return array.reshape(-1, side, side), [f"images of {shape[1]} values were reshaped to {side} x {side}"]
        if 3 * colour_side**2 == shape[1] and colour_side >= _MIN_SIDE:
            size = f"{colour_side}, {colour_side}"
            raise DatasetError(
                f"{expected} {array.dtype} {shape}. If these are RGB images, use images.reshape(-1, {size}, 3); if all "
                f"red values precede the green ones, as in CIFAR, images.reshape(-1, 3, {size}).transpose(0, 2, 3, 1)"
            )
    if array.ndim not in (3, 4) or 0 in shape:
        raise DatasetError(
            f"{expected} an array of shape {shape}. Trainyard trains on images only, not on tables, audio or video. "
            "Reshape flattened images: images.reshape(-1, height, width)"
        )
    if array.ndim == 4 and shape[1] <= _MAX_CHANNELS < min(shape[2:]):  # noqa: PLR2004 - with channels
        raise DatasetError(
            f"{expected} {shape}, in which the channels seem to precede height and width. "
            "Move them to the end: images.transpose(0, 2, 3, 1)"
        )
    return array[..., 0] if shape[3:] == (1,) else array, []


def _convert_floats(
    images: NDArray[Any], source: str, pixel_max: int, *, binary_is_unit: bool
) -> tuple[NDArray[np.uint8], bool]:
    """Converts floats to raw pixels; returns them, and whether no value was rounded. See `convert_images`."""
    low, high = float(images.min()), float(images.max())
    if not math.isfinite(low + high):
        first = next(index for index, image in enumerate(images) if not np.isfinite(image).all())
        index = (first, *map(int, np.argwhere(~np.isfinite(images[first]))[0]))
        raise DatasetError(
            f"{source}: expected {_describe_expected(pixel_max)}, got {images[index]} at index {index}. Remove the "
            "image, or replace the values: images = np.nan_to_num(images, nan=0, posinf=0, neginf=0)"
        )
    is_unit = high <= 1 + _TOLERANCE / pixel_max and (binary_is_unit or not np.isin(images, (0, 1)).all())
    scale = pixel_max if is_unit else 1
    if low * scale < -_TOLERANCE or high * scale > pixel_max + _TOLERANCE:
        raise _build_range_error(images, source, pixel_max, f"{images.dtype} from {low:.6g} to {high:.6g}")
    pixels, error = np.empty(images.shape, np.uint8), 0.0
    block = max(1, _BLOCK_PIXELS // math.prod(images.shape[1:]))
    for start in range(0, len(images), block):
        scaled = images[start : start + block] * np.float64(scale)
        rounded = np.rint(scaled)
        error = max(error, float(np.abs(scaled - rounded).max()))
        pixels[start : start + block] = rounded
    is_exact = error <= max(_TOLERANCE, scale * float(np.finfo(images.dtype).eps))
    if not is_exact and not is_unit:
        received = f"{images.dtype} from {low:.6g} to {high:.6g} with fractions"
        raise _build_range_error(images, source, pixel_max, received)
    return pixels, is_exact


def _build_range_error(images: NDArray[Any], source: str, pixel_max: int, received: str) -> DatasetError:
    """Returns the error for values that are not raw pixels, with the expression that converts them."""
    low, high = float(images.min()), float(images.max())
    is_float = images.dtype.kind == "f"
    top = next((maximum for maximum in _BIT_DEPTH_MAXIMA if high <= maximum), high)
    if is_float and low < 0 and max(-low, high) <= 1:
        pixels = f"(images + 1) * {pixel_max / 2:g}"
    elif low < 0 and -low <= 128 and high <= 127 and not is_float:  # noqa: PLR2004 - the range of int8
        pixels = f"(images.astype(int) + 128) / 255 * {pixel_max}"
    elif low < 0:
        pixels = f"(images - ({low:.6g})) / ({high:.6g} - ({low:.6g})) * {pixel_max}"
    elif is_float and high <= pixel_max:
        pixels = "images"
    else:
        pixels = f"images / {top:.6g} * {pixel_max}"
    return DatasetError(
        f"{source}: expected {_describe_expected(pixel_max)}, got {received}. Convert all images with the same "
        f"expression: images = np.rint({pixels}).astype(np.uint8)"
    )
