"""Plots: files, sizes that fit the content, and colours that mark wrong predictions."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from trainyard.data.dataset import DataSpec
from trainyard.evaluation.calibration import measure_calibration
from trainyard.evaluation.ranking import rank
from trainyard.evaluation.scoring import score_predictions
from trainyard.reporting import format_percent, plots
from trainyard.reporting.plots import effects, image_grid, learning_curves, probabilities, ranking, style
from trainyard.reporting.plots.probabilities import ImagePrediction

pytestmark = pytest.mark.pictures

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
VERMILLION = (0xD5, 0x5E, 0x00)
BLUE = (0x00, 0x72, 0xB2)
AWKWARD_NAMES = [f"a long name, $x_{number}$ & <b>, {number}" for number in range(40)]


def make_result(names, *, images=200, wrong=20, shape=(28, 28), pixel_max=255):
    """Returns test images, their evaluation and their spec. The last `wrong` images are predicted as the next class."""
    generator = np.random.default_rng(7)
    spec = DataSpec(shape, tuple(names), pixel_max)
    actual = (np.arange(images) % spec.classes).astype(np.uint8)
    predicted = actual.astype(int)
    predicted[images - wrong :] = (predicted[images - wrong :] + 1) % spec.classes
    probabilities = np.full((images, spec.classes), 0.1 / spec.classes, dtype=np.float32)
    probabilities[np.arange(images), predicted] += 0.9 - generator.random(images).astype(np.float32) * 0.3
    pixels = generator.integers(0, pixel_max + 1, (images, *shape)).astype(np.uint8)
    return pixels, score_predictions(probabilities, actual, spec), spec


def make_history(epochs, *, validation=True):
    history = []
    for epoch in range(1, epochs + 1):
        metrics = {"loss/train": 1 / epoch, "accuracy/train": 1 - 0.5 / epoch}
        if validation:
            metrics |= {"loss/val": 1.1 / epoch, "accuracy/val": 1 - 0.6 / epoch}
        history.append({**metrics, "learning_rate/value": 0.001, "time/epoch_seconds": 1.5})
    return history


def load_checked(path, *, max_kib=400):
    """Returns the image as uint8 (height, width, 3), after checks of format, size, resolution and empty margins."""
    content = path.read_bytes()
    assert content.startswith(PNG_SIGNATURE)
    assert len(content) < max_kib * 1024
    with Image.open(path) as image:
        assert image.info["dpi"] == pytest.approx((150, 150), abs=0.1)
        pixels = np.asarray(image.convert("RGB"))
    assert (pixels[[0, -1]] == 255).all()
    assert (pixels[:, [0, -1]] == 255).all(), "something touches the edge, so it may be cut off"
    return pixels


def share_of(colour, pixels):
    return (np.abs(pixels.astype(np.int16) - np.int16(colour)).max(axis=-1) < 12).mean()


# ------------------------------------------------------------------------------------------------------------
# Confusion matrix


@pytest.mark.parametrize(
    "names",
    [
        ["cat", "dog"],
        [str(digit) for digit in range(10)],
        AWKWARD_NAMES,
        [str(number) for number in range(100)],
    ],
    ids=["2", "10", "40 long", "100"],
)
def test_size_of_confusion_matrix_depends_on_number_of_classes(tmp_path, names):
    _, result, _ = make_result(names, images=400)
    plots.draw_confusion_matrix(result, tmp_path / "matrix.png")
    height, width, _ = load_checked(tmp_path / "matrix.png").shape
    assert min(height, width) >= max(2.6, 0.11 * len(names)) * style.DPI
    assert max(height, width) <= 14 * style.DPI


def test_confusion_matrix_without_errors_has_no_error_colour(tmp_path):
    names = [str(digit) for digit in range(10)]
    _, perfect, _ = make_result(names, wrong=0)
    _, flawed, _ = make_result(names, wrong=40)
    share = {}
    for name, result in {"perfect": perfect, "flawed": flawed}.items():
        plots.draw_confusion_matrix(result, tmp_path / f"{name}.png")
        pixels = load_checked(tmp_path / f"{name}.png")[:, : int(5 * style.DPI)].astype(
            int
        )  # without the colour scales
        share[name] = ((pixels[..., 0] - pixels[..., 2]) > 60).mean()
    assert share["perfect"] == 0
    assert share["flawed"] > 0.05


def test_one_error_among_thousands_is_visible_in_confusion_matrix(tmp_path):
    _, result, _ = make_result(["cat", "dog", "eel"], images=9000, wrong=1)
    plots.draw_confusion_matrix(result, tmp_path / "matrix.png")
    pixels = load_checked(tmp_path / "matrix.png")[:, : int(2.6 * style.DPI)].astype(int)
    assert ((pixels[..., 0] - pixels[..., 2]) > 60).mean() > 0.05


def test_confusion_matrix_with_a_class_without_images_is_drawn(tmp_path):
    spec = DataSpec((8, 8), ("cat", "dog", "eel"), 16)
    result = score_predictions(np.eye(3, dtype=np.float32)[[0, 1, 1]] * 0.9 + 0.03, np.array([0, 1, 0], np.uint8), spec)
    plots.draw_confusion_matrix(result, tmp_path / "matrix.png")
    load_checked(tmp_path / "matrix.png")


@pytest.mark.parametrize(("wrong", "rows"), [(0, 0), (3, 3), (400, 25)])
@pytest.mark.parametrize("classes", [101, 1000])
def test_the_most_frequent_confusions_of_many_classes_are_drawn_instead_of_a_matrix(tmp_path, classes, wrong, rows):
    names = [f"a rather long name of a class $x_{{{number}}}$" for number in range(classes)]
    _, result, _ = make_result(names, images=2000, wrong=wrong)
    plots.draw_confusion_matrix(result, tmp_path / "matrix.png")
    height, width, _ = load_checked(tmp_path / "matrix.png", max_kib=100).shape
    assert height / style.DPI == pytest.approx(0.27 * rows + 1.2, abs=0.4)
    assert width / style.DPI < 10


@pytest.fixture
def drawn_rows(monkeypatch):
    """The labels of the rows of plots that are saved, from the top."""
    rows = []
    monkeypatch.setattr(
        style, "save_plot", lambda axes, *_: rows.extend(label.get_text() for label in axes.get_yticklabels())
    )
    return rows


def test_confusions_are_sorted_by_images_then_by_share(drawn_rows):
    spec = DataSpec((2, 2), tuple(f"c{label}" for label in range(101)), 255)
    pairs = [(0, 1)] * 3 + [(2, 3)] * 2 + [(2, 2)] * 8 + [(4, 3)] * 2 + [(5, 5)] * 3 + [(6, 0)]
    actual, predicted = np.array(pairs, np.uint8).T
    result = score_predictions(np.eye(101, dtype=np.float32)[predicted], actual, spec)
    plots.draw_confusion_matrix(result, None)
    assert drawn_rows == ["c0 → c1", "c4 → c3", "c2 → c3", "c6 → c0"]


def test_the_largest_changes_of_the_confusions_of_many_classes_are_drawn(drawn_rows):
    difference = np.zeros((101, 101), int)
    difference[0, [0, 1, 2]] = 5, -2, -3
    difference[3, [3, 4]] = -4, 4
    plots.draw_confusion_difference(difference, [f"c{label}" for label in range(101)], ("a", "b"), None)
    assert drawn_rows == ["c3 → c4", "c0 → c2", "c0 → c1"]


@pytest.mark.parametrize("classes", [3, 101])
def test_the_difference_of_two_runs_names_them(monkeypatch, classes):
    subtitles = []
    monkeypatch.setattr(style, "save_plot", lambda *arguments, **_: subtitles.append(arguments[3]))
    difference = np.eye(classes, dtype=int) - np.roll(np.eye(classes, dtype=int), 1, axis=1)
    plots.draw_confusion_difference(difference, [f"c{label}" for label in range(classes)], ("old", "new"), None)
    assert subtitles[0].startswith("new minus old")


# ------------------------------------------------------------------------------------------------------------
# Learning curves


@pytest.mark.parametrize(("epochs", "validation"), [(1, True), (1, False), (2, True), (10, False), (300, True)])
def test_learning_curves_have_two_panels_and_show_validation_if_any(tmp_path, epochs, validation):
    plots.draw_learning_curves(
        make_history(epochs, validation=validation), tmp_path / "learning_curves.png", best_epoch=1
    )
    pixels = load_checked(tmp_path / "learning_curves.png")
    assert pixels.shape[1] > 2 * pixels.shape[0], "two panels are side by side"
    assert (share_of(VERMILLION, pixels) > 0) == validation


def test_best_epoch_is_marked(tmp_path):
    for best in (None, 4):
        plots.draw_learning_curves(make_history(10), tmp_path / f"{best}.png", best)
    assert (tmp_path / "None.png").read_bytes() != (tmp_path / "4.png").read_bytes()


def test_accuracy_axis_ends_at_one_and_loss_axis_starts_at_zero():
    assert learning_curves._compute_limits("accuracy", [0.9, 1.0]) == (pytest.approx(0.894), 1.0)
    assert learning_curves._compute_limits("loss", [0.5, 2.0]) == (0.0, pytest.approx(2.08))


def test_learning_curves_of_constant_metrics_are_drawn(tmp_path):
    history = [{"loss/train": 0.0, "accuracy/train": 1.0, "loss/val": 0.0, "accuracy/val": 1.0}] * 3
    plots.draw_learning_curves(history, tmp_path / "learning_curves.png")
    load_checked(tmp_path / "learning_curves.png")


@pytest.mark.parametrize(
    ("last", "ticks"),
    [
        (1, [1]),
        (4, [1, 2, 3, 4]),
        (20, [1, 5, 10, 15, 20]),
        (100, [1, 20, 40, 60, 80, 100]),
        (23, [1, 5, 10, 15, 20]),
    ],
)
def test_epoch_ticks_are_round_numbers_that_start_at_one(last, ticks):
    assert learning_curves.choose_epoch_ticks(last) == ticks


def test_touching_labels_are_moved_apart_and_keep_their_order():
    train, val = learning_curves.spread_labels([0.50, 0.49], gap=0.1)
    assert train - val == pytest.approx(0.1)
    assert learning_curves.spread_labels([0.9, 0.1], gap=0.1) == pytest.approx([0.9, 0.1])
    many = learning_curves.spread_labels([0.50, 0.51, 0.9, 0.52, 0.66], gap=0.1)
    assert many == pytest.approx([0.3975, 0.4975, 0.9, 0.5975, 0.6975])


# ------------------------------------------------------------------------------------------------------------
# Images


@pytest.mark.parametrize(
    ("shape", "pixel_max", "names"),
    [
        ((28, 28), 255, ["cat", "dog"]),
        ((8, 8), 16, AWKWARD_NAMES),
        ((32, 32, 3), 255, ["cat", "dog"]),
        ((12, 30), 255, AWKWARD_NAMES),
        ((8, 8, 2), 255, ["cat", "dog"]),
        ((8, 8, 4), 255, ["cat", "dog"]),
        ((8, 8, 5), 16, ["cat", "dog"]),
    ],
    ids=["grey", "small with 40 long names", "colour", "wide with 40 long names", "2", "4", "5 channels"],
)
def test_predictions_and_mistakes_are_drawn_for_all_image_shapes_and_class_names(tmp_path, shape, pixel_max, names):
    images, result, spec = make_result(names, images=60, shape=shape, pixel_max=pixel_max)
    plots.draw_predictions(images, result, spec, 10, tmp_path / "predictions.png")
    plots.draw_mistakes(images, result, spec, 24, tmp_path / "mistakes.png")
    load_checked(tmp_path / "predictions.png")
    load_checked(tmp_path / "mistakes.png")


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 1, 1), (5, 1, 5), (6, 2, 5), (500, 4, 5)])
def test_predictions_are_drawn_five_per_row(tmp_path, count, rows, columns):
    images, result, spec = make_result(["cat", "dog"], images=20, wrong=0)
    plots.draw_predictions(images, result, spec, count, tmp_path / "predictions.png")
    height, width, _ = load_checked(tmp_path / "predictions.png").shape
    assert round((height / style.DPI - 0.5) / 1.7) == rows
    assert width / style.DPI < columns * 1.42 + 2.5
    assert columns == 1 or width / style.DPI > columns * 1.42


@pytest.mark.parametrize(("name", "wider"), [("cat", False), ("a long name", True)])
def test_captions_of_long_names_do_not_overlap(tmp_path, name, wider):
    images, result, spec = make_result([f"{name} {number}" for number in range(2)], images=10)
    plots.draw_predictions(images, result, spec, 10, tmp_path / "predictions.png")
    assert (load_shape(tmp_path / "predictions.png")[1] / style.DPI > 5 * 1.42 + 0.5) == wider


def test_only_wrong_predictions_are_marked(tmp_path):
    images, result, spec = make_result(["cat", "dog"], images=20, wrong=5)
    plots.draw_predictions(images, result, spec, 15, tmp_path / "correct.png")
    plots.draw_predictions(images[10:], select(result, spec, slice(10, None)), spec, 10, tmp_path / "wrong.png")
    assert share_of(VERMILLION, load_checked(tmp_path / "correct.png")) == 0
    assert share_of(VERMILLION, load_checked(tmp_path / "wrong.png")) > 0.01


def test_pixels_are_drawn_in_their_colours(tmp_path):
    spec = DataSpec((4, 4, 3), ("cat", "dog"), 16)
    images = np.zeros((1, 4, 4, 3), np.uint8)
    images[..., 1] = 16
    result = score_predictions(np.array([[0.9, 0.1]], np.float32), np.array([0], np.uint8), spec)
    plots.draw_predictions(images, result, spec, 1, tmp_path / "green.png")
    pixels = load_checked(tmp_path / "green.png")
    green = (pixels == (0, 255, 0)).all(axis=-1).sum()
    assert green == pytest.approx((image_grid.TILE_SIZE * style.DPI) ** 2, rel=0.05)


@pytest.mark.parametrize(("channels", "mode"), [((), "P"), ((3,), "RGB")])
def test_a_figure_with_images_has_a_palette_only_if_no_colour_changes(tmp_path, monkeypatch, channels, mode):
    images = np.random.default_rng(0).integers(0, 256, (1, 16, 16, *channels), np.uint8)
    spec = DataSpec(images.shape[1:], ("cat", "dog"), 255)
    result = score_predictions(np.array([[0.9, 0.1]], np.float32), np.array([0], np.uint8), spec)
    files = [tmp_path / "image.png", tmp_path / "without_palette.png"]
    plots.draw_predictions(images, result, spec, 1, files[0])
    monkeypatch.setattr(style, "PALETTE_SIZE", 1)
    plots.draw_predictions(images, result, spec, 1, files[1])
    assert np.array_equal(*map(load_checked, files))
    with Image.open(files[0]) as png:
        assert png.mode == mode


@pytest.mark.parametrize(("channels", "drawn"), [(2, ()), (5, (3,)), (12, (3,))])
def test_the_first_channels_of_images_with_an_unusual_number_of_channels_are_drawn(tmp_path, channels, drawn):
    images = np.random.default_rng(0).integers(0, 256, (4, 4, 4, channels), np.uint8)
    first = images[..., 0] if channels == 2 else images[..., :3]
    pixels = []
    for name, drawn_images in {"all": images, "first": first}.items():
        axes = style.build_axes(2, 2)
        for image in drawn_images:
            image_grid.draw_image(axes, image, 255, (0, 0), wrong=False)
        style.save_figure(axes.figure, tmp_path / f"{name}.png", exact=True)
        pixels.append(load_checked(tmp_path / f"{name}.png"))
    assert np.array_equal(*pixels)
    spec = DataSpec((4, 4, channels), ("a", "b"), 255)
    assert image_grid.add_channel_note("", spec).endswith(f" of {channels}")
    assert image_grid.add_channel_note("", DataSpec((4, 4, *drawn), ("a", "b"), 255)) == ""


def test_plot_without_mistakes_has_only_text(tmp_path):
    images, result, spec = make_result(["cat", "dog"], wrong=0)
    plots.draw_mistakes(images, result, spec, 24, tmp_path / "mistakes.png")
    pixels = load_checked(tmp_path / "mistakes.png")
    assert (pixels < 100).any(), "there is text"
    assert pixels.shape[0] < style.DPI


def test_a_row_has_as_many_mistakes_as_predictions(tmp_path):
    """Thus the text has the same size on a page on which the plots have the same width."""
    images, result, spec = make_result(["cat", "dog"], images=60, wrong=20)
    plots.draw_predictions(images, result, spec, 10, tmp_path / "predictions.png")
    plots.draw_mistakes(images, result, spec, 24, tmp_path / "mistakes.png")
    widths = [load_shape(tmp_path / name)[1] / style.DPI for name in ("predictions.png", "mistakes.png")]
    assert widths[0] == pytest.approx(widths[1], abs=0.5)


def test_many_mistakes_are_drawn_in_more_columns(tmp_path):
    images, result, spec = make_result(["cat", "dog"], images=200, wrong=120)
    plots.draw_mistakes(images, result, spec, 100, tmp_path / "mistakes.png")
    height, width = load_shape(tmp_path / "mistakes.png")
    assert 10 < width / style.DPI < 16
    assert 15 < height / style.DPI < 20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "shape", "names"),
    [
        (1, (28, 28), ["cat", "dog"]),
        (1, (12, 30), AWKWARD_NAMES),
        (5, (32, 32, 3), ["cat", "dog"]),
        (5, (28, 28), AWKWARD_NAMES),
        (30, (12, 30), ["cat", "dog"]),
        (30, (32, 32, 3), AWKWARD_NAMES),
    ],
    ids=["1", "1 with long names", "5", "5 with long names", "30", "30 with long names"],
)
def test_probabilities_are_drawn_for_all_shapes_names_and_numbers_of_images(tmp_path, shape, names, count):
    images, result, spec = make_result(names, images=count, wrong=0, shape=shape)
    caption = "a long name of a file, $x_1$ & <b>, from a camera.jpeg"
    predictions = [ImagePrediction(*pair, caption, None) for pair in zip(images, result.probabilities, strict=True)]
    plots.draw_probabilities(predictions, spec, tmp_path / "few.png", 2)
    plots.draw_probabilities(predictions, spec, tmp_path / "all.png", 100)
    few = load_checked(tmp_path / "few.png", max_kib=800)
    assert share_of(BLUE, few) > 0
    assert (load_shape(tmp_path / "all.png")[0] > few.shape[0]) == (len(names) > 2)
    columns = {1: 1, 5: 2, 30: 3 if len(names) == 2 else 2}[count]
    assert 2.5 * columns < few.shape[1] / style.DPI < 6 * columns, "a caption does not widen the plot"


def test_wrong_predictions_are_marked_only_if_the_label_is_known(tmp_path):
    images, result, spec = make_result(["cat", "dog"], images=1, wrong=0)
    predicted = int(result.predicted[0])
    for name, actual in (("unknown", None), ("correct", predicted), ("wrong", 1 - predicted)):
        plots.draw_probabilities(
            [ImagePrediction(images[0], result.probabilities[0], "x", actual)], spec, tmp_path / name, 2
        )
    shares = {name: share_of(VERMILLION, load_checked(tmp_path / name)) for name in ("unknown", "correct", "wrong")}
    assert shares["unknown"] == shares["correct"] == 0
    assert shares["wrong"] > 0.005


def test_headline_counts_correct_predictions_of_images_with_labels():
    image, output = np.zeros((8, 8), np.uint8), np.array([0.7, 0.3], np.float32)
    predictions = [ImagePrediction(image, output, "x", actual) for actual in (0, 0, 1, None)]
    assert probabilities._build_headline(predictions, 4, 2) == (
        "Predictions of 4 images: 2 correct, 1 wrong, 1 without a label",
        "The 2 most probable classes of each",
    )
    assert (
        probabilities._build_headline(predictions[:2], 1000, 1)[0]
        == "Predictions of the first 2 of 1,000 images: 2 correct, 0 wrong"
    )
    assert probabilities._build_headline(predictions[3:], 1, 1) == ("Prediction of 1 image", "The most probable class")


def test_confidence_is_not_rounded_up_to_certainty():
    assert format_percent(0.99996) == "> 99.9 %"
    assert format_percent(0.0004) == "< 0.1 %"
    assert format_percent(0.0) == "0.0 %"
    assert format_percent(1.0) == "100.0 %"
    assert format_percent(0.5) == "50.0 %"


def test_the_middle_of_long_names_is_cut():
    assert style.shorten("ankle boot", 10) == "ankle boot"
    short = style.shorten("a very long name 17", 10)
    assert len(short) == 10
    assert short.endswith("17")


def test_drawing_needs_no_pyplot(tmp_path):
    script = """if True:
        import sys
        from trainyard.reporting import plots
        assert "matplotlib" not in sys.modules
        plots.draw_learning_curves([{"loss/train": 1.0, "accuracy/train": 0.5}], sys.argv[1])
        assert "matplotlib.figure" in sys.modules
        assert "matplotlib.pyplot" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", script, tmp_path / "learning_curves.png"], check=True)


