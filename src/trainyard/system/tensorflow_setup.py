"""Imports and configures TensorFlow: log output, threads, precision, seeds."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator

from trainyard.errors import TrainingError, summarize_error
from trainyard.system.garbage_collection import gc_paused_import
from trainyard.system.keras_adapter import get_global_seed_generator
from trainyard.system.signals import prefer_interrupt
from trainyard.system.xla_cache import configure_xla_cache


def count_available_cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def explain_out_of_memory(activity: Callable[[], str]) -> Iterator[None]:
    """Converts out-of-memory errors, of the process or of a GPU, into a TrainingError.

    `activity` returns what was running when memory ran out, for the message: ``'building the model'``.
    """
    try:
        yield
    except Exception as error:
        # TensorFlow's exception is compared by name, because TensorFlow may not be imported here
        if not isinstance(error, MemoryError) and type(error).__name__ != "ResourceExhaustedError":
            raise
        raise TrainingError(
            f"out of memory while {activity()}: {summarize_error(error)}. "
            "Use a smaller training.batch_size or a smaller model, or close other programs"
        ) from error


def import_tensorflow(threads: int | None = None, *, before_fork: bool = False) -> None:
    """Imports TensorFlow and Keras without their log output. Raises a TrainingError if that is impossible.

    TensorFlow's C++ libraries write their first lines to stderr regardless of the log level. Stderr is therefore
    captured during the import, and shown only if the import fails. The number of threads, by default one per core,
    selects the XLA cache. If this process forks the processes that train (`before_fork`), neither the XLA cache is
    configured nor are GPUs initialized: each child does both, because CUDA does not work after a fork.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if not before_fork:
        configure_xla_cache(threads or count_available_cores())
    try:
        with stderr_captured(), prefer_interrupt(), gc_paused_import("keras"):
            import absl.logging
            import keras
            import tensorflow as tf

            if not before_fork:
                tf.config.list_physical_devices()  # searches for GPUs, and writes a message if there is none
    except ImportError as error:
        raise TrainingError(f"TensorFlow cannot be imported: {error}. Reinstall it: pip install tensorflow") from error
    absl.logging.set_verbosity(absl.logging.ERROR)
    tf.get_logger().setLevel(logging.ERROR)  # it warns of retracing if several runs share a process
    if keras.backend.backend() != "tensorflow":
        raise TrainingError(
            f"KERAS_BACKEND: expected the backend tensorflow, got {keras.backend.backend()!r}. "
            "Unset KERAS_BACKEND or set it to tensorflow"
        )


def uses_onednn() -> bool:
    """Returns whether TensorFlow uses oneDNN, which is enabled unless ``TF_ENABLE_ONEDNN_OPTS=0`` is set."""
    return os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") != "0"


def choose_seed(seed: int, determinism: str) -> int:
    """Returns the seed for initial weights, shuffling and dropout: `seed`, or a random one if determinism is off."""
    return secrets.randbits(32) if determinism == "off" else seed


def describe_numerics(engine: str, *, xla: bool) -> dict[str, str]:
    """Returns what can change the last bits of results besides config, seed and data: engine, threads, versions, ..."""
    import keras
    import tensorflow as tf

    threads = tf.config.threading.get_intra_op_parallelism_threads() or count_available_cores()
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
    """Sets threads, precision and all seeds (Python, NumPy, TensorFlow), and clears the state of earlier Keras models.

    `seed` is in 0..2**32 - 1. `threads` is the number of threads within and across operations; None keeps the current
    number if TensorFlow is already initialized, else it uses one per core. `determinism` is the value of
    ``training.determinism``: ``strict`` rejects operations without a deterministic implementation, runs each operation
    on one thread, because the number affects the order of summation, and does not let TensorFlow rewrite its graphs,
    because the result depends on the whole graph, which differs between the engines. `precision` is the Keras dtype
    policy of layers.

    Returns the number of threads within an operation, on which results can depend. Raises a TrainingError if TensorFlow
    is already initialized with another number of threads, or strict determinism is impossible.
    """
    import keras
    import tensorflow as tf

    strict = determinism == "strict"
    if strict and not uses_onednn():
        raise TrainingError(
            "training.determinism: strict requires oneDNN, but TF_ENABLE_ONEDNN_OPTS=0 disables it. Unset that variable"
        )
    threading = tf.config.threading
    _set_threads(threading.get_inter_op_parallelism_threads, threading.set_inter_op_parallelism_threads, threads)
    intra_op_threads = _set_threads(
        threading.get_intra_op_parallelism_threads, threading.set_intra_op_parallelism_threads, 1 if strict else threads
    )
    if strict:
        tf.config.experimental.enable_op_determinism()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": strict})
    keras.backend.clear_session()
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(seed)
    state = random.getstate()
    get_global_seed_generator()  # created here so that it is the same whether or not a checkpoint requests it earlier
    random.setstate(state)
    return intra_op_threads


def _set_threads(read: Callable[[], int], write: Callable[[int], None], threads: int | None) -> int:
    """Sets a number of threads and returns it; if TensorFlow is already initialized, returns the current number."""
    requested = threads or count_available_cores()
    try:
        write(requested)
    except RuntimeError as error:
        current = read() or count_available_cores()  # 0: TensorFlow uses all cores
        if threads is not None and current != threads:
            raise TrainingError(
                f"training.threads: expected {current}, with which TensorFlow is already initialized, got {threads} "
                "(strict determinism requires 1). Start a new process, or do not set training.threads"
            ) from error
        return current
    return requested


@contextlib.contextmanager
def stderr_captured() -> Iterator[None]:
    """Captures what is written to file descriptor 2 (stderr), and shows it only if the block raises."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except Exception:
            captured.seek(0)
            os.write(saved, captured.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
