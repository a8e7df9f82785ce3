"""A package of a user's own is really installed, and adds to Trainyard by its entry point or by the environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "plugin_example"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder into which pip has installed the example; on PYTHONPATH it is as good as an environment."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(folder)]
    subprocess.run([*pip, str(EXAMPLE)], check=True)
    return folder


def _trainyard(*arguments, **environment):
    program = "from trainyard.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_its_components_train_and_are_listed(installed):
    Path("conf/dataset").mkdir(parents=True)
    Path("conf/dataset/noisy_stripes.yaml").write_text("defaults: [base_stripes]\nnoise: 0.6\n")
    overrides = ["dataset=noisy_stripes", "model=linear", "optimizer=heavy_ball", "evaluation.metrics=[worst_recall]"]
    command = ["train", *overrides, "training.epochs=2", "tracking=off", "hydra.run.dir=out"]
    done = _trainyard(*command, PYTHONPATH=str(installed))
    assert done.returncode == 0, done.stderr
    metrics = json.loads(Path("out/evaluation/metrics.json").read_text())
    assert metrics["worst_recall/test"] > 0.9
    assert "f1_by_class/standing" in metrics
    listed = _trainyard("train", "--help", PYTHONPATH=str(installed)).stdout
    assert "image_folder, kmnist, mnist, noisy_stripes, npz, stripes" in listed


def test_without_it_its_names_are_unknown_and_with_it_mistakes_are_answered(installed):
    assert "unknown model 'linear'" in _trainyard("train", "model=linear").stderr
    done = _trainyard("train", "model=linear", "model.l2=-1", PYTHONPATH=str(installed))
    assert (done.returncode, done.stderr) == (2, "error model.l2: expected a number at least 0, got -1.0\n")


def test_the_environment_may_name_modules_that_are_not_installed():
    source = str(EXAMPLE / "src")
    done = _trainyard("train", "model=linear", "--cfg", "job", PYTHONPATH=source, TRAINYARD_PLUGINS="acme_vision")
    assert done.returncode == 0
    assert "name: linear" in done.stdout


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "plugin acme_broken (TRAINYARD_PLUGINS): it can't be imported: ModuleNotFoundError"),
        ("1 / 0", "it can't be imported: ZeroDivisionError: division by zero. Mend it, uninstall it"),
        (
            "from trainyard.config.registry import register_metric\nregister_metric('ece')(len)",
            "metric ece: every run has one",
        ),
    ],
)
def test_a_plugin_that_is_broken_is_named(tmp_path, content, told):
    if content:
        (tmp_path / "acme_broken.py").write_text(content)
    done = _trainyard("train", "--cfg", "job", PYTHONPATH=str(tmp_path), TRAINYARD_PLUGINS="acme_broken")
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