def select(result, spec, rows):
    return score_predictions(result.probabilities[rows], result.actual[rows], spec)


def load_shape(path):
    with Image.open(path) as image:
        return image.height, image.width


def test_calibration_is_drawn_with_empty_bins(tmp_path):
    _, result, _ = make_result("abc", images=200, wrong=20)
    plots.draw_calibration(result.calibration, tmp_path / "usual.png")
    assert load_checked(tmp_path / "usual.png").size
    certain = measure_calibration(np.ones(5, np.float32), np.ones(5, bool), 10)
    plots.draw_calibration(certain, tmp_path / "certain.png")
    assert load_checked(tmp_path / "certain.png").size


def test_calibration_shows_the_number_of_images_of_each_bin_and_how_certain_its_accuracy_is(monkeypatch):
    drawn = []
    monkeypatch.setattr(style, "save_plot", lambda axes, *_, **__: drawn.append(axes))
    confidence = np.array([0.55] * 4 + [0.95] * 4000, np.float32)
    correct = np.array([True, True, False, False] + [True] * 3800 + [False] * 200)
    plots.draw_calibration(measure_calibration(confidence, correct, 10), None)
    upper, lower = drawn[0].figure.axes
    assert [bar.get_height() for bar in lower.patches] == [4, 4000]
    assert lower.get_yscale() == "log"
    ends = [(segment[0][1], segment[1][1]) for segment in upper.collections[0].get_segments()]
    assert ends == [pytest.approx(stats.binomtest(k, n).proportion_ci()) for k, n in ((2, 4), (3800, 4000))]


