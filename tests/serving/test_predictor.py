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
from trainyard.cli.commands import app
from trainyard.data.dataset import DataSpec
from trainyard.data.preprocessing import Background, Preprocessing, load_preprocessing
from trainyard.errors import ConfigError, DatasetError, ModelError, TrackingError
from trainyard.serving.image_inputs import ImageConversion, list_image_files, load_image_inputs


def _predict(*arguments, code=0):
    """Runs `trainyard predict`; returns the result, after a check of the exit code."""
    result = CliRunner().invoke(app, ["predict", *map(str, arguments)], env={"COLUMNS": "400"})
    assert result.exit_code == code, result.output
    return result


def _save(keras, layers, name="model.keras"):
    """Saves a Sequential model, and returns the name of the file."""
    keras.Sequential(layers).save(name)
    return name


# ------------------------------------------------------------------------------------------------------------
# The model


@pytest.mark.slow
@pytest.mark.parametrize("reference", ["id", "folder", "model.keras", "model.h5"])
def test_each_kind_of_reference_to_a_model_predicts_as_the_run_did(trained, reference):
    references = {"id": trained.run_id, "folder": trained.folder}
    predictor = load_predictor(references.get(reference, trained.folder / reference), trained.tracking_uri)
    probabilities = predictor.predict(trained.dataset.test.images)
    assert probabilities.dtype == np.float32
    with np.load(trained.folder / "evaluation" / "test_predictions.npz") as saved:
        assert np.array_equal(probabilities.argmax(axis=1), saved["predicted"])
        assert np.allclose(probabilities.max(axis=1), saved["probability"], atol=1e-5)


@pytest.mark.slow
def test_a_run_without_its_folder_is_downloaded_from_the_store_once(keras, tiny):
    result = run_experiment(tiny("training.epochs=1", "tracking.model=false"))
    expected = load_predictor(result.folder).predict(result.dataset.test.images)
    shutil.rmtree(result.folder)
    downloaded = load_predictor(result.run_id)
    assert downloaded.preprocessing.spec == result.dataset.spec
    assert np.array_equal(downloaded.predict(result.dataset.test.images), expected)
    shutil.rmtree("mlartifacts")
    assert load_predictor(result.run_id).file == downloaded.file
    shutil.rmtree(downloaded.file.parent)
    with pytest.raises(
        TrackingError, match=rf"the run {result.run_id} in the tracking store .* has no artifact preprocessing\.json"
    ):
        load_predictor(result.run_id)


