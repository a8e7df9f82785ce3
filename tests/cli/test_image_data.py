"""Tests of ``trainyard data check``, ``data cache`` and of the verification of decoded images."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from trainyard.cli import app
from trainyard.data import ImageFolder, load_dataset

ROOT = Path("birds")


@pytest.fixture(autouse=True)
def _images(monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    for part, count in (("train", 4), ("test", 2)):
        for name in ("crow", "gull"):
            for number in range(count):
                path = ROOT / part / name / f"{number}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                noise = np.random.default_rng(number).integers(0, 256, (20, 30 + number, 3), dtype=np.uint8)
                Image.fromarray(noise).save(path, format="PNG" if number == 3 else "JPEG")


def _run(*arguments):
    result = CliRunner().invoke(app, ["data", *arguments])
    return result.exit_code, result.output


def test_check_lists_classes_formats_and_sizes():
    code, output = _run("check", "birds")
    assert code == 0
    assert re.search(r"crow +4 +2\n", output)
    assert re.search(r"all +8 +4\n", output)
    assert "formats: JPEG 10, PNG 2" in output
    assert "width x height: 30 x 20 to 33 x 20 pixels" in output
    assert "no problems" in output
    assert not Path("outputs").exists()


def test_check_lists_all_problems_and_exits_with_1():
    for number in range(12):
        (ROOT / f"train/crow/{number:02}.csv").write_text("x")
    path = ROOT / "test/gull/0.jpg"
    path.write_bytes(path.read_bytes()[:-100])
    code, output = _run("check", "birds")
    assert code == 1
    assert output.count("problem ") == 13
    assert all(f"{number:02}.csv" in output for number in range(12))
    assert re.search(r"test/gull/0\.jpg: .*truncated", output)
    assert "13 problems" in output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: (ROOT / "train").rename("elsewhere"), "expected a folder train"),
        (lambda: (ROOT / "test").rename("elsewhere"), "dataset.test_fraction=0.2"),
        (lambda: ROOT.rename("elsewhere"), "does not exist"),
    ],
)
def test_check_explains_an_invalid_layout(change, message):
    change()
    code, output = _run("check", "birds")
    assert code == 1
    assert message in output
    assert "1 problem\n" in output


def test_check_accepts_a_test_fraction():
    code, output = _run("check", "birds/train", "--test-fraction", "0.25")
    assert code == 0
    assert re.search(r"all +6 +2\n", output)


def test_decoded_images_are_listed_verified_and_cleared():
    assert "no entries" in _run("cache", "list")[1]
    load_dataset(ImageFolder(path="birds", height=5, width=7), 0)
    code, output = _run("cache", "list")
    assert code == 0
    assert str(ROOT.absolute()) in output
    assert "train 8 x 5 x 7 x 3" in output
    assert "1 entry" in output
    assert "cache of decoded images: 1 entry, undamaged" in _run("verify")[1]
    (file,) = Path.cwd().parent.glob("cache/trainyard/decoded/*/train.npy")
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    code, output = _run("verify")
    assert code == 1
    assert "trainyard data cache clear" in output
    assert re.search(r"removed 0\.0 MB from .*decoded", _run("cache", "clear")[1])
    assert "no entries" in _run("cache", "list")[1]
