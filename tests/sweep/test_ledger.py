"""The ledger and the folder of a sweep: what is kept, what survives, who may work in it."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainyard.errors import ConfigError, TrainyardError
from trainyard.evaluation.trials import TrialResult
from trainyard.sweep.folder import (
    SweepFolder,
    refuse_other_definition,
    refuse_strange_folder,
    set_aside,
    sweep_folders,
    take_over,
)
from trainyard.sweep.ledger import Account, Ledger
from trainyard.sweep.plan import make_plan
from trainyard.system import environment

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


def test_what_was_written_is_read_again(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.opened(environment.describe_process(), 2)
    ledger.has_parent("parent")
    ledger.works("mlp")
    ledger.began(1, "trials/1")
    ledger.done(1, RESULT)
    ledger.began(2, "trials/2")
    ledger.failed(2, "ValueError: no")
    ledger.began(2, "trials/2-2")
    ledger.closed("KILLED")
    again = Ledger(tmp_path / "ledger.jsonl")
    kept = {
        field: getattr(RESULT, field)
        for field in ("objective", "metrics", "epochs", "seconds", "run_id", "folder", "parameters")
    }
    done = Account("done", 1, "trials/1", result=TrialResult(**kept, history=()))
    assert dataclasses.replace(again.account(1), began="", seconds=0.0) == done
    assert (again.account(2).state, again.account(2).attempts, again.account(2).folder) == ("running", 2, "trials/2-2")
    assert again.account(3) == Account()
    assert again.parent == "parent"
    assert again.tried == {"mlp"}
    assert [(session.pid, session.status) for session in again.sessions] == [(str(os.getpid()), "KILLED")]


def test_it_counts_what_trials_and_starts_took(tmp_path):
    """An attempt that was broken off is not known to have ended, and a start that was killed ended with its last entry."""
    process = {"host": "here", "pid": "1", "started": "", "places": 1}
    entries = [
        ("opened", 0, process), ("began", 10, {"trial": 1, "folder": ""}), ("failed", 15, {"trial": 1, "reason": "no"}),
        ("began", 20, {"trial": 2, "folder": ""}),
        ("opened", 40, process), ("began", 41, {"trial": 2, "folder": ""}), ("pruned", 43, {"trial": 2, "reason": "late"}),
        ("began", 44, {"trial": 1, "folder": ""}), ("failed", 48, {"trial": 1, "reason": "no"}),
        ("closed", 50, {"status": "FAILED"}),
    ]  # fmt: skip
    file = tmp_path / "ledger.jsonl"
    lines = [{"what": what, "time": f"2026-01-01T00:00:{at:02}.000+00:00", **content} for what, at, content in entries]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    ledger = Ledger(file)
    assert [ledger.account(number).seconds for number in (1, 2, 3)] == [9, 2, 0]
    assert [session.seconds for session in ledger.sessions] == [20, 10]


def test_an_entry_that_was_cut_in_two_counts_for_nothing_and_does_not_spoil_the_next(tmp_path):
    file = tmp_path / "ledger.jsonl"
    ledger = Ledger(file)
    ledger.began(1, "trials/1")
    whole = file.read_bytes()
    ledger.done(1, RESULT)
    for length in range(len(whole), len(file.read_bytes())):
        cut = tmp_path / "cut.jsonl"
        cut.write_bytes(file.read_bytes()[:length])
        again = Ledger(cut)
        assert again.account(1).state == "running"
        again.repair()
        again.began(2, "trials/2")
        assert [Ledger(cut).account(number).state for number in (1, 2)] == ["running", "running"]


def test_a_disk_that_takes_half_a_line_leaves_none_of_it(tmp_path):
    resource = pytest.importorskip("resource")
    file = tmp_path / "ledger.jsonl"
    ledger = Ledger(file)
    ledger.opened(environment.describe_process(), 2)
    ledger.began(1, "trials/1")
    before, limits = file.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            ledger.failed(1, "x" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.read_bytes() == before
    ledger.closed("FAILED")
    assert Ledger(file).sessions[0].status == "FAILED"


def test_a_ledger_that_is_none_is_named(tmp_path):
    (tmp_path / "ledger.jsonl").write_text('{"what": "closed"\n')
    with pytest.raises(TrainyardError, match=r"ledger.jsonl: line 1 is no entry of a ledger"):
        Ledger(tmp_path / "ledger.jsonl")


def _plan(*overrides):
    return make_plan(["sweep.objective=off", "sweep.name=mine", "seed=1,2,3", *overrides])


def test_a_plan_is_kept_as_it_is():
    plan = _plan()
    folder = SweepFolder(Path("sweeps/mine"))
    folder.write_plan(plan, threads=3)
    assert folder.read_trials() == plan.trials
    assert folder.threads == 3
    assert [found.path for found in sweep_folders()] == [folder.path]
    refuse_other_definition(folder, _plan("sweep.retries=3"))


def test_another_definition_is_refused_with_the_difference():
    folder = SweepFolder(Path("sweeps/mine"))
    folder.write_plan(_plan("training.epochs=5"), threads=1)
    with pytest.raises(ConfigError) as caught:
        refuse_other_definition(folder, _plan("training.epochs=6"))
    first, *lines, last = str(caught.value).splitlines()
    assert "sweep mine: it was planned otherwise" in first
    assert lines == ["trial seed1: it was not there", "trial seed2: it was not there", "trial seed3: it was not there",
                     "trial seed1: it was there, and is gone", "trial seed2: it was there, and is gone",
                     "trial seed3: it was there, and is gone"]  # fmt: skip
    assert "--fresh" in last


def test_a_changed_file_is_refused_with_what_it_changed():
    Path("conf/experiment").mkdir(parents=True)
    recipe = Path("conf/experiment/mine.yaml")
    recipe.write_text("# @package _global_\nname: mine\ntraining: {epochs: 5}\n")
    folder = SweepFolder(Path("sweeps/mine"))
    folder.write_plan(_plan("experiment=mine"), threads=1)
    recipe.write_text("# @package _global_\nname: mine\ntraining: {epochs: 6}\n")
    with pytest.raises(ConfigError, match=r"trial seed2: training.epochs is 6, was 5"):
        refuse_other_definition(folder, _plan("experiment=mine"))


def test_another_objective_is_another_definition():
    folder = SweepFolder(Path("sweeps/mine"))
    folder.write_plan(_plan(), threads=1)
    with pytest.raises(ConfigError, match=r"sweep.objective is loss/val, was off"):
        refuse_other_definition(folder, _plan("sweep.objective=loss/val", "dataset.validation_fraction=0.1"))


def test_the_trials_of_the_first_plan_stay_what_they_were():
    """The same values may be written in another way, in another order."""
    folder = SweepFolder(Path("sweeps/mine"))
    first = _plan("training.epochs=1,2")
    folder.write_plan(first, threads=1)
    again = make_plan(["sweep.objective=off", "sweep.name=mine", "training.epochs=choice(2,1)", "seed=range(1,4)"])
    refuse_other_definition(folder, again)
    restored = folder.restore(again)
    assert (restored.trials, restored.swept, restored.overrides) == (first.trials, first.swept, first.overrides)


@pytest.mark.parametrize("content", ["", "{}\n", "nonsense\n"])
def test_a_damaged_plan_is_named(content):
    folder = SweepFolder(Path("sweeps/mine"))
    folder.path.mkdir(parents=True)
    folder.plan.write_text(content)
    with pytest.raises(TrainyardError, match=r"plan.jsonl: the plan of the sweep"):
        folder.read_header()


@pytest.mark.parametrize("path", [".", "..", "other"])
def test_only_a_folder_of_its_own_becomes_that_of_a_sweep(path):
    Path("other").mkdir()
    Path("other/precious").write_text("x")
    with pytest.raises(ConfigError, match=r"hydra.sweep.dir: expected a"):
        refuse_strange_folder(SweepFolder(Path(path)))
    assert set_aside(SweepFolder(Path("other"))) is None
    refuse_strange_folder(SweepFolder(Path("new")))


def test_a_plan_whose_writing_was_broken_off_is_written_anew():
    folder = SweepFolder(Path("sweeps/mine"))
    folder.write_plan(_plan(), threads=1)
    folder.plan.rename(folder.path / "partial.plan.jsonl")
    refuse_strange_folder(folder)
    assert set_aside(folder) is None
    folder.write_plan(_plan(), threads=1)
    assert folder.read_trials() == _plan().trials


def test_what_is_set_aside_is_kept():
    folder = SweepFolder(Path("sweeps/mine"))
    assert set_aside(folder) is None
    kept = set()
    for _ in range(3):
        folder.write_plan(_plan(), threads=1)
        kept.add(set_aside(folder))
    assert len(kept) == 3
    assert all((path / "plan.jsonl").exists() for path in kept)
    assert not folder.path.exists()


def test_each_attempt_has_a_folder_of_its_own():
    folder = SweepFolder(Path("sweeps/mine"))
    for name in ("3", "3-2", "3-3"):
        attempt = folder.next_attempt(3)
        assert attempt.name == name
        attempt.mkdir(parents=True)


HOLD = """
import sys
from pathlib import Path
from trainyard.system import environment
from trainyard.sweep.folder import SweepFolder, take_over
from trainyard.sweep.ledger import Ledger
folder = SweepFolder(Path("sweeps/mine"))
with take_over(folder, print):
    folder.path.mkdir(exist_ok=True)
    Ledger(folder.ledger).opened(environment.describe_process(), 2)
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_process_at_a_time_and_the_second_is_told_which():
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        folder = SweepFolder(Path("sweeps/mine"))
        with (
            pytest.raises(ConfigError, match=f"sweep mine: it runs already, as process {holder.pid}"),
            take_over(folder, print),
        ):
            pass
        holder.kill()
    with take_over(folder, print):
        pass


def test_processes_of_an_earlier_start_are_waited_for():
    folder = SweepFolder(Path("sweeps/mine"))
    folder.path.mkdir(parents=True)
    program = "import fcntl, sys, time; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_SH); print('held', flush=True); f.flush(); time.sleep(1.5); f.close(); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program, folder.held], stdout=subprocess.PIPE) as trial:
        assert trial.stdout.readline() == b"held\n"
        told = []
        began = time.monotonic()
        with take_over(folder, told.append):
            assert time.monotonic() - began > 0.5
        trial.kill()
        assert told == ["waiting for the processes of an earlier start of this sweep to end"]
