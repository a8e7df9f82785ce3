"""Results in words and tables: what each part measured, medians and ratios, and whether each goal is met.

Everything here is computed from the raw numbers in the results; screen and page show the same sections.

Before it: measures, results. After it: page, and the command line.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from trainyard.bench.measures import Goal, Spread, difference, ratio, spread
from trainyard.bench.parts import FIT, FLOOR, TRAINYARD
from trainyard.bench.seeds import mean_difference
from trainyard.bench.wholerun import EXISTING, FIRST, FRESH, PLAIN, UNTRACKED

FIT_GOAL, FLOOR_GOAL, RUN_GOAL, TRACKING_GOAL = 4.5, 1.25, 0.4, 2.0
"""At least so many times as fast as plain fit; at most so many times the floor, the plain script, and seconds."""

EQUIVALENCE_GOAL = 0.3
"""Within so many percent points of accuracy two engines count as equivalent."""

_TOLERANCE, _WIDEST = 0.05, 1.5
"""How far below the floor is an accident; by what factor the quartiles of a ratio may lie apart."""

STAGES = {
    "before": "interpreter, first imports",
    "open": "opening the store, between stages",
    "start": "importing TensorFlow",
    "load": "loading the data",
    "build": "building the model",
    "compile": "compiling",
    "train": "training",
    "evaluate": "evaluating",
    "log": "writing and logging",
    "after": "closing, exit",
}
"""The stages of a whole run in their order, in words."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first column is text, the others are figures."""

    columns: list[str]
    rows: list[list[str]]


@dataclass(frozen=True, slots=True)
class Section:
    """One part as it is shown.

    Attributes:
        name: The part.
        title: Its heading.
        how: What was measured, and how.
        tables: The figures.
        goals: What they are held against.
        notes: What else there is to say.
        about: Where and when it was measured.
        picture: The name of its picture, or empty.
    """

    name: str
    title: str
    how: str
    tables: list[Table]
    goals: list[Goal]
    notes: list[str]
    about: dict[str, Any]
    picture: str = ""


def build_sections(parts: dict[str, Any]) -> list[Section]:
    """Returns a section per part that there are results of."""
    return [_BUILDERS[name](part) for name, part in parts.items()]


def _not_judged(about: dict[str, Any]) -> str:
    """Returns why a measurement proves nothing about the goals, which are for real sizes on a CPU."""
    if about["quick"]:
        return "a smoke run of tiny sizes"
    return "the goals are for a CPU" if about["machine"]["gpus"] else ""


def _disturbed(measured: Spread, floor: float = 0) -> str:
    """Returns why a ratio can't be believed, or nothing: its rounds differ too much, or it is below what can be."""
    if measured.median < floor * (1 - _TOLERANCE):
        return "the floor was slower than what stands on it, so other programs disturbed it"
    if measured.high > _WIDEST * measured.low:
        return "the rounds differ too much, so other programs disturbed them"
    return ""


def _epoch(part: dict[str, Any]) -> Section:
    found = part["contestants"]
    ours, fit, floor = (found[name]["epoch_seconds"] for name in (TRAINYARD, FIT, FLOOR))
    to_fit, to_floor = ratio(fit, ours), ratio(ours, floor)
    why = _not_judged(part["about"])
    return Section(
        name="epoch",
        title="One epoch of the published network",
        how=(
            f"The network {_network(part)} with relu and Adam, {part['images']:,} images, batch size "
            f"{part['batch_size']}. Each contestant is a process of its own and trains in turns with the others, one "
            f"epoch at a time; of {part['epochs']} epochs the first is not counted. `fit` is a plain Keras script: "
            "float arrays, one call of `model.fit`. `trainyard` is what `trainyard train` does by itself; `trainyard "
            "fit` is its other engine. `matrix products` is the floor: the products of forward and backward pass by "
            "NumPy on the CPU, and nothing else. Ratios are taken round by round; the quartiles stand in brackets. "
            "To compile comes before the first epoch and is paid once; for the two `fit` it is what the first epoch "
            "took beyond the median of the others."
        ),
        tables=[
            Table(
                ["contestant", "s per epoch", "quartiles", "fit / it", "it / floor", "s to compile"],
                [
                    [
                        name,
                        *_seconds(one["epoch_seconds"]),
                        str(ratio(fit, one["epoch_seconds"])),
                        str(ratio(one["epoch_seconds"], floor)),
                        "" if name == FLOOR else f"{compile_seconds(one):.1f}",
                    ]
                    for name, one in found.items()
                ],
            )
        ],
        goals=[
            Goal("times as fast as plain fit", to_fit, FIT_GOAL, at_least=True, not_judged=why or _disturbed(to_fit)),
            Goal(
                "times the time of the matrix products", to_floor, FLOOR_GOAL, not_judged=why or _disturbed(to_floor, 1)
            ),
        ],
        notes=[f"XLA {found[TRAINYARD]['xla']}."],
        about=part["about"],
        picture="epoch.png",
    )


