"""Plots and report of a run that are written later: equal to those of a run that writes them itself."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from trainyard import ConfigError, run_experiment
from trainyard.cli.commands import app
from trainyard.config import registry
from trainyard.runs import print_result, report_run, write_missing_report
from trainyard.runs.report import is_report_written
from trainyard.system import collect_process_info
from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking import TrackingStore
from trainyard.tracking.connection import connect
from trainyard.tracking.stores import LocalStore

FILES = {
    "learning_curves.png", "confusion_matrix.png", "predictions.png", "evaluation/mistakes.png",
    "evaluation/calibration.png", "report.html",
}  # fmt: skip


def find_files(folder):
    return {name for name in FILES if (folder / name).is_file()}


def load_report(folder):
    """Returns the report without what differs: the end of the run, and the duration of logging."""
    text = (folder / "report.html").read_text()
    text = re.sub(r"Finished [^<]*", "", text)
    return re.sub(r"\s*<tr><th scope=\"row\">(log|Total)</th>.*?</tr>", "", text)


@pytest.mark.parametrize(
    ("plots", "run", "trial"),
    [(None, True, False), ("all", True, True), ("best", True, False), ("none", False, False)],
)
def test_the_setting_determines_which_runs_draw_their_plots(plots, run, trial):
    config = LocalStore(plots=plots)
    assert is_report_written(config, is_trial=False) == run
    assert is_report_written(config, is_trial=True) == trial


@pytest.fixture(scope="module")
def bare(train_once):
    """A run without plots and report."""
    result = train_once("tracking.plots=none", "dataset.validation_fraction=0.2", "training.early_stopping.patience=9")
    assert not find_files(result.folder)
    return result


def test_plots_and_report_are_the_same_as_those_that_the_run_writes(bare, train_once):
    original = train_once("dataset.validation_fraction=0.2", "training.early_stopping.patience=9")
    assert find_files(original.folder) == FILES
    assert f"{original.name}, {original.run_id}" in load_report(original.folder)
    for command in ("rerun {}", "export {} model", "predict {} image.png"):
        option = f" --uri {original.tracking_uri}"
        assert f"<code>trainyard {command.format(original.run_id)}{option}</code>" in load_report(original.folder)
    folder, notices = shutil.copytree(original.folder, "copy"), []
    for name in FILES:
        Path(folder, name).unlink()
    assert set(write_missing_report(Path(folder), notices.append)) == FILES
    assert notices == []
    for name in FILES - {"report.html"}:
        assert Path(folder, name).read_bytes() == (original.folder / name).read_bytes(), name
    assert load_report(Path(folder)) == load_report(original.folder)


def test_additional_metrics_are_printed_and_in_the_report(quick, keras, monkeypatch, capsys):
    """The expected values are computed from the logged predictions."""

    def compute_share_of_zeros(probabilities, labels):
        return (probabilities.argmax(axis=1) == 0).mean()

    monkeypatch.setitem(registry._metrics, "share_of_zeros", compute_share_of_zeros)
    monkeypatch.setitem(registry._metrics, "undefined", lambda probabilities, labels: float("nan"))
    config = quick("tracking=off", "evaluation.metrics=[share_of_zeros,undefined]")
    result = run_experiment(config)
    print_result(result)
    with np.load(result.folder / "evaluation" / "test_predictions.npz") as arrays:
        text = f"{np.mean(arrays['predicted'] == 0):.4f}"
    assert f"\nmetrics   share_of_zeros {text}\n" in capsys.readouterr().out
    assert f"<td>{text}</td>" in result._repr_html_()
    rows = (
        f'<th scope="row">share_of_zeros</th><td>{text}</td>',
        '<th scope="row">undefined</th><td>–</td>',  # noqa: RUF001 - as in the table of classes
    )
    report = (result.folder / "report.html").read_text()
    (result.folder / "report.html").unlink()
    write_missing_report(result.folder, print)
    for page in (report, (result.folder / "report.html").read_text()):
        assert all(row in page for row in rows)


def test_a_run_whose_folder_is_elsewhere_is_reported_from_the_store(bare, monkeypatch):
    """The second time, the report is found without the store."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path("cache").absolute()))
    shutil.copytree(bare.folder.parent, "store")
    store = TrackingStore(build_sqlite_uri(Path("store/mlflow.db").absolute()))
    report = report_run(bare.run_id, TrackingStore(bare.tracking_uri), print)
    assert "<img" in report.read_text()
    client = connect(bare.tracking_uri)
    logged = {file.path for path in (None, "evaluation") for file in client.list_artifacts(bare.run_id, path)}
    assert logged >= FILES
    assert report.is_relative_to(Path("cache").absolute())
    assert report_run(bare.run_id, store, print) == report


def test_the_command_logs_the_report_of_a_folder_and_prints_its_path(quick, keras):
    result = run_experiment(quick("tracking.plots=none"))
    outcome = CliRunner().invoke(app, ["report", str(result.folder)])
    assert outcome.exit_code == 0, outcome.output
    assert outcome.stdout.strip() == f"{result.folder.relative_to(Path.cwd())}/report.html"
    assert find_files(result.folder) == FILES
    files = connect(result.tracking_uri).list_artifacts(result.run_id)
    assert {"report.html", "confusion_matrix.png"} <= {file.path for file in files}


def test_plots_of_images_are_left_out_if_the_data_is_gone(quick, keras):
    generator = np.random.default_rng(0)
    images, labels = generator.integers(0, 256, (40, 8, 8), np.uint8), np.arange(40) % 3
    np.savez("data.npz", x_train=images, y_train=labels, x_test=images[labels < 2], y_test=labels[labels < 2])
    result = run_experiment(
        quick("dataset=npz", "dataset.path=data.npz", "dataset.limit=null", "tracking=off", "tracking.plots=none")
    )
    Path("data.npz").unlink()
    notices = []
    report = report_run(str(result.folder), None, notices.append)
    assert find_files(result.folder) == FILES - {"predictions.png", "evaluation/mistakes.png"}
    (notice,) = notices
    assert "data.npz" in notice
    text = report.read_text()
    assert "data.npz" in text
    assert "no test images of 1 of 3 classes: 2." in text


def test_only_finished_runs_with_all_files_have_a_report(bare):
    folder = Path(shutil.copytree(bare.folder, "copy"))
    (folder / "model_summary.txt").unlink()
    with pytest.raises(ConfigError, match="report: expected a run with all its files, got .*model_summary.txt"):
        report_run(str(folder), None, print)
    log = folder / ".tracking.jsonl"
    log.write_text("".join(line for line in log.read_text().splitlines(True) if '"end"' not in line))
    for host, message in (("elsewhere", "may still be running on host elsewhere"), (None, "still running, as process")):
        text = re.sub(r'"host": "[^"]*"', f'"host": "{host}"', log.read_text()) if host else log.read_text()
        process = collect_process_info()
        if host is None:
            for name in ("host", "pid", "started"):
                text = re.sub(rf'"{name}": "[^"]*"', f'"{name}": "{process[name]}"', text)
        log.write_text(text)
        with pytest.raises(ConfigError, match=f"report: expected a run that has ended, got .*{message}"):
            report_run(str(folder), None, print)