# ------------------------------------------------------------------------------------------------------------
# Sweeps


def make_points(points, seeds, *, mean=0.9, std=0.01):
    """Returns the objective values, one per seed, by label of the point."""
    values = np.random.default_rng(points).normal(mean, std, (points, seeds))
    return {f"a point with $n_{number}$ & <b>": row for number, row in enumerate(values.tolist())}


@pytest.mark.parametrize(
    ("size", "objective"),
    [
        ((1, 1, 12), None),
        ((1, 3, 1), "loss/val"),
        ((2, 1, 1), "accuracy/val"),
        ((7, 5, 12), "accuracy/val"),
        ((7, 5, 12), "loss/val"),
        ((7, 5, 12), None),
        ((400, 1, 12), "accuracy/val"),
    ],
)
def test_curves_of_a_sweep_colour_the_best_points(sweep_of, tmp_path, size, objective):
    points, seeds, epochs = size
    trials = sweep_of(make_points(points, seeds), objective=objective, epochs=epochs)
    assert plots.draw_point_curves(rank(trials, objective).points, objective, tmp_path / "learning_curves.png")
    pixels = load_checked(tmp_path / "learning_curves.png", max_kib=150)
    assert share_of(BLUE, pixels) > 0
    assert (share_of(VERMILLION, pixels) > 0) == (points > 1)
    grey = tuple(int(ranking.GREY[place : place + 2], 16) for place in (1, 3, 5))
    assert points < 400 or share_of(grey, pixels) > 0


