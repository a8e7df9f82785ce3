"""The doctor sees what is wrong and what is not, and changes nothing that it was not told to."""

from __future__ import annotations

import gzip
import hashlib
import importlib.metadata
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trainyard.cli import app
from trainyard.data import Mnist
from trainyard.doctor import Sign, disk, examine, machine
from trainyard.doctor.caches import check_data, check_leftovers, check_programs
from trainyard.doctor.disk import check_disk, check_git
from trainyard.doctor.machine import check_cores, check_environment, check_gpu, check_memory
from trainyard.doctor.packages import check_plugins, check_versions
from trainyard.doctor.store import check_store
from trainyard.system import environment, xla_cache
from trainyard.system.uris import sqlite_uri
from trainyard.tracking.health import _schema_revisions
from trainyard.tracking.runs import DIED


def _signs(findings):
    return [(str(finding.sign), finding.check) for finding in findings]


def _only(findings):
    (finding,) = findings
    return finding


def _wrong(findings):
    return _only(finding for finding in findings if finding.sign is Sign.WRONG)


def _run_doctor(*options):
    """Returns the exit code and what was said."""
    result = CliRunner().invoke(app, ["doctor", *options])
    return result.exit_code, result.output


def _listing(*folders: Path):
    """Every file below some folders, with its digest and the time of its last change."""
    return {
        path: (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "")
        for folder in folders
        for path in sorted(folder.rglob("*"))
    }


# The store


@pytest.fixture
def store(new_store):
    """A client of a store of the test's own, where runs go to from here."""
    return new_store(Path("mlflow.db"))


