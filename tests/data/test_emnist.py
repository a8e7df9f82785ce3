"""Tests of EMNIST: a tiny copy of the zip file with its data sets is loaded and downloaded from a local server."""

from __future__ import annotations

import gzip
import hashlib
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from trainyard.config.compose import compose_config
from trainyard.data import Emnist, list_entries, load_dataset
from trainyard.data.datasets.emnist import EMNIST_CLASSES
from trainyard.errors import ConfigError, DatasetError

CLASSES = {"balanced": 47, "byclass": 62, "bymerge": 47, "digits": 10, "letters": 26, "mnist": 10}


def _write_idx(archive, name, array):
    header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
    archive.writestr(f"gzip/{name}.gz", gzip.compress(header + array.tobytes()))


@pytest.fixture
def images():
    """The upright test images of each data set."""
    generator = np.random.default_rng(0)
    return {split: generator.integers(0, 256, (2 * count, 28, 28), dtype=np.uint8) for split, count in CLASSES.items()}


@pytest.fixture
def published(tmp_path, monkeypatch, images):
    """A folder with a tiny zip file of all data sets, whose digest replaces that of EMNIST."""
    folder = tmp_path / "published"
    folder.mkdir()
    with zipfile.ZipFile(folder / "gzip.zip", "w") as archive:
        for split, test_images in images.items():
            labels = (np.arange(len(test_images)) % CLASSES[split] + (split == "letters")).astype(np.uint8)
            for part, pixels in (("train", test_images[:, ::-1]), ("test", test_images)):
                _write_idx(archive, f"emnist-{split}-{part}-images-idx3-ubyte", pixels.swapaxes(1, 2))
                _write_idx(archive, f"emnist-{split}-{part}-labels-idx1-ubyte", labels)
    monkeypatch.setattr(Emnist, "md5", hashlib.md5((folder / "gzip.zip").read_bytes()).hexdigest())
    return folder


def _cache():
    return Path(os.environ["XDG_CACHE_HOME"]) / "trainyard" / "emnist"


@pytest.mark.parametrize("split", CLASSES)
def test_each_data_set_is_loaded_upright_with_labels_from_0(published, images, split):
    config = Emnist(split=split, path=str(published))
    dataset = load_dataset(config, 0)
    assert (dataset.name, config.known_shape) == (f"emnist_{split}", ((28, 28), CLASSES[split]))
    assert (dataset.spec.image_shape, dataset.spec.classes) == config.known_shape
    assert np.array_equal(dataset.train.images, images[split][:, ::-1])
    assert np.array_equal(dataset.test.images, images[split])
    assert np.array_equal(dataset.test.labels, [*range(CLASSES[split])] * 2)


def test_the_classes_are_those_of_the_published_mapping():
    """The files emnist-*-mapping.txt contain the character of each label."""
    assert "".join(EMNIST_CLASSES["byclass"]) == "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    assert "".join(EMNIST_CLASSES["balanced"]) == "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"
    assert EMNIST_CLASSES["bymerge"] == EMNIST_CLASSES["balanced"]


def test_the_zip_file_is_downloaded_once_for_all_data_sets(published, serve):
    server = serve(published)
    for split in ("letters", "digits"):
        config = Emnist(split=split, mirrors=[f"{server.url}/nothing", server.url])
        assert config.load(progress=False).source == str(_cache() / "gzip.zip")
    assert server.requests.count("/gzip.zip") == 1
    (_cache() / "gzip.zip").write_bytes(b"damaged")
    ((damaged, error),) = config.find_damaged_downloads()
    assert (damaged, "expected gzip.zip with md5" in str(error)) == (_cache() / "gzip.zip", True)
    config.load(progress=False)
    assert server.requests.count("/gzip.zip") == 2


def test_a_damaged_download_is_not_cached(published, serve):
    (published / "gzip.zip").write_bytes(b"damaged")
    with pytest.raises(DatasetError, match=r"gzip\.zip could not be downloaded:\n.*expected gzip\.zip with md5"):
        Emnist(mirrors=[serve(published).url]).load(progress=False)
    assert not list(_cache().iterdir())


def test_the_file_is_found_where_torchvision_stores_it(published, tmp_path, monkeypatch):
    monkeypatch.setenv("TRAINYARD_DATA_DIR", str(tmp_path))
    (tmp_path / "EMNIST").mkdir()
    published.rename(tmp_path / "EMNIST" / "raw")
    assert Emnist().load_local()[1] == tmp_path / "EMNIST" / "raw" / "gzip.zip"


def test_large_data_sets_are_decompressed_into_the_cache_once(published, images, monkeypatch):
    monkeypatch.setattr("trainyard.data.cached_files.MIN_CACHED_BYTES", 1)
    for _ in range(2):
        for split in ("letters", "mnist"):
            arrays, _ = Emnist(split=split, path=str(published)).load_local()
            assert np.array_equal(arrays[2], images[split])
            assert arrays[1].min() == 0
    assert len(list_entries()) == 2


def test_other_names_are_rejected():
    with pytest.raises(ConfigError, match=r"dataset\.split: expected one of balanced, .*got 'all'"):
        compose_config(["dataset=emnist", "dataset.split=all"])
