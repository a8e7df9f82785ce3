"""What Hydra runs: one run a job, for ``trainyard train`` in this process, for a trial of a sweep in one of its own."""

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

from trainyard.cli.screen import ScreenProgress, print_error, print_result
from trainyard.config.compose import to_run_config
from trainyard.config.registry import load_plugins
from trainyard.errors import ConfigError, TrainyardError, TrialPruned
from trainyard.evaluation.trials import TrialResult
from trainyard.runs.tags import TrialOf
from trainyard.sweep.folder import trial_number
from trainyard.sweep.launch.job import ask, report
from trainyard.sweep.results import write_result
from trainyard.system.signals import signals_raise
from trainyard.system.uris import without_credentials
from trainyard.tracking import read_account

if TYPE_CHECKING:
    from trainyard.runs.result import RunResult


class RunTask:
    """Runs a job, and keeps its failure from Hydra, which would show a traceback.

    Under a sweeper of others failures are handed on.

    Attributes:
        exit_code: What the job came to.
    """

    def __init__(self) -> None:
        self.exit_code = 0

    @signals_raise()
    def __call__(self, tree: DictConfig) -> None:
        """Runs one job, and tells how it went."""
        try:
            _run(tree, ScreenProgress())
        except Exception as error:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise
            self.exit_code = error.exit_code if isinstance(error, TrainyardError) else 1


class TrialTask:
    """Runs a trial of a sweep, in its own process as a rule; what it prints is the trial's log.

    Attributes:
        parent_run_id: MLflow's id of the sweep's own run, None where nothing is tracked; known before the first trial.
    """

    def __init__(self, sweep_id: str, objective: str | None, *, prunes: bool = False) -> None:
        """Takes the sweep's name, what it compares, and whether it may end a trial before its time."""
        self.parent_run_id: str | None = None
        self._prunes = prunes
        self._sweep_id = sweep_id
        self._objective = objective

    @signals_raise()
    def __call__(self, tree: DictConfig) -> float | None:
        """Runs the trial, and returns the sweep's objective."""
        job = HydraConfig.get()
        number = trial_number(Path(job.runtime.output_dir))
        kept: list[TrialResult] = []
        progress = TrialProgress(prunes=self._prunes)
        trial = TrialOf(
            self._sweep_id,
            self.parent_run_id,
            number,
            job.job.name,
            keep=lambda result: kept.append(write_result(result, self._objective)),
            pruned=lambda: progress.pruned,
        )
        try:
            _run(tree, progress, trial)
            return kept[0].objective
        except TrialPruned:
            return None
        except Exception:
            sys.stderr.write(without_credentials(traceback.format_exc()))
            raise


class TrialProgress(ScreenProgress):
    """Prints a run, and tells the sweep of each epoch.

    Attributes:
        pruned: Why the sweep wants the trial ended; empty where it does not.
    """

    def __init__(self, *, prunes: bool = False) -> None:
        """Takes whether the sweep is asked after each epoch if the trial is to go on."""
        super().__init__()
        self.pruned = ""
        self._prunes = prunes

    def epoch(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Prints and reports the epoch's metrics."""
        super().epoch(epoch, epochs, metrics)
        told = (epoch, epochs, dict(metrics))
        if not self._prunes:
            report(told)
        elif epoch < epochs:
            self.pruned = ask(told, epoch) or ""
        else:
            ask(told, epoch)  # there is nothing left to be spared


def _run(tree: DictConfig, progress: ScreenProgress, trial: TrialOf | None = None) -> RunResult:
    """Runs one job, and tells how it went."""
    from trainyard.runs.experiment import run_experiment

    load_plugins()  # in a process of its own they are not yet
    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    try:
        with progress:
            config, overrides = to_run_config(tree), list(job.overrides.task)
            result = run_experiment(config, folder=folder, progress=progress, overrides=overrides, trial=trial)
        print_result(result)
    except KeyboardInterrupt:
        try:
            status = read_account(folder).status or "KILLED"  # FAILED, where the signal came when it had already
            print_error(TrainyardError(f"interrupted: the run is {status}. Its files are in {os.path.relpath(folder)}"))
        except ConfigError:
            print_error(TrainyardError("interrupted: no run had begun"))
        raise
    except TrialPruned as error:
        print_error(TrainyardError(f"pruned {error}. The run's files are in {os.path.relpath(folder)}"))
        raise
    except Exception as error:
        told = error if isinstance(error, TrainyardError) else TrainyardError(f"{type(error).__name__}: {error}")
        print_error(told)
        if (folder / "error.txt").exists():
            where = "" if told is error else ", the traceback in error.txt"
            print_error(TrainyardError(f"the run is FAILED. Its files are in {os.path.relpath(folder)}{where}"))
        raise
    return result
