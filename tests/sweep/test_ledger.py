"""The ledger and the folder of a sweep: persistence, crash recovery and locking."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from processes import run_program

from trainyard.errors import ConfigError
from trainyard.evaluation.trials import TrialResult
from trainyard.sweep.folder import SweepFolder, list_sweeps, lock_sweep, move_aside
from trainyard.sweep.folder_checks import check_definition, check_folder, check_ledger
from trainyard.sweep.ledger import Draw, Ledger, TrialRecord
from trainyard.sweep.plan import make_plan
from trainyard.system import environment

TRIAL_FOLDER = Path("trials/1")
RESULT = TrialResult(
    objective=0.9,
    metrics={"accuracy/val": 0.9, "accuracy/test": 0.8},
    epochs=1,
    history=({"accuracy/val": 0.9},),
    seconds=1.5,
    run_id="abc",
    folder="trials/1",
    parameters=10,
)


def test_entries_are_restored_when_the_file_is_read(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.record_session_start(environment.collect_process_info(), 2)
    ledger.record_smoke_test("mlp")
    ledger.record_start(1, TRIAL_FOLDER)
    ledger.record_result(1, RESULT)
    ledger.record_start(2, Path("trials/2"))
    ledger.record_failure(2, "ValueError: no")
    ledger.record_start(2, tmp_path / "trials" / "2-2")
    ledger.record_upload(1, "new")
    ledger.record_session_end("KILLED")
    restored = Ledger(tmp_path / "ledger.jsonl")
    result_fields = {
        field: getattr(RESULT, field)
        for field in ("objective", "metrics", "epochs", "seconds", "run_id", "folder", "parameters")
    }
    folder = str(tmp_path / "trials" / "1")
    done = TrialRecord(
        "done", 1, folder, result=TrialResult(**{**result_fields, "folder": folder, "run_id": "new"}, history=())
    )
    assert dataclasses.replace(restored.get_trial_record(1), began="", seconds=0.0) == done
    assert (
        restored.get_trial_record(2).state,
        restored.get_trial_record(2).attempts,
        restored.get_trial_record(2).folder,
    ) == (
        "running",
        2,
        str(tmp_path / "trials" / "2-2"),
    )
    assert restored.get_trial_record(3) == TrialRecord()
    assert restored.tested_architectures == {"mlp"}
    assert [(session.pid, session.status) for session in restored.sessions] == [(str(os.getpid()), "KILLED")]


def test_durations_of_trials_and_sessions(tmp_path):
    """An interrupted attempt does not count; a killed session ends with its last entry."""
    process = {"host": "here", "pid": "1", "started": "", "slots": 1}
    entries = [
        ("opened", 0, process), ("began", 10, {"trial": 1, "folder": ""}), ("failed", 15, {"trial": 1, "reason": "no", "again": False}),
        ("began", 20, {"trial": 2, "folder": ""}),
        ("opened", 40, process), ("began", 41, {"trial": 2, "folder": ""}), ("pruned", 43, {"trial": 2, "reason": "late"}),
        ("began", 44, {"trial": 1, "folder": ""}), ("failed", 48, {"trial": 1, "reason": "no", "again": False}),
        ("closed", 50, {"status": "FAILED"}),
    ]  # fmt: skip
    file = tmp_path / "ledger.jsonl"
    lines = [
        {"what": kind, "time": f"2026-01-01T00:00:{second:02}.000+00:00", **content}
        for kind, second, content in entries
    ]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    ledger = Ledger(file)
    assert [ledger.get_trial_record(number).seconds for number in (1, 2, 3)] == [9, 2, 0]
    assert [session.seconds for session in ledger.sessions] == [20, 10]


def test_an_incomplete_entry_is_ignored_and_removed_before_the_next_entry(tmp_path):
    file = tmp_path / "ledger.jsonl"
    ledger = Ledger(file)
    ledger.record_start(1, TRIAL_FOLDER)
    whole = file.read_bytes()
    ledger.record_result(1, RESULT)
    complete = file.read_bytes()
    for length in [*range(len(whole), len(complete), 16), len(complete) - 2, len(complete) - 1]:
        cut = tmp_path / "cut.jsonl"
        cut.write_bytes(complete[:length])
        again = Ledger(cut)
        assert again.get_trial_record(1).state == "running"
        again.record_start(2, Path("trials/2"))
        assert [Ledger(cut).get_trial_record(number).state for number in (1, 2)] == ["running", "running"]


def test_a_partial_write_on_a_full_disk_is_rolled_back(tmp_path):
    resource = pytest.importorskip("resource")
    file = tmp_path / "ledger.jsonl"
    ledger = Ledger(file)
    ledger.record_session_start(environment.collect_process_info(), 2)
    ledger.record_start(1, TRIAL_FOLDER)
    before, limits = file.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            ledger.record_failure(1, "x" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.read_bytes() == before
    ledger.record_session_end("FAILED")
    assert Ledger(file).sessions[0].status == "FAILED"


SESSION = {"what": "opened", "time": "2026-01-01T00:00:00+00:00", "host": "h", "pid": "1", "started": "", "slots": 1}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"what": "exhausted", "time": None}, "time: expected str, got None"),
        ({"what": "exhausted", "time": "yesterday"}, "Invalid isoformat string: 'yesterday'"),
        ({"what": "closed", "status": 1}, "status: expected str, got 1"),
        ({"what": "drew", "drawn": {}, "point": 1, "reason": ""}, "the field 'duplicate_of' is missing"),
        ({"what": "began", "trial": 1}, "the field 'folder' is missing"),
        ({"what": "began", "folder": "x"}, "the field 'trial' is missing"),
        ({"what": "epoch", "trial": "1", "epoch": 1, "epochs": 1, "value": 0.5}, "trial: expected int, got '1'"),
        ({"what": "done", "trial": 1}, "the field 'result' is missing"),
        ({"what": "done", "trial": 1, "result": {"objective": 1.0}}, "the field 'metrics' is missing"),
        ({"what": "done", "trial": 1, "result": []}, "result: expected dict"),
        ({"what": "uploaded", "trial": 1, "run_id": "x"}, "trial 1 is not done"),
        ({"what": "knew", "points": [{"drawn": {}}]}, "the field 'value' is missing"),
        ({"what": "knew", "points": [5]}, "expected a JSON object, got 5"),
        ({"what": "renamed", "trial": 1}, "the kind 'renamed' is unknown. Another version"),
        ({"what": "exhausted", "by": "x"}, "the field 'by' is unknown. Another version"),
        ({"what": "pruned", "trial": 1, "reason": "", "epoch": 2}, "the field 'epoch' is unknown. Another version"),
    ],
)
def test_an_invalid_entry_raises_an_error_with_its_line_and_remedy(tmp_path, change, reason):
    file = tmp_path / "ledger.jsonl"
    file.write_text("".join(f"{json.dumps(entry)}\n" for entry in (SESSION, {"time": SESSION["time"], **change})))
    with pytest.raises(ConfigError) as caught:
        Ledger(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: line 2: expected an entry of the ledger of a sweep, got ")
    assert reason in message
    assert "Restore the file from a copy" in message
    assert "--fresh" in message


def test_a_session_that_ends_before_it_starts_is_invalid(tmp_path):
    file = tmp_path / "ledger.jsonl"
    file.write_text('{"what": "closed", "time": "2026-01-01T00:00:00+00:00", "status": "FINISHED"}\n')
    with pytest.raises(ConfigError, match="line 1: expected an entry of the ledger"):
        Ledger(file)


def test_entries_after_the_result_of_a_trial_are_ignored(tmp_path):
    """The lines of a ledger may have been duplicated: each end of a trial counts once."""
    file = tmp_path / "ledger.jsonl"
    ledger = Ledger(file)
    ledger.record_start(1, TRIAL_FOLDER)
    ledger.record_result(1, RESULT)
    file.write_text("".join(2 * line for line in file.read_text().splitlines(keepends=True)))
    doubled = Ledger(file)
    assert doubled.events == ledger.events
    assert doubled.get_trial_record(1).result == ledger.get_trial_record(1).result


def test_paths_in_a_moved_ledger_are_those_of_its_new_folder(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    ledger = Ledger(old / "ledger.jsonl")
    ledger.record_start(1, old / "trials" / "1")
    ledger.record_result(1, dataclasses.replace(RESULT, folder=str(old / "trials" / "1")))
    assert str(old) not in (old / "ledger.jsonl").read_text()
    old.rename(new)
    record = Ledger(new / "ledger.jsonl").get_trial_record(1)
    assert {record.folder, record.result.folder} == {str(new / "trials" / "1")}


def _plan(*overrides):
    return make_plan(["sweep.objective=off", "sweep.name=mine", "seed=1,2,3", *overrides])


def test_a_plan_is_restored_from_its_folder():
    plan = _plan()
    folder = SweepFolder(Path("sweeps/mine"))
    folder.write_plan(plan, threads=3)
    assert folder.read_trials() == plan.trials
    assert folder.threads == 3
    assert [sweep.path for sweep in list_sweeps()] == [folder.path]
    check_definition(folder, _plan("sweep.retries=3"))


def test_a_changed_definition_raises_an_error_with_the_differences():
    folder = SweepFolder(Path("sweeps/mine"))
    folder.write_plan(_plan("training.epochs=5"), threads=1)
    with pytest.raises(ConfigError) as caught:
        check_definition(folder, _plan("training.epochs=6"))
    first, *lines, last = str(caught.value).splitlines()
    assert "sweep mine: its definition has changed" in first
    assert lines == ["trial seed1: was added", "trial seed2: was added", "trial seed3: was added",
                     "trial seed1: was removed", "trial seed2: was removed", "trial seed3: was removed"]  # fmt: skip
    assert "--fresh" in last


def test_a_changed_config_file_raises_an_error_with_the_differences():
    Path("conf/experiment").mkdir(parents=True)
    recipe = Path("conf/experiment/mine.yaml")
    recipe.write_text("# @package _global_\nname: mine\ntraining: {epochs: 5}\n")
    folder = SweepFolder(Path("sweeps/mine"))
    folder.write_plan(_plan("experiment=mine"), threads=1)
    recipe.write_text("# @package _global_\nname: mine\ntraining: {epochs: 6}\n")
    with pytest.raises(ConfigError, match=r"trial seed2: training.epochs was 5, is now 6"):
        check_definition(folder, _plan("experiment=mine"))


def test_a_changed_objective_is_a_changed_definition():
    folder = SweepFolder(Path("sweeps/mine"))
    folder.write_plan(_plan(), threads=1)
    with pytest.raises(ConfigError, match=r"sweep.objective was off, is now loss/val"):
        check_definition(folder, _plan("sweep.objective=loss/val", "dataset.validation_fraction=0.1"))


def test_restore_returns_the_trials_of_the_first_plan():
    """The same values may be written in another notation and order."""
    folder = SweepFolder(Path("sweeps/mine"))
    first = _plan("training.epochs=1,2")
    folder.write_plan(first, threads=1)
    again = make_plan(["sweep.objective=off", "sweep.name=mine", "training.epochs=choice(2,1)", "seed=range(1,4)"])
    check_definition(folder, again)
    restored = folder.append_missing_trials(again)
    assert (restored.trials, restored.swept, restored.overrides) == (first.trials, first.swept, first.overrides)


def test_an_incomplete_line_of_the_plan_is_ignored_and_removed_before_the_next_trial():
    folder, plan = SweepFolder(Path("sweeps/mine")), _plan()
    folder.write_plan(plan, threads=1)
    complete = folder.plan.read_bytes()
    folder.plan.write_bytes(complete + b'{"number": 4, "poi')
    assert folder.read_trials() == plan.trials
    folder.add_trials([dataclasses.replace(plan.trials[2], number=4)])
    assert folder.plan.read_bytes().startswith(complete)
    assert [trial.number for trial in folder.read_trials()] == [1, 2, 3, 4]


def _header(**changes):
    folder = SweepFolder(Path("sweeps/mine"))
    folder.write_plan(_plan(), threads=1)
    return f"{json.dumps({**folder.read_header(), **changes})}\n"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: "", "line 1: expected the header of the plan of a sweep, but it is missing"),
        (lambda: "{}\n", "line 1: .*the field 'key' is missing"),
        (lambda: "nonsense\n", "line 1: expected a line of the plan of a sweep, got 'nonsense': Expecting value"),
        (lambda: _header(threads="2"), "line 1: .*threads: expected int or null, got '2'"),
        (lambda: _header(color="red"), "line 1: .*the field 'color' is unknown. Another version"),
        (lambda: _header() + "5\n", "line 2: .*it is not a JSON object"),
        (lambda: _header() + '{"number": 1}\n', "line 2: .*the field 'point' is missing"),
        (lambda: _header() + "\udcff\n", "line 2: .*can't decode"),
    ],
)
def test_a_damaged_plan_raises_an_error_with_its_path(build, message):
    folder = SweepFolder(Path("sweeps/mine"))
    content = build()
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.plan.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError, match=rf"plan.jsonl: {message}.*--fresh"):
        folder.read_header() and folder.read_trials()


@pytest.mark.parametrize("path", [".", "..", "other"])
def test_the_folder_of_a_sweep_must_be_separate(path):
    Path("other").mkdir()
    Path("other/precious").write_text("x")
    for fresh in (False, True):
        with pytest.raises(ConfigError, match=r"expected a .* folder"):
            check_folder(SweepFolder(Path(path)), fresh=fresh)
    assert move_aside(SweepFolder(Path("other"))) is None
    check_folder(SweepFolder(Path("new")))


@pytest.mark.parametrize("remains", ["ledger.jsonl", "trials/1/result.json"])
def test_a_sweep_without_its_plan_only_starts_from_the_beginning(remains):
    folder = SweepFolder(Path("sweeps/mine"))
    (folder.path / remains).parent.mkdir(parents=True)
    (folder.path / remains).write_text("")
    with pytest.raises(ConfigError, match=r"sweeps/mine/plan.jsonl: expected the plan .* is missing.*--fresh"):
        check_folder(folder)
    check_folder(folder, fresh=True)
    assert (move_aside(folder) / remains).exists()


def test_the_key_of_a_sweep_is_kept_until_the_sweep_starts_from_the_beginning():
    folder = SweepFolder(Path("sweeps/mine"))
    folder.write_plan(_plan(), threads=1)
    key = folder.key
    folder.write_plan(_plan("training.epochs=5"), threads=2)
    assert folder.key == key
    assert SweepFolder(folder.path).key == key
    move_aside(folder)
    folder.write_plan(_plan(), threads=1)
    assert folder.key != key


def test_a_ledger_with_trials_that_the_plan_lacks_is_refused():
    folder, plan = SweepFolder(Path("sweeps/mine")), _plan()
    folder.write_plan(plan, threads=1)
    for trial in plan.trials:
        folder.ledger.record_start(trial.number, folder.find_next_attempt_folder(trial.number))
    check_ledger(folder, plan)
    with pytest.raises(ConfigError, match=r"plan.jsonl: .* lacks trial 3"):
        check_ledger(folder, dataclasses.replace(plan, trials=plan.trials[:2]))


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("nothing", None),
        ("ledger", r"ledger.jsonl: .* lacks that of trial 1"),
        ("draws", r"ledger.jsonl: .* lacks that of trial 1"),
        ("starts", None),
        ("plan", r"plan.jsonl: .* lacks point 1"),
        ("line of the plan", r"plan.jsonl: .* lacks trial 2"),
    ],
)
def test_a_search_without_its_draws_is_refused(lost, message):
    plan = make_plan(["sweep.sampler=random", "sweep.points=2", "sweep.objective=loss/val", "sweep.name=mine", "dataset.validation_fraction=0.1",
                      "optimizer.learning_rate=interval(0.1, 0.2)"])  # fmt: skip
    folder = SweepFolder(Path("sweeps/mine"))
    folder.write_plan(plan, threads=1)
    config = dict(plan.trials[0].config)
    drawn = [dataclasses.replace(trial, label=f"t{trial.number}", config=config) for trial in plan.trials]
    for trial in drawn[:1]:
        folder.ledger.record_draw(Draw({"optimizer.learning_rate": 0.1}, trial.point))
        folder.ledger.record_start(trial.number, folder.find_next_attempt_folder(trial.number))
        folder.find_next_attempt_folder(trial.number).mkdir(parents=True)
    kept = {"ledger": [], "draws": ["began"], "starts": ["drew"]}.get(lost, ["drew", "began"])
    lines = [line for line in folder.ledger_file.read_text().splitlines() if json.loads(line)["what"] in kept]
    folder.ledger_file.write_text("".join(f"{line}\n" for line in lines))
    folder = SweepFolder(folder.path)
    plan = dataclasses.replace(plan, trials=plan.trials if lost == "plan" else (*drawn[:1], *plan.trials[1:]))
    if lost == "line of the plan":
        plan = dataclasses.replace(plan, trials=(plan.trials[0], dataclasses.replace(plan.trials[1], number=3)))
    if lost == "plan":
        folder.ledger_file.write_text(f"{lines[0]}\n")
    if message is None:
        check_ledger(folder, plan)
    else:
        with pytest.raises(ConfigError, match=message):
            check_ledger(folder, plan)


def test_a_partially_written_plan_is_replaced():
    folder = SweepFolder(Path("sweeps/mine"))
    folder.write_plan(_plan(), threads=1)
    folder.plan.rename(folder.path / "partial.plan.jsonl")
    check_folder(folder)
    assert move_aside(folder) is None
    folder.write_plan(_plan(), threads=1)
    assert folder.read_trials() == _plan().trials


def test_moved_sweeps_are_kept():
    folder = SweepFolder(Path("sweeps/mine"))
    assert move_aside(folder) is None
    kept = set()
    for _ in range(3):
        folder.write_plan(_plan(), threads=1)
        assert not folder.ledger.has_started
        folder.ledger.record_start(1, TRIAL_FOLDER)
        kept.add(move_aside(folder))
    assert len(kept) == 3
    assert all((path / "plan.jsonl").exists() for path in kept)
    assert not folder.path.exists()


def test_the_folder_of_an_earlier_sweep_has_its_time_in_seconds():
    folder = SweepFolder(Path("sweeps/mine"))
    folder.write_plan(_plan(), threads=1)
    assert re.fullmatch(r"mine\.before-\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", move_aside(folder).name)


def test_each_attempt_has_a_separate_folder():
    folder = SweepFolder(Path("sweeps/mine"))
    for name in ("3", "3-2", "3-3"):
        attempt = folder.find_next_attempt_folder(3)
        assert attempt.name == name
        attempt.mkdir(parents=True)


LOCK = """
from pathlib import Path
from trainyard.sweep.folder import SweepFolder, lock_sweep
with lock_sweep(SweepFolder(Path("sweeps/mine")), print):
    print("locked")
