"""Short labels from the settings that vary, for runs and trials: ``lr0.003 512x256``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_ABBREVIATIONS = {
    "learning_rate": "lr",
    "batch_size": "batch",
    "validation_fraction": "val",
    "kernel_size": "kernel",
    "label_smoothing": "smoothing",
    "weight_decay": "decay",
}
_SWITCHES = ("auto", "off", "on")
"""Texts that say nothing without the name of the setting."""


def shorten_keys(swept: Sequence[str]) -> dict[str, str]:
    """Returns a short name for each swept setting: a unique end of its path, which may be abbreviated, such as `lr`."""
    paths = {key: key.lstrip("+~").replace("/", ".") for key in swept}
    ends = shorten_paths(list(paths.values()))
    return {key: _ABBREVIATIONS.get(end, end) for key, end in zip(paths, ends, strict=True)}


def shorten_paths(paths: Sequence[str]) -> list[str]:
    """Returns the shortest ends of dotted paths that are unique among these paths."""
    titles = []
    for path in paths:
        parts = path.split(".")
        ends = [".".join(parts[start:]) for start in reversed(range(len(parts)))]
        titles.append(next((end for end in ends if sum(f".{o}".endswith(f".{end}") for o in paths) == 1), path))
    return titles


def build_label(settings: Mapping[str, Any], names: Mapping[str, str], seed: int | None = None) -> str:
    """Returns a label from the values of settings, their short `names` by key, and a seed unless it is None."""
    parts = [_format_setting(names[key], value) for key, value in settings.items()]
    return " ".join([*parts, *([f"seed{seed}"] if seed is not None else [])])


def find_common_label(labels: Iterable[str]) -> str:
    """Returns the words that labels have in common, without seeds and the numbers of repetitions; empty if none."""
    first, *others = (label.split() for label in labels)
    return " ".join(
        word for word in first if not re.fullmatch(r"seed=?\d+|#\d+", word) and all(word in label for label in others)
    )


def _format_setting(name: str, value: Any) -> str:  # noqa: ANN401 - any value of a config
    """Returns a setting in short form: ``lr0.003``, ``l2=0.1``, ``512x256``, ``no-batch_norm``, ``mlp``."""
    if isinstance(value, bool):
        return name if value else f"no-{name}"
    if isinstance(value, (int, float)):
        return f"{name}{'=' if name[-1].isdigit() else ''}{value:.12g}"
    if isinstance(value, list) and value and all(isinstance(item, int) for item in value):
        return "x".join(map(str, value))
    if isinstance(value, list):
        return ",".join(map(_format_item, value)) or f"no-{name}"
    if value is None:
        return f"{name}-none"
    return f"{name}-{value}" if value in _SWITCHES else str(value)


def _format_item(item: Any) -> str:  # noqa: ANN401 - any value in a list of a config
    """Returns an item of a list in short form, without spaces: ``Dense(units=64)`` for ``{Dense: {units: 64}}``."""
    if isinstance(item, Mapping):
        return ",".join(f"{name}{_format_arguments(value)}" for name, value in item.items())
    if isinstance(item, list):
        return "x".join(map(_format_item, item))
    return str(item)


def _format_arguments(value: Any) -> str:  # noqa: ANN401 - any value in a list of a config
    """Returns the arguments of a layer in short form: ``(units=64,activation=relu)``; empty if there are none."""
    if isinstance(value, Mapping):
        return f"({','.join(f'{name}={_format_item(item)}' for name, item in value.items())})"
    return "" if value is None else f"({_format_item(value)})"
