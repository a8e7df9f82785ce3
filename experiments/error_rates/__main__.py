"""The command ``python -m experiments.error_rates``, for the root folder of a git clone: writes the page."""

from __future__ import annotations

from pathlib import Path

from experiments.error_rates.ranking import REPEATS, simulate_rankings

PAGE = Path("experiments/error_rates/README.md")


def render_page() -> str:
    """Returns the page with the tables of all simulations, in Markdown."""
    return f"""# Error rates

Written by `python -m experiments.error_rates`. Do not edit this page by hand.

Rankings, intervals and verdicts are uncertain, because they are computed from a few runs. The tables show how often
they are wrong in simulations with fixed seeds, in which the truth is known.

## Rankings of sweeps

{REPEATS:,} sweeps per row, ranked as in [Sweeps](../../docs/sweeps.md#choose-the-objective). The results are normally
distributed. The effects of the seeds, which all points share, have the standard deviation of the residuals of the best
point. A point is reported as worse if it is not marked ≈. At a significance level of 5 %, any best point should be
reported as worse in at most 5 % of the sweeps. The fewer points are marked in sweeps with different points, the better.

{simulate_rankings().to_markdown()}
"""


if __name__ == "__main__":
    PAGE.write_text(render_page(), encoding="utf-8")
