"""The pages of the MLflow UI, opened in a browser as a user does who compares runs."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest

from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking import TrackingStore
from trainyard.tracking.connection import build_training_view_url, connect
from trainyard.tracking.ui_views import build_sweep_view, build_sweep_view_key

pytestmark = pytest.mark.slow

TEXT_SUFFIXES = {".txt", ".yaml", ".json"}
DOWNLOAD_SUFFIXES = {".h5", ".keras", ".npz"}
RUNS = ["64 seed2 #2", "64 seed2", "32 seed1"]
"""The names of the runs, latest first."""
VARIED = ["model.hidden_units", "optimizer.learning_rate", "accuracy/test"]
"""The first columns for params and metrics: the settings that vary, and a metric."""


@pytest.fixture(scope="session")
def store(ui):
    """The store that the UI shows: a client, the id of the experiment, and its runs by name."""
    client = connect(build_sqlite_uri(ui.folder / "mlflow.db"))
    experiment = client.get_experiment_by_name("quickstart").experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    return SimpleNamespace(client=client, experiment=experiment, runs=runs)


@pytest.fixture(scope="session")
def link(ui, store):
    """Returns a function that returns the link to a run's page, or to one of its artifacts."""

    def build_link(name: str, file: str = "") -> str:
        run = f"{ui.address}/#/experiments/{store.experiment}/runs/{store.runs[name].info.run_id}"
        return f"{run}/artifacts/{file}" if file else run

    return build_link


# ------------------------------------------------------------------------------------------------------------
# The table of runs


def test_the_link_opens_the_training_view_with_the_columns_of_the_shared_view(ui, page):
    assert "viewStateShareKey=trainyard" in ui.link
    text = page.open(ui.link, "32 seed1", "64 seed2", "sweep rates", "8 matching runs")
    for words in ("Model training", "quickstart", "Latest"):
        assert words in text
    columns = {"Run Name", "accuracy/test", "f1_macro/test", "accuracy/val", "best/accuracy/val", "model.hidden_units"}
    page.wait(lambda: columns <= set(page.heads()), f"some of the columns {columns} are missing")
    heads = dict.fromkeys(head for head in page.heads() if "/" in head or "." in head)  # MLflow repeats some
    assert list(heads)[:3] == VARIED
    page.screenshot("mlflow_latest")


def test_trials_are_nested_under_the_run_of_their_sweep(ui, page):
    text = page.open(ui.link, "sweep rates")
    assert "lr0.01" not in text
    page.click(lambda: page.row("sweep rates").find_element("css selector", "button"), "the expand button")
    trials = {"128 lr0.01", "128 lr0.001", "16 lr0.01", "16 lr0.001"}
    page.shows(*trials)

    def are_in_order() -> bool:
        names = page.names()
        return (names[0], set(names[1:5]), names[5:]) == ("sweep rates", trials, RUNS)

    page.wait(are_in_order, "the trials are not listed under their sweep")
    page.screenshot("mlflow_unfolded")


def test_columns_without_values_are_hidden(ui, page):
    store = TrackingStore(build_sqlite_uri(ui.folder / "mlflow.db"))
    client, experiment = store.client, store.open_experiment("alone", "")
    run_id = client.create_run(experiment, run_name="a run", tags={"trainyard.role": "run"}).info.run_id
    client.log_metric(run_id, "accuracy/test", 0.5)
    page.open(build_training_view_url(ui.address, experiment), "a run")
    page.wait(lambda: "accuracy/test" in page.heads(), "the columns are missing")
    assert "best/accuracy/val" not in page.heads()


def test_the_charts_of_an_experiment_are_its_learning_curves(ui, page):
    page.open(f"{ui.link}&compareRunsMode=CHART", "Learning curves", "loss/train vs loss/val", "64 seed2 (loss/val)")
    page.screenshot("mlflow_charts")


# ------------------------------------------------------------------------------------------------------------
# A sweep