def test_a_model_that_does_not_exist_is_an_error_and_nothing_is_created():
    for reference, message in (
        ("nowhere.h5", r"MODEL: expected a model file, got nowhere\.h5, which does not exist"),
        (
            "outputs/gone",
            r"MODEL: expected a run id, a run folder or a model file .*, got 'outputs/gone', which does not exist$",
        ),
        ("0123", r"got '0123'\. There is no such folder, and no tracking store .*mlflow\.db with a run of this id"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_predictor(reference)
    with pytest.raises(ConfigError, match=r"--uri: expected http://"):
        load_predictor("0123", "ftp://nowhere")
    with pytest.raises(ConfigError, match=r"--uri: expected http://"):
        load_predictor("nowhere.h5", "ftp://nowhere")
    assert not list(Path.cwd().iterdir())
    Path("empty").mkdir()
    with pytest.raises(
        ConfigError, match=r"MODEL: expected a run with a trained model, but .*model\.keras does not exist"
    ):
        load_predictor("empty")


def test_a_run_id_that_is_not_in_the_store_is_an_error(trained):
    with pytest.raises(ConfigError, match=r"MODEL: sqlite:.* has no run 'abc'"):
        load_predictor("abc", trained.tracking_uri)


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_a_file_that_is_not_a_model_or_is_truncated_is_rejected(trained, name):
    Path(name).write_text("no")
    with pytest.raises(ModelError, match=rf"MODEL: .*{name} can't be loaded as a Keras model"):
        load_predictor(name)
    Path(name).write_bytes((trained.folder / name).read_bytes()[:5000])
    with pytest.raises(ModelError, match=rf"MODEL: .*{name} can't be loaded as a Keras model"):
        load_predictor(name)


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_a_model_with_one_flipped_bit_is_rejected(trained, name):
    """Keras itself loads such an .h5 file without an error."""
    folder = Path(shutil.copytree(trained.folder, "copy"))
    content = bytearray((folder / name).read_bytes())
    content[-2000] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=rf"MODEL: .*{name} is damaged: the file was changed after it was saved"):
        load_predictor(folder / name)
    checksums = subprocess.run(["sha256sum", "-c", "checksums.txt"], cwd=folder, capture_output=True, check=False)
    assert checksums.stdout.decode().count("OK") == 1


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_code_in_a_model_is_never_executed(keras, name):
    layers = keras.layers
    lambda_layer = layers.Lambda(lambda x: x * 2, output_shape=(8, 8))
    _save(keras, [layers.Input((8, 8)), lambda_layer, layers.Flatten(), layers.Dense(3, "softmax")], name)
    with pytest.raises(ModelError, match=r"it contains Python code \(a Lambda layer\), which is never executed"):
        load_predictor(name)


def test_a_model_that_is_not_an_image_classifier_is_rejected(keras):
    layers = keras.layers
    for stack, message in (
        ([layers.Input((8,)), layers.Dense(3, "softmax")], r"an input of images of one size, .* got \(n, 8\)"),
        ([layers.Input((None, 8, 1)), layers.GlobalMaxPool2D(), layers.Dense(3)], r"got \(n, any, 8, 1\)"),
        ([layers.Input((8, 8)), layers.Dense(3)], r"expected an output \(n, classes\), .*, got \(n, 8, 3\)"),
    ):
        with pytest.raises(ModelError, match=message):
            load_predictor(_save(keras, stack))
    inputs = [layers.Input((8, 8)), layers.Input((8, 8))]
    output = layers.Dense(3, "softmax")(layers.Flatten()(layers.Add()(inputs)))
    keras.Model(inputs, output).save("two.keras")
    with pytest.raises(ModelError, match=r"two\.keras: expected a model with one input \(images\), got 2"):
        load_predictor("two.keras")
    logits = load_predictor(_save(keras, [layers.Input((8, 8)), layers.Flatten(), layers.Dense(3)]))
    with pytest.raises(ModelError, match=r"expected probabilities, .* Add a softmax as the last layer"):
        logits.predict(np.full((1, 8, 8), 200, np.uint8))


def test_without_preprocessing_json_the_spec_is_derived_from_the_model_and_a_note_is_printed(keras, trained):
    layers = keras.layers
    name = _save(keras, [layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(3, "softmax")])
    predictor = load_predictor(name)
    assert predictor.preprocessing == Preprocessing(DataSpec((8, 8, 1), ("0", "1", "2"), 255))
    result = _predict(name, trained.folder.parent / "first.png", "--json")
    assert result.stderr == (
        "note no preprocessing.json next to model.keras: assuming images of 8 x 8 x 1, pixels divided by 255 "
        "(no layer scales them), and the class names 0 to 2\n"
    )
    image = np.asarray(Image.open(trained.folder.parent / "first.png")).reshape(1, 8, 8, 1)
    expected = predictor.model.predict_on_batch(image / np.float32(255))[0]
    assert [*json.loads(result.stdout)[0]["probabilities"].values()] == pytest.approx(expected.tolist(), abs=1e-5)


def _scaled(keras, *kinds):
    """Returns layers that scale pixels, then a layer with weights, in a model of images with three channels."""
    layers = keras.layers
    built = {
        "1/255": lambda: layers.Rescaling(1 / 255),
        "1/127.5": lambda: layers.Rescaling(1 / 127.5, offset=-1),
        "times 2": lambda: layers.Rescaling(2.0, offset=-1),
        "raw mean": lambda: layers.Normalization(mean=[123.7, 116.3, 103.5], variance=[3400.0, 3200.0, 3300.0]),
        "unit mean": lambda: layers.Normalization(mean=[0.49, 0.46, 0.41], variance=[0.05, 0.05, 0.05]),
        "flip": layers.RandomFlip,
        "convolution": lambda: layers.Conv2D(2, 3),
        "nested": lambda: keras.Sequential([layers.Input((8, 8, 3)), layers.Rescaling(1 / 255)]),
    }
    return [built[kind]() for kind in kinds]


@pytest.mark.parametrize(
    ("kinds", "pixels"),
    [
        ([], "0..1"),
        (["1/255"], "0..255"),
        (["flip", "1/127.5"], "0..255"),
        (["1/255", "unit mean"], "0..255"),
        (["nested"], "0..255"),
        (["raw mean"], "0..255"),
        (["unit mean"], "0..1"),
        (["times 2"], "0..1"),
        (["convolution", "1/255"], "0..1"),
    ],
    ids="+".join,
)
def test_a_model_that_scales_pixels_itself_gets_raw_pixels(keras, kinds, pixels):
    layers = keras.layers
    stack = [layers.Input((8, 8, 3)), *_scaled(keras, *kinds), layers.Flatten(), layers.Dense(3, "softmax")]
    predictor = load_predictor(_save(keras, stack))
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    for stated in (None, "0..1", "0..255"):
        stating = load_predictor("model.keras", pixels=stated)
        assert stating.assumption.pixels == (stated or pixels)
        expected = predictor.model.predict_on_batch(images / np.float32(1 if (stated or pixels) == "0..255" else 255))
        assert np.array_equal(stating.predict(images), expected)
        assert ("--pixels" in stating.describe_assumptions()) == (stated is not None)
    assert "no preprocessing.json next to model.keras: assuming" in predictor.describe_assumptions()


def test_the_option_pixels_is_checked(keras, trained):
    with pytest.raises(ConfigError, match=r"--pixels: expected 0\.\.1 or 0\.\.255, got '0\.\.16'"):
        load_predictor(_save(keras, [keras.layers.Input((8, 8)), keras.layers.Flatten()]), pixels="0..16")
    with pytest.raises(ConfigError, match=r"--pixels: expected a model without preprocessing\.json"):
        load_predictor(trained.folder, pixels="0..1")
    image = trained.folder.parent / "first.png"
    assert "--pixels: expected a model without" in _predict(trained.folder, image, "--pixels", "0..1", code=2).stderr


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".hdf5"])
def test_one_output_is_the_probability_of_the_second_class(keras, suffix):
    layers = keras.layers
    stack = [layers.Input((8, 8)), layers.Flatten(), layers.Dense(1, "sigmoid", kernel_initializer="zeros")]
    _save(keras, stack, "model.h5")
    Path("model.h5").rename("model.hdf5") if suffix == ".hdf5" else _save(keras, stack, f"model{suffix}")
    predictor = load_predictor(f"model{suffix}")
    assert predictor.class_names == ("0", "1")
    bias = predictor.model.layers[-1].bias
    for value, label in ((-1.0, 0), (0.0, 0), (1.0, 1)):
        bias.assign([value])
        (probabilities,) = predictor.predict(np.zeros((1, 8, 8), np.uint8))
        assert probabilities == pytest.approx([1 - 1 / (1 + np.exp(-value)), 1 / (1 + np.exp(-value))])
        assert probabilities.argmax() == label
    assert "the probability of class 1" in predictor.describe_assumptions()


