"""Images of the user's own: npz, idx, folders of pictures, through the configs that name them."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from trainyard import run_experiment
from trainyard.config.compose import compose_config
from trainyard.data import Digits, load_dataset
from trainyard.data.dataset import Dataset, DataSpec, Split
from trainyard.errors import ConfigError, DatasetError


def _arrays(shape=(6, 5, 3), train=12, test=6):
    generator = np.random.default_rng(0)
    return {
        "x_train": generator.integers(0, 256, (train, *shape), dtype=np.uint8),
        "y_train": np.arange(train) % 3,
        "x_test": generator.integers(0, 256, (test, *shape), dtype=np.uint8),
        "y_test": np.arange(test) % 3,
    }


def _load(name, path, *overrides):
    return load_dataset(compose_config([f"dataset={name}", f"dataset.path='{path}'", *overrides]).dataset, 0)


@pytest.fixture
def npz(tmp_path):
    def write(**changes):
        arrays = {name: array for name, array in (_arrays() | changes).items() if array is not None}
        np.savez(tmp_path / "birds.npz", **arrays)
        return tmp_path / "birds.npz"

    return write


@pytest.mark.parametrize("name", ["npz", "idx", "image_folder"])
def test_the_path_must_be_given_and_be_there(name):
    with pytest.raises(ConfigError, match=r"dataset\.path: expected where the data lies, got nothing"):
        compose_config([f"dataset={name}"])
    with pytest.raises(DatasetError, match=r"dataset\.path: expected nowhere to be there"):
        _load(name, "nowhere")


def test_an_npz_is_a_data_set(npz):
    dataset = _load("npz", npz(class_names=np.array(["crow", "gull", "kite"])))
    assert (dataset.name, dataset.spec.image_shape) == ("birds", (6, 5, 3))
    assert dataset.spec.class_names == ("crow", "gull", "kite")
    assert np.array_equal(dataset.test.images, _arrays()["x_test"])
    assert dataset.train.labels.dtype == np.uint8
    assert _load("npz", npz(), "dataset.class_names=[a,b,c]").spec.class_names == ("a", "b", "c")
    assert _load("npz", npz()).spec.class_names == ("0", "1", "2")


def test_one_channel_is_grey_and_columns_of_labels_are_taken(npz):
    grey = _arrays((6, 5, 1))
    grey["y_train"] = grey["y_train"][:, None]
    dataset = _load("npz", npz(**grey))
    assert dataset.spec.image_shape == (6, 5)
    assert dataset.train.labels.shape == (12,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_test": None}, r"expected an array x_test, and there is none\. It holds x_train, y_train, y_test"),
        ({"x_train": np.zeros((12, 6, 5, 3), np.float32)}, r"x_train: expected whole numbers .*got float32\. Multiply"),
        ({"x_train": np.full((12, 6, 5, 3), 300)}, r"got values from 300 to 300"),
        ({"x_train": np.zeros((12, 30), np.uint8)}, r"x_train: .*got an array of shape \(12, 30\)"),
        ({"x_train": np.zeros((11, 6, 5, 3), np.uint8)}, r"as many images as labels, got 11 in x_train and 12 in y_train"),
        ({"x_test": np.zeros((6, 4, 4, 3), np.uint8)}, r"of one size, got 6 x 5 x 3 and 4 x 4 x 3"),
        ({"y_train": np.linspace(0, 2, 12)}, r"y_train: expected whole numbers .*got float64"),
        ({"y_test": np.array([0, 1, 2, -1, 0, 1])}, r"y_test: .*got labels from -1 to 2"),
        ({"y_test": np.array([0, 1, 2, 999, 0, 1])}, r"y_test: .*got labels from 0 to 999"),
        ({"y_test": np.array([0, 1, 2, 3, 0, 1])}, r"expected training images of every class, and there are none of '3'"),
        ({"class_names": np.array(["a", "b"])}, r"expected labels below 2, as there are 2 class names, got 2"),
        ({"class_names": np.array(["a", "b", "b"])}, r"expected class names that differ"),
        ({"class_names": np.arange(3)}, r"class_names: expected texts"),
        ({"x_train": np.array([object()] * 12)}, r"got Python objects, which are never unpickled"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_npz_is_told(npz, changes, message):
    with pytest.raises(DatasetError, match=message):
        _load("npz", npz(**changes))


def test_a_header_that_claims_a_terabyte_is_not_believed(npz, tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**6, 1000, 1000)})
    with zipfile.ZipFile(npz(), "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("x_train.npy", header.getvalue() + b"1234")
    with pytest.raises(DatasetError, match=r"x_train\.npy: its header announces uint8 .* bytes, and 4 follow"):
        _load("npz", tmp_path / "birds.npz")


def test_nothing_is_unpacked_so_that_no_name_climbs_out_of_an_archive(npz, tmp_path):
    with zipfile.ZipFile(npz(), "a") as archive:
        archive.writestr("../../climbed.npy", b"x")
    before = set(tmp_path.parent.rglob("*"))
    assert len(_load("npz", tmp_path / "birds.npz").train) == 12
    assert set(tmp_path.parent.rglob("*")) == before


@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\x03\x04 cut short"])
def test_what_is_no_npz_is_told(tmp_path, content):
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
def test_a_folder_of_idx_files_is_a_data_set(tmp_path, zipped, names):
    dataset = _load("idx", _write_idx(tmp_path / "birds", zipped, names))
    assert (dataset.name, dataset.spec.image_shape, dataset.spec.classes) == ("birds", (6, 5), 3)
    assert np.array_equal(dataset.train.images, _arrays((6, 5))["x_train"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": b""}, "expected an idx file, and its header is none: it is empty"),
        ({"x_train": b"<html>no</html>"}, "expected an idx file, and its header is none: it is a web page"),
        ({"x_train": struct.pack(">BBBBI", 0, 0, 13, 1, 4) + bytes(16)}, r"of bytes \(type 0x08\), got type 0x0d"),
        ({"x_train": struct.pack(">BBBB3I", 0, 0, 8, 3, 10**6, 10**3, 10**3)}, "announces .* bytes, and 0 follow"),
    ],
)
def test_what_is_wrong_with_an_idx_file_is_told(tmp_path, changes, message):
    with pytest.raises(DatasetError, match=message):
        _load("idx", _write_idx(tmp_path / "birds", **changes))


def test_an_idx_folder_needs_each_of_the_four_files_once(tmp_path):
    folder = _write_idx(tmp_path / "birds")
    (folder / "train-images.copy").write_bytes(b"")
    with pytest.raises(
        DatasetError, match=r"expected one file train-images\*, .*found train-images.copy, train-images.idx"
    ):
        _load("idx", folder)
    with pytest.raises(DatasetError, match="expected a folder with idx files, got the file"):
        _load("idx", folder / "train-images.idx")


@pytest.fixture
def pictures(tmp_path):
    """A folder of flat-coloured pictures of several sizes, kinds and modes: red crows, green gulls."""
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


def test_a_folder_of_pictures_is_a_data_set(pictures):
    dataset = _load("image_folder", pictures, "dataset.height=8", "dataset.width=6")
    assert dataset.spec.image_shape == (8, 6, 3)
    assert dataset.spec.class_names == ("crow", "gull")
    assert dataset.train.labels.tolist() == [0] * 4 + [1] * 4
    assert len(dataset.test) == 4
    assert np.abs(dataset.train.images[0].astype(int) - [200, 0, 0]).max() < 4  # JPEG is not exact
    grey = _load("image_folder", pictures, "dataset.height=8", "dataset.width=6", "dataset.colour=false")
    assert grey.train.images.shape == (8, 8, 6)


def test_pictures_are_read_as_they_are_meant_to_be_seen(pictures):
    """A camera that was held sideways writes so; a transparent picture and one with a palette are pictures too."""
    folder = pictures / "test" / "crow"
    sideways = Image.new("RGB", (2, 1))
    sideways.putpixel((0, 0), (255, 255, 255))
    exif = sideways.getexif()
    exif[0x0112] = 6
    sideways.save(folder / "a.png", exif=exif)
    Image.new("RGBA", (3, 3), (1, 2, 3, 128)).save(folder / "b.png")
    Image.new("P", (3, 3), 0).save(folder / "c.png")
    dataset = _load("image_folder", pictures, "dataset.height=2", "dataset.width=1")
    crows = dataset.test.images[dataset.test.labels == 0]
    assert len(crows) == 5
    turned = next(image for image in crows if image[0].max() == 255)
    assert turned[1].max() == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: (p / "train/crow/bad.png").write_bytes(b"no"), r"bad\.png: expected a PNG or JPEG picture"),
        (lambda p: (p / "train/crow/notes.txt").write_text("x"), r"notes\.txt: expected a picture, \.png, \.jpg"),
        (lambda p: (p / "test/owl").mkdir(), r"expected the classes of .*train, and 'owl' is none"),
        (
            lambda p: (p / "test").rename(p / "exam"),
            r"dataset\.path: expected a folder .*test, with a folder per class",
        ),
        (lambda p: [f.unlink() for f in (p / "train/gull").iterdir()], r"there are none of 'gull'"),
    ],
)
def test_what_is_wrong_with_a_folder_of_pictures_is_told(pictures, change, message):
    change(pictures)
    with pytest.raises(DatasetError, match=message):
        _load("image_folder", pictures)


def test_a_truncated_picture_is_told(pictures):
    path = pictures / "train" / "gull" / "1.png"
    noise = np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(DatasetError, match=r"gull.1\.png: expected a PNG or JPEG picture; it can't be read"):
        _load("image_folder", pictures)


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_class_names_reach_report_and_tables(keras, pictures, model):
    overrides = [f"dataset.path='{pictures}'", f"model={model}", "training.epochs=1", "tracking=off"]
    small = ["model.filters=[4]"] if model == "cnn" else ["model.hidden_units=[8]"]
    sizes = ["dataset.height=8", "dataset.width=6", "dataset.standardise=true"]
    result = run_experiment(compose_config(["dataset=image_folder", *overrides, *small, *sizes]))
    assert "gull" in (result.folder / "classification_report.txt").read_text()
    assert "f1_by_class/crow" in result.evaluation.metrics()


def test_pictures_with_16_bits_are_refused_and_transparent_ones_lie_on_white(pictures):
    folder = pictures / "test" / "crow"
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(folder / "clear.png")
    dataset = _load("image_folder", pictures, "dataset.height=4", "dataset.width=4")
    assert any((image == 255).all() for image in dataset.test.images)
    Image.fromarray(np.full((4, 4), 60_000, np.uint16)).save(folder / "deep.png")
    with pytest.raises(DatasetError, match=r"deep\.png: expected 8 bits per pixel, got mode I;16"):
        _load("image_folder", pictures)


def _spoilt(**changes):
    """What a data set of somebody else's making may return: six 4x4 images of two classes, with changes."""
    images = np.zeros((6, 4, 4), np.uint8)
    arrays = {"images": images, "labels": np.arange(6, dtype=np.uint8) % 2, "shape": (4, 4), "pixel_max": 255} | changes
    spec = DataSpec(image_shape=arrays["shape"], class_names=("a", "b"), pixel_max=arrays["pixel_max"])
    good = Split(images, np.arange(6, dtype=np.uint8) % 2)
    return Dataset(name="acme", spec=spec, train=Split(arrays["images"], arrays["labels"]), test=good, source="acme")


