"""Plots of the effects of settings, for all types of settings that a sweep can vary."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from trainyard.evaluation.ranking import rank
from trainyard.reporting import plots
from trainyard.reporting.plots.effects import SettingScale, find_varying_settings

pytestmark = pytest.mark.pictures

KINDS = {
    "numbers": [{"lr": 10 ** -(1 + number / 10), "batch": 16 + number} for number in range(12)],
    "strings and lists": [{"act": "relu" if n % 2 else "tanh", "units": [64] * (n % 3 + 1)} for n in range(12)],
    "booleans and null": [{"norm": bool(n % 2), "clip": None if n % 3 else 1.0} for n in range(12)],
    "missing in some points": [{"model": "cnn", "filters": n} if n % 2 else {"model": "mlp"} for n in range(12)],
    "a number and a list of it": [{"units": [64] if n % 2 else 64, "lr": n} for n in range(6)],
    "awkward names": [{"a.long.path.of.a.setting": f"$x_{n}$ <b> & a long value", "b": n} for n in range(6)],
    "many settings": [{f"s{k}": (n * (k + 3)) % 7 for k in range(14)} for n in range(8)],
}


def sweep_over(sweep_of, settings, objective):
    generator = np.random.default_rng(0)
    values = {f"p{number}": list(generator.uniform(0.9, 0.99, 2)) for number in range(len(settings))}
    return rank(sweep_of(values, varied=dict(zip(values, settings, strict=True)), objective=objective), objective)


@pytest.mark.parametrize(("kind", "objective"), [*((kind, "accuracy/val") for kind in KINDS), ("numbers", "loss/val")])
def test_every_kind_of_setting_is_drawn(sweep_of, tmp_path, kind, objective):
    ranking = sweep_over(sweep_of, KINDS[kind], objective)
    importance = dict.fromkeys(find_varying_settings(ranking.points)[:2], 0.5)
    assert plots.draw_setting_effects(ranking, importance, tmp_path / "effects.png")
    three = [{**settings, "third": number % 3} for number, settings in enumerate(KINDS[kind])]
    assert plots.draw_parallel_coordinates(sweep_over(sweep_of, three, objective), tmp_path / "parallel.png")
    for name in ("effects.png", "parallel.png"):
        with Image.open(tmp_path / name) as image:
            assert image.size[0] > 400
            assert len(image.convert("RGB").getcolors(1 << 20)) > 8


def test_parallel_coordinates_need_three_settings(sweep_of, tmp_path):
    assert not plots.draw_parallel_coordinates(
        sweep_over(sweep_of, KINDS["numbers"], "accuracy/val"), tmp_path / "p.png"
    )


@pytest.mark.parametrize("settings", [KINDS["numbers"][:4], [{"lr": 0.1}] * 6], ids=["few points", "nothing varies"])
def test_effects_are_not_drawn_with_few_points_or_without_varying_settings_or_objective(sweep_of, tmp_path, settings):
    ranking = sweep_over(sweep_of, settings, "accuracy/val")
    assert not plots.draw_setting_effects(ranking, {}, tmp_path / "effects.png")
    assert not plots.draw_parallel_coordinates(ranking, tmp_path / "parallel.png")
    unranked = rank(sweep_of({f"p{n}": [0.1] for n in range(9)}, objective=None), None)
    assert not plots.draw_setting_effects(unranked, {}, tmp_path / "effects.png")
    assert not plots.draw_parallel_coordinates(unranked, tmp_path / "parallel.png")


def test_scale_chooses_type_ticks_and_positions_by_the_values():
    rates = SettingScale([0.1, 0.001, 0.01])
    assert rates.logarithmic
    assert rates.ticks == {"0.001": 0.001, "0.01": 0.01, "0.1": 0.1}
    assert not SettingScale([0.01 * n for n in range(1, 60)]).logarithmic
    assert SettingScale([10.0 ** (n / 10) for n in range(40)]).ticks == {}
    units = SettingScale([[300, 200, 100], [64], [8, 8], [64]])
    assert list(units.ticks) == ["[8, 8]", "[64]", "[300, 200, 100]"]
    assert units.position([64]) == 1.0
    assert SettingScale([True, False]).ticks == {"false": 0.0, "true": 1.0}


def test_the_curves_of_pruned_trials_end_in_a_cross(sweep_of, tmp_path):
    ranking = rank(sweep_of({"a": [0.9], "b": [0.8]}, epochs=9), "accuracy/val")
    pruned = [[0.3, 0.4], [0.2], [], [0.35, 0.5, 0.55]]
    assert plots.draw_point_curves(ranking.points, "accuracy/val", tmp_path / "with.png", pruned)
    assert plots.draw_point_curves(ranking.points, "accuracy/val", tmp_path / "without.png")
    assert (tmp_path / "with.png").read_bytes() != (tmp_path / "without.png").read_bytes()
