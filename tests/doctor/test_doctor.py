"""`trainyard doctor` finds problems, reports what is in order, and changes nothing without --fix."""

from __future__ import annotations

import gzip
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from pages import suggested_commands
from processes import run_program
from typer.testing import CliRunner

from trainyard.cli.commands import app
from trainyard.data import Mnist, array_cache
from trainyard.doctor import Severity, disk, machine, run_checks
from trainyard.doctor.caches import check_data, check_decoded, check_leftovers, check_programs
from trainyard.doctor.disk import check_disk, check_git
from trainyard.doctor.machine import check_cores, check_environment, check_gpu, check_memory
from trainyard.doctor.packages import check_plugins, check_versions
from trainyard.doctor.store import check_store
from trainyard.system import control_groups, environment, read_core_quota, xla_cache
from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking.schema import load_schema_revisions
from trainyard.tracking.tracking_store import PROCESS_DIED


def _list_severities(findings):
    return [(str(finding.severity), finding.check) for finding in findings]


def _only(findings):
    (finding,) = findings
    return finding


def _wrong(findings):
    return _only(finding for finding in findings if finding.severity is Severity.WRONG)


def _run_doctor(*options):
    """Returns the exit code and the output of the command."""
    result = CliRunner().invoke(app, ["doctor", *options])
    return result.exit_code, result.output


def _listing(*folders: Path):
    """Returns every path below the folders, with its modification time and digest."""
    return {
        path: (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "")
        for folder in folders
        for path in sorted(folder.rglob("*"))
    }


# The store


@pytest.fixture
def store(new_store):
    """A client of a new store, to which runs in the working directory are logged."""
    return new_store(Path("mlflow.db"))


