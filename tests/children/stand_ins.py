"""Fast replacements for two slow steps of a run: drawing figures and creating a tracking store."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from PIL import Image

BLANK_VARIABLE = "BLANK_PICTURES"
"""The environment variable that makes the processes of a test write blank images instead of figures."""

STORE_VARIABLE = "KEPT_STORE"
"""The environment variable with the path of the store to copy instead of creating one."""


def write_blank(_figure: object, file: object, **_settings: object) -> None:
    """Writes a blank PNG image; replaces ``Figure.savefig``."""
    Image.new("RGB", (400, 300), "white").save(file, "PNG", dpi=(100, 100))


def build_store_copier(make_store: Callable[[Path], None], kept: Path) -> Callable[[Path], None]:
    """Returns a function that copies the kept store to a path, or creates a store there and keeps a copy of it."""

    def create_store(file: Path) -> None:
        if kept.exists():
            shutil.copyfile(kept, file)
            return
        make_store(file)
        partial = kept.with_name(f"{kept.name}.{os.getpid()}")
        shutil.copyfile(file, partial)
        partial.replace(kept)

    return create_store
