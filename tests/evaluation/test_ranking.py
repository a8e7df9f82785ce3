"""The order of a sweep's points, and how sure it is: against scipy, by hand, and in many sweeps of equal points."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from trainyard.evaluation.ranking import adjust_by_holm, compare, decimals, higher_is_better, rank

CLEAR = {
    "wide": [0.981, 0.982, 0.980, 0.983, 0.982],
    "narrow": [0.951, 0.953, 0.950, 0.952, 0.952],
    "deep": [0.982, 0.981, 0.981, 0.982, 0.981],
}


def order(ranking):
    return [place.label for place in ranking.places]


# ------------------------------------------------------------------------------------------------------------
# The order


def test_more_accuracy_is_better_and_less_loss(sweep_of):
    points = {"one": [0.3], "two": [0.1], "three": [0.2]}
    assert order(rank(sweep_of(points), "accuracy/val")) == ["one", "three", "two"]
    assert order(rank(sweep_of(points), "loss/val")) == ["two", "three", "one"]
    assert order(rank(sweep_of(points, objective=None), None)) == ["one", "two", "three"]


def test_equal_points_stand_in_the_order_of_the_plan_whatever_order_they_come_in(sweep_of):
    trials = sweep_of({"one": [0.5], "two": [0.5], "three": [0.6]})
    assert order(rank(trials[::-1], "accuracy/val")) == ["three", "one", "two"]


def test_a_place_holds_what_its_trials_came_to(sweep_of):
    varied = {"wide": {"model.hidden_units": [512]}}
    (place,) = rank(sweep_of({"wide": [0.91, None, 0.94, 0.95]}, varied=varied), "accuracy/val").places
    assert (place.point, place.label, place.varied) == (1, "wide", {"model.hidden_units": [512]})
    assert place.by_seed == {0: 0.91, 2: 0.94, 3: 0.95}
    assert (place.n, place.parameters, place.seconds) == (3, 1000, 2.0)
    assert place.metrics == pytest.approx(
        {"accuracy/test": 0.92333, "loss/test": 0.06667, "f1_macro/test": 0.91333}, 1e-3
    )
    assert place.mean == pytest.approx(np.mean(place.values))
    assert place.std == pytest.approx(np.std(place.values, ddof=1))
    interval = stats.t.interval(0.95, 2, loc=place.mean, scale=stats.sem(place.values))
    assert (place.low, place.high) == pytest.approx(interval)


def test_one_value_has_no_spread(sweep_of):
    (place,) = rank(sweep_of({"one": [0.9]}), "accuracy/val").places
    assert (place.mean, place.std, place.low, place.high) == (0.9, None, None, None)
    (place,) = rank(sweep_of({"one": [0.9, 0.8]}, objective=None), None).places
    assert (place.values, place.mean, place.n) == ((), None, 2)


def test_a_point_whose_seeds_alone_vary_has_a_name_all_the_same(sweep_of):
    assert order(rank(sweep_of({"": [0.9, 0.8]}), "accuracy/val")) == ["point 1"]


def test_a_trial_without_the_objective_is_an_error_that_names_it(sweep_of):
    trials = sweep_of({"one": [0.5]}) + sweep_of({"one": [0.5, 0.5]}, objective=None)[1:]
    with pytest.raises(ValueError, match="expected a value of accuracy/val from every trial, and there is none from 2"):
        rank(trials, "accuracy/val")


# ------------------------------------------------------------------------------------------------------------
# Statistics


def test_shared_seeds_are_compared_in_pairs(sweep_of):
    one, other = rank(sweep_of({"a": [0.91, 0.95, 0.93, 0.96], "b": [0.90, 0.93, None, 0.95]}), "accuracy/val").places
    expected = stats.ttest_rel([0.91, 0.95, 0.96], [0.90, 0.93, 0.95])
    assert compare(one, other).chance == pytest.approx(expected.pvalue)
    assert compare(one, other).difference == pytest.approx(0.04 / 3)
    assert compare(other, one).difference == pytest.approx(-0.04 / 3)


def test_other_seeds_are_compared_by_welch(sweep_of):
    ours, theirs = [0.91, 0.95, 0.96], [0.90, 0.80]
    one, other = rank(sweep_of({"a": [*ours, None, None], "b": [None, None, None, *theirs]}), "accuracy/val").places
    assert compare(one, other).chance == pytest.approx(stats.ttest_ind(ours, theirs, equal_var=False).pvalue)


def test_one_value_can_not_be_compared(sweep_of):
    one, other = rank(sweep_of({"a": [0.9, 0.91, 0.92], "b": [0.1]}), "accuracy/val").places
    assert compare(one, other).chance == 1
    assert other.tied


def test_holm_by_hand():
    assert adjust_by_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjust_by_holm([0.9, 0.6]) == [1.0, 1.0]
    assert adjust_by_holm([]) == []


def test_values_that_never_vary_are_told_apart_only_where_they_are_far_apart(sweep_of):
    same = rank(sweep_of({"a": [0.5, 0.5, 0.5], "b": [0.5, 0.5, 0.5]}), "accuracy/val")
    assert same.tied == 2
    far = rank(sweep_of({"a": [1.0] * 5, "b": [0.5] * 5, "c": [0.99] * 5}), "accuracy/val")
    assert [place.tied for place in far.places] == [True, False, False]
    steps = rank(sweep_of({"a": [0.52, 0.54], "b": [0.51, 0.53]}), "accuracy/val")  # counts of 100 images
    assert steps.tied == 2
    apart = rank(sweep_of({"a": [0.5, 0.5, None, None], "b": [None, None, 0.4, 0.4]}), "accuracy/val")
    assert apart.tied == 2


def test_a_point_that_leads_only_by_the_seeds_that_others_lack_is_not_set_above_them(sweep_of):
    ranking = rank(sweep_of({"a": [0.80, 0.81, 0.82, 0.99, 0.99], "b": [0.83, 0.84, 0.85]}), "accuracy/val")
    assert order(ranking) == ["a", "b"]
    assert ranking.tied == 2


def test_a_noisy_point_far_down_does_not_tie_those_before_it(sweep_of):
    ranking = rank(sweep_of({**CLEAR, "wild": [0.98, 0.10, 0.97, 0.98, 0.20]}), "accuracy/val")
    assert order(ranking) == ["wide", "deep", "narrow", "wild"]
    assert [place.tied for place in ranking.places] == [True, True, False, True]
    assert ranking.tied == 2


@pytest.mark.parametrize(("points", "told"), [(2, 0.05), (5, 0.067), (16, 0.13)])
def test_equal_points_are_seldom_told_apart(sweep_of, points, told):
    generator = np.random.default_rng(points)
    sweeps, some, each = 400, 0, 0
    for _ in range(sweeps):
        luck = generator.normal(size=5)
        values = 0.9 + 0.01 * (luck + generator.normal(size=(points, 5)))
        ranking = rank(
            sweep_of({str(number): row for number, row in enumerate(values.tolist())}, epochs=1), "accuracy/val"
        )
        apart = sum(not place.tied for place in ranking.places)
        some, each = some + (apart > 0), each + apart
    assert some / sweeps == pytest.approx(told, abs=3 * np.sqrt(told * (1 - told) / sweeps))
    assert each / (sweeps * points) < 0.05, "a point as good as the best"


def test_pairs_tell_what_lies_beneath_the_luck_of_the_seeds(sweep_of):
    generator = np.random.default_rng(1)
    luck = 0.02 * generator.normal(size=5)
    values = {
        name: (mean + luck + 0.0005 * generator.normal(size=5)).tolist() for name, mean in (("a", 0.9), ("b", 0.89))
    }
    assert rank(sweep_of(values), "accuracy/val").tied == 1


# ------------------------------------------------------------------------------------------------------------
# Words


def test_the_verdict_names_the_best(sweep_of):
    best_alone = {"wide": CLEAR["wide"], "narrow": CLEAR["narrow"]}
    ranking = rank(sweep_of(best_alone), "accuracy/val")
    assert ranking.verdict() == "wide is best: accuracy/val 0.9816 ± 0.0011 (n 5)."


def test_the_verdict_names_those_that_can_not_be_told_apart(sweep_of):
    assert rank(sweep_of(CLEAR), "accuracy/val").verdict() == (
        "The first 2 can't be told apart at 5 %: wide (accuracy/val 0.9816 ± 0.0011), deep (0.9814 ± 0.0005)."
    )
    values = np.random.default_rng(0).normal(0.9, 0.01, (5, 3)).tolist()
    told = rank(sweep_of(dict(zip("abcde", values, strict=True))), "accuracy/val").verdict()
    assert told.startswith("All 5 can't be told apart at 5 %: ")
    assert told.endswith(") and 2 more.")


def test_the_verdict_tells_of_those_further_down(sweep_of):
    wild = [0.98, 0.10, 0.97, 0.98, 0.20]
    told = rank(sweep_of({**CLEAR, "wild": wild}), "accuracy/val").verdict()
    assert told.endswith(". Place 4 can't be told from the best either, with few seeds or values far apart.")
    without_deep = {name: CLEAR[name] for name in ("wide", "narrow")}
    told = rank(sweep_of({**without_deep, "wild": wild, "odd": [0.1]}), "accuracy/val").verdict()
    assert told.startswith("wide is first: accuracy/val 0.9816 ± 0.0011 (n 5). 2 places further down can't")


@pytest.mark.parametrize(
    ("points", "objective", "verdict"),
    [
        ({}, "accuracy/val", "No trial came to its end."),
        (
            {"a": [0.97], "b": [0.98]},
            "accuracy/val",
            "b comes first: accuracy/val 0.9800. One seed each: differences of this size may be chance. Add sweep.seeds=5 to tell.",
        ),
        ({"a": [0.00123]}, "loss/val", "a is the only point: loss/val 0.001230 (n 1)."),
        (
            {"a": [0.1], "b": [0.2]},
            None,
            "Nothing is compared, as sweep.objective is off; the 2 points stand in the order of the plan.",
        ),
    ],
)
def test_the_verdict_where_there_is_nothing_to_tell_by(sweep_of, points, objective, verdict):
    assert rank(sweep_of(points, objective=objective), objective).verdict() == verdict


def test_with_one_seed_each_nothing_is_told_apart(sweep_of):
    ranking = rank(sweep_of({"a": [0.9], "b": [0.1], "c": [0.5]}), "accuracy/val")
    assert (ranking.tied, ranking.repeated) == (3, False)
    assert rank(sweep_of({"a": [0.9]}, objective=None), None).tied == 0


def test_small_values_show_as_many_digits():
    assert [decimals(value) for value in (0.98, 2.3, 0.0, 0.0813, 0.00012)] == [4, 4, 4, 5, 7]


@pytest.mark.parametrize(
    ("metric", "higher"),
    [("accuracy/val", True), ("f1_macro/test", True), ("cohen_kappa/test", True), ("val_accuracy", True),
     ("loss/val", False), ("val_loss", False), ("ece/test", False), ("time/total_seconds", False), ("test_mae", False)],
)  # fmt: skip
def test_the_name_of_a_metric_tells_which_way_is_better(metric, higher):
    assert higher_is_better(metric) is higher


def test_intervals_end_where_the_metric_does(sweep_of):
    def place(metric, *values):
        return rank(sweep_of({"a": values}, objective=metric), metric).places[0]

    share, percent, kappa = (
        place("accuracy/val", 0.99, 1.0),
        place("val_accuracy", 97.0, 98.0),
        place("kappa/test", -0.2, 0.1),
    )
    assert share.high == 1.0
    assert percent.high > 98
    assert kappa.low < -0.2
