"""Lists the image files of a folder, and checks all that can be checked without decoding an image."""

from __future__ import annotations

import os
import re
import shlex
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainyard.data.checks import MAX_CLASSES
from trainyard.data.image_files import IMAGE_SUFFIXES, build_natural_key, find_content_problem
from trainyard.data.image_layout import (
    find_split_folders,
    find_test_problem,
    is_ignored,
    is_image_name,
    list_subfolders,
)
from trainyard.data.loading import draw_held_out, draw_stratified_sample
from trainyard.errors import DatasetError

_MAX_LISTED = 10
"""The number of problems that an error lists; the others are counted."""
_READERS = 8
"""The number of threads that read the beginning of files; most of their time is spent waiting for a disk or network."""
_TEST_SEED = 0
"""The seed with which test images are drawn, so that all runs have the same test set."""


class ImageFile(NamedTuple):
    """A file as the folder lists it."""

    name: str
    """The path relative to the root of the data set, with slashes."""
    size: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class ListedSplit:
    """The files and labels of one split, ordered by class and then by name."""

    files: tuple[ImageFile, ...]
    labels: NDArray[np.intp]
    """(n,), from 0 to classes - 1."""

    def __len__(self) -> int:
        return len(self.files)

    def take(self, indices: NDArray[np.intp]) -> ListedSplit:
        """Returns a new split with the files at these indices, in this order."""
        return ListedSplit(tuple(self.files[index] for index in indices), self.labels[indices])


@dataclass(frozen=True, slots=True)
class ImageListing:
    """The image files of a data set, before any is decoded."""

    root: Path
    class_names: tuple[str, ...]
    splits: dict[str, ListedSplit]
    """``train``, ``test`` and, if the folder has validation images, ``validation``."""
    skipped: tuple[str, ...] = ()
    """A message for each file that is left out because of ``dataset.on_bad_file=skip``."""

    def __len__(self) -> int:
        return sum(map(len, self.splits.values()))

    def limit(self, count: int, seed: int) -> ImageListing:
        """Returns a listing with at most `count` files per split: those that `limit_dataset` selects."""
        splits = {
            name: split.take(np.sort(draw_stratified_sample(split.labels, min(count, len(split)), seed)))
            for name, split in self.splits.items()
        }
        return replace(self, splits=splits)

    def check_contents(self) -> None:
        """Reads the beginning of each file; raises one DatasetError for all files that are not images."""
        names = [file.name for split in self.splits.values() for file in split.files]
        with ThreadPoolExecutor(max_workers=_READERS) as pool:
            found = pool.map(lambda name: find_content_problem(self.root / name), names, chunksize=64)
            raise_problems(self.root, [problem for problem in found if problem])


class ImageFolderError(DatasetError):
    """Several files or folders of a data set are invalid.

    Attributes:
        problems: One message per problem. The message of the error contains only the first ones.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


def format_check_command(root: Path) -> str:
    """Returns the command that lists all problems of a folder."""
    option = "" if "test" in find_split_folders(root) else " --test-fraction 0.2"
    return f"trainyard data check {shlex.quote(str(root))}{option}"


def raise_problems(root: Path, problems: Sequence[str]) -> None:
    """Raises one error for all problems, if there are any. It lists only the first, and their number."""
    if not problems:
        return
    lines = [f"{root}: {len(problems):,} problems"] if len(problems) > 1 else []
    lines += problems[:_MAX_LISTED]
    if len(problems) > _MAX_LISTED:
        lines.append(f"and {len(problems) - _MAX_LISTED:,} more. List all: {format_check_command(root)}")
    raise ImageFolderError("\n".join(lines), problems)


def list_images(root: Path, *, test_fraction: float | None = None, skip_bad_files: bool = False) -> ImageListing:
    """Lists the image files below a folder; see ``docs/data.md`` for the layouts.

    Args:
        root: The folder with the folders of the splits, or with a folder per class.
        test_fraction: The share of the training images that becomes the test split. None if the folder has one.
        skip_bad_files: Whether to leave out files that are not images, instead of raising an error.

    Raises:
        DatasetError: If the layout is unknown, or a folder or file can't be read or is not expected. The error contains
            all problems.
    """
    folders = find_split_folders(root)
    search = _Search(root)
    classes = {split: search.list_classes(folder) for split, folder in folders.items()}
    test_problem = find_test_problem(root, folders, test_fraction)
    raise_problems(root, search.problems + ([test_problem] if test_problem else []))
    class_names = tuple(sorted(classes["train"], key=build_natural_key))
    search.check_classes(folders, classes)
    splits = {}
    for split, paths in classes.items():
        labelled = [(file, label) for label, name in enumerate(class_names) for file in search.list_files(paths, name)]
        labels = np.array([label for _, label in labelled], np.intp)
        splits[split] = ListedSplit(tuple(file for file, _ in labelled), labels)
    raise_problems(root, search.problems + ([] if skip_bad_files else search.bad_files))
    if test_fraction is not None:
        splits |= _draw_test_split(splits["train"], test_fraction)
    listing = ImageListing(root, class_names, splits, tuple(search.bad_files))
    raise_problems(root, list(find_missing_images(listing, folders)))
    return listing


def find_missing_images(listing: ImageListing, folders: dict[str, Path] | None = None) -> Iterator[str]:
    """Yields a problem for each split without images, and each class without training images."""
    for name, split in listing.splits.items():
        if not len(split):
            folder = (folders or {}).get(name, listing.root)
            yield f"{folder}: expected image files ({', '.join(IMAGE_SUFFIXES)}) in the class folders, got none"
    present = set(listing.splits["train"].labels.tolist())
    for label, class_name in enumerate(listing.class_names):
        if present and label not in present:
            yield (
                f"{listing.root}: expected training images of every class, got none of the class {class_name!r}. "
                "Add images, or remove the folder of the class"
            )


def _draw_test_split(train: ListedSplit, fraction: float) -> dict[str, ListedSplit]:
    """Returns the training and the test split into which the training images are divided, stratified by class."""
    if len(train) < 2:  # noqa: PLR2004 - one image for each of the two splits
        raise DatasetError(f"dataset.test_fraction: expected two or more images to split, got {len(train)}")
    remaining, test = draw_held_out(train.labels, fraction, _TEST_SEED)
    return {"train": train.take(remaining), "test": train.take(test)}


def _is_broken_link(path: Path) -> bool:
    """Returns whether a path is a link whose target does not exist or can't be read."""
    return path.is_symlink() and not os.path.exists(path)  # noqa: PTH110 - Path.exists raises PermissionError


