"""The report of a run: it shows all results, escapes hostile text, and loads nothing from the network."""

import base64
import dataclasses
import html
import html.parser
import io
import re

import numpy as np
import pytest
from PIL import Image

from trainyard.config.compose import compose_config
from trainyard.config.serialization import dump_config
from trainyard.data.dataset import DataSpec
from trainyard.evaluation.scoring import score_predictions
from trainyard.reporting import embed_image
from trainyard.reporting.formatting import format_duration, format_value
from trainyard.reporting.plots import style
from trainyard.reporting.run_report import (
    MAX_COLUMN_PLOT_WIDTH,
    DatasetSummary,
    FailurePage,
    ReportPage,
    RunPage,
    describe_progress,
    find_changed_values,
    write_failure_report,
    write_report,
)

pytestmark = pytest.mark.pictures

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""A PNG file of one pixel."""


class Page(html.parser.HTMLParser):
    """A parsed page: its elements with their attributes, its text, and its tables as rows of cells."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words, self.rows, self.cell = [], [], [], None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.cell = ""

    def handle_endtag(self, tag):
        if tag in {"td", "th"}:
            self.rows[-1].append(" ".join(self.cell.split()))
            self.cell = None

    def handle_data(self, data):
        self.words.append(data)
        if self.cell is not None:
            self.cell += data

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def tags(self, *names):
        return [attributes for tag, attributes in self.elements if tag in names]


@pytest.fixture(scope="module")
def config():
    return compose_config(["dataset.validation_fraction=0.25", "training.epochs=2", "model.hidden_units=[64, 32]"])


@pytest.fixture
def page(config, tmp_path):
    return build_page(config, tmp_path, ("cat", "dog", "<eel> & co"))


def build_page(config, tmp_path, class_names):
    """Returns the page of a run on ten images of the first three classes."""
    spec = DataSpec((8, 8), class_names, 16)
    actual = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2], np.uint8)
    predicted = np.array([0, 0, 0, 1, 1, 1, 1, 2, 2, 0])
    result = score_predictions(np.eye(len(class_names), dtype=np.float32)[predicted] * 0.7 + 0.1, actual, spec)
    plots = {}
    for caption, name in {
        "Learning curves": "learning_curves",
        "Confusion": "matrix",
        "Mistakes": "mistakes",
    }.items():
        plots[caption] = tmp_path / f"{name}.png"
        plots[caption].write_bytes(PIXEL)
    return ReportPage(
        commands={"Repeat it": "trainyard rerun 'a run'"},
        title="64x32 relu",
        experiment="zoo",
        ended="2026-03-01 14:05",
        recipe="zoo",
        recipe_changes={"model": "64x32 relu", "optimizer.learning_rate": 0.01},
        notes="First line.\nSecond <b>line</b>.",
        config=config,
        dataset=DatasetSummary("animals", "a folder", spec, train=1200, validation=400, test=10),
        model_summary='Model: "mlp"\n┃ hidden_1 ┃ (None, 64) ┃',
        layers=3,
        parameters=1234567,
        engine="fit: it is the only one",
        history=[
            {
                "loss/train": 0.91234,
                "accuracy/train": 0.5,
                "learning_rate/value": 1e-3,
                "time/epoch_seconds": 1.234,
            },
            {
                "loss/train": 0.41234,
                "accuracy/train": 0.75,
                "learning_rate/value": 5e-4,
                "time/epoch_seconds": 1.5,
            },
        ],
        best_epoch=2,
        evaluation=result,
        timings={"load": 0.5, "compile": 1.25, "train": 61.0, "evaluate": 1.25},
        provenance={"Commit": "c0ffee", "Command": "trainyard train a=<b>"},
        plots=plots,
    )


def write_and_load(page, folder):
    write_report(folder / "report.html", page)
    return (folder / "report.html").read_text(encoding="utf-8")


def test_every_class_has_a_row_with_its_scores(page, tmp_path):
    rows = Page(write_and_load(page, tmp_path)).rows
    assert ["cat", "0.7500", "0.7500", "0.7500", "4"] in rows
    assert ["dog", "0.7500", "1.0000", "0.8571", "3"] in rows
    assert ["<eel> & co", "1.0000", "0.6667", "0.8000", "3"] in rows
    assert ["Accuracy", "", "", "0.8000", "10"] in rows
    assert ["Macro average", "0.8333", "0.8056", "0.8024", "10"] in rows
    assert ["Weighted average", "0.8250", "0.8000", "0.7971", "10"] in rows


