"""The task functions that Hydra calls: one run for ``trainyard train``, or one trial of a sweep."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from trainyard.cli.terminal import ScreenProgress, print_error, print_result
from trainyard.config import build_run_config, load_plugins
from trainyard.errors import ConfigError, TrainyardError, TrialPruned
from trainyard.evaluation import TrialResult
from trainyard.runs import TrialInfo
from trainyard.sweep import parse_trial_number, report, request_answer, write_result
from trainyard.system import raise_on_signals, redact_credentials
from trainyard.tracking import load_run_record, names

if TYPE_CHECKING:
    from trainyard.runs import RunResult


class RunTask:
    """Runs one job in this process, and hides a failure from Hydra, which would print a traceback.

    If another sweeper than Trainyard's runs the job, a failure is raised.

    Attributes:
        exit_code: The exit code of the job; 0 if it succeeded.
    """

    def __init__(self) -> None:
        self.exit_code = 0

    @raise_on_signals()
    def __call__(self, tree: DictConfig) -> None:
        """Runs the job, and prints its progress and its result."""
        try:
            _run_job(tree, ScreenProgress())
        except Exception as error:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise
            self.exit_code = error.exit_code if isinstance(error, TrainyardError) else 1


class TrialTask:
    """Runs one trial of a sweep, usually in a separate process. What it prints is the trial's log.

    Attributes:
        parent_run_id: MLflow's id of the sweep's parent run; None if nothing is tracked. Set before the first trial.
    """

    def __init__(self, sweep_id: str, objective: str | None, *, prunes: bool = False) -> None:
        """Creates the task.

        Args:
            sweep_id: The name of the sweep.
            objective: The metric that ranks the trials, or None.
            prunes: Whether a pruner may stop the trial early.
        """
        self.parent_run_id: str | None = None
        self._prunes = prunes
        self._sweep_id = sweep_id
        self._objective = objective

    @raise_on_signals()
    def __call__(self, tree: DictConfig) -> float | None:
        """Runs the trial, and returns its value of the objective; None without an objective, or if it was pruned."""
        job = HydraConfig.get()
        number = parse_trial_number(Path(job.runtime.output_dir))
        results: list[TrialResult] = []
        progress = TrialProgress(prunes=self._prunes)
        trial = TrialInfo(
            self._sweep_id,
            self.parent_run_id,
            number,
            job.job.name,
            record_result=lambda result: results.append(write_result(result, self._objective)),
            prune_reason=lambda: progress.prune_reason,
        )
        try:
            _run_job(tree, progress, trial)
            return results[0].objective
        except TrialPruned:
            return None
        except Exception:
            sys.stderr.write(redact_credentials(traceback.format_exc()))
            raise


class TrialProgress(ScreenProgress):
    """Prints a run's progress, and reports each epoch to the sweep.

    Attributes:
        prune_reason: Why the sweep stops the trial early; empty if it does not.
    """

    def __init__(self, *, prunes: bool = False) -> None:
        """Creates the progress; `prunes`: whether the sweep decides after each epoch if the trial continues."""
        super().__init__()
        self.prune_reason = ""
        self._prunes = prunes

    def epoch(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Prints and reports the epoch's metrics."""
        super().epoch(epoch, epochs, metrics)
        message = (epoch, epochs, dict(metrics))
        if not self._prunes:
            report(message)
        elif epoch < epochs:
            self.prune_reason = request_answer(message, epoch) or ""
        else:
            request_answer(message, epoch)  # after the last epoch there is nothing left to prune


def _run_job(tree: DictConfig, progress: ScreenProgress, trial: TrialInfo | None = None) -> RunResult:
    """Runs one job, and prints its result. If the job fails, prints the error and raises it again."""
    from trainyard.runs import run_experiment

    load_plugins()  # a separate process has not loaded them yet
    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    try:
        with progress:
            config, overrides = build_run_config(tree), list(job.overrides.task)
            result = run_experiment(config, folder=folder, progress=progress, overrides=overrides, trial=trial)
        print_result(result)
    except KeyboardInterrupt:
        try:
            run = load_run_record(folder)
            status = run.status if run.ended else "KILLED"  # FAILED, if the run failed before the signal
            print_error(TrainyardError(f"interrupted: the run is {status}. Its files are in {os.path.relpath(folder)}"))
        except ConfigError:
            print_error(TrainyardError("interrupted before the run started"))
        raise
    except TrialPruned as error:
        print_error(TrainyardError(f"pruned {error}. The run's files are in {os.path.relpath(folder)}"))
        raise
    except Exception as error:
        printed_error = (
            error if isinstance(error, TrainyardError) else TrainyardError(f"{type(error).__name__}: {error}")
        )
        print_error(printed_error)
        if (folder / names.ERROR_FILE).exists():
            hint = "" if printed_error is error else f"; the traceback is in {names.ERROR_FILE}"
            print_error(TrainyardError(f"the run is FAILED. Its files are in {os.path.relpath(folder)}{hint}"))
        raise
    return result
