"""The command ``python -m experiments.error_rates``, for the root folder of a git clone: writes the page."""

from __future__ import annotations

from pathlib import Path

from experiments.error_rates import accuracies, claims, ranking

PAGE = Path("experiments/error_rates/README.md")
INTRODUCTION = """# Error rates

Written by `python -m experiments.error_rates`. Do not edit this page by hand.

Rankings, intervals and verdicts are uncertain, because they are computed from a few runs. The tables show how often
they are wrong in simulations with fixed seeds, in which the truth is known.
"""


def render_rankings() -> str:
    """Returns the section on rankings, in Markdown."""
    return f"""
## Rankings of sweeps

{ranking.REPEATS:,} sweeps per row, ranked as in [Sweeps](../../docs/sweeps.md#choose-the-objective). The results are
normally distributed. The effects of the seeds, which all points share, have the standard deviation of the residuals of
the best point. A point is reported as worse if it is not marked ≈. At a significance level of 5 %, any best point
should be reported as worse in at most 5 % of the sweeps. In sweeps with different points, fewer marks are better.

{ranking.simulate_rankings().to_markdown()}
"""


def render_accuracies() -> str:
    """Returns the sections on mean accuracies and their differences, in Markdown."""
    return f"""
## Mean accuracies

{accuracies.REPEATS:,} experiments per number. A run counts the correct predictions on a test set. The true accuracies
of the seeds are equal, or vary (beta distribution) with the standard deviation of the count, or with half of it. The
table shows in how many experiments the 95 % confidence interval contains the true mean, in percent: the smallest of the
three cases. The sampling error is about one percentage point.

{accuracies.build_coverage_table().to_markdown()}

## Differences of mean accuracies

The same experiments with two equal recipes, compared by Welch's t-test. The table shows in how many experiments their
mean accuracies differ significantly at a level of 5 %, in percent: the largest of the three cases.

{accuracies.build_false_difference_table().to_markdown()}
"""


def render_claims() -> str:
    """Returns the section on claims, in Markdown."""
    return f"""
## True claims

{claims.REPEATS:,} claims per number. One run of the experiments above is the published one; its accuracy is rounded to
two or four decimals. The other runs are the seeds that judge it, as in [Claims](../../docs/claims.md). The table shows
how often the published accuracy is contradicted, in percent: the largest of the three cases.

{claims.build_contradiction_table().to_markdown()}
"""


if __name__ == "__main__":
    PAGE.write_text(f"{INTRODUCTION}{render_rankings()}{render_accuracies()}{render_claims()}", encoding="utf-8")
