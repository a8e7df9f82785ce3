"""Measures the parts that alternate between epochs of several implementations: epoch, grid and memory."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from experiments.performance.training_job import PLAIN_FIT, PRODUCTS, PUBLISHED_UNITS, TrainingJob
from experiments.performance.training_processes import measure_alternately, start_processes
from trainyard.system.progress import Progress

FIT, TRAINYARD, NO_XLA, TRAINYARD_FIT, MATRIX_PRODUCTS = (
    "fit", "trainyard", "trainyard without XLA", "trainyard fit", "matrix products",
)  # fmt: skip
"""Names of the measured implementations in results and tables."""

IMPLEMENTATIONS = {FIT: (PLAIN_FIT, "auto"), TRAINYARD: ("auto", "auto"), NO_XLA: ("compiled", "off"),
                   TRAINYARD_FIT: ("fit", "auto"), MATRIX_PRODUCTS: (PRODUCTS, "auto")}  # fmt: skip
"""Training loop and XLA setting of each implementation; see `TrainingJob`."""

_FIT_BYTES_PER_IMAGE = 784 * (1 + 3 * 4)
"""Memory that `FIT` needs per image: the pixels as bytes, and up to three copies as float32."""


@dataclass(frozen=True, slots=True)
class BenchmarkSettings:
    """Settings that apply to all parts.

    Attributes:
        folder: Folder with the images, in four gzipped IDX files.
        threads: Number of threads of TensorFlow and NumPy.
        rounds: How often complete commands are repeated.
        quick: Whether to use the smallest possible sizes, to check only that the benchmark works.
        progress: Notified of the progress.
        requested_threads: Value of ``--threads``, or None if it was not given. In that case, complete commands run
            with their default number of threads.
        base: Root folder of another checkout of Trainyard, or None. The part ``trials`` measures both.
        kept_xla: The earlier result of the part ``xla``, to which its new sessions are added, or None.
    """

    folder: Path
    threads: int
    rounds: int
    quick: bool
    progress: Progress
    requested_threads: int | None = None
    base: Path | None = None
    kept_xla: dict[str, Any] | None = None


def measure_epoch(settings: BenchmarkSettings) -> dict[str, Any]:
    """Measures all implementations on the published network: batch size 32, a warm-up epoch and nine other epochs."""
    images, epochs = (320, 4) if settings.quick else (60_000, 10)
    jobs = {name: TrainingJob(loop, images, epochs, xla=xla) for name, (loop, xla) in IMPLEMENTATIONS.items()}
    with start_processes(
        {name: loop for name, (loop, _) in IMPLEMENTATIONS.items()}, settings.folder, settings.threads
    ) as processes:
        measurements = measure_alternately(processes, jobs, settings.progress)
    return {
        "images": images,
        "epochs": epochs,
        "batch_size": 32,
        "hidden_units": list(PUBLISHED_UNITS),
        "contestants": measurements,
    }


def measure_grid(settings: BenchmarkSettings) -> dict[str, Any]:
    """Measures three implementations on some of the images, for several batch sizes and widths of a hidden layer.

    Trainyard uses XLA, as ``auto`` does for a training of many epochs.
    """
    sizes: list[tuple[int, tuple[int, ...]]]
    if settings.quick:
        images, epochs, sizes = 320, 3, [(32, (16,)), (64, (32,))]
    else:
        widths = [(units,) for units in (64, 256, 1024, 2048)]
        sizes = [*itertools.product((32, 128, 512), widths), (128, PUBLISHED_UNITS), (512, PUBLISHED_UNITS)]
        images, epochs = 12_800, 4
    names = (FIT, TRAINYARD, MATRIX_PRODUCTS)
    cells = []
    with start_processes(
        {name: IMPLEMENTATIONS[name][0] for name in names}, settings.folder, settings.threads
    ) as processes:
        for batch_size, units in sizes:
            settings.progress.detail(f"hidden units {'-'.join(map(str, units))}, batch size {batch_size}")
            jobs = {
                name: TrainingJob(
                    IMPLEMENTATIONS[name][0], images, epochs, batch_size=batch_size, hidden_units=units, xla="on"
                )
                for name in names
            }  # fmt: skip
            measurements = measure_alternately(processes, jobs, settings.progress)
            cells.append({"batch_size": batch_size, "hidden_units": list(units), "contestants": measurements})
    return {"images": images, "epochs": epochs, "cells": cells}


def measure_memory(settings: BenchmarkSettings) -> dict[str, Any]:
    """Measures the peak memory of a process that trains one epoch, for the original and ten times as many images."""
    images, batch_size = (320, 32) if settings.quick else (60_000, 500)
    rows, skipped = [], []
    for repeat, name in itertools.product((1, 10), (TRAINYARD, FIT)):
        total = images * repeat
        if name == FIT and (required := total * _FIT_BYTES_PER_IMAGE) > psutil.virtual_memory().available:
            skipped.append(
                f"{name} on {total:,} images, because it may require {required / 2**30:.1f} GiB, more than the "
                "available memory"
            )
            continue
        settings.progress.detail(f"{name}, {total:,} images")
        loop, _ = IMPLEMENTATIONS[name]
        job = TrainingJob(loop, images, 1, batch_size=batch_size, repeat=repeat)
        with start_processes({name: loop}, settings.folder, settings.threads) as processes:
            import_mib = processes[name].peak_mib
            measure_alternately(processes, {name: job}, settings.progress)
            rows.append(
                {"contestant": name, "images": total, "import_mib": import_mib, "peak_mib": processes[name].peak_mib}
            )
    return {"batch_size": batch_size, "rows": rows, "skipped": skipped}
