"""Finds the folders of the splits in a folder of images, and explains layouts that are not supported."""

from __future__ import annotations

import os
from pathlib import Path

from trainyard.data.image_files import IMAGE_SUFFIXES
from trainyard.errors import DatasetError

_SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""The names of the folder of each split, in lower case."""
_IGNORED = {
    "__macosx", "@eadir", "lost+found", "__pycache__", "thumbs.db", "desktop.ini", "$recycle.bin",
    "system volume information",
}  # fmt: skip
"""Files and folders of operating systems and programs, in lower case. Names that begin with a dot are ignored, too."""
_TABLE_SUFFIXES = (".csv", ".tsv", ".xls", ".xlsx", ".parquet")
_EXPECTED = "train/CLASS/ and test/CLASS/, or CLASS/, with image files"


def is_ignored(name: str) -> bool:
    """Returns whether a file or folder belongs to an operating system or a program, and not to the data."""
    return name.startswith(".") or name.casefold() in _IGNORED


def is_image_name(name: str) -> bool:
    """Returns whether a file name has the suffix of an image format."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def list_subfolders(folder: Path) -> tuple[list[Path], list[Path]]:
    """Returns the subfolders and the files of a folder, sorted, without those that are ignored.

    Raises a DatasetError if the folder can't be read.
    """
    try:
        with os.scandir(folder) as entries:
            visible = sorted((entry for entry in entries if not is_ignored(entry.name)), key=lambda entry: entry.name)
        folders = [Path(entry.path) for entry in visible if entry.is_dir()]
    except FileNotFoundError as error:
        raise DatasetError(
            f"dataset.path: expected an existing file or folder, got {folder}, which does not exist"
        ) from error
    except NotADirectoryError as error:
        raise DatasetError(
            f"dataset.path: expected a folder with {_EXPECTED}, got the file {folder}. Unpack an archive first"
        ) from error
    except OSError as error:
        raise DatasetError(
            f"{folder}: the folder can't be read: {error.strerror}. Change its permissions, or remove it"
        ) from error
    known = set(folders)
    return folders, [path for entry in visible if (path := Path(entry.path)) not in known]


def find_split_folders(root: Path) -> dict[str, Path]:
    """Returns the folder of each split: ``train`` and, if there are any, ``validation`` and ``test``.

    Without split folders, the training images are those of `root`. Raises a DatasetError if the layout is not
    supported.
    """
    subfolders, files = list_subfolders(root)
    folders = _match_splits(root, subfolders)
    if folders and "train" not in folders:
        names = ", ".join(path.name for path in folders.values())
        raise DatasetError(f"{root}: expected a folder train, as there is {names}, got none. Add or rename it")
    _reject_table_of_labels(folders.get("train", root))
    if not folders:
        _reject_other_layouts(root, subfolders, files)
        folders = {"train": root}
    return folders


def find_test_problem(root: Path, folders: dict[str, Path], test_fraction: float | None) -> str | None:
    """Returns a message if there is a test split although `test_fraction` is set, or neither of the two."""
    if "test" in folders:
        expected = f"dataset.test_fraction: expected null, as {folders['test']} contains the test images"
        return None if test_fraction is None else f"{expected}, got {test_fraction:g}"
    return None if test_fraction is not None else _explain_missing_test(root, folders)


def has_validation_folder(root: Path) -> bool:
    """Returns whether a folder contains training and validation images in separate folders; False if unreadable."""
    try:
        return {"train", "validation"} <= _match_splits(root, list_subfolders(root)[0]).keys()
    except DatasetError:
        return False