def _grid(part: dict[str, Any]) -> Section:
    rows = []
    for cell in part["cells"]:
        ours, fit, floor = (cell["contestants"][name]["epoch_seconds"] for name in (TRAINYARD, FIT, FLOOR))
        rows.append(
            [
                _network(cell),
                str(cell["batch_size"]),
                *(f"{statistics.median(seconds):.3f}" for seconds in (fit, ours, floor)),
                str(ratio(fit, ours)),
                str(ratio(ours, floor)),
            ]
        )
    return Section(
        name="grid",
        title="Over widths and batch sizes",
        how=(
            f"As above, on {part['images']:,} images, {part['epochs']} epochs of which the first is not counted. Where "
            "a network is small, what a step costs beside its products dominates; where it is large, the optimizer's "
            "pass over the weights does."
        ),
        tables=[
            Table(["hidden units", "batch size", "fit s", "trainyard s", "floor s", "fit / trainyard",
                   "trainyard / floor"], rows)
        ],
        goals=[],
        notes=[],
        about=part["about"],
        picture="grid.png",
    )  # fmt: skip


def _xla(part: dict[str, Any]) -> Section:
    rows, notes = [], []
    for network, measured in part["networks"].items():
        medians = {name: statistics.median(one["epoch_seconds"]) for name, one in measured["contestants"].items()}
        rows += [
            [f"{network}: {name}", f"{medians[name]:.3f}", f"{medians[name] / min(medians.values()):.2f}",
             f"{compile_seconds(one):.1f}"]
            for name, one in measured["contestants"].items()
        ]  # fmt: skip
        switched = "with XLA" if measured["auto"].startswith("on") else "without XLA"
        chosen = medians[f"compiled {switched}"]
        other = next(medians[name] for name in medians if name.startswith("compiled") and not name.endswith(switched))
        notes.append(
            f"{network}: `auto` says {measured['auto']}. The compiled program {switched} takes {chosen / other:.2f} "
            "times the time of the other way."
        )
    sizes = ", ".join(
        f"{name} on {one['images']:,} images at batch size {one['batch_size']}"
        for name, one in part["networks"].items()
    )
    device = ", ".join(part["about"]["machine"]["gpus"]) or f"the CPU, {part['about']['machine']['cpu']}"
    return Section(
        name="xla",
        title="With and without XLA",
        how=(
            f"What `training.xla` and `training.engine` can come to, in turns, on {device}: {sizes}. The cnn is two "
            "convolutions (32 and 64 filters of 3 x 3), each with pooling, and the output layer. The first epoch is "
            "not counted."
        ),
        tables=[Table(["network: engine", "s per epoch", "times the fastest", "s to compile"], rows)],
        goals=[],
        notes=notes,
        about=part["about"],
        picture="xla.png",
    )


def _memory(part: dict[str, Any]) -> Section:
    rows = [
        [f"{row['contestant']}, {row['images']:,} images", f"{row['import_mib']:,.0f}", f"{row['peak_mib']:,.0f}",
         f"{row['peak_mib'] - row['import_mib']:,.0f}"]
        for row in part["rows"]
    ]  # fmt: skip
    return Section(
        name="memory",
        title="Memory",
        how=(
            "The most memory that a process had resident which loaded the images and trained one epoch of the "
            f"published network at batch size {part['batch_size']}; images beyond MNIST's are MNIST's, "
            "repeated. The second column is the same after importing TensorFlow and nothing else."
        ),
        tables=[Table(["contestant", "imports alone, MiB", "peak, MiB", "beyond imports, MiB"], rows)],
        goals=[],
        notes=[*_growth(part["rows"]), *(f"Left out: {what}." for what in part["skipped"])],
        about=part["about"],
    )


