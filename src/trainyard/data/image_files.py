"""Loading image files as arrays of a requested size, in grayscale or RGB, and recognizing them by their content."""

from __future__ import annotations

import re
import struct
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainyard.errors import DatasetError, summarize_error

if TYPE_CHECKING:
    from PIL import Image, ImageFile

IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".avif",
    ".ppm", ".pgm", ".pbm", ".pnm",
)  # fmt: skip
"""The usual suffixes of the formats that can be read. A file is read by its content, whatever its suffix is."""
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "AVIF", "PPM")
"""The formats that can be read, by Pillow's names."""

_HEADER_BYTES = 64
_SIGNATURES = (
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF8", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+",
    b"P1", b"P2", b"P3", b"P4", b"P5", b"P6",
)  # fmt: skip
"""The first bytes of the formats, except WebP and AVIF, whose signature is not at the beginning."""
_BRANDS = (b"avif", b"avis")
_NEARLY_BLACK = 4095
"""The largest value of 12 bits. A 16-bit image with lower values only is nearly black, and probably not scaled."""
_DECODING_ERRORS = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, struct.error)
"""What Pillow raises for damaged files."""
_RAW_16_BITS = ("RGB;16", "RGBA;16", "RGBX;16")
"""Prefixes of Pillow's raw modes with 16 bits per channel that it reduces to 8 bits."""


def build_natural_key(name: str) -> tuple[list[str | int], str]:
    """Returns a sort key that orders the numbers within names by value: 1, 2, 10."""
    return [int(part) if index % 2 else part for index, part in enumerate(re.split(r"([0-9]+)", name))], name


class DecodedImage(NamedTuple):
    """The pixels of an image file, and what is unusual about it."""

    pixels: NDArray[np.uint8]
    """(height, width) or (height, width, 3)."""
    is_nearly_black: bool = False
    """Whether the file has 16 bits per channel, but values of at most 12 bits."""


def load_image(path: Path, *, colour: bool, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Loads an image file: uint8 (height, width, 3) if `colour`, else (height, width), in 0..255.

    See `decode_image`, which this function calls without the warnings of Pillow.
    """
    with ignore_pillow_warnings():
        return decode_image(path, colour=colour, size=size).pixels


def decode_image(path: Path, *, colour: bool, size: tuple[int, int] | None = None) -> DecodedImage:
    """Decodes the first image of a file. The format is recognized by the content.

    Its EXIF orientation is applied, a transparent image is put on a white background, and 16 bits per channel are
    reduced to 8 (divided by 257 and rounded). It is resized to `size`, (height, width), unless that is None; its aspect
    ratio may change. Large JPEG files are decoded at a reduced size, never below the requested size.

    Raises:
        DatasetError: If the file has none of the `FORMATS`, has more than 16 bits per channel, is damaged, or has more
            pixels than Pillow accepts.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=FORMATS) as file:
            if size and file.format in ("JPEG", "MPO"):
                file.draft(None, (max(size), max(size)))  # square, because the orientation may swap the sides
            deep = _load_16_bits(file, path)
            image: Image.Image = file if deep is None else _reduce_to_8_bits(deep, file)
            ImageOps.exif_transpose(image, in_place=True)
            if image.has_transparency_data:
                white = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(white, image.convert("RGBA"))
            is_nearly_black = deep is not None and 0 < _get_largest_colour(deep) <= _NEARLY_BLACK
            return DecodedImage(_convert_to_array(image, colour=colour, size=size), is_nearly_black)
    except Image.UnidentifiedImageError as error:
        problem = find_content_problem(path) or f"{path}: expected an image; it can't be read: the file is damaged"
        raise DatasetError(problem) from error
    except (*_DECODING_ERRORS, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path}: expected an image; it can't be read: {summarize_error(error)}") from error


def describe_decoder() -> dict[str, str | None]:
    """Returns the versions of the packages that determine the pixels; None for one that is not installed."""
    versions: dict[str, str | None] = dict.fromkeys(("pillow", "cykooz-resizer"))
    for package in versions:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def inspect_image(path: Path) -> tuple[str, int, int]:
    """Decodes an image file, and returns its format, by Pillow's name, and the width and height that it stores.

    Raises a DatasetError if the file can't be decoded; see `decode_image`.
    """
    from PIL import Image

    decode_image(path, colour=True, size=(1, 1))
    with Image.open(path, formats=FORMATS) as file:
        return file.format or "", file.width, file.height


