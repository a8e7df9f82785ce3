from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from trainyard import load_predictor, run_experiment
from trainyard.cli import app
from trainyard.data.dataset import DataSpec
from trainyard.data.preprocessing import Background, Preprocessing, read_preprocessing
from trainyard.errors import ConfigError, DatasetError, ModelError, TrackingError
from trainyard.serving.image_inputs import Treatment, read_image_file


@pytest.fixture(scope="module")
def trained(keras, tmp_path_factory):
    """A run on digits; its store lies in a folder of its own, with npz files and pictures of its test images."""
    from trainyard.config.compose import compose_config

    place = tmp_path_factory.mktemp("trained")
    small = ["dataset.limit=300", "model.hidden_units=[16]", "training.epochs=4", "name=tiny"]
    store = f"tracking.uri='sqlite:///{place}/mlflow.db'"
    result = run_experiment(compose_config([*small, store, "tracking.model=false"]), folder=place / "run")
    test = result.dataset.test
    np.savez(place / "test.npz", x_test=test.images, y_test=test.labels)
    Image.fromarray(_as_drawn(test.images[0])).save(place / "first.png")
    return result


def _as_drawn(pixels):
    """Digits have 17 shades; a picture has 256."""
    return (pixels * 15.9375).astype(np.uint8)


def _predict(*arguments, code=0):
    done = CliRunner().invoke(app, ["predict", *map(str, arguments)], env={"COLUMNS": "400"})
    assert done.exit_code == code, done.output
    return done


def _saved(keras, layers, name="model.keras"):
    keras.Sequential(layers).save(name)
    return name


# ------------------------------------------------------------------------------------------------------------
# The model


@pytest.mark.slow
@pytest.mark.parametrize("reference", ["id", "folder", "model.keras", "model.h5"])
def test_every_way_to_name_a_model_predicts_as_the_run_did(trained, reference):
    named = {"id": trained.run_id, "folder": trained.folder}
    predictor = load_predictor(named.get(reference, trained.folder / reference), trained.tracking_uri)
    probabilities = predictor.predict(trained.dataset.test.images)
    assert probabilities.dtype == np.float32
    with np.load(trained.folder / "evaluation" / "test_predictions.npz") as before:
        assert np.array_equal(probabilities.argmax(axis=1), before["predicted"])
        assert np.allclose(probabilities.max(axis=1), before["probability"], atol=1e-5)


@pytest.mark.slow
def test_a_run_whose_folder_is_gone_is_downloaded_from_the_store_once(keras, tiny):
    result = run_experiment(tiny("training.epochs=1", "tracking.model=false"))
    expected = load_predictor(result.folder).predict(result.dataset.test.images)
    shutil.rmtree(result.folder)
    downloaded = load_predictor(result.run_id)
    assert downloaded.preprocessing.spec == result.dataset.spec
    assert np.array_equal(downloaded.predict(result.dataset.test.images), expected)
    shutil.rmtree("mlartifacts")
    assert load_predictor(result.run_id).file == downloaded.file
    shutil.rmtree(downloaded.file.parent)
    with pytest.raises(TrackingError, match=rf"has no preprocessing\.json of the run {result.run_id}"):
        load_predictor(result.run_id)


