"""Tests of the ranking and its statistics: against scipy, by hand, and in simulations with equal points."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from trainyard.evaluation.ranking import compare_points, count_decimals, higher_is_better, rank

CLEAR = {
    "wide": [0.981, 0.982, 0.980, 0.983, 0.982],
    "narrow": [0.951, 0.953, 0.950, 0.952, 0.952],
    "deep": [0.982, 0.981, 0.981, 0.982, 0.981],
}


def labels(ranking):
    return [point.label for point in ranking.points]


# ------------------------------------------------------------------------------------------------------------
# The order


def test_higher_accuracy_and_lower_loss_rank_first(sweep_of):
    points = {"one": [0.3], "two": [0.1], "three": [0.2]}
    assert labels(rank(sweep_of(points), "accuracy/val")) == ["one", "three", "two"]
    assert labels(rank(sweep_of(points), "loss/val")) == ["two", "three", "one"]
    assert labels(rank(sweep_of(points, objective=None), None)) == ["one", "two", "three"]


def test_equal_points_are_ranked_in_plan_order(sweep_of):
    trials = sweep_of({"one": [0.5], "two": [0.5], "three": [0.6]})
    assert labels(rank(trials[::-1], "accuracy/val")) == ["three", "one", "two"]


def test_ranked_point_has_the_statistics_of_its_trials(sweep_of):
    varied = {"wide": {"model.hidden_units": [512]}}
    (point,) = rank(sweep_of({"wide": [0.91, None, 0.94, 0.95]}, varied=varied), "accuracy/val").points
    assert (point.point, point.label, point.varied) == (1, "wide", {"model.hidden_units": [512]})
    assert point.by_seed == {0: 0.91, 2: 0.94, 3: 0.95}
    assert (point.n, point.parameters, point.seconds) == (3, 1000, 2.0)
    assert point.metrics == pytest.approx(
        {"accuracy/test": 0.92333, "loss/test": 0.06667, "f1_macro/test": 0.91333}, 1e-3
    )
    assert point.mean == pytest.approx(np.mean(point.values))
    assert point.std == pytest.approx(np.std(point.values, ddof=1))
    interval = stats.t.interval(0.95, 2, loc=point.mean, scale=stats.sem(point.values))
    assert (point.low, point.high) == pytest.approx(interval)


def test_single_value_has_no_spread(sweep_of):
    (point,) = rank(sweep_of({"one": [0.9]}), "accuracy/val").points
    assert (point.mean, point.std, point.low, point.high) == (0.9, None, None, None)
    (point,) = rank(sweep_of({"one": [0.9, 0.8]}, objective=None), None).points
    assert (point.values, point.mean, point.n) == ((), None, 2)


def test_point_without_varied_settings_has_a_label(sweep_of):
    assert labels(rank(sweep_of({"": [0.9, 0.8]}), "accuracy/val")) == ["point 1"]


def test_trial_without_the_objective_is_reported_by_number(sweep_of):
    trials = sweep_of({"one": [0.5]}) + sweep_of({"one": [0.5, 0.5]}, objective=None)[1:]
    with pytest.raises(
        ValueError, match="expected a value of accuracy/val for every trial, but these trials have none: 2"
    ):
        rank(trials, "accuracy/val")


# ------------------------------------------------------------------------------------------------------------
# Statistics


def test_points_with_shared_seeds_are_compared_by_the_paired_t_test(sweep_of):
    first, second = rank(
        sweep_of({"a": [0.91, 0.95, 0.93, 0.96], "b": [0.90, 0.93, None, 0.95]}), "accuracy/val"
    ).points
    expected = stats.ttest_rel([0.91, 0.95, 0.96], [0.90, 0.93, 0.95])
    assert compare_points(first, second).p_value == pytest.approx(expected.pvalue)
    assert compare_points(first, second).value == pytest.approx(0.04 / 3)
    assert compare_points(second, first).value == pytest.approx(-0.04 / 3)


def test_points_with_different_seeds_are_compared_by_welchs_t_test(sweep_of):
    first_values, second_values = [0.91, 0.95, 0.96], [0.90, 0.80]
    first, second = rank(
        sweep_of({"a": [*first_values, None, None], "b": [None, None, None, *second_values]}), "accuracy/val"
    ).points
    assert compare_points(first, second).p_value == pytest.approx(
        stats.ttest_ind(first_values, second_values, equal_var=False).pvalue
    )


def test_point_with_one_value_has_p_value_1(sweep_of):
    first, second = rank(sweep_of({"a": [0.9, 0.91, 0.92], "b": [0.1]}), "accuracy/val").points
    assert compare_points(first, second).p_value == 1
    assert second.tied


def test_constant_values_differ_significantly_only_if_they_are_far_apart(sweep_of):
    same = rank(sweep_of({"a": [0.5, 0.5, 0.5], "b": [0.5, 0.5, 0.5]}), "accuracy/val")
    assert same.n_tied == 2
    far = rank(sweep_of({"a": [1.0] * 5, "b": [0.5] * 5, "c": [0.99] * 5}), "accuracy/val")
    assert [point.tied for point in far.points] == [True, False, False]
    steps = rank(sweep_of({"a": [0.52, 0.54], "b": [0.51, 0.53]}), "accuracy/val")  # counts of 100 images
    assert steps.n_tied == 2
    separate_seeds = rank(sweep_of({"a": [0.5, 0.5, None, None], "b": [None, None, 0.4, 0.4]}), "accuracy/val")
    assert separate_seeds.n_tied == 2


def test_lead_that_is_only_due_to_additional_seeds_is_not_significant(sweep_of):
    ranking = rank(sweep_of({"a": [0.80, 0.81, 0.82, 0.99, 0.99], "b": [0.83, 0.84, 0.85]}), "accuracy/val")
    assert labels(ranking) == ["a", "b"]
    assert ranking.n_tied == 2


def test_noisy_low_point_does_not_tie_the_points_above_it(sweep_of):
    ranking = rank(sweep_of({**CLEAR, "wild": [0.98, 0.10, 0.97, 0.98, 0.20]}), "accuracy/val")
    assert labels(ranking) == ["wide", "deep", "narrow", "wild"]
    assert [point.tied for point in ranking.points] == [True, True, False, True]
    assert ranking.n_tied == 2


@pytest.mark.parametrize(("points", "expected"), [(2, 0.05), (5, 0.067), (16, 0.13)])
def test_equal_points_rarely_differ_significantly(sweep_of, points, expected):
    generator = np.random.default_rng(points)
    sweeps, sweeps_with_any, worse_points = 400, 0, 0
    for _ in range(sweeps):
        seed_effects = generator.normal(size=5)
        values = 0.9 + 0.01 * (seed_effects + generator.normal(size=(points, 5)))
        ranking = rank(
            sweep_of({str(number): row for number, row in enumerate(values.tolist())}, epochs=1), "accuracy/val"
        )
        worse = sum(not point.tied for point in ranking.points)
        sweeps_with_any, worse_points = sweeps_with_any + (worse > 0), worse_points + worse
    tolerance = 3 * np.sqrt(expected * (1 - expected) / sweeps)
    assert sweeps_with_any / sweeps == pytest.approx(expected, abs=tolerance)
    assert worse_points / (sweeps * points) < 0.05, "an equal point is reported as worse too often"


def test_paired_test_removes_the_effect_of_the_seeds(sweep_of):
    generator = np.random.default_rng(1)
    seed_effects = 0.02 * generator.normal(size=5)
    values = {
        name: (mean + seed_effects + 0.0005 * generator.normal(size=5)).tolist()
        for name, mean in (("a", 0.9), ("b", 0.89))
    }
    assert rank(sweep_of(values), "accuracy/val").n_tied == 1


# ------------------------------------------------------------------------------------------------------------
# Texts


def test_verdict_names_the_best_point(sweep_of):
    best_alone = {"wide": CLEAR["wide"], "narrow": CLEAR["narrow"]}
    ranking = rank(sweep_of(best_alone), "accuracy/val")
    assert ranking.format_verdict() == "wide is best: accuracy/val 0.9816 ± 0.0011 (n 5)."


def test_verdict_names_the_tied_points(sweep_of):
    assert rank(sweep_of(CLEAR), "accuracy/val").format_verdict() == (
        "The first 2 do not differ significantly (5 % level): wide (accuracy/val 0.9816 ± 0.0011), deep (0.9814 ± 0.0005)."
    )
    values = np.random.default_rng(0).normal(0.9, 0.01, (5, 3)).tolist()
    verdict = rank(sweep_of(dict(zip("abcde", values, strict=True))), "accuracy/val").format_verdict()
    assert verdict.startswith("All 5 do not differ significantly (5 % level): ")
    assert verdict.endswith(") and 2 more.")


def test_verdict_mentions_lower_points_that_do_not_differ_significantly(sweep_of):
    wild = [0.98, 0.10, 0.97, 0.98, 0.20]
    verdict = rank(sweep_of({**CLEAR, "wild": wild}), "accuracy/val").format_verdict()
    assert verdict.endswith(
        ". Rank 4 does not differ significantly from the best either, due to few seeds or a large spread."
    )
    without_deep = {name: CLEAR[name] for name in ("wide", "narrow")}
    verdict = rank(sweep_of({**without_deep, "wild": wild, "odd": [0.1]}), "accuracy/val").format_verdict()
    assert verdict.startswith("wide is first: accuracy/val 0.9816 ± 0.0011 (n 5). 2 lower ranks do not differ")


@pytest.mark.parametrize(
    ("points", "objective", "verdict"),
    [
        ({}, "accuracy/val", "No trial finished."),
        (
            {"a": [0.97], "b": [0.98]},
            "accuracy/val",
            "b ranks first: accuracy/val 0.9800. Each point has one seed, so the differences may be due to chance. Add sweep.seeds=5 to test them.",
        ),
        ({"a": [0.00123]}, "loss/val", "a is the only point: loss/val 0.001230 (n 1)."),
        (
            {"a": [0.1], "b": [0.2]},
            None,
            "sweep.objective is off, so nothing is compared; the 2 points are listed in plan order.",
        ),
    ],
)
def test_verdict_without_a_statistical_test(sweep_of, points, objective, verdict):
    assert rank(sweep_of(points, objective=objective), objective).format_verdict() == verdict


def test_points_with_one_seed_are_all_tied(sweep_of):
    ranking = rank(sweep_of({"a": [0.9], "b": [0.1], "c": [0.5]}), "accuracy/val")
    assert (ranking.n_tied, ranking.has_repeats) == (3, False)
    assert rank(sweep_of({"a": [0.9]}, objective=None), None).n_tied == 0


def test_small_values_have_more_decimals():
    assert [count_decimals(value) for value in (0.98, 2.3, 0.0, 0.0813, 0.00012)] == [4, 4, 4, 5, 7]


@pytest.mark.parametrize(
    ("metric", "higher"),
    [("accuracy/val", True), ("f1_macro/test", True), ("cohen_kappa/test", True), ("val_accuracy", True),
     ("loss/val", False), ("val_loss", False), ("ece/test", False), ("time/total_seconds", False), ("test_mae", False)],
)  # fmt: skip
def test_direction_of_a_metric_is_derived_from_its_name(metric, higher):
    assert higher_is_better(metric) is higher


def test_intervals_are_clipped_to_the_range_of_the_metric(sweep_of):
    def point(metric, *values):
        return rank(sweep_of({"a": values}, objective=metric), metric).points[0]

    share, percent, kappa = (
        point("accuracy/val", 0.99, 1.0),
        point("val_accuracy", 97.0, 98.0),
        point("kappa/test", -0.2, 0.1),
    )
    assert share.high == 1.0
    assert percent.high > 98
    assert kappa.low < -0.2