def test_curves_end_at_the_last_epoch_that_all_seeds_reached(sweep_of):
    long, short = sweep_of({"a": [0.9, 0.8]}, epochs=6), sweep_of({"a": [0.9, 0.8]}, epochs=4)
    (point,) = rank([long[0], short[1]], "accuracy/val").points
    curve = ranking._build_point_curve(point, "accuracy/val")
    assert curve.mean == pytest.approx([(0.9 * epoch / 6 + 0.8 * epoch / 4) / 2 for epoch in range(1, 5)])
    assert curve.low[-1] == pytest.approx(0.7 - 0.1 * 2**0.5)  # the seeds end at 0.6 and 0.8
    assert curve.high[-1] == pytest.approx(0.7 + 0.1 * 2**0.5)


def test_the_band_of_values_above_zero_does_not_go_below_zero(sweep_of):
    (point,) = rank(sweep_of({"a": [0.9, 0.01]}), "accuracy/val").points
    curve = ranking._build_point_curve(point, "accuracy/val")
    assert curve.low == pytest.approx([0, 0, 0])
    assert (curve.high > curve.mean).all()


def test_a_curve_that_ends_early_is_connected_to_its_label_by_a_dotted_line():
    axes = style.build_axes(4, 4, left=1, bottom=1, right=1, top=1)
    axes.set(xlim=(1, 10), ylim=(0, 1))
    ends = [learning_curves.LineEnd(name, "black", (x, 0.5)) for name, x in (("early", 5), ("late", 10))]
    learning_curves.label_line_ends(axes, ends)
    assert [text.arrow_patch.get_linestyle() for text in axes.texts] == [":", "solid"]


