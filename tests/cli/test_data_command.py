from __future__ import annotations

import pytest

from trainyard.cli.data import fetch_data, list_data, verify_data
from trainyard.data import Kmnist, Mnist
from trainyard.errors import ConfigError, DatasetError


@pytest.fixture
def local_mnist(tiny_mnist, monkeypatch):
    monkeypatch.setenv("TRAINYARD_DATA_DIR", str(tiny_mnist))
    return tiny_mnist


def test_the_list_shows_the_location_of_each_data_set(local_mnist, capsys):
    list_data()
    lines = {line.partition(" ")[0]: line for line in capsys.readouterr().out.splitlines()}
    assert str(local_mnist) in lines["mnist"]
    assert "not downloaded: trainyard data fetch kmnist" in lines["kmnist"]
    assert "no download needed" in lines["digits"]
    assert "dataset.path" in lines["npz"]
    assert lines["train"].split() == ["train", "trainyard", "train", "dataset=digits"]


def test_a_damaged_data_set_is_listed_as_damaged_and_fails_verification(local_mnist, capsys):
    (local_mnist / "train-labels-idx1-ubyte.gz").write_bytes(b"no")
    list_data()
    assert "damaged: " in capsys.readouterr().out
    with pytest.raises(DatasetError, match=r"train-labels-idx1-ubyte\.gz"):
        verify_data(["mnist"])


def test_verify_prints_the_size_and_digest_of_each_data_set(local_mnist, capsys):
    verify_data([])
    output = capsys.readouterr().out
    assert f"mnist: 40 training and 20 test images, 28 x 28, 10 classes, complete, in {local_mnist}" in output
    assert Mnist().load(progress=False).digest in output
    assert "kmnist: not on this machine" in output
    with pytest.raises(DatasetError, match="kmnist: not on this machine. Download it: trainyard data fetch kmnist"):
        verify_data(["kmnist"])


def test_fetch_downloads_only_data_sets_that_are_missing(local_mnist, use_tiny_files_for, monkeypatch, capsys):
    use_tiny_files_for(Kmnist)
    downloaded = []
    monkeypatch.setattr(Kmnist, "download_missing", lambda self, progress: (downloaded.append(self.name), "the cache"))
    fetch_data(["mnist", "kmnist"])
    output = capsys.readouterr().out
    assert f"mnist: already in {local_mnist}, verified" in output
    assert "kmnist: downloaded, now in the cache, verified" in output
    assert "train     trainyard train dataset=mnist\n" in output
    assert downloaded == ["kmnist"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "digits",
            "digits: expected a published data set (emnist, fashion_mnist, kmnist, medmnist, mnist), got one without a download",
        ),
        ("mnits", "dataset: unknown dataset 'mnits'. Did you mean 'mnist'?"),
    ],
)
def test_names_of_data_sets_are_checked(name, message):
    for command in (fetch_data, verify_data):
        with pytest.raises(ConfigError) as caught:
            command([name])
        assert message in str(caught.value)
