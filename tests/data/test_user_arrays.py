"""Tests of npz files and folders of idx files as people have them: names, parts, notes and settings."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from trainyard import load_run, run_experiment
from trainyard.config.compose import compose_config
from trainyard.config.registry import find_component
from trainyard.config.validation import find_section_problems
from trainyard.data import load_dataset, memory
from trainyard.errors import ConfigError, DatasetError

NAMES = ("x_train", "y_train", "x_test", "y_test", "x_val", "y_val")
PARTS = {"train": 12, "test": 6, "val": 3}


def make_arrays(*names, shape=(6, 5, 3)):
    """Returns the named arrays of a data set with three classes. The images of each part differ."""
    generator = np.random.default_rng(0)
    arrays = {}
    for part, count in PARTS.items():
        arrays[f"x_{part}"] = generator.integers(0, 256, (count, *shape), dtype=np.uint8)
        arrays[f"y_{part}"] = (np.arange(count) % 3).astype(np.uint8)
    return {name: arrays[name] for name in names or NAMES[:4]}


ARRAYS = make_arrays(*NAMES)


def save(path, arrays):
    np.savez(path, **arrays)
    return path


def load(name, path, **fields):
    return load_dataset(find_component("dataset", name)(path=str(path), **fields), 0)


def check_parts(dataset, **names):
    """Checks that each split has the images and labels of these arrays, by the names in `ARRAYS`."""
    splits = {"train": dataset.train, "test": dataset.test, "val": dataset.validation}
    for part, split in splits.items():
        if f"x_{part}" not in names:
            assert split is None
        else:
            assert np.array_equal(split.images, ARRAYS[names[f"x_{part}"]])
            assert np.array_equal(split.labels, ARRAYS[names[f"y_{part}"]])


def rename(*names):
    """Returns the arrays under other names, in the order of `NAMES`."""
    return {name: ARRAYS[original] for name, original in zip(names, NAMES, strict=False)}


@pytest.mark.parametrize(
    "arrays",
    [
        rename(*NAMES),
        rename(*NAMES[:4]),
        rename("X_train", "y_train", "X_test", "y_test", "X_val", "y_val"),
        rename("train_x", "train_y", "test_x", "test_y", "valid_x", "valid_y"),
        rename("x_train", "y_train", "x_test", "y_test", "x_valid", "y_valid"),
        rename("x_train", "y_train", "x_test", "y_test", "x_validation", "y_validation"),
        rename("train_images", "train_labels", "test_images", "test_labels", "val_images", "val_labels"),
        rename("training.images", "training.targets", "testing.images", "testing.targets"),
        rename("trainData", "trainLabels", "testData", "testLabels"),
        rename("arr_0", "arr_1", "arr_2", "arr_3"),
        rename("arr_0", "arr_1", "arr_2", "arr_3", "arr_4", "arr_5"),
        rename(*NAMES[:4]) | {"ids": np.arange(12), "notes": np.array(["a"])},
    ],
    ids=lambda arrays: next(iter(arrays)),
)
def test_usual_names_are_recognized(tmp_path, arrays):
    dataset = load("npz", save(tmp_path / "a.npz", arrays))
    validation = {name: name for name in NAMES[4:]} if len(arrays) == 6 and "ids" not in arrays else {}
    check_parts(dataset, **{name: name for name in NAMES[:4]}, **validation)


@pytest.mark.parametrize(
    ("arrays", "keys"),
    [
        (rename("a", "b", "c", "d"), ["a", "b", "c", "d"]),
        (rename("a", "b", "c", "d", "e", "f"), ["a", "b", "c", "d"]),
        (rename("a", "b", "c", "d"), dict(zip(NAMES, "abcd", strict=False))),
        (rename("x_train", "fine", "x_test", "y_test") | {"y_train": np.zeros(12, int)}, {"y_train": "fine"}),
        (rename(*NAMES[:4]) | {"X_train": np.zeros((12, 6, 5, 3))}, {"x_train": "x_train"}),
        (rename("x_test", "y_test", "x_train", "y_train"), ["x_test", "y_test", "x_train", "y_train"]),
    ],
)
def test_keys_name_the_arrays(tmp_path, arrays, keys):
    check_parts(load("npz", save(tmp_path / "a.npz", arrays), keys=keys), **{name: name for name in NAMES[:4]})


@pytest.mark.parametrize("keys", [["a", "b"], {"x_train": "a", "y_train": "b"}])
@pytest.mark.parametrize("others", [NAMES[2:3], NAMES[2:], ("images", "labels", "x", "y_val")])
def test_arrays_that_complete_keys_do_not_name_are_ignored(tmp_path, keys, others):
    path = save(tmp_path / "a.npz", rename("a", "b", *others) | {"class_names": np.array(["crow", "gull", "kite"])})
    dataset = load("npz", path, keys=keys, test_fraction=0.25)
    assert (len(dataset.train), len(dataset.test), dataset.validation) == (9, 3, None)
    assert dataset.spec.class_names == ("crow", "gull", "kite")


@pytest.mark.parametrize(
    ("arrays", "fields", "message"),
    [
        (rename("a", "b", "c", "d"), {}, r"array x_train, which is missing\. .*dataset\.keys=.*a uint8 \(12, 6, 5, 3\), b "),
        (rename("x_train", "y_train"), {}, r"array x_test, which is missing\. .*dataset\.test_fraction=0\.2"),
        (rename(*NAMES[:5]), {}, r"array y_val, which is missing"),
        (rename("x_train", "y_train", "x_test"), {"test_fraction": 0.2}, r"array y_test, which is missing"),
        (rename(*NAMES[:4]), {"test_fraction": 0.2}, r"dataset\.test_fraction: expected null, as the arrays x_test and y_test"),
        (rename(*NAMES[:4]), {"keys": ["x", "y"]}, r"dataset\.keys: expected arrays of .*got 'x'\. The arrays are: x_train "),
        (rename(*NAMES[:4]) | {"X_train": ARRAYS["x_train"]}, {}, r"one array x_train, got x_train and X_train\. Choose one"),
        (rename(*NAMES[:4]) | {"val_x": ARRAYS["x_val"], "x_valid": ARRAYS["x_val"]}, {}, r"one array x_val, got val_x and x_valid"),
        (rename("arr_0", "arr_1", "arr_2"), {}, r"array x_train, which is missing\. .*The arrays are: arr_0 uint8 "),
        (rename("arr_0", "x_test", "arr_1"), {}, r"array x_train, which is missing"),
        ({"arr_0": ARRAYS["x_train"], "arr_1": ARRAYS["x_test"], "arr_2": ARRAYS["y_train"], "arr_3": ARRAYS["y_test"]},
         {}, r"arr_2: expected integers from 0 to 255 or floats"),
        ({}, {}, r"expected an npz file, got a zip file without arrays\. Unpack it"),
        (dict.fromkeys(map(str, range(21)), 0), {}, r"The arrays are: 0 int64 \(\), .*, 19 int64 \(\), \.\.\.$"),
    ],
)  # fmt: skip
def test_missing_and_ambiguous_arrays_are_listed(tmp_path, arrays, fields, message):
    with pytest.raises(DatasetError, match=message):
        load("npz", save(tmp_path / "a.npz", arrays), **fields)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        (None, None),
        (["a", "b"], None),
        ({"y_train": "fine", "class_names": "fine_names"}, None),
        (["a", "b", "c"], r"dataset.keys: expected 2, 4 or 6 names, in the order x_train, .*got 3 names"),
        (["a", "a"], r"dataset.keys: .*got a name twice"),
        ({"train": "a"}, r"dataset.keys: .*got the key 'train'"),
        ("x_train", r"dataset.keys: expected a mapping .* or a list of strings, or null, got 'x_train'"),
    ],
)
def test_keys_are_checked_without_data(keys, problem):
    problems = list(find_section_problems(find_component("dataset", "npz")(path="a.npz", keys=keys), "dataset"))
    assert len(problems) == (problem is not None)
    for message in problems:
        with pytest.raises(ConfigError, match=problem):
            raise ConfigError(message)


@pytest.mark.parametrize("name", ["npz", "idx"])
def test_missing_arrays_are_reported_before_a_run_is_created(tmp_path, name):
    path = (
        save(tmp_path / "a.npz", rename("x_train", "y_train"))
        if name == "npz"
        else write_idx(tmp_path, MNIST_NAMES[:2])
    )
    with pytest.raises(DatasetError, match=r"expected the (array|file) x_test, which is missing"):
        run_experiment(compose_config([f"dataset={name}", f"dataset.path='{path}'"]))
    assert not Path("outputs").exists()


@pytest.mark.parametrize("name", ["npz", "idx"])
@pytest.mark.parametrize("fits", [True, False])
def test_images_that_do_not_fit_into_memory_are_rejected_before_they_are_read(tmp_path, monkeypatch, name, fits):
    arrays = {key: array.astype(">f8") if key.startswith("x") else array for key, array in ARRAYS.items()}
    size = sum(array.nbytes + array.size * key.startswith("x") for key, array in arrays.items())
    if name == "npz":
        path = save(tmp_path / "a.npz", arrays)
    else:
        names = [*MNIST_NAMES, "val-images-idx3-ubyte", "val-labels-idx1-ubyte"]
        contents = {key: encode_idx(array, ">f8") for key, array in arrays.items() if key.startswith("x")}
        path = write_idx(tmp_path, names, **contents)
    monkeypatch.setattr(memory, "read_available_memory", lambda: size if fits else size - 1)
    component = find_component("dataset", name)(path=str(path))
    if fits:
        component.check_files()
        assert len(component.load(progress=False).train) == 12
        return
    message = r"(float64|>f8) \(12, 6, 5, 3\) .*that fit into the available memory of .* GB, got images that need"
    for action in (component.check_files, lambda: component.load(progress=False)):
        with pytest.raises(DatasetError, match=message):
            action()


def test_keys_are_set_on_the_command_line():
    for override in ("{x_train: photos, y_train: kinds}", "[a,b,c,d]"):
        config = compose_config(["dataset=npz", "dataset.path=a.npz", f"dataset.keys={override}"])
        assert config.dataset.keys in ({"x_train": "photos", "y_train": "kinds"}, ["a", "b", "c", "d"])


@pytest.mark.parametrize("names", [("x_train", "y_train"), ("x", "y"), ("images", "labels"), ("arr_0", "arr_1")])
def test_test_images_are_held_out_of_the_training_images(tmp_path, names):
    images = np.arange(100, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    path = save(tmp_path / "a.npz", {names[0]: images, names[1]: np.repeat([3, 7], [60, 40])})
    dataset = load("npz", path, test_fraction=0.2)
    assert np.bincount(dataset.test.labels).tolist() == [12, 8]
    assert sorted([*dataset.train.images[:, 0, 0], *dataset.test.images[:, 0, 0]]) == list(range(100))
    component = find_component("dataset", "npz")(path=str(path), test_fraction=0.2)
    assert load_dataset(component, 1).digest == dataset.digest


def test_a_test_fraction_that_takes_all_images_of_a_class_is_rejected(tmp_path):
    arrays = {"x": np.zeros((3, 4, 4), np.uint8), "y": [0, 1, 1]}
    with pytest.raises(DatasetError, match=r"dataset\.test_fraction: .*got 0\.9, which leaves none of the class '"):
        load("npz", save(tmp_path / "a.npz", arrays), test_fraction=0.9)


def test_a_limit_applies_to_validation_images_too(tmp_path):
    dataset = load("npz", save(tmp_path / "a.npz", ARRAYS), limit=2)
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [2, 2, 2]


def test_validation_images_in_the_data_exclude_a_validation_fraction(tmp_path):
    path = save(tmp_path / "a.npz", ARRAYS)
    with pytest.raises(
        DatasetError, match=r"dataset\.validation_fraction: expected 0, as .*a\.npz contains 3 validation "
    ):
        load("npz", path, validation_fraction=0.5)
    assert len(load("npz", save(path, make_arrays()), validation_fraction=0.5).validation) == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_val": ARRAYS["x_val"][:2]}, r"the same number of images and labels, got 2 in x_val and 3 in y_val"),
        ({"x_val": ARRAYS["x_val"][:, :4]}, r"the same size, got 6 x 5 x 3 in x_train and 4 x 5 x 3 in x_val"),
        ({"y_val": np.array([0, 1, 9])}, r"y_val: expected only the labels 0, 1, 2, got 9 in addition"),
        ({"x_val": ARRAYS["x_val"] / 127.5 - 1}, r"x_val: expected integers from 0 to 255 .*images \+ 1"),
    ],
)
def test_invalid_validation_arrays_are_rejected(tmp_path, changes, message):
    with pytest.raises(DatasetError, match=message):
        load("npz", save(tmp_path / "a.npz", ARRAYS | changes))


@pytest.mark.parametrize(
    ("images", "largest"),
    [
        (np.tile(np.arange(17, dtype=np.uint8), (12, 4, 1)), 16),
        (np.tile(np.arange(17.0), (12, 4, 1)), 16),
        (np.tile(np.arange(2), (12, 4, 2)), 1),
        (np.tile(np.arange(32), (12, 4, 1)), 31),
        (np.tile(np.arange(33), (12, 4, 1)), None),
        (np.tile(np.arange(2.0), (12, 4, 2)), None),
        (np.tile([True, False], (12, 4, 2)), None),
        (np.zeros((12, 4, 4), np.uint8), 0),
    ],
)
def test_images_far_darker_than_pixel_max_cause_a_warning(tmp_path, images, largest):
    arrays = {"x_train": images, "y_train": ARRAYS["y_train"], "x_test": images[:6], "y_test": ARRAYS["y_test"]}
    path = save(tmp_path / "a.npz", arrays)

    def list_warnings(**fields):
        return [notice for notice in load("npz", path, **fields).notices if "largest pixel" in notice]

    if largest is None:
        assert not list_warnings()
        return
    (warning,) = list_warnings()
    assert f"largest pixel of the training images is {largest}, far below dataset.pixel_max=255" in warning
    assert (f"set dataset.pixel_max={largest}" in warning) == bool(largest)
    if largest:
        assert not list_warnings(pixel_max=largest)


@pytest.mark.parametrize(
    "names", [np.array(["crow", "gull", "kite"]), np.array([b"crow", b"gull", b"kite"]), ["crow", "gull", "kite"]]
)
def test_class_names_are_texts_or_bytes(tmp_path, names):
    for key in ("class_names", "label_names"):
        path = save(tmp_path / f"{key}.npz", make_arrays() | {key: names})
        assert load("npz", path).spec.class_names == ("crow", "gull", "kite")
    assert load("npz", path, class_names=["a", "b", "c"]).spec.class_names == ("a", "b", "c")
    assert load("npz", path, keys={"class_names": "label_names"}).spec.class_names == ("crow", "gull", "kite")


@pytest.mark.parametrize("key", ["class_names", "y_train", "x_train"])
def test_python_objects_are_never_unpickled(tmp_path, key):
    path = save(tmp_path / "a.npz", make_arrays() | {key: np.array(["a", "b", "c"], object)})
    with pytest.raises(DatasetError, match=rf"{key}\.npy: .*never unpickled, .*np\.array\(texts, dtype=str\)"):
        load("npz", path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.npy", b"\x93NUMPY\x01\x00", r"an npy file, which has a single array"),
        ("d.csv", b"label,p0,p1\n1,2,3\n", r"a text file\. Trainyard trains on images only"),
        ("d.parquet", b"PAR1" + bytes(20), r"a Parquet file\. Trainyard trains on images only"),
        ("d.h5", b"\x89HDF\r\n\x1a\n" + bytes(100), r"an HDF5 file"),
        ("d.pkl", b"\x80\x04\x95" + bytes(100), r"a pickle, which Trainyard never loads"),
        ("d.mat", b"MATLAB 5.0 MAT-file" + bytes(200), r"a MATLAB file"),
        ("d.npz", b"\x1f\x8b" + bytes(20), r"a gzipped file"),
    ],
)
def test_other_formats_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=rf"{name}: expected an npz file; it can't be read: it is {message}"):
        load("npz", tmp_path / name)


def test_a_folder_is_no_npz_file(tmp_path):
    with pytest.raises(DatasetError, match="it is a folder. Use dataset=image_folder"):
        load("npz", tmp_path)


# ---------------------------------------------------------------------------------------------------------------
# Idx files

CODES = {"u1": 8, "i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}


def encode_idx(array, dtype="u1"):
    return (
        struct.pack(f">BBBB{array.ndim}I", 0, 0, CODES[dtype], array.ndim, *array.shape) + array.astype(dtype).tobytes()
    )


MNIST_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def write_idx(folder, names=MNIST_NAMES, **changes):
    """Writes arrays as idx files; names that end in .gz get gzipped contents."""
    folder.mkdir(exist_ok=True)
    for name, array in zip(names, (ARRAYS | changes).values(), strict=False):
        content = array if isinstance(array, bytes) else encode_idx(array)
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return folder


def _prefixed(prefix, *, end="", test="test"):
    return [f"{prefix}{name}{end}".replace("t10k", test) for name in MNIST_NAMES]


@pytest.mark.parametrize(
    "names",
    [
        MNIST_NAMES,
        [f"{name}.gz" for name in MNIST_NAMES],
        [name.replace("-idx", ".idx") for name in MNIST_NAMES],
        _prefixed("emnist-letters-", end=".gz"),
        _prefixed("qmnist-"),
        _prefixed("", test="Test"),
        [*MNIST_NAMES, "val-images-idx3-ubyte", "validation-labels-idx1-ubyte"][:4],
    ],
)
def test_idx_files_are_found_by_their_names(tmp_path, names):
    check_parts(load("idx", write_idx(tmp_path / "a", names)), **{name: name for name in NAMES[:4]})


@pytest.mark.parametrize(("entry", "received"), [("MNIST/raw", "MNIST"), ("a.png", r"a\.png"), ("", "an empty folder")])
def test_a_folder_without_idx_files_is_rejected(tmp_path, entry, received):
    (tmp_path / "a" / entry).mkdir(parents=True)
    with pytest.raises(DatasetError, match=rf"such as train-images-idx3-ubyte, got {received}\. Set dataset\.path"):
        load("idx", tmp_path / "a")


def test_idx_files_may_contain_validation_images(tmp_path):
    folder = write_idx(tmp_path / "a", [*MNIST_NAMES, "val-images-idx3-ubyte", "val-labels-idx1-ubyte"])
    check_parts(load("idx", folder), **{name: name for name in NAMES})


def test_an_unpacked_file_has_priority_and_content_decides_what_is_gzipped(tmp_path):
    folder = write_idx(tmp_path / "a")
    for name in MNIST_NAMES:
        (folder / f"{name}.gz").write_bytes(b"damaged")
    check_parts(load("idx", folder), **{name: name for name in NAMES[:4]})
    for name in MNIST_NAMES:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(gzip.compress(content))  # a browser removed the suffix
        (folder / f"{name}.gz").unlink()
    check_parts(load("idx", folder), **{name: name for name in NAMES[:4]})
    for name in MNIST_NAMES:
        content = gzip.decompress((folder / name).read_bytes())
        (folder / name).unlink()
        (folder / f"{name}.gz").write_bytes(content)  # a browser unpacked the file and kept the suffix
    check_parts(load("idx", folder), **{name: name for name in NAMES[:4]})


@pytest.mark.parametrize("dtype", CODES)
def test_idx_files_of_every_type_are_loaded(tmp_path, dtype):
    images = {f"x_{part}": np.minimum(ARRAYS[f"x_{part}"], 127) for part in ("train", "test")}
    encoded = {name: encode_idx(array, dtype) for name, array in images.items()}
    labels = {f"y_{part}": encode_idx(ARRAYS[f"y_{part}"], dtype) for part in ("train", "test")}
    dataset = load("idx", write_idx(tmp_path / "a", **encoded, **labels))
    assert np.array_equal(dataset.train.images, images["x_train"])
    assert np.array_equal(dataset.test.labels, ARRAYS["y_test"])


@pytest.mark.parametrize("factor", [100, 0])
def test_the_first_column_of_the_labels_of_qmnist_is_the_digit(tmp_path, factor):
    changes = {}
    for part, count in (("train", 12), ("test", 6)):
        columns = factor * (np.arange(count)[:, None] + np.arange(8))
        columns[:, 0] = ARRAYS[f"y_{part}"]
        changes[f"y_{part}"] = encode_idx(columns, ">i4")
    names = ["qmnist-train-images-idx3-ubyte", "qmnist-train-labels-idx2-int", "qmnist-test-images-idx3-ubyte",
             "qmnist-test-labels-idx2-int"]  # fmt: skip
    check_parts(load("idx", write_idx(tmp_path / "a", names, **changes)), **{name: name for name in NAMES[:4]})


def test_emnist_letters_have_labels_from_one_and_transposed_images(tmp_path):
    arrays = make_arrays(shape=(6, 5))
    changes = {
        name: array.swapaxes(1, 2) if name.startswith("x") else array.astype(int) + 1 for name, array in arrays.items()
    }
    folder = write_idx(tmp_path / "a", _prefixed("emnist-letters-", end=".gz"), **changes)
    dataset = load("idx", folder, transpose=True, class_names=["a", "b", "c"])
    assert np.array_equal(dataset.train.images, arrays["x_train"])
    assert dataset.spec.image_shape == (6, 5)
    assert dataset.test.labels.tolist() == arrays["y_test"].tolist()
    assert dataset.spec.class_names == ("a", "b", "c")
    assert load("idx", folder).spec.class_names == ("1", "2", "3")


def test_one_of_several_data_sets_in_a_folder_is_chosen_by_keys(tmp_path):
    folder = write_idx(tmp_path / "a", _prefixed("emnist-letters-"))
    write_idx(folder, _prefixed("emnist-digits-"), x_train=ARRAYS["x_train"][::-1])
    with pytest.raises(
        DatasetError, match=r"exactly one file t[a-z]*-images\*, .*emnist-digits.*emnist-letters.*dataset\.keys"
    ):
        load("idx", folder)
    check_parts(load("idx", folder, keys=_prefixed("emnist-letters-")), **{name: name for name in NAMES[:4]})


# ---------------------------------------------------------------------------------------------------------------
# Training

TINY = ["model=mlp", "model.hidden_units=[8]", "training.epochs=1", "training.xla=off", "tracking=off"]


def test_a_run_prints_the_notices_of_the_data_and_monitors_its_validation_images(keras, tmp_path, capsys, recwarn):
    from trainyard.runs.console import ScreenProgress

    images = {name: array // 16 for name, array in make_arrays(*NAMES, shape=(64,)).items() if name.startswith("x")}
    path = save(tmp_path / "a.npz", ARRAYS | images)
    stopping = ["training.early_stopping.patience=1", "training.early_stopping.monitor=loss/val"]
    config = compose_config(["dataset=npz", f"dataset.path='{path}'", *stopping, *TINY])
    result = run_experiment(config, progress=ScreenProgress())
    assert "loss/val" in result.training.history[0]
    output = capsys.readouterr()
    assert "  warning: images of 64 values were reshaped to 8 x 8" in output.out
    assert "  warning: the largest pixel of the training images is 15" in output.out
    assert not [warning for warning in recwarn.list if "trainyard" in warning.filename]
    assert "Warning" not in output.out + output.err
    save(path, make_arrays())
    with pytest.raises(ConfigError, match=r"early_stopping\.monitor: loss/val requires validation images"):
        run_experiment(config)


@pytest.mark.parametrize(
    "variant", [["training.engine=compiled"], ["training.engine=fit", "loss.label_smoothing=0.01", "tracking=off"]]
)
def test_300_classes_are_trained_evaluated_and_logged(keras, tmp_path, variant):
    """Each class is a pattern of nine bits, which a small network learns completely."""
    labels = np.arange(300)
    images = ((labels[:, None] >> np.arange(9)) & 1).astype(np.uint8).reshape(-1, 3, 3) * 255
    arrays = {"x": np.repeat(images, 9, axis=0), "y": np.repeat(labels, 9)}
    path = save(tmp_path / "a.npz", arrays)
    config = compose_config(
        ["dataset=npz", f"dataset.path='{path}'", "dataset.test_fraction=0.1", "dataset.validation_fraction=0.1",
         "training.balance_classes=true", "training.epochs=12", "training.xla=off", "optimizer.learning_rate=0.01",
         "model=mlp", "model.hidden_units=[128]", *variant]
    )  # fmt: skip
    result = run_experiment(config)
    assert (result.dataset.train.labels.dtype, result.dataset.spec.classes) == (np.uint16, 300)
    assert result.evaluation.predicted.dtype == np.uint16
    assert result.evaluation.accuracy == 1
    assert result.run_id is None or load_run(result.run_id).status == "FINISHED"
    with np.load(result.folder / "evaluation" / "test_predictions.npz") as predictions:
        assert np.array_equal(predictions["actual"], result.dataset.test.labels)
