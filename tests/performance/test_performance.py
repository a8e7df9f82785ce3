from __future__ import annotations

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from experiments.performance import (
    benchmark,
    measure_compare,
    measure_run,
    measure_search,
    measure_sweep,
    page,
    results,
    sections,
)
from experiments.performance.figures import draw_pictures
from experiments.performance.images import provide_digits, provide_mnist, read_training_images
from experiments.performance.measure_compare import OURS, SIZES
from experiments.performance.measure_compare import PLAIN as MLFLOW
from experiments.performance.measure_epochs import FIT, FLOOR, LOOPS, NO_XLA, TRAINYARD, Setting
from experiments.performance.measure_run import EXISTING, FIRST, FRESH, PLAIN, UNTRACKED
from experiments.performance.measure_search import CLEVER, RANDOM, Found, course, equal_budget
from experiments.performance.measure_sweep import LEARNING_RATES, LOOP, LOOP_RATES, ONE_BY_ONE, SWEEP
from experiments.performance.summary_statistics import Goal, Spread, difference, ratio, spread
from experiments.performance.training_job import PRODUCTS, Job
from experiments.performance.training_processes import Contestant, child_environment, compete, contestants
from trainyard.errors import ConfigError, DatasetError, TrainingError
from trainyard.system.progress import Progress
from trainyard.system.uris import sqlite_uri
from trainyard.tracking.connection import connect

ROOT = Path(__file__).parents[2]
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def digits(tmp_path):
    folder = tmp_path / "digits"
    folder.mkdir()
    return provide_digits(folder)


def about(*, quick=False, gpus=()):
    machine = {
        "cpu": "A processor", "cores": 2, "memory_gib": 8.0, "gpus": list(gpus), "platform": "Linux", "threads": 2,
        "python": "3.11.9",
    }  # fmt: skip
    return {
        "date": "2026-03-01 12:00 UTC", "command": "python -m experiments.performance", "commit": "abc", "dirty": False, "seconds": 9.0,
        "quick": quick, "machine": machine, "versions": {"keras": "3.15.1"},
    }  # fmt: skip


def contest(*, fit=(6.0, 6.0, 9.0), ours=(1.0, 1.0, 1.8), floor=(1.0, 0.8, 1.5)):
    compiled = {"engine": "compiled", "xla": "on: because", "compile_seconds": 2.5, "first_seconds": 1.5}
    return {
        FIT: {"first_seconds": 7.5, "epoch_seconds": list(fit)},
        TRAINYARD: {**compiled, "epoch_seconds": list(ours)},
        FLOOR: {"first_seconds": 1.0, "epoch_seconds": list(floor)},
    }


def made_up_parts(**told):
    """Results of every part, as they are read from the file."""
    own = {"about": about(**told)}
    sizes = {"images": 60_000, "epochs": 4}
    choices = {
        f"{engine} {way}": {"first_seconds": 4.0, "epoch_seconds": [seconds], "engine": engine, "compile_seconds": 2.0}
        for engine, way, seconds in (
            ("compiled", "with XLA", 9.0), ("compiled", "without XLA", 1.5), ("fit", "with XLA", 8.0),
            ("fit", "without XLA", 2.0),
        )
    }  # fmt: skip
    cells = [
        {"batch_size": batch, "hidden_units": units, "contestants": contest()}
        for batch in (32, 512)
        for units in ([64], [1024], [300, 200, 100])
    ]
    stages = {"before": 1.0, "start": 2.0, "train": 3.0, "after": 0.5}
    walls = {PLAIN: 20.0, FIRST: 9.0, FRESH: 7.0, EXISTING: 6.5, UNTRACKED: 5.0}
    rounds = [
        {name: {"wall_seconds": wall * slow, "stages": stages, "test_accuracy": 0.98} for name, wall in walls.items()}
        for slow in (1.0, 3.0)
    ]
    return {
        "epoch": {**own, **sizes, "batch_size": 32, "hidden_units": [300, 200, 100], "contestants": contest()},
        "grid": {**own, **sizes, "cells": cells},
        "xla": {
            **own,
            "networks": {"cnn": {"images": 10, "batch_size": 5, "auto": "off: slow", "contestants": choices}},
        },
        "memory": {
            **own,
            "batch_size": 500,
            "rows": [
                {"contestant": TRAINYARD, "images": 60_000, "import_mib": 700.0, "peak_mib": 1000.0},
                {"contestant": TRAINYARD, "images": 600_000, "import_mib": 700.0, "peak_mib": 2000.0},
            ],
            "skipped": ["fit on 600,000 images: too little memory"],
        },
        "seeds": {
            **own,
            "epochs": 10,
            "trials": {"compiled": trials(0.978, 0.979, 0.980), "fit": trials(0.979, 0.979)},
        },
        "run": {**own, "epochs": 10, "rounds": rounds},
        "sweep": {**own, "epochs": 10, "rounds": [sweep_round(1.0), sweep_round(3.0)]},
        "search": {**own, "epochs": 10, "rounds": [search_round(0.0), search_round(0.001)]},
        "compare": {**own, "params": 79, "metric_values": 166, "seeds": 5, "sizes": compare_sizes()},
    }


