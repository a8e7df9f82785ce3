"""The state of Keras callbacks, saved in checkpoints and restored from them.

Any callback is saved, also one that does not know of checkpoints: its state are the attributes that have changed since
the training began. The other attributes are its settings, which a resumed training takes from the new callback.
"""

from __future__ import annotations

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
_KERAS_ATTRIBUTES = ("model", "_model", "params", "_params", "validation_data")
"""Attributes that Keras itself sets on every callback."""


class CallbackState:
    """Finds the state of one callback."""

    def __init__(self, callback: keras.callbacks.Callback) -> None:
        self.callback = callback
        self._settings: dict[str, str | None] = {}
        self._reported: set[str] = set()

    def record_settings(self) -> None:
        """Records the attributes when the training begins."""
        self._settings = {name: _fingerprint(value) for name, value in vars(self.callback).items()}

    def capture(self, report: Callable[[str], None]) -> tuple[str, dict[str, Any]]:
        """Returns the class name and the changed attributes. Reports, once, each attribute that can't be saved."""
        class_name, state = type(self.callback).__name__, {}
        for name, value in vars(self.callback).items():
            if name in _KERAS_ATTRIBUTES or callable(value):
                continue
            fingerprint = _fingerprint(value)
            if fingerprint is None:
                if name not in self._reported:
                    self._reported.add(name)
                    report(
                        f"checkpoint: {class_name}.{name} is not saved: expected numbers, text, arrays, or lists, "
                        f"tuples and dicts of these, got {type(value).__name__}"
                    )
            elif fingerprint != self._settings.get(name):
                state[name] = value
        return class_name, state


def _fingerprint(value: Any) -> str | None:  # noqa: ANN401 - any attribute
    """Returns a text that is equal for equal values (NaN equals NaN), or None if the value can't be saved."""
    arrays: dict[str, NDArray[Any]] = {}
    try:
        packed = pack_state(value, arrays)
    except TypeError:
        return None
    return json.dumps([packed, *map(hash_array, arrays.values())])


def pack_state(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:  # noqa: ANN401 - any plain data
    """Converts numbers, text, None, arrays, lists, tuples and dicts to JSON; others raise a TypeError.

    Arrays are added to `arrays` and replaced by their name.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        name = f"{ARRAY_KEY}{len(arrays)}"
        arrays[name] = value
        return {ARRAY_KEY: name}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: pack_state(item, arrays) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [pack_state(item, arrays) for item in value]
        return {_TUPLE: items} if isinstance(value, tuple) else items
    if isinstance(value, (np.integer, np.floating, np.bool_)):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(type(value).__name__)


def unpack_state(value: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Any:  # noqa: ANN401 - any plain data
    """Reverses `pack_state` for a JSON object whose values are unpacked: the `object_hook` of `json.loads`."""
    if ARRAY_KEY in value:
        return arrays[value[ARRAY_KEY]]
    return tuple(value[_TUPLE]) if _TUPLE in value else value


def hash_array(array: NDArray[Any]) -> str:
    """Returns the SHA-256 hash (hexadecimal) of an array: its dtype, shape and content."""
    sha = hashlib.sha256(f"{array.shape} {array.dtype}".encode())
    sha.update(array.tobytes())
    return sha.hexdigest()