@pytest.fixture(scope="session")
def swept(ui):
    """The links of two views of a sweep: a parent run with three trial runs, in a separate experiment."""
    store = TrackingStore(build_sqlite_uri(ui.folder / "mlflow.db"))
    client, experiment_id = store.client, store.open_experiment("swept", "")
    tags = {"sweep_id": "my rates", "trainyard.role": "sweep"}
    parent = client.create_run(experiment_id, run_name="the parent", tags=tags).info.run_id
    tags |= {"trainyard.role": "trial", "mlflow.parentRunId": parent}
    for start, (rate, accuracy) in enumerate((("0.1", 0.5), ("0.001", 0.75), ("0.0001", 0.625)), start=10**12):
        run_id = client.create_run(experiment_id, start, tags, run_name=f"lr{rate}").info.run_id
        client.log_param(run_id, "optimizer.learning_rate", rate)
        client.log_param(run_id, "model.hidden_units", "[64]" if rate == "0.1" else "[128, 64]")
        for epoch in (1, 2):
            client.log_metric(run_id, "accuracy/val", accuracy * epoch / 2, step=epoch)
        client.set_terminated(run_id)
    key = build_sweep_view_key("my rates")
    for view_key, objective in ((key, "accuracy/val"), ("unranked", None)):
        (view,) = build_sweep_view("my rates", objective, ["optimizer.learning_rate", "model.hidden_units"]).values()
        client.set_experiment_tag(experiment_id, f"mlflow.sharedViewState.{view_key}", view)
    return SimpleNamespace(
        best_first=build_training_view_url(ui.address, experiment_id, key),
        unranked=build_training_view_url(ui.address, experiment_id, "unranked"),
    )


@pytest.mark.parametrize(
    ("view", "order"), [("best_first", ["0.001", "0.0001", "0.1"]), ("unranked", ["0.1", "0.001", "0.0001"])]
)
def test_a_sweep_view_shows_its_trials_in_order(swept, page, view, order):
    text = page.open(getattr(swept, view), "3 matching runs", "optimizer.learning_rate", "lr0.001")
    page.wait(lambda: page.names() == [f"lr{rate}" for rate in order], f"the trials are not ordered {order}")
    assert "the parent" not in text


def test_varied_settings_of_a_sweep_are_plotted_against_its_objective(ui, store, page):
    view = build_training_view_url(ui.address, store.experiment, build_sweep_view_key("rates"))
    page.open(
        f"{view}&compareRunsMode=CHART",
        "4 matching runs",
        "Varied settings",
        "optimizer.learning_rate vs. accuracy/val",
        "model.hidden_units vs. accuracy/val",
        "Parallel Coordinates",
    )
    page.screenshot("mlflow_sweep")


# ------------------------------------------------------------------------------------------------------------
# Two runs


def test_the_comparison_of_two_runs_shows_their_differences(ui, page):
    page.open(ui.link, "32 seed1", "64 seed2")
    for name in ("32 seed1", "64 seed2"):
        page.click(lambda name=name: page.row(name).find_element("css selector", "input[type=checkbox]"), name)
    page.click_button("Compare")
    page.shows("Comparing 2 Runs from 1 Experiment", "Parallel Coordinates Plot", "optimizer.learning_rate")
    differing = ["model.hidden_units", "model.parameters", "seed"]

    def axes() -> list[str]:
        return [axis.text for axis in page.browser.find_elements("css selector", ".parcoords .axis-title")]

    page.wait(lambda: axes()[:3] == differing and len(axes()) > 3, "the differing params and a metric are not plotted")
    page.screenshot("mlflow_compare")
    page.click(
        lambda: page.browser.find_element("css selector", "[aria-label='Parameters - Show diff only']"), "the switch"
    )
    page.wait(lambda: "optimizer.learning_rate" not in page.text, "equal params are still shown")
    shown = page.text.partition("Show diff only")[2].partition("Metrics")[0]
    for words in differing:
        assert words in shown


def test_the_comparison_of_three_runs_has_a_different_heading_for_each(ui, page):
    page.open(ui.link, *RUNS)
    for name in RUNS:
        page.click(lambda name=name: page.row(name).find_element("css selector", "input[type=checkbox]"), name)
    page.click_button("Compare")
    page.shows("Comparing 3 Runs from 1 Experiment", *RUNS)
    page.screenshot("mlflow_compare_three")


# ------------------------------------------------------------------------------------------------------------
# Models


def test_the_models_have_names_that_say_what_they_are_and_metrics_by_data_set(ui, store, page):
    link = build_training_view_url(ui.address, store.experiment).replace("/runs?", "/models?")
    names = ["64 relu seed2 #2", "64 relu seed2", "32 relu seed1", "128 relu lr0_01"]
    text = page.open(link, *names, "accuracy/test")
    assert "digits" in text
    page.screenshot("mlflow_models")


