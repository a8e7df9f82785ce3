"""The private API of Keras still works as Trainyard needs it, in the pinned version."""

from __future__ import annotations

import numpy as np

from trainyard.system.keras_adapter import get_global_seed_generator


def test_the_global_seed_generator_determines_random_numbers_without_a_seed(keras):
    keras.utils.set_random_seed(3)
    generator = get_global_seed_generator()
    state = generator.state.numpy()
    first = keras.random.normal((4,)).numpy()
    assert get_global_seed_generator() is generator
    assert not np.array_equal(generator.state.numpy(), state)
    assert not np.array_equal(keras.random.normal((4,)).numpy(), first)
    generator.state.assign(state)
    np.testing.assert_array_equal(keras.random.normal((4,)).numpy(), first)


def test_a_new_session_has_a_new_generator_that_depends_on_the_seed(keras):
    states = []
    for seed in (5, 5, 6):
        keras.backend.clear_session()
        keras.utils.set_random_seed(seed)
        states.append(get_global_seed_generator().state.numpy().tolist())
    assert states[0] == states[1] != states[2]
