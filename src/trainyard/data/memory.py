"""Checks that a data set fits into memory before it is loaded."""

from __future__ import annotations

from trainyard.errors import DatasetError
from trainyard.system import read_available_memory


def check_memory(needed_bytes: int, source: str, advice: str) -> None:
    """Raises a DatasetError if images need more memory than is available, within the limit of the container.

    Args:
        needed_bytes: The size of all images after loading.
        source: Where the images come from, for the message.
        advice: What to do, as a sentence.
    """
    available = read_available_memory()
    if needed_bytes > available:
        raise DatasetError(
            f"{source}: expected images that fit into the available memory of {available / 1e9:,.1f} GB, got images "
            f"that need {needed_bytes / 1e9:,.1f} GB. {advice}"
        )
