from __future__ import annotations

import gzip
import http.server
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from trainyard.data import Digits, FashionMnist, Kmnist, Mnist, load_dataset
from trainyard.errors import DatasetError

IMAGES = "train-images-idx3-ubyte.gz"


@pytest.fixture
def mirror(tiny_mnist):
    """A web server with the four files. `mirror.broken` maps a file name to the response that replaces the file."""
    served = {path.name: path.read_bytes() for path in tiny_mnist.iterdir()}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.rpartition("/")[2]
            server.requests.append(name)
            content = server.broken.get(name, served.get(name))
            if isinstance(content, int):
                self.send_error(content)
                return
            if content == "hangs":
                server.closing.wait(20)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(served[name])))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests, server.broken, server.closing = [], {}, threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}/mnist/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()
    thread.join()


def _cache() -> Path:
    return Path(os.environ["XDG_CACHE_HOME"]) / "trainyard" / "mnist"


def _shape(dataset) -> tuple[int, int]:
    return len(dataset.train), len(dataset.test)


def test_digits_need_no_download_and_have_a_fixed_test_set():
    dataset = load_dataset(Digits(), seed=0)
    assert _shape(dataset) == (1437, 360)
    assert dataset.train.images.max() == dataset.spec.pixel_max == 16
    assert np.bincount(dataset.test.labels).min() >= 34
    assert load_dataset(Digits(), seed=5).digest == dataset.digest  # the test set does not depend on the seed


def test_validation_and_limit_depend_on_the_seed():
    datasets_by_seed = [load_dataset(Digits(validation_fraction=0.1, limit=200), seed) for seed in (0, 0, 1)]
    digests = [dataset.validation.digest for dataset in datasets_by_seed]
    assert digests[0] == digests[1] != digests[2]
    assert _shape(datasets_by_seed[0]) == (180, 200)


def test_a_single_training_image_cannot_be_split():
    with pytest.raises(
        DatasetError, match=r"dataset\.validation_fraction: expected two or more training images to split, got one"
    ):
        load_dataset(Digits(validation_fraction=0.5, limit=1), seed=0)


def test_the_published_mnist_files_are_accepted(mnist_folder):
    dataset = Mnist(path=str(mnist_folder)).load(progress=False)
    assert _shape(dataset) == (60000, 10000)
    assert dataset.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert dataset.train.images.dtype == np.uint8


@pytest.mark.parametrize("layout", ["gzipped", "plain", "dotted", "subfolder", "npz", "npz file"])
def test_mnist_is_loaded_from_each_supported_file_layout(layout, tiny_mnist, tmp_path):
    root = tmp_path / "root"
    folder = root / "mnist" if layout == "subfolder" else root
    folder.mkdir(parents=True)
    if layout.startswith("npz"):
        shutil.copy(tmp_path / "mnist.npz", folder)
    else:
        for path in tiny_mnist.iterdir():
            if layout in ("gzipped", "subfolder"):
                shutil.copy(path, folder)
            else:
                name = path.stem if layout == "plain" else path.stem.replace("-idx", ".idx")
                (folder / name).write_bytes(gzip.decompress(path.read_bytes()))
    path = root / "mnist.npz" if layout == "npz file" else root
    dataset = Mnist(path=str(path)).load(progress=False)
    assert _shape(dataset) == (40, 20)
    assert dataset.digest == Mnist(path=str(tiny_mnist)).load(progress=False).digest


def test_locations_on_this_machine_are_searched_in_order(tiny_mnist, tmp_path, monkeypatch, mirror):
    keras = Path(os.environ["KERAS_HOME"]) / "datasets"
    keras.mkdir(parents=True)
    shutil.copy(tmp_path / "mnist.npz", keras)
    config = Mnist(mirrors=[mirror.url])
    assert config.load(progress=False).source == str(keras / "mnist.npz")
    shutil.copytree(tiny_mnist, _cache())
    assert config.load(progress=False).source == str(_cache())
    monkeypatch.setenv("TRAINYARD_DATA_DIR", str(tmp_path / "data"))
    shutil.copytree(tiny_mnist, tmp_path / "data" / "mnist")
    assert config.load(progress=False).source == str(tmp_path / "data" / "mnist")
    assert Mnist(path=str(tiny_mnist)).load(progress=False).source == str(tiny_mnist)
    assert not mirror.requests


def test_mnist_is_downloaded_to_the_cache_only_once(mirror):
    config = Mnist(mirrors=[mirror.url])
    assert _shape(config.load(progress=False)) == (40, 20)
    assert sorted(path.name for path in _cache().iterdir()) == sorted(f"{file.name}.gz" for file in Mnist.files)
    assert _shape(config.load(progress=False)) == (40, 20)
    assert len(mirror.requests) == 4


