"""The layout of a sweep card in a browser: on screens of several widths, and on paper."""

from __future__ import annotations

import pytest

from trainyard.evaluation.ranking import rank
from trainyard.sweep.card import CardPage, SweepCost, write_card
from trainyard.sweep.origin import SweepOrigin

pytestmark = [pytest.mark.slow, pytest.mark.pictures]

A4_PIXELS = 717
"""The width of the content of an A4 page with the default margins, in CSS pixels."""
RIGHT_OF = "return Math.round(document.querySelector(arguments[0]).getBoundingClientRect().right)"


@pytest.fixture
def card(sweep_of, tmp_path, page):
    """The browser with the card of a search of five settings with long values, and a function that sets its layout."""
    settings = {
        f"300x200x{number} lr0.00{number}23456 tanh dropout0.{number}": {
            "model.hidden_units": [300, 200, number], "optimizer.learning_rate": number / 1000, "model.dropout": 0.1,
            "model.activation": "tanh", "training.label_smoothing": number / 10,
        }
        for number in range(1, 9)
    }  # fmt: skip
    values = {label: [0.9, 0.9 + number / 100] for number, label in enumerate(settings)}
    ranking = rank(sweep_of(values, varied=settings, epochs=3), "accuracy/val")
    origin = SweepOrigin(summary=["a_data_set_with_a_long_name_" * 20])
    write_card(tmp_path, CardPage(name="wide", swept={}, ranking=ranking, cost=SweepCost(), origin=origin))
    browser = page.browser
    browser.get(f"file://{tmp_path}/card.html")

    def set_layout(width, media="screen"):
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media})
        return browser.execute_script

    yield set_layout
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def measure_column(script):
    """Returns the width of a column of plots."""
    return script("return document.querySelector('.plots figure').getBoundingClientRect().width")


@pytest.mark.parametrize("width", [1400, 1000, 700, 400])
def test_the_page_does_not_scroll_sideways_and_its_plots_have_the_same_width(card, width):
    script = card(width)
    assert script("return document.documentElement.scrollWidth") <= width
    widths = script("return [...document.querySelectorAll('.plots img')].map(i => Math.round(i.width))")
    assert len(widths) == 4
    assert max(widths) - min(widths) <= 8
    assert min(widths) > 0.4 * width
    half = script(
        "const image = document.querySelector('.plots img'); image.style.setProperty('--scale', 0.5); return image.width"
    )
    assert half == pytest.approx(measure_column(script) / 2, abs=2)


def test_the_label_of_a_row_stays_visible_if_the_ranking_is_scrolled(card):
    script = card(700)
    assert script("const e = document.querySelector('.ranking').parentElement; e.scrollLeft = 500; return e.scrollLeft")
    left, right = script(
        "const label = document.querySelector('.ranking tbody th').getBoundingClientRect();"
        "return [label.left, label.right]"
    )
    assert 0 <= left < right < 700


def test_the_ranking_fits_on_paper(card):
    script = card(A4_PIXELS, "print")
    assert script(RIGHT_OF, ".ranking") <= A4_PIXELS
    assert script("return document.documentElement.scrollWidth") <= A4_PIXELS
