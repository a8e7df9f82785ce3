"""How values look to a reader, on pages, in pictures and in the terminal: settings, metrics, times."""

from __future__ import annotations

from typing import Any


def show_seconds(seconds: float) -> str:
    """Returns a duration as it is read: ``'0.42 s'``, ``'12.3 s'``, ``'2 min 05 s'``, ``'1 h 02 min'``."""
    if seconds < 10:  # noqa: PLR2004 - as many digits as matter
        return f"{seconds:.2f} s"
    if round(seconds, 1) < 60:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def show_value(value: Any) -> str:  # noqa: ANN401 - any value of a config
    """Returns a config value as it is written in YAML: ``null``, ``true``, ``[300, 200]``, ``relu``."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(show_value, value))}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value) or "''"


def show_metric(name: str, value: float | None) -> str:
    """Returns a metric of an epoch with the digits that its kind deserves; nothing where there is none."""
    if value is None:
        return ""
    if name.startswith("time/"):
        return f"{value:.2f}"
    return f"{value:.4g}" if name.startswith("learning_rate/") else f"{value:.4f}"
