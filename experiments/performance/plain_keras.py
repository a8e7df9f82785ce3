"""The published recipe as a plain Keras script, as a user would write it without Trainyard. It tracks nothing.

    python plain_keras.py MNIST_FOLDER EPOCHS SEED

MNIST_FOLDER has the four gzipped IDX files. The last line of the output is a JSON object: the wall-clock time at the
start and at the end of the script, the duration of each stage and of each epoch in seconds, and the test accuracy.
"""

import time

STARTED = time.time()

import gzip  # noqa: E402 - the clock starts before the imports, so that they are measured
import json  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402


def main(folder: Path, epochs: int, seed: int) -> None:
    """Loads the data, then builds, trains, evaluates and saves the model."""
    import keras
    import numpy as np
    from sklearn.metrics import classification_report, confusion_matrix

    imported = time.time()
    keras.utils.set_random_seed(seed)

    def load_idx_file(name: str) -> np.ndarray:
        content = gzip.decompress((folder / name).read_bytes())
        dimensions = content[3]
        shape = np.frombuffer(content, ">u4", dimensions, offset=4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)

    x_train = load_idx_file("train-images-idx3-ubyte.gz") / np.float32(255)
    y_train = load_idx_file("train-labels-idx1-ubyte.gz")
    x_test = load_idx_file("t10k-images-idx3-ubyte.gz") / np.float32(255)
    y_test = load_idx_file("t10k-labels-idx1-ubyte.gz")
    loaded = time.time()

    model = keras.Sequential(
        [
            keras.layers.Input(x_train.shape[1:]),
            keras.layers.Flatten(),
            keras.layers.Dense(300, activation="relu"),
            keras.layers.Dense(200, activation="relu"),
            keras.layers.Dense(100, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    built = time.time()

    epoch_starts: list[float] = []
    epoch_ends: list[float] = []
    timer = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: epoch_starts.append(time.perf_counter()),
        on_epoch_end=lambda *_: epoch_ends.append(time.perf_counter()),
    )
    model.fit(x_train, y_train, epochs=epochs, verbose=0, callbacks=[timer])
    trained = time.time()

    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    predicted = model.predict(x_test, verbose=0).argmax(1)
    classification_report(y_test, predicted, zero_division=0)
    confusion_matrix(y_test, predicted)
    evaluated = time.time()

    model.save("model.h5")
    ended = time.time()
    stages = {
        "start": imported - STARTED,
        "load": loaded - imported,
        "build": built - loaded,
        "train": trained - built,
        "evaluate": evaluated - trained,
        "log": ended - evaluated,
    }
    epoch_seconds = [end - start for start, end in zip(epoch_starts, epoch_ends, strict=True)]
    times = {"started": STARTED, "ended": ended, "stages": stages, "epoch_seconds": epoch_seconds}
    print(json.dumps({**times, "test_accuracy": float(accuracy)}))  # noqa: T201 - the output of the script


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
