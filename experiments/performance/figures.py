"""Draws the figures of the benchmark from its raw measurements."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.performance.measure_epochs import FIT, MATRIX_PRODUCTS, TRAINYARD
from experiments.performance.measure_run import EXISTING_STORE, FIRST_RUN, PLAIN_SCRIPT
from experiments.performance.measure_search import POINTS, compute_best_so_far, compute_equal_budget
from experiments.performance.measure_sweep import ONE_BY_ONE, SHELL_LOOP, SWEEP, compute_throughputs
from experiments.performance.plots import (
    GridSeries,
    draw_epochs,
    draw_grid,
    draw_run_stages,
    draw_throughputs,
)
from experiments.performance.search_plots import draw_searches
from experiments.performance.sections import (
    FIT_GOAL,
    MATRIX_PRODUCTS_GOAL,
    ONE_BY_ONE_GOAL,
    RUN_GOAL,
    SHELL_LOOP_GOAL,
    STAGES,
    find_typical_stages,
)
from experiments.performance.summary_statistics import ratio_quartiles


def draw_figures(parts: dict[str, Any], folder: Path) -> None:
    """Draws the figure of each part that has one, to ``<part>.png``."""
    for name, draw in _DRAW_FUNCTIONS.items():
        if name in parts:
            draw(parts[name], folder / f"{name}.png")


def _draw_epoch(part: dict[str, Any], path: Path) -> None:
    measurements = part["contestants"]
    lower_bounds = measurements[MATRIX_PRODUCTS]["epoch_seconds"]
    ratios = {
        name: [
            seconds / lower_bound
            for seconds, lower_bound in zip(measurement["epoch_seconds"], lower_bounds, strict=True)
        ]
        for name, measurement in measurements.items()
        if name != MATRIX_PRODUCTS
    }
    size = f"{part['images']:,} images, batch size {part['batch_size']}"
    network = "-".join(map(str, part["hidden_units"]))
    subtitle = f"Hidden units {network}, {size}; one marker per epoch, line: median"
    draw_epochs(
        ratios,
        path,
        highlighted=TRAINYARD,
        lower_bound=MATRIX_PRODUCTS,
        goal=MATRIX_PRODUCTS_GOAL,
        subtitle=subtitle,
    )


def _draw_grid(part: dict[str, Any], path: Path) -> None:
    one_layer_cells = [cell for cell in part["cells"] if len(cell["hidden_units"]) == 1]
    series = []
    for batch_size in sorted({cell["batch_size"] for cell in one_layer_cells}):
        cells = [cell["contestants"] for cell in one_layer_cells if cell["batch_size"] == batch_size]
        units = [cell["hidden_units"][0] for cell in one_layer_cells if cell["batch_size"] == batch_size]
        speedups = [_median_ratio(cell[FIT], cell[TRAINYARD]) for cell in cells]
        lower_bound_ratios = [_median_ratio(cell[TRAINYARD], cell[MATRIX_PRODUCTS]) for cell in cells]
        series.append(GridSeries(batch_size, units, speedups, lower_bound_ratios))
    draw_grid(series, FIT_GOAL, MATRIX_PRODUCTS_GOAL, path)


def _median_ratio(numerator: dict[str, Any], denominator: dict[str, Any]) -> float:
    return ratio_quartiles(numerator["epoch_seconds"], denominator["epoch_seconds"]).median


def _draw_run(part: dict[str, Any], path: Path) -> None:
    stages = find_typical_stages(part)
    bars = {name: stages[name] for name in (PLAIN_SCRIPT, FIRST_RUN, EXISTING_STORE)}
    draw_run_stages(bars, STAGES, RUN_GOAL, path)


def _draw_sweep(part: dict[str, Any], path: Path) -> None:
    (sweep,) = part["rounds"][-1][SWEEP]
    subtitle = (
        f"{len(sweep['accuracies'])} trials of {part['epochs']} epochs; "
        "dots: rounds, bars: median, dashed lines: goals relative to their row"
    )
    goals = {SHELL_LOOP: SHELL_LOOP_GOAL, ONE_BY_ONE: ONE_BY_ONE_GOAL}
    draw_throughputs(compute_throughputs(part), goals, path, highlighted=SWEEP, subtitle=subtitle)


def _draw_search(part: dict[str, Any], path: Path) -> None:
    budget = compute_equal_budget(part)
    histories = {
        name: [
            [(best.spent, best.validation) for best in compute_best_so_far(searches[name]["trials"])]
            for searches in part["rounds"]
        ]
        for name in POINTS
    }
    subtitle = f"MLPs on MNIST, {part['epochs']} epochs per trial; thin lines: one per seed, thick lines: mean"
    draw_searches(histories, budget, subtitle, path)


_DRAW_FUNCTIONS: dict[str, Callable[[dict[str, Any], Path], None]] = {
    "epoch": _draw_epoch, "grid": _draw_grid, "run": _draw_run, "sweep": _draw_sweep,
    "search": _draw_search,
}  # fmt: skip