def test_one_output_without_a_sigmoid_is_rejected(keras):
    layers = keras.layers
    stack = [layers.Input((8, 8)), layers.Flatten(), layers.Dense(1, bias_initializer=keras.initializers.Constant(3))]
    with pytest.raises(ModelError, match="or a sigmoid if there is one output"):
        load_predictor(_save(keras, stack)).predict(np.zeros((1, 8, 8), np.uint8))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ["a", "b"]}, r"number of classes: expected 2, according to preprocessing\.json .*, got 10"),
        ({"image_shape": [9, 8]}, r"image shape: expected \(9, 8\), according to preprocessing\.json .*, got \(8, 8\)"),
        ({"image_shape": [8]}, r"preprocessing\.json: image_shape: expected \[height, width\]"),
        ({"class_names": ["a", "a"]}, r"preprocessing\.json: class_names: expected two or more different names"),
        ({"pixel_max": 0}, r"preprocessing\.json: pixel_max: expected 1 to 255, got 0"),
        ({"mean": [0.1, 0.2]}, r"preprocessing\.json: mean: expected 1 numbers, one per channel"),
        ({"mean": [0.1], "std": [0]}, r"preprocessing\.json: std: expected one number per number of mean"),
        ({"background": {"low": 1}}, r"preprocessing\.json: expected the preprocessing\.json of a run"),
        ({"pixel_max": None}, r"preprocessing\.json: expected the preprocessing\.json of a run"),
    ],
)
def test_invalid_preprocessing_and_preprocessing_of_another_model_are_rejected(trained, changes, message):
    shutil.copy(trained.folder / "model.keras", "model.keras")
    content = json.loads((trained.folder / "preprocessing.json").read_text())
    Path("preprocessing.json").write_text(json.dumps(content | changes))
    with pytest.raises(ModelError, match=message):
        load_predictor("model.keras")