def search_round(better: float) -> dict[str, dict[str, object]]:
    def trial(seconds, validation):
        test = None if validation is None else validation - 0.01
        return {"seconds": seconds, "epochs": 10, "validation": validation and validation + better, "test": test}

    blind = [trial(10.0, 0.96), trial(20.0, 0.95), trial(10.0, 0.97)]
    clever = [trial(10.0, 0.95), trial(2.0, None), trial(10.0, 0.98), trial(30.0, 0.99)]
    return {RANDOM: {"wall_seconds": 25.0, "trials": blind}, CLEVER: {"wall_seconds": 30.0, "trials": clever}}


def compare_sizes() -> list[dict[str, object]]:
    return [
        {
            "runs": runs,
            "rounds": [{OURS: 0.008 * runs, MLFLOW: 0.004 * runs}, {OURS: 0.01 * runs, MLFLOW: 0.008 * runs}],
        }
        for runs in SIZES
    ]


def sweep_round(slow: float) -> dict[str, list[dict[str, object]]]:
    return {
        LOOP: [{"wall_seconds": 50.0 * slow, "accuracies": {rate: 0.97}} for rate in LOOP_RATES],
        SWEEP: [{"wall_seconds": 96.0 * slow, "accuracies": dict.fromkeys(LEARNING_RATES, 0.98)}],
        ONE_BY_ONE: [{"wall_seconds": 160.0 * slow, "accuracies": dict.fromkeys(LEARNING_RATES, 0.98)}],
    }


def trials(*accuracies: float) -> list[dict[str, float]]:
    return [{"seed": seed, "accuracy": value, "seconds": 9.0} for seed, value in enumerate(accuracies)]


# ---------------------------------------------------------------------------------------------------------------
# Numbers


def test_a_spread_is_the_median_with_the_quartiles():
    assert spread([4.0, 1.0, 3.0, 2.0, 5.0]) == Spread(median=3, low=2, high=4)
    assert spread([7.0]) == Spread(7, 7, 7)
    assert str(spread([1.0, 2.0, 3.0])) == "2.00 (1.50 to 2.50)"


