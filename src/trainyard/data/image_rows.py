"""Images selected from a memory-mapped or large array, which are read only when they are indexed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

_CHUNK_BYTES = 2**24
_MAX_COPIED = 0.25
"""The fraction of large arrays in memory up to which a selection is a copy, so that the others can be freed."""


class ImageRows:
    """Rows of an array of images, in any order, with the parts of NumPy's interface that are used.

    Indexing returns a NumPy array with copies of the images; `numpy.asarray` reads all of them into memory.
    """

    def __init__(self, source: NDArray[np.uint8], rows: NDArray[np.intp]) -> None:
        """Selects images of `source`, uint8 (n, *image_shape), by their indices `rows`, int (m,)."""
        self.source, self._rows = source, rows
        self.shape = (len(rows), *source.shape[1:])
        self.dtype = source.dtype
        self.ndim = source.ndim
        self.nbytes = len(rows) * source[:1].nbytes

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:  # noqa: ANN401 - as in NumPy
        """Returns the images of an index, a slice, or an array of indices. Further keys select pixels."""
        key, *pixels = key if isinstance(key, tuple) else (key,)
        rows = self._rows[key]
        images = self.source[rows] if np.ndim(rows) == 0 else read_rows(self.source, rows)
        return images[(slice(None), *pixels)] if pixels else images

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[np.uint8]:  # noqa: ANN401
        """Returns all images as an array in memory."""
        return np.asarray(self[:], dtype=dtype)

    def select(self, indices: NDArray[np.intp]) -> ImageRows:
        """Returns the images at these indices, without reading them."""
        return ImageRows(self.source, self._rows[indices])


def read_rows(images: NDArray[np.uint8], rows: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """Reads images in any order, but from the disk in ascending order, which is faster: uint8 (len(rows), *shape)."""
    if isinstance(images, ImageRows):
        return images[rows]
    if (rows[:-1] <= rows[1:]).all():
        return np.asarray(images[rows])
    order = np.argsort(rows, kind="stable")
    result = np.empty((len(rows), *images.shape[1:]), images.dtype)
    result[order] = images[rows[order]]
    return result


def select_rows(images: NDArray[np.uint8], indices: NDArray[np.intp]) -> NDArray[np.uint8]:
    """Returns the images at these indices: a copy if the images are in memory and few are selected, or an `ImageRows`.

    A copy of most images in memory would need the memory of all images a second time.
    """
    is_small = images.nbytes <= _CHUNK_BYTES or len(indices) <= len(images) * _MAX_COPIED
    if is_small and not is_mapped(images):
        return images[indices]
    selected = images.select(indices) if isinstance(images, ImageRows) else ImageRows(images, indices)
    return cast("NDArray[np.uint8]", selected)


def is_mapped(images: NDArray[np.uint8]) -> bool:
    """Returns whether images are in a memory-mapped file."""
    base: Any = images.source if isinstance(images, ImageRows) else images
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    return isinstance(base, np.memmap)


def iterate_chunks(images: NDArray[np.uint8], every: int = 1) -> Iterator[NDArray[np.uint8]]:
    """Yields all images, or one of `every` images, in order, some at a time: mapped images then need little memory."""
    step = every * max(1, _CHUNK_BYTES // max(1, images[:1].nbytes))
    for start in range(0, len(images), step):
        yield images[start : start + step : every]
