from __future__ import annotations

import getpass
import os
import subprocess
import sys
from pathlib import Path

from trainyard.config.schema import RunConfig
from trainyard.runs.artifacts import write_provenance
from trainyard.system import environment


def _git(*arguments: str) -> None:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=trunk"]
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


def test_git_state_is_none_outside_a_checkout():
    assert environment.read_git_state(Path.cwd()) is None


def test_run_outputs_do_not_make_a_checkout_dirty():
    _git("init", "-q")
    Path("code.py").write_text("x\n")
    _git("add", ".")
    _git("commit", "-qm", "first")
    for name in ("outputs/a/b", "multirun/a", "mlartifacts/a"):
        Path(name).mkdir(parents=True)
        Path(name, "file").write_text("x")
    Path("mlflow.db").write_text("x")
    assert not environment.read_git_state(Path.cwd()).dirty
    Path("sub").mkdir()
    Path("new.py").write_text("x")
    state = environment.read_git_state(Path("sub"))
    assert (state.dirty, state.untracked, state.branch) == (True, ("new.py",), "trunk")


def test_user_without_a_name_is_identified_by_id(monkeypatch):
    def nameless():
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert environment.find_user_name() == str(os.getuid())


def test_process_info_and_command_line():
    program = "from trainyard.system import environment; print(environment.collect_process_info(), environment.format_command_line())"
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "'pid'" in process.stdout
    assert "import environment" in process.stdout


def test_versions_are_the_installed_versions():
    import numpy as np

    versions = environment.list_installed_versions()
    assert versions["numpy"] == np.__version__
    assert set(environment.REPORTED_PACKAGES) <= set(versions)


def test_passwords_in_uris_are_redacted_in_command_and_git_diff(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "orig_argv", ["python", "program.py", "--store", "http://ada:canary@host"])
    assert environment.format_command_line() == "python program.py --store http://***@host"
    changed = environment.GitState("0" * 40, "main", '+STORE = "http://ada:canary@host"\n', ())
    write_provenance(tmp_path, RunConfig(), [], changed)
    assert (tmp_path / "environment" / "git.diff").read_text() == '+STORE = "http://***@host"\n'
