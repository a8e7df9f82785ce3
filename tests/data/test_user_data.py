"""Tests of data sets from the user's own files: npz, idx and image folders, loaded through their configs."""

from __future__ import annotations

import gzip
import io
import os
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainyard import run_experiment
from trainyard.config.compose import compose_config
from trainyard.config.registry import find_component
from trainyard.config.validation import find_section_problems
from trainyard.data import Digits, load_dataset
from trainyard.data.dataset import Dataset, DataSpec, Split
from trainyard.errors import DatasetError


def _arrays(shape=(6, 5, 3), train=12, test=6):
    generator = np.random.default_rng(0)
    return {
        "x_train": generator.integers(0, 256, (train, *shape), dtype=np.uint8),
        "y_train": np.arange(train) % 3,
        "x_test": generator.integers(0, 256, (test, *shape), dtype=np.uint8),
        "y_test": np.arange(test) % 3,
    }


def _load(name, path, **fields):
    return load_dataset(find_component("dataset", name)(path=str(path), **fields), 0)


@pytest.fixture
def npz(tmp_path):
    def write(**changes):
        arrays = {name: array for name, array in (_arrays() | changes).items() if array is not None}
        np.savez(tmp_path / "birds.npz", **arrays)
        return tmp_path / "birds.npz"

    return write


@pytest.mark.parametrize("name", ["npz", "idx", "image_folder"])
def test_the_path_must_be_set_and_exist(name):
    (problem,) = find_section_problems(find_component("dataset", name)(), "dataset")
    assert problem.startswith("dataset.path: expected the path of the data, got null")
    with pytest.raises(DatasetError, match=r"dataset\.path: expected an existing file or folder, got nowhere"):
        _load(name, "nowhere")


@pytest.fixture
def as_ordinary_user():
    """Runs the test without the rights of root, who can read everything."""
    if os.geteuid():
        yield
        return
    try:
        os.seteuid(65534)
    except OSError:
        pytest.skip("the user can't be changed")
    yield
    os.seteuid(0)


UNREADABLE = {
    "npz: the file": ("npz", "birds.npz", "birds.npz"),
    "npz: its folder": ("npz", "birds/birds.npz", "birds"),
    "npz: a name that is too long": ("npz", "b" * 300, None),
    "idx: a file": ("idx", "idx", "idx/t10k-images-idx3-ubyte"),
    "idx: the folder": ("idx", "idx", "idx"),
    "idx: the parent folder": ("idx", "parent/idx", "parent"),
    "idx: a name that is too long": ("idx", "b" * 300, None),
    "image_folder: a class": ("image_folder", "photos", "photos/train/a"),
    "image_folder: the folder": ("image_folder", "photos", "photos"),
    "image_folder: the parent folder": ("image_folder", "parent/photos", "parent"),
    "image_folder: a name that is too long": ("image_folder", "b" * 300, None),
}


@pytest.mark.parametrize("case", UNREADABLE)
@pytest.mark.parametrize("mode", [0o000, 0o444])  # a folder with the mode 444 can be listed, but not entered
def test_unreadable_files_and_folders_are_dataset_errors(case, mode, npz, request):
    name, path, unreadable = UNREADABLE[case]
    _load("npz", npz())  # imports everything that is needed, while it can be read
    Path.cwd().chmod(0o755)
    photos = [f"photos/{split}/{kind}/1.png" for split in ("train", "test") for kind in "ab"]
    for file in ("birds/birds.npz", "birds.npz", "parent/idx/a", "parent/photos/a", *photos):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_bytes(b"content")
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        Path("idx").mkdir(exist_ok=True)
        Path(f"idx/{part}-ubyte").write_bytes(b"content")
    if unreadable:
        Path(unreadable).chmod(0 if Path(unreadable).is_file() else mode)
    request.getfixturevalue("as_ordinary_user")
    config = find_component("dataset", name)(path=path)
    for check in (config.check_files, lambda: _load(name, path)):
        with pytest.raises(DatasetError, match="(?i)can't be read|permission denied") as caught:
            check()
        assert (unreadable or path).rpartition("/")[2] in str(caught.value)
    assert config.has_validation in (True, False)


