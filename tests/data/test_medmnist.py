"""Tests of MedMNIST: a tiny copy of each subset is loaded and downloaded from a local server."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from trainyard.config.compose import compose_config
from trainyard.config.validation import find_section_problems
from trainyard.data import Medmnist, load_dataset
from trainyard.data.datasets.medmnist import SUBSETS
from trainyard.errors import ConfigError, DatasetError

COUNTS = {"train": 18, "val": 4, "test": 9}


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A folder with a tiny npz file of each subset, whose digests replace those of MedMNIST."""
    folder = tmp_path / "published"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for number, (name, subset) in enumerate(list(SUBSETS.items())):
        generator = np.random.default_rng(number)
        shape = (28, 28, 3) if subset.colour else (28, 28)
        arrays = {}
        for part, count in COUNTS.items():
            arrays[f"{part}_images"] = generator.integers(0, 256, (count, *shape), dtype=np.uint8)
            arrays[f"{part}_labels"] = (np.arange(count, dtype=np.uint8) % len(subset.class_names))[:, None]
        np.savez_compressed(folder / f"{name}.npz", **arrays)
        digest = hashlib.md5((folder / f"{name}.npz").read_bytes()).hexdigest()
        monkeypatch.setitem(SUBSETS, name, subset._replace(md5=digest))
    return folder


@pytest.fixture
def server(published, serve):
    return serve(published)


def _cache():
    return Path(os.environ["XDG_CACHE_HOME"]) / "trainyard" / "medmnist"


@pytest.mark.parametrize("subset", SUBSETS)
def test_each_subset_is_loaded_with_its_validation_images(published, subset):
    config = Medmnist(subset=subset, path=str(published))
    dataset = load_dataset(config, 0)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (18, 4, 9)
    assert (dataset.name, dataset.spec.class_names) == (subset, SUBSETS[subset].class_names)
    assert config.known_shape == (dataset.spec.image_shape, dataset.spec.classes)
    with np.load(published / f"{subset}.npz") as arrays:
        assert np.array_equal(dataset.validation.images, arrays["val_images"])
        assert np.array_equal(dataset.test.labels, arrays["test_labels"][:, 0])


def test_a_subset_is_downloaded_once_and_again_if_it_is_damaged(server):
    config = Medmnist(subset="bloodmnist", mirrors=[f"{server.url}/nothing", server.url])
    first = config.load(progress=False)
    assert first.source == str(_cache() / "bloodmnist.npz")
    assert config.load(progress=False).digest == first.digest
    assert [path for path in server.requests if "nothing" not in path and "code" not in path] == [
        "/bloodmnist.npz?download=1"
    ]
    (_cache() / "bloodmnist.npz").write_bytes(b"damaged")
    ((damaged, error),) = config.find_damaged_downloads()
    assert damaged == _cache() / "bloodmnist.npz"
    assert "expected bloodmnist.npz with md5" in str(error)
    assert config.load(progress=False).digest == first.digest
    assert not list(config.find_damaged_downloads())


def test_a_damaged_download_is_not_cached(server, published):
    (published / "octmnist.npz").write_bytes(b"damaged")
    with pytest.raises(
        DatasetError, match=r"octmnist\.npz could not be downloaded:\n.*expected octmnist\.npz with md5"
    ):
        Medmnist(subset="octmnist", mirrors=[server.url]).load(progress=False)
    assert not list(_cache().iterdir())


def test_the_usual_folders_are_searched(published, monkeypatch, tmp_path):
    config = Medmnist(subset="retinamnist", mirrors=["http://127.0.0.1:9"])
    assert config.load_local() is None
    package_folder = Path("~/.medmnist").expanduser()
    package_folder.mkdir(parents=True)
    (package_folder / "retinamnist.npz").write_bytes((published / "retinamnist.npz").read_bytes())
    assert config.load_local()[1] == package_folder / "retinamnist.npz"
    monkeypatch.setenv("TRAINYARD_DATA_DIR", str(tmp_path))
    published.rename(tmp_path / "medmnist")
    assert config.load_local()[1] == tmp_path / "medmnist" / "retinamnist.npz"
    (tmp_path / "medmnist" / "retinamnist.npz").write_bytes(b"damaged")
    with pytest.raises(DatasetError, match=r"retinamnist\.npz: expected retinamnist\.npz with md5"):
        config.load_local()


def test_a_path_without_the_file_is_rejected(tmp_path):
    with pytest.raises(DatasetError, match=r"dataset\.path: expected the file pathmnist\.npz or a folder with it"):
        Medmnist(path=str(tmp_path)).load(progress=False)


def test_validation_images_are_never_held_out_and_may_be_monitored():
    (problem,) = find_section_problems(Medmnist(validation_fraction=0.1), "dataset")
    assert problem.startswith("dataset.validation_fraction: expected 0, as MedMNIST contains validation images")
    assert compose_config(["dataset=medmnist", "training.keep_best=accuracy/val"]).dataset.has_validation
    with pytest.raises(ConfigError, match=r"dataset\.subset: expected one of pathmnist, .*got 'chestmnist'"):
        compose_config(["dataset=medmnist", "dataset.subset=chestmnist"])
