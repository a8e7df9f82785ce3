"""Contestants that take turns: each a child process of its own, which trains one epoch at its turn and then waits."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from experiments.performance.training_job import Job
from trainyard.errors import TrainingError
from trainyard.system.progress import Progress

ROOT = Path(__file__).parents[2]
"""The clone, from which child processes import this package."""

_LAST_WORDS = 30
"""Lines of a failed child's stderr that are shown."""


_THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)  # fmt: skip
"""What NumPy's libraries and TensorFlow take their threads from, where a program does not say."""


class Contestant:
    """A child process that waits for jobs."""

    def __init__(self, name: str, loop: str, folder: Path, threads: int) -> None:
        """Starts it.

        Args:
            name: What it is called in errors.
            loop: What it will be told to run; see `Job`.
            folder: The images.
            threads: For TensorFlow and NumPy.
        """
        self.name = name
        self.peak_mib = 0.0
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the contestant
        self._cache = tempfile.TemporaryDirectory(prefix="trainyard-bench-")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "experiments.performance.training_child", str(folder), str(threads), loop],
            env=child_environment(threads, Path(self._cache.name)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end_process(self._process)
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if stream:
                    stream.close()
        self._errors.close()
        self._cache.cleanup()

    def await_start(self) -> None:
        """Returns when its imports are done."""
        self.peak_mib = float(self._answer()["peak_mib"])

    def prepare(self, job: Job) -> dict[str, Any]:
        """Has it build and compile; returns what it says of that."""
        return self._order(job.to_line())

    def run_epoch(self) -> float:
        """Has it train one epoch; returns the seconds."""
        answer = self._order("epoch")
        self.peak_mib = answer["peak_mib"]
        return float(answer["seconds"])

    def _order(self, line: str) -> dict[str, Any]:
        assert self._process.stdin  # noqa: S101 - a pipe was asked for
        with contextlib.suppress(BrokenPipeError):  # what it died of is found where its answer is missing
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout  # noqa: S101 - a pipe was asked for
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._errors.seek(0)
            raise failed_child(f"the contestant {self.name!r}", code, self._errors.read().decode(errors="replace"))
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.contextmanager
def contestants(loops: Mapping[str, str], folder: Path, threads: int) -> Iterator[dict[str, Contestant]]:
    """Starts contestants, all at once, and yields them when all wait for a job; they end with the block.

    Args:
        loops: The name of each, and its loop.
        folder: The images.
        threads: For each of them.
    """
    with contextlib.ExitStack() as stack:
        found = {name: stack.enter_context(Contestant(name, loop, folder, threads)) for name, loop in loops.items()}
        for contestant in found.values():
            contestant.await_start()
        yield found


def compete(those: Mapping[str, Contestant], jobs: Mapping[str, Job], progress: Progress) -> dict[str, dict[str, Any]]:
    """Has contestants train in turns, epoch by epoch.

    They build and compile one after the other, so that none disturbs another's clock. The first epoch of each warms
    up and is kept apart.

    Args:
        those: By name, in the order of their turns.
        jobs: What each trains, all for the same number of epochs.
        progress: Told of each epoch.

    Returns:
        By name: what it said when it was ready, ``first_seconds``, and ``epoch_seconds``, a list with one per round.
    """
    found = {name: contestant.prepare(jobs[name]) for name, contestant in those.items()}
    rounds = min(job.epochs for job in jobs.values())
    seconds: dict[str, list[float]] = {name: [] for name in those}
    for number in range(1, rounds + 1):
        for place, (name, contestant) in enumerate(those.items(), start=1):
            seconds[name].append(contestant.run_epoch())
            progress.step(number, rounds, place, len(those))
    for name, (first, *others) in seconds.items():
        found[name] |= {"first_seconds": first, "epoch_seconds": others}
    return found


def child_environment(threads: int | None, cache: Path) -> dict[str, str]:
    """Returns the environment of a child: without a tracking server, and with a cache of its own.

    Args:
        threads: For NumPy and TensorFlow; None: as they find it right.
        cache: Where compiled programs are kept; an empty folder makes the child compile.
    """
    own = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    own |= {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # contestants share the device
        "TF_XLA_FLAGS": re.sub(r"--tf_xla_persistent_cache\S*", "", own.get("TF_XLA_FLAGS", "")).strip(),
        "XDG_CACHE_HOME": str(cache),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), own.get("PYTHONPATH", "")])),
    }
    if threads is not None:
        own |= dict.fromkeys(_THREAD_VARIABLES, str(threads))
    return own


def end_process(process: subprocess.Popen[Any]) -> None:
    """Ends a child that leads a process group, with all that it started; one that is gone is only waited for."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)


def failed_child(what: str, code: int, errors: str) -> TrainingError:
    """Returns the error of a child that ended before its work was done.

    Args:
        what: Which one.
        code: Its exit code; below 0 the signal that ended it.
        errors: What it wrote to stderr.
    """
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    advice = " Is there enough memory? Close other programs, or choose other parts." if code == -signal.SIGKILL else ""
    words = "\n".join(errors.strip().splitlines()[-_LAST_WORDS:]) or "(it said nothing)"
    return TrainingError(f"{what} {how}.{advice} Its last words:\n{words}")
