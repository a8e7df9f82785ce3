"""Tests of decoding a folder of images once, for all runs and trials."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processes import run_trainyard

from trainyard import run_experiment
from trainyard.data import ImageFolder, image_decoding, load_dataset
from trainyard.data.array_cache import list_entries
from trainyard.errors import DatasetError
from trainyard.system import Progress

ROOT = Path("birds")
DAMAGED = b"\x89PNG\r\n\x1a\n damaged"


def _draw(seed):
    return np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def decoded(monkeypatch):
    """A folder of images; returns the names of the files that were decoded in this process."""
    for seed, path in enumerate(
        f"{part}/{name}/{i}.png" for part in ("train", "test") for name in "ab" for i in range(5)
    ):
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(_draw(seed)).save(ROOT / path)
    names = []
    decode = image_decoding.decode_image

    def record(path, **options):
        names.append(path.relative_to(ROOT).as_posix())
        return decode(path, **options)

    monkeypatch.setattr(image_decoding, "decode_image", record)
    return names


def _load(seed=0, **fields):
    return load_dataset(ImageFolder(path=str(ROOT), **({"height": 6, "width": 8} | fields)), seed)


def test_images_are_decoded_once_in_the_order_of_their_names(decoded):
    first, second = _load(), _load()
    assert len(decoded) == 20
    assert first.digest == second.digest
    assert np.array_equal(first.train.images, np.stack([_draw(seed) for seed in range(10)]))
    assert np.array_equal(second.test.images, np.stack([_draw(seed) for seed in range(10, 20)]))
    assert first.train.labels.tolist() == [0] * 5 + [1] * 5


@pytest.mark.parametrize("fields", [{"height": 5}, {"width": 5}, {"colour": False}])
def test_another_format_is_decoded_again(decoded, fields):
    _load()
    dataset = _load(**fields)
    assert len(decoded) == 40
    assert dataset.train.images.shape[1:] == dataset.spec.image_shape
    assert len(list_entries()) == 2


def _rewrite(path):
    Image.fromarray(_draw(99)).save(path, compress_level=0)


def _touch(path):
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize(
    "change",
    [
        _rewrite,
        _touch,
        Path.unlink,
        lambda path: path.rename(path.with_name("9.png")),
        lambda path: path.rename(ROOT / "train/b/x.png"),
    ],
    ids=["content", "time", "removed", "renamed", "moved"],
)
def test_a_changed_folder_is_decoded_again(decoded, change):
    _load()
    change(ROOT / "train/a/2.png")
    changed = _load()
    assert len(decoded) == 20 + len(changed.train) + 10


def test_images_are_decoded_again_by_other_versions_of_the_libraries(decoded, monkeypatch):
    _load()
    for versions in ({"pillow": "99"}, {"pillow": "99", "cykooz-resizer": "99"}):
        monkeypatch.setattr(image_decoding, "describe_decoder", lambda versions=versions: versions)
        decoded.clear()
        _load()
        assert len(decoded) == 20


def test_the_images_are_the_same_for_every_number_of_threads(monkeypatch):
    digests = set()
    for threads in (1, 2, 7):
        monkeypatch.setattr(image_decoding, "count_available_cores", lambda threads=threads: threads)
        monkeypatch.setenv("TRAINYARD_CACHE_DIR", f"cache {threads}")
        digests.add(_load(height=4, width=5).digest)
    assert len(digests) == 1


def test_a_moved_folder_is_not_decoded_again(decoded):
    _load()
    ROOT.rename("moved")
    load_dataset(ImageFolder(path="moved", height=6, width=8), 0)
    assert len(decoded) == 20


def test_a_limit_decodes_only_the_images_that_it_selects(decoded):
    limited = _load(limit=3)
    assert len(decoded) == 6
    complete = _load()
    again = _load(limit=3)
    assert len(decoded) == 26
    assert limited.digest == again.digest != complete.digest
    assert _load(seed=1, limit=3).digest != limited.digest
    assert len(decoded) == 26  # selected from the complete entry


def _damage(*paths):
    for path in paths:
        (ROOT / path).write_bytes(DAMAGED)


def test_damaged_files_are_all_reported_and_nothing_is_stored(decoded):
    _damage("train/a/1.png", "test/b/4.png")
    with pytest.raises(DatasetError, match=r"(?s)birds: 2 problems.*train/a/1\.png: .*test/b/4\.png: "):
        _load()
    assert list_entries() == []


def test_damaged_files_can_be_skipped_and_are_counted(decoded):
    expected = _load()
    _damage("train/a/1.png", "test/b/4.png")
    (ROOT / "train/a/labels.csv").write_text("x")
    skipped = _load(on_bad_file="skip")
    assert (len(skipped.train), len(skipped.test)) == (9, 9)
    assert skipped.train.labels.tolist() == [0] * 4 + [1] * 5
    assert np.array_equal(skipped.train.images, np.delete(expected.train.images, 1, axis=0))
    (notice,) = skipped.notices
    assert "skipped files: 3." in notice
    assert "labels.csv" in notice
    count = len(decoded)
    assert _load(on_bad_file="skip").digest == skipped.digest
    limited = _load(on_bad_file="skip", limit=10)
    assert (len(limited.train), len(limited.test)) == (9, 9)
    (ROOT / "train/a/labels.csv").unlink()
    with pytest.raises(DatasetError, match="2 problems"):
        _load()
    assert len(decoded) == count


def test_a_class_of_which_all_images_are_damaged_is_reported():
    _damage(*(f"train/a/{i}.png" for i in range(5)))
    with pytest.raises(DatasetError, match="got none of the class 'a'"):
        _load(on_bad_file="skip")


def test_notices_reach_the_output_of_a_run(keras, tiny):
    Image.fromarray(np.full((6, 8), 4000, np.uint16)).save(ROOT / "train/a/1.png")
    Image.new("RGB", (4, 4)).save(ROOT / "train/a/2.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    _damage("train/a/0.png")

    lines = []

    class Recorder(Progress):
        def detail(self, text):
            lines.append(text)

    overrides = ["dataset=image_folder", "dataset.path=birds", "dataset.on_bad_file=skip", "tracking=off"]
    run_experiment(tiny(*overrides, "training.epochs=1"), progress=Recorder())
    warnings = [line for line in lines if line.startswith("warning: ")]
    assert any("skipped files: 1." in line for line in warnings)
    assert any("1 images with 16 bits per channel are nearly black" in line for line in warnings)
    assert any("damaged EXIF data" in line for line in warnings)


def test_results_are_ordered_and_few_wait():
    from concurrent.futures import ThreadPoolExecutor

    taken = []

    def items():
        for number in range(50):
            taken.append(number)
            yield number

    with ThreadPoolExecutor(4) as pool:
        for index, result in enumerate(image_decoding.map_ordered(pool, lambda number: number * 2, items(), 8)):
            assert result == 2 * index
            assert len(taken) <= index + 8


COUNTING_PLUGIN = """
from pathlib import Path
from trainyard.data import image_decoding