def _process():
    """Starts a real process; returns it and the tags that a run in it would have."""
    program = (
        "import json, time\n"
        "from trainyard.system.environment import collect_process_info\n"
        "print(json.dumps(collect_process_info()), flush=True)\n"
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


def test_a_missing_store_is_ok_and_is_not_created(tmp_path):
    before = _listing(tmp_path)
    finding = _only(check_store())
    assert finding.severity is Severity.OK
    assert finding.message == f"the first run will create {Path('mlflow.db').absolute()}"
    assert _listing(tmp_path) == before


def test_a_run_whose_process_was_killed_is_closed_only_with_fix(store, orphan_tags):
    orphan = _running(store, orphan_tags, store.create_experiment("another"))
    before = _listing(Path.cwd())
    finding = _wrong(check_store())
    assert finding.message == f"1 run RUNNING without a live process: {orphan} (pid {orphan_tags['pid']})"
    assert _listing(Path.cwd()) == before
    assert suggested_commands(_run_doctor()[1]) == {"fix": "trainyard doctor --fix"}
    code, output = _run_doctor("--fix")
    assert suggested_commands(output) == {"train": "trainyard train experiment=quickstart"}
    assert f"fixed  run {orphan} is KILLED now" in output
    assert "no run has the status RUNNING" in output
    assert code == 0, output
    run = store.get_run(orphan)
    assert (run.info.status, run.data.tags["error"]) == ("KILLED", PROCESS_DIED)


def test_live_runs_and_runs_of_other_hosts_and_programs_are_not_closed(store):
    process, live = _process()
    try:
        runs = [
            _running(store, live),
            _running(store, environment.collect_process_info() | {"host": "elsewhere"}),
            store.create_run("0", tags=live | {"pid": "999999999"}).info.run_id,
        ]
        findings = list(check_store())
        assert _list_severities(findings) == [("ok", "store"), ("note", "runs"), ("note", "runs"), ("ok", "runs")]
        assert f"on another host: {runs[1]} (host elsewhere)" in findings[1].message
        assert "1 run RUNNING that Trainyard did not start" in findings[2].message
        assert findings[3].message == f"1 run in progress: {runs[0]} (pid {process.pid})"
        _run_doctor("--fix")
    finally:
        process.kill()
        process.communicate()
    assert {store.get_run(run).info.status for run in runs} == {"RUNNING"}


def test_a_reused_process_id_does_not_count_as_a_live_process(store):
    earlier = datetime.now(UTC) - timedelta(days=1)
    own = environment.collect_process_info()
    orphan = _running(store, own | {"started": earlier.isoformat()})
    _running(store, own)
    finding = _wrong(check_store())
    assert orphan in finding.message
    assert list(finding.fix()) == [f"run {orphan} is KILLED now"]


def test_a_run_that_has_ended_in_the_meantime_keeps_its_status(store, orphan_tags):
    run = _running(store, orphan_tags)
    finding = _wrong(check_store())
    store.set_terminated(run, "FINISHED")
    assert list(finding.fix()) == []
    assert store.get_run(run).info.status == "FINISHED"


def test_a_process_without_permission_to_check_counts_as_alive(monkeypatch, orphan_tags):
    def raise_permission_error(pid, number):
        raise PermissionError

    assert not environment.is_process_alive(orphan_tags["pid"], orphan_tags["started"])
    monkeypatch.setattr(os, "kill", raise_permission_error)
    assert environment.is_process_alive(orphan_tags["pid"], orphan_tags["started"])


def test_a_process_older_than_the_start_tag_of_its_run_counts_as_alive():
    later = datetime.now(UTC) + timedelta(days=1)
    assert environment.is_process_alive(str(os.getpid()), later.isoformat())


def test_runs_and_experiments_of_the_store_are_counted(store):
    run = _running(store, {})
    store.set_terminated(run)
    store.delete_run(_running(store, {}))
    message = next(iter(check_store())).message
    assert message.startswith(f"{Path('mlflow.db').absolute()}: 1 run in 1 experiment, ")


def test_the_latest_schema_revision_is_that_of_mlflow():
    from mlflow.store.db.utils import _get_latest_schema_revision

    known, latest = load_schema_revisions()
    assert latest == _get_latest_schema_revision()
    assert latest in known


def test_a_store_of_an_older_mlflow_is_reported_and_not_migrated(older_store):
    from mlflow.store.db.utils import _upgrade_db, create_sqlalchemy_engine

    before = _listing(Path.cwd())
    finding = _only(check_store())
    uri, copy = build_sqlite_uri(older_store), f"{older_store}.before-{importlib.metadata.version('mlflow')}"
    assert finding.message == f"{older_store} was written by an older MLflow"
    assert finding.remedy == f"run: cp {older_store} {copy} && mlflow db upgrade {uri}"
    assert _listing(Path.cwd()) == before
    engine = create_sqlalchemy_engine(uri)
    _upgrade_db(engine)
    engine.dispose()
    assert _list_severities(check_store()) == [("ok", "store"), ("ok", "runs")]


def test_a_store_of_a_newer_mlflow_is_reported(store):
    with sqlite3.connect("mlflow.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'fedcba987654'")
    connection.close()
    finding = _only(check_store())
    assert "written by a newer MLflow" in finding.message
    assert finding.remedy == "pip install --upgrade mlflow"


@pytest.mark.parametrize("damage", ["no database", "a page lost"])
def test_a_damaged_store_is_reported(store, damage):
    file = Path("mlflow.db")
    content = bytearray(file.read_bytes())
    if damage == "no database":
        content[:100] = bytes(100)
    else:
        content[4096:8192] = b"\xff" * 4096
    file.write_bytes(content)
    finding = _wrong(check_store())
    assert f"{file.absolute()} is damaged: " in finding.message
    assert "sqlite3" in finding.remedy
    assert file.read_bytes() == content


def test_an_interrupted_write_is_rolled_back_and_then_orphans_are_found(store, orphan_tags):
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
    assert (finding.severity, "a write was interrupted" in finding.message) == (Severity.NOTE, True)
    assert _listing(Path.cwd()) == before
    code, output = _run_doctor("--fix")
    assert [line[:6] for line in output.splitlines()[:2]] == ["fixed "] * 2
    assert f"run {orphan} is KILLED now" in output
    assert code == 0, output


def test_an_empty_store_file_is_ok_and_is_not_changed():
    Path("mlflow.db").touch()
    assert "the first run creates them" in _only(check_store()).message
    assert Path("mlflow.db").stat().st_size == 0


def test_a_dead_server_is_reported_quickly_and_without_the_password(monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:secret@127.0.0.1:{port}")
    start = time.monotonic()
    finding = _wrong(check_store())
    assert time.monotonic() - start < 5
    assert f"http://***@127.0.0.1:{port} can't be used: " in finding.message
    assert "refused" in finding.message
    assert "secret" not in finding.message + finding.remedy


def test_the_wait_for_an_unresponsive_server_is_limited(monkeypatch):
    monkeypatch.setattr("trainyard.tracking.connection.ANSWER_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "can't be used: " in _wrong(check_store()).message
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://ann:secret@127.0.0.1:1/runs")
        finding = _wrong(check_store())
    assert finding.message == "postgresql://***@127.0.0.1:1/runs can't be used: [Errno 111] Connection refused"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:starlette.middleware.wsgi is deprecated")  # inside MLflow's server
def test_the_runs_of_a_server_are_found_on_all_pages(monkeypatch, store, orphan_tags, mlflow_address):
    monkeypatch.setattr("trainyard.tracking.connection.PAGE_SIZE", 2)
    other = store.create_experiment("other")
    store.create_experiment("empty")
    orphans = {_running(store, orphan_tags, experiment) for experiment in ("0", "0", "0", other)}
    live = _running(store, environment.collect_process_info())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_address)
    findings = list(check_store())
    assert findings[0].message == f"{mlflow_address}: 3 experiments"
    assert set(_wrong(findings).fix()) == {f"run {orphan} is KILLED now" for orphan in orphans}
    assert {store.get_run(orphan).info.status for orphan in orphans} == {"KILLED"}
    assert store.get_run(live).info.status == "RUNNING"


@pytest.fixture
def mlflow_address(store, monkeypatch):
    """The address of MLflow's server application on the test's store, in a thread of this process."""
    from mlflow.server import BACKEND_STORE_URI_ENV_VAR, app, handlers
    from werkzeug.serving import make_server

    monkeypatch.setenv(BACKEND_STORE_URI_ENV_VAR, build_sqlite_uri(Path("mlflow.db")))
    monkeypatch.setattr(handlers, "_tracking_store", None)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_invalid_tracking_uri_is_reported(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "ftp://somewhere")
    finding = _only(check_store())
    assert finding.severity is Severity.WRONG
    assert finding.message.startswith("MLFLOW_TRACKING_URI: expected http://")


# Packages and plugins


def test_all_requirements_are_met():
    assert _list_severities(check_versions()) == [("ok", "python"), ("ok", "packages")]


def test_an_unsupported_python_and_a_missing_installation_are_reported(monkeypatch):
    monkeypatch.setattr("platform.python_version", lambda: "3.8.1")
    assert re.fullmatch(r"expected >=3\.\d+(,<.*)?, got 3\.8\.1", _wrong(check_versions()).message)

    def raise_error(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("trainyard.doctor.packages.metadata", raise_error)
    assert _wrong(check_versions()).message.startswith("Trainyard is not installed")


def test_old_and_missing_packages_are_reported_with_the_command(monkeypatch):
    requirements = ["numpy>=2000", "no-such-package>=1.5", "rich>=1", "pytest>=2000; extra == 'dev'"]
    monkeypatch.setattr("trainyard.doctor.packages.requires", lambda name: requirements)
    finding = _wrong(check_versions())
    numpy = importlib.metadata.version("numpy")
    assert finding.message == f"numpy: expected >=2000, got {numpy}; no-such-package is missing"
    assert finding.remedy == "pip install 'numpy>=2000' 'no-such-package>=1.5'"


def test_plugins_are_imported_and_their_registrations_are_reported():
    program = (
        "from trainyard.doctor.packages import check_plugins\nfor f in check_plugins(): print(f.severity, f.message)"
    )
    Path("acme.py").write_text(
        "from trainyard.config.registry import register_metric\n"
        "@register_metric('half')\ndef half(probabilities, labels):\n    return 0.5\n"
    )
    Path("nothing.py").touch()
    Path("broken.py").write_text("import no_such_module")
    for plugin, expected in [
        ("acme", "ok registered by plugins: evaluation.metrics=[half] (acme)"),
        ("nothing", "note the plugins were imported but register nothing"),
        ("broken", "wrong plugin broken (TRAINYARD_PLUGINS): it cannot be imported: ModuleNotFoundError: No module "),
    ]:
        done = run_program(program, environment={"TRAINYARD_PLUGINS": plugin})
        assert done.stdout.startswith(expected), done.stderr


def test_no_plugins_are_ok():
    assert _only(check_plugins()).severity is Severity.OK


# The machine


def test_environment_variables_that_slow_or_change_a_training_are_reported(monkeypatch):
    for name in ("OMP_NUM_THREADS", "TF_ENABLE_ONEDNN_OPTS", "TF_XLA_FLAGS", "XLA_FLAGS", "KERAS_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    assert _only(check_environment()).severity is Severity.OK
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert "OMP_NUM_THREADS=1: it limits" in _only(check_environment()).message
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    findings = list(check_environment())
    assert _list_severities(findings) == [("wrong", "environment"), ("note", "environment"), ("note", "environment")]
    assert [finding.remedy for finding in findings[:2]] == ["unset KERAS_BACKEND", "unset TF_ENABLE_ONEDNN_OPTS"]


@pytest.fixture
def own_group(tmp_path, monkeypatch):
    """The folder of this process's control group, which has a parent group."""
    own = tmp_path / "cgroup" / "outer" / "inner"
    own.mkdir(parents=True)
    (tmp_path / "own").write_text("1:cpu:/\n0::/outer/inner\n")
    monkeypatch.setattr(control_groups, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(control_groups, "OWN_CGROUP", tmp_path / "own")
    return own


def test_the_cpu_quota_of_the_control_groups_is_respected(own_group, monkeypatch):
    monkeypatch.setattr(machine, "count_available_cores", lambda: 4)
    assert read_core_quota() is None
    (own_group / "cpu.max").write_text("max 100000\n")
    assert read_core_quota() is None
    (own_group.parent / "cpu.max").write_text("250000 100000\n")
    finding = next(iter(check_cores()))
    assert "the CPU quota of the container is 2.5 cores" in finding.message
    assert (finding.severity, finding.remedy) == (Severity.NOTE, "training.threads=2")


def test_the_memory_limit_of_the_control_groups_is_respected(own_group):
    assert _only(check_memory()).severity is Severity.OK
    (own_group / "memory.max").write_text("1610612736\n")
    (own_group / "memory.current").write_text("1073741824\n")
    finding = _only(check_memory())
    assert finding.severity is Severity.NOTE
    assert finding.message.startswith("0.5 GiB available")
    (own_group / "memory.stat").write_text("anon 536870912\nactive_file 104857600\ninactive_file 432013312\n")
    assert _only(check_memory()).message.startswith("1.0 GiB available")  # cached files are freed when needed


def test_a_high_load_is_reported(monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (99.0, 0.0, 0.0))
    assert (
        "load average 99.0 on"
        in next(f for f in check_cores() if f.check == "load" and f.severity is Severity.NOTE).message
    )


def test_a_gpu_that_tensorflow_cannot_use_is_a_note(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(machine, "GPU_DEVICE", tmp_path / "nvidia0")
    monkeypatch.setattr(machine, "_COUNT_GPUS_PROGRAM", "print('GPUs', 0)")
    assert _only(check_gpu()).severity is Severity.OK
    (tmp_path / "nvidia0").touch()
    assert "TensorFlow can't use an NVIDIA GPU" in _only(check_gpu()).message
    monkeypatch.setattr(machine, "_COUNT_GPUS_PROGRAM", "print('GPUs', 2)")
    assert _only(check_gpu()).message == "an NVIDIA GPU; TensorFlow can use 2"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    finding = _only(check_gpu())
    assert (finding.severity, "hidden from TensorFlow by CUDA_VISIBLE_DEVICES=''" in finding.message) == (
        Severity.NOTE,
        True,
    )


# Disks and git


@pytest.mark.parametrize(("free", "severity"), [(2**29, "wrong"), (2**31, "note"), (2**40, "ok")])
def test_low_disk_space_is_reported(monkeypatch, free, severity):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(2**41, 2**40, free))
    finding = _only(check_disk())
    assert str(finding.severity) == severity
    assert f"GiB free for runs, the store, artifacts, data, compiled programs: {Path.cwd()}" in finding.message


def test_a_folder_that_is_not_writable_is_reported(monkeypatch):
    monkeypatch.setattr(disk.os, "access", lambda folder, mode: folder != Path.cwd())
    findings = list(check_disk())
    assert f"runs can't be written to {Path.cwd()}" in findings[0].message
    assert _list_severities(findings) == [("wrong", "disk")] * 3 + [("ok", "disk")]


def test_runs_outside_a_git_repository_record_no_commit(monkeypatch):
    assert _only(check_git()).severity is Severity.NOTE
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        assert _only(check_git()).remedy == "install git"
    Path("a").touch()
    for arguments in (["init", "-q"], ["add", "a"], ["-c", "user.name=a", "-c", "user.email=a", "commit", "-qm", "a"]):
        subprocess.run(["git", *arguments], check=True)
    assert _only(check_git()).message.startswith("runs record the commit ")


# Caches


@pytest.fixture
def cached_mnist(tiny_mnist):
    """MNIST in Trainyard's cache."""
    cache = Mnist().cache
    shutil.copytree(tiny_mnist, cache)
    return cache


def test_a_damaged_file_in_the_cache_is_removed_only_with_fix(cached_mnist, tmp_path):
    assert f"mnist in {cached_mnist}" in _only(check_data()).message
    labels = cached_mnist / "train-labels-idx1-ubyte.gz"
    labels.write_bytes(gzip.compress(b"<html>"))
    before = _listing(tmp_path)
    code, output = _run_doctor()
    assert _listing(tmp_path) == before
    assert code == 1
    assert "-> trainyard doctor --fix removes it" in output
    code, output = _run_doctor("--fix")
    assert f"fixed  removed: {labels}" in output
    assert code == 0
    assert {*before} - {*_listing(tmp_path)} == {labels}


def test_a_damaged_file_of_the_user_is_reported_and_not_removed(tiny_mnist, monkeypatch):
    monkeypatch.setenv("TRAINYARD_DATA_DIR", str(tiny_mnist))
    labels = tiny_mnist / "train-labels-idx1-ubyte.gz"
    labels.write_bytes(b"no")
    finding = _wrong(check_data())
    assert str(labels) in finding.message
    assert finding.fix is None
    monkeypatch.setenv("TRAINYARD_DATA_DIR", "nowhere")
    assert "TRAINYARD_DATA_DIR: expected a folder that exists, got nowhere" in next(iter(check_data())).message


def test_a_cache_that_links_to_a_folder_of_the_user_is_not_changed(tiny_mnist):
    cache = Mnist().cache
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.symlink_to(tiny_mnist)
    (tiny_mnist / "train-labels-idx1-ubyte.gz").write_bytes(b"no")
    assert _wrong(check_data()).fix is None


def test_a_changed_program_is_removed_and_one_without_digest_is_kept(own_program_cache):
    folder = xla_cache.find_cache_root() / "0123456789abcdef"
    folder.mkdir(parents=True)
    for name in ("valid", "changed", "unfinished"):
        (folder / f"{name}.pb").write_bytes(b"machine code")
        digest = hashlib.sha256(b"machine code").hexdigest()
        (folder / f"{name}.sha256").write_text(digest)
    (folder / "unfinished.sha256").unlink()
    assert _only(check_programs()).severity is Severity.OK
    (folder / "changed.pb").write_bytes(b"machine c0de")
    finding = _wrong(check_programs())
    assert f"1 compiled program changed on disk, for example {folder / 'changed.pb'}" in finding.message
    assert list(finding.fix()) == ["removed: 1 compiled program"]
    assert sorted(path.name for path in folder.iterdir()) == ["unfinished.pb", "valid.pb", "valid.sha256"]


def _cache_decoded(source):
    """Stores an array of 1,000 bytes and its header in the cache of decoded data."""
    create = lambda writer: (writer.add("train", np.zeros(1000, np.uint8)), {})[1]  # noqa: E731
    array_cache.load_or_create(source.name.encode().hex().zfill(32), str(source.absolute()), 1000, create)


def test_the_size_of_the_cache_of_decoded_data_and_entries_of_removed_data_are_reported(monkeypatch):
    finding = _only(check_decoded())
    assert (finding.severity, "0 decoded data sets, 0.00 of 20 GB" in finding.message) == (Severity.OK, True)
    for name in ("birds", "fish"):
        Path(name).mkdir()
        _cache_decoded(Path(name))
    assert "2 decoded data sets" in _only(check_decoded()).message
    Path("fish").rmdir()
    finding = _only(check_decoded())
    assert finding.severity is Severity.NOTE
    assert str(Path("fish").absolute()) in finding.message
    list(finding.fix())
    assert [Path(entry.source).name for entry in array_cache.list_entries()] == ["birds"]
    assert _only(check_decoded()).severity is Severity.OK
    monkeypatch.setenv("TRAINYARD_CACHE_GB", "many")
    assert "TRAINYARD_CACHE_GB: expected a number" in _wrong(check_decoded()).message


def test_only_unfinished_files_older_than_a_day_are_removed():
    download = Mnist().cache / "tmpab12cd_4"
    download.mkdir(parents=True)
    (download / "part").write_bytes(bytes(1000))
    unfinished = [
        *(Path(folder, name) for folder in ("outputs/a/b", "sweeps/s/trials/7-2") for name in (
            "partial.model.keras", ".servable.keras", "partial..servable.keras", "checkpoints/partial.epoch_000002.npz",
        )),
        *(Path("sweeps/s", f"partial.{name}") for name in ("plan.jsonl", "plan.json", "epochs.json", "leaderboard.json")),
        Path("partial.mlflow.db"), Path("partial.mlflow.db-journal"),
        array_cache.find_cache_root() / "partial.0123" / "train.npy",
    ]  # fmt: skip
    kept = [
        *(Path(folder, name) for folder in ("outputs/a/b", "sweeps/s/trials/7-2") for name in (
            "model.keras", "checkpoints/epoch_000001.npz", "notes/partial.txt",
        )),
        *(Path("sweeps/s", name) for name in ("plan.jsonl", "ledger.jsonl")),
        Path("mlflow.db"), Path("partial.txt"), Path("data/partial.csv"),
    ]  # fmt: skip
    for path in (*unfinished, *kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(1000))
    assert _only(check_leftovers()).severity is Severity.OK
    for path in (download, download / "part", *unfinished, unfinished[-1].parent, *kept):
        os.utime(path, (1e9, 1e9))
    finding = _only(check_leftovers())
    assert (finding.severity, f"{len(unfinished) + 1} unfinished files" in finding.message) == (Severity.NOTE, True)
    list(finding.fix())
    assert not download.exists()
    assert not [path for path in unfinished if path.exists()]
    assert [path for path in kept if path.exists()] == kept


def test_unfinished_files_have_the_names_that_an_interrupted_write_leaves():
    """The names are those of `atomic_write`, for checkpoints too: the process is killed in the middle of the write."""
    program = """
import os, sys
from pathlib import Path
import numpy as np
from trainyard.system import atomic_write
from trainyard.training import checkpoint
if sys.argv[2] == "checkpoint":
    np.savez = lambda file, **arrays: (file.write(b"x"), file.flush(), os.kill(os.getpid(), 9))
    content = checkpoint.Checkpoint(1, False, [], checkpoint.Identity("", 0, ""), [], {}, {})
    checkpoint.save_checkpoint(Path(sys.argv[1], checkpoint.CHECKPOINTS_FOLDER), content)
else:
    with atomic_write(Path(sys.argv[1], "model.keras")) as partial:
        partial.write_text("x")
        os.kill(os.getpid(), 9)
"""
    for folder in (Path("outputs/a/b"), Path("sweeps/s/trials/1")):
        folder.mkdir(parents=True)
        for kind in ("checkpoint", "file"):
            done = subprocess.run([sys.executable, "-c", program, folder, kind], check=False)
            assert done.returncode == -9
    for path in Path().rglob("*"):
        os.utime(path, (1e9, 1e9))
    assert "4 unfinished files" in _only(check_leftovers()).message


# The command


def test_a_check_that_fails_does_not_stop_the_others(monkeypatch):
    monkeypatch.setattr("trainyard.doctor.CHECKS", (check_git, lambda: 1 / 0))
    findings = run_checks()
    assert "the check failed: ZeroDivisionError: division by zero" in findings[0].message
    assert findings[1].check == "git"


def test_a_fix_that_fails_is_reported_and_the_others_are_applied(cached_mnist, monkeypatch):
    for path in sorted(cached_mnist.iterdir())[:2]:
        path.write_bytes(b"no")
    unlink = Path.unlink

    def fail(path, missing_ok=False):
        if path.name.startswith("t10k-images"):
            raise PermissionError(f"not permitted: {path}")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", fail)
    code, output = _run_doctor("--fix")
    assert code == 1
    assert "failed data: not permitted: " in output


def test_json_output(store, orphan_tags):
    orphan = _running(store, orphan_tags)
    code, output = _run_doctor("--json")
    report = json.loads(output)
    assert (code, report["wrong"], report["findings"][0]["fixable"]) == (1, 1, True)
    assert orphan in report["findings"][0]["found"]
    code, output = _run_doctor("--json", "--fix")
    report = json.loads(output)
    assert (code, report["wrong"], report["fixed"], report["not_fixed"]) == (0, 0, [f"run {orphan} is KILLED now"], [])


def test_the_command_does_not_import_tensorflow_and_changes_nothing(store, tmp_path):
    before = _listing(tmp_path)
    program = (
        "import sys\nfrom trainyard.cli import main\nsys.argv = ['trainyard', 'doctor']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    print(end.code, 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False"
    assert _listing(tmp_path) == before
