"""Tests of ``trainyard data check`` of images and arrays, ``data cache`` and of the verification of decoded images."""

from __future__ import annotations

import re
import shlex
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from trainyard.cli.commands import app
from trainyard.cli.hydra_arguments import parse_arguments
from trainyard.cli.train import compose_job
from trainyard.config import normalize_overrides
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


@pytest.mark.parametrize(("copies", "count"), [([], 0), (["crow/0.jpg"], 1), (["crow/0.jpg", "gull/1.jpg"], 2)])
def test_check_counts_test_files_that_are_identical_to_a_training_file(copies, count):
    noise = np.random.default_rng(99)
    for path in ROOT.glob("test/*/*"):  # the fixture writes the same images to both parts
        Image.fromarray(noise.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path, format="PNG")
    for copy in copies:
        (ROOT / "test" / copy).write_bytes((ROOT / "train/gull/2.jpg").read_bytes())
    assert f"identical to a training file: {count}\n" in _run("check", "birds")[1]


ARRAYS = {
    "x_train": np.random.default_rng(0).integers(0, 256, (12, 5, 4, 3), dtype=np.uint8),
    "y_train": np.arange(12) % 3,
    "x_test": np.random.default_rng(1).integers(0, 256, (6, 5, 4, 3), dtype=np.uint8),
    "y_test": np.arange(6) % 3,
}


def _save_npz(path="birds.npz", **changes):
    np.savez(path, **{name: array for name, array in (ARRAYS | changes).items() if array is not None})
    return path


def _save_idx(path="idx", **changes):
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    Path(path).mkdir()
    for name, array in zip(names, (ARRAYS | changes).values(), strict=True):
        if array is not None:
            grey = (array[..., 0] if array.ndim > 1 else array).astype(np.uint8)
            header = struct.pack(f">BBBB{grey.ndim}I", 0, 0, 8, grey.ndim, *grey.shape)
            Path(path, f"{name}-ubyte").write_bytes(header + grey.tobytes())
    return path


@pytest.mark.parametrize(("save", "extent"), [(_save_npz, "3 channels"), (_save_idx, "grayscale")])
def test_check_of_arrays_lists_classes_sizes_notices_and_identical_images(save, extent):
    shared = np.concatenate([ARRAYS["x_train"][4:6], ARRAYS["x_test"][2:]])
    code, output = _run("check", save(x_test=shared, x_train=ARRAYS["x_train"]))
    assert code == 0
    assert re.search(r"class +train +test\n0 +4 +2\n", output)
    assert re.search(r"all +12 +6\n", output)
    assert f"width x height: 4 x 5 pixels, {extent}" in output
    assert "identical to a training image: 2\n" in output
    assert "no problems" in output
    dataset, path = ("npz", "birds.npz") if save is _save_npz else ("idx", "idx")
    assert output.endswith(f"Next steps\ntrain     trainyard train dataset={dataset} dataset.path={path}\n")
    assert not Path("outputs").exists()


def test_check_of_arrays_prints_the_notices_of_a_run():
    code, output = _run("check", _save_npz(x_train=ARRAYS["x_train"] // 128, x_test=ARRAYS["x_test"] // 128))
    assert code == 0
    assert re.search("notice .*largest pixel", output)


@pytest.mark.parametrize(
    ("create", "message"),
    [
        (lambda: _save_npz(y_train=None), "y_train"),
        (lambda: _save_npz(x_train=ARRAYS["x_train"][:5]), "same number of images and labels"),
        (lambda: _save_npz(x_test=None, y_test=None), "dataset.test_fraction"),
        (lambda: _save_idx(y_test=None), "t10k-labels|y_test"),
        (lambda: "birds/train/crow/0.jpg", "expected an npz file"),
        (lambda: "b" * 300, "can't be read"),
    ],
)
def test_check_of_arrays_prints_the_problem(create, message):
    code, output = _run("check", create())
    assert code == 1
    assert re.search(f"problem .*({message})", output)
    assert "1 problem\n" in output


def test_check_of_arrays_accepts_a_test_fraction():
    code, output = _run("check", _save_npz(x_test=None, y_test=None), "--test-fraction", "0.25")
    assert code == 0
    assert re.search(r"all +9 +3\n", output)


def test_a_table_of_labels_beside_image_folders_is_no_idx_folder():
    (ROOT / "train_labels.csv").write_text("x")
    assert "formats: JPEG" in _run("check", "birds")[1]


def _put_images_in_one_folder():
    (ROOT / "train/crow").rename(ROOT / "images")
    for part in ("train", "test"):
        shutil.rmtree(ROOT / part)
    (ROOT / "labels.csv").write_text("file,label\n")


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
        (_put_images_in_one_folder, "4 image files in one folder, birds/images, and the table birds/labels.csv."),
    ],
)
def test_check_explains_an_invalid_layout(change, message):
    change()
    code, output = _run("check", "birds")
    assert code == 1
    assert message in output
    assert "1 problem\n" in output


@pytest.mark.parametrize("name", ["my birds", "crows, gulls", "it's $HOME", "007", "a=b", "[x]"])
def test_the_command_after_a_check_trains_with_any_path(name):
    ROOT.rename(name)
    code, output = _run("check", f"{name}/train", "--test-fraction", "0.25")
    assert code == 0
    _, _, command = output.rpartition("train     ")
    words = shlex.split(command)
    assert words[:2] == ["trainyard", "train"]
    config, _ = compose_job(parse_arguments(normalize_overrides(words[2:])), normalize_overrides(words[2:]))
    assert (config.dataset.path, config.dataset.test_fraction) == (f"{name}/train", 0.25)


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
