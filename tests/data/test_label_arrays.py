"""Tests of the conversion of labels to class indices: all forms in which people store them."""

from __future__ import annotations

import numpy as np
import pytest

from trainyard.data.label_arrays import encode_labels, match_labels
from trainyard.errors import DatasetError

INDEX = np.array([0, 2, 1, 1, 0, 2])
TEXTS = np.array(["cat", "dog", "eel"])


def _encode(train, test=None, names=None):
    arrays = {"y_train": np.asarray(train), "y_test": np.asarray(train if test is None else test)}
    encoded, class_names, notes = encode_labels(arrays, "file", names)
    return encoded["y_train"], encoded["y_test"], class_names, notes


@pytest.mark.parametrize(
    ("labels", "class_names", "expected"),
    [
        *((INDEX.astype(dtype), None, ("0", "1", "2")) for dtype in ("u1", "i8", ">i4", "u8", "f4", "f8")),
        (INDEX[:, None], None, ("0", "1", "2")),
        (np.eye(3, dtype="u1")[INDEX], None, ("0", "1", "2")),
        (np.eye(3, dtype="f4")[INDEX], ["a", "b", "c"], ("a", "b", "c")),
        (np.eye(3, dtype=bool)[INDEX], None, ("0", "1", "2")),
        (TEXTS[INDEX], None, ("cat", "dog", "eel")),
        (TEXTS[INDEX].astype(object), None, ("cat", "dog", "eel")),
        (TEXTS[INDEX].astype("S"), None, ("cat", "dog", "eel")),
        (np.array([text.encode() for text in ("żaba", "a", "mysz")])[[1, 0, 2, 2, 1, 0]], None, ("a", "mysz", "żaba")),
        (TEXTS[INDEX][:, None], ["cat", "dog", "eel"], ("cat", "dog", "eel")),
        (TEXTS[[2, 0, 1, 1, 2, 0]], ["eel", "dog", "cat"], ("eel", "dog", "cat")),
        (INDEX + 1, None, ("1", "2", "3")),
        (INDEX * 2.0, None, ("0", "2", "4")),
        (INDEX + 1, ["a", "b", "c"], ("a", "b", "c")),
        (INDEX * 9 - 9, ["a", "b", "c"], ("a", "b", "c")),
        (INDEX * 2**40, None, ("0", str(2**40), str(2**41))),
        (INDEX, ["1", "2", "0"], ("1", "2", "0")),
        (INDEX + 1, ["1", "2", "3"], ("1", "2", "3")),
    ],
)
def test_labels_of_any_form_become_indices_and_names(labels, class_names, expected):
    train, test, names, _ = _encode(labels, labels[::-1], class_names)
    assert (train.dtype, names) == (np.uint8, expected)
    assert train.tolist() == INDEX.tolist()
    assert test.tolist() == INDEX[::-1].tolist()


@pytest.mark.parametrize(
    ("class_names", "expected"), [(None, ("False", "True")), (["no", "yes"], ("no", "yes")), (["True", "False"], None)]
)
def test_booleans_are_classes_or_indices(class_names, expected):
    train, _, names, _ = _encode([False, True, True], names=class_names)
    assert train.tolist() == ([0, 1, 1] if expected else [1, 0, 0])
    assert names == (expected or ("True", "False"))


def test_the_training_labels_determine_the_mapping():
    train, test, names, notes = _encode([5, 10, 20], [20, 20, 5])
    assert (train.tolist(), test.tolist(), names) == ([0, 1, 2], [2, 2, 0], ("5", "10", "20"))
    assert notes == ["labels 5, 10, 20 were mapped to 0..2"]
    assert _encode(np.arange(1, 27))[3] == ["labels 1, 2, ..., 26 were mapped to 0..25"]
    assert _encode([0, 1])[3] == _encode(["a", "b"])[3] == []


@pytest.mark.parametrize(("classes", "dtype"), [(256, np.uint8), (257, np.uint16), (65_536, np.uint16)])
def test_labels_of_more_than_256_classes_are_uint16(classes, dtype):
    train, test, names, _ = _encode(np.arange(classes), [classes - 1])
    assert (train.dtype, test.dtype, len(names)) == (dtype, dtype, classes)
    assert np.array_equal(train, np.arange(classes))
    assert test.tolist() == [classes - 1]