def test_every_epoch_has_a_row(page, tmp_path):
    rows = Page(write_and_load(page, tmp_path)).rows
    assert ["Epoch", "loss/train", "accuracy/train", "learning_rate/value", "time/epoch_seconds"] in rows
    assert ["1", "0.9123", "0.5000", "0.001", "1.23"] in rows
    assert ["2 (best)", "0.4123", "0.7500", "0.0005", "1.50"] in rows


def test_the_cell_of_a_missing_metric_is_empty(page, tmp_path):
    history = [{"loss/train": 1.0}, {"loss/train": 0.5, "loss/val": 0.7}]
    page = dataclasses.replace(page, history=history, best_epoch=None)
    rows = Page(write_and_load(page, tmp_path)).rows
    assert ["1", "1.0000", ""] in rows
    assert ["2", "0.5000", "0.7000"] in rows


def test_the_header_shows_the_key_figures(page, tmp_path):
    text = Page(write_and_load(page, tmp_path)).text
    for value in (
        "80.00 %",
        "2 of 10 images wrong; 95 % interval 44.39 to 97.48 %",  # of Clopper and Pearson, from tables
        f"{page.evaluation.loss:.4f}",
        "0.8024",
        "1 min 02 s",
        "1,234,567",
    ):
        assert value in text


def test_the_header_names_the_class_with_the_lowest_f1(page, config, tmp_path):
    assert "lowest: 0.7500, class cat" in Page(write_and_load(page, tmp_path)).text
    correct = score_predictions(np.eye(3, dtype=np.float32), np.arange(3, dtype=np.uint8), page.dataset.spec)
    text = Page(write_and_load(dataclasses.replace(page, evaluation=correct), tmp_path)).text
    assert "mean over 3 classes Training" in text


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (
            [{"loss/train": 0.9, "loss/val": 0.5, "accuracy/val": 0.8}, {"loss/train": 0.4, "loss/val": 0.7}],
            {
                "Lowest validation loss": "0.5000 in epoch 1; 0.7000 in the last epoch",
                "Highest validation accuracy": "0.8000 in epoch 1, the last one",
            },
        ),
        (
            [{"loss/train": 0.9, "accuracy/train": 0.5}, {"loss/train": 0.4, "accuracy/train": 0.5}],
            {
                "Lowest training loss": "0.4000 in epoch 2, the last one",
                "Highest training accuracy": "0.5000 in epoch 1 and in the last epoch",
            },
        ),
        ([], {}),
    ],
)
def test_the_best_epochs_are_described(history, expected):
    assert describe_progress(history, 9) == {"Epochs": f"{len(history)} of 9", **expected}


def test_model_training_and_data_are_described(page, tmp_path):
    text = Page(write_and_load(page, tmp_path)).text
    for value in (
        "64x32 relu",
        "adam, learning rate 0.001",
        "2 of 2 epochs, batches of 32, seed 0",
        "fit: it is the only one",
    ):
        assert value in text
    assert "1,200 for training, 400 for validation, 10 for testing" in text
    assert "8 × 8, pixel values 0 to 16" in text  # noqa: RUF001 - intended multiplication sign
    assert "3: cat, dog, <eel> & co" in text
    assert "┃ hidden_1 ┃ (None, 64) ┃" in text


def test_times_and_provenance_are_listed(page, tmp_path):
    parsed = Page(write_and_load(page, tmp_path))
    assert ["train", "61.00"] in parsed.rows
    assert ["Total", "64.00"] in parsed.rows
    assert "Commit c0ffee Command trainyard train a=<b>" in parsed.text


def test_the_complete_config_and_a_table_of_changed_values_are_shown(page, config, tmp_path):
    text = write_and_load(page, tmp_path)
    assert html.escape(dump_config(config), quote=False) in text.replace("&#39;", "'").replace("&#34;", '"')
    rows = Page(text).rows
    assert ["model.hidden_units", "[64, 32]", "[300, 200, 100]"] in rows
    assert ["training.epochs", "2", "10"] in rows
    assert not any(row[:1] == ["training.batch_size"] for row in rows)


def test_changes_of_the_recipe_are_shown_first(page, tmp_path):
    facts = Page(write_and_load(page, tmp_path)).text
    assert "Recipe zoo, changed by: model=mlp optimizer.learning_rate=0.01 Model" in facts
    unchanged = dataclasses.replace(page, recipe_changes={})
    assert "Recipe zoo, unchanged Model" in Page(write_and_load(unchanged, tmp_path)).text
    assert "Recipe" not in Page(write_and_load(dataclasses.replace(page, recipe=None), tmp_path)).text


