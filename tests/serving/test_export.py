"""Tests of exporting a trained model to a folder, registering it and serving it."""

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
from pages import suggested_commands
from PIL import Image
from typer.testing import CliRunner

from trainyard.cli.commands import app
from trainyard.runs.experiment import run_experiment
from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking import OPERATION_LOG_FILE, ui_server
from trainyard.tracking.connection import connect

STORE = Path("mlflow.db")


def run(*arguments, code=0):
    """Runs a command; returns its stdout or, if it is expected to fail, its stderr."""
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


def follow_readmes(*cases):
    """Runs the Python code of READMEs on images, in one new interpreter without Trainyard.

    Each case is a folder with a README, images, and the value of a white pixel. The first image is also an image file.
    Returns the predicted class names of each case, the last of which is that of the file.
    """
    program = "import os, sys\nsys.modules['trainyard'] = None  # importing it fails\n"
    for folder, images, white in cases:
        arrays, files = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
        np.save(folder / "images.npy", images)
        Image.fromarray((images[0] * (255 / white)).round().astype(np.uint8)).save(folder / "image.png")
        code = arrays + files
        code = re.sub(r"images = .*", "images = np.load('images.npy')", code)
        program += f"os.chdir({str(folder.absolute())!r})\nexec({code!r}, {{}})\nprint('end of case')\n"
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert process.returncode == 0, process.stderr
    outputs = process.stdout.split("end of case\n")[: len(cases)]
    lines = [output.strip().splitlines() for output in outputs]
    return [[*ast.literal_eval(next(line for line in case if line.startswith("["))), case[-1]] for case in lines]


def test_exported_models_can_be_loaded_with_the_code_of_their_readmes(keras, trained_pair):
    for result, folder in zip(trained_pair, ("plain", "standardised"), strict=True):
        output = run("export", result.folder, folder)
        assert f"How to load the model: see {folder}/README.md" in output
        program = f'import keras; keras.models.load_model("{folder}/model.keras").summary()'
        assert suggested_commands(output) == {"load it": f"python -c '{program}'"}
        assert ("scaled - preprocessing" in Path(folder, "README.md").read_text()) == (folder == "standardised")
        h5_model = keras.models.load_model(f"{folder}/model.h5", compile=False)
        assert h5_model.count_params() == result.model.count_params()
        metrics = json.loads(Path(folder, "metrics.json").read_text())
        assert metrics["accuracy/test"] == result.evaluation.accuracy
        assert {path.name for path in Path(folder).iterdir()} == {
            "README.md", "model.keras", "model.h5", "checksums.txt", "preprocessing.json", "metrics.json",
            "classification_report.txt", "report.html", "config.yaml",
        }  # fmt: skip
    plain, standardised = trained_pair
    predicted = follow_readmes(
        (Path("plain"), plain.dataset.test.images, 16), (Path("standardised"), standardised.dataset.test.images, 16)
    )
    for result, names in zip(trained_pair, predicted, strict=True):
        labels = [*result.evaluation.predicted, result.evaluation.predicted[0]]
        assert names == [result.dataset.spec.class_names[label] for label in labels]


@pytest.fixture
def own_store(trained):
    """Copies the store of the runs to the default store of this folder; returns a client of it."""
    shutil.copy(trained.folder.parent / STORE, STORE)
    return connect(build_sqlite_uri(STORE))


def test_a_run_is_exported_from_the_store_and_never_to_a_folder_with_files(trained, own_store):
    run("export", trained.run_id, "deep/model")
    assert Path("deep/model/model.keras").read_bytes() == (trained.folder / "model.keras").read_bytes()
    assert f"| run | `{trained.run_id}` |" in Path("deep/model/README.md").read_text()
    assert "deep/model: expected a new or empty folder" in run("export", trained.run_id, "deep/model", code=2)
    assert [path.name for path in Path("deep").iterdir()] == ["model"]


