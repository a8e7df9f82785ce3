"""Names for trials: what distinguishes each from the others, in a few characters, ``lr0.003 512x256``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_SHORT = {
    "learning_rate": "lr",
    "batch_size": "batch",
    "validation_fraction": "val",
    "kernel_size": "kernel",
    "label_smoothing": "smoothing",
    "weight_decay": "decay",
}


def short_keys(swept: Sequence[str]) -> dict[str, str]:
    """Returns a short name for each swept setting: the last part of its path, or two where one is not enough."""
    paths = {key: key.lstrip("+~").replace("/", ".").split(".") for key in swept}
    lasts = [path[-1] for path in paths.values()]
    return {
        key: ".".join(path[-2:]) if lasts.count(path[-1]) > 1 else _SHORT.get(path[-1], path[-1])
        for key, path in paths.items()
    }


def name_trial(varied: Mapping[str, Any], names: Mapping[str, str], seed: int | None = None) -> str:
    """Returns the name of a trial.

    Args:
        varied: The swept settings with the values they have in it.
        names: Their short names.
        seed: Its seed, where trials differ by that.
    """
    parts = [_part(names[key], value) for key, value in varied.items()]
    return " ".join([*parts, *([f"seed{seed}"] if seed is not None else [])])


def _part(name: str, value: Any) -> str:  # noqa: ANN401 - any value of a config
    """Returns a setting in short. What a text or a list of widths belongs to is plain without its name."""
    if isinstance(value, bool):
        return name if value else f"no-{name}"
    if isinstance(value, (int, float)):
        return f"{name}{value:.12g}"
    if isinstance(value, list) and value and all(isinstance(item, int) for item in value):
        return "x".join(map(str, value))
    if isinstance(value, list):
        return ",".join(map(str, value)) or f"no-{name}"
    return f"{name}-none" if value is None else str(value)
