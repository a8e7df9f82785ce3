"""Results in words and tables: what each part measured, medians and ratios, and whether each goal is met.

Everything here is computed from the raw numbers in the results; screen and page show the same sections.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from typing import Any

from experiments.performance.compare_section import compare_section
from experiments.performance.measure_epochs import FIT, FLOOR, TRAINYARD
from experiments.performance.measure_run import EXISTING, FIRST, FRESH, PLAIN, UNTRACKED
from experiments.performance.measure_sweep import LOOP, ONE_BY_ONE, SWEEP, SWEEP_THREADS, throughputs
from experiments.performance.search_section import search_section
from experiments.performance.section import Section, disturbed, not_judged
from experiments.performance.summary_statistics import Goal, Spread, difference, ratio, spread
from trainyard.evaluation.intervals import estimate_difference
from trainyard.reporting.markdown import Table

FIT_GOAL, FLOOR_GOAL, RUN_GOAL, TRACKING_GOAL = 4.5, 1.25, 0.4, 2.0
"""At least so many times as fast as plain fit; at most so many times the floor, the plain script, and seconds."""

LOOP_GOAL, ONE_BY_ONE_GOAL = 8.0, 1.7
"""At least so many times the throughput of the loop, and of the same sweep one trial at a time."""

EQUIVALENCE_GOAL = 0.3
"""Within so many percent points of accuracy two engines count as equivalent."""

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


def build_sections(parts: dict[str, Any]) -> list[Section]:
    """Returns a section per part that there are results of."""
    return [_BUILDERS[name](part) for name, part in parts.items()]


def _epoch(part: dict[str, Any]) -> Section:
    found = part["contestants"]
    ours, fit, floor = (found[name]["epoch_seconds"] for name in (TRAINYARD, FIT, FLOOR))
    to_fit, to_floor = ratio(fit, ours), ratio(ours, floor)
    why = not_judged(part["about"])
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
            Goal("times as fast as plain fit", to_fit, FIT_GOAL, at_least=True, not_judged=why or disturbed(to_fit)),
            Goal(
                "times the time of the matrix products", to_floor, FLOOR_GOAL, not_judged=why or disturbed(to_floor, 1)
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
    found = estimate_difference(percent["compiled"], percent["fit"], confidence=0.9)
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
        notes=[f"Mean accuracy, compiled less fit: {found.value:+.3f} points ({found.low:+.3f} to {found.high:+.3f})."],
        about=part["about"],
    )


def _run(part: dict[str, Any]) -> Section:
    walls = {name: [one[name]["wall_seconds"] for one in part["rounds"]] for name in part["rounds"][0]}
    why = not_judged(part["about"])
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


def _sweep(part: dict[str, Any]) -> Section:
    speeds = throughputs(part)
    to_loop, to_one = ratio(speeds[SWEEP], speeds[LOOP]), ratio(speeds[SWEEP], speeds[ONE_BY_ONE])
    last = part["rounds"][-1]
    (swept,) = last[SWEEP]
    turns = {rate: accuracy for turn in last[LOOP] for rate, accuracy in turn["accuracies"].items()}
    why = not_judged(part["about"])
    if not why and part["about"]["machine"]["threads"] != SWEEP_THREADS:
        why = f"the goals are for {SWEEP_THREADS} cores; see --threads"
    return Section(
        name="sweep",
        title="A whole sweep, from the shell to the exit",
        how=(
            "`trainyard sweep experiment=mnist_baseline optimizer.learning_rate=...` with "
            f"{len(swept['accuracies'])} learning rates, {part['epochs']} epochs each, tracked, in turns with a shell "
            "loop over a plain Keras script that trains the same network, evaluates it and is logged by "
            "`mlflow.autolog`, and with the same sweep one trial at a time on one thread. Every command is timed from "
            "the shell to its exit. A sweep is timed whole, all its trials, and is a user's first: it finds neither a "
            "store nor anything in a cache. Of the loop, each round has the processes of the learning rates "
            f"{', '.join(turns)}, around the sweeps; a process before the first round made its store and is not "
            "counted, which favours the loop. Trials per minute are trials over the seconds of their commands; rounds: "
            f"{len(part['rounds'])}."
        ),
        tables=[
            Table(
                ["what", "trials per minute", "quartiles", "it / loop", "it / one at a time", "s per command"],
                [
                    [
                        name,
                        *_seconds(values),
                        str(ratio(values, speeds[LOOP])),
                        str(ratio(values, speeds[ONE_BY_ONE])),
                        f"{_median_wall(part, name):.1f}",
                    ]
                    for name, values in speeds.items()
                ],
            )
        ],
        goals=[
            Goal("times the throughput of the loop", to_loop, LOOP_GOAL, at_least=True,
                 not_judged=why or disturbed(to_loop)),
            Goal("times the throughput of one trial at a time", to_one, ONE_BY_ONE_GOAL, at_least=True,
                 not_judged=why or disturbed(to_one)),
        ],
        notes=[
            f"Accuracy on the test images at the learning rate {rate}: loop {accuracy:.4f}, sweep "
            f"{swept['accuracies'][rate]:.4f}."
            for rate, accuracy in turns.items()
        ],
        about=part["about"],
        picture="sweep.png",
    )  # fmt: skip


def _median_wall(part: dict[str, Any], name: str) -> float:
    return statistics.median(float(command["wall_seconds"]) for one in part["rounds"] for command in one[name])


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
    "epoch": _epoch, "grid": _grid, "xla": _xla, "memory": _memory, "seeds": _seeds, "run": _run, "sweep": _sweep,
    "search": search_section, "compare": compare_section,
}  # fmt: skip
