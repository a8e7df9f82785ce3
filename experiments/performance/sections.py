"""Builds the sections of the results: tables of medians and ratios, goals and notes, computed from the raw results.

The page and the terminal show the same sections.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from typing import Any

from experiments.performance.compare_section import compare_section
from experiments.performance.loading_section import loading_section
from experiments.performance.measure_epochs import FIT, MATRIX_PRODUCTS, TRAINYARD
from experiments.performance.measure_run import EXISTING_STORE, FIRST_RUN, NEW_STORE, PLAIN_SCRIPT, UNTRACKED
from experiments.performance.measure_sweep import ONE_BY_ONE, SHELL_LOOP, SWEEP, SWEEP_THREADS, compute_throughputs
from experiments.performance.search_section import search_section
from experiments.performance.section import Section, disturbance_reason, not_judged_reason
from experiments.performance.streaming_section import streaming_section
from experiments.performance.summary_statistics import (
    Goal,
    Quartiles,
    compute_quartiles,
    difference_quartiles,
    ratio_quartiles,
)
from experiments.performance.trials_section import trials_section
from experiments.performance.xla_section import xla_section
from trainyard.evaluation import estimate_difference
from trainyard.reporting.markdown import Table

FIT_GOAL, MATRIX_PRODUCTS_GOAL, RUN_GOAL, TRACKING_GOAL = 4.5, 1.25, 0.4, 2.0
"""Minimum speedup over plain Keras `fit`; maximum time relative to the matrix products; maximum time relative to the
plain script; maximum time that tracking adds, in seconds."""

SHELL_LOOP_GOAL, ONE_BY_ONE_GOAL = 8.0, 1.7
"""Minimum throughput relative to the shell loop, and relative to the same sweep with one trial at a time."""

EQUIVALENCE_GOAL = 0.3
"""Maximum difference in accuracy of equivalent engines, in percentage points."""

STAGES = {
    "before": "Python start, first imports",
    "open": "opening the store, gaps between stages",
    "start": "importing TensorFlow",
    "load": "loading the data",
    "build": "building the model",
    "compile": "compiling",
    "train": "training",
    "evaluate": "evaluating",
    "log": "saving and logging",
    "after": "shutdown",
}
"""Descriptions of the stages of a run, in chronological order."""


def build_sections(parts: dict[str, Any]) -> list[Section]:
    """Returns a section for each part that has results."""
    return [_BUILDERS[name](part) for name, part in parts.items()]


def _epoch(part: dict[str, Any]) -> Section:
    measurements = part["contestants"]
    trainyard, fit, products = (measurements[name]["epoch_seconds"] for name in (TRAINYARD, FIT, MATRIX_PRODUCTS))
    speedup, products_ratio = ratio_quartiles(fit, trainyard), ratio_quartiles(trainyard, products)
    reason = not_judged_reason(part["about"])
    return Section(
        name="epoch",
        title="One epoch of the published network",
        method=(
            f"Trains the published network (hidden layers with {_network(part)} units, ReLU, Adam) on "
            f"{part['images']:,} images with batch size {part['batch_size']}. Each implementation runs in a separate "
            f"process. In each round, every process trains one epoch. The first of {part['epochs']} rounds is a "
            "warm-up and is not counted. The implementations:\n\n"
            "- `fit`: a plain Keras script, with images as float arrays and one call of `model.fit`.\n"
            "- `trainyard`: the default of `trainyard train`.\n"
            "- `trainyard without XLA`: `training.engine=compiled` with `training.xla=off`.\n"
            "- `trainyard fit`: `training.engine=fit`.\n"
            "- `matrix products`: no training, only the matrix products of the forward and backward pass, with NumPy "
            "on the CPU. Their time is the lower bound.\n\n"
            "Compilation happens once, before the first epoch. For `fit` and `trainyard fit` the compile time is an "
            "estimate: the time of the first epoch minus the median of the other epochs."
        ),
        tables=[
            Table(
                ["implementation", "s per epoch", "quartiles", "speedup over fit", "time / matrix products",
                 "compile time, s"],
                [
                    [name, *_seconds(times["epoch_seconds"]), str(ratio_quartiles(fit, times["epoch_seconds"])),
                     str(ratio_quartiles(times["epoch_seconds"], products)),
                     "" if name == MATRIX_PRODUCTS else f"{estimate_compile_seconds(times):.1f}"]
                    for name, times in measurements.items()
                ],
            )
        ],
        goals=[
            Goal("speedup over plain Keras fit", speedup, FIT_GOAL, at_least=True,
                 not_judged_reason=reason or disturbance_reason(speedup)),
            Goal("time relative to the matrix products", products_ratio, MATRIX_PRODUCTS_GOAL,
                 not_judged_reason=reason or disturbance_reason(products_ratio, 1)),
        ],
        notes=[f"With `trainyard`, `training.xla=auto` selects \"{measurements[TRAINYARD]['xla']}\"."],
        provenance=part["about"],
        figure="epoch.png",
    )  # fmt: skip


def _grid(part: dict[str, Any]) -> Section:
    rows = []
    for cell in part["cells"]:
        trainyard, fit, products = (
            cell["contestants"][name]["epoch_seconds"] for name in (TRAINYARD, FIT, MATRIX_PRODUCTS)
        )
        rows.append(
            [
                _network(cell),
                str(cell["batch_size"]),
                *(f"{statistics.median(seconds):.3f}" for seconds in (fit, trainyard, products)),
                str(ratio_quartiles(fit, trainyard)),
                str(ratio_quartiles(trainyard, products)),
            ]
        )
    return Section(
        name="grid",
        title="Different widths and batch sizes",
        method=(
            f"The same measurement as above with other networks and batch sizes, on {part['images']:,} images and with "
            f"{part['epochs']} epochs, of which the first is not counted. Most of the time in addition to the matrix "
            "products is overhead per step for small networks, and the optimizer's update of the weights for large "
            "networks."
        ),
        tables=[
            Table(["hidden units", "batch size", "fit, s", "trainyard, s", "matrix products, s", "fit / trainyard",
                   "trainyard / matrix products"], rows)
        ],
        goals=[],
        notes=[],
        provenance=part["about"],
        figure="grid.png",
    )  # fmt: skip


def _memory(part: dict[str, Any]) -> Section:
    rows = [
        [f"{row['contestant']}, {row['images']:,} images", f"{row['import_mib']:,.0f}", f"{row['peak_mib']:,.0f}",
         f"{row['peak_mib'] - row['import_mib']:,.0f}"]
        for row in part["rows"]
    ]  # fmt: skip
    return Section(
        name="memory",
        title="Memory",
        method=(
            "Peak resident memory of a process that loads the images and trains the published network for one epoch "
            f"with batch size {part['batch_size']}. MNIST is repeated where more images are required than it has. The "
            "memory after imports is the peak after TensorFlow is imported and before images are loaded."
        ),
        tables=[Table(["implementation", "after imports, MiB", "peak, MiB", "difference, MiB"], rows)],
        goals=[],
        notes=[*_growth(part["rows"]), *(f"Not measured: {skipped}." for skipped in part["skipped"])],
        provenance=part["about"],
    )


def _growth(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yields the memory per additional image, for each implementation that was measured with both numbers of images."""
    for name in (TRAINYARD, FIT):
        measured = [row for row in rows if row["contestant"] == name]
        if len(measured) > 1:
            few, many = measured[0], measured[-1]
            kib = 1024 * (many["peak_mib"] - few["peak_mib"]) / (many["images"] - few["images"])
            yield f"{name}: each image in addition to the first {few['images']:,} needs {kib:.2f} KiB."