@pytest.mark.parametrize(
    ("best_epoch", "weights"), [(None, "of the last epoch"), (3, "of epoch 3, restored by early stopping")]
)
def test_the_tested_weights_are_stated(page, tmp_path, best_epoch, weights):
    text = Page(write_and_load(dataclasses.replace(page, best_epoch=best_epoch), tmp_path)).text
    assert f"Tested weights {weights}" in text


def test_changed_values_are_relative_to_the_defaults_of_the_selected_components():
    config = compose_config(["optimizer=sgd_momentum", "seed=3", "name=mine", "notes=hello"])
    changes = find_changed_values(config)
    assert changes["seed"][0] == 3
    assert changes["optimizer"] == ("sgd", "adam")
    assert not {"name", "notes", "optimizer.name"} & set(changes)
    assert find_changed_values(compose_config()) == {}


def test_a_config_without_changed_values_has_a_message(page, tmp_path):
    text = Page(write_and_load(dataclasses.replace(page, config=compose_config()), tmp_path)).text
    assert "All values are defaults." in text


def test_the_page_loads_nothing_from_the_network(page, tmp_path):
    text = write_and_load(page, tmp_path)
    parsed = Page(text)
    assert not parsed.tags("script", "link", "iframe", "object", "embed", "base")
    sources = [
        value for _, attributes in parsed.elements for name, value in attributes.items() if name in {"src", "href"}
    ]
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"url\(|@import", text)
    policy = next(
        meta["content"] for meta in parsed.tags("meta") if meta.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy


def test_plots_are_embedded_in_order(page, tmp_path):
    images = Page(write_and_load(page, tmp_path)).tags("img")
    assert [image["alt"] for image in images] == list(page.plots)
    assert all(base64.b64decode(image["src"].partition(",")[2]) == PIXEL for image in images)


def test_the_display_width_of_a_plot_depends_on_its_pixel_width(page, tmp_path):
    page.plots["Confusion"].write_bytes(PIXEL[:16] + (900).to_bytes(4) + PIXEL[20:])
    image = next(image for image in Page(write_and_load(page, tmp_path)).tags("img") if image["alt"] == "Confusion")
    assert image["width"] == "600"


def test_a_wide_plot_is_not_in_a_column(page, tmp_path):
    """It is the last one, below the plots in columns."""
    width = (2 * MAX_COLUMN_PLOT_WIDTH).to_bytes(4)
    page.plots["Confusion"].write_bytes(PIXEL[:16] + width + PIXEL[20:])
    images = Page(write_and_load(page, tmp_path)).tags("img")
    assert [image["alt"] for image in images] == ["Learning curves", "Mistakes", "Confusion"]


@pytest.mark.parametrize("classes", [30, 31, 1000])
def test_the_scores_of_many_classes_are_a_sortable_table_and_the_page_stays_small(config, tmp_path, classes):
    names = tuple(f"a rather long name <{label}>" for label in range(classes))
    text = write_and_load(build_page(config, tmp_path, names), tmp_path)
    parsed = Page(text)
    assert [f"a rather long name <{classes - 1}>", *["\N{EN DASH}"] * 3, "0"] in parsed.rows
    assert sum(len(row) == 5 and row[-1] == "0" for row in parsed.rows) == classes - 3
    tables = parsed.tags("table")
    assert any(table.get("class") == "sortable" for table in tables) == (classes > 30)
    assert len(parsed.tags("script")) == (classes > 30)
    assert parsed.text.count(names[11]) == 2
    assert parsed.text.count(names[12]) == 1
    assert f"and {classes - 12:,} more" in parsed.text
    assert "mean over 3 classes with test images" in parsed.text
    assert len(text) < 300 * 1024


def test_the_page_shows_the_commands_that_use_the_run(page, tmp_path):
    text = Page(write_and_load(page, tmp_path)).text
    assert "trainyard rerun 'a run'" in text[text.index("Next steps") :]


def test_warnings_are_at_the_top(page, tmp_path):
    text = Page(write_and_load(dataclasses.replace(page, warnings=["no ink for <b>", "no paper"]), tmp_path)).text
    assert "no ink for <b>" in text
    assert 0 < text.index("no paper") < text.index("Test accuracy")


@pytest.fixture
def failure(page):
    """The page of a run that failed in its third epoch."""
    common = {field.name: getattr(page, field.name) for field in dataclasses.fields(RunPage)}
    return FailurePage(
        **common | {"engine": None, "plots": {}},
        status="FAILED",
        activity="training, in epoch 3 of 9",
        error="bad <shape>",
        traceback='File "<plugin>", line 7',
        is_unexpected=True,
        resume_command="trainyard train resume='a folder'",
        seconds=5.0,
    )


def load_failure(failure, folder):
    write_failure_report(folder / "report.html", failure)
    return Page((folder / "report.html").read_text(encoding="utf-8")).text


def test_the_page_of_a_failed_run_shows_what_failed_where_and_what_to_do(failure, tmp_path):
    text = load_failure(failure, tmp_path)
    start = "Failed while training, in epoch 3 of 9 bad <shape>"
    assert f"{start} To continue after the last checkpoint: trainyard train resume='a folder'" in text
    assert 'File "<plugin>", line 7' in text
    assert "Status FAILED" in text
    for value in ("changed by: model=mlp", "1,200 for training", "Lowest training loss", "c0ffee", "hidden_1"):
        assert value in text


def test_the_page_of_a_run_that_failed_early_leaves_out_what_is_unknown(failure, tmp_path):
    early = dataclasses.replace(
        failure,
        dataset=None,
        model_summary=None,
        parameters=None,
        history=[],
        best_epoch=None,
        is_unexpected=False,
        resume_command=None,
    )
    text = load_failure(early, tmp_path)
    assert "Data set digits, not loaded" in text
    for missing in ("Lowest", "parameters", "Model summary", "Metrics of all epochs", "last checkpoint", "<plugin>"):
        assert missing not in text


@pytest.mark.parametrize(
    ("content", "kind", "exact"), [("lines", "png", True), ("many lines", "webp", True), ("photo", "webp", False)]
)
def test_large_plots_are_embedded_as_webp(tmp_path, content, kind, exact):
    generator = np.random.default_rng(0)
    pixels = np.zeros((1200, 1200, 3), np.uint8)
    if content == "many lines":
        pixels[np.arange(1200)[:, None], generator.integers(0, 1200, (1200, 80))] = 200
    elif content == "photo":
        waves = np.sin(np.arange(1200) / 50)[:, None, None] * np.sin(np.arange(3600).reshape(1200, 3) / 70)
        pixels = (127 + 100 * waves + generator.normal(0, 3, (1200, 1200, 3))).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "plot.png")
    embedded = embed_image("plot", tmp_path / "plot.png")
    head, _, data = embedded.address.partition(",")
    assert head == f"data:image/{kind};base64"
    assert embedded.width == 800
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        shown = np.asarray(image.convert("RGB"))
    assert np.array_equal(shown, pixels) == exact
    assert np.abs(shown.astype(int) - pixels).mean() < 5


