"""The wheel contains its configs: it is built, installed separately, and run in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_contains_all_configs_and_templates(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "conf").rglob("*.yaml"):
        assert f"trainyard/conf/{path.relative_to(ROOT / 'conf')}" in names
    assert "trainyard/reporting/templates/report.html" in names
    assert "hydra_plugins/trainyard_plugins.py" in names
    assert not any(name.startswith("experiments") for name in names)


def test_the_installed_wheel_trains_outside_the_checkout(wheel, tmp_path):
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-compile", "--target", str(site), str(wheel)],
        check=True,
    )
    program = (
        "import trainyard, trainyard.config.search_path as c\n"
        f"assert trainyard.__file__.startswith({str(site)!r}), trainyard.__file__\n"
        f"assert str(c.find_shipped_config_folder()).startswith({str(site)!r}), c.find_shipped_config_folder()\n"
        "from trainyard.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "train", "experiment=quickstart", "training.epochs=2", "training.xla=off"],
        env=os.environ | {"PYTHONPATH": str(site)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "trainyard ui" in done.stdout