def _seeds(part: dict[str, Any]) -> Section:
    percent = {engine: [100 * trial["accuracy"] for trial in trials] for engine, trials in part["trials"].items()}
    difference = estimate_difference(percent["compiled"], percent["fit"], confidence=0.9)
    largest = max(abs(difference.low), abs(difference.high))
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
        title="Accuracy of both engines",
        method=(
            f"Trains the published recipe for {part['epochs']} epochs with both engines and the seeds {seeds[0]} to "
            f"{seeds[-1]}. Both engines shuffle the images in each epoch. Accuracies are measured on the test images, "
            "in percent. The engines are equivalent if the 90 % confidence interval of the difference of their mean "
            "accuracies (Welch's t) lies entirely between -0.3 and +0.3 percentage points."
        ),
        tables=[
            Table(["engine", "seeds", "mean accuracy", "standard deviation", "range", "training time, s"], rows),
        ],
        goals=[
            Goal(
                "difference of the mean accuracies in percentage points (largest absolute value in the 90 % interval)",
                Quartiles(largest, largest, largest),
                EQUIVALENCE_GOAL,
                not_judged_reason="quick check with small data" if part["about"]["quick"] else "",
            )
        ],
        notes=[
            f"`compiled` minus `fit`: {difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f}) points."
        ],
        provenance=part["about"],
    )


