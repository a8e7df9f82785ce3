"""What was measured, as one JSON file: every part with its raw numbers, and where and when they come from.

A part that is measured again takes the place of what was there; the others stay as they are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainyard.errors import ConfigError

FILE = "results.json"
FORMAT = 1
"""Raised when the file's shape changes; an older file is refused rather than misread."""

PARTS = ("epoch", "grid", "xla", "memory", "seeds", "run", "sweep", "search", "compare")
"""In the order in which they are measured and shown."""


def load_results(folder: Path) -> dict[str, Any]:
    """Returns the parts that a folder has results of, by name; none where there is no file.

    Raises:
        ConfigError: If there is a file that is none of this benchmark's.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text())
        if content["format"] != FORMAT:
            raise ConfigError(
                f"{path}: expected format {FORMAT}, found {content['format']}. Move it away, or use --out"
            )
        return {name: content["parts"][name] for name in PARTS if name in content["parts"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"{path}: expected the results of an earlier benchmark, which are kept; it can't be read: {error!r}. "
            "Move it away, or use --out"
        ) from error


def save_results(folder: Path, parts: dict[str, Any]) -> None:
    """Writes the parts, in their order; the file is replaced whole or not at all."""
    content = {"format": FORMAT, "parts": {name: parts[name] for name in PARTS if name in parts}}
    beside = folder / f".{FILE}.part"
    beside.write_text(json.dumps(content, indent=1) + "\n")
    beside.replace(folder / FILE)
