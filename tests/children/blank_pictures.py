"""A stand-in for the drawing of a figure, which takes a run longer than a small training."""

from __future__ import annotations

from PIL import Image


def write_blank(_figure: object, file: object, **_settings: object) -> None:
    """Writes a blank picture, as ``Figure.savefig`` writes one."""
    Image.new("RGB", (400, 300), "white").save(file, "PNG", dpi=(100, 100))
