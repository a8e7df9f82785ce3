"""What tests put in the place of two things that take a run longer than a small training does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from PIL import Image

BLANK_VARIABLE = "BLANK_PICTURES"
"""Set where the processes that a test starts are to leave blank pictures."""

STORE_VARIABLE = "KEPT_STORE"
"""Names the store that is copied where such a process is to make one; the first that does leaves it there."""


def write_blank(_figure: object, file: object, **_settings: object) -> None:
    """Writes a blank picture, as ``Figure.savefig`` writes one."""
    Image.new("RGB", (400, 300), "white").save(file, "PNG", dpi=(100, 100))


def copying(make_store: Callable[[Path], None], kept: Path) -> Callable[[Path], None]:
    """Returns what puts a copy of the kept store in a place; the first time it makes one there, and keeps that."""

    def put_store(file: Path) -> None:
        if kept.exists():
            shutil.copyfile(kept, file)
            return
        make_store(file)
        partial = kept.with_name(f"{kept.name}.{os.getpid()}")
        shutil.copyfile(file, partial)
        partial.replace(kept)

    return put_store