def test_curves_are_not_drawn_without_values_of_the_objective(sweep_of, tmp_path):
    ranking = rank(sweep_of({"a": [0.9]}), "accuracy/val")
    assert not plots.draw_point_curves(ranking.points, "loss/val", tmp_path / "learning_curves.png")
    assert not plots.draw_point_curves([], "accuracy/val", tmp_path / "learning_curves.png")
    assert not (tmp_path / "learning_curves.png").exists()


def make_curve(*means, std=0.0):
    mean = np.array(means)
    return ranking.PointCurve("a", mean, mean - std, mean + std, 1)


def set_axis(metric, best, others=()):
    axes = style.build_axes(4, 4, left=1, bottom=1, right=1, top=1)
    ranking._set_value_axis(axes, metric, best, others)
    low, high = axes.get_ylim()
    assert sum(low <= tick <= high for tick in axes.get_yticks()) >= 3
    return low, high, axes.get_yscale()


def test_the_axis_of_an_accuracy_is_linear_and_shows_all_curves():
    low, high, scale = set_axis("accuracy/val", [make_curve(0.5, 0.99, std=0.02)], [make_curve(0.1, 0.2)])
    assert scale == "linear"
    assert low < 0.1
    assert 1 < high < 1.05


@pytest.mark.parametrize(
    ("values", "scale"),
    [((3.0, 0.02), "log"), ((3.0, 0.04), "linear"), ((3.0, 0.0), "linear"), ((3.0, -1.0), "linear")],
)
def test_the_axis_of_a_loss_is_logarithmic_only_if_it_spans_two_decades(values, scale):
    low, high, actual = set_axis("loss/val", [make_curve(*values)])
    assert actual == scale
    assert low < min(values) < max(values) < high