def _process():
    """A real process, with the tags that a run in it would have."""
    program = (
        "import json, time\n"
        "from trainyard.system.environment import describe_process\n"
        "print(json.dumps(describe_process()), flush=True)\n"
        "time.sleep(100)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, json.loads(process.stdout.readline())


@pytest.fixture
def orphan_tags():
    """The tags of a run whose process was killed."""
    process, tags = _process()
    process.kill()
    process.communicate()
    return tags


def _running(client, tags, experiment="0"):
    return client.create_run(experiment, tags=tags | {"trainyard.version": "0.1.0"}).info.run_id


def test_a_store_that_is_not_there_is_well_and_is_not_made(tmp_path):
    before = _listing(tmp_path)
    finding = _only(check_store())
    assert finding.sign is Sign.OK
    assert finding.found == f"{Path('mlflow.db').absolute()} will be made with the first run"
    assert _listing(tmp_path) == before


def test_a_run_whose_process_was_killed_is_closed_on_demand_only(store, orphan_tags):
    orphan = _running(store, orphan_tags, store.create_experiment("another"))
    before = _listing(Path.cwd())
    finding = _wrong(check_store())
    assert finding.found == f"1 run left RUNNING by a process that is gone: {orphan} (pid {orphan_tags['pid']})"
    assert _listing(Path.cwd()) == before
    code, said = _run_doctor("--fix")
    assert f"fixed  run {orphan} is KILLED now" in said
    assert "none is left RUNNING" in said
    assert code == 0, said
    run = store.get_run(orphan)
    assert (run.info.status, run.data.tags["error"]) == ("KILLED", DIED)


def test_live_runs_those_of_other_hosts_and_of_other_programs_are_left_alone(store):
    process, live = _process()
    try:
        runs = [
            _running(store, live),
            _running(store, environment.describe_process() | {"host": "elsewhere"}),
            store.create_run("0", tags=live | {"pid": "999999999"}).info.run_id,
        ]
        findings = list(check_store())
        assert _signs(findings) == [("ok", "store"), ("note", "runs"), ("note", "runs"), ("ok", "runs")]
        assert f"on another host: {runs[1]} (host elsewhere)" in findings[1].found
        assert "1 run RUNNING that Trainyard did not start" in findings[2].found
        assert findings[3].found == f"1 run going on: {runs[0]} (pid {process.pid})"
        _run_doctor("--fix")
    finally:
        process.kill()
        process.communicate()
    assert {store.get_run(run).info.status for run in runs} == {"RUNNING"}


def test_a_number_that_a_younger_process_has_now_is_no_sign_of_life(store):
    earlier = datetime.now(UTC) - timedelta(days=1)
    own = environment.describe_process()
    orphan = _running(store, own | {"started": earlier.isoformat()})
    _running(store, own)
    finding = _wrong(check_store())
    assert orphan in finding.found
    assert list(finding.mend()) == [f"run {orphan} is KILLED now"]


def test_a_run_that_ended_by_itself_meanwhile_keeps_its_status(store, orphan_tags):
    run = _running(store, orphan_tags)
    finding = _wrong(check_store())
    store.set_terminated(run, "FINISHED")
    assert list(finding.mend()) == []
    assert store.get_run(run).info.status == "FINISHED"


def test_a_process_that_may_not_be_looked_at_counts_as_alive(monkeypatch, orphan_tags):
    def refuse(pid, number):
        raise PermissionError

    assert not environment.is_alive(orphan_tags["pid"], orphan_tags["started"])
    monkeypatch.setattr(os, "kill", refuse)
    assert environment.is_alive(orphan_tags["pid"], orphan_tags["started"])


def test_a_process_older_than_its_run_says_is_that_run_and_the_clock_was_set():
    later = datetime.now(UTC) + timedelta(days=1)
    assert environment.is_alive(str(os.getpid()), later.isoformat())


def test_the_store_is_counted(store):
    run = _running(store, {})
    store.set_terminated(run)
    store.delete_run(_running(store, {}))
    found = next(iter(check_store())).found
    assert found.startswith(f"{Path('mlflow.db').absolute()}: 1 run in 1 experiment, ")


def test_the_wanted_schema_is_the_one_that_mlflow_wants():
    from mlflow.store.db.utils import _get_latest_schema_revision

    known, latest = _schema_revisions()
    assert latest == _get_latest_schema_revision()
    assert latest in known


def test_a_store_of_an_older_mlflow_is_told_and_not_brought_up_to_date():
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config, _upgrade_db, create_sqlalchemy_engine
    from mlflow.store.tracking.dbmodels.initial_models import Base

    uri = sqlite_uri(Path("mlflow.db"))
    engine = create_sqlalchemy_engine(uri)
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        config = _get_alembic_config(uri)
        config.attributes["connection"] = connection
        command.upgrade(config, "acf3f17fdcc7")
    before = _listing(Path.cwd())
    finding = _only(check_store())
    path = Path("mlflow.db").absolute()
    assert finding.found == f"{path} was written by an older MLflow"
    assert finding.remedy == f"cp {path} {path}.bak && mlflow db upgrade {uri}"
    assert _listing(Path.cwd()) == before
    _upgrade_db(engine)
    engine.dispose()
    assert _signs(check_store()) == [("ok", "store"), ("ok", "runs")]


def test_a_store_of_a_newer_mlflow_is_told(store):
    with sqlite3.connect("mlflow.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'fedcba987654'")
    connection.close()
    finding = _only(check_store())
    assert "written by a newer MLflow" in finding.found
    assert finding.remedy == "pip install --upgrade mlflow"


@pytest.mark.parametrize("damage", ["no database", "a page lost"])
def test_a_damaged_store_is_told(store, damage):
    file = Path("mlflow.db")
    content = bytearray(file.read_bytes())
    if damage == "no database":
        content[:100] = bytes(100)
    else:
        content[4096:8192] = b"\xff" * 4096
    file.write_bytes(content)
    finding = _wrong(check_store())
    assert f"{file.absolute()} is damaged: " in finding.found
    assert "sqlite3" in finding.remedy
    assert file.read_bytes() == content


def test_a_write_that_was_broken_off_is_taken_back_and_then_orphans_are_found(store, orphan_tags):
    orphan = _running(store, orphan_tags)
    store._tracking_client.store.engine.dispose()
    program = (
        "import os, sqlite3\n"
        "connection = sqlite3.connect('mlflow.db', isolation_level=None)\n"
        "for line in ('PRAGMA cache_size=1', 'BEGIN', 'CREATE TABLE half (done)'):\n"
        "    connection.execute(line)\n"
        "for number in range(3000):\n"
        "    connection.execute('INSERT INTO half VALUES (?)', ('text' * 100,))\n"
        "os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=False)
    before = _listing(Path.cwd())
    assert Path("mlflow.db-journal").exists()
    finding = _only(check_store())
    assert (finding.sign, "a write was broken off" in finding.found) == (Sign.NOTE, True)
    assert _listing(Path.cwd()) == before
    code, said = _run_doctor("--fix")
    assert [line[:6] for line in said.splitlines()[:2]] == ["fixed "] * 2
    assert f"run {orphan} is KILLED now" in said
    assert code == 0, said


def test_an_empty_file_gets_its_tables_from_the_first_run():
    Path("mlflow.db").touch()
    assert "the first run makes them" in _only(check_store()).found
    assert Path("mlflow.db").stat().st_size == 0


def test_a_dead_server_is_told_at_once_and_without_the_password(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:secret@127.0.0.1:{port}")
    start = time.monotonic()
    finding = _wrong(check_store())
    assert time.monotonic() - start < 5
    assert f"http://***@127.0.0.1:{port} can't be used: " in finding.found
    assert "refused" in finding.found
    assert "secret" not in finding.found + finding.remedy


def test_a_silent_server_is_waited_for_a_while_only(monkeypatch):
    monkeypatch.setattr("trainyard.tracking.connection.ANSWER_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "can't be used: " in _wrong(check_store()).found
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://ann:secret@127.0.0.1:1/runs")
        finding = _wrong(check_store())
    assert finding.found == "postgresql://***@127.0.0.1:1/runs can't be used: [Errno 111] Connection refused"


@pytest.mark.slow
def test_the_runs_of_a_server_are_found_page_by_page(monkeypatch, store, orphan_tags, mlflow_address):
    for module in ("runs", "health"):
        monkeypatch.setattr(f"trainyard.tracking.{module}.PAGE", 2)
    other = store.create_experiment("other")
    store.create_experiment("empty")
    orphans = {_running(store, orphan_tags, experiment) for experiment in ("0", "0", "0", other)}
    live = _running(store, environment.describe_process())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_address)
    findings = list(check_store())
    assert findings[0].found == f"{mlflow_address}: 3 experiments"
    assert set(_wrong(findings).mend()) == {f"run {orphan} is KILLED now" for orphan in orphans}
    assert {store.get_run(orphan).info.status for orphan in orphans} == {"KILLED"}
    assert store.get_run(live).info.status == "RUNNING"


@pytest.fixture
def mlflow_address(store):
    """The address of a real server on the test's store."""
    from trainyard.tracking import ui_server

    port = ui_server.free_port(5600)
    with ui_server.mlflow_server(sqlite_uri(Path("mlflow.db")), port) as running:
        ui_server.wait_until_ready(running)
        yield f"http://127.0.0.1:{port}"


def test_an_address_of_no_store_is_told(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "ftp://somewhere")
    finding = _only(check_store())
    assert finding.sign is Sign.WRONG
    assert finding.found.startswith("MLFLOW_TRACKING_URI: expected http://")


# Packages and plugins


def test_all_packages_are_as_new_as_they_have_to_be():
    assert _signs(check_versions()) == [("ok", "python"), ("ok", "packages")]


def test_packages_that_are_old_or_missing_are_named_with_the_command(monkeypatch):
    needs = ["numpy>=2000", "no-such-package>=1.5", "rich>=1", "pytest>=2000; extra == 'dev'"]
    monkeypatch.setattr("trainyard.doctor.packages.requires", lambda name: needs)
    finding = _wrong(check_versions())
    numpy = importlib.metadata.version("numpy")
    assert finding.found == f"numpy is {numpy}, expected >=2000; no-such-package is missing"
    assert finding.remedy == "pip install 'numpy>=2000' 'no-such-package>=1.5'"


def test_plugins_are_imported_and_tell_what_they_add():
    program = "from trainyard.doctor.packages import check_plugins\nfor f in check_plugins(): print(f.sign, f.found)"
    Path("acme.py").write_text(
        "from trainyard.config.registry import register_metric\n"
        "@register_metric('half')\ndef half(probabilities, labels):\n    return 0.5\n"
    )
    Path("nothing.py").touch()
    Path("broken.py").write_text("import no_such_module")
    for plugin, told in [
        ("acme", "ok they add evaluation.metrics=[half] (acme)"),
        ("nothing", "note they are imported, and register nothing"),
        ("broken", "wrong plugin broken (TRAINYARD_PLUGINS): it can't be imported: ModuleNotFoundError: No module "),
    ]:
        environment = os.environ | {"TRAINYARD_PLUGINS": plugin}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        assert done.stdout.startswith(told)


def test_no_plugins_are_well():
    assert _only(check_plugins()).sign is Sign.OK


# The machine


def test_variables_that_slow_or_change_a_training_are_named(monkeypatch):
    for name in ("OMP_NUM_THREADS", "TF_ENABLE_ONEDNN_OPTS", "TF_XLA_FLAGS", "XLA_FLAGS", "KERAS_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    assert _only(check_environment()).sign is Sign.OK
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert "OMP_NUM_THREADS=1: it limits" in _only(check_environment()).found
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    findings = list(check_environment())
    assert _signs(findings) == [("wrong", "environment"), ("note", "environment"), ("note", "environment")]
    assert [finding.remedy for finding in findings[:2]] == ["unset KERAS_BACKEND", "unset TF_ENABLE_ONEDNN_OPTS"]


@pytest.fixture
def control_groups(tmp_path, monkeypatch):
    """The folder of this process's control group, within one that holds it."""
    own = tmp_path / "cgroup" / "outer" / "inner"
    own.mkdir(parents=True)
    (tmp_path / "own").write_text("1:cpu:/\n0::/outer/inner\n")
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "OWN_CGROUP", tmp_path / "own")
    return own


def test_the_quota_of_the_control_groups_counts(control_groups, monkeypatch):
    monkeypatch.setattr(machine, "available_cores", lambda: 4)
    assert machine.core_quota() is None
    (control_groups / "cpu.max").write_text("max 100000\n")
    assert machine.core_quota() is None
    (control_groups.parent / "cpu.max").write_text("250000 100000\n")
    finding = next(iter(check_cores()))
    assert "for the time of 2.5 only" in finding.found
    assert (finding.sign, finding.remedy) == (Sign.NOTE, "training.threads=2")


def test_the_memory_that_the_control_group_leaves_counts(control_groups):
    assert _only(check_memory()).sign is Sign.OK
    (control_groups / "memory.max").write_text("1610612736\n")
    (control_groups / "memory.current").write_text("1073741824\n")
    finding = _only(check_memory())
    assert finding.sign is Sign.NOTE
    assert finding.found.startswith("0.5 GiB available")


def test_other_work_on_the_cores_is_told(monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (99.0, 0.0, 0.0))
    assert (
        "99.0 processes want the" in next(f for f in check_cores() if f.check == "load" and f.sign is Sign.NOTE).found
    )


def test_a_gpu_that_tensorflow_cannot_use_is_a_note(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(machine, "GPU_DEVICE", tmp_path / "nvidia0")
    monkeypatch.setattr(machine, "_ASK_TENSORFLOW", "print('GPUs', 0)")
    assert _only(check_gpu()).sign is Sign.OK
    (tmp_path / "nvidia0").touch()
    assert "which TensorFlow can't use" in _only(check_gpu()).found
    monkeypatch.setattr(machine, "_ASK_TENSORFLOW", "print('GPUs', 2)")
    assert _only(check_gpu()).found == "an NVIDIA GPU; TensorFlow can use 2"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    finding = _only(check_gpu())
    assert (finding.sign, "hidden from TensorFlow by CUDA_VISIBLE_DEVICES=''" in finding.found) == (Sign.NOTE, True)


# Places


@pytest.mark.parametrize(("free", "sign"), [(2**29, "wrong"), (2**31, "note"), (2**40, "ok")])
def test_little_space_is_told(monkeypatch, free, sign):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(2**41, 2**40, free))
    finding = _only(check_disk())
    assert str(finding.sign) == sign
    assert f"GiB free for runs, the store, artifacts, data, compiled programs: {Path.cwd()}" in finding.found


def test_a_folder_that_cannot_be_written_is_told(monkeypatch):
    monkeypatch.setattr(disk.os, "access", lambda place, mode: place != Path.cwd())
    findings = list(check_disk())
    assert f"runs can't be written to {Path.cwd()}" in findings[0].found
    assert _signs(findings) == [("wrong", "disk")] * 3 + [("ok", "disk")]


def test_without_git_runs_name_no_commit():
    assert _only(check_git()).sign is Sign.NOTE
    Path("a").touch()
    for arguments in (["init", "-q"], ["add", "a"], ["-c", "user.name=a", "-c", "user.email=a", "commit", "-qm", "a"]):
        subprocess.run(["git", *arguments], check=True)
    assert _only(check_git()).found.startswith("runs name the commit ")


# Caches


@pytest.fixture
def cached_mnist(tiny_mnist):
    """MNIST in Trainyard's cache."""
    cache = Mnist().cache
    shutil.copytree(tiny_mnist, cache)
    return cache


def test_a_damaged_file_in_the_cache_is_removed_on_demand(cached_mnist, tmp_path):
    assert f"mnist in {cached_mnist}" in _only(check_data()).found
    labels = cached_mnist / "train-labels-idx1-ubyte.gz"
    labels.write_bytes(gzip.compress(b"<html>"))
    before = _listing(tmp_path)
    code, said = _run_doctor()
    assert _listing(tmp_path) == before
    assert code == 1
    assert "-> trainyard doctor --fix removes it" in said
    code, said = _run_doctor("--fix")
    assert f"fixed  removed: {labels}" in said
    assert code == 0
    assert {*before} - {*_listing(tmp_path)} == {labels}


def test_a_users_own_damaged_file_is_told_and_stays(tiny_mnist, monkeypatch):
    monkeypatch.setenv("TRAINYARD_DATA_DIR", str(tiny_mnist))
    labels = tiny_mnist / "train-labels-idx1-ubyte.gz"
    labels.write_bytes(b"no")
    finding = _wrong(check_data())
    assert str(labels) in finding.found
    assert finding.mend is None
    monkeypatch.setenv("TRAINYARD_DATA_DIR", "nowhere")
    assert "names a folder that is not there: nowhere" in next(iter(check_data())).found


def test_a_cache_that_is_a_link_to_a_users_folder_is_not_touched(tiny_mnist):
    cache = Mnist().cache
    cache.parent.mkdir(parents=True)
    cache.symlink_to(tiny_mnist)
    (tiny_mnist / "train-labels-idx1-ubyte.gz").write_bytes(b"no")
    assert _wrong(check_data()).mend is None


def test_a_changed_program_is_removed_on_demand_and_an_unsealed_one_stays():
    folder = xla_cache.cache_root() / "0123456789abcdef"
    folder.mkdir(parents=True)
    for name in ("whole", "changed", "going_on"):
        (folder / f"{name}.pb").write_bytes(b"machine code")
        digest = hashlib.sha256(b"machine code").hexdigest()
        (folder / f"{name}.sha256").write_text(digest)
    (folder / "going_on.sha256").unlink()
    assert _only(check_programs()).sign is Sign.OK
    (folder / "changed.pb").write_bytes(b"machine c0de")
    finding = _wrong(check_programs())
    assert f"1 compiled program changed on disk, as {folder / 'changed.pb'}" in finding.found
    assert list(finding.mend()) == ["removed: 1 compiled program"]
    assert sorted(path.name for path in folder.iterdir()) == ["going_on.pb", "whole.pb", "whole.sha256"]


def test_leftovers_of_yesterday_are_removed_and_those_of_today_may_still_be_needed():
    download = Mnist().cache / "tmpab12cd_4"
    download.mkdir(parents=True)
    (download / "part").write_bytes(bytes(1000))
    checkpoints = Path("outputs/a/b/checkpoints")
    checkpoints.mkdir(parents=True)
    for name in ("epoch_000001.partial", "epoch_000001.npz"):
        (checkpoints / name).write_bytes(bytes(1000))
    assert _only(check_leftovers()).sign is Sign.OK
    for path in (download, download / "part", *checkpoints.iterdir()):
        os.utime(path, (1e9, 1e9))
    finding = _only(check_leftovers())
    assert (finding.sign, "2 unfinished files" in finding.found) == (Sign.NOTE, True)
    list(finding.mend())
    assert not download.exists()
    assert [path.name for path in checkpoints.iterdir()] == ["epoch_000001.npz"]


# The command


def test_a_check_that_breaks_down_does_not_silence_the_others(monkeypatch):
    monkeypatch.setattr("trainyard.doctor.CHECKS", (check_git, lambda: 1 / 0))
    findings = examine()
    assert "it could not be checked: ZeroDivisionError: division by zero" in findings[0].found
    assert findings[1].check == "git"


def test_what_cannot_be_mended_is_said_and_the_rest_is_mended(cached_mnist, monkeypatch):
    for path in sorted(cached_mnist.iterdir())[:2]:
        path.write_bytes(b"no")
    unlink = Path.unlink

    def fail(path, missing_ok=False):
        if path.name.startswith("t10k-images"):
            raise PermissionError(f"not permitted: {path}")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", fail)
    code, said = _run_doctor("--fix")
    assert code == 1
    assert "failed data: not permitted: " in said


def test_scripts_get_json(store, orphan_tags):
    orphan = _running(store, orphan_tags)
    code, said = _run_doctor("--json")
    told = json.loads(said)
    assert (code, told["wrong"], told["findings"][0]["fixable"]) == (1, 1, True)
    assert orphan in told["findings"][0]["found"]
    code, said = _run_doctor("--json", "--fix")
    told = json.loads(said)
    assert (code, told["wrong"], told["fixed"], told["not_fixed"]) == (0, 0, [f"run {orphan} is KILLED now"], [])


def test_the_real_command_imports_neither_tensorflow_nor_mlflow_and_changes_nothing(store, tmp_path):
    before = _listing(tmp_path)
    program = (
        "import sys\nfrom trainyard.cli import main\nsys.argv = ['trainyard', 'doctor']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    print(end.code, {'tensorflow', 'mlflow'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 set()"
    assert _listing(tmp_path) == before
