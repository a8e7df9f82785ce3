"""The pictures of what settings do, one by one and together, for whatever settings a sweep may have."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from trainyard.evaluation.ranking import rank
from trainyard.reporting import plots
from trainyard.reporting.plots.effects import Scale, varying

pytestmark = pytest.mark.pictures

KINDS = {
    "numbers": [{"lr": 10 ** -(1 + number / 10), "batch": 16 + number} for number in range(30)],
    "words and lists": [{"act": "relu" if n % 2 else "tanh", "units": [64] * (n % 3 + 1)} for n in range(12)],
    "yes or no, and none": [{"norm": bool(n % 2), "clip": None if n % 3 else 1.0} for n in range(12)],
    "not everywhere": [{"model": "cnn", "filters": n} if n % 2 else {"model": "mlp"} for n in range(12)],
    "a number, and a list of it": [{"units": [64] if n % 2 else 64, "lr": n} for n in range(6)],
    "awkward names": [{"a.long.path.of.a.setting": f"$x_{n}$ <b> & a long value", "b": n} for n in range(6)],
    "many": [{f"s{k}": (n * (k + 3)) % 7 for k in range(14)} for n in range(20)],
}


def sweep_over(sweep_of, settings, objective):
    generator = np.random.default_rng(0)
    values = {f"p{number}": list(generator.uniform(0.9, 0.99, 2)) for number in range(len(settings))}
    return rank(sweep_of(values, varied=dict(zip(values, settings, strict=True)), objective=objective), objective)


@pytest.mark.parametrize("objective", ["accuracy/val", "loss/val"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_setting_is_drawn(sweep_of, tmp_path, kind, objective):
    ranking = sweep_over(sweep_of, KINDS[kind], objective)
    shares = dict.fromkeys(varying(ranking.places)[:2], 0.5)
    assert plots.draw_effects(ranking, shares, tmp_path / "effects.png")
    assert plots.draw_parallel(ranking, tmp_path / "parallel.png")
    for name in ("effects.png", "parallel.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.size[0] > 400
            assert len(picture.convert("RGB").getcolors(1 << 20)) > 8


@pytest.mark.parametrize("settings", [KINDS["numbers"][:4], [{"lr": 0.1}] * 6], ids=["few points", "nothing varies"])
def test_what_shows_nothing_is_not_drawn(sweep_of, tmp_path, settings):
    ranking = sweep_over(sweep_of, settings, "accuracy/val")
    assert not plots.draw_effects(ranking, {}, tmp_path / "effects.png")
    assert not plots.draw_parallel(ranking, tmp_path / "parallel.png")
    nothing = rank(sweep_of({f"p{n}": [0.1] for n in range(9)}, objective=None), None)
    assert not plots.draw_effects(nothing, {}, tmp_path / "effects.png")
    assert not plots.draw_parallel(nothing, tmp_path / "parallel.png")


def test_values_stand_where_they_belong():
    rates = Scale([0.1, 0.001, 0.01])
    assert rates.logarithmic
    assert rates.ticks == {"0.001": 0.001, "0.01": 0.01, "0.1": 0.1}
    assert not Scale([0.01 * n for n in range(1, 60)]).logarithmic
    assert Scale([10.0 ** (n / 10) for n in range(40)]).ticks == {}
    units = Scale([[300, 200, 100], [64], [8, 8], [64]])
    assert list(units.ticks) == ["[8, 8]", "[64]", "[300, 200, 100]"]
    assert units.position([64]) == 1.0
    assert Scale([True, False]).ticks == {"false": 0.0, "true": 1.0}


def test_the_curves_of_pruned_trials_end_in_a_cross(sweep_of, tmp_path):
    ranking = rank(sweep_of({"a": [0.9], "b": [0.8]}, epochs=9), "accuracy/val")
    cut = [[0.3, 0.4], [0.2], [], [0.35, 0.5, 0.55]]
    assert plots.draw_curves(ranking.places, "accuracy/val", tmp_path / "with.png", cut)
    assert plots.draw_curves(ranking.places, "accuracy/val", tmp_path / "without.png")
    assert (tmp_path / "with.png").read_bytes() != (tmp_path / "without.png").read_bytes()
