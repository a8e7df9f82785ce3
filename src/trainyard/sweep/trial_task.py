"""The work of a trial: one run, performed in the trial's process. What it prints is the trial's log."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from trainyard.config import build_tree, build_unchecked_config, load_plugins
from trainyard.errors import TrialPruned
from trainyard.evaluation import Trial
from trainyard.runs import ScreenProgress, TrialInfo, run_and_print
from trainyard.sweep.folder import parse_trial_number
from trainyard.sweep.launch.job import report, request_answer
from trainyard.sweep.results import write_result
from trainyard.system import raise_on_signals


@dataclass(frozen=True, slots=True)
class TrialTask:
    """Runs trials of a sweep. It is pickled and sent to the processes of the trials.

    Attributes:
        objective: The metric that ranks the trials, or None.
        prunes: Whether a pruner may stop the trials early.
        parent_run_id: MLflow's id of the sweep's parent run; None if nothing is tracked.
    """

    sweep_id: str
    objective: str | None
    prunes: bool
    parent_run_id: str | None

    def run_planned(self, trial: Trial, folder: Path, threads: int | None) -> None:
        """Runs a planned trial in a folder. `threads` is the default of ``training.threads``."""
        self._run(build_trial_tree(trial, threads), trial.number, trial.label, trial.overrides, folder)

    def __call__(self, tree: DictConfig) -> None:
        """Runs a trial that a launcher of Hydra started; see `trial_runner.FrozenConfigLoader`."""
        job = HydraConfig.get()
        folder = Path(job.runtime.output_dir)
        self._run(tree, parse_trial_number(folder), job.job.name, list(job.overrides.task), folder)

    @raise_on_signals()
    def _run(self, tree: DictConfig, number: int, label: str, overrides: Sequence[str], folder: Path) -> None:
        """Performs the run of a trial, and writes its result; a pruned trial has none."""
        load_plugins()
        config = build_unchecked_config(tree)
        progress = _TrialProgress(prunes=self.prunes)
        trial = TrialInfo(
            self.sweep_id,
            self.parent_run_id,
            number,
            label,
            record_result=lambda result: write_result(result, self.objective),
            prune_reason=lambda: progress.prune_reason,
        )
        with contextlib.suppress(TrialPruned):
            run_and_print(config, folder, overrides, progress, trial)


def build_trial_tree(trial: Trial, threads: int | None) -> DictConfig:
    """Returns the planned config of a trial. `threads` is the default of ``training.threads``."""
    load_plugins()
    tree = build_tree(trial.config, f"trial {trial.number}")
    if tree.training.threads is None:
        tree.training.threads = threads
    return tree


class _TrialProgress(ScreenProgress):
    """Prints a run's progress, and reports each epoch to the sweep, which may prune the trial."""

    def __init__(self, *, prunes: bool) -> None:
        super().__init__()
        self.prune_reason = ""
        self._prunes = prunes

    def epoch(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Prints and reports the epoch's metrics."""
        super().epoch(epoch, epochs, metrics)
        message = (epoch, epochs, dict(metrics))
        if not self._prunes:
            report(message)
            return
        answer = request_answer(message, epoch)
        if epoch < epochs:  # after the last epoch there is nothing left to prune
            self.prune_reason = answer or ""
