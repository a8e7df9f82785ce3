"""The results of the range test in the texts of a ranking: the verdict, the marks, the lead and the explanation."""

from __future__ import annotations

import pytest

from trainyard.evaluation import rank
from trainyard.reporting.leaderboard import build_card_rows, describe_lead, explain_ranking

MISSING = [None] * 3
NOT_TESTED = "There are too few seeds to test the differences, so they may be due to chance."
UNEQUAL_SEEDS = {
    "the other point has one seed": (
        {"a": [0.90, 0.91, 0.92], "b": [0.1]},
        {"a": "BEST", "b": "TOO_FEW_SEEDS"}, ["1", "2"],
        f"a ranks first: accuracy/val 0.9100 ± 0.0100 (n 3). {NOT_TESTED} Train more seeds to test them.",
        "too few seeds",
    ),
    "the best point has one seed": (
        {"a": [0.95], "b": [0.90, 0.91, 0.92]},
        {"a": "BEST", "b": "TOO_FEW_SEEDS"}, ["1", "2"],
        f"a ranks first: accuracy/val 0.9500 (n 1). {NOT_TESTED} Train more seeds to test them.",
        "too few seeds",
    ),
    "one seed, which others have too": (
        {"a": [0.90, 0.91, 0.92], "b": [0.89], "c": [0.50, 0.51, 0.53]},
        {"a": "BEST", "b": "TIED", "c": "WORSE"}, ["1 ≈", "2 ≈", "3"],
        "The first 2 do not differ significantly (5 % level): a (accuracy/val 0.9100 ± 0.0100), b (0.8900).",
        "not significant (Tukey's range test of 3 points, p = ",
    ),
    "one seed that no other point has, above a point that is worse": (
        {"a": [0.90, 0.91, 0.92], "b": [*MISSING, 0.89], "c": [0.10, 0.11, 0.12], "d": [0.01, 0.02, 0.03]},
        {"a": "BEST", "b": "TOO_FEW_SEEDS", "c": "WORSE", "d": "BELOW"}, ["1", "2 ?", "3", "4"],
        "a is best of the tested points: accuracy/val 0.9100 ± 0.0100 (n 3). 1 point has too few seeds to be tested: b.",
        "too few seeds",
    ),
    "one seed that no other point has, above a point that is tied": (
        {"a": [0.90, 0.93, 0.92], "b": [*MISSING, 0.91], "c": [0.905, 0.91, 0.90]},
        {"a": "BEST", "b": "TOO_FEW_SEEDS", "c": "TIED"}, ["1 ≈", "2 ?", "3 ≈"],
        (
            "2 points do not differ significantly (5 % level): a (accuracy/val 0.9167 ± 0.0153), c (0.9050 ± 0.0050). "
            "1 point has too few seeds to be tested: b."
        ),
        "too few seeds",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNEQUAL_SEEDS.values(), ids=UNEQUAL_SEEDS.keys())
def test_each_point_has_one_result_if_the_numbers_of_seeds_differ(sweep_of, case):
    """The verdict, the marks and the lead state the same."""
    points, expected, marks, verdict, lead = case
    ranking = rank(sweep_of(points), "accuracy/val")
    assert {point.label: point.result.name for point in ranking.points} == expected
    assert [row.cells[0].text for row in build_card_rows(ranking)] == marks
    assert ranking.format_verdict() == verdict
    assert f" ahead of b; {lead}" in describe_lead(ranking)
    explanation = explain_ranking(ranking)
    assert (NOT_TESTED in explanation) == (NOT_TESTED in verdict) == ("≈" not in explanation)
    assert ("? marks" in explanation) == ("2 ?" in marks)
    assert ("significantly worse" in explanation) == ("WORSE" in expected.values())


def test_the_p_value_of_a_difference_depends_on_the_number_of_points(sweep_of):
    alone = {"a": [0.91, 0.92, 0.93], "b": [0.90, 0.905, 0.925]}
    others = {name: [value - 0.01 * number for value in alone["b"]] for number, name in enumerate("cdefgh", 1)}
    p_values = [rank(sweep_of(points), "accuracy/val").lead_p_value for points in (alone, alone | others)]
    assert p_values[0] < p_values[1]
    ranking = rank(sweep_of(alone | others), "accuracy/val")
    assert f"(Tukey's range test of 8 points, p = {p_values[1]:.2g})" in describe_lead(ranking)
    assert "among more rows, the same difference has a larger p-value" in explain_ranking(ranking)