def test_an_npz_file_is_loaded_as_a_data_set(npz):
    dataset = _load("npz", npz(class_names=np.array(["crow", "gull", "kite"])))
    assert (dataset.name, dataset.spec.image_shape) == ("birds", (6, 5, 3))
    assert dataset.spec.class_names == ("crow", "gull", "kite")
    assert np.array_equal(dataset.test.images, _arrays()["x_test"])
    assert dataset.train.labels.dtype == np.uint8
    assert _load("npz", npz(), class_names=["a", "b", "c"]).spec.class_names == ("a", "b", "c")
    assert _load("npz", npz()).spec.class_names == ("0", "1", "2")


def test_a_single_channel_is_grayscale_and_labels_may_be_a_column(npz):
    grey = _arrays((6, 5, 1))
    grey["y_train"] = grey["y_train"][:, None]
    dataset = _load("npz", npz(**grey))
    assert dataset.spec.image_shape == (6, 5)
    assert dataset.train.labels.shape == (12,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_test": None}, r"expected the array x_test, which is missing\. .*The arrays are: x_train uint8 .*, y_train int"),
        ({"x_train": np.full((12, 6, 5, 3), 300)}, r"got values from 300 to 300"),
        ({"x_train": np.zeros((12, 30), np.uint8)}, r"x_train: .*got an array of shape \(12, 30\)"),
        ({"x_train": np.zeros((11, 6, 5, 3), np.uint8)}, r"the same number of images and labels, got 11 in x_train and 12 in y_train"),
        ({"x_test": np.zeros((6, 4, 4, 3), np.uint8)}, r"of the same size, got 6 x 5 x 3 in x_train and 4 x 4 x 3"),
        ({"y_train": np.zeros(12, int), "y_test": np.zeros(6, int)}, r"expected two classes or more, .*got only '0'"),
        ({"class_names": np.array(["a", "b"])}, r"expected labels below 2, .*got 3 different labels: 0, 1, 2"),
        ({"class_names": np.array(["a", "b", "c", "d"])}, r"training images of every class, got none of the class 'd'"),
        ({"class_names": np.array(["a", "b", "b"])}, r"expected class names that differ"),
        ({"class_names": np.arange(3)}, r"class_names: expected strings"),
        ({"class_names": np.array([], str)}, r"class_names: expected strings"),
        ({"x_train": np.array([object()] * 12)}, r"got Python objects, which are never unpickled"),
    ],
)  # fmt: skip
def test_invalid_npz_files_are_rejected(npz, changes, message):
    with pytest.raises(DatasetError, match=message):
        _load("npz", npz(**changes))