# ------------------------------------------------------------------------------------------------------------
# One run


def test_the_page_of_a_run_shows_its_scores_and_description(page, link):
    page.open(link("64 seed2"), "accuracy/test", "Finished", "accuracy on", "weights_digest")
    page.screenshot("mlflow_run")


def test_the_charts_of_a_run_are_grouped_by_metric(page, link):
    text = page.open(f"{link('64 seed2')}/model-metrics", "accuracy_top5", "recall_by_class")
    rows = {name: int(charts) for name, charts in re.findall(r"\n(\w+)\n\((\d+)\)\n", text)}
    assert (rows["accuracy"], rows["loss"]) == (3, 3)  # of training, validation and test
    assert (rows["f1_by_class"], rows["precision_by_class"], rows["recall_by_class"]) == (10, 10, 10)
    page.screenshot("mlflow_metrics")


def test_the_page_of_a_run_shows_its_three_splits(page, link):
    page.open(link("64 seed2"), "Datasets")
    page.click(
        lambda: page.browser.find_element(
            "xpath", "//*[@role='button' and starts-with(normalize-space(), 'digits (')]"
        ),
        "the data set",
    )
    text = page.shows("3 datasets used", "Digest:", "Validation", "Test", "image shape")
    assert "scikit-learn" in text


def test_the_page_of_the_logged_model_shows_its_scores_and_params(ui, store, page):
    run_id = store.runs["64 seed2"].info.run_id
    (model,) = store.client.search_logged_models([store.experiment], f"source_run_id = '{run_id}'")
    text = page.open(f"{ui.address}/#/experiments/{store.experiment}/models/{model.model_id}", "accuracy/test", "Ready")
    assert model.params["model.hidden_units"] == "[64]"
    for words in ("model.hidden_units", "64 seed2", "64 relu seed2"):
        assert words in text


@pytest.mark.parametrize("name", ["64 seed2", "sweep rates"])
def test_every_artifact_opens_in_the_viewer(ui, store, page, link, name):
    run = store.runs[name]
    folder = next((ui.folder / "mlartifacts").rglob(run.info.run_id)) / "artifacts"
    tables = {table["path"] for table in json.loads(run.data.tags["mlflow.loggedArtifacts"])}
    seen = set()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        file, kind = path.relative_to(folder).as_posix(), path.suffix
        seen.add(kind)
        page.open(link(name, file), f"/artifacts/{file}")
        if file in tables:
            check_table(page, json.loads(path.read_text()))
        elif kind == ".png":
            check_image(page)
        elif kind == ".html":
            check_html_page(page, path.read_text())
        elif kind in TEXT_SUFFIXES:
            first_line = next(line for line in path.read_text().splitlines() if any(map(str.isalnum, line)))
            page.shows(first_line.strip())
        else:
            assert kind in DOWNLOAD_SUFFIXES, file
    assert {".png", ".html", ".yaml", ".json"} <= seen
    assert tables


def check_table(page, table) -> None:
    """Checks that the page shows each cell of a table."""
    page.shows("View as table", *table["columns"])
    # JavaScript shows whole numbers without decimals
    cells = [
        int(cell) if isinstance(cell, float) and cell.is_integer() else cell for row in table["data"] for cell in row
    ]
    expected = {"null" if cell is None else str(cell) for cell in cells}

    def find_missing() -> set[str]:
        return expected - set(page.text.partition("View as table")[2].split("\n"))

    page.wait(lambda: not find_missing(), f"some of the cells {expected} are missing in the table")


def check_image(page) -> None:
    """Checks that the page shows an image."""
    page.wait(
        lambda: [image for image in page.find("img") if image.get_property("naturalWidth") > 500], "no image is shown"
    )


def check_html_page(page, source: str) -> None:
    """Checks that an HTML page that Trainyard wrote is shown with all of its images."""
    page.browser.switch_to.frame(page.find("iframe")[0])
    try:

        def are_images_shown() -> bool:
            images = page.browser.find_elements("css selector", "img")
            return len(images) == source.count("<img") and all(image.get_property("naturalWidth") for image in images)

        page.wait(are_images_shown, "the page does not show all of its images")
    finally:
        page.browser.switch_to.default_content()
