"""A trained model handed to others: a folder that stands alone, a registered model, a server that answers."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from trainyard.cli import app
from trainyard.runs.experiment import run_experiment
from trainyard.system.uris import sqlite_uri
from trainyard.tracking import ui_server
from trainyard.tracking.connection import connect

STORE = Path("mlflow.db")


def run(*words, code=0):
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.stderr


def follow_readme(folder, images):
    """Runs the Python that a README shows on some images, where there is no Trainyard, and returns the predicted names."""
    (program,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    np.save(folder / "mine.npy", images)
    program = re.sub(r"images = .*", "images = np.load('mine.npy')", program)
    before = "import sys\nsys.modules['trainyard'] = None  # whoever imports it fails\n"
    done = subprocess.run(
        [sys.executable, "-c", before + program], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    (folder / "mine.npy").unlink()
    return ast.literal_eval(done.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize("standardise", ["false", "true"])
def test_an_exported_run_is_loaded_as_its_readme_says(keras, tiny, standardise):
    result = run_experiment(tiny(f"dataset.standardise={standardise}", "dataset=digits"))
    text = run("export", result.folder, "model")
    assert "model/README.md: it says how to load the model" in text
    assert ("scaled - known" in (Path("model") / "README.md").read_text()) == (standardise == "true")
    names = result.dataset.spec.class_names
    predicted = [names[label] for label in result.evaluation.predicted]
    assert follow_readme(Path("model"), result.dataset.test.images) == predicted
    older = keras.models.load_model("model/model.h5", compile=False)
    assert older.count_params() == result.model.count_params()
    kept = json.loads(Path("model/metrics.json").read_text())
    assert kept["accuracy/test"] == result.evaluation.accuracy
    assert {path.name for path in Path("model").iterdir()} == {
        "README.md", "model.keras", "model.h5", "checksums.txt", "preprocessing.json", "metrics.json",
        "classification_report.txt", "report.html", "config.yaml",
    }  # fmt: skip


def test_a_run_is_exported_from_the_store_alone_and_never_over_something(tiny):
    result = run_experiment(tiny())
    weights = (result.folder / "model.keras").read_bytes()
    shutil.rmtree(result.folder)
    run("export", result.run_id, "deep/model")
    assert Path("deep/model/model.keras").read_bytes() == weights
    assert f"| run | `{result.run_id}` |" in Path("deep/model/README.md").read_text()
    assert "deep/model: expected a new or empty folder" in run("export", result.run_id, "deep/model", code=2)
    assert [path.name for path in Path("deep").iterdir()] == ["model"]


def test_what_can_not_be_trusted_is_not_handed_on(tiny, monkeypatch):
    result = run_experiment(tiny())
    with (result.folder / "model.h5").open("ab") as file:
        file.write(b"x")
    told = run("export", result.folder, "out", code=1)
    assert "export: model.h5 of" in told
    assert "can't be trusted: it was changed since it was saved" in told
    client = connect(sqlite_uri(STORE))
    client.set_tag(result.run_id, "weights_digest", "0" * 64)
    told = run("promote", result.run_id, "digits", code=1)
    assert f"the model that {result.run_id} logged is not what it trained: expected weights with the digest 000" in told
    assert client.search_registered_models() == []
    client.set_terminated(result.run_id, "KILLED")
    assert "export: expected a run that is FINISHED" in run("export", result.run_id, "out", code=2)
    assert "promote: expected a run that is FINISHED" in run("promote", result.run_id, "digits", code=2)
    assert not Path("out").exists()


@pytest.mark.parametrize("name", ["report.html", "model.h5", "checksums.txt", "evaluation/metrics.json"])
def test_a_run_that_lacks_a_file_is_not_exported(tiny, name):
    result = run_experiment(tiny("tracking=off"))
    (result.folder / name).unlink()
    assert f"lacks {name}" in run("export", result.folder, "out", code=2)


def test_an_empty_folder_may_be_where_one_stands(tiny, monkeypatch):
    result = run_experiment(tiny("tracking=off"))
    Path("here").mkdir()
    monkeypatch.chdir("here")
    run("export", result.folder, "../there")
    assert Path("../there/README.md").is_file()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["export", "nope", "out"], "mlflow.db: there are no runs here yet"),
        (["promote", "nope", "name"], "mlflow.db: there are no runs here yet"),
        (
            ["promote", "nope", "name", "--alias", "v1"],
            "--alias: expected letters, digits, _ and -, and neither latest",
        ),
        (["promote", "nope", "a/b"], "promote: expected a name without / and :, got 'a/b'"),
        (["compare", "nope"], "mlflow.db: there are no runs here yet"),
        (["compare", "--experiment", "nope"], "mlflow.db: there are no runs here yet"),
        (["rerun", "nope"], "mlflow.db: there are no runs here yet"),
        (["export", "nope", "out", "--uri", "gopher://h"], "--uri: "),
    ],
)
def test_where_there_are_no_runs_that_is_told_and_no_store_made(words, told):
    assert told in run(*words, code=1 if "--experiment" in words else 2)
    assert list(Path.cwd().iterdir()) == []


def test_a_run_is_registered_once_and_the_alias_moves(tiny):
    first, second = run_experiment(tiny()), run_experiment(tiny("seed=1"))
    assert "registered digits version 1, which champion points to" in run(
        "promote", first.run_id, "digits", "--alias", "champion"
    )
    assert "registered before: digits version 1" in run("promote", first.run_id, "digits")
    text = run("promote", second.run_id, "digits", "--alias", "champion")
    assert "registered digits version 2" in text
    assert "mlflow models serve --env-manager local -m models:/digits@champion" in text
    client = connect(sqlite_uri(STORE))
    champion = client.get_model_version_by_alias("digits", "champion")
    assert (champion.version, champion.run_id) == (2, second.run_id)
    assert champion.tags["weights_digest"] == client.get_run(second.run_id).data.tags["weights_digest"]
    assert "-m 'models:/Ann'\"'\"'s digits/1'" in run("promote", second.run_id, "Ann's digits")
    bare = run_experiment(tiny("tracking.model=false"))
    assert "logged no servable model, as with tracking.model=false" in run("promote", bare.run_id, "digits", code=2)


@pytest.mark.slow
def test_a_promoted_model_is_served_and_answers_raw_images_over_http(tiny, tiny_mnist):
    """A real MLflow server, a real scoring server, a real request with images of 28x28 bytes."""
    ports = ui_server.free_port(5770), ui_server.free_port(5870)
    address = f"http://127.0.0.1:{ports[0]}"
    with ui_server.mlflow_server(f"sqlite:///{Path('ui_server.db').absolute()}", ports[0]) as running:
        ui_server.wait_until_ready(running)
        data = ("dataset=mnist", f"dataset.path={tiny_mnist}", "dataset.limit=null")
        result = run_experiment(tiny(*data, "tracking=server", f"tracking.uri={address}"))
        text = run("promote", result.run_id, "digits", "--alias", "champion", "--uri", address)
        command = re.search(r"serve it  MLFLOW_TRACKING_URI=(\S+) mlflow (.*)", text)
        assert command[1] == address
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        serving = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *command[2].split(), "-p", str(ports[1])],
            env={**os.environ, "MLFLOW_TRACKING_URI": address, "PATH": path}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        try:
            images = result.dataset.test.images[:20]
            answer = np.array(_ask(f"http://127.0.0.1:{ports[1]}", images, serving)["predictions"])
        finally:
            os.killpg(serving.pid, 15)
            serving.wait(30)
    assert (images.shape, images.dtype, answer.shape) == ((20, 28, 28), np.uint8, (20, 10))
    np.testing.assert_allclose(answer.sum(axis=1), 1, atol=1e-4)
    np.testing.assert_array_equal(answer.argmax(axis=1), result.evaluation.predicted[:20])


def _ask(address, images, serving):
    body = json.dumps({"inputs": images.tolist()}).encode()
    until = time.monotonic() + 120
    while True:
        assert serving.poll() is None, "the scoring server ended by itself"
        try:
            request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)
