"""Fonts for class names that matplotlib's own font lacks."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from PIL import Image

from trainyard.reporting.plots import describe_missing_font, fonts, style

WORD = "日本"


def build_font(path, characters):
    """Writes a font in which each character is a filled square."""
    pen = TTGlyphPen(None)
    pen.moveTo((50, 0))
    for corner in ((50, 900), (950, 900), (950, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square = pen.glyph()
    names = {ord(character): f"u{ord(character):X}" for character in characters}
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", *names.values()])
    builder.setupCharacterMap(names)
    builder.setupGlyf(dict.fromkeys([".notdef", *names.values()], square))
    builder.setupHorizontalMetrics(dict.fromkeys([".notdef", *names.values()], (1000, 50)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return str(path)


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Makes these fonts the only ones that are installed besides that of matplotlib."""

    def install(characters):
        files = [build_font(tmp_path / "squares.ttf", characters)] if characters else []
        (tmp_path / "damaged.ttf").write_bytes(b"no font")
        monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [*files, str(tmp_path / "damaged.ttf")])
        fonts._find_families.cache_clear()
        fonts._load_installed_fonts.cache_clear()

    yield install
    monkeypatch.undo()
    fonts._find_families.cache_clear()
    fonts._load_installed_fonts.cache_clear()


def draw_word(path, word):
    axes = style.build_axes(4, 2)
    axes.axis("off")
    style.annotate(axes, word, (0.5, 0.5), size=40, color="black")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        style.save_figure(axes.figure, path)
    with Image.open(path) as image:
        return float(np.mean(np.asarray(image.convert("L")) < 128))


def test_an_installed_font_draws_what_the_default_font_lacks(installed, tmp_path):
    installed("")
    boxes = draw_word(tmp_path / "boxes.png", WORD)
    installed(WORD)
    assert describe_missing_font([WORD, "Größe", "кот"]) is None
    assert draw_word(tmp_path / "squares.png", WORD) > 2 * boxes > 0  # the box of a missing character is not filled


@pytest.mark.parametrize(
    ("names", "characters", "package"),
    [([WORD, "cat"], "日本", "fonts-noto-cjk"), (["한"], "한", "fonts-noto-cjk"), (["हि"], "िह", "fonts-noto)")],
)
def test_the_message_says_what_to_install(installed, names, characters, package):
    installed("")
    message = describe_missing_font(names)
    assert "".join(sorted(characters)) in message
    assert package in message


def test_characters_of_the_default_font_need_no_other(installed):
    installed("")
    assert describe_missing_font(["Größe", "кот", "ψ", "a\tb"]) is None


def test_a_font_with_some_of_the_characters_is_used(installed):
    installed("日")
    assert describe_missing_font(["日"]) is None
    assert "日" not in describe_missing_font([WORD])
