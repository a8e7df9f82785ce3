from __future__ import annotations

import pytest

from trainyard.cli.data import fetch_data, list_data, verify_data
from trainyard.data import Kmnist, Mnist
from trainyard.errors import ConfigError, DatasetError


@pytest.fixture
def mnist_here(tiny_mnist, monkeypatch):
    monkeypatch.setenv("TRAINYARD_DATA_DIR", str(tiny_mnist))
    return tiny_mnist


def test_the_list_says_where_each_set_lies(mnist_here, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    list_data()
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert str(mnist_here) in lines["mnist"]
    assert "not here: trainyard data fetch kmnist" in lines["kmnist"]
    assert "comes along" in lines["digits"]
    assert "dataset.path" in lines["npz"]


def test_a_damaged_set_is_listed_as_such_and_not_verified(mnist_here, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    (mnist_here / "train-labels-idx1-ubyte.gz").write_bytes(b"no")
    list_data()
    assert "damaged: " in capsys.readouterr().out
    with pytest.raises(DatasetError, match=r"train-labels-idx1-ubyte\.gz"):
        verify_data(["mnist"])


def test_verify_tells_what_a_set_holds(mnist_here, capsys):
    verify_data([])
    told = capsys.readouterr().out
    assert f"mnist: 40 images to train and 20 to test, 28 x 28, 10 classes, whole, in {mnist_here}" in told
    assert Mnist().load(progress=False).digest in told
    assert "kmnist: not on this machine" in told
    with pytest.raises(DatasetError, match="kmnist: not on this machine. Fetch it: trainyard data fetch kmnist"):
        verify_data(["kmnist"])


def test_fetch_downloads_what_is_missing(mnist_here, take_tiny_files_for, monkeypatch, capsys):
    take_tiny_files_for(Kmnist)
    fetched = []
    monkeypatch.setattr(Kmnist, "complete_cache", lambda self, progress: (fetched.append(self.name), "the cache"))
    fetch_data(["mnist", "kmnist"])
    told = capsys.readouterr().out
    assert f"mnist: is in {mnist_here}, verified" in told
    assert "kmnist: downloaded, and is in the cache, verified" in told
    assert fetched == ["kmnist"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digits", "digits: expected a published data set (fashion_mnist, kmnist, mnist); this one is not downloaded"),
        ("mnits", "dataset: unknown dataset 'mnits'. Did you mean 'mnist'?"),
    ],
)
def test_names_are_checked(name, message):
    for command in (fetch_data, verify_data):
        with pytest.raises(ConfigError) as caught:
            command([name])
        assert message in str(caught.value)