def test_changed_or_unfinished_models_are_neither_exported_nor_registered(trained, own_store):
    folder = shutil.copytree(trained.folder, "changed")
    with Path(folder, "model.h5").open("ab") as file:
        file.write(b"x")
    message = run("export", folder, "out", code=1)
    assert "export: model.h5 of" in message
    assert "is damaged: the file was changed after it was saved" in message
    own_store.set_tag(trained.run_id, "weights_digest", "0" * 64)
    message = run("promote", trained.run_id, "digits", code=1)
    assert (
        f"model that {trained.run_id} logged is not the model that it trained: expected weights with the digest 000"
        in message
    )
    assert own_store.search_registered_models() == []
    own_store.set_terminated(trained.run_id, "KILLED")
    assert "export: expected a run that is FINISHED" in run("export", trained.run_id, "out", code=2)
    assert "promote: expected a run that is FINISHED" in run("promote", trained.run_id, "digits", code=2)
    assert not Path("out").exists()


def test_a_run_folder_is_registered_only_from_a_store_that_contains_the_run(trained, own_store):
    assert "registered digits version 1" in run("promote", trained.folder, "digits")
    other = build_sqlite_uri(Path("other.db").absolute())
    connect(other).create_experiment("empty")
    assert f"other.db has no run '{trained.run_id}'" in run("promote", trained.folder, "digits", "--uri", other, code=2)
    folder = shutil.copytree(trained.folder, Path("unstored"))
    log = folder / OPERATION_LOG_FILE
    log.write_text("".join(line for line in log.read_text().splitlines(True) if '"stored"' not in line))
    assert "in none. Upload it: trainyard sync unstored" in run("promote", folder, "digits", code=2)


@pytest.mark.parametrize("name", ["model.h5", "checksums.txt", "evaluation/metrics.json"])
def test_a_run_with_a_missing_file_is_not_exported(trained, name):
    folder = shutil.copytree(trained.folder, "incomplete")
    Path(folder, name).unlink()
    assert f"{name} is missing" in run("export", folder, "out", code=2)


def test_an_empty_folder_can_be_the_target_of_an_export(trained, monkeypatch):
    Path("here").mkdir()
    Path("there").mkdir()
    monkeypatch.chdir("here")
    run("export", trained.folder, "../there")
    assert Path("../there/README.md").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
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
def test_commands_without_a_store_report_it_and_create_no_store(arguments, message):
    assert message in run(*arguments, code=1 if "--experiment" in arguments else 2)
    assert list(Path.cwd().iterdir()) == []


def test_a_run_is_registered_once_and_the_alias_moves_to_the_newest_version(trained_pair, own_store):
    first, second = trained_pair
    assert "registered digits version 1, alias champion" in run(
        "promote", first.run_id, "digits", "--alias", "champion"
    )
    assert "already registered: digits version 1" in run("promote", first.run_id, "digits")
    text = run("promote", second.run_id, "digits", "--alias", "champion")
    assert "registered digits version 2" in text
    assert "mlflow models serve --env-manager local -m models:/digits@champion" in text
    champion = own_store.get_model_version_by_alias("digits", "champion")
    assert (champion.version, champion.run_id) == (2, second.run_id)
    assert champion.tags["weights_digest"] == own_store.get_run(second.run_id).data.tags["weights_digest"]
    assert "-m 'models:/Ann'\"'\"'s digits/1'" in run("promote", second.run_id, "Ann's digits")
    unlogged = own_store.create_run(first.experiment_id, tags={"trainyard.role": "run"}).info.run_id
    own_store.set_terminated(unlogged)
    assert "for example because of tracking.model=false" in run("promote", unlogged, "digits", code=2)


@pytest.mark.slow
def test_a_registered_model_can_be_served_and_predicts_raw_images_over_http(tiny, tiny_mnist):
    """Uses a real MLflow server, a real scoring server and a real request with images of 28 x 28 bytes."""
    ports = ui_server.find_free_port(5770), ui_server.find_free_port(5870)
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
            predictions = np.array(_request_predictions(f"http://127.0.0.1:{ports[1]}", images, serving)["predictions"])
        finally:
            os.killpg(serving.pid, 15)
            serving.wait(30)
    assert (images.shape, images.dtype, predictions.shape) == ((20, 28, 28), np.uint8, (20, 10))
    np.testing.assert_allclose(predictions.sum(axis=1), 1, atol=1e-4)
    np.testing.assert_array_equal(predictions.argmax(axis=1), result.evaluation.predicted[:20])


def _request_predictions(address, images, serving):
    body = json.dumps({"inputs": images.tolist()}).encode()
    deadline = time.monotonic() + 300
    while True:
        assert serving.poll() is None, "the scoring server exited"
        try:
            request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=30) as response:
                return json.load(response)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
