"""Tests of the ranking and its statistics: against scipy, by hand, and in simulations with equal points."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from trainyard.evaluation import estimate_accuracy
from trainyard.evaluation.range_test import RangeTestResult
from trainyard.evaluation.ranking import count_decimals, higher_is_better, rank

CLEAR = {
    "wide": [0.981, 0.982, 0.980, 0.983, 0.982],
    "narrow": [0.951, 0.953, 0.950, 0.952, 0.952],
    "deep": [0.982, 0.981, 0.981, 0.982, 0.981],
}


def labels(ranking):
    return [point.label for point in ranking.points]


def results(ranking):
    return {point.label: point.result for point in ranking.points}


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
    (point,) = rank(sweep_of({"wide": [0.81, None, 0.84, 0.85]}, varied=varied), "accuracy/val").points
    assert (point.point, point.label, point.varied) == (1, "wide", {"model.hidden_units": [512]})
    assert point.by_seed == {0: 0.81, 2: 0.84, 3: 0.85}
    assert (point.n, point.parameters, point.seconds) == (3, 1000, 2.0)
    assert point.metrics == pytest.approx(
        {"accuracy/test": 0.82333, "loss/test": 0.16667, "f1_macro/test": 0.81333}, 1e-3
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


def test_interval_of_an_accuracy_with_few_errors_is_that_of_korn_and_graubard(sweep_of):
    """Counts of 100 images. Both seeds of the last point have the same count, but its interval has a width."""
    first, last = rank(sweep_of({"a": [0.99, 0.98], "b": [0.97, 0.97]}), "accuracy/val").points
    for point in (first, last):
        estimate = estimate_accuracy(point.values, 100)
        assert (point.low, point.high) == pytest.approx((estimate.low, estimate.high))
    assert last.low < 0.9 < last.high
    (loss,) = rank(sweep_of({"a": [0.02, 0.03]}), "loss/val").points
    interval = stats.t.interval(0.95, 1, loc=0.025, scale=0.005)
    assert (loss.low, loss.high) == pytest.approx((0, interval[1]))


def test_interval_is_unknown_if_all_runs_have_the_same_value(sweep_of):
    points = rank(sweep_of({"a": [1.0, 1.0], "b": [1.0, 1.0]}), "accuracy/val").points
    assert [(point.low, point.high) for point in points] == [(None, None)] * 2


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


def test_two_points_with_shared_seeds_are_compared_by_the_paired_t_test(sweep_of):
    ranking = rank(sweep_of({"a": [0.91, 0.95, 0.93, 0.96], "b": [0.90, 0.93, None, 0.95]}), "accuracy/val")
    expected = stats.ttest_rel([0.91, 0.95, 0.96], [0.90, 0.93, 0.95])
    assert ranking.lead_p_value == pytest.approx(expected.pvalue)
    assert ranking.points[1].tied == (expected.pvalue >= 0.05)


def test_two_points_with_different_seeds_are_compared_by_the_t_test(sweep_of):
    first_values, second_values = [0.91, 0.95, 0.96], [0.90, 0.80, 0.83]
    ranking = rank(
        sweep_of({"a": [*first_values, None, None, None], "b": [None, None, None, *second_values]}), "accuracy/val"
    )
    assert ranking.lead_p_value == pytest.approx(stats.ttest_ind(first_values, second_values).pvalue)


def test_equal_points_with_the_same_spread_are_compared_by_tukeys_test(sweep_of):
    """With separate seeds, the range test is that of scipy."""
    values = [[0.96, 0.95, 0.955], [0.95, 0.94, 0.945], [0.93, 0.92, 0.925], [0.91, 0.92, 0.915]]
    seeds = [[None] * 3 * number + row for number, row in enumerate(values)]
    ranking = rank(sweep_of(dict(zip("abcd", seeds, strict=True))), "accuracy/val")
    expected = stats.tukey_hsd(*values).pvalue[0]
    assert ranking.lead_p_value == pytest.approx(expected[1])
    assert [point.tied for point in ranking.points] == [p_value >= 0.05 for p_value in expected]


def test_lower_loss_is_tested_like_higher_accuracy(sweep_of):
    losses = {name: [1 - value for value in values] for name, values in CLEAR.items()}
    by_accuracy, by_loss = rank(sweep_of(CLEAR), "accuracy/val"), rank(sweep_of(losses), "loss/val")
    assert labels(by_accuracy) == labels(by_loss)
    assert by_accuracy.n_tied == by_loss.n_tied == 2
    assert by_accuracy.lead_p_value == pytest.approx(by_loss.lead_p_value)


def test_point_with_one_value_is_not_tested_without_others(sweep_of):
    ranking = rank(sweep_of({"a": [0.9, 0.91, 0.92], "b": [0.1]}), "accuracy/val")
    assert ranking.lead_p_value is None
    assert results(ranking) == {"a": RangeTestResult.BEST, "b": RangeTestResult.TOO_FEW_SEEDS}


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


def test_points_below_the_first_significant_difference_are_not_tied(sweep_of):
    ranking = rank(sweep_of({**CLEAR, "wild": [0.98, 0.10, 0.97, 0.98, 0.20]}), "accuracy/val")
    assert labels(ranking) == ["wide", "deep", "narrow", "wild"]
    assert [point.tied for point in ranking.points] == [True, True, False, False]


def test_low_points_that_vary_much_are_not_tied_with_the_best(sweep_of):
    """30 points with 5 seeds: the lower the accuracy, the larger the spread, as in a search over learning rates."""
    generator = np.random.default_rng(0)
    means = np.linspace(0.923, 0.6, 30)
    spreads = np.interp(means, [0.6, 0.85, 0.923], [0.113, 0.03, 0.012])
    values = means[:, None] + spreads[:, None] * generator.normal(size=(30, 5))
    ranking = rank(sweep_of(dict(zip(map(str, range(30)), values.tolist(), strict=True))), "accuracy/val")
    tied = [point.tied for point in ranking.points]
    assert tied == sorted(tied, reverse=True)
    assert ranking.points[ranking.n_tied - 1].mean > 0.82


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


@pytest.mark.parametrize(
    ("points", "objective", "verdict"),
    [
        ({}, "accuracy/val", "No trial finished."),
        (
            {"a": [0.97], "b": [0.98]},
            "accuracy/val",
            "b ranks first: accuracy/val 0.9800. With one seed each, the differences may be due to chance. Add sweep.seeds=5 to test them.",
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


def test_points_with_one_seed_are_not_tested(sweep_of):
    ranking = rank(sweep_of({"a": [0.9], "b": [0.1], "c": [0.5]}), "accuracy/val")
    assert (ranking.n_tied, ranking.has_repeats, ranking.is_tested) == (1, False, False)
    assert [point.result for point in ranking.points[1:]] == [RangeTestResult.TOO_FEW_SEEDS] * 2
    assert rank(sweep_of({"a": [0.9]}, objective=None), None).n_tied == 0


def test_many_points_with_too_few_seeds_are_counted(sweep_of):
    points = {"a": [0.9, 0.91, 0.92], "b": [0.89, 0.9, 0.92]}
    points |= {label: [*[None] * number, 0.95 - number / 100] for number, label in enumerate("cdefg", 10)}
    verdict = rank(sweep_of(points), "accuracy/val").format_verdict()
    assert verdict.endswith(" 5 points have too few seeds to be tested: c, d, e and 2 more.")


def test_pruned_points_are_not_tested(sweep_of):
    points = {"a": [0.90, 0.91, 0.92], "b": [0.90, 0.91, 0.91], "c": [0.99, 0.98, 0.97]}
    ranking = rank(sweep_of(points), "accuracy/val", pruned={3})
    assert results(ranking) == {
        "a": RangeTestResult.BEST, "b": RangeTestResult.TIED, "c": RangeTestResult.PRUNED,
    }  # fmt: skip
    assert ranking.n_compared == 2


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
