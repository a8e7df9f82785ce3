"""Fonts for text in any script: an installed font draws the characters that the default font lacks."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

DEFAULT_FAMILY = "DejaVu Sans"
"""The font of all plots, which is part of matplotlib."""
_CJK = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "FULLWIDTH", "HALFWIDTH")
"""The first words of the Unicode names of Chinese, Japanese and Korean characters."""
_MAX_SHOWN = 8
"""Maximum number of missing characters in a message."""


def set_fonts(figure: Figure | SubFigure) -> None:
    """Sets the fonts of all texts in a figure that have characters which the default font lacks."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        families = _find_families(_find_uncovered(text.get_text()))
        if families:
            text.set_fontfamily([DEFAULT_FAMILY, *families])


def describe_missing_font(texts: Iterable[str]) -> str | None:
    """Returns a message if texts contain characters that no installed font has, and which font to install."""
    missing = _find_uncovered("".join(texts))
    for family in _find_families(missing):
        missing -= _load_installed_fonts()[family]
    if not missing:
        return None
    characters = sorted(missing)
    shown = "".join(characters[:_MAX_SHOWN]) + ("…" if len(characters) > _MAX_SHOWN else "")
    is_cjk = any(unicodedata.name(character, "").startswith(_CJK) for character in characters)
    font = "Noto Sans CJK (Debian, Ubuntu: fonts-noto-cjk)" if is_cjk else "Noto Sans (Debian, Ubuntu: fonts-noto)"
    return f"plots show boxes instead of {shown}, because no installed font has them. Install a font, such as {font}"


def _find_uncovered(text: str) -> frozenset[str]:
    """Returns the visible characters of a text that the default font lacks."""
    if text.isascii():
        return frozenset()
    return frozenset(character for character in set(text) - _load_default_characters() if character.isprintable())


@functools.cache
def _find_families(characters: frozenset[str]) -> tuple[str, ...]:
    """Returns the fewest families of installed fonts that have the characters, as far as there are any."""
    families: list[str] = []
    while characters:
        fonts = _load_installed_fonts()
        best = max(sorted(fonts), key=lambda family: len(fonts[family] & characters), default=None)
        if best is None or not fonts[best] & characters:
            break
        families.append(best)
        characters -= fonts[best]
    return tuple(families)


@functools.cache
def _load_default_characters() -> frozenset[str]:
    """Returns the characters of the default font."""
    from matplotlib import font_manager

    return _load_characters(font_manager.findfont(DEFAULT_FAMILY))


@functools.cache
def _load_installed_fonts() -> dict[str, frozenset[str]]:
    """Returns the characters of each family of installed fonts that is not bold or italic, and registers them.

    Fonts that were installed after matplotlib's list of fonts was written are found, too.
    """
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    fonts: dict[str, frozenset[str]] = {}
    for path in sorted(font_manager.findSystemFonts()):
        try:
            font = FT2Font(path)
            if font.style_name in ("Regular", "Book", "Medium", "Normal") and font.family_name not in fonts:
                font_manager.fontManager.addfont(path)
                fonts[font.family_name] = _load_characters(path)
        except (OSError, RuntimeError):  # a damaged file, or a format that matplotlib can't read
            continue
    return fonts


def _load_characters(path: str) -> frozenset[str]:
    """Returns the characters of a font file."""
    from matplotlib.ft2font import FT2Font

    return frozenset(map(chr, FT2Font(path).get_charmap()))