def test_plots_of_all_widths_are_shown_with_text_of_equal_size(tmp_path):
    full = round(style.DPI * (style.WIDTH + 2 * style.PADDING))
    for width, scale in ((full, 1), (full // 2, 0.5), (2 * full, 1)):
        Image.new("RGB", (width, 9)).save(tmp_path / "plot.png")
        assert embed_image("plot", tmp_path / "plot.png").scale == pytest.approx(scale, abs=0.002)


def test_a_missing_plot_file_is_an_error(page, tmp_path):
    page.plots["Mistakes"].unlink()
    with pytest.raises(FileNotFoundError, match=r"mistakes\.png"):
        write_and_load(page, tmp_path)


@pytest.mark.parametrize("field", ["title", "experiment", "notes", "ended", "model_summary"])
def test_hostile_text_is_escaped(page, tmp_path, field):
    hostile = "</title></pre><script>alert(1)</script><img src=http://evil.example onerror=alert(1)>"
    parsed = Page(write_and_load(dataclasses.replace(page, **{field: hostile}), tmp_path))
    assert not parsed.tags("script")
    assert not any("onerror" in attributes for _, attributes in parsed.elements)
    assert hostile in "".join(parsed.words)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.416, "0.42 s"), (12.34, "12.3 s"), (59.97, "1 min 00 s"), (125, "2 min 05 s"), (3725, "1 h 02 min")],
)
def test_durations_are_formatted(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"), (True, "true"), (1e-7, "1e-07"), ([1, "a"], "[1, a]"), ("", "''"), (0.1, "0.1"),
        ([[8], [16, 8]], "[[8], [16, 8]]"), (["Flatten", {"Dense": {"units": 64}}], "[Flatten, {Dense: {units: 64}}]"),
    ],
)  # fmt: skip
def test_config_values_are_formatted_as_in_yaml(value, text):
    assert format_value(value) == text
