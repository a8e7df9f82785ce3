"""Tunes Python's garbage collector for fast imports.

TensorFlow, Keras and MLflow create about a million objects that exist until the process ends. The collector scans them
repeatedly while they are imported (a sixth of the import time).
"""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator

_process_owned = False


def mark_process_owned() -> None:
    """Declares that Trainyard owns this process (it is a command), so that freezing the garbage collector is safe."""
    global _process_owned  # noqa: PLW0603 - global like the garbage collector
    _process_owned = True


@contextlib.contextmanager
def gc_paused_import(library: str) -> Iterator[None]:
    """Pauses the garbage collector in the block, which imports a large library.

    In a process that Trainyard owns, all objects that exist after the first import are exempt from later collections.
    A collection, which Keras requests before each run, then takes a tenth of the time.
    """
    first = library not in sys.modules
    with gc_paused():
        yield
    if first and _process_owned:
        gc.freeze()


@contextlib.contextmanager
def gc_paused() -> Iterator[None]:
    """Pauses the garbage collector in the block. Use it where many objects are created and none is deleted."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