def test_predict_checks_dtype_shape_and_range_of_images(trained):
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

GRAYSCALE = Preprocessing(DataSpec((8, 6), ("a", "b"), 255), Background(0.0, 0.0, 0.1))
COLOUR = Preprocessing(DataSpec((8, 6, 3), ("a", "b"), 255))


def _load(path, preprocessing=GRAYSCALE, **conversion):
    return load_image_inputs(Path(path), preprocessing, ImageConversion(**conversion))


def test_images_of_another_size_are_rejected_without_resize():
    Image.new("L", (30, 32)).save("big.png")
    with pytest.raises(DatasetError, match=r"big\.png: .*expected 8x6, got 32x30\. Resize it: --resize"):
        _load("big.png")
    assert _load("big.png", resize=True).images.shape == (1, 8, 6)
    np.savez("big.npz", images=np.zeros((2, 32, 30), np.uint8))
    with pytest.raises(DatasetError, match=r"big\.npz: .*expected 8x6, got 32x30\. Resize it: --resize"):
        _load("big.npz")
    assert _load("big.npz", resize=True).images.shape == (2, 8, 6)


def test_an_image_file_for_a_model_with_two_channels_is_rejected_with_a_hint():
    Image.new("RGB", (30, 32)).save("big.png")
    two_channels = Preprocessing(DataSpec((8, 6, 2), ("a", "b"), 255))
    with pytest.raises(DatasetError, match=r"expected images 8 x 6 x 2, got 32 x 30 x 3\. .* Use an npz file"):
        _load("big.png", two_channels)


def test_rgb_and_grayscale_images_are_converted_to_each_other():
    red = np.zeros((3, 8, 6, 3), np.uint8)
    red[..., 0] = 200
    Image.fromarray(red[0]).save("red.png")
    np.savez("red.npz", red)
    Image.fromarray(np.full((8, 6), 70, np.uint8)).save("grey.png")
    np.savez("grey.npz", np.full((3, 8, 6, 1), 70, np.uint8))
    for file in ("red.png", "red.npz"):
        assert (_load(file).images == 60).all()
        assert np.array_equal(_load(file, COLOUR).images[0], red[0])
    for file in ("grey.png", "grey.npz"):
        assert (_load(file, COLOUR).images == 70).all()
        assert _load(file, COLOUR).images.shape[1:] == (8, 6, 3)


def test_pixels_of_an_image_file_are_scaled_to_the_range_of_the_training_images(trained):
    preprocessing = load_preprocessing(trained.folder / "preprocessing.json")
    inputs = _load(trained.folder.parent / "first.png", preprocessing)
    assert np.array_equal(inputs.images[0], trained.dataset.test.images[0])


