"""The Python API: its names, runs and collections, and the functions that the commands share."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import trainyard
from trainyard import (
    ConfigError,
    Progress,
    TrainingError,
    compare,
    compose_config,
    export,
    load_run,
    load_runs,
    promote,
    rerun,
    run_experiment,
    run_sweep,
)
from trainyard.tracking import TrackingStore

SMALL = ["dataset.limit=200", "dataset.validation_fraction=0.2", "training.epochs=2", "training.xla=off"]


@pytest.fixture(scope="module")
def runs_folder(tmp_path_factory):
    """A folder with a store that contains two widths with two seeds each."""
    folder = tmp_path_factory.mktemp("api")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for seed in (0, 1):
            for width in (8, 16):
                config = compose_config([*SMALL, f"model.hidden_units=[{width}]", f"seed={seed}", "name=widths"])
                run_experiment(config)
    return folder


@pytest.fixture
def runs(runs_folder, monkeypatch):
    monkeypatch.chdir(runs_folder)
    return load_runs("widths")


def test_all_public_names_and_no_others_are_listed_and_importable():
    assert dir(trainyard) == sorted(trainyard.__all__)
    for name in trainyard.__all__:
        assert getattr(trainyard, name).__doc__, name
    with pytest.raises(AttributeError, match="has no attribute 'runs_experiment'"):
        trainyard.runs_experiment  # noqa: B018


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, trainyard; print([name for name in ('hydra', 'numpy', 'tensorflow', 'mlflow') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_several_values_name_the_function_for_sweeps():
    with pytest.raises(ConfigError, match="run_sweep"):
        compose_config(["experiment=quickstart,mnist_baseline"])


def test_a_run_has_what_it_logged(runs):
    run = load_run(runs[0].run_id)
    assert (run.name, run.experiment, run.status, run.seed) == (
        "8 epochs2 xla-off val0.2 limit200 seed0",
        "widths",
        "FINISHED",
        0,
    )
    assert run.config.model.hidden_units == [8] == run.params["model.hidden_units"]
    assert [sorted(epoch) for epoch in run.history] == [sorted(run.history[0])] * 2
    assert run.history[-1]["accuracy/val"] == pytest.approx(run.metrics["accuracy/val"])
    correct = run.predictions.confusion.trace() / len(run.predictions.actual)
    assert correct == pytest.approx(run.metrics["accuracy/test"])
    assert run.model.count_params() == run.get("model.parameters")
    assert run.get("nothing", 5) == 5
    assert repr(run).startswith(
        f"<Run {run.run_id[:8]} '8 epochs2 xla-off val0.2 limit200 seed0' FINISHED, accuracy/val 0."
    )
    from_folder = load_run(run.folder)
    assert (from_folder.run_id, from_folder.history, dict(from_folder.metrics)) == (
        run.run_id, run.history, dict(run.metrics),
    )  # fmt: skip


def test_an_unknown_run_is_an_error(runs):
    with pytest.raises(ConfigError, match="load_run"):
        load_run("0" * 32)


def test_runs_are_filtered_sorted_and_sliced(runs):
    assert len(runs) == 4
    assert [run.seed for run in runs.filter({"model.hidden_units": [16]})] == [0, 1]
    assert len(runs.filter({"seed": [1, 2]})) == 2
    assert len(runs.filter({"accuracy/test": lambda value: value > 1})) == 0
    assert len(runs.filter({"model.hidden_units": [[16], [64]]})) == 2
    assert len(runs.filter({"seed": range(1, 5)})) == 2
    assert len(runs.filter(predicate=lambda run: run.seed == 0)) == 2
    assert [(run.params["model.hidden_units"], run.seed) for run in runs.sort("model.hidden_units", "seed")] == [
        ([8], 0), ([8], 1), ([16], 0), ([16], 1),
    ]  # fmt: skip
    best = runs.sort("accuracy/test", reverse=True)
    assert best[0].metrics["accuracy/test"] == max(run.metrics["accuracy/test"] for run in runs)
    assert len(best[:3]) == 3
    for use in (runs.sort, runs.to_frame, lambda name: runs.filter({name: 1})):
        with pytest.raises(ConfigError, match="acuracy/test: expected a param, metric, tag or attribute of the runs"):
            use("acuracy/test")
    assert runs[0] in load_runs("widths")
    assert len({*runs, *load_runs("widths")}) == 4


def test_runs_become_a_frame_and_a_table(runs):
    frame = runs.to_frame()
    assert list(frame.index) == [run.run_id for run in runs]
    assert {"name", "status", "seed", "model.hidden_units", "accuracy/test"} <= set(frame.columns)
    assert "optimizer.learning_rate" not in frame.columns, "it is the same for all runs"
    assert not any("_by_class/" in column for column in frame.columns)
    assert list(runs.to_frame("seed", "optimizer.learning_rate").columns) == ["seed", "optimizer.learning_rate"]
    html = runs._repr_html_()
    assert html.count("<tr>") == 5
    assert "model.hidden_units" in html


def test_runs_are_selected_by_the_filter_of_mlflow(runs):
    assert [run.seed for run in load_runs(filter="params.seed = '1'")] == [1, 1]
    assert len(load_runs()) == 4
    with pytest.raises(ConfigError, match="the store has no sweep 'nothing'"):
        load_runs(sweep="nothing")


def test_runs_are_compared_as_objects_ids_and_folders(runs):
    comparison = compare(runs, by="accuracy/test")
    frame = comparison.to_frame()
    assert sorted(frame["n"]) == [2, 2]
    means = {tuple(run.params["model.hidden_units"]): [] for run in runs}
    for run in runs:
        means[tuple(run.params["model.hidden_units"])].append(run.metrics["accuracy/test"])
    assert sorted(frame["accuracy/test"].iloc[:, 0] if frame["accuracy/test"].ndim > 1 else frame["accuracy/test"]) == (
        pytest.approx(sorted(sum(values) / 2 for values in means.values()), abs=1e-5)
    )
    assert comparison.verdict in comparison._repr_html_()
    pair = compare([runs[0].run_id, runs[1].folder])
    assert pair.pair is not None
    pair.write_page("compared.html")
    assert "<html" in Path("compared.html").read_text()
    for path in ("missing/page.html", "page.txt"):
        with pytest.raises(ConfigError, match="write_page: expected an .html file in an existing folder"):
            pair.write_page(path)


def test_wrong_arguments_are_explained(runs):
    for call, message in (
        (lambda: compare([]), "compare: expected finished runs, got none"),
        (lambda: compare(runs, best=0), "best: expected an integer of at least 1, got 0"),
        (lambda: compare([runs[0], 5]), "compare: expected a run, its id or its folder, got int"),
        (lambda: load_run(None), "load_run: expected a run, its id or its folder, got NoneType"),
        (lambda: rerun(runs[0], "seed=1"), "expected a list of overrides, got the string 'seed=1'"),
        (lambda: run_sweep("seed=1,2"), "expected a list of overrides, got the string 'seed=1,2'"),
    ):
        with pytest.raises(ConfigError, match=message):
            call()


def test_a_run_is_repeated_bitwise(runs):
    repeated = rerun(runs[0])
    assert repeated.is_bitwise
    assert repr(repeated).startswith("<RerunResult bitwise: accuracy/test ")
    first, second = ([epoch | {"time/epoch_seconds": 0} for epoch in run.history] for run in (runs[0], repeated.result))
    assert first == second
    changed = rerun(runs[0].folder, ["seed=7"])
    assert not changed.is_bitwise
    assert changed.comparison.changed == ["seed: 7, was 0"]


def test_a_model_is_exported_and_promoted(runs):
    folder = export(runs[0], "exported")
    assert (folder / "model.keras").exists()
    version = promote(runs[0], "digits", alias="champion")
    assert (version.version, version.uri) == (1, "models:/digits@champion")


class _Blocked(Progress):
    """Stops a run at its first stage until it may continue."""

    def __init__(self):
        self.reached, self.may_continue = threading.Event(), threading.Event()

    def stage(self, name):
        self.reached.set()
        assert self.may_continue.wait(60)


def test_a_second_run_in_another_thread_is_rejected_at_once():
    config, blocked = compose_config([*SMALL, "tracking=off"]), _Blocked()
    first = threading.Thread(target=run_experiment, args=(config,), kwargs={"progress": blocked, "folder": "first"})
    first.start()
    assert blocked.reached.wait(60)
    with pytest.raises(TrainingError, match="expected no other run in this process"):
        run_experiment(config, folder="second")
    blocked.may_continue.set()
    first.join()
    assert Path("first/model.keras").exists()
    assert not Path("second").exists()


def test_a_sweep_returns_its_ranking_and_resumes():
    overrides = [*SMALL, "model.hidden_units=[8],[16]", "sweep.seeds=2", "sweep.name=mine", "hydra.launcher.n_jobs=2"]
    result = run_sweep(overrides)
    assert result.is_complete
    assert (result.name, result.objective, len(result.trials)) == ("mine", "accuracy/val", 4)
    assert result.best is result.ranking.points[0]
    assert result.best.n == 2
    frame = result.to_frame()
    assert list(frame["model.hidden_units"]) == [
        str(point.varied["model.hidden_units"]) for point in result.ranking.points
    ]
    assert result.verdict in result._repr_html_()
    assert [run.status for run in load_runs(sweep="mine")] == ["FINISHED"] * 4
    (parent,) = TrackingStore.default().search_runs(None, "tags.`trainyard.role` = 'sweep'")
    assert parent.metrics["best/accuracy/val"] == result.best.mean
    ledger = Path("sweeps/mine/ledger.jsonl").read_text()
    assert run_sweep(overrides).best.values == result.best.values
    began = [json.loads(line)["what"] for line in Path("sweeps/mine/ledger.jsonl").read_text().splitlines()]
    assert began.count("began") == 4, ledger
    run_sweep(overrides, fresh=True)
    with pytest.raises(
        ConfigError, match=r"expected one sweep .*, got 2\. Select one by its run ID: [0-9a-f]{32}, "
    ) as caught:
        load_runs(sweep="mine")
    parent = str(caught.value).rpartition(" ")[2]
    assert len(load_runs(sweep=parent)) == 4
    with pytest.raises(ConfigError, match="load_run: expected a single run, got the sweep"):
        load_run(parent)


def test_a_failed_trial_raises_no_exception():
    result = run_sweep([*SMALL, "seed=1,2", "sweep.objective=off", "optimizer.learning_rate=1e30", "sweep.name=bad"])
    assert not result.is_complete
    assert [trial.number for trial, _ in result.failed] == [1, 2]
