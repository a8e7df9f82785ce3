"""Training on images that are read from the disk span by span gives the same bits as training on images in memory."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import command_line, run_program

from trainyard.config.compose import compose_config
from trainyard.data import describe_streaming, load_dataset
from trainyard.data.batches import build_batch_maker
from trainyard.data.dataset import Split
from trainyard.training import compiled_engine
from trainyard.training.compiled_engine import CompiledEngine
from trainyard.training.engine import EpochPlan
from trainyard.training.fit_engine import FitEngine
from trainyard.training.trainer import compile_model

BATCH = 32
ENGINES = {
    "compiled": lambda *arguments, stream: CompiledEngine(*arguments, BATCH, xla=False, stream=stream),
    "xla": lambda *arguments, stream: CompiledEngine(*arguments, BATCH, xla=True, stream=stream),
    "fit": lambda *arguments, stream: FitEngine(*arguments, stream=stream),
}
CASES = [
    ("compiled", ["augmentation=shift_rotate", "model.dropout=0.2", "model.hidden_units=[16]"]),
    ("compiled", ["model=cnn", "model.filters=[4]", "model.dense_units=[8]"]),
    ("xla", ["dataset.standardise=true", "training.balance_classes=true"]),
    ("fit", ["augmentation=shift_rotate", "loss=focal", "model.hidden_units=[16]"]),
]


def _store(split, folder, name):
    """Returns a split whose images are in a memory-mapped file."""
    np.save(folder / name, np.asarray(split.images))
    return Split(np.load(folder / f"{name}.npy", mmap_mode="r"), split.labels)


def _train(keras, config, dataset, engine, *, stream):
    """Returns the weights and the metrics of all epochs."""
    keras.utils.set_random_seed(1)
    model = config.model.build(dataset.spec)
    compile_model(model, config, batches_per_epoch=8)
    history, steps = [], []
    log = keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: history.append(dict(logs)))
    ENGINES[engine](model, dataset, build_batch_maker(config, dataset, 0), stream=stream).run(
        EpochPlan(epochs=2, batch_size=BATCH, seed=0), [log], lambda *numbers: steps.append(numbers)
    )
    return model.get_weights(), history, steps


@pytest.mark.parametrize(("engine", "overrides"), CASES)
def test_streaming_gives_the_weights_and_metrics_of_a_training_in_memory(
    keras, monkeypatch, tmp_path, engine, overrides
):
    """240 images are 7 batches of 32 and one of 16; a span of streamed images has three batches."""
    config = compose_config(["dataset.limit=300", "dataset.validation_fraction=0.2", *overrides])
    dataset = load_dataset(config.dataset, 0)
    mapped = dataclasses.replace(
        dataset,
        train=_store(dataset.train, tmp_path, "train"),
        validation=_store(dataset.validation, tmp_path, "validation"),
    )
    monkeypatch.setattr(compiled_engine, "_STREAMED_BYTES", 3 * BATCH * 64)
    weights, history, _ = _train(keras, config, dataset, engine, stream=False)
    streamed_weights, streamed_history, steps = _train(keras, config, mapped, engine, stream=True)
    assert all(np.array_equal(*pair) for pair in zip(weights, streamed_weights, strict=True))
    assert streamed_history == history
    if engine != "fit":
        for epoch in (1, 2):
            done = [0, *(done for number, done, total in steps if (number, total) == (epoch, 8))]
            assert done[-2:] == [7, 8]
            assert all(0 < last - first <= 3 for first, last in itertools.pairwise(done))


def test_fewer_images_than_a_batch_are_streamed(keras):
    config = compose_config(["dataset.limit=20", "model.hidden_units=[16]"])
    dataset = load_dataset(config.dataset, 0)
    weights = [_train(keras, config, dataset, "compiled", stream=stream)[0] for stream in (False, True)]
    assert all(np.array_equal(*pair) for pair in zip(*weights, strict=True))


@pytest.mark.parametrize(
    ("setting", "available", "is_streamed"),
    [("memory", 0, False), ("stream", 10**9, True), ("auto", 10**9, False), ("auto", 100, True)],
)
def test_the_run_reports_where_streamed_images_are(monkeypatch, tmp_path, setting, available, is_streamed):
    monkeypatch.setattr("trainyard.data.memory.read_available_memory", lambda: available)
    dataset = load_dataset(compose_config(["dataset.limit=20"]).dataset, 0)
    stored = _store(dataset.train, tmp_path, "train")
    for train, source in (
        (dataset.train, "copied from the loaded arrays"),
        (stored, "read from the disk"),
        (stored.take(np.arange(9, 2, -1)), "read from the disk"),
    ):
        description = describe_streaming(dataclasses.replace(dataset, train=train), setting)
        assert (source in description) if is_streamed else description is None


LIMITED = """
import json, resource, sys
from pathlib import Path
from trainyard import compose_config, run_experiment

def train(limit, memory):
    config = compose_config([
        "dataset=image_folder", "dataset.path=photos", "dataset.height=256", "dataset.width=256", "tracking=off",
        f"dataset.limit={limit}", f"dataset.memory={memory}", "dataset.validation_fraction=0.1", "model=cnn",
        "model.filters=[2]", "model.dense_units=[4]", "training.epochs=1", "training.batch_size=16", "training.threads=1",
    ])
    return run_experiment(config).evaluation.loss

def read_data_bytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmData:"))) * 1024

train(64, "stream")
limit = read_data_bytes() + int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
print(json.dumps(train(100_000, sys.argv[2])))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit of the memory is one of Linux")
def test_images_of_four_times_the_allowed_memory_are_streamed(tmp_path):
    """2,200 images of 196,608 bytes are 433 MB; 108 MB are allowed in addition to what a small training has used."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for part, count in (("train", 1000), ("test", 100)):
        for label in ("dark", "light"):
            folder = tmp_path / "photos" / part / label
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 128, (4, 4, 3), np.uint8) + np.uint8(127 * (label == "light"))
                Image.fromarray(pixels).save(folder / f"{number}.png")
    allowed = 2200 * 256 * 256 * 3 // 4
    environment = {"TRAINYARD_CACHE_DIR": str(tmp_path / "cache")}
    run = functools.partial(run_program, LIMITED, str(allowed), environment=environment, folder=tmp_path)
    in_memory = run("memory")
    assert in_memory.returncode != 0
    assert "memory" in in_memory.stderr.lower()
    streamed = run("stream")
    assert streamed.returncode == 0, streamed.stderr
    assert np.isfinite(json.loads(streamed.stdout.splitlines()[-1]))


@pytest.mark.slow
def test_xla_compiles_one_program_for_all_spans():
    """The programs are counted in XLA's cache."""
    arguments = ["experiment=quickstart", "dataset.memory=stream", "dataset.validation_fraction=0.2", "tracking=off"]
    arguments += ["training.xla=on", "training.epochs=2", "training.batch_size=8", "model.hidden_units=[4]"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(Path("cache").absolute())}
    subprocess.run(command_line("train", *arguments), env=environment, capture_output=True, check=True)
    assert len(list(Path("cache").glob("trainyard/xla/*/*.pb"))) == 1