def test_a_model_that_is_not_there_is_told_and_nothing_is_created():
    for reference, message in (
        ("nowhere.h5", r"MODEL: expected a model file, and there is none: nowhere\.h5"),
        (
            "outputs/gone",
            r"MODEL: expected a run's id, its folder, or a model file .*, and there is no 'outputs/gone'$",
        ),
        ("0123", r"there is no folder '0123', and no store .*mlflow\.db that could know a run of this id"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_predictor(reference)
    with pytest.raises(ConfigError, match=r"--uri: expected http://"):
        load_predictor("0123", "ftp://nowhere")
    assert not list(Path.cwd().iterdir())
    Path("empty").mkdir()
    with pytest.raises(ConfigError, match=r"MODEL: the run empty left no model\.keras"):
        load_predictor("empty")


def test_an_id_that_the_store_does_not_know_is_told(trained):
    with pytest.raises(ConfigError, match=r"MODEL: sqlite:.* has no run 'abc'"):
        load_predictor("abc", trained.tracking_uri)


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_what_is_no_model_and_what_is_damaged_is_told(trained, name):
    Path(name).write_text("no")
    with pytest.raises(ModelError, match=rf"MODEL: .*{name} can't be loaded as a Keras model"):
        load_predictor(name)
    Path(name).write_bytes((trained.folder / name).read_bytes()[:5000])
    with pytest.raises(ModelError, match=rf"MODEL: .*{name} can't be loaded as a Keras model"):
        load_predictor(name)


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_a_model_with_one_flipped_bit_is_refused(trained, name):
    """Keras itself loads such an .h5 without a word."""
    folder = Path(shutil.copytree(trained.folder, "copy"))
    content = bytearray((folder / name).read_bytes())
    content[-2000] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=rf"MODEL: .*{name} can't be trusted: it was changed since it was saved"):
        load_predictor(folder / name)
    checked = subprocess.run(["sha256sum", "-c", "checksums.txt"], cwd=folder, capture_output=True, check=False)
    assert checked.stdout.decode().count("OK") == 1


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_code_in_a_model_is_never_run(keras, name):
    layers = keras.layers
    code = layers.Lambda(lambda x: x * 2, output_shape=(8, 8))
    _saved(keras, [layers.Input((8, 8)), code, layers.Flatten(), layers.Dense(3, "softmax")], name)
    with pytest.raises(ModelError, match=r"it holds Python code \(a Lambda layer\), which is never run"):
        load_predictor(name)


def test_a_model_that_is_no_classifier_of_images_is_told(keras):
    layers = keras.layers
    for stack, message in (
        ([layers.Input((8,)), layers.Dense(3, "softmax")], r"takes images of one size, .* got \(n, 8\)"),
        ([layers.Input((None, 8, 1)), layers.GlobalMaxPool2D(), layers.Dense(3)], r"got \(n, any, 8, 1\)"),
        ([layers.Input((8, 8)), layers.Dense(3)], r"expected an output \(n, classes\) .*, got \(n, 8, 3\)"),
        ([layers.Input((8, 8)), layers.Flatten(), layers.Dense(1, "sigmoid")], r"two classes or more, got \(n, 1\)"),
    ):
        with pytest.raises(ModelError, match=message):
            load_predictor(_saved(keras, stack))
    inputs = [layers.Input((8, 8)), layers.Input((8, 8))]
    output = layers.Dense(3, "softmax")(layers.Flatten()(layers.Add()(inputs)))
    keras.Model(inputs, output).save("two.keras")
    with pytest.raises(ModelError, match=r"two\.keras: expected a model with one input, images, got 2"):
        load_predictor("two.keras")
    logits = load_predictor(_saved(keras, [layers.Input((8, 8)), layers.Flatten(), layers.Dense(3)]))
    with pytest.raises(ModelError, match=r"expected probabilities, .* End the model on a softmax"):
        logits.predict(np.full((1, 8, 8), 200, np.uint8))


def test_a_model_without_preprocessing_is_taken_by_its_shape_and_that_is_said(keras, trained):
    layers = keras.layers
    name = _saved(keras, [layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(3, "softmax")])
    predictor = load_predictor(name)
    assert predictor.preprocessing == Preprocessing(DataSpec((8, 8, 1), ("0", "1", "2"), 255))
    done = _predict(name, trained.folder.parent / "first.png", "--json")
    assert done.stderr == (
        "note no preprocessing.json beside model.keras: taking images of 8 x 8 x 1 as the model does, pixels divided by "
        "255, and 0 to 2 as the names of the classes\n"
    )
    image = np.asarray(Image.open(trained.folder.parent / "first.png")).reshape(1, 8, 8, 1)
    expected = predictor.model.predict_on_batch(image / np.float32(255))[0]
    assert [*json.loads(done.stdout)[0]["probabilities"].values()] == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ["a", "b"]}, r"expected classes 2, as preprocessing\.json beside it says, .* has 10"),
        ({"image_shape": [9, 8]}, r"expected images \(9, 8\), as preprocessing\.json beside it says, .* has \(8, 8\)"),
        ({"image_shape": [8]}, r"preprocessing\.json: image_shape: expected height, width"),
        ({"class_names": ["a", "a"]}, r"preprocessing\.json: class_names: expected two or more names that differ"),
        ({"pixel_max": 0}, r"preprocessing\.json: pixel_max: expected 1 to 255, got 0"),
        ({"mean": [0.1, 0.2]}, r"preprocessing\.json: mean: expected 1 numbers, one per channel"),
        ({"mean": [0.1], "std": [0]}, r"preprocessing\.json: std: expected as many numbers as mean"),
        ({"background": {"low": 1}}, r"preprocessing\.json: expected what preprocessing\.json of a run holds"),
        ({"pixel_max": None}, r"preprocessing\.json: expected what preprocessing\.json of a run holds"),
    ],
)
def test_a_preprocessing_that_contradicts_the_model_or_itself_is_told(trained, changes, message):
    shutil.copy(trained.folder / "model.keras", "model.keras")
    content = json.loads((trained.folder / "preprocessing.json").read_text())
    Path("preprocessing.json").write_text(json.dumps(content | changes))
    with pytest.raises(ModelError, match=message):
        load_predictor("model.keras")


