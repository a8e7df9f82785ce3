"""The pictures of a benchmark, from its raw numbers."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.performance.measure_epochs import FIT, FLOOR, TRAINYARD
from experiments.performance.measure_run import EXISTING, FIRST, PLAIN
from experiments.performance.measure_search import POINTS, course, equal_budget
from experiments.performance.measure_sweep import LOOP, ONE_BY_ONE, SWEEP, throughputs
from experiments.performance.plots import (
    GridLine,
    draw_choices,
    draw_epochs,
    draw_grid,
    draw_stages,
    draw_throughputs,
)
from experiments.performance.search_plots import draw_searches
from experiments.performance.sections import (
    FIT_GOAL,
    FLOOR_GOAL,
    LOOP_GOAL,
    ONE_BY_ONE_GOAL,
    RUN_GOAL,
    STAGES,
    typical_stages,
)
from experiments.performance.summary_statistics import ratio


def draw_pictures(parts: dict[str, Any], folder: Path) -> None:
    """Draws the pictures of the parts that have one."""
    for name, draw in _PICTURES.items():
        if name in parts:
            draw(parts[name], folder / f"{name}.png")


def _draw_epoch(part: dict[str, Any], path: Path) -> None:
    found = part["contestants"]
    floor = found[FLOOR]["epoch_seconds"]
    ratios = {
        name: [own / least for own, least in zip(one["epoch_seconds"], floor, strict=True)]
        for name, one in found.items()
        if name != FLOOR
    }
    size = f"{part['images']:,} images, batch size {part['batch_size']}"
    network = "-".join(map(str, part["hidden_units"]))
    subtitle = f"Hidden units {network}, {size}; one dot per epoch"
    draw_epochs(ratios, path, ours=TRAINYARD, floor=FLOOR, goal=FLOOR_GOAL, subtitle=subtitle)


def _draw_grid(part: dict[str, Any], path: Path) -> None:
    single = [cell for cell in part["cells"] if len(cell["hidden_units"]) == 1]
    lines = []
    for batch_size in sorted({cell["batch_size"] for cell in single}):
        cells = [cell["contestants"] for cell in single if cell["batch_size"] == batch_size]
        units = [cell["hidden_units"][0] for cell in single if cell["batch_size"] == batch_size]
        to_fit = [_median_ratio(cell[FIT], cell[TRAINYARD]) for cell in cells]
        to_floor = [_median_ratio(cell[TRAINYARD], cell[FLOOR]) for cell in cells]
        lines.append(GridLine(batch_size, units, to_fit, to_floor))
    draw_grid(lines, FIT_GOAL, FLOOR_GOAL, path)


def _median_ratio(above: dict[str, Any], below: dict[str, Any]) -> float:
    return ratio(above["epoch_seconds"], below["epoch_seconds"]).median


def _draw_xla(part: dict[str, Any], path: Path) -> None:
    groups = {
        network: {name: statistics.median(one["epoch_seconds"]) for name, one in measured["contestants"].items()}
        for network, measured in part["networks"].items()
    }
    chosen = {
        network: "compiled with XLA" if measured["auto"].startswith("on") else "compiled without XLA"
        for network, measured in part["networks"].items()
    }
    machine = part["about"]["machine"]
    draw_choices(groups, chosen, ", ".join(machine["gpus"]) or f"{machine['cpu']}, {machine['threads']} threads", path)


def _draw_run(part: dict[str, Any], path: Path) -> None:
    stages = typical_stages(part)
    bars = {name: stages[name] for name in (PLAIN, FIRST, EXISTING)}
    draw_stages(bars, STAGES, RUN_GOAL, path)


def _draw_sweep(part: dict[str, Any], path: Path) -> None:
    (swept,) = part["rounds"][-1][SWEEP]
    subtitle = f"{len(swept['accuracies'])} trials of {part['epochs']} epochs; one dot per round"
    goals = {LOOP: LOOP_GOAL, ONE_BY_ONE: ONE_BY_ONE_GOAL}
    draw_throughputs(throughputs(part), goals, path, ours=SWEEP, subtitle=subtitle)


def _draw_search(part: dict[str, Any], path: Path) -> None:
    budget = equal_budget(part)
    searches = {
        name: [[(found.spent, found.validation) for found in course(one[name]["trials"])] for one in part["rounds"]]
        for name in POINTS
    }
    subtitle = f"MLPs on MNIST, {part['epochs']} epochs a trial; a thin line per seed, their mean in bold"
    draw_searches(searches, budget, subtitle, path)


_PICTURES: dict[str, Callable[[dict[str, Any], Path], None]] = {
    "epoch": _draw_epoch, "grid": _draw_grid, "xla": _draw_xla, "run": _draw_run, "sweep": _draw_sweep,
    "search": _draw_search,
}  # fmt: skip
