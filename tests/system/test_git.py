"""The state of a git checkout, and what its diff leaves out."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from trainyard.config import compose_config
from trainyard.runs.artifacts import write_provenance
from trainyard.system.git import GitState, mask_secrets, read_git_state


def _git(*arguments: str) -> None:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=trunk"]
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


def _commit(files: dict[str, str]) -> None:
    """Creates a checkout with one commit that contains the files."""
    _git("init", "-q")
    _write(files)
    _git("add", "-f", ".")
    _git("commit", "-qm", "first")


def _write(files: dict[str, str]) -> None:
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)


def test_git_state_is_none_outside_a_checkout():
    assert read_git_state(Path.cwd()) is None


def test_run_outputs_do_not_make_a_checkout_dirty():
    _commit({"code.py": "x\n"})
    _write({"outputs/a/b/file": "x", "multirun/a/file": "x", "mlartifacts/a/file": "x", "mlflow.db": "x"})
    assert not read_git_state(Path.cwd()).dirty
    _write({"sub/file": "x", "new.py": "x"})
    state = read_git_state(Path("sub"))
    assert (state.dirty, state.untracked, state.branch) == (True, ("new.py", "sub/file"), "trunk")


def test_passwords_in_uris_are_redacted():
    _commit({"code.py": ""})
    _write({"code.py": 'STORE = "http://ada:canary@host"\n'})
    state = read_git_state(Path.cwd())
    write_provenance(Path("run"), compose_config([]), [], state)
    assert '+STORE = "http://***@host"\n' in Path("run/environment/git.diff").read_text()
    write_provenance(Path("other"), compose_config(["tracking.diff=false"]), [], state)
    assert not Path("other/environment/git.diff").exists()


@pytest.mark.parametrize(
    "name",
    [".env", "app/.env.production", ".ENV", "tls/server.pem", "server.key", "id_rsa", "home/.ssh/id_ed25519.old",
     "credentials.json", "Credentials/aws", "credentials", ".netrc", "größe/.env"],
)  # fmt: skip
def test_files_that_may_contain_secrets_are_left_out_and_listed(name):
    _commit({name: "old\n", "code.py": "old\n"})
    _write({name: "canary\n", "code.py": "new\n"})
    state = read_git_state(Path.cwd())
    assert state.left_out == (name,)
    assert "canary" not in state.describe_changes()
    assert f"# left out, may contain secrets: {name}\n" in state.describe_changes()
    assert "+new" in state.diff


def test_a_checkout_in_which_only_a_secret_changed_is_dirty():
    _commit({".env": "old\n"})
    _write({".env": "new\n"})
    state = read_git_state(Path.cwd())
    assert (state.dirty, state.diff) == (True, "")


def _notebook(source: str, output: str) -> str:
    cell = {"cell_type": "code", "source": [source], "outputs": [{"output_type": "stream", "text": [output]}]}
    return json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def test_the_diff_of_a_notebook_contains_its_cells_without_outputs():
    _commit({"a.ipynb": _notebook("x = 1", "old canary"), "b.ipynb": "{}", "c.ipynb": _notebook("y", "canary")})
    _write({"a.ipynb": _notebook("x = 2", "new canary"), "b.ipynb": "canary"})
    Path("c.ipynb").unlink()
    text = read_git_state(Path.cwd()).describe_changes()
    assert "canary" not in text
    assert "-x = 1\n+x = 2\n" in text
    assert "-y\n" in text
    for name in "abc":
        assert f"# outputs left out: {name}.ipynb\n" in text


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("settings.py", 'HF_TOKEN = "canary"'),
        ("settings.py", "api_key: str | None = 'canary'"),
        ("settings.py", 'os.environ["AWS_SECRET_ACCESS_KEY"] = "canary"'),
        ("settings.py", 'os.environ.setdefault("HF_TOKEN", "canary")'),
        ("settings.py", 'client(password="canary\\"canary", user="ada")'),
        ("settings.py", '{"client_secret": f"canary"}'),
        ("settings.py", 'DB_PASSWORD = """canary"""'),
        ("settings.py", 'headers = {"Authorization": "Bearer canary.canary-canary=="}'),
        ("deploy.sh", "export WANDB_API_KEY=canary"),
        ("deploy.sh", "curl -H 'Authorization: bearer canary'"),
        ("config.yaml", "  password: canary"),
        ("config.toml", "secret = 'canary'"),
        ("app.ini", "db.password=canary canary"),
        ("app.json", '"githubToken": "canary"'),
    ],
)
def test_literal_values_of_secret_names_are_masked(file, line):
    _commit({file: f"{line}\n"})
    Path(file).write_text(f"{line.replace('canary', 'new-canary')}\nuser = ada\n")
    diff = read_git_state(Path.cwd()).diff
    assert "canary" not in diff
    assert "***" in diff
    assert "+user = ada" in diff


@pytest.mark.parametrize(
    "line",
    [
        "token = load_token()",
        'tokenizer = "wordpiece"',
        'header = f"Bearer {token}"',
        "rows.sort(key=lambda row: row.name)",
        'password = os.environ["PASSWORD"]',
    ],
)
def test_code_without_secrets_is_not_changed(line):
    diff = f"diff --git a/code.py b/code.py\n+++ b/code.py\n+{line}\n"
    assert mask_secrets(diff) == diff


def test_private_keys_are_masked():
    key = "".join(f"+{'canary' * 10}\n" for _ in range(3))
    diff = f"diff --git a/key.txt b/key.txt\n+-----BEGIN PRIVATE KEY-----\n{key}+-----END PRIVATE KEY-----\n+text\n"
    assert "canary" not in mask_secrets(diff)
    assert "+text" in mask_secrets(diff)


def test_untracked_files_and_commit_are_described():
    state = GitState("0" * 40, "main", "+x\n", ("new.py",))
    assert state.describe_changes() == "# untracked: new.py\n+x\n"