def test_images_and_labels_are_found_by_their_names():
    x, y = np.zeros((2, 8, 6), np.uint8), np.array([1, 0])
    for arrays, labels in (
        ({"images": x, "labels": y}, [1, 0]),
        ({"x_test": x, "y_test": y, "x_train": x[:1], "y_train": y[:1]}, [1, 0]),
        ({"x_test": x, "y_test": y, "labels": y[:1]}, [1, 0]),
        ({"images": x, "y_test": y}, [1, 0]),
        ({"images": x, "x_test": x, "y_test": y}, None),  # y_test belongs to x_test, which is not used
        ({"pixels": x, "weights": np.zeros((2, 8, 6))}, None),
        ({"x_test": x, "labels": y}, [1, 0]),
        ({"pixels": x, "labels": y}, [1, 0]),
        ({"X_test": x, "test_labels": y, "X_train": x[:1], "train_labels": y[:1]}, [1, 0]),
        ({"train_images": x[:1], "train_labels": y[:1], "val_images": x, "val_labels": y}, [1, 0]),
        ({"x": x, "y": y}, [1, 0]),
        ({"x_train": x, "y_train": y}, [1, 0]),
        ({"x_test": x, "x_train": x[:1], "y_train": y[:1]}, None),
        ({"arr_0": x, "arr_1": y}, [1, 0]),
        ({"arr_0": x[:1], "arr_1": y[:1], "arr_2": x, "arr_3": y}, [1, 0]),
    ):
        np.savez("x.npz", **arrays)
        inputs = _load("x.npz")
        assert inputs.images.shape == (2, 8, 6)
        assert (None if inputs.labels is None else inputs.labels.tolist()) == labels


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros((2, 8, 6), int), "b": np.zeros((2, 8, 6), int)}, r"expected an array images or x_test, .*got a int64"),
        ({"images": np.zeros((2, 8, 6), int), "data": np.zeros((2, 8, 6), int)}, r"expected an array images or x_test, .*got"),
        ({"labels": np.zeros(3, int)}, r"expected an array images or x_test, .*got labels int64 \(3,\)"),
        ({"images": np.full((2, 8, 6), -1.0)}, r"images: expected integers from 0 to 255 .*got float64 from -1 to -1"),
        ({"images": np.array([object()])}, r"Python objects, which are never unpickled"),
        ({"images": np.full((2, 8, 6), 256)}, r"got values from 256 to 256"),
        ({"images": np.zeros((2, 8, 6, 2), int)}, r"expected images 8 x 6, got 8 x 6 x 2"),
        ({"images": np.zeros((2, 8, 6), int), "labels": np.zeros(3, int)}, r"got 2 in images and 3 in labels"),
        ({"images": np.zeros((2, 8, 6), int), "labels": np.array([0, 2])}, r"labels: expected only the labels 0, 1, got 2"),
    ],
)  # fmt: skip
def test_invalid_npz_files_are_rejected(arrays, message):
    np.savez("x.npz", **arrays)
    with pytest.raises(DatasetError, match=message):
        _load("x.npz")


def test_paths_that_are_not_image_files_are_rejected():
    Path("folder").mkdir()
    for name in ("bad.png", "bad.npz", "notes.txt"):
        Path(name).write_text("no")
    for name, message in (
        ("nowhere.png", r"nowhere\.png: expected an image or npz file, .*, got a path that does not exist"),
        ("folder", r"folder: .*or a folder of image files, got a folder without image files"),
        ("notes.txt", r"notes\.txt: expected a file that ends in \.png, .* or \.npz, got \.txt"),
        ("bad.png", r"bad\.png: expected an image file .*got another kind of file"),
        ("bad.npz", r"bad\.npz: expected an npz file; it can't be read"),
    ):
        with pytest.raises(DatasetError, match=message):
            _load(name)


