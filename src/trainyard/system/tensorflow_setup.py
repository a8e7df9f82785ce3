"""TensorFlow as a run wants it: imported quietly, with its threads and its seeds."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator

from trainyard.errors import TrainingError, in_one_line
from trainyard.system.garbage import importing
from trainyard.system.signals import stop_wins
from trainyard.system.xla_cache import prepare_cache


def available_cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def lack_of_memory_told(doing: Callable[[], str]) -> Iterator[None]:
    """Turns a lack of memory, of this process or of a device, into a TrainingError that says what it was in.

    Args:
        doing: Says what was done when it came to that.
    """
    try:
        yield
    except Exception as error:
        # TensorFlow's own, by its name, as it may not be imported here
        if not isinstance(error, MemoryError) and type(error).__name__ != "ResourceExhaustedError":
            raise
        raise TrainingError(
            f"the memory was used up while {doing()}: {in_one_line(error)}. "
            "Try a smaller training.batch_size or a smaller model, or end other programs"
        ) from error


def import_tensorflow(threads: int | None = None, *, to_fork: bool = False) -> None:
    """Imports TensorFlow and Keras, with what they say of themselves kept off the screen.

    The first lines of TensorFlow's C++ libraries go to the file descriptor whatever the log level is, so that is
    turned away for the time of the import. If the import fails they are shown.

    Args:
        threads: How many will be used; None: one per core. What XLA compiles is kept for each number apart.
        to_fork: Whether processes are forked from this one, for which nothing may be decided here: neither where
            programs are kept, nor which GPUs are seen, as CUDA does not outlive a fork.

    Raises:
        TrainingError: If TensorFlow can't be imported, or Keras runs on another backend.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if not to_fork:
        prepare_cache(threads or available_cores())
    try:
        with stderr_held_back(), stop_wins(), importing("keras"):
            import absl.logging
            import keras
            import tensorflow as tf

            if not to_fork:
                tf.config.list_physical_devices()  # looks for GPUs, and says so where there is none
    except ImportError as error:
        raise TrainingError(
            f"TensorFlow can't be imported: {error}. Install it again: pip install tensorflow"
        ) from error
    absl.logging.set_verbosity(absl.logging.ERROR)
    tf.get_logger().setLevel(logging.ERROR)  # warns of retracing when several runs share a process
    if keras.backend.backend() != "tensorflow":
        raise TrainingError(
            f"expected Keras on TensorFlow, got the backend {keras.backend.backend()!r}. "
            "Unset KERAS_BACKEND or set it to tensorflow"
        )


def uses_onednn() -> bool:
    """Tells whether TensorFlow's operations come from oneDNN, as they do unless the environment says otherwise."""
    return os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") != "0"


def draw_seed(seed: int, determinism: str) -> int:
    """Returns what initial weights, order and dropout are drawn from: the seed, or where nothing is fixed a new one."""
    return secrets.randbits(32) if determinism == "off" else seed


def describe_circumstances(engine: str, *, xla: bool) -> dict[str, str]:
    """Returns what the last bit of a training depends on beside its config, seed and data."""
    import keras
    import tensorflow as tf

    threads = tf.config.threading.get_intra_op_parallelism_threads() or available_cores()
    return {
        "engine": engine,
        "XLA": "on" if xla else "off",
        "threads": str(threads),
        "oneDNN": "on" if uses_onednn() else "off",
        "TensorFlow": tf.__version__,
        "Keras": keras.__version__,
    }


def configure_tensorflow(
    seed: int, threads: int | None, determinism: str = "seeded", precision: str = "float32"
) -> int:
    """Sets threads, precision and all seeds (Python, NumPy, TensorFlow), and drops what an earlier run left in Keras.

    Args:
        seed: For initial weights and dropout; 0 to 2**32 - 1.
        threads: Within and across operations; None: those in force where TensorFlow runs already, else one per core.
        determinism: ``training.determinism``; strict refuses operations that have no repeatable implementation, and
            computes each operation with one thread: some sum up in another order with four than with two.
        precision: ``training.precision``, Keras's policy for layers that say nothing themselves.

    Returns:
        The number of threads within an operation that is now in force; results may depend on it.

    Raises:
        TrainingError: If TensorFlow runs already, with another number of threads, or strictness can't be had.
    """
    import keras
    import tensorflow as tf
    from keras.src.random.seed_generator import global_seed_generator  # Keras's public names leave it out

    strict = determinism == "strict"
    if strict and not uses_onednn():
        raise TrainingError(
            "training.determinism: strict computes with oneDNN, and TF_ENABLE_ONEDNN_OPTS=0 turns it off. Unset it"
        )
    threading = tf.config.threading
    _pin(threading.get_inter_op_parallelism_threads, threading.set_inter_op_parallelism_threads, threads)
    within = _pin(
        threading.get_intra_op_parallelism_threads,
        threading.set_intra_op_parallelism_threads,
        1 if strict else threads,
    )
    if strict:
        tf.config.experimental.enable_op_determinism()
    keras.backend.clear_session()
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(seed)
    state = random.getstate()
    global_seed_generator()  # made now, so that it is the same one whether or not a checkpoint asks for it first
    random.setstate(state)
    return within


def _pin(read: Callable[[], int], write: Callable[[int], None], threads: int | None) -> int:
    """Sets a number of threads and returns it; where TensorFlow runs already, the one that is in force."""
    wanted = threads or available_cores()
    try:
        write(wanted)
    except RuntimeError as error:
        in_force = read() or available_cores()  # 0 stands for TensorFlow's choice, all cores
        if threads is not None and in_force != threads:
            raise TrainingError(
                f"training.threads: expected {in_force}, with which TensorFlow runs already, got {threads} (strict "
                "determinism computes with 1). Start a new process, or leave training.threads out"
            ) from error
        return in_force
    return wanted


@contextlib.contextmanager
def stderr_held_back() -> Iterator[None]:
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
