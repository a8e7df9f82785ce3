"""The published recipe as a plain Keras script, logged with `mlflow.autolog`.

    python plain_keras_autolog.py MNIST_FOLDER HIDDEN_UNITS LEARNING_RATE EPOCHS

Without Trainyard, a user would sweep over learning rates by running this script in a shell loop. MNIST_FOLDER has the
four gzipped IDX files; HIDDEN_UNITS is a comma-separated list such as ``300,200,100``. The run is logged to
``mlflow.db`` in the working directory. The last line of the output is a JSON object with the test accuracy.
"""

import gzip
import json
import sys
from pathlib import Path


def main(folder: Path, hidden_units: list[int], learning_rate: float, epochs: int) -> None:
    """Trains and evaluates a model. MLflow logs the run automatically; only the test accuracy is logged here."""
    import keras
    import mlflow
    import numpy as np

    def load_idx_file(name: str) -> np.ndarray:
        content = gzip.decompress((folder / name).read_bytes())
        dimensions = content[3]
        shape = np.frombuffer(content, ">u4", dimensions, offset=4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)

    x_train = load_idx_file("train-images-idx3-ubyte.gz") / np.float32(255)
    y_train = load_idx_file("train-labels-idx1-ubyte.gz")
    x_test = load_idx_file("t10k-images-idx3-ubyte.gz") / np.float32(255)
    y_test = load_idx_file("t10k-labels-idx1-ubyte.gz")

    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    mlflow.set_experiment("plain")
    mlflow.autolog()
    with mlflow.start_run():
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.layers.Input(x_train.shape[1:]),
                keras.layers.Flatten(),
                *(keras.layers.Dense(units, activation="relu") for units in hidden_units),
                keras.layers.Dense(10, activation="softmax"),
            ]
        )
        model.compile(
            optimizer=keras.optimizers.Adam(learning_rate),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        model.fit(x_train, y_train, epochs=epochs, verbose=0)
        _, accuracy = model.evaluate(x_test, y_test, verbose=0)
        mlflow.log_metric("test_accuracy", accuracy)
    print(json.dumps({"test_accuracy": float(accuracy)}))  # noqa: T201 - the output of the script


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(units) for units in sys.argv[2].split(",")], float(sys.argv[3]), int(sys.argv[4]))