def test_a_loss_that_diverges_does_not_extend_the_axis():
    others = [make_curve(2.0, 1.5), make_curve(2.0, 1.2), make_curve(2.0, 1.1), make_curve(2.0, 1e9)]
    assert set_axis("loss/val", [make_curve(2.0, 1.0)], others)[1] < 3


def test_points_without_errors_are_drawn(sweep_of, tmp_path):
    ranking = rank(sweep_of({"a": [1.0, 1.0], "b": [1.0, 1.0]}), "accuracy/val")
    assert plots.draw_point_curves(ranking.points, "accuracy/val", tmp_path / "learning_curves.png")
    assert plots.draw_ranking(ranking, tmp_path / "ranking.png")
    load_checked(tmp_path / "learning_curves.png")
    load_checked(tmp_path / "ranking.png")


@pytest.mark.parametrize(
    ("size", "objective"), [((2, 1), "accuracy/val"), ((3, 5), "loss/val"), ((60, 2), "accuracy/val")]
)
def test_ranking_has_a_row_for_each_of_the_best_points(sweep_of, tmp_path, size, objective):
    points, seeds = size
    ranking = rank(sweep_of(make_points(points, seeds), objective=objective), objective)
    assert plots.draw_ranking(ranking, tmp_path / "ranking.png")
    pixels = load_checked(tmp_path / "ranking.png", max_kib=100)
    rows = min(points, 20) + (seeds > 1)
    height = max(0.27 * rows + 1.0, style.HEIGHT) + 2 * style.PADDING
    assert pixels.shape[0] / style.DPI == pytest.approx(height, abs=0.05)


LONG_SETTINGS = {
    f"300x200x100 lr0.0{n} tanh dropout0.{n} and more": {
        "model.hidden_units": [300, 200, 100 + n], "model.activation": "tanh" if n % 2 else "a long name",
        "optimizer.learning_rate": 0.01 * n, "model.dropout": n / 10,
    }
    for n in range(1, 9)
}  # fmt: skip
SHORT_SETTINGS = {f"lr{n}": {"lr": n, "b": n % 2, "c": n % 3} for n in range(1, 9)}


@pytest.mark.parametrize("settings", [LONG_SETTINGS, SHORT_SETTINGS], ids=["long", "short"])
def test_plots_of_a_sweep_have_the_same_width_and_those_without_rows_the_same_height(sweep_of, tmp_path, settings):
    values = {label: [0.9 + number / 100, 0.9] for number, label in enumerate(settings)}
    ranking = rank(sweep_of(values, varied=settings, epochs=3), "accuracy/val")
    names = {
        "ranking": plots.draw_ranking(ranking, tmp_path / "ranking"),
        "effects": plots.draw_setting_effects(ranking, {}, tmp_path / "effects"),
        "parallel": plots.draw_parallel_coordinates(ranking, tmp_path / "parallel"),
        "curves": plots.draw_point_curves(ranking.points, "accuracy/val", tmp_path / "curves", [[0.1, 0.2]] * 5),
    }
    assert all(names.values())
    shapes = {name: load_shape(tmp_path / name) for name in names}
    width = style.DPI * (style.WIDTH + 2 * style.PADDING)
    assert [shape[1] for shape in shapes.values()] == pytest.approx([width] * 4, abs=8)
    assert shapes["parallel"][0] == shapes["curves"][0] == style.DPI * (style.HEIGHT + 2 * style.PADDING)