def _growth(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yields what each further image costs, for each contestant that was measured on few images and on many."""
    for name in (TRAINYARD, FIT):
        found = [row for row in rows if row["contestant"] == name]
        if len(found) > 1:
            few, many = found[0], found[-1]
            kib = 1024 * (many["peak_mib"] - few["peak_mib"]) / (many["images"] - few["images"])
            yield f"{name}: each image beyond {few['images']:,} takes {kib:.2f} KiB."


def _seeds(part: dict[str, Any]) -> Section:
    percent = {engine: [100 * trial["accuracy"] for trial in trials] for engine, trials in part["trials"].items()}
    found = mean_difference(percent["compiled"], percent["fit"])
    farther = max(abs(found.low), abs(found.high))
    rows = [
        [
            engine,
            str(len(values)),
            f"{statistics.mean(values):.3f}",
            f"{statistics.stdev(values):.3f}",
            f"{min(values):.2f} to {max(values):.2f}",
            f"{statistics.median(trial['seconds'] for trial in part['trials'][engine]):.1f}",
        ]
        for engine, values in percent.items()
    ]
    seeds = [trial["seed"] for trial in part["trials"]["compiled"]]
    return Section(
        name="seeds",
        title="The same accuracy",
        how=(
            f"The published recipe, {part['epochs']} epochs, through both engines with the seeds {seeds[0]} to "
            f"{seeds[-1]}; each sees a fresh order of the images every epoch. Accuracy on the test images, in percent. "
            "The engines are equivalent where the whole 90 % confidence interval of the difference of their means "
            "(Welch's t) lies within 0.3 points."
        ),
        tables=[
            Table(["engine", "seeds", "mean accuracy", "standard deviation", "range", "s to train"], rows),
        ],
        goals=[
            Goal(
                "points by which the mean accuracies differ at most (the farther end of the 90 % interval)",
                Spread(farther, farther, farther),
                EQUIVALENCE_GOAL,
                not_judged="a smoke run of tiny sizes" if part["about"]["quick"] else "",
            )
        ],
        notes=[
            f"Mean accuracy, compiled less fit: {found.median:+.3f} points ({found.low:+.3f} to {found.high:+.3f})."
        ],
        about=part["about"],
    )


def _run(part: dict[str, Any]) -> Section:
    walls = {name: [one[name]["wall_seconds"] for one in part["rounds"]] for name in part["rounds"][0]}
    why = _not_judged(part["about"])
    shown = typical_stages(part)
    stages = Table(
        ["stage, s", *shown],
        [
            [words, *(f"{shown[name][stage]:.2f}" if stage in shown[name] else "" for name in shown)]
            for stage, words in STAGES.items()
        ]
        + [["from the shell to the exit", *(f"{sum(seconds.values()):.2f}" for seconds in shown.values())]],
    )
    notes = [
        "Accuracy on the test images: "
        + ", ".join(f"{name} {part['rounds'][-1][name]['test_accuracy']:.4f}" for name in (PLAIN, FRESH))
        + "."
    ]
    return Section(
        name="run",
        title="A whole run, from the shell to the exit",
        how=(
            f"`trainyard train experiment=mnist_baseline` ({part['epochs']} epochs) in turns with a plain Keras script "
            "that trains the same network, evaluates it and saves it, and tracks nothing. The first run ever finds "
            "neither a store nor a compiled program; the others find what it compiled. A round is one of each; "
            f"rounds: {len(part['rounds'])}. The stages are those of the round with the median wall time."
        ),
        tables=[
            Table(
                ["what", "s", "quartiles", "it / plain script", "s beyond tracking=off"],
                [
                    [
                        name,
                        *_seconds(seconds),
                        str(ratio(seconds, walls[PLAIN])),
                        str(difference(seconds, walls[UNTRACKED])) if name in (FRESH, EXISTING) else "",
                    ]
                    for name, seconds in walls.items()
                ],
            ),
            stages,
        ],
        goals=[
            *(
                Goal(f"times the time of the plain script ({name})", ratio(walls[name], walls[PLAIN]), RUN_GOAL,
                     not_judged=why)
                for name in (FIRST, EXISTING)
            ),
            *(
                Goal(f"what tracking adds ({name})", difference(walls[name], walls[UNTRACKED]), TRACKING_GOAL,
                     unit=" s", not_judged=why)
                for name in (FRESH, EXISTING)
            ),
        ],
        notes=notes,
        about=part["about"],
        picture="run.png",
    )  # fmt: skip


def typical_stages(part: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Returns the stages of the plain script and of tracked runs, each from its round with the median wall time."""
    found = {}
    for name in (PLAIN, FIRST, FRESH, EXISTING):
        rounds = sorted((one[name] for one in part["rounds"]), key=lambda one: float(one["wall_seconds"]))
        found[name] = rounds[(len(rounds) - 1) // 2]["stages"]
    return found


def compile_seconds(contestant: dict[str, Any]) -> float:
    """Returns what compiling took: measured by the engine, or what the first epoch of `fit` took beyond the others."""
    if contestant.get("engine") == "compiled":
        return float(contestant["compile_seconds"])
    return max(0.0, float(contestant["first_seconds"] - statistics.median(contestant["epoch_seconds"])))


def _seconds(values: list[float]) -> tuple[str, str]:
    found: Spread = spread(values)
    digits = 3 if found.median < 1 else 2
    return f"{found.median:.{digits}f}", f"{found.low:.{digits}f} to {found.high:.{digits}f}"


def _network(part: dict[str, Any]) -> str:
    return "-".join(map(str, part["hidden_units"]))


_BUILDERS: dict[str, Callable[[dict[str, Any]], Section]] = {
    "epoch": _epoch, "grid": _grid, "xla": _xla, "memory": _memory, "seeds": _seeds, "run": _run,
}  # fmt: skip
