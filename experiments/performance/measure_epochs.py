"""The parts of the benchmark that train in turns: what is measured, of which networks, by whom."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from experiments.performance.training_job import CNN, MLP, MLP_NORM_DROPOUT, PLAIN_FIT, PRODUCTS, PUBLISHED_UNITS, Job
from experiments.performance.training_processes import compete, contestants
from trainyard.system.progress import Progress

FIT, TRAINYARD, NO_XLA, OWN_FIT, FLOOR = (
    "fit", "trainyard", "trainyard without XLA", "trainyard fit", "matrix products",
)  # fmt: skip
"""The contestants, as they are called in results and tables."""

LOOPS = {FIT: (PLAIN_FIT, "auto"), TRAINYARD: ("auto", "auto"), NO_XLA: ("compiled", "off"), OWN_FIT: ("fit", "auto"),
         FLOOR: (PRODUCTS, "auto")}  # fmt: skip
"""Each contestant's loop and XLA; see `Job`."""

XLA_CHOICES = {
    "compiled with XLA": ("compiled", "on"),
    "compiled without XLA": ("compiled", "off"),
    "fit with XLA": ("fit", "on"),
    "fit without XLA": ("fit", "off"),
}
"""What ``training.engine`` and ``training.xla`` can come to."""

_FIT_BYTES_PER_IMAGE = 784 * (1 + 3 * 4)
"""Of plain fit: the pixels as they are stored, and as floats up to three times."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all parts are run with.

    Attributes:
        folder: The images, as four gzipped idx files.
        threads: For TensorFlow and NumPy.
        rounds: How often whole commands are repeated.
        quick: Whether everything is as small as it can be, to see that it works.
        progress: Told of what goes on.
        threads_asked: The threads if they were asked for, else None: whole runs are started as a user would.
    """

    folder: Path
    threads: int
    rounds: int
    quick: bool
    progress: Progress
    threads_asked: int | None = None


def measure_epoch(setting: Setting) -> dict[str, Any]:
    """Measures the published network at batch size 32, ten epochs of which nine count, all contestants."""
    images, epochs = (320, 4) if setting.quick else (60_000, 10)
    jobs = {name: Job(loop, images, epochs, xla=xla) for name, (loop, xla) in LOOPS.items()}
    with contestants({name: loop for name, (loop, _) in LOOPS.items()}, setting.folder, setting.threads) as those:
        found = compete(those, jobs, setting.progress)
    return {
        "images": images,
        "epochs": epochs,
        "batch_size": 32,
        "hidden_units": list(PUBLISHED_UNITS),
        "contestants": found,
    }


def measure_grid(setting: Setting) -> dict[str, Any]:
    """Measures three contestants over batch sizes and widths of one hidden layer, on a part of the images."""
    cells: list[tuple[int, tuple[int, ...]]]
    if setting.quick:
        images, epochs, cells = 320, 3, [(32, (16,)), (64, (32,))]
    else:
        widths = [(units,) for units in (64, 256, 1024, 2048)]
        cells = [*itertools.product((32, 128, 512), widths), (128, PUBLISHED_UNITS), (512, PUBLISHED_UNITS)]
        images, epochs = 12_800, 4
    names = (FIT, TRAINYARD, FLOOR)
    measured = []
    with contestants({name: LOOPS[name][0] for name in names}, setting.folder, setting.threads) as those:
        for batch_size, units in cells:
            setting.progress.detail(f"hidden units {'-'.join(map(str, units))}, batch size {batch_size}")
            jobs = {
                name: Job(LOOPS[name][0], images, epochs, batch_size=batch_size, hidden_units=units) for name in names
            }
            found = compete(those, jobs, setting.progress)
            measured.append({"batch_size": batch_size, "hidden_units": list(units), "contestants": found})
    return {"images": images, "epochs": epochs, "cells": measured}


def measure_xla(setting: Setting) -> dict[str, Any]:
    """Measures both engines with and without XLA on three kinds of networks, and asks what ``auto`` says of each."""
    jobs = {
        MLP: Job("", 12_800, 5),
        MLP_NORM_DROPOUT: Job("", 12_800, 5, network=MLP_NORM_DROPOUT),
        CNN: Job("", 2_560, 3, batch_size=128, network=CNN),
    }
    networks: dict[str, Any] = {}
    with contestants({name: loop for name, (loop, _) in XLA_CHOICES.items()}, setting.folder, setting.threads) as those:
        for network, job in jobs.items():
            images, epochs = (128, 2) if setting.quick else (job.images, job.epochs)
            setting.progress.detail(f"{network}, {images:,} images, batch size {job.batch_size}")
            offers = {
                name: Job(
                    loop, images, epochs, xla=xla, batch_size=job.batch_size, network=network,
                    hidden_units=(16,) if setting.quick else job.hidden_units,
                )
                for name, (loop, xla) in XLA_CHOICES.items()
            }  # fmt: skip
            found = compete(those, offers, setting.progress)
            auto = {contestant.pop("auto") for contestant in found.values()}
            networks[network] = {
                "images": images,
                "batch_size": job.batch_size,
                "auto": " / ".join(sorted(auto)),
                "contestants": found,
            }
    return {"networks": networks}


def measure_memory(setting: Setting) -> dict[str, Any]:
    """Measures the most memory that a process has resident that trains one epoch, for few and for many images."""
    images, batch_size = (320, 32) if setting.quick else (60_000, 500)
    rows, skipped = [], []
    for repeat, name in itertools.product((1, 10), (TRAINYARD, FIT)):
        total = images * repeat
        if name == FIT and (needed := total * _FIT_BYTES_PER_IMAGE) > psutil.virtual_memory().available:
            skipped.append(f"{name} on {total:,} images: it may need {needed / 2**30:.1f} GiB, more than is free")
            continue
        setting.progress.detail(f"{name}, {total:,} images")
        loop, _ = LOOPS[name]
        job = Job(loop, images, 1, batch_size=batch_size, repeat=repeat)
        with contestants({name: loop}, setting.folder, setting.threads) as those:
            imported = those[name].peak_mib
            compete(those, {name: job}, setting.progress)
            rows.append({"contestant": name, "images": total, "import_mib": imported, "peak_mib": those[name].peak_mib})
    return {"batch_size": batch_size, "rows": rows, "skipped": skipped}