def test_long_labels_are_wrapped_onto_two_lines_of_similar_length():
    assert style.wrap("128 lr0.001", 20) == "128 lr0.001"
    assert style.wrap("128 lr0.00445432 relu dropout0", 28) == "128 lr0.00445432\nrelu dropout0"
    lines = style.wrap("512x512x512x512x512x512x512 0.1,0.2,0.3,0.4,0.5,0.6,0.7 relu", 20).split("\n")
    assert len(lines) == 2
    assert max(map(len, lines)) <= 20


@pytest.fixture
def drawn_texts(monkeypatch):
    """The texts of plots that are saved."""
    texts = []
    monkeypatch.setattr(style, "save_plot", lambda axes, *_, **__: texts.extend(text.get_text() for text in axes.texts))
    return texts


def test_pruned_points_are_marked_in_the_ranking(sweep_of, drawn_texts):
    plots.draw_ranking(rank(sweep_of({"a": [0.8], "b": [0.9]}), "accuracy/val", pruned=[2]), None)
    assert [text for text in drawn_texts if "%" in text] == ["80.00 %", "90.00 %, pruned"]


@pytest.mark.parametrize(
    ("objective", "name"), [("accuracy/val", "Validation accuracy"), ("loss/val", "Validation loss (lower is better)")]
)
def test_the_ranking_of_a_loss_says_which_direction_is_better(sweep_of, monkeypatch, objective, name):
    names = []
    monkeypatch.setattr(style, "save_plot", lambda axes, *_, **__: names.append(axes.get_xlabel()))
    plots.draw_ranking(rank(sweep_of({"a": [0.8], "b": [0.9]}, objective=objective), objective), None)
    assert names == [name]


def test_lines_of_parallel_coordinates_do_not_cross_the_labels_of_settings(sweep_of, monkeypatch):
    drawn = []
    monkeypatch.setattr(style, "save_plot", lambda axes, *_, **__: drawn.append(axes))
    settings = {f"p{n}": {"lr": n, "act": "relu" if n % 2 else "tanh", "units": [64] * n} for n in range(1, 7)}
    values = {name: [0.9 + number / 100] for number, name in enumerate(settings)}
    assert plots.draw_parallel_coordinates(rank(sweep_of(values, varied=settings), "accuracy/val"), None)
    (axes,) = drawn
    renderer = axes.figure.canvas.get_renderer()
    to_data = axes.transData.inverted()
    labels = [to_data.transform_bbox(text.get_window_extent(renderer)) for text in axes.texts]
    labels = [box for box in labels if box.y1 > 0 and box.x0 < axes.get_xlim()[1]]
    assert len(labels) >= 6 + 2 + 6
    for line in axes.lines:
        x, y = line.get_data()
        segments = zip(zip(x, y, strict=True), zip(x[1:], y[1:], strict=True), strict=False)
        for (left, start), (right, end) in segments:
            if not np.isnan([start, end]).any():
                assert not [box for box in labels if min(right, box.x1) > max(left, box.x0)]


def test_the_axis_of_curves_can_leave_out_the_first_quarter_of_the_epochs():
    steep = make_curve(0.1, 0.5, 0.9, 0.91, 0.92, 0.93, 0.94, 0.95)
    low, high, _ = set_axis("accuracy/val", [steep])
    assert 0.8 < low < 0.9
    assert high > 0.95
    assert set_axis("loss/val", [make_curve(9, 5, 1, 0.9, 0.8, 0.7, 0.6, 0.5)])[1] < 1.1
    low, high, scale = set_axis("loss/val", [make_curve(9, 5, 1, 0.9, 0.8, 0.7, 0.6, 0.05)])
    assert (scale, low < 0.05, high > 9) == ("log", True, True)  # a logarithmic axis shows all epochs


def test_markers_of_points_that_differ_significantly_from_the_best_are_not_filled(sweep_of, tmp_path):
    different = {"a": [0.950, 0.952, 0.954], "b": [0.900, 0.902, 0.905]}
    for name, points in {"different": different, "tied": {**different, "b": [0.900, 0.952, 0.955]}}.items():
        plots.draw_ranking(rank(sweep_of(points), "accuracy/val"), tmp_path / f"{name}.png")
    shares = [share_of(BLUE, load_checked(tmp_path / f"{name}.png")) for name in ("tied", "different")]
    assert shares[0] > 1.5 * shares[1] > 0


def test_a_point_with_too_few_seeds_is_not_filled_among_tested_points(sweep_of, tmp_path):
    def draw(points):
        plots.draw_ranking(rank(sweep_of(points), "accuracy/val"), tmp_path / "ranking.png")
        return share_of(BLUE, load_checked(tmp_path / "ranking.png"))

    tested = {"a": [0.950, 0.952, 0.954], "b": [0.949, 0.952, 0.953]}
    other = [None, None, None, 0.951]
    assert draw({**tested, "c": other}) < draw({**tested, "c": [0.951]})
    assert draw({"a": tested["a"], "c": other}) > draw({"a": tested["a"], "c": [0.5, 0.51, 0.52]})  # nothing is tested


