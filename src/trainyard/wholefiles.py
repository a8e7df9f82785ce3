"""Files that are written whole or not at all.

Before it: nothing. After it: bestmodel and artifacts, which save models.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """Yields a path beside a file's place, and moves what was written there to its place when the block is through.

    What lay in the place stays until then, and for good where the block raises. The suffix is that of the file.
    """
    partial = file.with_name(f"partial.{file.name}")
    try:
        yield partial
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
