"""Checks whether a data set fits into memory: before it is loaded, and before it is copied for the training."""

from __future__ import annotations

from trainyard.data.dataset import Dataset
from trainyard.data.image_rows import is_mapped
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


def describe_streaming(dataset: Dataset, setting: str) -> str | None:
    """Returns where the images of a training are read from while it runs, and why; None if all are copied before.

    `setting` is that of ``dataset.memory``.
    """
    source = "read from the disk" if is_mapped(dataset.train.images) else "copied from the loaded arrays in parts"
    if setting != "auto":
        return f"images are {source} during the training: set by dataset.memory" if setting == "stream" else None
    splits = [split for split in (dataset.train, dataset.validation) if split is not None]
    size, available = sum(split.images.nbytes for split in splits), read_available_memory()
    if size <= available / 2:
        return None
    return (
        f"images are {source} during the training: {size / 1e9:,.1f} GB of images, {available / 1e9:,.1f} GB of memory "
        "available"
    )