decode = image_decoding.decode_image
log = Path("decoded.txt").absolute()

def record(path, **options):
    with log.open("a") as file:
        file.write(f"{path}\\n")
    return decode(path, **options)

image_decoding.decode_image = record
"""


@pytest.mark.slow
def test_a_sweep_of_eight_trials_decodes_each_image_once():
    Path("plugin").mkdir()
    Path("plugin/counting.py").write_text(COUNTING_PLUGIN)
    overrides = ["dataset=image_folder", "dataset.path=birds", "dataset.height=6", "dataset.width=8", "tracking=off",
                 "model.hidden_units=[4]", "training.epochs=1", "training.xla=off", "sweep.objective=off",
                 "optimizer.learning_rate=0.001,0.002,0.003,0.004", "seed=0,1", "hydra.launcher.n_jobs=2"]  # fmt: skip
    variables = {"PYTHONPATH": str(Path("plugin").absolute()), "TRAINYARD_PLUGINS": "counting"}
    process = run_trainyard("sweep", *overrides, environment=variables)
    assert process.returncode == 0, process.stderr
    assert len(list(Path("sweeps").glob("*/trials/*"))) == 8
    paths = Path("decoded.txt").read_text().splitlines()
    assert len(paths) == len(set(paths)) == 20


def test_other_images_with_the_same_names_sizes_and_times_are_decoded_again():
    digests = []
    for value in (10, 200):
        shutil.rmtree(ROOT, ignore_errors=True)
        for split, name in itertools.product(("train", "test"), ("a", "b")):
            file = ROOT / split / name / "1.bmp"
            file.parent.mkdir(parents=True)
            Image.new("RGB", (6, 4), (value, value, value)).save(file)
            os.utime(file, (10**9, 10**9))
        digests.append(_load().digest)
    assert digests[0] != digests[1]
