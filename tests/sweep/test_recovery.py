"""What a sweep makes of damaged, missing, moved or replaced files and stores when the same command runs it again.

Each case starts from a copy of a finished sweep of four trials, which are logged, but not trained. The sweep and its store
are not where they were created. In the end, the store has one finished run per trial, or an error says what is wrong.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlflow.tracking import _get_store as get_mlflow_store
from processes import command_line
from stand_ins import STORE_VARIABLE

from trainyard.errors import ConfigError, TrackingError, TrainyardError
from trainyard.runs.context import TrialInfo, build_provenance_tags
from trainyard.sweep.folder import SweepFolder
from trainyard.sweep.plan import make_plan
from trainyard.sweep.recorder import TrialRecorder
from trainyard.sweep.results import load_result, rebuild_result, write_result
from trainyard.sweep.run import run_plan
from trainyard.sweep.summary import rank_trials, summarize_sweep
from trainyard.sweep.tracking import SweepTracker
from trainyard.system import collect_process_info
from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking import RunRequest, Tracker, TrackingStore, names, tracker
from trainyard.tracking.connection import connect
from trainyard.tracking.writer import StoreWriter

OVERRIDES = [
    "dataset.limit=200", "dataset.validation_fraction=0.2", "name=tiny", "training.xla=off", "training.epochs=1",
    "model.hidden_units=[8],[16]", "sweep.seeds=2", "sweep.name=mine", "hydra.launcher.n_jobs=1", "tracking.model=false",
]  # fmt: skip
SWEEP = Path("sweeps/mine")
LEDGER, PLAN, STORE = SWEEP / "ledger.jsonl", SWEEP / "plan.jsonl", Path("mlflow.db")
TRIALS = ["1", "2", "3", "4"]


def _log_trial(trial, folder, store, parent_run_id):
    """Logs the run of a trial as a real run does, and writes its result."""
    folder.mkdir(parents=True)
    run = Tracker(store, pytest.fail, "", folder)
    info = TrialInfo("mine", parent_run_id, trial.number, trial.label, record_result=lambda _: None)
    tags = {**build_provenance_tags(None), **info.tags(), names.FOLDER: str(folder)}
    run.start(RunRequest("tiny", "", trial.label, tags), {"model.parameters": 10}, in_process=True)
    run.wait_until_created()
    history = [{"accuracy/val": trial.number / 10, "loss/val": 1.0}]
    run.log_metrics(history[0], 1)
    run.log_metrics({"accuracy/test": 0.5})
    run.log_metrics({"time/total_seconds": 2.5})
    evaluation = SimpleNamespace(metrics=lambda: {"accuracy/test": 0.5})
    model, training = SimpleNamespace(count_params=lambda: 10), SimpleNamespace(history=history, best_epoch=None)
    result = SimpleNamespace(
        training=training, evaluation=evaluation, timings={"total": 2.5}, run_id=run.run_id, folder=folder, model=model
    )
    write_result(result, "accuracy/val")
    assert run.end("FINISHED") is None
    run.close()


def _make_finished_sweep():
    """Creates a finished sweep in the working directory, and its store."""
    plan, folder = make_plan(OVERRIDES), SweepFolder(SWEEP)
    folder.write_plan(plan, threads=1)
    recorder = TrialRecorder(plan.trials, folder, plan.objective)
    folder.ledger.record_session_start(collect_process_info(), 1)
    runs = SweepTracker(plan, folder, pytest.fail)
    with runs.open_run():
        parent_run_id = runs.wait_until_created()
        for trial in plan.trials:
            path = recorder.record_start(trial)
            _log_trial(trial, path, plan.store, parent_run_id)
            recorder.record_done(trial, load_result(path))
        recorder.update_waiting()
        ranking = rank_trials(recorder.trials, recorder.outcomes, plan.objective)
        runs.log_result(summarize_sweep(folder, recorder.trials, recorder.outcomes, ranking))
    folder.ledger.record_session_end("FINISHED")


def _save_time(patch):
    """Writes to the store from this process, and draws no sweep card."""
    patch.setattr(tracker, "ProcessWriter", StoreWriter)
    patch.setattr("trainyard.sweep.summary.write_card", lambda *_: [])


@pytest.fixture(scope="module")
def finished_sweep(tmp_path_factory, session_folder):
    """A folder with a finished sweep and its store, which was moved there, and must not be changed."""
    root = tmp_path_factory.mktemp("finished")
    (root / "created").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("MLFLOW_", "TRAINYARD_", "HYDRA_"))]:
            patch.delenv(name)
        patch.setenv(STORE_VARIABLE, str(session_folder / "mlflow.db"))
        patch.chdir(root / "created")
        _save_time(patch)
        _make_finished_sweep()
    return (root / "created").rename(root / "moved")


@pytest.fixture
def sweep(finished_sweep, monkeypatch):
    """A copy of the finished sweep in the working directory. Its store is written from this process."""
    shutil.copytree(finished_sweep, Path.cwd(), dirs_exist_ok=True)
    _save_time(monkeypatch)


def _run(*overrides):
    return run_plan(make_plan([*OVERRIDES, *overrides]))


def _load_runs():
    """Returns the runs of the store that were not deleted: those of sweeps, and those of trials."""
    client = connect(build_sqlite_uri(STORE.absolute()))
    runs = list(client.search_runs([experiment.experiment_id for experiment in client.search_experiments()]))
    by_role = {role: [run for run in runs if run.data.tags[names.ROLE] == role] for role in ("sweep", "trial")}
    assert len(runs) == sum(map(len, by_role.values()))
    return by_role["sweep"], by_role["trial"]


def _check_is_complete(result):
    """Checks that the store has one finished run per trial, below one finished run of the sweep, and nothing else."""
    assert result.is_complete
    parents, trials = _load_runs()
    assert [(run.info.status, run.data.metrics["trials/finished"]) for run in parents] == [("FINISHED", 4)]
    assert sorted(run.data.tags[names.TRIAL_NUMBER] for run in trials) == TRIALS
    assert {run.info.status for run in trials} == {"FINISHED"}
    assert {run.data.tags[names.PARENT_RUN_ID] for run in trials} == {parents[0].info.run_id}
    assert all("accuracy/test" in run.data.metrics and "error" not in run.data.tags for run in trials)
    ids = {run.data.tags[names.TRIAL_NUMBER]: run.info.run_id for run in trials}
    assert {f"{number}": result.run_id for number, result in result.outcomes.done.items()} == ids
    records = [SweepFolder(result.folder).ledger.get_trial_record(number) for number in range(1, 5)]
    assert [record.result.run_id for record in records] == [ids[number] for number in TRIALS]
    assert parents[0].data.tags[names.BEST_RUN_ID] in ids.values()


def _lose(*kinds, trials=(1, 2, 3, 4)):
    """Removes entries of some kinds from the ledger, and the end of the session."""
    lines = LEDGER.read_text().splitlines(keepends=True)
    entries = [(json.loads(line), line) for line in lines]
    lost = {"closed", *kinds}
    kept = [line for entry, line in entries if entry["what"] not in lost or entry.get("trial", trials[0]) not in trials]
    LEDGER.write_text("".join(kept))


def _lose_results(content):
    _lose("done", trials=(3, 4))
    for number in (3, 4):
        (SWEEP / "trials" / f"{number}" / "result.json").write_text(content)


def _edit(file, old, new):
    content = file.read_bytes()
    assert old in content
    file.write_bytes(content.replace(old, new, 1))


def _insert(file, line):
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:3], line + b"\n", *lines[3:]]))


def _delete_runs(*numbers, parent=False):
    parents, trials = _load_runs()
    deleted = [run for run in trials if run.data.tags[names.TRIAL_NUMBER] in numbers] + parents * parent
    client = connect(build_sqlite_uri(STORE.absolute()))
    for run in deleted:
        client.delete_run(run.info.run_id)


def _mark_as_failed(number):
    run = next(run for run in _load_runs()[1] if run.data.tags[names.TRIAL_NUMBER] == number)
    connect(build_sqlite_uri(STORE.absolute())).set_terminated(run.info.run_id, "FAILED")


COMPLETED = {
    "copied": lambda: None,
    "copied while it was running": lambda: _lose("done", trials=(3, 4)),
    "copied without a store": STORE.unlink,
    "store renamed": lambda: STORE.rename("other.db"),
    "store renamed while it was running": lambda: (_lose("done", trials=(3, 4)), STORE.rename("other.db")),
    "store emptied": lambda: STORE.write_bytes(b""),
    "store lacks runs": lambda: _delete_runs("2", "4"),
    "store lacks the run of the sweep": lambda: _delete_runs(parent=True),
    "store with an edited status": lambda: _mark_as_failed("3"),
    "store lacks all runs": lambda: _delete_runs(*TRIALS, parent=True),
    "ledger missing": LEDGER.unlink,
    "ledger empty": lambda: LEDGER.write_text(""),
    "ledger truncated in a line": lambda: LEDGER.write_bytes(LEDGER.read_bytes()[:-20]),
    "ledger truncated after the start": lambda: LEDGER.write_text(LEDGER.read_text().splitlines(keepends=True)[0]),
    "ledger without results": lambda: _lose("done"),
    "ledger without starts": lambda: _lose("began"),
    "ledger with doubled lines": lambda: LEDGER.write_text(
        "".join(2 * line for line in LEDGER.read_text().splitlines(keepends=True))
    ),
    "ledger with NULs at its end": lambda: LEDGER.write_bytes(LEDGER.read_bytes() + bytes(512)),
    "ledger with NULs in its last line": lambda: LEDGER.write_bytes(LEDGER.read_bytes()[:-1] + bytes(512) + b"\n"),
    "results missing": lambda: (
        _lose("done", trials=(3, 4)), [(SWEEP / "trials" / n / "result.json").unlink() for n in "34"]
    ),
    "results truncated": lambda: _lose_results('{"objective": 0.'),
    "results of another structure": lambda: _lose_results("[1]"),
    "results with a field of another type": lambda: _lose_results('{"objective": "high"}'),
    "results of a newer version": lambda: _lose_results('{"objective": 0.5, "extra": 1}'),
    "results and store missing": lambda: (_lose_results(""), STORE.unlink()),
    "ledger and store missing": lambda: (LEDGER.unlink(), STORE.unlink()),
    "folder of a trial missing": lambda: shutil.rmtree(SWEEP / "trials" / "2"),
    "stray files": lambda: [(SWEEP / "trials" / name).write_text("") for name in (".DS_Store", "x-1", "notes.txt")],
}  # fmt: skip


@pytest.mark.parametrize("case", COMPLETED)
def test_a_sweep_is_completed_without_training(sweep, case):
    COMPLETED[case]()
    _check_is_complete(_run())
    assert sorted(path.name for path in (SWEEP / "trials").glob("[1-4]*")) == [
        number for number in TRIALS if case != "folder of a trial missing" or number != "2"
    ]
    changed = STORE.stat().st_mtime_ns, LEDGER.read_bytes()
    _check_is_complete(_run())
    assert (STORE.stat().st_mtime_ns, LEDGER.read_bytes()) == changed


@pytest.mark.parametrize("permanently", [False, True])
def test_a_sweep_survives_the_deletion_of_its_best_run_at_its_end(sweep, monkeypatch, capsys, permanently):
    def log_result(runs, result):
        original(runs, result)
        if result.outcomes.done[3].run_id == deleted:
            _delete_runs("3")
            if permanently:  # as `mlflow gc` does
                get_mlflow_store(build_sqlite_uri(STORE.absolute()))._hard_delete_run(deleted)

    def write_report(folder, notify):
        (folder / "report.html").write_text("report")
        return ["report.html"]

    original, deleted = SweepTracker.log_result, load_result(SWEEP / "trials" / "3").run_id
    monkeypatch.setattr(SweepTracker, "log_result", log_result)
    monkeypatch.setattr("trainyard.sweep.tracking.write_missing_report", write_report)
    _lose()
    result = _run()
    assert result.is_complete
    assert result.best.runs[0].run_id == deleted
    assert f"lacks the run {deleted}, which was deleted meanwhile" in capsys.readouterr().out
    completed = _run()
    _check_is_complete(completed)
    assert f"trial 3: the tracking store lacks its run {deleted}, which is uploaded again" in capsys.readouterr().out
    client = connect(build_sqlite_uri(STORE.absolute()))
    files = {point.runs[0].number: client.list_artifacts(point.runs[0].run_id) for point in completed.ranking.points}
    assert {number: [file.path for file in listed if "report" in file.path] for number, listed in files.items()} == {
        3: ["report.html"], 1: ["report.html"],
    }  # fmt: skip


def test_a_deleted_run_without_its_folder_can_be_restored(sweep):
    run_id = load_result(SWEEP / "trials" / "2").run_id
    _delete_runs("2")
    shutil.rmtree(SWEEP / "trials" / "2")
    with pytest.raises(TrackingError, match=rf"trial 2 \({run_id}\), .*mlflow runs restore --run-id"):
        _run()
    environment = {**os.environ, "MLFLOW_TRACKING_URI": build_sqlite_uri(STORE.absolute())}
    command = [sys.executable, "-m", "mlflow", "runs", "restore", "--run-id", run_id]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    _check_is_complete(_run())


def test_a_renamed_sweep_is_completed(sweep):
    SWEEP.rename("elsewhere")
    result = _run("hydra.sweep.dir=elsewhere")
    _check_is_complete(result)
    assert result.folder == Path("elsewhere").absolute()
    assert all(Path(done.folder).parents[1] == result.folder for done in result.outcomes.done.values())


NEWER = rb'{"what": "painted", "time": "2026-01-01T00:00:00+00:00", "trial": 1}'

REFUSED = {
    "ledger with a damaged line": (lambda: _insert(LEDGER, b"garbage{"), ConfigError, r"ledger.jsonl: line 4: .*--fresh"),
    "ledger with another structure": (lambda: _insert(LEDGER, b"[1]"), ConfigError, r"ledger.jsonl: line 4: .*--fresh"),
    "ledger that is not UTF-8": (
        lambda: _edit(LEDGER, b"trial", b"tri\xff"), ConfigError, r"ledger.jsonl: line 2: .*can't decode.*--fresh",
    ),
    "ledger of a newer version": (
        lambda: _insert(LEDGER, NEWER), ConfigError, "ledger.jsonl: line 4: .*'painted' is unknown. Another version",
    ),
    "ledger of another sweep": (
        lambda: LEDGER.write_text(LEDGER.read_text().replace('"trial": 4', '"trial": 9')), ConfigError,
        "plan.jsonl: .* lacks trial 9",
    ),
    "plan missing": (PLAN.unlink, ConfigError, "mine/plan.jsonl: expected the plan .* is missing.*--fresh"),
    "plan empty": (lambda: PLAN.write_text(""), ConfigError, "plan.jsonl: line 1: .*header.*--fresh"),
    "plan with a damaged line": (lambda: _insert(PLAN, b"garbage"), ConfigError, "plan.jsonl: line 4: .*--fresh"),
    "plan that is not UTF-8": (lambda: _insert(PLAN, b"\xff\xfe"), ConfigError, "plan.jsonl: line 4: .*--fresh"),
    "plan of a newer version": (
        lambda: _edit(PLAN, b'{"key"', b'{"color": 1, "key"'), ConfigError, "line 1: .*'color' is unknown. Another version",
    ),
    "plan edited": (
        lambda: _edit(PLAN, b'"learning_rate": 0.001', b'"learning_rate": 0.002'), ConfigError,
        "definition has changed(.|\n)*learning_rate was 0.002, is now 0.001(.|\n)*--fresh",
    ),
    "plan truncated": (
        lambda: PLAN.write_bytes(PLAN.read_bytes()[:-300]), ConfigError, "definition has changed(.|\n)*--fresh",
    ),
    "store damaged": (lambda: STORE.write_bytes(b"garbage" * 100), TrainyardError, "mlflow.db"),
    "result lost, run finished": (
        lambda: (_lose("began", "done", trials=(3,)), shutil.rmtree(SWEEP / "trials" / "3")), TrainyardError,
        "ledger.jsonl: .*neither the ledger nor its folder contains that of trial 3.*--fresh",
    ),
    "run and folder lost": (
        lambda: (_delete_runs("2"), shutil.rmtree(SWEEP / "trials" / "2")), TrackingError,
        r"the tracking store lacks the run of trial 2 \(.*\), which .*--fresh",
    ),
    "run lost, operation log damaged": (
        lambda: (_delete_runs("2"), (SWEEP / "trials" / "2" / ".tracking.jsonl").write_text("x\n")), TrackingError,
        r"the tracking store lacks the run of trial 2 \(.*\), which .*--fresh",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_sweep_is_refused_with_the_reason_and_a_remedy(sweep, monkeypatch, case):
    monkeypatch.setattr("trainyard.sweep.run.start_fork_server", lambda: None)
    monkeypatch.setattr("trainyard.sweep.run.smoke_test_architectures", lambda *_, after_start: after_start())
    damage, error, message = REFUSED[case]
    before = [run.info.run_id for run in _load_runs()[1]]
    damage()
    for _ in range(2):  # the first attempt changes nothing for the second
        with pytest.raises(error, match=message):
            _run()
    if case != "store damaged":
        assert {run.info.run_id for run in _load_runs()[1]} <= {*before}
    assert not list((SWEEP / "trials").glob("*-2"))


def test_a_result_is_rebuilt_from_what_the_run_logged(sweep):
    for number in TRIALS:
        folder = SWEEP.absolute() / "trials" / number
        assert rebuild_result(folder, "accuracy/val") == load_result(folder)
        assert rebuild_result(folder, None) == dataclasses.replace(load_result(folder), objective=None)
    with (folder / ".tracking.jsonl").open("a") as log:
        log.write('{"what": "end", "at": 1, "status": "KILLED"}\n')
    assert rebuild_result(folder, "accuracy/val") is None


def test_the_location_of_the_artifacts_of_a_copied_store_is_reported(sweep, finished_sweep, capsys):
    _delete_runs("2")
    _run()
    old = finished_sweep.with_name("created") / "mlartifacts" / "tiny"
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("the artifacts of")]
    assert f"are written to {old}, and not next to {STORE.absolute()}" in line
    other = TrackingStore(build_sqlite_uri(STORE.absolute()))
    other.open_experiment("another", "")
    other.open_experiment("another", "")
    assert other.notices == []


def _count_runs(status):
    """Returns the number of runs with a status in the store, which another process may be creating."""
    try:
        with sqlite3.connect(f"file:{STORE}?mode=ro", uri=True, timeout=20) as connection:
            (count,) = connection.execute("select count(*) from runs where status = ?", [status]).fetchone()
    except sqlite3.Error:
        return 0
    return count


MOMENTS = {
    "before the run of the sweep exists": STORE.exists,
    "the run of the sweep was created": lambda: _count_runs("RUNNING") >= 1,
    "a run is uploaded": lambda: _count_runs("RUNNING") >= 2,
    "a run was uploaded": lambda: _count_runs("FINISHED") >= 1,
    "uploads were recorded": lambda: LEDGER.read_text().count('"uploaded"') >= 2,
}
"""The moments at which the sweep is killed, one after another."""


def _kill_sweep(is_reached, delay_seconds=0.0):
    """Runs the command of the sweep, kills its process when a condition holds, and returns its exit code.

    Its output goes to a file, because the processes that it started hold its output open for some time.
    """
    with Path("output.txt").open("wb") as output:
        process = subprocess.Popen(command_line("sweep", *OVERRIDES), stdout=output, stderr=output)
    while process.poll() is None and not is_reached():
        time.sleep(0.002)
    time.sleep(delay_seconds)
    process.send_signal(signal.SIGKILL)
    code = process.wait()
    assert code in (-signal.SIGKILL, 0), Path("output.txt").read_text()
    return code


@pytest.mark.slow
def test_a_sweep_that_is_killed_while_it_uploads_lost_runs_loses_and_doubles_nothing(sweep):
    STORE.unlink()
    codes = {moment: _kill_sweep(is_reached) for moment, is_reached in MOMENTS.items()}
    assert Counter(codes.values())[-signal.SIGKILL] >= 3, codes
    _check_is_complete(_run())


@pytest.mark.slow
def test_kills_while_a_sweep_starts_leave_one_run_of_the_sweep_and_train_each_trial_once(sweep):
    """The process that writes to the store outlives the killed one, so the next start must wait for it."""
    shutil.rmtree(SWEEP)
    STORE.unlink()
    for number, delay_seconds in enumerate((0.2, 2.0, 5.0), 1):

        def has_started(number=number):
            return LEDGER.exists() and LEDGER.read_text().count('"opened"') == number

        assert _kill_sweep(has_started, delay_seconds) == -signal.SIGKILL
    result = subprocess.run(command_line("sweep", *OVERRIDES), capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    _, trials = _load_runs()
    for run in trials:
        if run.info.status != "FINISHED":  # of an attempt that was killed
            assert run.info.status == "KILLED"
            connect(build_sqlite_uri(STORE.absolute())).delete_run(run.info.run_id)
    _check_is_complete(_run())
    folder = SweepFolder(SWEEP)
    for number in range(1, 5):
        rebuilt = rebuild_result(path := Path(folder.ledger.get_trial_record(number).folder), "accuracy/val")
        assert dataclasses.replace(rebuilt, seconds=0) == dataclasses.replace(load_result(path), seconds=0)


@pytest.mark.slow
def test_only_trials_without_a_result_are_trained_if_the_ledger_is_lost(sweep):
    LEDGER.unlink()
    STORE.unlink()
    shutil.rmtree(SWEEP / "trials" / "3")
    (SWEEP / "trials" / "4" / ".tracking.jsonl").unlink()
    _check_is_complete(_run())
    assert sorted(path.name for path in (SWEEP / "trials").iterdir()) == ["1", "2", "3", "4", "4-2"]