@pytest.mark.parametrize(
    ("train", "test", "class_names", "message"),
    [
        ([0, 1, 2], [0, 3], None, r"y_test: expected only the labels 0, 1, 2, got 3 in addition"),
        ([1, 2, 3], [0], None, r"y_test: expected only the labels 1, 2, 3, got 0 in addition"),
        ([0, 1, 2], [-1], None, r"y_test: .*got -1 in addition"),
        (["a", "b"], ["c"], None, r"y_test: expected only the labels a, b, got c in addition"),
        (["a", "b"], None, ["a", "c"], r"y_train: expected only the labels a, c, got b in addition"),
        ([0, 1, 2], None, ["a", "b"], r"labels below 2, the number of class names, or 2 different labels, got 3"),
        ([0, 2], None, ["a", "b", "c"], r"training images of every class, got none of the class 'b'"),
        (np.eye(3)[:2], None, ["a", "b", "c"], r"training images of every class, got none of the class 'c'"),
        ([0, 1], None, ["a", "a"], r"class names that differ and are not empty, got 'a' 2 times"),
        ([0, 1], None, ["a", ""], r"class names that differ and are not empty, got an empty name"),
        ([1, 1], None, None, r"expected two classes or more, .*got only '1'"),
        (np.arange(65_537), None, None, r"at most 65,536, got 65,537"),
        ([0.5, 1.0], None, None, r"got float64 with fractions.*labels must be classes"),
        ([0, np.nan], None, None, r"got float64 with fractions, NaN"),
        ([1e300, 1], None, None, r"got float64"),
        (np.array([[1, 1, 0], [0, 0, 1]]), None, None, r"got multi-label vectors \(2, 3\).*not supported"),
        (np.zeros((2, 3), bool), None, None, r"got multi-label vectors"),
        (np.array([[0.9, 0.1], [0.3, 0.7]]), None, None, r"got soft labels \(2, 2\).*labels\.argmax\(axis=1\)"),
        (np.array([[0, 1, 2, 0]]), None, None, r"got int64 \(1, 4\)\. .*labels\.ravel\(\)"),
        (np.zeros((2, 2, 2)), None, None, r"got an array of shape \(2, 2, 2\)"),
        (np.zeros(0, int), None, None, r"got an array of shape \(0,\)"),
        (np.zeros(2, "M8[s]"), None, None, r"got datetime64\[s\]"),
        (np.zeros(2, "m8[s]"), None, None, r"got timedelta64\[s\]"),
        (np.zeros(2, complex), None, None, r"got complex128"),
        (np.array([None, 1]), None, None, r"got object"),
        (np.array([b"\xff", b"a"]), None, None, r"expected texts in UTF-8"),
    ],
)  # fmt: skip
def test_invalid_labels_are_rejected(train, test, class_names, message):
    with pytest.raises(DatasetError, match=f"^file: .*{message}"):
        _encode(train, test, class_names)


@pytest.mark.parametrize(
    ("labels", "class_names", "expected"),
    [
        ([1, 0], ["a", "b"], [1, 0]),
        ([1, 3], ["1", "2", "3"], [0, 2]),
        ([0, 2], ["1", "2", "3"], [0, 2]),
        ([2, 1], ["0", "1", "10"], [2, 1]),
        ([2, 10], ["2", "10", "20"], [0, 1]),
        ([2, 1], ["0", "10", "2"], [2, 1]),
        (["b", "a"], ["a", "b"], [1, 0]),
        ([True, False], ["False", "True"], [1, 0]),
        ([True, False], ["no", "yes"], [1, 0]),
        (np.eye(2), ["a", "b"], [0, 1]),
    ],
)
def test_labels_of_images_to_predict_are_names_or_indices(labels, class_names, expected):
    assert match_labels(np.asarray(labels), "labels", class_names).tolist() == expected


@pytest.mark.parametrize("labels", [[0, 2], [1, 2], ["c"]])
def test_labels_that_a_model_does_not_know_are_rejected(labels):
    with pytest.raises(DatasetError, match=r"labels: expected only the labels"):
        match_labels(np.asarray(labels), "labels", ["a", "b"])
