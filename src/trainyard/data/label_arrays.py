"""Converting arrays of labels, as people store them, to class indices and class names."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainyard.data.checks import MAX_CLASSES
from trainyard.errors import DatasetError

_EXPECTED = "labels (n,), (n, 1) or one-hot (n, classes)"
_MAX_EXACT = 2**53
"""The largest integer up to which floats represent all integers."""
_MAX_LISTED = 5
"""The number of labels that messages list."""


def encode_labels(
    arrays: Mapping[str, NDArray[Any]], source: str, class_names: Sequence[str] | None, train: str = "y_train"
) -> tuple[dict[str, NDArray[np.unsignedinteger]], tuple[str, ...], list[str]]:
    """Converts the labels of all parts of a data set to class indices, with one mapping.

    Args:
        arrays: The labels by the names of the arrays. Integers, floats that are integers, booleans, texts or bytes,
            (n,) or (n, 1); or one-hot vectors, (n, classes).
        source: The beginning of messages.
        class_names: The names of the classes, in label order. With names, numbers are indices of names from 0; numbers
            that are not, such as 1 to 26 for 26 names, are assigned to the names in ascending order. Texts are names.
            None uses the labels as names, in ascending order.
        train: The name of the training labels, which determine the classes.

    Returns:
        The class indices of each array, (n,); the class names; and notices about the mapping.

    Raises:
        DatasetError: If an array has no labels, a class has no training images, or labels and names do not match.
    """
    flat = {name: _flatten_labels(array, f"{source}: {name}", class_names) for name, array in arrays.items()}
    values = np.unique(flat[train])
    if class_names is not None:
        _check_names(class_names, source)
    mapping = _map_labels(values, class_names, f"{source}: {train}")
    names = tuple(mapping) if class_names is None else tuple(class_names)
    if not 1 < len(names) <= MAX_CLASSES:
        received = f"only {names[0]!r}" if len(names) == 1 else f"{len(names):,}"
        raise DatasetError(f"{source}: expected two classes or more, at most {MAX_CLASSES:,}, got {received}")
    encoded = {name: _apply_mapping(labels, mapping, f"{source}: {name}") for name, labels in flat.items()}
    present = np.bincount(encoded[train], minlength=len(names)) > 0
    if not present.all():
        raise DatasetError(
            f"{source}: expected training images of every class, got none of the class {names[present.argmin()]!r}. "
            "Remove the class from the class names, and number the labels from 0 without gaps"
        )
    is_mapped = values.dtype.kind in "iu" and bool((encoded[train] != flat[train]).any())
    notices = [f"labels {_list(_spell(values))} were mapped to 0..{len(names) - 1}"] if is_mapped else []
    return {name: labels.astype(np.min_scalar_type(len(names) - 1)) for name, labels in encoded.items()}, names, notices


def match_labels(array: NDArray[Any], source: str, class_names: Sequence[str]) -> NDArray[np.unsignedinteger]:
    """Converts labels to indices of class names, (n,); see `encode_labels`. Classes without labels are accepted.

    Numbers are names if the names are numbers in ascending order, which `encode_labels` creates, and else indices.
    Raises a DatasetError if the array has no labels, or they do not match the names.
    """
    labels = _flatten_labels(array, source, class_names)
    by_name = {name: index for index, name in enumerate(class_names)}
    numbers = [int(name) for name in class_names if name.isdecimal()]
    are_names = (
        len(numbers) == len(class_names) and numbers == sorted(numbers) and by_name.keys() >= set(_spell(labels))
    )
    mapping = by_name if are_names or labels.dtype.kind in "bU" else {str(index): index for index in by_name.values()}
    return _apply_mapping(labels, mapping, source).astype(np.min_scalar_type(len(class_names) - 1))


def _flatten_labels(array: NDArray[Any], source: str, class_names: Sequence[str] | None) -> NDArray[Any]:
    """Returns labels as integers, booleans or texts, (n,). Raises a DatasetError if they are something else.

    Booleans become 0 and 1 if there are class names other than "False" and "True".
    """
    labels = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array  # noqa: PLR2004 - a column
    kind = labels.dtype.kind
    if kind == "O" and all(isinstance(label, str | bytes) for label in labels.flat):
        texts = [label.decode() if isinstance(label, bytes) else label for label in labels.flat]
        labels = np.array(texts, dtype=np.str_).reshape(labels.shape)
    elif kind == "S":
        labels = decode_texts(labels, source)
    elif kind not in "buifU":
        raise DatasetError(f"{source}: expected {_EXPECTED}, got {labels.dtype}. Use integers or texts")
    if not labels.size or labels.ndim not in (1, 2):
        raise DatasetError(f"{source}: expected {_EXPECTED}, got an array of shape {array.shape}")
    if labels.ndim == 2:  # noqa: PLR2004 - one-hot vectors
        return _decode_one_hot(labels, source)
    if kind == "b" and class_names is not None and "True" not in class_names:
        return labels.astype(np.uint8)
    if kind != "f":
        return labels
    if not np.isfinite(labels).all() or (labels != np.rint(labels)).any() or np.abs(labels).max() > _MAX_EXACT:
        raise DatasetError(
            f"{source}: expected {_EXPECTED}, got {labels.dtype} with fractions, NaN or infinity. Trainyard trains "
            "classifiers: labels must be classes"
        )
    return labels.astype(np.int64)


def _decode_one_hot(vectors: NDArray[Any], source: str) -> NDArray[Any]:
    """Returns the labels of one-hot vectors, (n, classes). Raises a DatasetError if they are not one-hot."""
    expected = f"{source}: expected {_EXPECTED}, got"
    if vectors.dtype.kind == "U" or not np.isfinite(vectors).all() or vectors.min() < 0 or vectors.max() > 1:
        raise DatasetError(
            f"{expected} {vectors.dtype} {vectors.shape}. Use one label per image: "
            "labels.ravel(), or a column, labels[:, 0]"
        )
    if not np.isin(vectors, (0, 1)).all():
        raise DatasetError(
            f"{expected} soft labels {vectors.shape}: probabilities, which are not supported. Use the most probable "
            "class: labels.argmax(axis=1)"
        )
    if (vectors.sum(axis=1) != 1).any():
        raise DatasetError(
            f"{expected} multi-label vectors {vectors.shape}, which are not supported: an image has exactly one class. "
            "Select a column, labels[:, 0], to train on one of the labels"
        )
    return np.asarray(vectors.argmax(axis=1))


def decode_texts(texts: NDArray[Any], source: str) -> NDArray[np.str_]:
    """Returns texts that are stored as UTF-8 bytes. Raises a DatasetError if they are not UTF-8."""
    try:
        return np.char.decode(texts, "utf-8")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{source}: expected texts in UTF-8, got other bytes: {error}") from error


def _check_names(names: Sequence[str], source: str) -> None:
    """Raises a DatasetError if class names are empty or repeated."""
    name, count = collections.Counter(names).most_common(1)[0]
    if count > 1 or not all(names):
        received = f"{name!r} {count} times" if count > 1 else "an empty name"
        raise DatasetError(f"{source}: expected class names that differ and are not empty, got {received}")


def _map_labels(values: NDArray[Any], names: Sequence[str] | None, source: str) -> dict[str, int]:
    """Returns the class index of each label, by the label as text. `values` are the distinct labels, ascending."""
    labels = _spell(values)
    if names is None:
        return {label: index for index, label in enumerate(labels)}
    if values.dtype.kind in "bU":
        return {name: index for index, name in enumerate(names)}
    if values[0] >= 0 and values[-1] < len(names):
        return {str(index): index for index in range(len(names))}
    if len(values) == len(names):
        return {label: index for index, label in enumerate(labels)}
    raise DatasetError(
        f"{source}: expected labels below {len(names)}, the number of class names, or {len(names)} different labels, "
        f"got {len(labels)} different labels: {_list(labels)}"
    )


def _apply_mapping(labels: NDArray[Any], mapping: Mapping[str, int], source: str) -> NDArray[np.intp]:
    """Returns the class index of each label, int (n,). Raises a DatasetError if a label is not in the mapping."""
    values, inverse = np.unique(labels, return_inverse=True)
    spelled = _spell(values)
    if unknown := [label for label in spelled if label not in mapping]:
        raise DatasetError(f"{source}: expected only the labels {_list([*mapping])}, got {unknown[0]} in addition")
    return np.array([mapping[label] for label in spelled], np.intp)[inverse]


def _spell(values: NDArray[Any]) -> list[str]:
    """Returns labels as texts."""
    return [str(value) for value in values.tolist()]


def _list(labels: Sequence[str]) -> str:
    """Returns labels as a list for messages, which is shortened if there are many."""
    return ", ".join(labels if len(labels) <= _MAX_LISTED else [*labels[:2], "...", labels[-1]])