@dataclass(slots=True)
class _Search:
    """Searches the folders of the splits, and collects all problems."""

    root: Path
    problems: list[str] = field(default_factory=list)
    bad_files: list[str] = field(default_factory=list)
    """The problems of files that are not images, which can be skipped."""

    def list_classes(self, folder: Path) -> dict[str, Path]:
        """Returns the class folders in the folder of a split by name, in Unicode's composed form (NFC)."""
        classes: dict[str, Path] = {}
        subfolders, files = list_subfolders(folder)
        for path in subfolders:
            name = unicodedata.normalize("NFC", path.name)
            if name in classes:
                self.problems.append(f"{folder}: expected one folder per class, got two with the name {name!r}")
            classes[name] = path
        self.problems += [
            f"{path}: the target of the link can't be read. Remove or replace it"
            for path in files
            if _is_broken_link(path)
        ]
        if images := [path for path in files if is_image_name(path.name)]:
            self.problems.append(
                f"{folder}: expected image files only in the folders of the classes, got {len(images):,} outside of "
                f"them, for example {images[0].name}. Create a folder per class, such as "
                f"{folder / (re.split(r'[^A-Za-z]', images[0].name)[0] or 'CLASS')}, and move the files into it"
            )
        return classes

    def check_classes(self, folders: dict[str, Path], classes: dict[str, dict[str, Path]]) -> None:
        """Checks the number of classes, and that no split has classes that the training images do not have."""
        known = classes["train"]
        if not 2 <= len(known) <= MAX_CLASSES:  # noqa: PLR2004 - a classifier needs two classes
            received = f"{len(known)}" + (f" ({min(known)})" if len(known) == 1 else "")
            self.problems.append(
                f"{folders['train']}: expected 2 to {MAX_CLASSES} subfolders, one per class, got {received}"
            )
        for split, found in classes.items():
            for name in sorted(set(found) - set(known)):
                similar = [other for other in known if other.strip().casefold() == name.strip().casefold()]
                remedy = f"Rename it to {similar[0]!r}" if similar else f"Add {folders['train'] / name}, or remove it"
                self.problems.append(
                    f"{folders[split]}: expected the class folders of {folders['train']}, got {name!r} in addition. "
                    f"{remedy}"
                )

    def list_files(self, paths: dict[str, Path], class_name: str) -> list[ImageFile]:
        """Returns the image files of a class and of its subfolders, sorted by name; none if there is no folder."""
        if class_name not in paths:
            return []
        folder = paths[class_name]
        found = self._walk(str(folder), folder.relative_to(self.root).as_posix(), ())
        return sorted(found, key=lambda file: file.name.split("/"))

    def _walk(self, folder: str, name: str, parents: tuple[tuple[int, int], ...]) -> Iterator[ImageFile]:
        """Yields the image files in a folder and its subfolders; collects the problems of the other files.

        `name` is the path of the folder relative to the root, with slashes, and `parents` identifies its parents.
        """
        try:
            status = os.stat(folder)  # noqa: PTH116 - Path objects are slow for many files
            if (identity := (status.st_dev, status.st_ino)) in parents:
                self.problems.append(f"{folder}: expected a folder, got a link to a folder that contains it. Remove it")
                return
            with os.scandir(folder) as entries:
                visible = sorted(
                    (entry for entry in entries if not is_ignored(entry.name)), key=lambda entry: entry.name
                )
        except OSError as error:
            self.problems.append(f"{folder}: the folder can't be read: {error.strerror}")
            return
        for entry in visible:
            try:
                status = entry.stat()
            except OSError as error:
                kind = "the target of the link" if entry.is_symlink() else "the file"
                self.problems.append(f"{entry.path}: {kind} can't be read: {error.strerror}. Remove or replace it")
                continue
            if stat.S_ISDIR(status.st_mode):
                yield from self._walk(entry.path, f"{name}/{entry.name}", (*parents, identity))
            elif problem := self._find_problem(entry.path, status):
                self.bad_files.append(problem)
            else:
                yield ImageFile(f"{name}/{entry.name}", status.st_size, status.st_mtime_ns)

    def _find_problem(self, path: str, status: os.stat_result) -> str | None:
        """Returns a message if a file is not an image: by its suffix, or by its content if the suffix is unknown."""
        if not stat.S_ISREG(status.st_mode):
            return f"{path}: expected an image file, got something else, such as a device. Remove it"
        if status.st_size and is_image_name(path):
            return None
        return find_content_problem(Path(path))
