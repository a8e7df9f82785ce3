"""Runs the benchmark: prepares the images, measures the requested parts, and writes results, page and figures."""

from __future__ import annotations

import shlex
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.performance.figures import draw_figures
from experiments.performance.images import prepare_digits, prepare_mnist
from experiments.performance.measure_accuracy import measure_seeds
from experiments.performance.measure_compare import measure_compare
from experiments.performance.measure_epochs import (
    BenchmarkSettings,
    measure_epoch,
    measure_grid,
    measure_memory,
)
from experiments.performance.measure_loading import measure_loading
from experiments.performance.measure_run import measure_run
from experiments.performance.measure_search import measure_search
from experiments.performance.measure_streaming import measure_streaming
from experiments.performance.measure_sweep import check_tensorboard_installed, measure_sweep
from experiments.performance.measure_trials import measure_trials
from experiments.performance.measure_xla import measure_xla
from experiments.performance.page import render_page
from experiments.performance.results import PARTS, RESULTS_FILE, load_results, write_results
from experiments.performance.section import Section
from experiments.performance.sections import build_sections
from trainyard.errors import ConfigError
from trainyard.reporting.provenance import collect_provenance
from trainyard.system.progress import Progress
from trainyard.system.tensorflow_setup import count_available_cores, import_tensorflow

PAGE_FILE = "README.md"

_MEASURE_FUNCTIONS: dict[str, Callable[[BenchmarkSettings], dict[str, Any]]] = {
    "epoch": measure_epoch,
    "grid": measure_grid,
    "xla": measure_xla,
    "memory": measure_memory,
    "seeds": measure_seeds,
    "run": measure_run,
    "sweep": measure_sweep,
    "search": measure_search,
    "compare": measure_compare,
    "loading": measure_loading,
    "streaming": measure_streaming,
    "trials": measure_trials,
}

_HEADINGS = {
    "epoch": "epoch: one epoch of the published network",
    "grid": "grid: epochs with different widths and batch sizes",
    "xla": "xla: networks with and without XLA",
    "memory": "memory: peak memory",
    "seeds": "seeds: accuracy of both engines with several seeds",
    "run": "run: complete runs and a plain Keras script",
    "sweep": "sweep: complete sweeps and a shell loop over a plain Keras script",
    "search": "search: TPE with pruning and random search",
    "compare": "compare: comparing the runs of a large store, and MLflow's search",
    "loading": "loading: folders of photos, and Keras's data set",
    "streaming": "streaming: images in memory, and images on the disk",
    "trials": "trials: a sweep of small trials",
}


_REPEATED = ("xla", "run", "sweep", "search", "compare", "loading", "streaming", "trials")
"""Parts that measure complete commands in several rounds."""

_WITHOUT_IMAGES = ("xla", "compare", "loading", "streaming", "trials")
"""Parts that do not use the images of MNIST."""


def run_benchmark(
    parts: Sequence[str],
    out: Path,
    *,
    mnist: Path | None = None,
    threads: int | None = None,
    rounds: int = 3,
    quick: bool = False,
    base: Path | None = None,
    keep_sessions: bool = False,
    progress: Progress | None = None,
) -> list[Section]:
    """Measures parts, and writes results, page and figures.

    The results are written after each part, so that an interruption does not lose the parts that are complete.

    Args:
        parts: Names of the parts, from `PARTS`; empty for all.
        out: Folder for results, page and figures. Its results of other parts are kept.
        mnist: Folder with MNIST; None uses the files that ``dataset=mnist`` finds or downloads.
        threads: Number of threads of TensorFlow and NumPy; None for one per core.
        rounds: How often complete commands are measured.
        base: Root folder of another checkout, with which `trials` is compared; None measures only this one.
        keep_sessions: Whether to add the sessions of `xla` to those in the results file, instead of replacing them.
        quick: Whether to use a few images of scikit-learn's digits, to check only that everything works.
        progress: Notified of the progress; None reports no progress.

    Returns:
        The sections of the measured parts.

    Raises:
        ConfigError: If a part is unknown, a required package is missing, `out` has a results file that cannot be
            read, or there is no result to which the sessions of `xla` can be added.
        DatasetError: If a part requires MNIST, and it is missing or damaged.
        TrainingError: If a child process fails. The message contains the end of its stderr.
    """
    if unknown := [part for part in parts if part not in PARTS]:
        raise ConfigError(f"experiments.performance: unknown part {unknown[0]!r}. Available: {', '.join(PARTS)}")
    results = load_results(out)
    selected_parts = [part for part in PARTS if part in (parts or PARTS)]
    if "sweep" in selected_parts:
        check_tensorboard_installed()
    kept_xla = _find_kept_xla(results, selected_parts, out) if keep_sessions else None
    progress = progress or Progress()
    out.mkdir(parents=True, exist_ok=True)
    progress.stage("start")
    import_tensorflow()
    actual_threads = threads or count_available_cores()
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as temporary_folder:
        if all(part in _WITHOUT_IMAGES for part in selected_parts):
            folder = Path(temporary_folder)
        elif quick:
            folder = prepare_digits(Path(temporary_folder))
        else:
            folder = prepare_mnist(mnist, Path(temporary_folder), progress=progress.downloads)
        settings = BenchmarkSettings(
            folder, actual_threads, 1 if quick else rounds, quick, progress, requested_threads=threads, base=base,
            kept_xla=kept_xla,
        )  # fmt: skip
        for part in selected_parts:
            progress.stage(_HEADINGS[part])
            started = time.monotonic()
            measured = _MEASURE_FUNCTIONS[part](settings)
            kept = keep_sessions and part == "xla"
            command = build_repeat_command(part, mnist, threads, rounds, quick=quick, keep_sessions=kept)
            provenance = {
                **collect_provenance(actual_threads, command), "quick": quick, "seconds": time.monotonic() - started,
            }  # fmt: skip
            results[part] = {"about": provenance, **measured}
            write_results(out, results)
    write_report(out, load_results(out))
    return [section for section in build_sections(load_results(out)) if section.name in selected_parts]


def _find_kept_xla(results: dict[str, Any], selected_parts: Sequence[str], out: Path) -> dict[str, Any]:
    """Returns the earlier result of the part `xla`. Raises ConfigError if there is none, or `xla` is not measured."""
    if "xla" not in selected_parts:
        raise ConfigError("--keep-sessions: expected the part xla, got only other parts. Name xla, or omit the option")
    if "xla" not in results:
        raise ConfigError(
            f"--keep-sessions: expected an earlier result of xla in {out / RESULTS_FILE}, found none. Omit the option "
            "for the first measurement"
        )
    kept: dict[str, Any] = results["xla"]
    return kept


def write_report(out: Path, parts: dict[str, Any]) -> None:
    """Writes the page and the figures of the results."""
    (out / PAGE_FILE).write_text(render_page(build_sections(parts)))
    draw_figures(parts, out)


def build_repeat_command(
    part: str, mnist: Path | None, threads: int | None, rounds: int, *, quick: bool, keep_sessions: bool = False
) -> str:
    """Returns the command that repeats the measurement of a part, with a placeholder for the folder of MNIST."""
    command = ["python", "-m", "experiments.performance", part]
    command += ["--mnist", "FOLDER"] if mnist else []
    command += ["--threads", str(threads)] if threads else []
    command += ["--rounds", str(rounds)] if part in _REPEATED and not quick else []
    command += ["--keep-sessions"] if keep_sessions else []
    return shlex.join([*command, *(["--quick"] if quick else [])])
