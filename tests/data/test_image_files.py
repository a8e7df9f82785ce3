"""Tests of the decoding of image files: formats, 16 bits per channel, orientation, reduced decoding, messages."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainyard.data import image_files
from trainyard.data.image_files import DecodedImage, convert_image, decode_image, ignore_pillow_warnings, load_image
from trainyard.errors import DatasetError

FILE = Path("image")


def _gradient(height=20, width=24):
    """An image in which each pixel shows its position: red rises to the right, green downwards, blue is 40."""
    y, x = np.mgrid[:height, :width]
    blue = np.full((height, width), 40)
    return np.stack([x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1), blue], -1).astype(np.uint8)


def _noise(shape):
    return np.random.default_rng(0).integers(0, 65536, shape).astype(np.uint16)


def _encode_png(pixels):
    """Returns 16-bit pixels (height, width, channels) as a PNG file."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def _encode_tiff(pixels, order="<", compressed=False):
    """Returns 16-bit pixels (height, width, channels) as a TIFF file with one strip."""
    height, width, channels = pixels.shape
    data = pixels.astype(order + "u2").tobytes()
    data = zlib.compress(data) if compressed else data
    bits = struct.pack(order + "H" * channels, *[16] * channels)
    count = 9 + (channels == 4)
    start = 8 + 2 + 12 * count + 4
    fields = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, channels, 16 if channels == 1 else start),
        (259, 3, 1, 8 if compressed else 1), (262, 3, 1, 2 if channels > 2 else 1), (273, 4, 1, start + len(bits)),
        (277, 3, 1, channels), (278, 4, 1, height), (279, 4, 1, len(data)), *([(338, 3, 1, 2)] if channels == 4 else []),
    ]  # fmt: skip
    content = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, count)
    for tag, kind, number, value in fields:
        packed = struct.pack(order + "HH", value, 0) if kind == 3 and number == 1 else struct.pack(order + "I", value)
        content += struct.pack(order + "HHI", tag, kind, number) + packed
    return content + bytes(4) + bits + data


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({"format": "PNG"}, 0),
        ({"format": "BMP"}, 0),
        ({"format": "TIFF"}, 0),
        ({"format": "PPM"}, 0),
        ({"format": "WEBP", "lossless": True}, 0),
        ({"format": "JPEG", "quality": 100, "subsampling": 0}, 3),
        ({"format": "MPO", "save_all": True, "quality": 100, "subsampling": 0}, 3),
        ({"format": "AVIF", "quality": 100}, 12),
        ({"format": "GIF"}, 13),
    ],
    ids=lambda value: value["format"] if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("suffix", ["", ".jpg", ".png", ".heic"])
def test_formats_are_recognized_by_content(options, tolerance, suffix):
    path = FILE.with_suffix(suffix)
    Image.fromarray(_gradient()).save(path, **options)
    loaded = load_image(path, colour=True)
    assert np.abs(loaded.astype(int) - _gradient()).max() <= tolerance
    assert load_image(path, colour=False, size=(5, 6)).shape == (5, 6)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_of_several_images_is_used(kind):
    first, second = Image.new("RGB", (4, 4), (255, 0, 0)), Image.new("RGB", (4, 4), (0, 0, 255))
    first.save(FILE, format=kind, save_all=True, append_images=[second])
    assert (load_image(FILE, colour=True)[..., 0] > 200).all()


DEEP = {
    "PNG grey": (1, _encode_png),
    "PNG RGB": (3, _encode_png),
    "TIFF grey": (1, _encode_tiff),
    "TIFF grey, big-endian": (1, lambda pixels: _encode_tiff(pixels, ">")),
    "TIFF RGB": (3, _encode_tiff),
    "TIFF RGB, big-endian": (3, lambda pixels: _encode_tiff(pixels, ">")),
    "TIFF RGB, compressed": (3, lambda pixels: _encode_tiff(pixels, compressed=True)),
    "TIFF RGB, big-endian, compressed": (3, lambda pixels: _encode_tiff(pixels, ">", compressed=True)),
    "PGM": (1, lambda pixels: b"P5 7 5 65535\n" + pixels.astype(">u2").tobytes()),
}