def _match_splits(root: Path, subfolders: list[Path]) -> dict[str, Path]:
    """Returns the folder of each split that is among the subfolders; raises a DatasetError if a split has several.

    A folder without subfolders is a class, such as ``train`` beside ``bus``, if there are folders with other names.
    """
    folders: dict[str, Path] = {}
    for split, names in _SPLIT_NAMES.items():
        matching = [path for path in subfolders if path.name.casefold() in names]
        if len(matching) > 1:
            found = " and ".join(path.name for path in matching)
            raise DatasetError(f"{root}: expected one folder for the {split} images, got {found}. Merge or rename them")
        if matching:
            folders[split] = matching[0]
    if set(subfolders) - set(folders.values()):
        folders = {split: path for split, path in folders.items() if list_subfolders(path)[0]}
    return folders


def _explain_missing_test(root: Path, folders: dict[str, Path]) -> str:
    """Returns the message for a layout without test images."""
    if folders["train"] == root:
        subfolders = list_subfolders(root)[0]
        names = ", ".join(path.name for path in subfolders[:3]) + (", ..." if len(subfolders) > 3 else "")  # noqa: PLR2004
        return (
            f"dataset.path: expected the folders {root / 'train'} and {root / 'test'}, got {len(subfolders)} folders "
            f"({names}). If each contains the images of a class, draw the test images from them: "
            "dataset.test_fraction=0.2"
        )
    validation = folders.get("validation")
    remedy = f", or rename {validation.name} to test" if validation else ""
    return (
        f"dataset.path: expected the folder {root / 'test'} with a subfolder per class; it does not exist. Draw the "
        f"test images from the training images, dataset.test_fraction=0.2{remedy}"
    )


def _reject_table_of_labels(folder: Path) -> None:
    """Raises a DatasetError if all training images are in one folder, and a table is in or beside it."""
    subfolders, files = list_subfolders(folder)
    if len(subfolders) == 1:
        folder = subfolders[0]
        subfolders, files = list_subfolders(folder)
    images = sum(is_image_name(path.name) for path in files)
    if subfolders or not images:
        return
    beside = list_subfolders(folder.parent)[1] if os.access(folder.parent, os.R_OK) else []
    if tables := [path for path in (*beside, *files) if path.name.lower().endswith(_TABLE_SUFFIXES)]:
        raise DatasetError(
            f"dataset.path: expected a folder with {_EXPECTED}, got {images:,} image files in one folder, {folder}, "
            f"and the table {tables[0]}. If it contains the labels, move each image into a folder with the name of its "
            "class, or write images and labels to an npz file for dataset=npz"
        )


def _reject_other_layouts(root: Path, subfolders: list[Path], files: list[Path]) -> None:
    """Raises a DatasetError that says what to do, if a folder without split folders has no folders of classes either.

    Recognized are one level too much, `PATH/CLASS/train` and `PATH/x_train/x_train`.
    """
    if not subfolders:
        images = sum(is_image_name(path.name) for path in files)
        received = f"{images:,} image files without folders" if images else "no folders"
        raise DatasetError(f"dataset.path: expected a folder with {_EXPECTED}, got {received} in {root}")
    inner = {path: list_subfolders(path)[0] for path in subfolders}
    with_splits = [path for path, paths in inner.items() if "train" in _match_splits(path, paths)]
    if with_splits and len(subfolders) > 1 and len(with_splits) == len(subfolders):
        name = with_splits[0].name
        raise DatasetError(
            f"dataset.path: expected train/CLASS in {root}, got CLASS/train, such as {name}/train. Move the folders: "
            f"{name}/train to train/{name}, and so on"
        )
    if with_splits:
        raise DatasetError(
            f"dataset.path: expected the folders train and test in {root}, got them one level below. Set "
            f"dataset.path={with_splits[0]}"
        )
    for path, paths in inner.items():
        below = next((below for below in paths if below.name == path.name), None)
        if path.name.casefold().endswith(("_train", "-train")) or (below and "train" in path.name.casefold()):
            source = below or path
            raise DatasetError(
                f"dataset.path: expected the folders train and test in {root}, got {path.name}. Rename or link the "
                f"folder of each split, for example: ln -s {source.absolute()} {root.absolute() / 'train'}"
            )
