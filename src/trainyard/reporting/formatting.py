"""Formats durations, config values and metrics for pages, plots and the terminal."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any


def format_duration(seconds: float) -> str:
    """Returns a duration as text: ``'0.42 s'``, ``'12.3 s'``, ``'2 min 05 s'``, ``'1 h 02 min'``."""
    if seconds < 10:  # noqa: PLR2004 - about three significant digits
        return f"{seconds:.2f} s"
    if round(seconds, 1) < 60:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    minutes, remainder = divmod(round(seconds), 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes} min {remainder:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def format_time(time: datetime) -> str:
    """Returns a date and time in the time zone of the machine: ``'2026-11-30 20:47 UTC'``."""
    return f"{time.astimezone():%Y-%m-%d %H:%M %Z}"


def format_count(number: int, noun: str) -> str:
    """Returns a number with its noun: ``'1 trial'``, ``'2 trials'``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_value(value: Any) -> str:  # noqa: ANN401 - any value of a config
    """Returns a config value as in YAML, with at most six significant digits.

    Examples: ``null``, ``true``, ``[300, 200]``, ``[Flatten, {Dense: {units: 64}}]``.
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(format_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name}: {format_value(item)}' for name, item in value.items())}}}"
    return f"{value:.6g}" if isinstance(value, float) else str(value) or "''"


def format_metric(name: str, value: float | None) -> str:
    """Returns a metric of an epoch with a number of digits that fits its name, or empty text for None.

    ``time/...`` gets two decimals, ``learning_rate/...`` four significant digits, and any other metric four decimals,
    or the scientific notation if it is smaller than 0.001.
    """
    if value is None:
        return ""
    if name.startswith("time/"):
        return f"{value:.2f}"
    if name.startswith("learning_rate/"):
        return f"{value:.4g}"
    return f"{value:.2e}" if 0 < abs(value) < 0.001 else f"{value:.4f}"  # noqa: PLR2004


def format_percent(fraction: float) -> str:
    """Returns a fraction as a percentage. Only exactly 0 and 1 are shown as ``0.0 %`` and ``100.0 %``."""
    if 0.9995 <= fraction < 1:  # noqa: PLR2004 - rounds to 100.0
        return "> 99.9 %"
    if 0 < fraction < 0.0005:  # noqa: PLR2004 - rounds to 0.0
        return "< 0.1 %"
    return f"{100 * fraction:.1f} %"


def format_metric_name(metric: str) -> str:
    """Returns the display name of a metric: ``Validation accuracy`` for ``accuracy/val``."""
    quantity, _, split = metric.partition("/")
    return f"{ {'val': 'Validation', 'train': 'Training'}.get(split, split.capitalize()) } {quantity}"


def format_mean(mean: float, std: float | None, *, percent: bool) -> str:
    """Returns a mean with its standard deviation, in percent or with four decimals."""
    factor, unit, digits = (100, " %", 2) if percent else (1, "", 4)
    return f"{factor * mean:.{digits}f}" + ("" if std is None else f" ± {factor * std:.{digits}f}") + unit


def format_range(counts: Collection[int]) -> str:
    """Returns the range of some counts as text: ``5``, ``3 to 5``."""
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low} to {high}"