def _run(part: dict[str, Any]) -> Section:
    wall_seconds = {name: [runs[name]["wall_seconds"] for runs in part["rounds"]] for name in part["rounds"][0]}
    reason = not_judged_reason(part["about"])
    typical = find_typical_stages(part)
    stages = Table(
        ["stage, s", *typical],
        [
            [text, *(f"{typical[name][stage]:.2f}" if stage in typical[name] else "" for name in typical)]
            for stage, text in STAGES.items()
        ]
        + [["total", *(f"{sum(seconds.values()):.2f}" for seconds in typical.values())]],
    )
    notes = [
        "Accuracy on the test images: "
        + ", ".join(f"{name} {part['rounds'][-1][name]['test_accuracy']:.4f}" for name in (PLAIN_SCRIPT, NEW_STORE))
        + "."
    ]
    return Section(
        name="run",
        title="A complete run",
        method=(
            f"Measures `trainyard train experiment=mnist_baseline` ({part['epochs']} epochs) alternately with a plain "
            "Keras script, which trains, evaluates and saves the same network and tracks nothing. Times are "
            "wall-clock times from the start of a command to its exit. The first Trainyard run of a round starts "
            "without a tracking store and with an empty cache; the later runs of the round find its compiled program "
            f"in the cache. `tracking=off` is Trainyard without tracking. Number of rounds: {len(part['rounds'])}. "
            "The stages in each column are from the round with the median time."
        ),
        tables=[
            Table(
                ["run", "s", "quartiles", "time / plain script", "s added by tracking"],
                [
                    [name, *_seconds(seconds), str(ratio_quartiles(seconds, wall_seconds[PLAIN_SCRIPT])),
                     str(difference_quartiles(seconds, wall_seconds[UNTRACKED]))
                     if name in (NEW_STORE, EXISTING_STORE) else ""]
                    for name, seconds in wall_seconds.items()
                ],
            ),
            stages,
        ],
        goals=[
            *(
                Goal(f"time relative to the plain script ({name})",
                     ratio_quartiles(wall_seconds[name], wall_seconds[PLAIN_SCRIPT]), RUN_GOAL,
                     not_judged_reason=reason)
                for name in (FIRST_RUN, EXISTING_STORE)
            ),
            *(
                Goal(f"time added by tracking ({name})",
                     difference_quartiles(wall_seconds[name], wall_seconds[UNTRACKED]), TRACKING_GOAL, unit=" s",
                     not_judged_reason=reason)
                for name in (NEW_STORE, EXISTING_STORE)
            ),
        ],
        notes=notes,
        provenance=part["about"],
        figure="run.png",
    )  # fmt: skip