def test_a_progress_bar_is_shown_on_request(mirror, capsys):
    Mnist(mirrors=[mirror.url]).load(progress=True)
    assert "100%" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("response", "error_text"),
    [
        (500, "500 Server Error"),
        (404, "404 Client Error"),
        (b"<!DOCTYPE html><html>log in</html>", "IncompleteRead"),
        (b"cut", "IncompleteRead"),
        ("hangs", "Read timed out"),
    ],
    ids=["500", "404", "web page", "closed half-way", "hangs"],
)
def test_a_failing_mirror_is_reported_with_alternatives(response, error_text, mirror, monkeypatch):
    monkeypatch.setattr("trainyard.data.datasets.mnist_family.DOWNLOAD_TIMEOUT_SECONDS", (5.0, 0.5))
    mirror.broken[IMAGES] = response
    with pytest.raises(DatasetError) as caught:
        Mnist(mirrors=[mirror.url]).load(progress=False)
    message = str(caught.value)
    assert error_text in message
    assert mirror.url in message
    for alternative in ("dataset.path", "TRAINYARD_DATA_DIR", "dataset.mirrors", "dataset=digits"):
        assert alternative in message
    assert not any(_cache().glob(f"**/{IMAGES}"))


def test_a_damaged_download_is_discarded_and_the_next_mirror_is_tried(mirror, tiny_mnist):
    content = bytearray(gzip.decompress((tiny_mnist / IMAGES).read_bytes()))
    content[100] ^= 1
    damaged = gzip.compress(bytes(content))
    length = len((tiny_mnist / IMAGES).read_bytes())
    mirror.broken[IMAGES] = damaged[:length].ljust(length, b"\0")
    with pytest.raises(DatasetError, match="sha256|can't be read"):
        Mnist(mirrors=[mirror.url]).load(progress=False)
    unreachable = "http://127.0.0.1:9/nothing"
    mirror.broken.clear()
    assert _shape(Mnist(mirrors=[unreachable, mirror.url]).load(progress=False)) == (40, 20)


def test_without_a_network_the_error_names_the_data_set_and_the_cause():
    with pytest.raises(DatasetError, match="MNIST is not on this machine") as caught:
        Mnist(mirrors=["http://127.0.0.1:9/nothing"]).load(progress=False)
    assert "Connection refused" in str(caught.value)


def test_a_damaged_file_in_the_cache_is_replaced(mirror, tiny_mnist):
    shutil.copytree(tiny_mnist, _cache())
    (_cache() / IMAGES).write_bytes(b"poison")
    assert _shape(Mnist(mirrors=[mirror.url]).load(progress=False)) == (40, 20)
    assert (_cache() / IMAGES).read_bytes() == (tiny_mnist / IMAGES).read_bytes()


def test_only_missing_and_damaged_files_are_downloaded_and_intact_files_are_kept(mirror, tiny_mnist):
    shutil.copytree(tiny_mnist, _cache())
    intact = (_cache() / "t10k-labels-idx1-ubyte.gz").read_bytes()
    (_cache() / IMAGES).unlink()
    (_cache() / "train-labels-idx1-ubyte.gz").write_bytes(b"poison")
    with pytest.raises(DatasetError):
        Mnist(mirrors=["http://127.0.0.1:9/nothing"]).load(progress=False)
    assert (_cache() / "t10k-labels-idx1-ubyte.gz").read_bytes() == intact
    assert _shape(Mnist(mirrors=[mirror.url]).load(progress=False)) == (40, 20)
    assert sorted(mirror.requests) == [IMAGES, "train-labels-idx1-ubyte.gz"]


def _flip_bit(content: bytes) -> bytes:
    raw = bytearray(gzip.decompress(content))
    raw[-1] ^= 1
    return gzip.compress(bytes(raw))


