"""Model files: written whole or not at all.

Before it: errors. After it: bestmodel and artifacts, which say what is kept.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def save_model(model: keras.Model, file: Path) -> None:
    """Saves a model beside its place and moves it there when it is complete; what lay there stays until then.

    Args:
        model: Built.
        file: ``.keras``, with the optimizer, or ``.h5``. Saving ``.h5`` drops the optimizer from the model.
    """
    partial = file.with_name(f"partial.{file.name}")
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(partial.unlink, missing_ok=True)
        model.save(partial)
        partial.replace(file)
