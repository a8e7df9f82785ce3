"""Python's garbage collector, out of the way where it has nothing to find.

TensorFlow, Keras and MLflow make a million objects that live as long as the process. While they are imported the
collector looks through them again and again, a sixth of the time, and once more when the process ends, a second or two.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator

_ours = False


def process_is_ours() -> None:
    """Says that nobody else's objects are in this process, and nobody looks for referrers of them: a command's is."""
    global _ours  # noqa: PLW0603 - of the process, as its collector is
    _ours = True


@contextlib.contextmanager
def importing(library: str) -> Iterator[None]:
    """Keeps the collector from running in the block, which imports a large library.

    In a process of ours, all objects that are there the first time are exempt from collection from then on: a
    collection of all others takes a tenth of the time, and Keras asks for one before each run.
    """
    first = library not in sys.modules
    with collector_paused():
        yield
    if first and _ours:
        gc.freeze()


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Keeps the collector from running in the block, which makes many objects that are all needed."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def spare_the_last_collection() -> None:
    """Exempts all objects from collection, in a process that is about to end.

    What was registered to be closed at exit still is. Not for a process that goes on: what is garbage would stay.
    """
    gc.freeze()
