"""Tests of the layouts of image folders: what is listed, and how folders that are not as expected are explained."""

from __future__ import annotations

import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainyard import compose_config, run_experiment
from trainyard.config import hash_config
from trainyard.data import ImageFolder, load_dataset
from trainyard.data.image_listing import list_images
from trainyard.data.loading import limit_dataset
from trainyard.errors import ConfigError, DatasetError
from trainyard.sweep.plan import make_plan

ROOT = Path("birds")


def _write(path, value=0):
    path = ROOT / path
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (3, 2), value).save(path, format="PNG")


def _write_classes(*folders, classes=("crow", "gull"), count=3):
    """Writes images whose pixels are the number of their class."""
    for folder in folders:
        for label, name in enumerate(classes):
            for number in range(count):
                _write(f"{folder}/{name}/{number}.png", label)


def _write_text(path):
    (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
    (ROOT / path).write_text("x")


def _load(**fields):
    return load_dataset(ImageFolder(path=str(ROOT), height=2, width=3, colour=False, **fields), 0)


def _rename(path, target):
    (ROOT / path).rename(ROOT / target)


ACCEPTED = {
    "two splits": (lambda: None, (6, None, 6)),
    "validation": (lambda: _write_classes("val"), (6, 6, 6)),
    "valid": (lambda: _write_classes("valid", count=1), (6, 2, 6)),
    "Validation": (lambda: _write_classes("Validation"), (6, 6, 6)),
    "capitals": (lambda: (_rename("train", "Train"), _rename("test", "TEST")), (6, None, 6)),
    "training": (lambda: (_rename("train", "training"), _rename("test", "Testing")), (6, None, 6)),
    "subfolders of a class": (lambda: _write("train/crow/young/deep/9.png"), (7, None, 6)),
    "a folder that is named like an image": (lambda: _write("train/crow/x.png/9.png"), (7, None, 6)),
    "a class without test images": (lambda: shutil.rmtree(ROOT / "test/crow"), (6, None, 3)),
    "a linked class": (
        lambda: (_rename("train/gull", "store"), (ROOT / "train/gull").symlink_to((ROOT / "store").absolute())),
        (6, None, 6),
    ),
    "a file without a suffix": (lambda: _write("train/crow/photo"), (7, None, 6)),
    "a readme": (lambda: (_write_text("README.txt"), _write_text("train/labels.csv")), (6, None, 6)),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_layouts_that_people_have_are_listed(name):
    change, sizes = ACCEPTED[name]
    _write_classes("train", "test")
    change()
    dataset = _load()
    assert dataset.spec.class_names == ("crow", "gull")
    assert (len(dataset.train), dataset.validation and len(dataset.validation), len(dataset.test)) == sizes
    for split in (dataset.train, dataset.validation or dataset.test, dataset.test):
        assert set(split.labels.tolist()) <= {0, 1}
    written_with_label = dataset.test
    assert np.array_equal(written_with_label.images[:, 0, 0], written_with_label.labels)


@pytest.mark.parametrize(
    "name",
    ["__MACOSX", "@eaDir", "lost+found", "__pycache__", ".ipynb_checkpoints", "thumbs.db", "Thumbs.db", "Desktop.ini",
     "desktop.INI", ".DS_Store", "._0.png"],
)  # fmt: skip
@pytest.mark.parametrize("folder", [".", "train", "test", "train/crow"])
def test_files_and_folders_of_systems_are_ignored(name, folder):
    _write_classes("train", "test")
    path = ROOT / folder / name
    if "." in name[1:] or name == ".DS_Store":
        path.write_bytes(b"\0")
    else:
        path.mkdir()
        (path / "x.png").write_bytes(b"\0")
    listing = list_images(ROOT)
    assert listing.class_names == ("crow", "gull")
    assert len(listing) == 12


def _swap_levels():
    shutil.rmtree(ROOT)
    _write_classes("crow", "gull", classes=("train", "test"))


def _nest(*targets):
    for part, target in zip(("train", "test"), targets, strict=True):
        (ROOT / target).parent.mkdir(exist_ok=True)
        _rename(part, target)


def _flatten():
    shutil.rmtree(ROOT)
    for number in range(3):
        _write(f"train/crow.{number}.jpg")


def _add_table(images, table):
    shutil.rmtree(ROOT)
    for number in range(2):
        _write(f"{images}{number}.png")
    _write_text(table)


def _link_loop():
    (ROOT / "train/crow/more").symlink_to((ROOT / "train/crow").absolute())


REJECTED = {
    "no test": (lambda: shutil.rmtree(ROOT / "test"), r"dataset\.path: .*birds/test .*dataset\.test_fraction=0\.2$"),
    "validation, no test": (lambda: _rename("test", "val"), r"dataset\.test_fraction=0\.2, or rename val to test"),
    "no train": (lambda: _rename("train", "exercise"), "expected a folder train, as there is test"),
    "no split": (
        lambda: (shutil.rmtree(ROOT), _write_classes(".")),
        r"got 2 folders \(crow, gull\)\. .*dataset\.test_fraction=0\.2",
    ),
    "both names": (
        lambda: _write_classes("Training"),
        "expected one folder for the train images, got Training and train",
    ),
    "one level too deep": (lambda: _nest("inner/train", "inner/test"), r"Set dataset\.path=birds/inner"),
    "the same name twice": (
        lambda: _nest("seg_train/seg_train", "seg_test/seg_test"),
        r"ln -s .*birds/seg_train/seg_train .*birds/train",
    ),
    "splits in classes": (_swap_levels, "expected train/CLASS in birds, got CLASS/train, .*crow/train to train/crow"),
    "files without classes": (
        _flatten,
        r"3 outside of them, for example crow\.0\.jpg\. Create a folder per class, .*train/crow",
    ),
    "a table beside images": (
        lambda: _add_table("images/", "labels.csv"),
        r"2 image files in one folder, birds/images, and the table birds/labels\.csv\. .*folder with the name of its class",
    ),
    "a table beside training images": (lambda: _add_table("train/", "train.tsv"), r"table birds/train\.tsv\. "),
    "a table among images": (lambda: _add_table("", "Labels.CSV"), r"table birds/Labels\.CSV\. "),
    "a table among training images": (
        lambda: _add_table("train/all/", "train/all/a.csv"),
        r"table birds/train/all/a\.csv",
    ),
    "only files": (lambda: (shutil.rmtree(ROOT), _write("0.png")), "got 1 image files without folders"),
    "a file beside classes": (lambda: _write("test/0.png"), r"birds/test: .*got 1 outside of them"),
    "one class": (
        lambda: [shutil.rmtree(ROOT / s / "gull") for s in ("train", "test")],
        r"2 to \d+ subfolders.* got 1 \(crow\)",
    ),
    "an unknown class": (lambda: _write("test/owl/0.png"), r"got 'owl' in addition\. Add birds/train/owl"),
    "another case": (lambda: _rename("test/crow", "test/Crow"), r"got 'Crow' in addition\. Rename it to 'crow'"),
    "a space": (lambda: _rename("test/crow", "test/crow "), r"got 'crow ' in addition\. Rename it to 'crow'"),
    "an unknown class in val": (lambda: _write("val/owl/0.png"), r"birds/val: .*got 'owl'"),
    "an empty class": ((ROOT / "train/owl").mkdir, "got none of the class 'owl'"),
    "an empty split": (lambda: [f.unlink() for f in ROOT.glob("test/*/*")], "birds/test: expected image files"),
    "no image": (lambda: _write_text("train/crow/labels.csv"), r"labels\.csv: expected an image file"),
    "an empty file": ((ROOT / "train/crow/9.png").touch, r"9\.png: .*got an empty file"),
    "a dangling link": (
        lambda: (ROOT / "train/crow/9.png").symlink_to("nowhere"),
        r"9\.png: the target of the link can't be read",
    ),
    "a link to itself": (
        lambda: (ROOT / "train/crow/9.png").symlink_to("9.png"),
        r"9\.png: the target of the link can't be read",
    ),
    "a dangling link as a class": (
        lambda: (ROOT / "train/owl").symlink_to("nowhere"),
        "train/owl: the target of the link can't be read",
    ),
    "a loop of links": (_link_loop, "crow/more: expected a folder, got a link to a folder that contains it"),
    "a pipe": (lambda: os.mkfifo(ROOT / "train/crow/9.png"), "got something else, such as a device"),
}


@pytest.mark.parametrize("name", REJECTED)
def test_other_layouts_are_explained(name):
    change, message = REJECTED[name]
    _write_classes("train", "test")
    change()
    with pytest.raises(DatasetError, match=message):
        list_images(ROOT)


def test_a_path_that_is_no_folder_is_explained():
    _write("0.png")
    with pytest.raises(DatasetError, match="got the file birds/0.png. Unpack an archive"):
        list_images(ROOT / "0.png")
    with pytest.raises(DatasetError, match="does not exist"):
        list_images(Path("nowhere"))


@pytest.mark.parametrize("folder", [".", "train", "train/crow"])
def test_folders_that_cannot_be_read_are_reported(folder, monkeypatch):
    """The error is injected, because root may read everything; errno 116 is that of a stale mount."""
    _write_classes("train", "test")
    scan = os.scandir

    def scan_with_error(path):
        if Path(path) == ROOT / folder:
            raise OSError(116, "Stale file handle")
        return scan(path)

    monkeypatch.setattr(os, "scandir", scan_with_error)
    with pytest.raises(DatasetError, match="the folder can't be read: Stale file handle"):
        list_images(ROOT)


def test_all_problems_are_reported_together_and_only_the_first_are_listed():
    _write_classes("train", "test")
    for number in range(15):
        _write_text(f"test/gull/{number:02}.csv")
    with pytest.raises(DatasetError) as caught:
        list_images(ROOT)
    lines = str(caught.value).splitlines()
    assert lines[0] == "birds: 15 problems"
    assert [line.partition(":")[0] for line in lines[1:-1]] == [
        f"birds/test/gull/{number:02}.csv" for number in range(10)
    ]
    assert "and 5 more" in lines[-1]
    copy = pickle.loads(pickle.dumps(caught.value))  # as a trial's process passes it on
    assert (str(copy), copy.problems) == (str(caught.value), caught.value.problems)


def test_contents_are_checked_without_decoding_and_all_files_that_are_no_images_are_reported():
    _write_classes("train", "test")
    texts = {
        "a.jpg": b"<!DOCTYPE html>",
        "b.png": b"version https://git-lfs.github.com/spec/v1",
        "c.jpg": b"\0\0\0\x18ftypheic",
    }
    for name, content in texts.items():
        (ROOT / "test/gull" / name).write_bytes(content)
    with pytest.raises(DatasetError, match="(?s)3 problems.*a web page.*git lfs pull.*HEIF"):
        list_images(ROOT).check_contents()


def test_names_in_composed_and_decomposed_form_are_equal():
    _write_classes("train", classes=("caf\u00e9", "gull"))
    _write_classes("test", classes=("cafe\u0301", "gull"))
    listing = list_images(ROOT)
    assert listing.class_names == ("caf\u00e9", "gull")
    assert listing.splits["test"].labels.tolist() == [0] * 3 + [1] * 3
    (ROOT / "train/cafe\u0301").mkdir()
    with pytest.raises(DatasetError, match="expected one folder per class, got two with the name"):
        list_images(ROOT)


def test_numbers_in_class_names_are_ordered_by_value_and_other_names_as_strings():
    names = ("10", "9", "100", "item 2", "item 10", "Zebra", "ape", "été")
    _write_classes("train", "test", classes=names, count=1)
    assert list_images(ROOT).class_names == ("9", "10", "100", "Zebra", "ape", "item 2", "item 10", "été")


def test_a_test_set_is_drawn_that_is_stratified_and_the_same_for_every_seed():
    _write_classes(".", classes=("crow", "gull", "kite"), count=20)
    config = ImageFolder(path=str(ROOT), height=2, width=3, colour=False, test_fraction=0.25)
    first, second = (load_dataset(config, seed) for seed in (0, 1))
    assert np.bincount(first.test.labels).tolist() == [5, 5, 5]
    assert np.bincount(first.train.labels).tolist() == [15, 15, 15]
    assert first.test.digest == second.test.digest
    listing = list_images(ROOT, test_fraction=0.25)
    names = [{file.name for file in split.files} for split in listing.splits.values()]
    assert not names[0] & names[1]
    _write_classes("test", "train")
    with pytest.raises(DatasetError, match=r"dataset\.test_fraction: expected null, as birds/test contains"):
        list_images(ROOT, test_fraction=0.25)


def test_validation_images_of_the_user_replace_those_that_would_be_drawn():
    _write_classes("train", "test", "val")
    with pytest.raises(DatasetError, match=r"dataset\.validation_fraction: expected 0, as birds contains a folder"):
        _load(validation_fraction=0.2)
    overrides = ["dataset=image_folder", "dataset.path=birds", "training.keep_best=loss/val"]
    assert compose_config(overrides).dataset.has_validation
    shutil.rmtree(ROOT / "val")
    with pytest.raises(ConfigError, match="requires validation images"):
        compose_config(overrides)


def test_limit_selects_the_same_images_as_a_limit_of_the_loaded_data_set():
    _write_classes("train", "test", "val", count=10)
    for number in range(20):
        _write(f"train/gull/x{number}.png", number + 2)
    limited, expected = _load(limit=7), limit_dataset(_load(), 7, 0)
    assert limited.limited
    for part in ("train", "validation", "test"):
        assert len(getattr(limited, part)) == 7
        assert getattr(limited, part).digest == getattr(expected, part).digest


def test_files_that_are_no_images_can_be_skipped():
    _write_classes("train", "test")
    _write_text("train/crow/labels.csv")
    dataset = _load(on_bad_file="skip")
    assert len(dataset.train) == 6
    assert "labels.csv" in dataset.notices[0]


def test_images_that_do_not_fit_into_memory_are_reported_before_anything_is_decoded():
    _write_classes("train", "test")
    huge = ImageFolder(path=str(ROOT), height=10**6, width=10**6)
    with pytest.raises(DatasetError, match=r"12 images of 1000000 x 1000000 x 3: .* need 36,000\.0 GB\. Set a smaller"):
        huge.check_files()
    with pytest.raises(DatasetError, match="available memory"):
        load_dataset(huge, 0)
    replace(huge, height=2, width=2, limit=1).check_files()


def test_a_run_and_a_sweep_do_not_start_if_the_files_are_invalid():
    _write_classes("train", "test")
    _write_text("train/crow/labels.csv")
    overrides = ["dataset=image_folder", "dataset.path=birds", "sweep.objective=off"]
    with pytest.raises(DatasetError, match=r"labels\.csv"):
        run_experiment(compose_config(overrides))
    with pytest.raises(DatasetError, match=r"labels\.csv"):
        make_plan([*overrides, "seed=1,2"])
    assert not Path("outputs").exists()
    assert not Path("mlflow.db").exists()


def test_new_settings_do_not_change_the_config_hash_of_earlier_runs():
    config = compose_config(["dataset=image_folder", "dataset.path=birds"])
    assert hash_config(config) == "44f1c8e49bf02fa6cabf141086104f1d10059a8389bda428f5cdc471231571cf"
    assert hash_config(replace(config, dataset=replace(config.dataset, test_fraction=0.2))) != hash_config(config)


@pytest.mark.parametrize(
    "classes", [("bus", "car", "train"), ("valid", "invalid"), ("sneakers", "trainers"), ("strained", "normal")]
)
def test_folders_of_classes_with_names_of_splits_are_classes(classes):
    for name in classes:
        for number in range(4):
            _write(f"{name}/{number}.png", number)
    assert _load(test_fraction=0.25).spec.class_names == tuple(sorted(classes))
