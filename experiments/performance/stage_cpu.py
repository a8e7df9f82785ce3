"""A plugin that measures the CPU time of each stage of a trial. It appends a line per stage to the file in `VARIABLE`.

The times include those of child processes. The stage ``epochs`` is the part of ``train`` without compiling. The last
line of a trial has the stage ``total``: the CPU time since the process of the trial was started.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainyard.system.progress import StageTimer
from trainyard.training.compiled_engine import CompiledEngine

VARIABLE = "TRAINYARD_BENCH_STAGES"
_LAST_STAGE = "log"

_stage, _run = StageTimer.stage, CompiledEngine.run
_stages: list[str] = []
"""The current stages of the run; empty in a smoke test, which has none."""


@contextlib.contextmanager
def measure_stage(timer: StageTimer, name: str) -> Iterator[None]:
    """Replaces `StageTimer.stage`: also writes the CPU time of the block."""
    with _stage(timer, name), _measure(name):
        _stages.append(name)
        yield
        _stages.pop()
    if name == _LAST_STAGE:
        _write("total", _read_cpu_seconds())


def run_measured(*arguments: Any) -> None:  # noqa: ANN401 - those of the replaced method
    """Replaces `CompiledEngine.run`: also writes the CPU time of the epochs, except in a smoke test."""
    with _measure("epochs") if _stages else contextlib.nullcontext():
        _run(*arguments)


@contextlib.contextmanager
def _measure(name: str) -> Iterator[None]:
    """Writes the CPU time of the block."""
    started = _read_cpu_seconds()
    yield
    _write(name, _read_cpu_seconds() - started)


def _read_cpu_seconds() -> float:
    """Returns the CPU time of this process and its ended children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _write(name: str, seconds: float) -> None:
    """Appends a line to the file."""
    with Path(os.environ[VARIABLE]).open("a") as file:
        file.write(f"{name} {seconds:.3f}\n")


if VARIABLE in os.environ:
    StageTimer.stage = measure_stage  # type: ignore[method-assign, assignment]
    CompiledEngine.run = run_measured  # type: ignore[method-assign, assignment]