def find_typical_stages(part: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Returns the stages of the plain script and of tracked runs, each from its round with the median wall time."""
    stages = {}
    for name in (PLAIN_SCRIPT, FIRST_RUN, NEW_STORE, EXISTING_STORE):
        rounds = sorted((runs[name] for runs in part["rounds"]), key=lambda run: float(run["wall_seconds"]))
        stages[name] = rounds[(len(rounds) - 1) // 2]["stages"]
    return stages


def _sweep(part: dict[str, Any]) -> Section:
    throughputs = compute_throughputs(part)
    loop_ratio = ratio_quartiles(throughputs[SWEEP], throughputs[SHELL_LOOP])
    one_by_one_ratio = ratio_quartiles(throughputs[SWEEP], throughputs[ONE_BY_ONE])
    last_round = part["rounds"][-1]
    (sweep,) = last_round[SWEEP]
    loop_accuracies = {
        rate: accuracy for command in last_round[SHELL_LOOP] for rate, accuracy in command["accuracies"].items()
    }
    reason = not_judged_reason(part["about"])
    if not reason and part["about"]["machine"]["threads"] != SWEEP_THREADS:
        reason = f"the goals apply to {SWEEP_THREADS} threads; use --threads {SWEEP_THREADS}"
    return Section(
        name="sweep",
        title="A complete sweep",
        method=(
            "Measures `trainyard sweep experiment=mnist_baseline optimizer.learning_rate=...` with "
            f"{len(sweep['accuracies'])} learning rates, {part['epochs']} epochs per trial and tracking. It alternates "
            "with a shell loop (`loop over autolog`) over a plain Keras script, which trains and evaluates the same "
            "network and logs it with `mlflow.autolog`, and with the same sweep limited to one trial at a time on one "
            "thread. Times are wall-clock times from the start of a command to its exit. Each sweep runs all its "
            "trials and starts without a tracking store and with an empty cache. The complete shell loop would take "
            "too long: each round measures only its processes with the learning rates "
            f"{', '.join(loop_accuracies)}, before, between and after the sweeps. An additional process creates the "
            "store of the shell loop before the first round and is not counted, which favors the shell loop. Trials "
            "per minute are the number of trials divided by the total time of their commands. Number of rounds: "
            f"{len(part['rounds'])}."
        ),
        tables=[
            Table(
                ["command", "trials per minute", "quartiles", "throughput / shell loop", "throughput / one at a time",
                 "s per command"],
                [
                    [name, *_seconds(values), str(ratio_quartiles(values, throughputs[SHELL_LOOP])),
                     str(ratio_quartiles(values, throughputs[ONE_BY_ONE])),
                     f"{_median_wall_seconds(part, name):.1f}"]
                    for name, values in throughputs.items()
                ],
            )
        ],
        goals=[
            Goal("throughput relative to the shell loop", loop_ratio, SHELL_LOOP_GOAL, at_least=True,
                 not_judged_reason=reason or disturbance_reason(loop_ratio)),
            Goal("throughput relative to one trial at a time", one_by_one_ratio, ONE_BY_ONE_GOAL, at_least=True,
                 not_judged_reason=reason or disturbance_reason(one_by_one_ratio)),
        ],
        notes=[
            f"Accuracy on the test images with learning rate {rate}: shell loop {accuracy:.4f}, sweep "
            f"{sweep['accuracies'][rate]:.4f}."
            for rate, accuracy in loop_accuracies.items()
        ],
        provenance=part["about"],
        figure="sweep.png",
    )  # fmt: skip


def _median_wall_seconds(part: dict[str, Any], name: str) -> float:
    return statistics.median(float(run["wall_seconds"]) for commands in part["rounds"] for run in commands[name])


def estimate_compile_seconds(measurement: dict[str, Any]) -> float:
    """Returns the compile time: as measured by the engine, or the first epoch of `fit` minus the median epoch."""
    if measurement.get("engine") == "compiled":
        return float(measurement["compile_seconds"])
    return max(0.0, float(measurement["first_seconds"] - statistics.median(measurement["epoch_seconds"])))


def _seconds(values: list[float]) -> tuple[str, str]:
    quartiles: Quartiles = compute_quartiles(values)
    digits = 3 if quartiles.median < 1 else 2
    return f"{quartiles.median:.{digits}f}", f"{quartiles.low:.{digits}f} to {quartiles.high:.{digits}f}"


def _network(part: dict[str, Any]) -> str:
    return "-".join(map(str, part["hidden_units"]))


_BUILDERS: dict[str, Callable[[dict[str, Any]], Section]] = {
    "epoch": _epoch, "grid": _grid, "xla": xla_section, "memory": _memory, "seeds": _seeds, "run": _run,
    "sweep": _sweep, "search": search_section, "compare": compare_section, "loading": loading_section,
    "streaming": streaming_section, "trials": trials_section,
}  # fmt: skip
