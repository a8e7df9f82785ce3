"""Python's garbage collector, out of the way where it has nothing to find.

TensorFlow, Keras and MLflow make a million objects that live as long as the process. While they are imported the
collector looks through them again and again, a sixth of the time, and once more when the process ends, a second or two.

Before it: nothing. After it: runtime and tracking, which import them; the command line, which ends.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Keeps the collector from running in the block, which imports a large library."""
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
