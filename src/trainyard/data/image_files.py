"""Pictures, PNG or JPEG: read as they are meant to be seen, and brought to the size and the colours that are wanted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainyard.errors import DatasetError, in_one_line

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg")


def read_picture(path: Path, *, colour: bool, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Reads a picture as it is meant to be seen.

    Args:
        path: A PNG or JPEG file.
        colour: Whether it has red, green and blue; else it is made grey.
        size: Height and width to resize it to, without keeping its proportions; None: it keeps its own.

    Returns:
        uint8 (height, width, 3), or (height, width) of a grey one.

    Raises:
        DatasetError: If it is no such file, damaged, or too large to be a picture.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=("PNG", "JPEG")) as picture:
            if picture.mode.startswith(("I", "F")):
                raise DatasetError(f"{path}: expected 8 bits per pixel, got mode {picture.mode}. Convert it to 8 bits")
            return _fit(_without_transparency(ImageOps.exif_transpose(picture)), colour=colour, size=size)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path}: expected a PNG or JPEG picture; it can't be read: {in_one_line(error)}") from error


def fit_pixels(pixels: NDArray[np.uint8], *, colour: bool, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Does to an image in memory what `read_picture` does to one in a file.

    Args:
        pixels: uint8 (height, width) or (height, width, 3).
        colour: As there.
        size: As there.

    Returns:
        As there.
    """
    from PIL import Image

    return _fit(Image.fromarray(pixels), colour=colour, size=size)


def _fit(picture: Image.Image, *, colour: bool, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    from PIL import Image

    fitted = picture.convert("RGB" if colour else "L")
    if size and fitted.size != size[::-1]:
        fitted = fitted.resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(fitted, np.uint8)


def _without_transparency(picture: Image.Image) -> Image.Image:
    """Returns a picture as it looks on white paper, where it lets something through."""
    from PIL import Image

    if not picture.has_transparency_data:
        return picture
    paper = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(paper, picture.convert("RGBA"))
