"""Logs the parent run of a sweep to MLflow: progress while the trials run, then the leaderboard and the sweep card."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from trainyard.errors import TrackingError, TrainyardError
from trainyard.evaluation import Trial, TrialResult
from trainyard.reporting import TABLE, render_leaderboard_markdown
from trainyard.runs import build_provenance_tags, sync_run, write_missing_report
from trainyard.sweep.folder import SweepFolder
from trainyard.sweep.launch.devices import RAY_LAUNCHER
from trainyard.sweep.listener import SweepCounts, SweepListener
from trainyard.sweep.plan import SweepPlan
from trainyard.sweep.results import is_among
from trainyard.sweep.summary import SweepResult, describe_swept
from trainyard.system import read_git_state, redact_credentials
from trainyard.tracking import RunRequest, Tracker, find_stored_trials, names


class SweepTracker(SweepListener):
    """Logs a sweep to the tracking store. If tracking is disabled, it does nothing.

    Methods that wait for the store raise a TrackingError if it fails.
    """

    def __init__(self, plan: SweepPlan, folder: SweepFolder, notify: Callable[[str], None]) -> None:
        """Does not access the tracking store yet. `notify` is called with a message when the store fails."""
        self._plan = plan
        self._key = folder.key
        reassurance = "The sweep continues; its folder contains all results"
        self._run = Tracker(plan.store, notify, reassurance, lock_file=folder.trials_lock_file)
        self._store_file: tuple[int, int] | None = None
        self._notify = notify
        self._status = "FINISHED"
        on_ray = plan.hydra_section.launcher._target_ == RAY_LAUNCHER
        self._ended_elsewhere: tuple[()] | None = None if on_ray else ()  # Ray ends tasks with their sweep

    @contextlib.contextmanager
    def open_run(self) -> Iterator[None]:
        """Creates the parent run, or reopens that of an earlier session, and closes it at the end of the block.

        The key of the sweep identifies it, so a sweep that is killed meanwhile leaves only one parent run.

        Its status is then FINISHED if all trials are done or pruned, KILLED after an interrupt, else FAILED.

        Raises:
            TrackingError: If the block succeeded, but the tracking store failed.
        """
        plan = self._plan
        with contextlib.closing(self._run):
            git_tags = build_provenance_tags(read_git_state(Path.cwd()))
            parent = plan.trials[0].config["tracking"]["parent"]
            comparison = f"ranked by `{plan.objective}`" if plan.objective else "not compared: `sweep.objective` is off"
            note = f"{len(plan.trials)} trials, {comparison}."
            tags = {**git_tags, names.ROLE: "sweep", names.SWEEP_ID: plan.name, names.NOTE: note}
            tags[names.RUN_KEY] = self._key
            request = RunRequest(
                plan.experiment,
                plan.notes,
                f"sweep {plan.name}",
                tags | ({names.PARENT_RUN_ID: parent} if parent else {}),
                reopens=True,
                parent_run_id=parent,
            )
            self._run.start(request, self._build_params())
            try:
                yield
                failure = self._run.end(self._status)
            except BaseException as error:
                self._run.set_tags({names.ERROR: redact_credentials(f"{type(error).__name__}: {error}")})
                self._run.close_orphans(ended_elsewhere=self._ended_elsewhere)
                self._run.end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
                raise
        if failure:
            raise TrackingError(
                f"{failure}. No results are lost: the folder of the sweep contains all of them. When the store works "
                "again, run the same command, which completes the sweep"
            )

    def wait_until_created(self) -> str | None:
        """Waits until the parent run exists, and saves its MLflow view. Returns its id, or None without tracking."""
        if self._plan.store is None:
            return None
        self._run.wait_until_created()
        self._store_file = self._identify_store_file()
        if self._plan.trials[0].config["tracking"]["model"]:
            self._run.notify_without_logged_models()
        self._run.share_view(self._plan.name, self._plan.objective, self._plan.swept)
        self._run.close_orphans(ended_elsewhere=self._ended_elsewhere)
        return self._run.run_id

    def has_runs(self, results: Mapping[int, TrialResult]) -> bool:
        """Returns whether the store has the FINISHED runs of these trials. The parent run need not be open.

        Raises a TrackingError if the store fails.
        """
        expected = {f"{number}": result.run_id for number, result in results.items() if result.run_id is not None}
        if self._plan.store is None or not expected:
            return True
        try:
            return find_stored_trials(self._plan.store, self._key).items() >= expected.items()
        except TrackingError as error:
            raise TrackingError(f"{error}. The sweep has finished, and its folder contains all results") from error

    def find_finished_trials(self) -> Mapping[str, str] | None:
        """Returns the id of the FINISHED run of each trial, by the trial's number as text; None without tracking.

        Raises a TrackingError if the store fails, or its SQLite file is not the one with which the sweep was started.
        """
        if self._plan.store is None:
            return None
        finished = self._run.find_finished_trials()
        current = self._identify_store_file()
        if self._store_file and self._store_file != current:
            raise TrackingError(
                f"{self._plan.store.sqlite_file}: expected the tracking store with which the sweep was started, but "
                "the file was renamed, replaced or deleted meanwhile. To upload the runs that the store lacks, start "
                "the sweep again with the same command"
            )
        self._store_file = current
        return finished

    def is_finished(self, result: TrialResult) -> bool:
        """Returns whether the MLflow run of a trial with a result is FINISHED; True if the trial was not tracked."""
        return is_among(self.find_finished_trials(), result)

    def upload_run(self, folder: Path) -> str:
        """Uploads what the tracking store does not contain of a run as a child of the open run, and returns its id."""
        return sync_run(folder, self._plan.store, self._run.run_id).run_id

    def _identify_store_file(self) -> tuple[int, int] | None:
        """Returns what identifies the SQLite file of the store, also after it was renamed; None if there is none."""
        file = self._plan.store.sqlite_file if self._plan.store else None
        if file is None or not file.exists():
            return None
        return file.stat().st_dev, file.stat().st_ino

    def on_trial_done(self, trial: Trial, result: TrialResult, counts: SweepCounts) -> None:  # noqa: ARG002
        """Logs the number of finished trials and, if the sweep has an objective, that of the best point."""
        best = {} if counts.best is None else {f"{names.BEST_PREFIX}{self._plan.objective}": counts.best}
        self._run.log_metrics({names.TRIALS_FINISHED: float(counts.done), **best})

    def on_trial_pruned(self, trial: Trial, reason: str, counts: SweepCounts) -> None:  # noqa: ARG002
        """Logs the number of pruned trials."""
        self._run.log_metrics({names.TRIALS_PRUNED: float(counts.pruned)})

    def on_trial_failed(self, trial: Trial, reason: str, counts: SweepCounts, *, will_retry: bool) -> None:  # noqa: ARG002
        """Logs the number of failed trials, and closes the run of this trial if its process was killed."""
        number = f"{trial.number}"
        # Only this trial: another one that was just killed gets its own reason when its end is processed.
        self._run.close_orphans({number: reason}, ended_elsewhere=[number], only=number)
        self._run.log_metrics({names.TRIALS_FAILED: float(counts.failed)})

    def log_result(self, result: SweepResult) -> None:
        """Logs the verdict, the leaderboard, the numbers of trials, the failed trials, the best run and the files."""
        ranking, winner, failed = result.ranking, result.winner, result.failed
        finished, waiting = len(result.outcomes.done), len(result.outcomes.waiting)
        metrics = {names.TRIALS_FINISHED: float(finished), names.TRIALS_FAILED: float(len(failed))}
        best_mean = ranking.points[0].mean if ranking.points else None
        if ranking.objective and best_mean is not None:
            metrics[f"{names.BEST_PREFIX}{ranking.objective}"] = best_mean
        self._run.log_metrics(metrics)
        if failed or waiting:
            self._status = "FAILED"
            not_started = f", {waiting} were not started" if waiting else ""
            self._run.set_tags({names.ERROR: f"{len(failed)} of {len(self._plan.trials)} trials failed{not_started}"})
        note = f"{ranking.format_verdict()}\n\n{render_leaderboard_markdown(ranking)}"
        if failed:
            lines = (f"\n- trial {trial.number}, {trial.label}: {reason}" for trial, reason in failed)
            note += f"\n\nFailed:\n{''.join(lines)}"
        table = [{"path": f"{names.SWEEP_FOLDER}/{TABLE}", "type": "table"}]
        best = {names.BEST_RUN_ID: winner.run_id} if winner and winner.run_id else {}
        self._run.set_tags({names.NOTE: note, names.LOGGED_TABLES: json.dumps(table), **best})
        self._run.log_files(result.files, names.SWEEP_FOLDER)

    def log_reports(self, results: Iterable[TrialResult]) -> None:
        """Draws the plots and writes the reports of finished trials, as far as they are missing, and logs them.

        Those of a run that was deleted meanwhile are only written.
        """
        finished: Mapping[str, str] | None = None
        with contextlib.suppress(TrackingError):  # a store that fails is reported when the parent run is closed
            finished = self.find_finished_trials()
        for result in results:
            folder = Path(result.folder)
            try:
                files = write_missing_report(folder, self._notify)
            except TrainyardError as error:  # for example because the folder was deleted
                self._notify(f"the plots of a run are left out: {error}")
                continue
            if not is_among(finished, result):
                self._notify(
                    f"the tracking store lacks the run {result.run_id}, which was deleted meanwhile, so its plots are "
                    f"only in {folder}. To upload the run again, start the sweep again with the same command"
                )
            elif result.run_id:
                self._run.log_run_files(result.run_id, folder, files)

    def _build_params(self) -> dict[str, Any]:
        """Returns the params of the parent run, by their logged names."""
        plan, policy = self._plan, self._plan.policy
        swept = describe_swept({"search": plan.definition, "swept": plan.swept}, plan.trials)
        sampler = {"sweep.sampler": policy.sampler, "sweep.sampler_seed": policy.sampler_seed} if plan.space else {}
        return {
            "sweep.name": plan.name,
            "sweep.objective": plan.objective or "off",
            "sweep.trials": len(plan.trials),
            "sweep.points": plan.trials[-1].point,
            **sampler,
            **{f"sweep.params.{key}": description for key, description in swept.items()},
        }