@pytest.mark.parametrize(
    ("damage", "error_text"),
    [
        (_flip_bit, "with sha256"),
        (lambda content: gzip.compress(gzip.decompress(content)[:-1]), "expected 31,376 bytes"),
        (lambda content: gzip.compress(gzip.decompress(content) + b"x"), "got more"),
        (lambda content: content[:-20], "can't be read"),
        (lambda content: b"", "the file is empty"),
        (lambda content: b"<html>", "the file is a web page"),
        (lambda content: gzip.compress(b"<html>hello"), "the file is a web page"),
    ],
    ids=["one bit", "short", "long", "cut", "empty", "not gzip", "web page"],
)
def test_a_damaged_file_in_dataset_path_is_an_error_and_is_not_changed(damage, error_text, tiny_mnist):
    path = tiny_mnist / IMAGES
    path.write_bytes(damage(path.read_bytes()))
    before = path.read_bytes()
    with pytest.raises(DatasetError) as caught:
        Mnist(path=str(tiny_mnist)).load(progress=False)
    assert error_text in str(caught.value)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"x_train": np.zeros((40, 28, 28), np.float32)},
            r"expected x_train as uint8 \(40, 28, 28\), got float32",
        ),
        ({"x_train": np.zeros((3, 28, 28), np.uint8)}, r"got uint8 \(3, 28, 28\)"),
        ({"y_train": np.array([{}] * 40, dtype=object)}, "got Python objects, which are never unpickled"),
        ({"y_train": np.zeros(40, np.uint8)}, "sha256"),
    ],
    ids=["dtype", "shape", "pickled objects", "content"],
)
def test_an_invalid_npz_is_an_error_and_nothing_is_unpickled(change, message, tiny_mnist, tmp_path):
    arrays = dict(np.load(tmp_path / "mnist.npz"))
    np.savez(tmp_path / "wrong.npz", **(arrays | change))
    with pytest.raises(DatasetError, match=message):
        Mnist(path=str(tmp_path / "wrong.npz")).load(progress=False)


def test_an_npz_without_a_required_array_is_an_error(tiny_mnist, tmp_path):
    np.savez(tmp_path / "wrong.npz", x_train=np.zeros(3))
    with pytest.raises(DatasetError, match="wrong.npz"):
        Mnist(path=str(tmp_path / "wrong.npz")).load(progress=False)
    (tmp_path / "text.npz").write_text("no zip")
    with pytest.raises(DatasetError, match="expected an npz file"):
        Mnist(path=str(tmp_path / "text.npz")).load(progress=False)


def test_a_folder_without_all_mnist_files_is_an_error(tmp_path, tiny_mnist):
    with pytest.raises(DatasetError, match=r"dataset\.path: expected .* it does not exist"):
        Mnist(path=str(tmp_path / "nowhere")).load(progress=False)
    with pytest.raises(DatasetError, match="the files are missing"):
        Mnist(path=str(tmp_path / "work")).load(progress=False)
    (tiny_mnist / IMAGES).unlink()
    with pytest.raises(DatasetError, match="got 3; train-images-idx3-ubyte is missing"):
        Mnist(path=str(tiny_mnist)).load(progress=False)


@pytest.fixture(params=[FashionMnist, Kmnist])
def other_set(request, use_tiny_files_for):
    return use_tiny_files_for(request.param)


def test_other_published_sets_are_downloaded_and_verified_like_mnist(other_set, mirror, tiny_mnist):
    config = other_set(mirrors=[mirror.url])
    dataset = config.load(progress=False)
    assert (_shape(dataset), dataset.name) == ((40, 20), other_set.registered_name)
    assert len(dataset.spec.class_names) == 10
    assert Path(dataset.source) == _cache().parent / other_set.registered_name
    assert config.load(progress=False).digest == dataset.digest
    assert len(mirror.requests) == 4
    (Path(dataset.source) / IMAGES).write_bytes(b"broken")
    assert config.load(progress=False).digest == dataset.digest
    assert mirror.requests[4:] == [IMAGES]


def test_other_published_sets_are_found_in_the_folders_of_keras_and_torchvision(
    other_set, tiny_mnist, tmp_path, monkeypatch
):
    for number, name in enumerate(other_set.folder_names):
        shutil.copytree(tiny_mnist, tmp_path / str(number) / name)
        monkeypatch.setenv("TRAINYARD_DATA_DIR", str(tmp_path / str(number)))
        assert other_set().load(progress=False).source == str(tmp_path / str(number) / name)


def test_mnist_files_are_not_accepted_as_another_data_set(mirror, tiny_mnist, monkeypatch):
    """The files of all these data sets have the same names."""
    monkeypatch.setenv("TRAINYARD_DATA_DIR", str(tiny_mnist))
    assert Mnist().load(progress=False).source == str(tiny_mnist)
    with pytest.raises(DatasetError, match=r"Fashion-MNIST is not on this machine, .*could not be downloaded"):
        FashionMnist(mirrors=[mirror.url]).load(progress=False)
    with pytest.raises(
        DatasetError, match=r"expected train-images-idx3-ubyte\.gz with md5 8d4fb7e6c68d591d4c3dfef9ec88bf0d"
    ):
        FashionMnist(path=str(tiny_mnist)).load(progress=False)


def test_a_file_without_a_published_digest_is_rejected(other_set, tiny_mnist):
    (tiny_mnist / IMAGES).rename(tiny_mnist / "x.gz")
    (tiny_mnist / IMAGES.removesuffix(".gz")).write_bytes(gzip.decompress((tiny_mnist / "x.gz").read_bytes()))
    with pytest.raises(DatasetError, match="the uncompressed file has no published digest"):
        other_set(path=str(tiny_mnist)).load(progress=False)
