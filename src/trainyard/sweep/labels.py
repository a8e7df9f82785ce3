"""Short labels for trials, built from the settings that vary: ``lr0.003 512x256``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainyard.evaluation import Trial

_ABBREVIATIONS = {
    "learning_rate": "lr",
    "batch_size": "batch",
    "validation_fraction": "val",
    "kernel_size": "kernel",
    "label_smoothing": "smoothing",
    "weight_decay": "decay",
}


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


def build_trial_label(varied: Mapping[str, Any], names: Mapping[str, str], seed: int | None = None) -> str:
    """Returns the label of a trial from its swept settings, their `names` by key, and its seed if seeds differ."""
    parts = [_format_setting(names[key], value) for key, value in varied.items()]
    return " ".join([*parts, *([f"seed{seed}"] if seed is not None else [])])


def build_point_label(trials: Sequence[Trial]) -> str:
    """Returns the words that the labels of a point's trials have in common, without the seed; empty if none."""
    first, *others = (trial.label.split() for trial in trials)
    seeds = {f"seed{trials[0].seed}", f"seed={trials[0].seed}"}
    return " ".join(word for word in first if word not in seeds and all(word in label for label in others))


def _format_setting(name: str, value: Any) -> str:  # noqa: ANN401 - any value of a config
    """Returns a setting in short form: ``lr0.003``, ``512x256``, ``no-batch_norm``, ``decay-none``, ``mlp``."""
    if isinstance(value, bool):
        return name if value else f"no-{name}"
    if isinstance(value, (int, float)):
        return f"{name}{value:.12g}"
    if isinstance(value, list) and value and all(isinstance(item, int) for item in value):
        return "x".join(map(str, value))
    if isinstance(value, list):
        return ",".join(map(str, value)) or f"no-{name}"
    return f"{name}-none" if value is None else str(value)