def test_images_are_checked_in_python_too(trained):
    predictor = load_predictor(trained.folder)
    for images, message in (
        (np.zeros((2, 8, 8)), r"images: expected uint8 \(n, 8, 8\), got float64 \(2, 8, 8\)"),
        (np.zeros((8, 8), np.uint8), r"got uint8 \(8, 8\)"),
        (np.full((1, 8, 8), 17, np.uint8), r"expected pixels from 0 to 16, got 17"),
    ):
        with pytest.raises(DatasetError, match=message):
            predictor.predict(images)


# ------------------------------------------------------------------------------------------------------------
# The images

GREY = Preprocessing(DataSpec((8, 6), ("a", "b"), 255), Background(0.0, 0.0, 0.1))
COLOUR = Preprocessing(DataSpec((8, 6, 3), ("a", "b"), 255))


def _read(path, known=GREY, **treatment):
    return read_image_file(Path(path), known, Treatment(**treatment))


def test_a_picture_of_another_size_is_refused_unless_it_is_to_be_resized():
    Image.new("L", (30, 32)).save("big.png")
    with pytest.raises(DatasetError, match=r"big\.png: .*expected 8x6, got 32x30\. Resize it: --resize"):
        _read("big.png")
    assert _read("big.png", resize=True).images.shape == (1, 8, 6)
    np.savez("big.npz", images=np.zeros((2, 32, 30), np.uint8))
    with pytest.raises(DatasetError, match=r"big\.npz: .*expected 8x6, got 32x30\. Resize it: --resize"):
        _read("big.npz")
    assert _read("big.npz", resize=True).images.shape == (2, 8, 6)


def test_colour_is_made_grey_and_the_other_way_round():
    red = np.zeros((3, 8, 6, 3), np.uint8)
    red[..., 0] = 200
    Image.fromarray(red[0]).save("red.png")
    np.savez("red.npz", red)
    Image.fromarray(np.full((8, 6), 70, np.uint8)).save("grey.png")
    np.savez("grey.npz", np.full((3, 8, 6, 1), 70, np.uint8))
    for file in ("red.png", "red.npz"):
        assert (_read(file).images == 60).all()
        assert np.array_equal(_read(file, COLOUR).images[0], red[0])
    for file in ("grey.png", "grey.npz"):
        assert (_read(file, COLOUR).images == 70).all()
        assert _read(file, COLOUR).images.shape[1:] == (8, 6, 3)


def test_pixels_of_a_picture_are_brought_to_the_range_of_the_training_images(trained):
    known = read_preprocessing(trained.folder / "preprocessing.json")
    read = _read(trained.folder.parent / "first.png", known)
    assert np.array_equal(read.images[0], trained.dataset.test.images[0])