def test_a_folder_is_replaced_by_its_image_files_in_natural_order():
    for name in ("10.png", "2.JPG", "a1.jpeg", "b.txt", ".hidden.png", "data.npz", "sub/1.png"):
        path = Path("photos", name)
        path.parent.mkdir(exist_ok=True, parents=True)
        path.touch()
    Path("empty").mkdir()
    paths = list_image_files([Path("z.png"), Path("photos"), Path("empty"), Path("photos/10.png")])
    assert list(map(str, paths)) == [
        "z.png", "photos/2.JPG", "photos/10.png", "photos/a1.jpeg", "empty", "photos/10.png",
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------------------
# Dark images on a light background, light images on a dark background


def test_a_run_records_the_background_of_its_training_images(trained):
    preprocessing = load_preprocessing(trained.folder / "preprocessing.json")
    assert preprocessing.spec == trained.dataset.spec
    assert preprocessing.background == Background(0.0, 0.0, 0.0)
    content = json.loads((trained.folder / "preprocessing.json").read_text())
    del content["background"]
    Path("old.json").write_text(json.dumps(content))
    assert load_preprocessing(Path("old.json")) == Preprocessing(trained.dataset.spec, None)


def test_images_with_the_opposite_background_of_training_are_rejected():
    dark_on_light = np.full((8, 6), 240, np.uint8)
    dark_on_light[2:6, 2:4] = 10
    Image.fromarray(dark_on_light).save("dark_on_light.png")
    Image.fromarray(255 - dark_on_light).save("light_on_dark.png")
    with pytest.raises(
        DatasetError,
        match=r"dark_on_light\.png: expected a dark background, .*\(lightness 0\.00, .*got a light background \(lightness 0\.94\)\. Invert it: --invert, .*--as-is",
    ):
        _load("dark_on_light.png")
    assert np.array_equal(_load("dark_on_light.png", invert=True).images[0], 255 - dark_on_light)
    assert np.array_equal(_load("dark_on_light.png", as_is=True).images[0], dark_on_light)
    assert np.array_equal(_load("light_on_dark.png").images[0], 255 - dark_on_light)
    with pytest.raises(DatasetError, match=r"light_on_dark\.png: .*\(lightness 0\.94, inverted\)\. Omit --invert"):
        _load("light_on_dark.png", invert=True)
    light_background = Preprocessing(GRAYSCALE.spec, Background(0.9, 1.0, 1.0))
    with pytest.raises(DatasetError, match=r"light_on_dark\.png: expected a light background, .*got a dark background"):
        _load("light_on_dark.png", light_background)


def test_any_background_is_accepted_if_those_of_the_training_images_vary():
    Image.new("L", (6, 8), 255).save("white.png")
    Image.new("L", (6, 8), 128).save("grey.png")
    for background in (None, Background(0.0, 0.1, 0.9), Background(0.3, 0.5, 0.6)):
        assert _load("white.png", Preprocessing(GRAYSCALE.spec, background)).images.max() == 255
    assert _load("grey.png").images.max() == 128


def test_the_background_of_an_array_is_the_median_over_its_images():
    images = np.zeros((5, 8, 6), np.uint8)
    images[:2] = 255
    np.savez("mixed.npz", images=images)
    assert len(_load("mixed.npz").images) == 5
    np.savez("mixed.npz", images=255 - images)
    with pytest.raises(DatasetError, match=r"expected a dark background"):
        _load("mixed.npz")


# ------------------------------------------------------------------------------------------------------------
# The command


def test_the_table_has_a_row_per_image_and_ends_with_the_accuracy(trained):
    result = _predict(
        trained.folder, trained.folder.parent / "test.npz", trained.folder.parent / "first.png", "--top", 2
    )
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert lines[0].split() == ["image", "predicted", "probability", "runners-up", "actual"]
    assert len(lines) == 1 + len(trained.dataset.test) + 1 + 2
    assert lines[-1] == f"accuracy  {trained.evaluation.accuracy:.4f} on 300 labelled images"
    assert (
        sum(line.endswith(" (wrong)") for line in lines)
        == (trained.evaluation.predicted != trained.evaluation.actual).sum()
    )
    first = trained.evaluation.probabilities[0]
    assert lines[1].split()[:3] == [str(trained.folder.parent / "test.npz"), "[0]", str(first.argmax())]
    assert lines[1].count("%") == 2
    assert result.stderr == ""


def test_the_table_with_top_1_has_no_runners_up(trained):
    result = _predict(trained.folder, trained.folder.parent / "first.png", "--top", 1)
    assert result.stdout.split()[:3] == ["image", "predicted", "probability"]
    assert result.stdout.count("%") == 1


@pytest.mark.pictures
def test_plot_draws_the_first_24_images_and_a_note_states_it(trained):
    result = _predict(trained.folder, trained.folder.parent / "test.npz", "--json", "--plot", "x.png")
    assert result.stderr == "note x.png shows the first 24 of 300 images\n"
    assert len(json.loads(result.stdout)) == 300
    with Image.open("x.png") as figure:
        assert figure.height > figure.width
    result = _predict(trained.folder, trained.folder.parent / "first.png", "--plot", "one.png")
    assert result.stderr == "note one.png shows all images\n"
    with Image.open("one.png") as small, Image.open("x.png") as large:
        assert small.width < large.width / 2


def test_wrong_usage_exits_with_2_and_an_unreadable_image_with_1(trained):
    image = trained.folder.parent / "first.png"
    assert "--plot: expected a .png file" in _predict("m", image, "--plot", "x.pdf", code=2).stderr
    assert "MODEL: " in _predict("nowhere.h5", image, code=2).stderr
    _predict(trained.folder, code=2)
    assert "got a path that does not exist" in _predict(trained.folder, "nowhere.png", code=1).stderr
    Image.new("L", (8, 8), 255).save("white.png")
    result = _predict(trained.folder, "white.png", "--json", code=1)
    assert (result.stdout, "--invert" in result.stderr) == ("", True)


def test_bad_files_are_skipped_and_reported(trained):
    Path("photos").mkdir()
    for number in (1, 2, 10):
        shutil.copy(trained.folder.parent / "first.png", f"photos/{number}.png")
    Path("photos/3.png").write_text("no")
    Image.new("L", (9, 8)).save("photos/4.png")
    result = _predict(trained.folder, "photos", "nowhere.png", "--json", code=1)
    assert [row["file"] for row in json.loads(result.stdout)] == ["photos/1.png", "photos/2.png", "photos/10.png"]
    for part in ("photos/3.png: ", "photos/4.png: ", "nowhere.png: ", "skipped 3 of 6 files"):
        assert result.stderr.count(part) == 1, part
    result = _predict(trained.folder, "photos/3.png", "nowhere.png", code=1)
    assert result.stdout == ""
    assert "none of the 2 files can be used" in result.stderr


@pytest.mark.parametrize("colour", [True, False])
def test_images_are_resized_as_those_of_an_image_folder_in_training(tiny, keras, colour):
    generator = np.random.default_rng(0)
    for part, count in (("train", 6), ("test", 3)):
        for name in ("cat", "dog"):
            Path("data", part, name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 256, (21 + number, 30, 3), np.uint8)
                Image.fromarray(pixels).save(f"data/{part}/{name}/{number}.png")
    size = ["dataset.height=8", "dataset.width=9", "dataset.limit=null", f"dataset.colour={str(colour).lower()}"]
    options = ["dataset=image_folder", "dataset.path=data", *size, "training.epochs=1", "tracking=off"]
    result = run_experiment(tiny(*options))
    shown = _predict(result.folder, "data/test/cat", "data/test/dog", "--json")
    rows = [[*row["probabilities"].values()] for row in json.loads(shown.stdout)]
    assert rows == [pytest.approx(row, abs=1e-5) for row in result.evaluation.probabilities.tolist()]
    (result.folder / "config.yaml").unlink()
    assert "Resize it: --resize" in _predict(result.folder, "data/test/cat", code=1).stderr


@pytest.mark.slow
def test_json_output_is_not_mixed_with_other_output(trained):
    program = "from trainyard.cli import main; main()"
    paths = [str(trained.folder.parent / name) for name in ("first.png", "test.npz")]
    command = [sys.executable, "-c", program, "predict", str(trained.folder), *paths, "--json"]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    assert process.stderr == ""
    rows = json.loads(process.stdout)
    assert rows[0] | {"probabilities": 0, "probability": 0} == {
        "file": paths[0],
        "index": None,
        "predicted": str(trained.evaluation.predicted[0]),
        "probability": 0,
        "probabilities": 0,
    }
    assert [row["index"] for row in rows[1:]] == list(range(300))
    assert [int(row["predicted"]) for row in rows[1:]] == trained.evaluation.predicted.tolist()
    assert [int(row["actual"]) for row in rows[1:]] == trained.evaluation.actual.tolist()
    assert sum(rows[5]["probabilities"].values()) == pytest.approx(1, abs=1e-4)


def test_images_are_read_before_tensorflow_is_imported(trained):
    program = (
        "import sys\nfrom trainyard.cli import main\n"
        f"sys.argv = ['trainyard', 'predict', {str(trained.folder)!r}, 'nowhere.png']\n"
        "try:\n    main()\nexcept SystemExit as end:\n"
        "    print(end.code, [name for name in ('tensorflow', 'mlflow', 'matplotlib') if name in sys.modules])"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert process.stdout == "1 []\n"
