"""The images that somebody wants predicted: pictures and npz files, held against what the model takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainyard.data import image_files
from trainyard.data.checks import check_images, check_labels
from trainyard.data.dataset import DataSpec
from trainyard.data.image_files import fit_pixels, read_picture
from trainyard.data.npz import list_npz, read_npz
from trainyard.data.preprocessing import Preprocessing, background_lightness
from trainyard.errors import DatasetError

_IMAGES = ("images", "x_test")
_LABELS = ("labels", "y_test")
_AXES = (3, 4)
"""Of images in an array: (n, height, width), and channels."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """The images of one file, as a model takes them before they are scaled.

    Attributes:
        path: The file, as it was named.
        images: uint8 (n, *image_shape), raw.
        labels: uint8 (n,), where the file says what the images show.
        several: Whether the file holds an array of images, rather than a picture.
    """

    path: Path
    images: NDArray[np.uint8]
    labels: NDArray[np.uint8] | None
    several: bool


@dataclass(frozen=True, slots=True)
class Treatment:
    """What may be done to images that are not as the model takes them.

    Attributes:
        resize: Resize them where they are of another size.
        invert: Make light what is dark, and dark what is light.
        as_is: Take them whatever their background is.
    """

    resize: bool = False
    invert: bool = False
    as_is: bool = False


def read_image_file(path: Path, known: Preprocessing, treatment: Treatment) -> ImageFile:
    """Reads a picture, or the images of an npz file, and makes them what a model takes.

    Colour is made grey for a model of grey images, and the other way round.

    Args:
        path: A PNG, a JPEG or an npz file. Of the latter the array ``images`` is taken, ``x_test``, or the only one
            that can be images; labels are ``labels`` or ``y_test``.
        known: What the model takes, and what it was trained on.
        treatment: What may be done to the images.

    Returns:
        The images.

    Raises:
        DatasetError: If the file can't be read, or its images are of another size, or their background is clearly the
            opposite of what the model was trained on; says what to do.
    """
    spec = known.spec
    if not path.is_file():
        found = "a folder. Name the files in it" if path.is_dir() else "nothing there"
        raise DatasetError(f"{path}: expected a PNG, JPEG or npz file, got {found}")
    if several := path.suffix.lower() == ".npz":
        images, labels = _read_arrays(path, spec, treatment)
    elif path.suffix.lower() in image_files.SUFFIXES:
        images, labels = _read_picture(path, spec, treatment), None
    else:
        raise DatasetError(f"{path}: expected a PNG, JPEG or npz file, by its suffix, got {path.suffix or 'none'}")
    if treatment.invert:
        images = np.subtract(spec.pixel_max, images, dtype=np.uint8)
    if not treatment.as_is:
        _check_background(path, images, known, inverted=treatment.invert)
    return ImageFile(path, images, labels, several)


def _read_picture(path: Path, spec: DataSpec, treatment: Treatment) -> NDArray[np.uint8]:
    colour = _wants_colour(spec)
    if colour is None:
        raise DatasetError(
            f"{path}: expected images with {spec.image_shape[2]} channels, which no picture has. Name an npz file"
        )
    pixels = read_picture(path, colour=colour, size=_size(spec) if treatment.resize else None)
    _check_size(path, pixels.shape[:2], spec)
    if spec.pixel_max != np.iinfo(np.uint8).max:
        pixels = np.rint(pixels * (spec.pixel_max / 255)).astype(np.uint8)
    return pixels.reshape(1, *spec.image_shape)


def _read_arrays(
    path: Path, spec: DataSpec, treatment: Treatment
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    held = list_npz(path)
    name = _choose_images(path, held)
    both_pairs = name != "x_test" and "x_test" in held  # then y_test belongs to the other
    order = _LABELS[::-1] if name == "x_test" else _LABELS[: 1 if both_pairs else 2]
    named_labels = [label for label in order if label in held][:1]
    arrays = read_npz(path, [name, *named_labels])
    images = _fit(path, check_images(arrays[name], f"{path}: {name}", spec.pixel_max), spec, treatment)
    if not named_labels:
        return images, None
    labels = check_labels(arrays[named_labels[0]], f"{path}: {named_labels[0]}")
    if len(labels) != len(images):
        raise DatasetError(
            f"{path}: expected as many images as labels, got {len(images)} in {name} and {len(labels)} in "
            f"{named_labels[0]}"
        )
    if (highest := labels.max()) >= spec.classes:
        raise DatasetError(
            f"{path}: {named_labels[0]}: expected labels below {spec.classes}, the model's classes, got {highest}"
        )
    return images, labels


def _choose_images(path: Path, held: dict[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> str:
    """Returns the name of the array that holds the images."""
    if named := [name for name in _IMAGES if name in held]:
        return named[0]
    likely = [name for name, (shape, dtype) in held.items() if len(shape) in _AXES and np.issubdtype(dtype, np.integer)]
    if len(likely) != 1:
        told = ", ".join(f"{name} {dtype} {shape}" for name, (shape, dtype) in held.items()) or "nothing"
        raise DatasetError(
            f"{path}: expected an array images or x_test, or only one of whole numbers (n, height, width) or "
            f"(n, height, width, channels), got {told}"
        )
    return likely[0]


def _fit(path: Path, images: NDArray[np.uint8], spec: DataSpec, treatment: Treatment) -> NDArray[np.uint8]:
    """Brings the images of an array to the model's size and colours."""
    wanted = (len(images), *spec.image_shape)
    if images.shape == wanted or (images.shape == wanted[:3] and wanted[3:] == (1,)):
        return images.reshape(wanted)
    if not treatment.resize:
        _check_size(path, images.shape[1:3], spec)
    colour, channels = _wants_colour(spec), images.shape[3:]
    if colour is None or channels not in ((), (3,)):
        raise DatasetError(
            f"{path}: expected images {' x '.join(map(str, spec.image_shape))}, got "
            f"{' x '.join(map(str, images.shape[1:]))}, and only grey and three colours can be made each other"
        )
    fitted = [fit_pixels(image, colour=colour, size=_size(spec)) for image in images]
    return np.stack(fitted).reshape(wanted)


def _wants_colour(spec: DataSpec) -> bool | None:
    """Tells whether images have red, green and blue; None where they have neither those nor only grey."""
    return {(): False, (1,): False, (3,): True}.get(spec.image_shape[2:])


def _size(spec: DataSpec) -> tuple[int, int]:
    height, width = spec.image_shape[:2]
    return height, width


def _check_size(path: Path, found: tuple[int, ...], spec: DataSpec) -> None:
    if tuple(found) != _size(spec):
        expected, got = ("x".join(map(str, size)) for size in (_size(spec), found))
        raise DatasetError(f"{path}: height by width: expected {expected}, got {got}. Resize it: --resize")


def _check_background(path: Path, images: NDArray[np.uint8], known: Preprocessing, *, inverted: bool) -> None:
    """Raises where the images' background, that of the middle one of an array, is the opposite of training's."""
    lightness = float(np.median(background_lightness(images, known.spec.pixel_max)))
    if known.background is None or not known.background.is_opposite(lightness):
        return
    ours, theirs = ("light", "dark") if lightness > known.background.median else ("dark", "light")
    remedy = "Leave --invert out" if inverted else "Invert it: --invert"
    raise DatasetError(
        f"{path}: expected a {theirs} background, as the training images have ({known.background.median:.2f}, where 0 "
        f"is black and 1 is white), got a {ours} one ({lightness:.2f}{', inverted' if inverted else ''}). {remedy}, or "
        "predict it as it is: --as-is"
    )