def _one_nan():
    images = np.zeros((6, 4, 4), np.float32)
    images[3, 2, 1] = np.nan
    return images


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "expected its load to return a trainyard Dataset, got NoneType"),
        (_spoilt(images=_one_nan()), "train: images: expected whole numbers from 0 to 255, .*got float32"),
        (_spoilt(images=np.full((6, 4, 4), 9, np.uint8), pixel_max=8), "train: images: .*got values from 9 to 9"),
        (
            _spoilt(labels=np.full(6, 2, np.uint8)),
            "train: expected labels below 2, as there are that many class names, got 2",
        ),
        (_spoilt(labels=np.zeros(5, np.uint8)), r"of shape \(5, 4, 4\), as there are 5 labels .* got \(6, 4, 4\)"),
        (_spoilt(shape=(4, 5)), r"of shape \(6, 4, 5\), .*the spec says \(4, 5\), got \(6, 4, 4\)"),
    ],
    ids=["nothing", "a NaN pixel", "a pixel above the largest", "a label without a name", "lengths", "another shape"],
)
def test_what_a_data_set_of_others_loads_is_checked(returned, message, monkeypatch):
    monkeypatch.setattr(Digits, "load", lambda self, progress: returned)
    with pytest.raises(DatasetError, match=f"dataset digits: .*{message}"):
        load_dataset(compose_config([]).dataset, 0)


def test_whole_numbers_of_any_type_become_bytes_and_one_channel_may_stay(monkeypatch):
    loaded = _spoilt(images=np.full((6, 4, 4, 1), 7), labels=np.arange(6) % 2, shape=(4, 4, 1))
    loaded = replace(loaded, test=loaded.train)
    monkeypatch.setattr(Digits, "load", lambda self, progress: loaded)
    dataset = load_dataset(compose_config([]).dataset, 0)
    assert (dataset.train.images.dtype, dataset.train.labels.dtype) == (np.uint8, np.uint8)
    assert np.array_equal(dataset.train.images, loaded.train.images)