def test_an_interval_that_is_longer_than_the_axis_ends_with_arrows(sweep_of, monkeypatch):
    def draw(points):
        """Returns the rows of the arrows at the left and at the right end of the axis, and the subtitle."""
        drawn = []
        monkeypatch.setattr(style, "save_plot", lambda axes, _, title, subtitle, **__: drawn.append((axes, subtitle)))
        plots.draw_ranking(rank(sweep_of(points, objective="loss/val"), "loss/val"), None)
        ((axes, subtitle),) = drawn
        arrows = [(line.get_marker(), float(line.get_ydata()[0])) for line in axes.lines if line.get_marker() in "<>"]
        return arrows, subtitle

    arrows, subtitle = draw({"a": [0.100, 0.101], "b": [0.2, 0.3]})  # the intervals 0.094 to 0.107, and 0 to 0.89
    assert arrows == [("<", 1.0), (">", 1.0)]
    assert "(arrow: longer)" in subtitle
    arrows, subtitle = draw({"a": [0.100, 0.101, 0.102], "b": [0.2, 0.201, 0.202]})
    assert arrows == []
    assert "arrow" not in subtitle


def test_ranking_is_not_drawn_without_an_objective_or_a_second_point(sweep_of, tmp_path):
    assert not plots.draw_ranking(rank(sweep_of({"a": [0.9], "b": [0.8]}, objective=None), None), tmp_path / "x.png")
    assert not plots.draw_ranking(rank(sweep_of({"a": [0.9]}), "accuracy/val"), tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize(("others", "includes_outlier"), [(2, True), (18, True), (19, False)])
def test_an_outlier_is_at_the_edge_of_the_axis_only_among_many_points(sweep_of, others, includes_outlier):
    points = {
        "best": [0.98],
        **{f"point {number}": [0.978 - number / 5000] for number in range(others)},
        "worst": [0.11],
    }
    ranked = rank(sweep_of(points), "accuracy/val").points
    low, high = ranking.compute_axis_limits(ranked, "accuracy/val")
    assert (low < 0.11) == includes_outlier
    assert low < 0.9745
    assert 0.98 < high < 1.02
    assert ranking.describe_outliers(ranked, low, high).endswith(": 1") == (not includes_outlier)


@pytest.mark.parametrize(
    ("points", "description"),
    [(1, "the best point"), (9, "the best point"), (10, "the best 2"), (24, "the best 4"), (300, "the best 5")],
)
def test_at_most_a_fifth_of_the_points_is_highlighted(points, description):
    assert ranking.describe_highlighted([None] * points) == description


def sweep_over(sweep_of, settings):
    """Returns the ranking of a sweep over these settings, with two seeds per point."""
    varied = {f"point {number}": setting for number, setting in enumerate(settings)}
    values = make_points(len(settings), 2).values()
    return rank(sweep_of(dict(zip(varied, values, strict=True)), varied=varied), "accuracy/val")


@pytest.mark.parametrize(
    "settings",
    [
        [{"lr": rate} for rate in (0.1, 0.01, 0.001)],
        [{"lr": rate, "model": "mlp"} for rate in (0.1, 0.2)],
        [{"lr": rate, "width": [width]} for rate in (0.1, 0.01, 0.001) for width in (64, 128)],
        [{"width": [width], "lr": rate} for rate in (0.0, 0.5) for width in range(1, 30)],
    ],
    ids=["one", "one, and a constant", "two, one in a list", "many values"],
)
def test_one_or_two_numeric_settings_are_drawn(sweep_of, tmp_path, settings):
    assert plots.draw_numeric_settings(sweep_over(sweep_of, settings), tmp_path / "grid.png")
    load_checked(tmp_path / "grid.png", max_kib=100)


@pytest.mark.parametrize(
    "settings",
    [
        [{"model": "mlp"}, {"model": "cnn"}],
        [{"wide": True}, {"wide": False}],
        [{"units": [64, 32]}, {"units": [64]}],
        [{"units": 64}, {"units": [64]}],
        [{"lr": 0.1}, {"lr": 0.2, "width": 3}],
        [{"lr": rate, "width": width} for rate, width in ((0.1, 1), (0.2, 2), (0.3, 3))],
        [{"lr": a, "width": b, "epochs": c} for a in (1, 2) for b in (1, 2) for c in (1, 2)],
        [{"lr": rate, "width": width} for rate in range(8) for width in range(8)],
    ],
    ids=[
        "strings",
        "booleans",
        "lists",
        "equal numbers",
        "missing in some points",
        "no lines",
        "three",
        "too many lines",
    ],
)
def test_other_settings_are_not_drawn(sweep_of, tmp_path, settings):
    assert not plots.draw_numeric_settings(sweep_over(sweep_of, settings), tmp_path / "grid.png")
    assert not (tmp_path / "grid.png").exists()


def test_the_setting_with_more_values_is_on_the_x_axis(sweep_of):
    points = [{"width": width, "lr": rate} for rate in (0.1, 0.01, 0.001) for width in (64, 128)]
    assert effects._find_numeric_settings(sweep_over(sweep_of, points).points) == ["lr", "width"]
