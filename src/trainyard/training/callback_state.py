"""The state of Keras callbacks, saved in checkpoints and restored from them."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras

ARRAY_KEY = "__array__"

_TUPLE = "__tuple__"


class CallbackState:
    """The state of a callback: the attributes that change during training, without its settings."""

    def __init__(self, callback: keras.callbacks.Callback) -> None:
        self._callback = callback
        self._settings: dict[str, Any] = {}
        self._reported: set[str] = set()

    def record_settings(self) -> None:
        """Records the callback's attributes when the training begins. They are its settings, not its state."""
        self._settings = {name: copy.deepcopy(value) for name, value in self._list_attributes() if _is_storable(value)}

    def capture(self, report: Callable[[str], None]) -> tuple[str, dict[str, Any]]:
        """Returns the class name and the changed attributes. Reports, once, each attribute that can't be saved."""
        class_name = type(self._callback).__name__
        state = {}
        for name, value in self._list_attributes():
            if callable(value):
                continue
            if not _is_storable(value):
                if name not in self._reported:
                    self._reported.add(name)
                    report(
                        f"checkpoint: {class_name}.{name} is not saved: expected numbers, text, arrays, or lists, "
                        f"tuples and dicts of these, got {type(value).__name__}"
                    )
            elif name not in self._settings or not _is_equal(value, self._settings[name]):
                state[name] = value
        return class_name, state

    def _list_attributes(self) -> list[tuple[str, Any]]:
        """Returns the names and values of the callback's attributes, except those that Keras sets."""
        return [(name, value) for name, value in vars(self._callback).items() if name not in _KERAS_ATTRIBUTES]


_KERAS_ATTRIBUTES = ("model", "_model", "params", "_params", "validation_data")
"""Attributes that Keras itself sets on every callback."""


def _is_equal(first: Any, second: Any) -> bool:  # noqa: ANN401 - any storable value
    """Returns whether two values that `pack_state` can convert are equal. NaN equals NaN."""
    return json.dumps(pack_state(first, {}, inline=True)) == json.dumps(pack_state(second, {}, inline=True))


def _is_storable(value: Any) -> bool:  # noqa: ANN401 - any attribute
    """Returns whether a value can be saved: a number, text, None, an array, or a list, tuple or dict of these."""
    if isinstance(value, (list, tuple)):
        return all(_is_storable(item) for item in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_storable(item) for key, item in value.items())
    if isinstance(value, np.ndarray):
        return bool(value.dtype.kind in "biuf")
    return value is None or isinstance(value, (bool, int, float, str, np.number, np.bool_))


def pack_state(value: Any, arrays: dict[str, NDArray[Any]], *, inline: bool = False) -> Any:  # noqa: ANN401 - any plain data
    """Converts a value to JSON. Arrays are added to `arrays` and replaced by a name, or with `inline` by a digest."""
    if isinstance(value, np.ndarray):
        name = hash_array(value) if inline else f"{ARRAY_KEY}{len(arrays)}"
        arrays[name] = value
        return {ARRAY_KEY: name}
    if isinstance(value, dict):
        return {key: pack_state(item, arrays, inline=inline) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [pack_state(item, arrays, inline=inline) for item in value]
        return {_TUPLE: items} if isinstance(value, tuple) else items
    return value.item() if isinstance(value, (np.number, np.bool_)) else value


def unpack_state(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:  # noqa: ANN401 - any plain data
    """Reverses `pack_state`."""
    if isinstance(value, list):
        return [unpack_state(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if ARRAY_KEY in value:
        return arrays[value[ARRAY_KEY]]
    if _TUPLE in value:
        return tuple(unpack_state(item, arrays) for item in value[_TUPLE])
    return {key: unpack_state(item, arrays) for key, item in value.items()}


def hash_array(array: NDArray[Any]) -> str:
    """Returns the SHA-256 hash (hexadecimal) of an array: its dtype, shape and content."""
    sha = hashlib.sha256(f"{array.shape} {array.dtype}".encode())
    sha.update(array.tobytes())
    return sha.hexdigest()