"""


def test_a_second_process_is_rejected_with_the_pid_of_the_first():
    folder = SweepFolder(Path("sweeps/mine"))
    with lock_sweep(folder, print):
        folder.ledger.record_session_start(environment.collect_process_info(), 2)
        rejected = run_program(LOCK)
    assert rejected.returncode == 1
    assert f"ConfigError: sweep mine is already running as process {os.getpid()}" in rejected.stderr
    assert run_program(LOCK).stdout == "locked\n"


TRIAL = """
import fcntl, sys, time
from pathlib import Path
with open(sys.argv[1], "a") as file:
    fcntl.flock(file, fcntl.LOCK_SH)
    print("held", flush=True)
    sys.stdin.readline()
    time.sleep(0.2)
    Path("ended").touch()
sys.stdin.read()
"""


def test_locking_waits_for_processes_of_an_earlier_session():
    folder = SweepFolder(Path("sweeps/mine"))
    folder.path.mkdir(parents=True)
    messages = []
    with subprocess.Popen(
        [sys.executable, "-c", TRIAL, folder.trials_lock_file], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as trial:
        assert trial.stdout.readline() == b"held\n"

        def end_trial(message):
            messages.append(message)
            trial.stdin.write(b"end\n")
            trial.stdin.flush()

        with lock_sweep(folder, end_trial):
            assert Path("ended").exists()
        trial.kill()
    assert messages == ["waiting until the processes of an earlier start of this sweep have ended"]
