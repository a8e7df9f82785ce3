"""Reads and writes ``results.json``: the raw measurements of every part, with machine, versions, commit and time.

When a part is measured again, its earlier result is replaced, except with ``--keep-sessions``. The results of the other
parts are kept.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainyard.errors import ConfigError
from trainyard.system.files import atomic_write

RESULTS_FILE = "results.json"
FORMAT = 2
"""Version of the file format. A file with another version is rejected."""

PARTS = (
    "epoch",
    "grid",
    "xla",
    "memory",
    "seeds",
    "run",
    "sweep",
    "search",
    "compare",
    "loading",
    "streaming",
    "trials",
)
"""All parts, in the order in which they are measured and shown."""


def load_results(folder: Path) -> dict[str, Any]:
    """Returns the results in a folder, by part; an empty dict if the folder has no results file.

    Raises:
        ConfigError: If the file is not a results file of this benchmark, or has another format version.
    """
    path = folder / RESULTS_FILE
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text())
        if content["format"] != FORMAT:
            raise ConfigError(
                f"{path}: expected format {FORMAT}, got {content['format']}. Move the file, or write to another "
                "folder with --out"
            )
        return {name: content["parts"][name] for name in PARTS if name in content["parts"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"{path}: expected the results of an earlier benchmark, but the file cannot be read: {error!r}. "
            "Move the file, or write to another folder with --out"
        ) from error


def write_results(folder: Path, parts: dict[str, Any]) -> None:
    """Writes the results of the parts to the results file, in the order of `PARTS`. The file is replaced atomically."""
    content = {"format": FORMAT, "parts": {name: parts[name] for name in PARTS if name in parts}}
    with atomic_write(folder / RESULTS_FILE) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")
