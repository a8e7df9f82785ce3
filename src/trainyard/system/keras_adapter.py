"""The private API of Keras that Trainyard uses: the global seed generator, which has no public name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def get_global_seed_generator() -> keras.random.SeedGenerator:
    """Returns the generator for layers that have none. If there is none, creates it with a number of `random`."""
    from keras.src.random.seed_generator import global_seed_generator

    return global_seed_generator()
