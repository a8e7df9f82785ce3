"""Child processes that train alternately: each trains one epoch when the benchmark requests it, and then waits."""

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

from experiments.performance.training_job import TrainingJob
from trainyard.errors import TrainingError
from trainyard.system.processes import end_process_group
from trainyard.system.progress import Progress

ROOT = Path(__file__).parents[2]
"""Root of the git clone, from which child processes import this package."""

_STDERR_LINES = 30
"""Number of last lines of a failed child's stderr that the error message shows."""


_THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)  # fmt: skip
"""Environment variables that set the default number of threads of TensorFlow and of the libraries that NumPy uses."""


class TrainingProcess:
    """A child process that waits for training jobs."""

    def __init__(self, name: str, loop: str, folder: Path, threads: int, *, module: str = "training_child") -> None:
        """Starts the child process.

        Args:
            name: Name of the process in error messages.
            loop: Training loop of all its jobs; see `TrainingJob`.
            folder: Folder with the images.
            threads: Number of threads of TensorFlow and NumPy.
            module: Module of this package that the process runs.
        """
        self.name = name
        self.peak_mib = 0.0
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._cache = tempfile.TemporaryDirectory(prefix="trainyard-bench-")
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"experiments.performance.{module}", str(folder), str(threads), loop],
            env=build_child_environment(threads, Path(self._cache.name)),
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
        end_process_group(self._process)
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if stream:
                    stream.close()
        self._errors.close()
        self._cache.cleanup()

    def wait_until_ready(self) -> None:
        """Waits until the process has finished its imports."""
        self.peak_mib = float(self._read_response()["peak_mib"])

    def prepare(self, job: TrainingJob) -> dict[str, Any]:
        """Builds and compiles the network of a job; returns the response, for example the compile time."""
        return self.request(job.to_json())

    def run_epoch(self) -> float:
        """Trains one epoch; returns its duration in seconds."""
        response = self.request("epoch")
        self.peak_mib = response["peak_mib"]
        return float(response["seconds"])

    def request(self, line: str) -> dict[str, Any]:
        """Sends a request of one line; returns the response."""
        assert self._process.stdin  # noqa: S101 - the process was started with a pipe
        with contextlib.suppress(BrokenPipeError):  # `_read_response` raises the error of a process that has ended
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        return self._read_response()

    def _read_response(self) -> dict[str, Any]:
        assert self._process.stdout  # noqa: S101 - the process was started with a pipe
        line = self._process.stdout.readline()
        if not line:
            exit_code = self._process.wait()
            self._errors.seek(0)
            raise child_process_error(
                f"the training process {self.name!r}", exit_code, self._errors.read().decode(errors="replace")
            )
        response: dict[str, Any] = json.loads(line)
        return response


@contextlib.contextmanager
def start_processes(loops: Mapping[str, str], folder: Path, threads: int) -> Iterator[dict[str, TrainingProcess]]:
    """Starts training processes at the same time and yields them when all are ready; ends them with the block.

    Args:
        loops: The training loop of each process, by name.
        folder: Folder with the images.
        threads: Number of threads of each process.
    """
    with contextlib.ExitStack() as stack:
        processes = {
            name: stack.enter_context(TrainingProcess(name, loop, folder, threads)) for name, loop in loops.items()
        }
        for process in processes.values():
            process.wait_until_ready()
        yield processes


def measure_alternately(
    processes: Mapping[str, TrainingProcess], jobs: Mapping[str, TrainingJob], progress: Progress
) -> dict[str, dict[str, Any]]:
    """Trains one epoch in each process, then the next epoch in each process, and so forth.

    The processes build and compile one after the other, so that none slows another down. The first epoch of each
    process is a warm-up and is reported separately.

    Args:
        processes: The processes by name, in the order in which they train.
        jobs: The job of each process, by name; all have the same number of epochs.
        progress: Notified of each epoch.

    Returns:
        By name: the response to `TrainingProcess.prepare`, ``first_seconds``, and ``epoch_seconds``, a list of the
        durations of the other epochs.
    """
    measurements = {name: process.prepare(jobs[name]) for name, process in processes.items()}
    rounds = min(job.epochs for job in jobs.values())
    seconds: dict[str, list[float]] = {name: [] for name in processes}
    for number in range(1, rounds + 1):
        for position, (name, process) in enumerate(processes.items(), start=1):
            seconds[name].append(process.run_epoch())
            progress.step(number, rounds, position, len(processes))
    for name, (first, *others) in seconds.items():
        measurements[name] |= {"first_seconds": first, "epoch_seconds": others}
    return measurements


def build_child_environment(threads: int | None, cache: Path) -> dict[str, str]:
    """Returns the environment variables of a child process: no tracking server, and a separate cache.

    Args:
        threads: Number of threads of NumPy and TensorFlow; None uses their defaults.
        cache: Folder for compiled programs. If it is empty, the child compiles everything.
    """
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment |= {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # the training processes share the GPU
        "TF_XLA_FLAGS": re.sub(r"--tf_xla_persistent_cache\S*", "", environment.get("TF_XLA_FLAGS", "")).strip(),
        "XDG_CACHE_HOME": str(cache),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH", "")])),
    }
    if threads is not None:
        environment |= dict.fromkeys(_THREAD_VARIABLES, str(threads))
    return environment


def child_process_error(subject: str, exit_code: int, stderr: str) -> TrainingError:
    """Returns the error for a child process that failed.

    Args:
        subject: The process, as named in the message.
        exit_code: Its exit code; the negative number of a signal if the signal ended it.
        stderr: Its output on stderr.
    """
    reason = f"was ended by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"ended with exit code {exit_code}"
    advice = (
        " The machine may have run out of memory: close other programs, or measure other parts."
        if exit_code == -signal.SIGKILL
        else ""
    )
    last_lines = "\n".join(stderr.strip().splitlines()[-_STDERR_LINES:]) or "(empty)"
    return TrainingError(f"{subject} {reason}.{advice} The end of its stderr:\n{last_lines}")