@pytest.mark.parametrize("name", DEEP)
def test_16_bits_are_divided_by_257_and_rounded(name):
    channels, encode = DEEP[name]
    pixels = _noise((5, 7, channels))
    FILE.write_bytes(encode(pixels))
    expected = np.rint(pixels / 257).astype(np.uint8)
    assert np.array_equal(load_image(FILE, colour=channels == 3), expected[..., 0] if channels == 1 else expected)


@pytest.mark.parametrize("encode", [_encode_png, _encode_tiff])
def test_16_bits_with_an_alpha_channel_get_a_white_background(encode):
    pixels = np.zeros((2, 2, 4), np.uint16)
    FILE.write_bytes(encode(pixels))
    assert (load_image(FILE, colour=True) == 255).all()


@pytest.mark.parametrize(("highest", "is_nearly_black"), [(4095, True), (4096, False), (0, False)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_12_bit_images_that_were_not_scaled_are_noticed(channels, highest, is_nearly_black):
    pixels = np.full((3, 3, channels), highest, np.uint16)
    pixels[..., 3:] = 65535
    FILE.write_bytes(_encode_png(pixels))
    assert decode_image(FILE, colour=True).is_nearly_black is is_nearly_black


def test_an_8_bit_image_is_never_called_nearly_black():
    Image.new("L", (3, 3), 1).save(FILE, format="PNG")
    decoded = decode_image(FILE, colour=False)
    assert isinstance(decoded, DecodedImage)
    assert not decoded.is_nearly_black


@pytest.mark.parametrize("mode", ["I", "F"])
def test_more_than_16_bits_are_rejected(mode):
    Image.new(mode, (3, 3), 70_000).save(FILE, format="TIFF")
    with pytest.raises(DatasetError, match=f"expected 8 or 16 bits per channel, got mode {mode}"):
        load_image(FILE, colour=True)


ORIENTED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # fmt: skip


@pytest.mark.parametrize("orientation", ORIENTED)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_orientation_is_applied(kind, orientation):
    turned = Image.fromarray(_gradient(60, 80)).transpose(ORIENTED[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned.save(FILE, format=kind, exif=exif, **({"quality": 100} if kind in ("JPEG", "WEBP") else {}))
    assert np.abs(load_image(FILE, colour=True).astype(int) - _gradient(60, 80)).max() < 16
    small = load_image(FILE, colour=True, size=(6, 8)).astype(int)
    expected = np.asarray(Image.fromarray(_gradient(60, 80)).resize((8, 6), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(small - expected).max() < 12


def test_the_orientation_of_a_16_bit_image_is_applied():
    image = Image.fromarray(np.arange(6, dtype=np.uint16).reshape(2, 3) * 257 * 40)
    exif = Image.Exif()
    exif[0x0112] = 3
    image.save(FILE, format="PNG", exif=exif)
    assert load_image(FILE, colour=False).tolist() == [[200, 160, 120], [80, 40, 0]]


@pytest.mark.parametrize(
    "size", [(1, 1), (30, 30), (60, 90), (120, 30), (119, 161), (479, 641), (480, 640), (900, 1000)]
)
def test_reduced_decoding_never_goes_below_the_size_that_is_requested(size, monkeypatch):
    y, x = np.mgrid[:480, :640]
    smooth = np.stack([np.sin(x / 40), np.cos(y / 30), np.sin((x + y) / 50)], -1) * 100 + 128
    Image.fromarray(smooth.astype(np.uint8)).save(FILE, format="JPEG", quality=95)
    decoded = []
    resize = image_files._resize
    monkeypatch.setattr(image_files, "_resize", lambda image, *to: (decoded.append(image.size), resize(image, *to))[1])
    loaded = load_image(FILE, colour=True, size=size)
    for width, height in decoded:
        assert (width, height) == (640, 480) or (width >= size[1] and height >= size[0])
    assert ((640, 480) in decoded) == (2 * max(size) > 480 and size != (480, 640))
    with Image.open(FILE) as image:
        expected = np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(loaded - expected).max() <= 6


SIZES = [((375, 500), (224, 224)), ((20, 30), (32, 32)), ((300, 2), (7, 9)), ((1, 1), (5, 4)), ((64, 48), (1, 1))]


@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize(("before", "after"), SIZES)
def test_images_are_resized_with_antialiasing_as_by_pillow(before, after, colour, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (*before, 3) if colour else before, dtype=np.uint8)
    expected = np.asarray(Image.fromarray(pixels).resize(after[::-1], Image.Resampling.BILINEAR)).astype(int)
    resized = convert_image(pixels, colour=colour, size=after)
    assert resized.shape == expected.shape
    assert np.abs(resized - expected).max() <= 1
    monkeypatch.setitem(sys.modules, "cykooz_resizer", None)  # a machine without wheels
    assert np.array_equal(convert_image(pixels, colour=colour, size=after), expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got an empty file"),
        (b"<!DOCTYPE html><html>404</html>", "got a web page"),
        (b"  <html>", "got a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc", "a pointer of Git LFS. Download the files: git lfs pull"),
        (b"\0\0\0\x18ftypheic", "a HEIF file or a video. Convert photos to JPEG"),
        (b"PK\x03\x04", "another kind of file"),
        (b"\x89PNG\r\n\x1a\nno", "it can't be read: the file is damaged"),
        (b"\xff\xd8\xffno", "it can't be read"),
        (_encode_png(_noise((30, 30, 3)))[:2000], "it can't be read"),
        (_encode_tiff(_noise((30, 30, 3)))[:2000], "it can't be read"),
    ],
    ids=range(10),
)  # fmt: skip
def test_other_and_damaged_files_are_explained(content, message):
    FILE.write_bytes(content)
    with pytest.raises(DatasetError, match=f"^image: expected an image.*{message}"):
        load_image(FILE, colour=True)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "AVIF", "PPM"])
def test_truncated_files_raise_no_other_error(kind, share):
    content = io.BytesIO()
    Image.fromarray((_noise((40, 50, 3)) >> 8).astype(np.uint8)).save(content, kind)
    FILE.write_bytes(content.getvalue()[: int(len(content.getvalue()) * share)])
    with pytest.raises(DatasetError, match="^image: "):
        load_image(FILE, colour=True)


def test_warnings_of_pillow_are_hidden_and_damaged_exif_data_is_reported(recwarn):
    Image.new("RGB", (4, 4)).save(FILE, format="JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    with ignore_pillow_warnings() as relevant:
        decode_image(FILE, colour=True)
    assert relevant
    load_image(FILE, colour=True)
    assert not recwarn.list


def _write_png_16(path, pixels, colour_type, *chunks):
    """Writes a PNG file with 16 bits per channel; `pixels` is uint16 (height, width, channels)."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    path.write_bytes(content)


def test_transparency_of_16_bit_images_is_white(tmp_path):
    """Gray with an alpha channel, and gray and RGB with a transparent color."""
    alpha = np.array([[[200, 65535], [40000, 65535], [4000, 0]]], np.uint16)
    _write_png_16(tmp_path / "alpha.png", alpha, 4)
    assert load_image(tmp_path / "alpha.png", colour=False).tolist() == [[1, 156, 255]]
    _write_png_16(tmp_path / "gray.png", alpha[..., :1], 0, (b"tRNS", struct.pack(">H", 200)))
    assert load_image(tmp_path / "gray.png", colour=False).tolist() == [[255, 156, 16]]
    colours = np.array([[[1, 2, 3], [257, 514, 65535]]], np.uint16)
    _write_png_16(tmp_path / "rgb.png", colours, 2, (b"tRNS", struct.pack(">HHH", 1, 2, 3)))
    assert load_image(tmp_path / "rgb.png", colour=True).tolist() == [[[255, 255, 255], [1, 2, 255]]]
    _write_png_16(tmp_path / "dark.png", np.array([[[4000, 65535]]], np.uint16), 4)
    assert decode_image(tmp_path / "dark.png", colour=False).is_nearly_black


@pytest.mark.parametrize("error", [RuntimeError("bad tile"), struct.error("unpack")])
def test_any_error_of_a_decoder_is_reported(tmp_path, monkeypatch, error):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")

    def fail(*_, **__):
        raise error

    monkeypatch.setattr("PIL.ImageOps.exif_transpose", fail)
    with pytest.raises(DatasetError, match=r"a\.png: expected an image; it can't be read"):
        load_image(tmp_path / "a.png", colour=True)