def test_a_header_that_specifies_a_terabyte_is_rejected_before_reading(npz, tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**6, 1000, 1000)})
    with zipfile.ZipFile(npz(), "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("x_train.npy", header.getvalue() + b"1234")
    with pytest.raises(
        DatasetError, match=r"x_train\.npy: expected .* bytes, as its header specifies uint8 .*, got 4 bytes"
    ):
        _load("npz", tmp_path / "birds.npz")


def test_an_archive_is_not_unpacked_so_that_member_names_cannot_escape(npz, tmp_path):
    with zipfile.ZipFile(npz(), "a") as archive:
        archive.writestr("../../climbed.npy", b"x")
    before = set(tmp_path.parent.rglob("*"))
    assert len(_load("npz", tmp_path / "birds.npz").train) == 12
    assert set(tmp_path.parent.rglob("*")) == before


@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\x03\x04 cut short"])
def test_a_file_that_is_not_an_npz_file_is_rejected(tmp_path, content):
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(DatasetError, match=r"bad\.npz: expected an npz file; it can't be read"):
        _load("npz", tmp_path / "bad.npz")


def _write_idx(folder, zipped=False, names=("train", "t10k"), **changes):
    folder.mkdir(exist_ok=True)
    for key, array in (_arrays((6, 5)) | changes).items():
        kind, part = key.split("_")
        name = f"{names[part == 'test']}-{'images' if kind == 'x' else 'labels'}.idx"
        content = array
        if not isinstance(array, bytes):
            content = (
                struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype("u1").tobytes()
            )
        (folder / (name + ".gz" * zipped)).write_bytes(gzip.compress(content) if zipped else content)
    return folder


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("names", [("train", "t10k"), ("train", "test")])
def test_a_folder_of_idx_files_is_loaded_as_a_data_set(tmp_path, zipped, names):
    dataset = _load("idx", _write_idx(tmp_path / "birds", zipped, names))
    assert (dataset.name, dataset.spec.image_shape, dataset.spec.classes) == ("birds", (6, 5), 3)
    assert np.array_equal(dataset.train.images, _arrays((6, 5))["x_train"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": b""}, "expected an idx file, got a file with another header \\(the file is empty\\)"),
        (
            {"x_train": b"<html>no</html>"},
            "expected an idx file, got a file with another header \\(the file is a web page\\)",
        ),
        ({"x_train": struct.pack(">BBBBI", 0, 0, 10, 1, 4) + bytes(16)}, r"idx file of type 0x08, .*got type 0x0a"),
        (
            {"x_train": struct.pack(">BBBB3I", 0, 0, 8, 3, 10**6, 10**3, 10**3)},
            "expected .* bytes, as its header specifies, got 0 bytes",
        ),
    ],
)
def test_invalid_idx_files_are_rejected(tmp_path, changes, message):
    with pytest.raises(DatasetError, match=message):
        _load("idx", _write_idx(tmp_path / "birds", **changes))


def test_an_idx_folder_must_contain_each_of_the_four_files_once(tmp_path):
    folder = _write_idx(tmp_path / "birds")
    (folder / "train-images.copy").write_bytes(b"")
    with pytest.raises(
        DatasetError, match=r"expected exactly one file train-images\*, .*got train-images.copy, train-images.idx"
    ):
        _load("idx", folder)
    with pytest.raises(DatasetError, match="expected a folder with idx files, got the file"):
        _load("idx", folder / "train-images.idx")


@pytest.fixture
def image_folder(tmp_path):
    """A folder of PNG and JPEG files of several sizes, each in one colour: red crows, green gulls."""
    colours = {"crow": (200, 0, 0), "gull": (0, 200, 0)}
    for part, count in (("train", 4), ("test", 2)):
        for name, colour in colours.items():
            folder = tmp_path / "birds" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (20 + number, 10), colour).save(folder / f"{number}.{'png' if number % 2 else 'JPG'}")
    (tmp_path / "birds" / "train" / "crow" / ".hidden").write_text("x")
    (tmp_path / "birds" / "train" / "crow" / "Thumbs.db").write_text("x")
    return tmp_path / "birds"


def test_a_folder_of_image_files_is_loaded_as_a_data_set(image_folder):
    dataset = _load("image_folder", image_folder, height=8, width=6)
    assert dataset.spec.image_shape == (8, 6, 3)
    assert dataset.spec.class_names == ("crow", "gull")
    assert dataset.train.labels.tolist() == [0] * 4 + [1] * 4
    assert len(dataset.test) == 4
    assert np.abs(dataset.train.images[0].astype(int) - [200, 0, 0]).max() < 4  # JPEG is not exact
    grey = _load("image_folder", image_folder, height=8, width=6, colour=False)
    assert grey.train.images.shape == (8, 8, 6)


def test_exif_orientation_transparency_and_palettes_are_applied(image_folder):
    """EXIF orientation 6 is written by a camera that was turned by 90 degrees."""
    folder = image_folder / "test" / "crow"
    sideways = Image.new("RGB", (2, 1))
    sideways.putpixel((0, 0), (255, 255, 255))
    exif = sideways.getexif()
    exif[0x0112] = 6
    sideways.save(folder / "a.png", exif=exif)
    Image.new("RGBA", (3, 3), (1, 2, 3, 128)).save(folder / "b.png")
    Image.new("P", (3, 3), 0).save(folder / "c.png")
    dataset = _load("image_folder", image_folder, height=2, width=1)
    crows = dataset.test.images[dataset.test.labels == 0]
    assert len(crows) == 5
    rotated = next(image for image in crows if image[0].max() == 255)
    assert rotated[1].max() == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda p: (p / "train/crow/bad.png").write_bytes(b"no"),
            r"bad\.png: expected an image file \(PNG, .*got another kind of file",
        ),
        (lambda p: (p / "train/crow/notes.txt").write_text("x"), r"notes\.txt: expected an image file \(PNG"),
        (lambda p: (p / "test/owl").mkdir(), r"expected the class folders of .*train, got 'owl' in addition"),
        (
            lambda p: (p / "test").rename(p / "exam"),
            r"dataset\.path: expected the folder .*test with a subfolder per class; it does not exist",
        ),
        (lambda p: [f.unlink() for f in (p / "train/gull").iterdir()], r"got none of the class 'gull'"),
    ],
)
def test_invalid_image_folders_are_rejected(image_folder, change, message):
    change(image_folder)
    with pytest.raises(DatasetError, match=message):
        _load("image_folder", image_folder)


