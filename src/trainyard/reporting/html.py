"""HTML pages that contain their images, styles and scripts."""

from __future__ import annotations

import base64
import hashlib
import io
from typing import TYPE_CHECKING, Any, NamedTuple

from trainyard.reporting.formatting import format_duration, format_metric, format_value
from trainyard.reporting.plots import style

if TYPE_CHECKING:
    from pathlib import Path

    import jinja2


SORT_SCRIPT = "ranking.js"

PNG_WIDTH_BYTES = slice(16, 20)
"""Position of the image width in a PNG file, 4 bytes, big-endian."""

MAX_PNG_BYTES = 128 * 1024
"""A larger PNG file is embedded as WebP, so that pages can be sent by e-mail."""
MAX_BYTES_PER_PIXEL = 0.25
"""A PNG file with more bytes per pixel contains photos: its WebP is lossy. Others are lossless."""
LOSSLESS: dict[str, Any] = {"lossless": True, "method": 1, "quality": 20}
"""Pillow's settings of lossless WebP: fast, and not much larger than with the slowest settings."""
LOSSY: dict[str, Any] = {"quality": 75}

IMAGE_PIXELS_PER_CSS_PIXEL = 1.5
"""Image pixels per CSS pixel, so that plots are sharp on high-resolution screens and on paper."""


class EmbeddedImage(NamedTuple):
    """An image that is embedded in an HTML page."""

    caption: str
    """Caption, also the alternative text."""
    address: str
    """The content as a data URI."""
    width: int
    """Display width in CSS pixels."""

    @property
    def scale(self) -> float:
        """Width relative to that of the plots of a sweep, at most 1: the width in a column with text of equal size."""
        return min(self.width * IMAGE_PIXELS_PER_CSS_PIXEL / (style.DPI * (style.WIDTH + 2 * style.PADDING)), 1.0)


def embed_image(caption: str, file: Path) -> EmbeddedImage:
    """Loads a PNG file for embedding. The display width is chosen so that text has the same size in all plots."""
    content = file.read_bytes()
    pixels = int.from_bytes(content[PNG_WIDTH_BYTES])
    kind = "png"
    if len(content) > MAX_PNG_BYTES:
        content, kind = _compress_png(content), "webp"
    address = f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
    return EmbeddedImage(caption, address, round(pixels / IMAGE_PIXELS_PER_CSS_PIXEL))


def _compress_png(content: bytes) -> bytes:
    """Returns a PNG file as WebP: lossy if it contains photos, otherwise lossless."""
    from PIL import Image

    buffer = io.BytesIO()
    with Image.open(io.BytesIO(content)) as image:
        settings = LOSSY if len(content) > MAX_BYTES_PER_PIXEL * image.width * image.height else LOSSLESS
        image.save(buffer, format="WEBP", **settings)
    return buffer.getvalue()


def render_sortable_page(template: str, **values: Any) -> str:  # noqa: ANN401 - template values can be of any type
    """Returns an HTML page with sortable tables. Its content security policy allows only the script that sorts them.

    Args:
        template: File name of the template. It must include the script, and use `script_digest` in its policy.
        values: Values for the template.
    """
    templates = build_template_environment()
    script = templates.get_template(SORT_SCRIPT).render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return templates.get_template(template).render(**values, script_digest=f"sha256-{digest}")


def build_template_environment() -> jinja2.Environment:
    """Returns the Jinja environment for all HTML pages. It escapes all values and raises for undefined ones."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trainyard.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"seconds": format_duration, "value": format_value}
    environment.globals["format_metric"] = format_metric
    return environment
