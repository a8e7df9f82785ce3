"""One benchmark from beginning to end: the images, the parts that are asked for, results, page, pictures."""

from __future__ import annotations

import shlex
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.performance.figures import draw_pictures
from experiments.performance.images import provide_digits, provide_mnist
from experiments.performance.measure_accuracy import measure_seeds
from experiments.performance.measure_compare import measure_compare
from experiments.performance.measure_epochs import Setting, measure_epoch, measure_grid, measure_memory, measure_xla
from experiments.performance.measure_run import measure_run
from experiments.performance.measure_search import measure_search
from experiments.performance.measure_sweep import measure_sweep, require_peer
from experiments.performance.page import write_page
from experiments.performance.results import PARTS, load_results, save_results
from experiments.performance.section import Section
from experiments.performance.sections import build_sections
from trainyard.errors import ConfigError
from trainyard.reporting.provenance import collect_provenance
from trainyard.system.progress import Progress
from trainyard.system.tensorflow_setup import available_cores, import_tensorflow

PAGE = "README.md"

_MEASURES: dict[str, Callable[[Setting], dict[str, Any]]] = {
    "epoch": measure_epoch,
    "grid": measure_grid,
    "xla": measure_xla,
    "memory": measure_memory,
    "seeds": measure_seeds,
    "run": measure_run,
    "sweep": measure_sweep,
    "search": measure_search,
    "compare": measure_compare,
}

_HEADINGS = {
    "epoch": "One epoch of the published network, in turns",
    "grid": "The same over widths and batch sizes",
    "xla": "With and without XLA",
    "memory": "Memory",
    "seeds": "The published recipe with many seeds, through both engines",
    "run": "Whole runs, in turns with a plain script",
    "sweep": "Whole sweeps, in turns with a shell loop over a plain script",
    "search": "Searches: TPE with pruning, in turns with random search",
    "compare": "Comparing the runs of a large store, in turns with MLflow's own search",
}


_REPEATED = ("run", "sweep", "search", "compare")
"""The parts that are measured in rounds of whole commands."""

_WITHOUT_IMAGES = ("compare",)
"""The parts that train on none of the images."""


def run_benchmark(
    parts: Sequence[str],
    out: Path,
    *,
    mnist: Path | None = None,
    threads: int | None = None,
    rounds: int = 3,
    quick: bool = False,
    progress: Progress | None = None,
) -> list[Section]:
    """Measures parts and writes results, page and pictures; after each part, so that none is lost.

    Args:
        parts: Which, of `PARTS`; none: all.
        out: The folder to write to. Its results of other parts are kept.
        mnist: The folder with MNIST; None: as ``dataset=mnist`` finds it.
        threads: For TensorFlow and NumPy; None: one per core.
        rounds: How often whole commands are repeated.
        quick: Whether to measure tiny sizes of scikit-learn's digits, to see that everything works.
        progress: Told of what goes on; None: silence.

    Returns:
        The parts that were measured, as they are shown.

    Raises:
        ConfigError: If a part is unknown or lacks a package, or the folder holds something else's results.
        DatasetError: If a part wants MNIST, and it is absent or damaged.
        TrainingError: If a child process fails; shows its last words.
    """
    if unknown := [part for part in parts if part not in PARTS]:
        raise ConfigError(f"experiments.performance: unknown part {unknown[0]!r}. Available: {', '.join(PARTS)}")
    results = load_results(out)
    wanted = [part for part in PARTS if part in (parts or PARTS)]
    if "sweep" in wanted:
        require_peer()
    progress = progress or Progress()
    out.mkdir(parents=True, exist_ok=True)
    progress.stage("start")
    import_tensorflow()
    used = threads or available_cores()
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as spare:
        if all(part in _WITHOUT_IMAGES for part in wanted):
            folder = Path(spare)
        elif quick:
            folder = provide_digits(Path(spare))
        else:
            folder = provide_mnist(mnist, Path(spare), progress=progress.downloads)
        setting = Setting(folder, used, 1 if quick else rounds, quick, progress, threads_asked=threads)
        for part in wanted:
            progress.stage(_HEADINGS[part])
            began = time.monotonic()
            measured = _MEASURES[part](setting)
            command = repeat_command(part, mnist, threads, rounds, quick=quick)
            about = {**collect_provenance(used, command), "quick": quick, "seconds": time.monotonic() - began}
            results[part] = {"about": about, **measured}
            save_results(out, results)
    write_report(out, load_results(out))
    return [section for section in build_sections(load_results(out)) if section.name in wanted]


def write_report(out: Path, parts: dict[str, Any]) -> None:
    """Writes the page and the pictures of results."""
    (out / PAGE).write_text(write_page(build_sections(parts)))
    draw_pictures(parts, out)


def repeat_command(part: str, mnist: Path | None, threads: int | None, rounds: int, *, quick: bool) -> str:
    """Returns the command that measures a part again; where MNIST lies is left to whoever repeats it."""
    command = ["python", "-m", "experiments.performance", part]
    command += ["--mnist", "FOLDER"] if mnist else []
    command += ["--threads", str(threads)] if threads else []
    command += ["--rounds", str(rounds)] if part in _REPEATED and not quick else []
    return shlex.join([*command, *(["--quick"] if quick else [])])
