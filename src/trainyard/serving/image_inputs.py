"""Loading the images to predict from image files and npz files, and converting them to the input of a model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainyard.data import (
    DataSpec,
    Preprocessing,
    convert_image,
    convert_images,
    find_roles,
    image_files,
    list_npz_arrays,
    load_image,
    load_npz,
    match_labels,
    measure_background_lightness,
)
from trainyard.errors import DatasetError

_PARTS = ("", "_test", "_val", "_train")
"""The suffixes of the roles that `find_roles` returns. The first part that an npz file has is predicted."""
_IMAGE_AXES = (3, 4)
"""The number of axes of an array of images: (n, height, width) or (n, height, width, channels)."""


@dataclass(frozen=True, slots=True)
class ImageInputs:
    """The images of one file, with the size, the colours and the pixel range that a model was trained on."""

    path: Path
    images: NDArray[np.uint8]
    """uint8 (n, *image_shape), raw pixels."""
    labels: NDArray[np.unsignedinteger] | None
    """Class indices, (n,); None if the file has no labels."""
    is_array: bool
    """Whether the file is an npz file, which holds an array of images, and not a single image."""


@dataclass(frozen=True, slots=True)
class ImageConversion:
    """How to convert images which differ from the training images.

    Without `resize`, images of another size are an error; without `as_is`, those with a background opposite to that of
    training. `invert` replaces each pixel value by the largest pixel value minus it.
    """

    resize: bool = False
    invert: bool = False
    as_is: bool = False


def list_image_files(paths: Iterable[Path]) -> list[Path]:
    """Returns the paths, with each folder replaced by the image files in it, in natural order: 2.png before 10.png.

    Hidden files and subfolders are left out. A folder without image files remains.
    """
    files: list[Path] = []
    for path in paths:
        inner = path.iterdir() if path.is_dir() else ()
        visible = {file.name: file for file in inner if not file.name.startswith(".") and file.is_file()}
        names = [name for name in visible if name.lower().endswith(image_files.IMAGE_SUFFIXES)]
        files += [visible[name] for name in sorted(names, key=image_files.build_natural_key)] or [path]
    return files


def load_image_inputs(path: Path, preprocessing: Preprocessing, conversion: ImageConversion) -> ImageInputs:
    """Loads an image file, or the images of an npz file, and converts them to the input of a model.

    RGB images are converted to grayscale if the model was trained on grayscale images, and vice versa. Arrays of an npz
    file are found by their names, see `find_roles`: images without a part, such as ``images``, else those of the test,
    validation or training part, else the only array that can hold images.

    Raises:
        DatasetError: If the file can't be read, its images have another size (without `resize`), or their background
            is clearly the opposite of that of the training images (without `as_is`).
    """
    spec = preprocessing.spec
    if not path.is_file():
        received = "a folder without image files" if path.is_dir() else "a path that does not exist"
        raise DatasetError(f"{path}: expected an image or npz file, or a folder of image files, got {received}")
    if is_array := path.suffix.lower() == ".npz":
        images, labels = _load_arrays(path, spec, conversion)
    elif path.suffix.lower() in image_files.IMAGE_SUFFIXES:
        colour = _needs_colour(spec)
        if conversion.resize and colour is not None:  # as the training images of a run were loaded
            image = load_image(path, colour=colour, size=spec.image_shape[:2])  # type: ignore[arg-type]
        else:
            image = load_image(path, colour=True)
        images, labels = _fit_images(path, image[np.newaxis], spec, conversion), None
        images = np.rint(images * (spec.pixel_max / 255)).astype(np.uint8)
    else:
        raise DatasetError(
            f"{path}: expected a file that ends in {', '.join(image_files.IMAGE_SUFFIXES)} or .npz, got "
            f"{path.suffix or 'no suffix'}"
        )
    if conversion.invert:
        images = np.subtract(spec.pixel_max, images, dtype=np.uint8)
    if not conversion.as_is:
        _check_background(path, images, preprocessing, inverted=conversion.invert)
    return ImageInputs(path, images, labels, is_array)


def _load_arrays(
    path: Path, spec: DataSpec, conversion: ImageConversion
) -> tuple[NDArray[np.uint8], NDArray[np.unsignedinteger] | None]:
    """Returns the images of an npz file, uint8 (n, *image_shape), and their labels, class indices (n,), or None."""
    available = list_npz_arrays(path)
    roles = find_roles(available)
    name = _choose_images(path, available, roles)
    labels_name = _find_labels(name, roles)
    arrays = load_npz(path, [name, *([labels_name] if labels_name else [])])
    pixels, _ = convert_images(arrays[name], f"{path}: {name}", spec.pixel_max)
    images = _fit_images(path, pixels, spec, conversion)
    if labels_name is None:
        return images, None
    labels = match_labels(arrays[labels_name], f"{path}: {labels_name}", spec.class_names)
    if len(labels) != len(images):
        raise DatasetError(
            f"{path}: expected the same number of images and labels, got {len(images)} in {name} and {len(labels)} in "
            f"{labels_name}"
        )
    return images, labels


def _choose_images(path: Path, arrays: dict[str, tuple[tuple[int, ...], np.dtype[Any]]], roles: dict[str, str]) -> str:
    """Returns the name of the array of images: a usual name, else the only array that fits; else raises an error."""
    known = ([name for name, role in roles.items() if role == f"x{part}"] for part in _PARTS)
    fitting = [
        name
        for name, (shape, dtype) in arrays.items()
        if len(shape) in _IMAGE_AXES and np.issubdtype(dtype, np.integer)
    ]
    candidates = next(filter(None, known), fitting)
    if len(candidates) != 1:
        received = ", ".join(f"{name} {dtype} {shape}" for name, (shape, dtype) in arrays.items()) or "no arrays"
        raise DatasetError(
            f"{path}: expected an array images or x_test, or exactly one array of integers (n, height, width) or "
            f"(n, height, width, channels), got {received}"
        )
    return candidates[0]


def _find_labels(images: str, roles: dict[str, str]) -> str | None:
    """Returns the name of the labels of an array: those of its part, else those of a part without images, else None."""
    names = {role: name for name, role in roles.items()}
    own = roles.get(images, "x").replace("x", "y", 1)
    others = [f"y{part}" for part in _PARTS if f"x{part}" not in names]
    return next((names[role] for role in (own, *others) if role in names), None)


def _fit_images(
    path: Path, images: NDArray[np.uint8], spec: DataSpec, conversion: ImageConversion
) -> NDArray[np.uint8]:
    """Converts an array of images to the size and the colours of a model's input."""
    expected = (len(images), *spec.image_shape)
    if images.shape == expected or (images.shape == expected[:3] and expected[3:] == (1,)):
        return images.reshape(expected)
    height, width = spec.image_shape[:2]
    colour, channels = _needs_colour(spec), images.shape[3:]
    if colour is None or channels not in ((), (3,)):
        raise DatasetError(
            f"{path}: expected images {' x '.join(map(str, spec.image_shape))}, got "
            f"{' x '.join(map(str, images.shape[1:]))}. Only grayscale and RGB images can be converted, and a PNG or "
            "JPEG file can't have other channels. Use an npz file with images of the expected shape"
        )
    if not conversion.resize and images.shape[1:3] != (height, width):
        got = "x".join(map(str, images.shape[1:3]))
        raise DatasetError(f"{path}: height x width: expected {height}x{width}, got {got}. Resize it: --resize")
    fitted = [convert_image(image, colour=colour, size=(height, width)) for image in images]
    return np.stack(fitted).reshape(expected)


def _needs_colour(spec: DataSpec) -> bool | None:
    """Returns whether the input of a model is RGB, or grayscale images; None if it has other channels."""
    return {(): False, (1,): False, (3,): True}.get(spec.image_shape[2:])


def _check_background(path: Path, images: NDArray[np.uint8], preprocessing: Preprocessing, *, inverted: bool) -> None:
    """Raises a DatasetError if the median background of the images is the opposite of that of the training images."""
    lightness = float(np.median(measure_background_lightness(images, preprocessing.spec.pixel_max)))
    if preprocessing.background is None or not preprocessing.background.is_opposite(lightness):
        return
    actual, expected = ("light", "dark") if lightness > preprocessing.background.median else ("dark", "light")
    remedy = "Omit --invert" if inverted else "Invert it: --invert"
    raise DatasetError(
        f"{path}: expected a {expected} background, as in the training images (lightness "
        f"{preprocessing.background.median:.2f}, where 0 is black and 1 is white), got a {actual} background "
        f"(lightness {lightness:.2f}{', inverted' if inverted else ''}). {remedy}, or disable this check: --as-is"
    )
