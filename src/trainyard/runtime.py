"""TensorFlow as a run wants it: imported quietly, with its threads and its seeds.

Before it: errors. After it: training, run.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

from trainyard.errors import TrainingError


def available_cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def import_tensorflow() -> None:
    """Imports TensorFlow and Keras, with what they say of themselves kept off the screen.

    The first lines of TensorFlow's C++ libraries go to the file descriptor whatever the log level is, so that is
    turned away for the time of the import. If the import fails they are shown.

    Raises:
        TrainingError: If TensorFlow can't be imported, or Keras runs on another backend.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        with _stderr_held_back():
            import absl.logging
            import keras
            import tensorflow as tf

            tf.config.list_physical_devices()  # looks for GPUs, and says so where there is none
    except ImportError as error:
        raise TrainingError(
            f"TensorFlow can't be imported: {error}. Install it again: pip install tensorflow"
        ) from error
    absl.logging.set_verbosity(absl.logging.ERROR)
    if keras.backend.backend() != "tensorflow":
        raise TrainingError(
            f"expected Keras on TensorFlow, got the backend {keras.backend.backend()!r}. "
            "Unset KERAS_BACKEND or set it to tensorflow"
        )


def configure_tensorflow(seed: int, threads: int | None) -> int:
    """Sets the threads and all seeds (Python, NumPy, TensorFlow), and drops what an earlier run left in Keras.

    Args:
        seed: For initial weights and dropout; 0 to 2**32 - 1.
        threads: Within and across operations; None: those in force where TensorFlow runs already, else one per core.

    Returns:
        The number of threads that is now in force.

    Raises:
        TrainingError: If TensorFlow runs already, with another number of threads.
    """
    import keras
    import tensorflow as tf

    wanted = threads or available_cores()
    threading = tf.config.threading
    for read, write in (
        (threading.get_intra_op_parallelism_threads, threading.set_intra_op_parallelism_threads),
        (threading.get_inter_op_parallelism_threads, threading.set_inter_op_parallelism_threads),
    ):
        try:
            write(wanted)
        except RuntimeError as error:  # TensorFlow runs already; 0 stands for its choice, all cores
            in_force = read() or available_cores()
            if threads is not None and in_force != threads:
                raise TrainingError(
                    f"training.threads: expected {in_force}, with which TensorFlow runs already, got {threads}. "
                    "Start a new process, or leave training.threads out"
                ) from error
            wanted = in_force
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    return wanted


@contextlib.contextmanager
def _stderr_held_back() -> Iterator[None]:
    """Turns file descriptor 2 away; what was written to it is shown only if the block fails."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(saved, held.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
