"""The page of a target: the accuracy of each arm, the differences between them, and the verdict."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from trainyard.analysis.claims.results import Arm, Results, build_run_cells
from trainyard.analysis.claims.spec import Target
from trainyard.evaluation import Estimate, estimate_difference, estimate_mean
from trainyard.reporting import Table, format_duration, format_value, plots


@dataclass(frozen=True)
class TargetPage:
    """The page of the results of a target."""

    results: Results
    target: Target
    template: ClassVar = "target.md"
    plot_file: ClassVar = "accuracies.png"

    @property
    def verdict(self) -> str:
        """``met`` if the first arm's mean accuracy reaches the goal within the limits on parameters and time."""
        target, arm = self.target, self.results.main_arm
        within_parameters = target.most_parameters is None or arm.parameters <= target.most_parameters
        within_minutes = target.most_minutes is None or self.results.about["seconds"] <= 60 * target.most_minutes
        is_met = within_parameters and within_minutes and statistics.mean(arm.accuracies) >= target.goal
        return "met" if is_met else "missed"

    def describe_verdict(self) -> list[str]:
        """Returns whether the target is met, and how the first arm compares to the other arms, as lines of Markdown."""
        main_arm, target, seconds = self.results.main_arm, self.target, self.results.about["seconds"]
        mean = self._estimate_mean(main_arm)
        summary = (
            f"**{main_arm.name}: {_format_percent(mean.value)} % mean test accuracy over {len(main_arm.runs)} seeds.** "
            f"The 95 % confidence interval of the mean is {_format_percent(mean.low)} % to "
            f"{_format_percent(mean.high)} %. The target, {100 * target.goal:g} %, is {self.verdict}."
        )
        lines = [summary]
        if target.most_parameters is not None:
            limit = _describe_limit(exceeded=main_arm.parameters > target.most_parameters)
            lines.append(f"Its model has {main_arm.parameters:,} parameters, {limit} {target.most_parameters:,}.")
        if target.most_minutes is not None:
            limit = _describe_limit(exceeded=seconds > 60 * target.most_minutes)
            lines.append(
                f"All runs together took {format_duration(seconds)} (wall time), {limit} "
                f"{format_duration(60 * target.most_minutes)}."
            )
        for other_arm in self.results.arms[1:]:
            estimate = self._estimate_difference(other_arm)
            direction = "higher than" if estimate.value > 0 else "lower than"
            significance = "significant" if estimate.low > 0 or estimate.high < 0 else "not significant"
            difference = (
                f"{_format_percent(abs(estimate.value))} percentage points {direction} the mean of {other_arm.name}"
                if estimate.value
                else f"equal to the mean of {other_arm.name}"
            )
            lines.append(
                f"The mean is {difference}: the difference is {significance} (standard error "
                f"{_format_percent(estimate.standard_error)})."
            )
        return lines

    def build_values(self) -> dict[str, Any]:
        """Returns the values for the template, in addition to those of every page."""
        search = self.results.search
        return {
            "arms": self._render_arms(),
            "differences": self._render_differences() if len(self.results.arms) > 1 else "",
            "search": search,
            "settings": _render_settings(search) if search else "",
            "runs": self._render_runs(),
        }

    def draw_plot(self, folder: Path) -> None:
        """Draws the accuracies of all runs."""
        arms = self.results.arms
        means = {arm.name: self._estimate_mean(arm) for arm in arms}
        plots.draw_arm_accuracies(
            {arm.name: arm.accuracies for arm in arms},
            {name: (mean.value, mean.low, mean.high) for name, mean in means.items()},
            self.target.goal,
            folder / self.plot_file,
        )

    def _estimate_mean(self, arm: Arm) -> Estimate:
        """Returns the mean accuracy of an arm with its confidence interval."""
        return estimate_mean(arm.accuracies, self.results.accuracy_step)

    def _estimate_difference(self, other_arm: Arm) -> Estimate:
        """Returns the mean accuracy of the first arm minus that of another arm, with its confidence interval."""
        return estimate_difference(self.results.main_arm.accuracies, other_arm.accuracies, self.results.accuracy_step)

    def _render_arms(self) -> str:
        """Returns the table of the arms in Markdown, with mean accuracies in percent."""
        columns = ["arm", "seeds", "mean accuracy, %", "standard deviation, %", "95 % confidence interval, %",
                   "range, %", "mean loss", "parameters", "epochs", "median seconds per run"]  # fmt: skip
        rows = []
        for arm in self.results.arms:
            values, mean = arm.accuracies, self._estimate_mean(arm)
            rows.append(
                [
                    arm.name,
                    f"{len(values)}",
                    _format_percent(mean.value),
                    _format_percent(statistics.stdev(values)),
                    f"{_format_percent(mean.low)} to {_format_percent(mean.high)}",
                    f"{100 * min(values):.2f} to {100 * max(values):.2f}",
                    f"{statistics.mean(run.loss for run in arm.runs):.4f}",
                    f"{arm.parameters:,}",
                    f"{arm.epochs}",
                    f"{statistics.median(run.seconds for run in arm.runs):.1f}",
                ]
            )
        return Table(columns, rows).to_markdown()

    def _render_differences(self) -> str:
        """Returns the table of the differences between the first arm and the other arms, in Markdown."""
        main_arm = self.results.main_arm
        columns = ["other arm", "difference, %", "standard error, %", "95 % confidence interval, %", "p-value",
                   "its errors per 10,000 images", f"errors of {main_arm.name} per 10,000 images"]  # fmt: skip
        rows = []
        for other_arm in self.results.arms[1:]:
            estimate = self._estimate_difference(other_arm)
            rows.append(
                [
                    other_arm.name,
                    f"{100 * estimate.value:+.3f}",
                    _format_percent(estimate.standard_error),
                    f"{100 * estimate.low:+.3f} to {100 * estimate.high:+.3f}",
                    f"{estimate.p_value:.2g}",
                    *(f"{10_000 * (1 - statistics.mean(arm.accuracies)):.0f}" for arm in (other_arm, main_arm)),
                ]
            )
        return Table(columns, rows).to_markdown()

    def _render_runs(self) -> str:
        """Returns the table of all runs of all arms, in Markdown."""
        rows = [
            [arm.name, *build_run_cells(f"{run.seed}", run.accuracy, run.loss, run.seconds, run.run_id)]
            for arm in self.results.arms
            for run in arm.runs
        ]
        return Table(["arm", "seed", "accuracy", "loss", "seconds", "run ID"], rows).to_markdown()


def _render_settings(search: dict[str, Any]) -> str:
    """Returns the table of the settings that a sweep varied, in Markdown."""
    varied = search["winner"]["varied"]
    rows = [
        [f"`{path}`", values, format_value(varied[path]) if path in varied else ""]
        for path, values in search["swept"].items()
    ]
    return Table(["setting", "possible values", "chosen"], rows).to_markdown()


def _describe_limit(*, exceeded: bool) -> str:
    return "over the limit of" if exceeded else "within the limit of"


def _format_percent(fraction: float) -> str:
    """Returns a fraction, or a difference of two, in percent with three decimals, without a percent sign."""
    return f"{100 * fraction:.3f}"