def test_a_truncated_image_file_is_rejected(image_folder):
    path = image_folder / "train" / "gull" / "1.png"
    noise = np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(DatasetError, match=r"gull.1\.png: expected an image; it can't be read"):
        _load("image_folder", image_folder)


def test_class_names_are_used_in_the_report_and_the_metrics(keras, image_folder):
    overrides = [f"dataset.path='{image_folder}'", "model=cnn", "training.epochs=1", "tracking=off"]
    small = ["model.filters=[4]", "model.dense_units=[]"]
    sizes = ["dataset.height=8", "dataset.width=6", "dataset.standardise=true"]
    result = run_experiment(compose_config(["dataset=image_folder", *overrides, *small, *sizes]))
    assert "gull" in (result.folder / "classification_report.txt").read_text()
    assert "f1_by_class/crow" in result.evaluation.metrics()


def test_transparent_images_get_a_white_background(image_folder):
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(image_folder / "test" / "crow" / "clear.png")
    dataset = _load("image_folder", image_folder, height=4, width=4)
    assert any((image == 255).all() for image in dataset.test.images)


def _make_dataset(**changes):
    """Returns a data set as a plugin may return it: six 4x4 images of two classes, with changes to the training part."""
    images = np.zeros((6, 4, 4), np.uint8)
    arrays = {"images": images, "labels": np.arange(6, dtype=np.uint8) % 2, "shape": (4, 4), "pixel_max": 255} | changes
    spec = DataSpec(image_shape=arrays["shape"], class_names=("a", "b"), pixel_max=arrays["pixel_max"])
    valid = Split(images, np.arange(6, dtype=np.uint8) % 2)
    return Dataset(name="acme", spec=spec, train=Split(arrays["images"], arrays["labels"]), test=valid, source="acme")


def _one_nan():
    images = np.zeros((6, 4, 4), np.float32)
    images[3, 2, 1] = np.nan
    return images


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "expected load\\(\\) to return a trainyard Dataset, got NoneType"),
        (
            _make_dataset(images=_one_nan()),
            r"train: images: expected integers from 0 to 255 .*got nan at index \(3, 2, 1\)",
        ),
        (_make_dataset(images=np.full((6, 4, 4), 9, np.uint8), pixel_max=8), "train: images: .*got values from 9 to 9"),
        (
            _make_dataset(labels=np.full(6, 2, np.uint8)),
            "train: expected labels below 2, the number of class names, got 2",
        ),
        (
            _make_dataset(labels=np.zeros(5, np.uint8)),
            r"of shape \(5, 4, 4\), as there are 5 labels .* got \(6, 4, 4\)",
        ),
        (_make_dataset(shape=(4, 5)), r"of shape \(6, 4, 5\), .*image_shape is \(4, 5\), got \(6, 4, 4\)"),
    ],
    ids=[
        "nothing",
        "a NaN pixel",
        "a pixel above pixel_max",
        "a label without a name",
        "different lengths",
        "another shape",
    ],
)
def test_the_data_that_a_plugin_loads_is_checked(returned, message, monkeypatch):
    monkeypatch.setattr(Digits, "load", lambda self, progress: returned)
    with pytest.raises(DatasetError, match=f"dataset digits: .*{message}"):
        load_dataset(Digits(), 0)


def test_integers_of_any_type_become_uint8_and_a_single_channel_axis_is_kept(monkeypatch):
    loaded = _make_dataset(images=np.full((6, 4, 4, 1), 7), labels=np.arange(6) % 2, shape=(4, 4, 1))
    loaded = replace(loaded, test=loaded.train)
    monkeypatch.setattr(Digits, "load", lambda self, progress: loaded)
    dataset = load_dataset(Digits(), 0)
    assert (dataset.train.images.dtype, dataset.train.labels.dtype) == (np.uint8, np.uint8)
    assert np.array_equal(dataset.train.images, loaded.train.images)
