"""The page of a target: the accuracy of each arm, the differences between them, and the verdict."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from trainyard.analysis.claims.results import Arm, Results, to_percent
from trainyard.analysis.claims.spec import Target
from trainyard.evaluation import Estimate, estimate_accuracy, estimate_accuracy_difference
from trainyard.reporting import format_duration, plots


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
        mean = self.estimate_mean(main_arm)
        summary = (
            f"**{main_arm.name}: {to_percent(mean.value)} % mean test accuracy over {len(main_arm.runs)} seeds.** "
            f"The 95 % confidence interval of the mean is {to_percent(mean.low)} % to "
            f"{to_percent(mean.high)} %. The target, {100 * target.goal:g} %, is {self.verdict}. "
            f"The mean is {_describe_difference(mean.value - target.goal, 'the target')}."
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
            estimate = self.estimate_difference(other_arm)
            significance = "significant" if estimate.low > 0 or estimate.high < 0 else "not significant"
            difference = _describe_difference(estimate.value, f"the mean of {other_arm.name}")
            lines.append(
                f"The mean is {difference}: the difference is {significance} (standard error "
                f"{to_percent(estimate.standard_error)})."
            )
        return lines

    def draw_plot(self, folder: Path) -> None:
        """Draws the accuracies of all runs."""
        arms = self.results.arms
        means = {arm.name: self.estimate_mean(arm) for arm in arms}
        plots.draw_arm_accuracies(
            {arm.name: arm.accuracies for arm in arms},
            {name: (mean.value, mean.low, mean.high) for name, mean in means.items()},
            self.target.goal,
            folder / self.plot_file,
        )

    def estimate_mean(self, arm: Arm) -> Estimate:
        """Returns the mean accuracy of an arm with its confidence interval."""
        return estimate_accuracy(arm.accuracies, arm.images)

    def estimate_difference(self, other_arm: Arm) -> Estimate:
        """Returns the mean accuracy of the first arm minus that of another arm, with its confidence interval."""
        arm = self.results.main_arm
        return estimate_accuracy_difference(arm.accuracies, other_arm.accuracies, (arm.images, other_arm.images))


def _describe_difference(difference: float, other: str) -> str:
    """Returns how much higher or lower a mean accuracy is than another one."""
    if abs(difference) < 1e-9:  # noqa: PLR2004 - equal, except for the rounding of floating-point numbers
        return f"equal to {other}"
    return f"{to_percent(abs(difference))} percentage points {'higher' if difference > 0 else 'lower'} than {other}"


def _describe_limit(*, exceeded: bool) -> str:
    return "over the limit of" if exceeded else "within the limit of"