def test_ratios_are_taken_round_by_round_so_that_a_slow_round_cancels_out():
    slow = [1.0, 10.0, 3.0]
    assert ratio([5 * factor for factor in slow], slow) == Spread(5, 5, 5)
    assert difference([factor + 2 for factor in slow], slow) == Spread(2, 2, 2)
    with pytest.raises(ValueError, match="shorter"):
        ratio([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("median", "at_least", "verdict"),
    [(4.6, True, "met"), (4.4, True, "missed"), (4.6, False, "missed"), (4.5, False, "met")],
)
def test_a_goal_is_met_by_its_median(median, at_least, verdict):
    goal = Goal("times", Spread(median, 0, 9), 4.5, at_least=at_least)
    assert goal.verdict == verdict
    assert goal.wanted == ("at least 4.5" if at_least else "at most 4.5")
    assert Goal("times", Spread(9, 9, 9), 1, not_judged="tiny").verdict == "not judged: tiny"


# ---------------------------------------------------------------------------------------------------------------
# Results, sections, page, pictures


def test_parts_that_are_measured_again_replace_their_own_kind(tmp_path):
    results.save_results(tmp_path, {"run": {"a": 1}, "epoch": {"b": 2}})
    parts = results.load_results(tmp_path)
    results.save_results(tmp_path, parts | {"epoch": {"b": 3}})
    assert results.load_results(tmp_path) == {"epoch": {"b": 3}, "run": {"a": 1}}
    assert list(json.loads((tmp_path / "results.json").read_text())["parts"]) == ["epoch", "run"]
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["results.json"]


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"format": 1}', '{"format": 99, "parts": {}}'])
def test_a_file_of_another_kind_is_not_overwritten(tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(ConfigError, match=r"results.json: expected .* Move it away, or use --out"):
        benchmark.run_benchmark(["epoch"], tmp_path, quick=True)
    assert (tmp_path / "results.json").read_text() == content


def test_an_unknown_part_is_named_with_those_there_are(tmp_path):
    with pytest.raises(
        ConfigError, match="performance: unknown part 'epochs'. Available: epoch, grid, xla, memory, seeds, run, sweep"
    ):
        benchmark.run_benchmark(["epochs"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_goals_are_computed_from_the_raw_numbers_and_judged_as_they_are():
    goals = [goal for section in sections.build_sections(made_up_parts()) for goal in section.goals]
    assert [(round(goal.measured.median, 3), goal.verdict) for goal in goals] == [
        (6.0, "met"), (1.2, "met"), (0.169, "met"), (0.45, "missed"), (0.325, "met"), (4.0, "missed"), (3.0, "missed"),
        (8.333, "met"), (1.667, "missed"), (9.0, "met"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("told", "why"), [({"quick": True}, "a smoke run of tiny sizes"), ({"gpus": ["H1"]}, "the goals are for a CPU")]
)
def test_what_proves_nothing_is_not_judged(told, why):
    """Of speed, that is; whether the accuracies are equivalent can be judged on a GPU too."""
    found = sections.build_sections(made_up_parts(**told))
    goals = [goal for section in found if section.name != "seeds" for goal in section.goals]
    assert {goal.verdict for goal in goals} == {f"not judged: {why}"}


def test_a_sweep_is_judged_on_the_cores_that_its_goals_are_for():
    part = made_up_parts()["sweep"]
    part["about"]["machine"]["threads"] = 8
    (section,) = sections.build_sections({"sweep": part})
    assert {goal.verdict for goal in section.goals} == {"not judged: the goals are for 2 cores; see --threads"}


@pytest.mark.parametrize(
    ("found", "place", "why"),
    [
        (contest(floor=(4.0, 4.0, 4.0)), 1, "not judged: the floor was slower than what stands on it"),
        (contest(fit=(6.0, 20.0, 9.0)), 0, "not judged: the rounds differ too much"),
        (contest(fit=(4.0, 4.1, 7.2)), 0, "missed"),
    ],
)
def test_a_disturbed_measurement_is_not_judged(found, place, why):
    parts = made_up_parts()
    parts["epoch"]["contestants"] = found
    (section,) = sections.build_sections({"epoch": parts["epoch"]})
    assert section.goals[place].verdict.startswith(why)


def test_the_page_holds_every_part_with_its_figures_and_its_origin():
    text = page.write_page(sections.build_sections(made_up_parts()))
    assert "| epoch: times as fast as plain fit | 6.00 (5.50 to 6.00) | at least 4.5 | met |" in text
    assert "| trainyard | 1.00 | 1.00 to 1.40 | 6.00 (5.50 to 6.00) | 1.20 (1.10 to 1.23) | 2.5 |" in text
    assert "| fit | 6.00 | 6.00 to 7.50 | 1.00 | 6.00 (6.00 to 6.75) | 1.5 |" in text
    assert "| cnn: compiled without XLA | 1.500 | 1.00 | 2.0 |" in text
    assert "takes 0.17 times the time of the other way" in text
    assert "each image beyond 60,000 takes 1.90 KiB" in text
    assert "Left out: fit on 600,000 images" in text
    assert "| from the shell to the exit | 6.50 | 6.50 | 6.50 | 6.50 |" in text
    assert "| trainyard sweep | 6.67 | 5.00 to 8.33 | 8.33 | 1.67 | 192.0 |" in text
    assert "at the learning rate 0.000501: loop 0.9700, sweep 0.9800." in text
    assert text.count("Measured 2026-03-01 12:00 UTC in 9 s on A processor, 2 cores") == len(results.PARTS)
    widths = {line.count("|") for line in text.splitlines() if line.startswith("| network")}
    assert widths == {5}
    assert "smoke run" not in text


def test_searches_are_compared_at_what_the_cheapest_of_them_spent():
    part = made_up_parts()["search"]
    assert equal_budget(part) == 40.0
    (section,) = sections.build_sections({"search": part})
    on_validation, on_test = section.tables
    assert on_validation.rows[0][:3] == ["validation, after 10.0 s", "96.050 ± 0.071", "95.050 ± 0.071"]
    assert on_validation.rows[2][:3] == ["validation, after 40.0 s", "97.050 ± 0.071", "98.050 ± 0.071"]
    assert on_validation.rows[2][3].startswith("+1.000 (")
    assert on_test.rows[2][1:3] == ["96.000 ± 0.000", "97.000 ± 0.000"]
    matched = (
        "TPE with pruning had found as good a point as random search of its seed had at the end in 2 of 2 searches"
    )
    assert section.notes == [
        "Trials of a search: random 3, TPE 4, of which 1 were pruned. TPE's first ten points are drawn at random, by the seed that random search has, too.",
        f"{matched}; there after 55 % of the time (median).",
    ]


def test_comparing_is_held_against_its_goal_among_a_thousand_runs():
    (section,) = sections.build_sections({"compare": made_up_parts()["compare"]})
    (table,) = section.tables
    assert [row[:2] for row in table.rows][:2] == [
        ["1,000 runs, trainyard compare", "9.0"], ["1,000 runs, mlflow.search_runs", "6.0"],
    ]  # fmt: skip
    assert table.rows[2][3] == "1.62 (1.44 to 1.81)"
    (goal,) = section.goals
    assert (goal.what, goal.measured.median, goal.verdict) == ("seconds among 1,000 runs", 9.0, "met")


def test_what_a_search_has_found_is_its_best_on_validation_so_far_and_all_it_spent_counts():
    trials = search_round(0.0)[CLEVER]["trials"]
    assert course(trials) == [Found(10.0, 0.95, 0.94), Found(22.0, 0.98, 0.97), Found(52.0, 0.99, 0.98)]
    assert course(trials, 30.0) == course(trials)[:2]
    assert course(trials, 5.0) == []


def test_a_page_of_one_part_alone():
    parts = {"memory": made_up_parts()["memory"]}
    text = page.write_page(sections.build_sections(parts))
    assert re.findall(r"^#+ .*", text, re.MULTILINE) == ["# Performance", "## Memory"]


@pytest.mark.pictures
def test_every_part_with_a_picture_gets_it(tmp_path):
    parts = made_up_parts()
    draw_pictures(parts, tmp_path)
    named = {section.picture for section in sections.build_sections(parts) if section.picture}
    assert {path.name for path in tmp_path.glob("*.png")} == named
    assert all((tmp_path / name).read_bytes().startswith(PNG) for name in named)


def test_the_command_to_repeat_names_no_path_of_this_machine():
    assert benchmark.repeat_command("run", Path("/secret"), 2, 5, quick=False) == (
        "python -m experiments.performance run --mnist FOLDER --threads 2 --rounds 5"
    )
    assert (
        benchmark.repeat_command("sweep", None, None, 5, quick=False)
        == "python -m experiments.performance sweep --rounds 5"
    )
    assert (
        benchmark.repeat_command("epoch", None, None, 3, quick=True)
        == "python -m experiments.performance epoch --quick"
    )


# ---------------------------------------------------------------------------------------------------------------
# Images and children


def test_images_are_read_back_repeated(digits):
    few = read_training_images(digits, 50, 1)
    assert (few.images.shape, few.labels.shape) == ((50, 8, 8), (50,))
    many = read_training_images(digits, 50, 3)
    assert len(many) == 150
    assert (many.images[100:] == few.images).all()


def test_mnist_is_verified_and_unzipped_or_packed_otherwise_is_zipped_for_all(tiny_mnist, tmp_path):
    assert provide_mnist(tiny_mnist, tmp_path, progress=False) == tiny_mnist.resolve()
    spare = tmp_path / "spare"
    spare.mkdir()
    assert provide_mnist(tiny_mnist.parent / "mnist.npz", spare, progress=False) == spare
    assert (read_training_images(spare, 40, 1).images == read_training_images(tiny_mnist, 40, 1).images).all()
    with pytest.raises(DatasetError, match="--mnist: expected .* to hold the four MNIST idx files"):
        provide_mnist(tmp_path / "nowhere", spare, progress=False)


def test_contestants_take_turns_and_the_first_epoch_is_kept_apart(digits):
    told = []

    class Listener(Progress):
        def step(self, epoch, epochs, step, steps):
            told.append((epoch, epochs, step, steps))

    job = Job(PRODUCTS, 300, 3, hidden_units=(16,))
    with contestants({"a": PRODUCTS, "b": PRODUCTS}, digits, 1) as those:
        children = [psutil.Process(one._process.pid) for one in those.values()]
        found = compete(those, dict.fromkeys(those, job), Listener())
        again = compete(those, dict.fromkeys(those, job), Progress())  # the same processes take another job
        assert all(one.peak_mib > 10 for one in those.values())
        assert [child for child in children if child.is_running()] == children
    assert told == [(epoch, 3, place, 2) for epoch in (1, 2, 3) for place in (1, 2)]
    for one in (*found.values(), *again.values()):
        assert len(one["epoch_seconds"]) == 2
        assert 0 < one["first_seconds"] < 30
    assert not any(child.is_running() for child in children)


def test_a_job_survives_the_way_to_the_child():
    job = Job("auto", 10, 2, batch_size=5, network="cnn", hidden_units=(1, 2), xla="off", repeat=3)
    assert Job.from_line(job.to_line()) == job


def test_a_child_that_fails_is_told_with_its_last_words(tmp_path):
    with Contestant("the floor", PRODUCTS, tmp_path, 1) as contestant:
        contestant.await_start()
        with pytest.raises(TrainingError, match="the contestant 'the floor' ended with code 1") as failure:
            contestant.prepare(Job(PRODUCTS, 10, 1))
    assert "FileNotFoundError" in str(failure.value)


def test_a_child_that_is_killed_is_told_with_advice(tmp_path):
    with Contestant("the floor", PRODUCTS, tmp_path, 1) as contestant:
        contestant.await_start()
        os.kill(contestant._process.pid, signal.SIGKILL)
        contestant._process.wait()
        with pytest.raises(TrainingError, match="was ended by SIGKILL. Is there enough memory"):
            contestant.prepare(Job(PRODUCTS, 10, 1))


def test_a_child_logs_nowhere_else_and_compiles_for_itself(monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somewhere")
    monkeypatch.setenv("TF_XLA_FLAGS", "--other --tf_xla_persistent_cache_directory=/x/trainyard/xla/1")
    environment = child_environment(3, tmp_path)
    assert "MLFLOW_TRACKING_URI" not in environment
    assert environment["TF_XLA_FLAGS"] == "--other"
    assert environment["XDG_CACHE_HOME"] == str(tmp_path)
    assert environment["OPENBLAS_NUM_THREADS"] == "3"
    assert "OPENBLAS_NUM_THREADS" not in child_environment(None, tmp_path).keys() - os.environ.keys()


# ---------------------------------------------------------------------------------------------------------------
# Whole sweeps

STAND_IN = """
import json, os, shutil, sys
from pathlib import Path

home = Path(os.environ["STAND_IN"])
told = {"words": sys.argv[1:], "folder": os.getcwd(), "held": os.listdir(), "cache": os.environ["XDG_CACHE_HOME"]}
with (home / "calls").open("a") as calls:
    calls.write(json.dumps(told) + chr(10))
if sys.argv[1] == "sweep":
    shutil.copy(home / "store.db", "mlflow.db")
else:
    Path("mlflow.db").touch()
    print(json.dumps({"test_accuracy": 0.97}))
"""
"""In the place of the sweep and of the loop's script: takes no time, and says how it was called."""


@pytest.fixture
def stand_in(new_store, tmp_path, monkeypatch):
    """Puts a script in the place of both commands; returns its folder, with the store that it takes for the sweep's."""
    folder = tmp_path / "stand_in"
    folder.mkdir()
    new_store(folder / "store.db")
    script = folder / "script.py"
    script.write_text(STAND_IN)
    monkeypatch.setenv("STAND_IN", str(folder))
    monkeypatch.setattr(measure_sweep, "SCRIPT", script)
    monkeypatch.setattr(measure_sweep, "console_command", lambda: [sys.executable, str(script)])
    return folder


def log_trials(folder: Path, statuses: dict[str, str]) -> None:
    """Logs a run of each learning rate to the store of a stand-in, and the run of the sweep itself, which has none."""
    client = connect(sqlite_uri(folder / "store.db"))
    experiment = client.create_experiment("mnist_baseline")
    client.set_terminated(client.create_run(experiment).info.run_id)
    for rate, status in statuses.items():
        run_id = client.create_run(experiment).info.run_id
        client.log_param(run_id, "optimizer.learning_rate", float(rate))
        client.log_metric(run_id, "accuracy/test", float(rate) * 100)
        client.set_terminated(run_id, status)


def test_sweeps_begin_from_nothing_and_the_loop_does_not(stand_in, digits):
    log_trials(stand_in, dict.fromkeys(LEARNING_RATES, "FINISHED"))
    measured = measure_sweep.measure_sweep(Setting(digits, 2, 2, quick=False, progress=Progress()))
    warm_up, *calls = [json.loads(line) for line in (stand_in / "calls").read_text().splitlines()]
    assert warm_up["words"] == [str(digits), "300,200,100", LEARNING_RATES[0], "1"]
    assert [call["words"][0] == "sweep" for call in calls] == [False, True, False, True, False] * 2

    loop = [call for call in calls if call["words"][0] != "sweep"]
    assert [call["words"][1:] for call in loop] == [["300,200,100", rate, "10"] for rate in LOOP_RATES] * 2
    assert {call["folder"] for call in loop} == {warm_up["folder"]}
    assert all(call["held"] == ["mlflow.db"] for call in loop)

    sweeps = [call for call in calls if call["words"][0] == "sweep"]
    assert len({call["cache"] for call in calls}) == 1 + len(sweeps)
    assert all(call["held"] == [] for call in sweeps)
    same = [
        "sweep", "experiment=mnist_baseline", "dataset=mnist", f"dataset.path='{digits}'", "training.epochs=10",
        f"optimizer.learning_rate={','.join(LEARNING_RATES)}", "sweep.objective=off", "sweep.name=bench",
    ]  # fmt: skip
    one_by_one = [*same, "hydra.launcher.n_jobs=1", "training.threads=1"]
    assert [call["words"] for call in sweeps] == [same, one_by_one] * 2

    for one in measured["rounds"]:
        assert [len(one[name]) for name in (LOOP, SWEEP, ONE_BY_ONE)] == [3, 1, 1]
        assert [*one[SWEEP][0]["accuracies"]] == list(LEARNING_RATES)
        assert one[SWEEP][0]["accuracies"]["0.00158"] == pytest.approx(0.158)
        assert 0 < one[SWEEP][0]["wall_seconds"] < 30


def test_asked_for_threads_a_sweep_runs_as_many_trials_on_one_each(stand_in, digits):
    log_trials(stand_in, dict.fromkeys(LEARNING_RATES[:2], "FINISHED"))
    measure_sweep.measure_sweep(Setting(digits, 3, 1, quick=True, progress=Progress(), threads_asked=3))
    words = [json.loads(line)["words"] for line in (stand_in / "calls").read_text().splitlines()]
    assert [call[-2:] for call in words if call[0] == "sweep"] == [
        ["hydra.launcher.n_jobs=3", "training.threads=1"], ["hydra.launcher.n_jobs=1", "training.threads=1"],
    ]  # fmt: skip


def test_a_trial_that_was_not_done_is_not_counted(stand_in, digits):
    first, second, *_ = LEARNING_RATES
    log_trials(stand_in, {first: "FINISHED", second: "FAILED"})
    with pytest.raises(TrainingError, match=f"1 of 2 trials have no finished run .* learning rate {second}"):
        measure_sweep.measure_sweep(Setting(digits, 2, 1, quick=True, progress=Progress()))


def test_trials_per_minute_count_what_was_done_over_the_time_it_took():
    turns = [{"wall_seconds": 20.0, "accuracies": {"0.1": 0.9}}, {"wall_seconds": 40.0, "accuracies": {"0.2": 0.9}}]
    sweep = [{"wall_seconds": 30.0, "accuracies": {"0.1": 0.9, "0.2": 0.9}}]
    part = {"rounds": [{LOOP: turns, SWEEP: sweep, ONE_BY_ONE: turns[:1]}]}
    assert measure_sweep.throughputs(part) == {LOOP: [2], ONE_BY_ONE: [3], SWEEP: [4]}


def test_what_the_loop_needs_is_looked_for_before_anything_is_measured(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(
        ConfigError, match="performance sweep: expected the package tensorboard.*pip install tensorboard"
    ):
        benchmark.run_benchmark([], Path("out"), quick=True)
    assert not Path("out").exists()


@pytest.mark.slow
def test_the_script_of_the_loop_trains_and_is_logged(digits):
    command = [sys.executable, "-P", str(measure_sweep.SCRIPT), str(digits), "16", "0.01", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    client = connect(sqlite_uri(Path("mlflow.db").absolute()))
    (run,) = client.search_runs([client.get_experiment_by_name("plain").experiment_id])
    assert run.info.status == "FINISHED"
    assert (run.data.params["epochs"], float(run.data.params["opt_learning_rate"])) == ("2", pytest.approx(0.01))
    assert len(client.get_metric_history(run.info.run_id, "accuracy")) == 2
    assert run.data.metrics["test_accuracy"] == json.loads(done.stdout.splitlines()[-1])["test_accuracy"] > 0.5
    assert run.outputs.model_outputs


@pytest.mark.slow
def test_the_command_measures_a_sweep_beside_the_loop():
    done = subprocess.run(_command("sweep", "--quick"), capture_output=True, text=True, timeout=900, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    out = Path("outputs/bench_quick")
    (measured,) = results.load_results(out)["sweep"]["rounds"]
    done_by = {name: [[*one["accuracies"]] for one in turns] for name, turns in measured.items()}
    both = list(LEARNING_RATES[:2])
    assert done_by == {SWEEP: [both], LOOP: [both[:1]], ONE_BY_ONE: [both]}
    assert all(0.1 < value <= 1 for turns in measured.values() for one in turns for value in one["accuracies"].values())
    assert {path.name for path in out.iterdir()} == {"README.md", "results.json", "sweep.png"}


# ---------------------------------------------------------------------------------------------------------------
# The command


def _command(*arguments):
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from experiments.performance.__main__ import app; app()"
    return [sys.executable, "-c", program, *arguments]


@pytest.mark.slow
def test_the_command_measures_an_epoch_and_keeps_the_other_parts():
    out = Path("out")
    out.mkdir()
    kept = made_up_parts()["memory"]
    results.save_results(out, {"memory": kept})
    done = subprocess.run(
        _command("epoch", "--quick", "--out", "out"), capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    parts = results.load_results(out)
    assert parts["memory"] == kept
    found = parts["epoch"]["contestants"]
    assert list(found) == list(LOOPS)
    assert all(len(one["epoch_seconds"]) == parts["epoch"]["epochs"] - 1 for one in found.values())
    assert (found[TRAINYARD]["xla"][:3], found[NO_XLA]["xla"][:4]) == ("on:", "off:")
    own = parts["epoch"]["about"]
    assert own["quick"]
    assert own["command"] == "python -m experiments.performance epoch --quick"
    assert own["machine"]["threads"] == len(os.sched_getaffinity(0))
    assert "host" not in own["machine"]

    pairs = zip(found[FIT]["epoch_seconds"], found[TRAINYARD]["epoch_seconds"], strict=True)
    times = statistics.median(fit / ours for fit, ours in pairs)
    line = f"| epoch: times as fast as plain fit | {times:.2f} ("
    text = (out / "README.md").read_text()
    assert line in text
    assert "## Memory" in text
    assert f"{times:.2f} (" in done.stdout
    assert (out / "epoch.png").read_bytes().startswith(PNG)
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "epoch.png", "results.json"]


@pytest.mark.slow
def test_whole_runs_are_measured_stage_by_stage_up_to_the_wall_time(digits, monkeypatch):
    monkeypatch.setattr(measure_run, "RUNS", (PLAIN, FIRST))
    (measured,) = measure_run.measure_run(Setting(digits, 2, 1, quick=True, progress=Progress()))["rounds"]
    for name in (PLAIN, FIRST):
        stages = measured[name]["stages"]
        assert sum(stages.values()) == pytest.approx(measured[name]["wall_seconds"], abs=0.01)
        assert min(stages.values()) >= -0.01
        assert 0 < measured[name]["test_accuracy"] <= 1
    assert next(iter(measured[FIRST]["stages"])) == "before"
    assert set(measured[FIRST]["stages"]) == set(sections.STAGES)
    assert set(measured[PLAIN]["stages"]) < set(sections.STAGES)


@pytest.mark.slow
def test_an_interrupt_ends_all_children():
    process = subprocess.Popen(_command("epoch", "--quick", "--out", "out"), stdout=subprocess.DEVNULL)
    parent = psutil.Process(process.pid)
    deadline = time.monotonic() + 120
    while len(children := parent.children(recursive=True)) < len(LOOPS):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert not psutil.wait_procs(children, timeout=10)[1]


@pytest.mark.slow
def test_the_other_parts_measure_what_they_say():
    """Two commands side by side, as nothing is judged."""
    commands = {"one": ["grid", "memory"], "two": ["xla", "seeds"]}
    processes = [
        subprocess.Popen(
            _command(*names, "--quick", "--out", out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for out, names in commands.items()
    ]
    told = [process.communicate(timeout=900)[1] for process in processes]
    assert ([process.returncode for process in processes], told) == ([0, 0], ["", ""])
    one, two = (results.load_results(Path(out)) for out in commands)
    assert [(cell["batch_size"], *cell["hidden_units"]) for cell in one["grid"]["cells"]] == [(32, 16), (64, 32)]
    networks = two["xla"]["networks"]
    assert [networks[name]["auto"].split(":")[0] for name in networks] == ["on", "off", "off"]
    for network in networks.values():
        for name, contestant in network["contestants"].items():
            assert contestant["engine"] == name.split()[0]
            assert contestant["xla"].startswith("off" if "without" in name else "on")
    trained = two["seeds"]["trials"]
    assert {engine: [trial["seed"] for trial in found] for engine, found in trained.items()} == {
        "compiled": [100, 101], "fit": [100, 101],
    }  # fmt: skip
    assert all(0.1 < trial["accuracy"] <= 1 for found in trained.values() for trial in found)
    assert [row["images"] for row in one["memory"]["rows"]] == [320, 320, 3200, 3200]
    assert all(row["peak_mib"] > row["import_mib"] > 100 for row in one["memory"]["rows"])
    assert {path.name for path in Path("one").iterdir()} == {"README.md", "grid.png", "results.json"}
    assert {path.name for path in Path("two").iterdir()} == {"README.md", "results.json", "xla.png"}


@pytest.mark.slow
def test_comparing_is_measured_on_a_store_that_grows(digits, monkeypatch):
    printed = []

    def keeping(*arguments):
        found = measure_run.time_command(*arguments)
        printed.append(found[-1])
        return found

    monkeypatch.setattr(measure_compare, "time_command", keeping)
    part = measure_compare.measure_compare(Setting(digits, 1, 1, quick=True, progress=Progress()))
    assert [measured["runs"] for measured in part["sizes"]] == [5, 10]
    assert part["params"] > 70
    assert part["metric_values"] > 100
    for measured in part["sizes"]:
        (took,) = measured["rounds"]
        assert set(took) == {OURS, MLFLOW}
        assert all(seconds > 0 for seconds in took.values())
    _, few, three_of_few, many, three_of_many = printed
    assert [len(re.findall(r"(?m)^\d .* 5 runs$", one)) for one in (few, many)] == [1, 2]
    assert [len(re.findall(r"(?m)^\d ", one)) for one in (three_of_few, three_of_many)] == [3, 3]


@pytest.mark.slow
def test_searches_are_measured_by_their_ledgers(digits, monkeypatch):
    monkeypatch.setattr(measure_search, "_QUICK_POINTS", {RANDOM: 1, CLEVER: 2})
    part = measure_search.measure_search(Setting(digits, 1, 1, quick=True, progress=Progress()))
    (found,) = part["rounds"]
    assert [len(found[name]["trials"]) for name in (RANDOM, CLEVER)] == [1, 2]
    for one in found.values():
        assert all(trial["epochs"] == 3 and trial["seconds"] > 0 for trial in one["trials"])
        assert all(0 < trial["validation"] < 1 and 0 < trial["test"] < 1 for trial in one["trials"])
        assert sum(trial["seconds"] for trial in one["trials"]) < 2 * one["wall_seconds"]
