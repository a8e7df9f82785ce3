"""Loading PNG and JPEG files as arrays of a requested size, in grayscale or RGB."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainyard.errors import DatasetError, summarize_error

if TYPE_CHECKING:
    from PIL import Image

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


def load_image(path: Path, *, colour: bool, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Loads a PNG or JPEG file: uint8 (height, width, 3) if `colour`, else (height, width), in 0..255.

    Its EXIF orientation is applied, and a transparent image is put on a white background. It is resized to `size`,
    (height, width), unless that is None; its aspect ratio may change. Raises a DatasetError if the file is not a PNG or
    JPEG file with 8 bits per channel, is damaged, or has more pixels than Pillow accepts.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=("PNG", "JPEG")) as file:
            if file.mode.startswith(("I", "F")):
                raise DatasetError(f"{path}: expected 8 bits per channel, got mode {file.mode}. Convert it to 8 bits")
            image: Image.Image = ImageOps.exif_transpose(file)
            if image.has_transparency_data:
                white = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(white, image.convert("RGBA"))
            return _convert_to_array(image, colour=colour, size=size)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DatasetError(
            f"{path}: expected a PNG or JPEG image; it can't be read: {summarize_error(error)}"
        ) from error


def convert_image(pixels: NDArray[np.uint8], *, colour: bool, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Converts an image, uint8 (height, width) or (height, width, 3), to RGB or grayscale and to a size.

    See `load_image` for the arguments and the returned value.
    """
    from PIL import Image

    return _convert_to_array(Image.fromarray(pixels), colour=colour, size=size)


def _convert_to_array(image: Image.Image, *, colour: bool, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Returns a Pillow image as an array in RGB or grayscale, resized to `size`, (height, width), unless it is None."""
    from PIL import Image

    converted = image.convert("RGB" if colour else "L")
    if size and converted.size != size[::-1]:
        converted = converted.resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(converted, np.uint8)
