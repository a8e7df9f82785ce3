"""Builds the section of the part ``xla``."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from experiments.performance.measure_xla import (
    TRAINING_STEPS,
    compute_time_ratio,
    find_compile_seconds,
    find_largest_change,
    find_step_seconds,
    select_sessions,
)
from experiments.performance.section import Section, not_judged_reason
from experiments.performance.summary_statistics import Goal, Quartiles
from trainyard.reporting.markdown import Table

CLOSE = 1.15
"""Maximum time of a good choice, relative to that of the best choice."""
GOOD_GOAL, RATIO_GOAL = 0.95, 1.5
"""Minimum share of good choices, and maximum time relative to that of the best choice."""

_SETS = ("fitted", "checked")


def xla_section(part: dict[str, Any]) -> Section:
    """Returns the section of the part ``xla``."""
    device = ", ".join(part["about"]["machine"]["gpus"]) or f"CPU ({part['about']['machine']['cpu']})"
    lengths = ", ".join(f"{steps:,}" for steps in TRAINING_STEPS)
    ratio = "time / time of the best choice"
    return Section(
        name="xla",
        title="The choice of XLA",
        method=(
            "Measures the steps and the compilation of networks with and without XLA, alternately and in short bursts, "
            f"on this {device}, in one or more sessions, of which the fastest counts. The costs of each kind of "
            "operation are fitted to the `fitted` networks. The choice that follows from them is evaluated for "
            f"trainings of {lengths} steps. The time of a training is that of the compilation and of all steps. A "
            f"choice is good if its time is at most {CLOSE:g} times that of the best choice. The costs are not fitted "
            "to the `checked` networks, but decisions about the model of the costs depended on their results."
        ),
        tables=[
            Table(["networks", "number", "share of good choices", f"largest {ratio}"], [*_summarize(part)]),
            *_build_measurements_tables(part),
            Table(
                ["network", "ms per step with XLA", "without", "s to compile with XLA", "without",
                 f"{ratio}, {lengths} steps"],
                [*_describe_networks(part)],
            ),
        ],
        goals=[*_build_goals(part)],
        notes=[*_build_notes(part)],
        provenance=part["about"],
    )  # fmt: skip


def _compute_time_ratios(part: dict[str, Any], name: str) -> list[float]:
    """Returns the time of each choice for a set of networks, relative to that of the best choice."""
    networks = [network for network in part["networks"] if network["set"] == name]
    return [compute_time_ratio(network, part["costs"], steps) for network in networks for steps in TRAINING_STEPS]


def _compute_share(ratios: list[float]) -> float:
    """Returns the share of good choices."""
    return sum(ratio <= CLOSE for ratio in ratios) / len(ratios)


def _summarize(part: dict[str, Any]) -> Iterator[list[str]]:
    """Yields a row for each set of networks."""
    for name in _SETS:
        ratios = _compute_time_ratios(part, name)
        number = len(ratios) // len(TRAINING_STEPS)
        yield [name, str(number), f"{_compute_share(ratios):.3f}", f"{max(ratios):.2f}"]


def _build_measurements_tables(part: dict[str, Any]) -> Iterator[Table]:
    """Yields the table of the results from the sessions of each measurement, if there are several measurements."""
    if len(part["measurements"]) == 1:
        return
    columns = ["sessions", "date", "used for the fit", "networks"]
    for name in _SETS:
        columns += [f"share of good choices, {name} networks", "largest ratio"]
    yield Table(columns, [*_describe_measurements(part)])


def _describe_measurements(part: dict[str, Any]) -> Iterator[list[str]]:
    """Yields a row for all sessions, one for each measurement, and one for those that measured all networks."""
    measurements = {measurement["number"]: measurement for measurement in part["measurements"]}
    yield ["all", "", "", *_describe_choices(part, measurements)]
    complete = [n for n in measurements if len(select_sessions(part, [n])["networks"]) == len(part["networks"])]
    if 1 < len(complete) < len(measurements):
        name = f"measurements of all networks ({', '.join(map(str, complete))})"
        yield [name, "", "", *_describe_choices(part, complete)]
    for number, measurement in measurements.items():
        used = "yes" if measurement["fitted"] else "no"
        date = measurement["date"] or "not recorded"
        yield [f"measurement {number}", date, used, *_describe_choices(part, [number])]


def _describe_choices(part: dict[str, Any], numbers: Collection[int]) -> Iterator[str]:
    """Yields the number of networks of some measurements, and for each set the share of good choices and the ratio."""
    selected = select_sessions(part, numbers)
    yield str(len(selected["networks"]))
    for name in _SETS:
        ratios = _compute_time_ratios(selected, name)
        yield from (f"{_compute_share(ratios):.3f}", f"{max(ratios):.2f}") if ratios else ("", "")


def _build_notes(part: dict[str, Any]) -> Iterator[str]:
    """Yields how much the sessions differ, how to read the table of measurements, and the remarks of measurements."""
    if any(len(network["sessions"]) > 1 for network in part["networks"]):
        yield (
            "The ratio of the times per step with and without XLA changes from one session of a network to another by "
            f"up to a factor of {find_largest_change(part['networks']):.1f}."
        )
    if len(part["measurements"]) > 1:
        yield (
            "The table of measurements evaluates the same choices with the sessions of each measurement alone. The "
            "costs were fitted only to the measurements with `yes`; the others were added later."
        )
    for measurement in part["measurements"]:
        if remark := measurement.get("remark"):
            yield f"Measurement {measurement['number']}: {remark}"


def _build_goals(part: dict[str, Any]) -> Iterator[Goal]:
    """Yields the goals for the share of good choices, and for the worst choice."""
    reason = not_judged_reason(part["about"])
    for name in _SETS:
        ratios = _compute_time_ratios(part, name)
        share = Quartiles(*[_compute_share(ratios)] * 3)
        largest = Quartiles(*[max(ratios)] * 3)
        yield Goal(f"share of good choices, {name} networks", share, GOOD_GOAL, at_least=True, not_judged_reason=reason)
        yield Goal(f"largest time ratio, {name} networks", largest, RATIO_GOAL, not_judged_reason=reason)


def _describe_networks(part: dict[str, Any]) -> Iterator[list[str]]:
    """Yields a row for each network: the times in both modes, and the quality of each choice."""
    for network in part["networks"]:
        steps, compiling = find_step_seconds(network), find_compile_seconds(network)
        ratios = [compute_time_ratio(network, part["costs"], length) for length in TRAINING_STEPS]
        yield [
            f"{network['name']} ({network['set']})",
            *(f"{1000 * steps[mode]:.3g}" for mode in ("with_xla", "without_xla")),
            *(f"{compiling[mode]:.1f}" for mode in ("with_xla", "without_xla")),
            ", ".join(f"{ratio:.2f}" for ratio in ratios),
        ]