def convert_image(pixels: NDArray[np.uint8], *, colour: bool, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Converts an image, uint8 (height, width) or (height, width, 3), to RGB or grayscale and to a size.

    See `load_image` for the arguments and the returned value.
    """
    from PIL import Image

    return _convert_to_array(Image.fromarray(pixels), colour=colour, size=size)


def find_content_problem(path: Path) -> str | None:
    """Returns a message if the first bytes of a file are not those of an image; None if it may be one."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError as error:
        return f"{path}: the file can't be read: {error.strerror}"
    is_riff, is_brand = header[:4] == b"RIFF" and header[8:12] == b"WEBP", header[4:8] == b"ftyp"
    if header.startswith(_SIGNATURES) or is_riff or (is_brand and any(brand in header[8:] for brand in _BRANDS)):
        return None
    received, remedy = "another kind of file", "Convert or remove it"
    if not header:
        received, remedy = "an empty file", "Replace or remove it"
    elif header.startswith(b"version https://git-lfs"):
        received, remedy = "a pointer of Git LFS", "Download the files: git lfs pull"
    elif header.lstrip()[:5].lower() in (b"<!doc", b"<html"):
        received, remedy = "a web page", "Download the image again"
    elif is_brand:
        received, remedy = "a HEIF file or a video", "Convert photos to JPEG"
    return f"{path}: expected an image file ({', '.join(FORMATS)}), got {received}. {remedy}"


@contextmanager
def ignore_pillow_warnings() -> Iterator[list[str]]:
    """Hides the Python warnings in the block, and yields a list that afterwards has those that concern the result.

    The filters of warnings apply to all threads, so a program with several threads enters this block once.
    """
    relevant: list[str] = []
    with warnings.catch_warnings(record=True) as recorded:
        warnings.simplefilter("always")
        yield relevant
    relevant += [str(warning.message) for warning in recorded if "EXIF" in str(warning.message)]


def _reduce_to_8_bits(deep: NDArray[np.uint16], file: ImageFile.ImageFile) -> Image.Image:
    """Returns an image with 16 bits per channel as one with 8 bits, with the EXIF orientation of the file."""
    from PIL import ExifTags, Image

    pixels = ((deep + np.uint32(128)) // 257).astype(np.uint8)
    if (transparent := file.info.get("transparency")) is not None:  # of a PNG file: a colour
        is_transparent = deep == np.array(transparent, np.uint16)
        pixels[is_transparent.all(axis=-1) if deep.ndim > 2 else is_transparent] = 255  # noqa: PLR2004 - with channels
    image = Image.fromarray(pixels)
    image.getexif()[ExifTags.Base.Orientation] = file.getexif().get(ExifTags.Base.Orientation, 1)
    return image


def _load_16_bits(file: ImageFile.ImageFile, path: Path) -> NDArray[np.uint16] | None:
    """Returns the pixels of an image with 16 bits per channel, (height, width, ...); None if it has 8 bits or fewer.

    Of RGB images with 16 bits, Pillow keeps only the high byte of each value. So the low bytes are read by decoding the
    file a second time, in the opposite byte order.
    """
    from PIL import Image

    if file.mode.startswith(("I", "F")):
        if not file.mode.startswith("I;16") and file.format != "PPM":  # PGM files with 16 bits have the mode I
            raise ValueError(f"expected 8 or 16 bits per channel, got mode {file.mode}. Convert it to 8 bits")
        return np.asarray(file).astype(np.uint16)
    modes = {_get_raw_mode(tile) for tile in file.tile}
    if modes == {"LA;16B"}:  # four bytes per pixel, like RGBA
        with Image.open(path, formats=FORMATS) as raw:
            raw.tile = [tile._replace(args="RGBA") for tile in raw.tile]
            return np.ascontiguousarray(np.asarray(raw)).view(">u2").astype(np.uint16)
    if not modes or not all(mode.startswith(_RAW_16_BITS) for mode in modes):
        return None
    with Image.open(path, formats=FORMATS) as swapped:
        swapped.tile = [_swap_bytes(tile) for tile in swapped.tile]
        low = np.asarray(swapped).astype(np.uint16)
    return np.asarray(file).astype(np.uint16) << np.uint16(8) | low


def _get_largest_colour(deep: NDArray[np.uint16]) -> int:
    """Returns the largest value of an image, (height, width, ...), without its transparency."""
    channels = np.atleast_3d(deep)
    return int(channels[..., : 1 if channels.shape[-1] == 2 else 3].max())  # noqa: PLR2004 - gray and transparency


def _get_raw_mode(tile: ImageFile._Tile) -> str:
    """Returns the raw mode of a tile, such as ``RGB;16B``; empty if it has none."""
    mode = tile.args if isinstance(tile.args, str) else next(iter(tile.args or ()), "")
    return mode if isinstance(mode, str) else ""


def _swap_bytes(tile: ImageFile._Tile) -> ImageFile._Tile:
    """Returns a tile of 16 bits per channel in the opposite byte order: L is little-endian, B big-endian, N native."""
    mode = _get_raw_mode(tile)
    order = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}[mode[-1]]
    swapped = mode[:-1] + order
    return tile._replace(args=swapped if isinstance(tile.args, str) else (swapped, *(tile.args or ())[1:]))


def _convert_to_array(image: Image.Image, *, colour: bool, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Returns a Pillow image as an array in RGB or grayscale, resized to `size`, (height, width), unless it is None."""
    mode = "RGB" if colour else "L"
    converted = image if image.mode == mode else image.convert(mode)
    if size and converted.size != size[::-1]:
        return _resize(converted, *size)
    return np.asarray(converted, np.uint8)


def _resize(image: Image.Image, height: int, width: int) -> NDArray[np.uint8]:
    """Returns an image, RGB or grayscale, as an array of another size, by bilinear interpolation with antialiasing.

    Pillow, which takes several times longer, is used where cykooz-resizer can't be installed. Their values differ by at
    most 1.
    """
    from PIL import Image

    try:
        from cykooz_resizer import FilterType, ResizeAlg, ResizeOptions, Resizer
    except ImportError:
        return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    resized = Image.new(image.mode, (width, height))
    Resizer().resize_pil(image, resized, ResizeOptions(resize_alg=ResizeAlg.convolution(FilterType.bilinear)))
    return np.asarray(resized)
