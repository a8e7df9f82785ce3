"""An installed plugin package extends Trainyard by its entry point or by an environment variable."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from processes import run_trainyard

EXAMPLE = Path(__file__).parents[1] / "plugin_example"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder into which pip has installed the example plugin. It is used as PYTHONPATH."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(folder)]
    subprocess.run([*pip, str(EXAMPLE)], check=True)
    return folder


@pytest.mark.slow
def test_plugin_components_can_be_trained_and_are_listed(installed):
    Path("conf/dataset").mkdir(parents=True)
    Path("conf/dataset/noisy_stripes.yaml").write_text("defaults: [base_stripes]\nnoise: 0.6\n")
    overrides = ["dataset=noisy_stripes", "model=linear", "optimizer=heavy_ball", "evaluation.metrics=[worst_recall]"]
    command = ["train", *overrides, "training.epochs=2", "training.xla=off", "tracking=off", "hydra.run.dir=out"]
    process = run_trainyard(*command, environment={"PYTHONPATH": str(installed)})
    assert process.returncode == 0, process.stderr
    metrics = json.loads(Path("out/evaluation/metrics.json").read_text())
    assert metrics["worst_recall/test"] > 0.9
    assert "f1_by_class/vertical" in metrics
    listed = run_trainyard("train", "--help", environment={"PYTHONPATH": str(installed)}).stdout
    assert "image_folder, kmnist, medmnist, mnist, noisy_stripes, npz, stripes" in listed


def test_plugin_components_are_unknown_without_the_plugin_and_validated_with_it(installed):
    assert "unknown model 'linear'" in run_trainyard("train", "model=linear").stderr
    process = run_trainyard("train", "model=linear", "model.l2=-1", environment={"PYTHONPATH": str(installed)})
    assert (process.returncode, process.stderr) == (2, "error model.l2: expected a number at least 0, got -1.0\n")


def test_environment_variable_loads_modules_that_are_not_installed():
    variables = {"PYTHONPATH": str(EXAMPLE / "src"), "TRAINYARD_PLUGINS": "acme_vision"}
    process = run_trainyard("train", "model=linear", "--cfg", "job", environment=variables)
    assert process.returncode == 0
    assert "name: linear" in process.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "plugin acme_broken (TRAINYARD_PLUGINS): it cannot be imported: ModuleNotFoundError"),
        ("1 / 0", "acme_broken.py, line 1, in <module>). Fix the plugin, uninstall it"),
        (
            "from trainyard.config.registry import register_metric\nregister_metric('ece')(len)",
            "metric ece: this name is reserved",
        ),
    ],
)
def test_broken_plugin_is_named_in_the_error(tmp_path, content, message):
    if content:
        (tmp_path / "acme_broken.py").write_text(content)
    variables = {"PYTHONPATH": str(tmp_path), "TRAINYARD_PLUGINS": "acme_broken"}
    process = run_trainyard("train", "--cfg", "job", environment=variables)
    assert process.returncode == 2
    assert message in process.stderr
    assert "Traceback" not in process.stderr


FAILING = """
from dataclasses import dataclass
from trainyard.config import ModelConfig, register_model


@register_model("failing")
@dataclass(kw_only=True, slots=True)
class Failing(ModelConfig):
    def build(self, spec):
        import keras

        keras.layers.Dense(0 * spec.classes)
"""


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "sweep"])
def test_an_error_in_a_plugin_names_the_last_line_of_the_plugin(command):
    """The exception is raised in Keras."""
    Path("acme_failing.py").write_text(FAILING)
    arguments = [
        "model=failing",
        "dataset=digits",
        "sweep.objective=off",
        *(["seed=1,2"] if command == "sweep" else []),
    ]
    variables = {"PYTHONPATH": str(Path.cwd()), "TRAINYARD_PLUGINS": "acme_failing"}
    process = run_trainyard(command, *arguments, environment=variables)
    assert process.returncode == (1 if command == "train" else 2)
    assert "(in acme_failing.py, line 12, in build)" in process.stderr
    assert "Traceback" not in process.stderr
