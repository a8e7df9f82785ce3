"""The sweep's own run in MLflow: what its trials came to so far, and at the end the table of them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from trainyard.errors import TrackingError
from trainyard.evaluation.ranking import higher_is_better
from trainyard.evaluation.trials import SweepListener, Trial, TrialResult
from trainyard.reporting.leaderboard import TABLE, markdown_table
from trainyard.runs.sync import sync_run
from trainyard.runs.tags import origin_tags
from trainyard.sweep.launch.devices import RAY_LAUNCHER
from trainyard.sweep.plan import Plan
from trainyard.sweep.scheduler import Tally
from trainyard.sweep.summary import Conclusion, describe_swept
from trainyard.system.environment import read_git_state
from trainyard.system.uris import without_credentials
from trainyard.tracking import ParentRun
from trainyard.tracking.sweep_run import SUBFOLDER


class SweepRun(SweepListener):
    """Logs a sweep to the store; where nothing is tracked it logs nothing."""

    def __init__(self, plan: Plan, tally: Tally, tell: Callable[[str], None]) -> None:
        """Prepares the run; the store is not asked yet.

        Args:
            plan: Of the sweep.
            tally: What became of them, which changes while the sweep goes on.
            tell: Told when the store fails.
        """
        self._plan = plan
        self._tally = tally
        self._run = ParentRun(tell)
        self._tell = tell
        self._trials = {trial.number: trial for trial in plan.trials}
        on_ray = plan.hydra_section.launcher._target_ == RAY_LAUNCHER
        self._elsewhere: tuple[()] | None = None if on_ray else ()  # Ray leaves no task to itself

    @contextlib.contextmanager
    def opened(self, earlier_run_id: str | None) -> Iterator[None]:
        """Opens the run for the time of the block, or reopens that of an earlier start, and closes it as what it is.

        FINISHED where every trial is done, KILLED where a signal ended the block, FAILED otherwise.

        Raises:
            TrackingError: If the store failed in the middle of a sweep that is else sound.
        """
        plan = self._plan
        with contextlib.closing(self._run):
            if plan.uri is not None:
                self._run.open(
                    plan.uri,
                    plan.experiment,
                    plan.notes,
                    name=f"sweep {plan.name}",
                    tags=self._tags(),
                    params=self._params(),
                    earlier_run_id=earlier_run_id,
                )
            try:
                yield
                failure = self._end()
            except BaseException as error:
                self._run.set_tags({"error": without_credentials(f"{type(error).__name__}: {error}")})
                killed = isinstance(error, KeyboardInterrupt)
                if killed and self._run.run_id is None:
                    self._run.break_off()
                else:
                    self._run.close_orphans(elsewhere=self._elsewhere)
                    self._run.end("KILLED" if killed else "FAILED")
                raise
        if failure:
            raise TrackingError(f"{failure}. Nothing is lost: the sweep's folder holds all of it")

    def confirm(self) -> str | None:
        """Waits until the run is there, with the view of its trials; returns its id, or None where nothing is tracked.

        Raises:
            TrackingError: If the store can't be reached.
        """
        if self._plan.uri is None:
            return None
        run_id, _ = self._run.confirm()
        self._run.share_view(self._plan.name, self._plan.objective, self._plan.swept)
        self._run.close_orphans(elsewhere=self._elsewhere)
        return run_id

    def is_finished(self, result: TrialResult) -> bool:
        """Tells whether the run that a trial left its result of is FINISHED; one that was not tracked is.

        Raises:
            TrackingError: If the store can't be asked now.
        """
        if result.run_id is None:
            return True
        return result.run_id in {trial.run_id for trial in self._run.find_finished().values()}

    def bring_in(self, folder: Path) -> str:
        """Tells the store a run that it was away for, each thing once, and returns its id there.

        Raises:
            TrackingError: If the store fails.
        """
        return sync_run(folder, self._plan.uri, os.environ).run_id

    def began(self, trial: Trial, attempt: int) -> None:  # noqa: ARG002 - as the listener has it
        """Takes in what a trial is, which may have been drawn just now."""
        self._trials[trial.number] = trial

    def done(self, trial: Trial, result: TrialResult) -> None:  # noqa: ARG002 - the tally has it already
        """Logs how many are done, and the best so far."""
        metrics = {"trials/finished": float(len(self._tally.done))}
        if objective := self._plan.objective:
            values = [found.objective for found in self._tally.done.values() if found.objective is not None]
            metrics[f"best/{objective}"] = (max if higher_is_better(objective) else min)(values)
        self._run.log_metrics(metrics)

    def pruned(self, trial: Trial, reason: str) -> None:  # noqa: ARG002 - the tally has it already
        """Logs how many were pruned."""
        self._run.log_metrics({"trials/pruned": float(len(self._tally.pruned))})

    def failed(self, trial: Trial, reason: str, *, again: bool) -> None:  # noqa: ARG002 - as the listener has it
        """Logs how many failed; the run of one that was killed is closed."""
        number = f"{trial.number}"
        self._run.close_orphans({number: reason}, elsewhere=[number])
        self._run.log_metrics({"trials/failed": float(len(self._tally.failed))})

    def conclude(self, conclusion: Conclusion) -> None:
        """Logs what came out."""
        ranking, winner = conclusion.ranking, conclusion.winner
        failed = "".join(
            f"\n- trial {number}, {self._trials[number].label}: {reason}"
            for number, reason in sorted(self._tally.failed.items())
        )
        note = f"{ranking.verdict()}\n\n{markdown_table(ranking)}" + (f"\n\nFailed:\n{failed}" if failed else "")
        table = [{"path": f"{SUBFOLDER}/{TABLE}", "type": "table"}]
        best = {"best_run_id": winner.run_id} if winner and winner.run_id else {}
        self._run.set_tags({"mlflow.note.content": note, "mlflow.loggedArtifacts": json.dumps(table), **best})
        self._run.log_files(conclusion.files)

    def _end(self) -> TrackingError | None:
        failed, waiting = len(self._tally.failed), len(self._tally.waiting)
        self._run.log_metrics({"trials/finished": float(len(self._tally.done)), "trials/failed": float(failed)})
        if failed or waiting:
            left = f", {waiting} were not started" if waiting else ""
            self._run.set_tags({"error": f"{failed} of {len(self._plan.trials)} trials failed{left}"})
        return self._run.end("FAILED" if failed or waiting else "FINISHED")

    def _tags(self) -> dict[str, str]:
        origin = origin_tags(read_git_state(Path.cwd()))
        return {**origin, "trainyard.role": "sweep", "sweep_id": self._plan.name}

    def _params(self) -> dict[str, Any]:
        plan = self._plan
        definition = plan.search.definition if plan.search else None
        swept = describe_swept({"search": definition, "swept": plan.swept}, plan.trials)
        drawn = {"sweep.sampler": plan.search.sampler, "sweep.sampler_seed": plan.search.seed} if plan.search else {}
        return {
            "sweep.name": self._plan.name,
            "sweep.objective": self._plan.objective or "off",
            "sweep.trials": len(self._plan.trials),
            "sweep.points": self._plan.trials[-1].point,
            **drawn,
            **{f"sweep.params.{key}": told for key, told in swept.items()},
        }