def test_arrays_are_found_with_their_labels():
    x, y = np.zeros((2, 8, 6), np.uint8), np.array([1, 0])
    for arrays, labels in (
        ({"images": x, "labels": y}, [1, 0]),
        ({"x_test": x, "y_test": y, "x_train": x[:1], "y_train": y[:1]}, [1, 0]),
        ({"x_test": x, "y_test": y, "labels": y[:1]}, [1, 0]),
        ({"images": x, "y_test": y}, [1, 0]),
        ({"images": x, "x_test": x, "y_test": y}, None),  # whose labels these are is not known
        ({"whatever": x, "weights": np.zeros((2, 8, 6))}, None),
    ):
        np.savez("x.npz", **arrays)
        found = _read("x.npz")
        assert found.images.shape == (2, 8, 6)
        assert (None if found.labels is None else found.labels.tolist()) == labels


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros((2, 8, 6), int), "b": np.zeros((2, 8, 6), int)}, r"expected an array images or x_test, .*got a int64"),
        ({"labels": np.zeros(3, int)}, r"expected an array images or x_test, .*got labels int64 \(3,\)"),
        ({"images": np.zeros((2, 8, 6))}, r"images: expected whole numbers from 0 to 255.*got float64"),
        ({"images": np.array([object()])}, r"Python objects, which are never unpickled"),
        ({"images": np.full((2, 8, 6), 256)}, r"got values from 256 to 256"),
        ({"images": np.zeros((2, 8, 6, 2), int)}, r"expected images 8 x 6, got 8 x 6 x 2"),
        ({"images": np.zeros((2, 8, 6), int), "labels": np.zeros(3, int)}, r"got 2 in images and 3 in labels"),
        ({"images": np.zeros((2, 8, 6), int), "labels": np.array([0, 2])}, r"expected labels below 2, .*got 2"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_npz_is_told(arrays, message):
    np.savez("x.npz", **arrays)
    with pytest.raises(DatasetError, match=message):
        _read("x.npz")


def test_what_can_not_be_read_is_told():
    Path("folder").mkdir()
    for name in ("bad.png", "bad.npz", "notes.txt"):
        Path(name).write_text("no")
    for name, message in (
        ("nowhere.png", r"nowhere\.png: expected a PNG, JPEG or npz file, got nothing there"),
        ("folder", r"folder: .*got a folder\. Name the files in it"),
        ("notes.txt", r"notes\.txt: expected a PNG, JPEG or npz file, by its suffix, got \.txt"),
        ("bad.png", r"bad\.png: expected a PNG or JPEG picture; it can't be read"),
        ("bad.npz", r"bad\.npz: expected an npz file; it can't be read"),
    ):
        with pytest.raises(DatasetError, match=message):
            _read(name)


# ------------------------------------------------------------------------------------------------------------
# Dark on light, light on dark


def test_a_run_records_the_background_of_its_training_images(trained):
    known = read_preprocessing(trained.folder / "preprocessing.json")
    assert known.spec == trained.dataset.spec
    assert known.background == Background(0.0, 0.0, 0.0)
    content = json.loads((trained.folder / "preprocessing.json").read_text())
    del content["background"]
    Path("old.json").write_text(json.dumps(content))
    assert read_preprocessing(Path("old.json")) == Preprocessing(trained.dataset.spec, None)


def test_ink_on_paper_is_refused_by_a_model_of_chalk_on_a_blackboard():
    ink = np.full((8, 6), 240, np.uint8)
    ink[2:6, 2:4] = 10
    Image.fromarray(ink).save("ink.png")
    Image.fromarray(255 - ink).save("chalk.png")
    with pytest.raises(
        DatasetError,
        match=r"ink\.png: expected a dark background, .*\(0\.00, .*got a light one \(0\.94\)\. Invert it: --invert, .*--as-is",
    ):
        _read("ink.png")
    assert np.array_equal(_read("ink.png", invert=True).images[0], 255 - ink)
    assert np.array_equal(_read("ink.png", as_is=True).images[0], ink)
    assert np.array_equal(_read("chalk.png").images[0], 255 - ink)
    with pytest.raises(DatasetError, match=r"chalk\.png: .*\(0\.94, inverted\)\. Leave --invert out"):
        _read("chalk.png", invert=True)
    blackboard = Preprocessing(GREY.spec, Background(0.9, 1.0, 1.0))
    with pytest.raises(DatasetError, match=r"chalk\.png: expected a light background, .*got a dark one"):
        _read("chalk.png", blackboard)


def test_nothing_is_said_of_backgrounds_where_those_of_training_differ():
    Image.new("L", (6, 8), 255).save("white.png")
    Image.new("L", (6, 8), 128).save("grey.png")
    for background in (None, Background(0.0, 0.1, 0.9), Background(0.3, 0.5, 0.6)):
        assert _read("white.png", Preprocessing(GREY.spec, background)).images.max() == 255
    assert _read("grey.png").images.max() == 128


def test_an_array_is_judged_by_its_middle_image():
    images = np.zeros((5, 8, 6), np.uint8)
    images[:2] = 255
    np.savez("mixed.npz", images=images)
    assert len(_read("mixed.npz").images) == 5
    np.savez("mixed.npz", images=255 - images)
    with pytest.raises(DatasetError, match=r"expected a dark background"):
        _read("mixed.npz")


# ------------------------------------------------------------------------------------------------------------
# The command


def test_the_table_has_a_row_per_image_and_ends_on_the_accuracy(trained):
    done = _predict(trained.folder, trained.folder.parent / "test.npz", trained.folder.parent / "first.png", "--top", 2)
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert lines[0].split() == ["image", "predicted", "probability", "runners-up", "actual"]
    assert len(lines) == 1 + len(trained.dataset.test) + 1 + 2
    assert lines[-1] == f"accuracy  {trained.evaluation.accuracy:.4f} on 300 labelled images"
    assert (
        sum(line.endswith(", so wrong") for line in lines)
        == (trained.evaluation.predicted != trained.evaluation.actual).sum()
    )
    first = trained.evaluation.probabilities[0]
    assert lines[1].split()[:3] == [str(trained.folder.parent / "test.npz"), "[0]", str(first.argmax())]
    assert lines[1].count("%") == 2
    assert done.stderr == ""


def test_the_table_of_one_class_has_no_runners_up(trained):
    done = _predict(trained.folder, trained.folder.parent / "first.png", "--top", 1)
    assert done.stdout.split()[:3] == ["image", "predicted", "probability"]
    assert done.stdout.count("%") == 1


@pytest.mark.pictures
def test_a_picture_is_drawn_and_what_it_leaves_out_is_said(trained):
    done = _predict(trained.folder, trained.folder.parent / "test.npz", "--json", "--plot", "x.png")
    assert done.stderr == "note x.png shows the first 24 of 300 images\n"
    assert len(json.loads(done.stdout)) == 300
    with Image.open("x.png") as picture:
        assert picture.height > picture.width
    done = _predict(trained.folder, trained.folder.parent / "first.png", "--plot", "one.png")
    assert done.stderr == "note one.png shows all images\n"
    with Image.open("one.png") as one, Image.open("x.png") as many:
        assert one.width < many.width / 2


def test_wrong_usage_ends_with_2_and_an_unreadable_image_with_1(trained):
    picture = trained.folder.parent / "first.png"
    assert "--plot: expected a file that ends in .png" in _predict("m", picture, "--plot", "x.pdf", code=2).stderr
    assert "MODEL: " in _predict("nowhere.h5", picture, code=2).stderr
    _predict(trained.folder, code=2)
    assert "got nothing there" in _predict(trained.folder, "nowhere.png", code=1).stderr
    Image.new("L", (8, 8), 255).save("white.png")
    done = _predict(trained.folder, "white.png", "--json", code=1)
    assert (done.stdout, "--invert" in done.stderr) == ("", True)


@pytest.mark.slow
def test_only_json_reaches_the_screen(trained):
    program = "from trainyard.cli import main; main()"
    paths = [str(trained.folder.parent / name) for name in ("first.png", "test.npz")]
    command = [sys.executable, "-c", program, "predict", str(trained.folder), *paths, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert told[0] | {"probabilities": 0, "probability": 0} == {
        "file": paths[0],
        "index": None,
        "predicted": str(trained.evaluation.predicted[0]),
        "probability": 0,
        "probabilities": 0,
    }
    assert [row["index"] for row in told[1:]] == list(range(300))
    assert [int(row["predicted"]) for row in told[1:]] == trained.evaluation.predicted.tolist()
    assert [int(row["actual"]) for row in told[1:]] == trained.evaluation.actual.tolist()
    assert sum(told[5]["probabilities"].values()) == pytest.approx(1, abs=1e-4)


def test_images_are_read_before_tensorflow_is_imported(trained):
    program = (
        "import sys\nfrom trainyard.cli import main\n"
        f"sys.argv = ['trainyard', 'predict', {str(trained.folder)!r}, 'nowhere.png']\n"
        "try:\n    main()\nexcept SystemExit as end:\n"
        "    print(end.code, [name for name in ('tensorflow', 'mlflow', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "1 []\n"
