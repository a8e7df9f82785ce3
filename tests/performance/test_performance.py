from __future__ import annotations

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import psutil
import pytest
from processes import run_program, run_trainyard
from typer.testing import CliRunner

from experiments.performance import (
    benchmark,
    measure_compare,
    measure_loading,
    measure_run,
    measure_search,
    measure_streaming,
    measure_sweep,
    measure_trials,
    measure_xla,
    page,
    results,
    sections,
)
from experiments.performance.__main__ import app
from experiments.performance.figures import draw_figures
from experiments.performance.images import load_training_images, prepare_digits, prepare_mnist
from experiments.performance.measure_compare import MLFLOW_SEARCH, SIZES, TRAINYARD_COMPARE
from experiments.performance.measure_epochs import (
    FIT,
    IMPLEMENTATIONS,
    MATRIX_PRODUCTS,
    NO_XLA,
    TRAINYARD,
    BenchmarkSettings,
)
from experiments.performance.measure_loading import FIRST_LOAD, KERAS, LARGE, SECOND_LOAD, SMALL
from experiments.performance.measure_run import EXISTING_STORE, FIRST_RUN, NEW_STORE, PLAIN_SCRIPT, UNTRACKED
from experiments.performance.measure_search import (
    RANDOM,
    TPE,
    BestSoFar,
    compute_best_so_far,
    compute_equal_budget,
)
from experiments.performance.measure_sweep import LEARNING_RATES, ONE_BY_ONE, SHELL_LOOP, SHELL_LOOP_RATES, SWEEP
from experiments.performance.measure_xla import compute_times, fit_costs
from experiments.performance.summary_statistics import (
    Goal,
    Quartiles,
    compute_quartiles,
    difference_quartiles,
    ratio_quartiles,
)
from experiments.performance.training_job import PRODUCTS, TrainingJob
from experiments.performance.training_processes import (
    TrainingProcess,
    build_child_environment,
    child_process_error,
    measure_alternately,
    start_processes,
)
from experiments.performance.xla_networks import Network
from trainyard.errors import ConfigError, DatasetError, TrainingError
from trainyard.system.progress import Progress
from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking.connection import connect
from trainyard.training.xla_costs import COSTS_FILE

ROOT = Path(__file__).parents[2]
PNG = b"\x89PNG\r\n\x1a\n"


RUN_SCRIPT = "import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
"""Executes the script in the first argument, with the other arguments."""


@pytest.fixture
def fork_commands(monkeypatch):
    """Runs the commands that are measured in forked processes, which do not import TensorFlow and MLflow again.

    Returns a list to which the output of each command is added.
    """
    outputs = []

    def time_command(description, command, folder, environment):
        started = time.time()
        if command[0] == "trainyard":
            done = run_trainyard(*command[1:], environment=environment, folder=folder)
        else:
            assert command[:2] == [sys.executable, "-P"]
            done = run_program(RUN_SCRIPT, *command[2:], environment=environment, folder=folder)
        if done.returncode:
            raise child_process_error(description, done.returncode, done.stderr)
        outputs.append(done.stdout)
        return started, time.time(), done.stdout

    for module in (measure_compare, measure_run, measure_search, measure_sweep):
        monkeypatch.setattr(module, "time_command", time_command)
        monkeypatch.setattr(module, "find_trainyard_command", lambda: ["trainyard"])
    return outputs


@pytest.fixture
def digits(tmp_path):
    folder = tmp_path / "digits"
    folder.mkdir()
    return prepare_digits(folder)


def about(*, quick=False, gpus=()):
    machine = {
        "cpu": "A processor", "cores": 2, "memory_gib": 8.0, "gpus": list(gpus), "platform": "Linux", "threads": 2,
        "python": "3.11.9",
    }  # fmt: skip
    return {
        "date": "2026-03-01 12:00 UTC", "command": "python -m experiments.performance", "commit": "abc", "dirty": False, "seconds": 9.0,
        "quick": quick, "machine": machine, "versions": {"keras": "3.15.1"},
    }  # fmt: skip


def epoch_measurements(*, fit=(6.0, 6.0, 9.0), trainyard=(1.0, 1.0, 1.8), products=(1.0, 0.8, 1.5)):
    compiled = {"engine": "compiled", "xla": "on: because", "compile_seconds": 2.5, "first_seconds": 1.5}
    return {
        FIT: {"first_seconds": 7.5, "epoch_seconds": list(fit)},
        TRAINYARD: {**compiled, "epoch_seconds": list(trainyard)},
        MATRIX_PRODUCTS: {"first_seconds": 1.0, "epoch_seconds": list(products)},
    }


def xla_measurements():
    """Returns two networks of 2 and 10 units of work. According to the costs, XLA is faster from 1,500 steps on.

    The steps of the second network are not as fast with XLA as the costs say.
    """
    costs = {
        "with_xla": {"compile": {"step": 2.0}, "step": {"product size": 0.001}},
        "without_xla": {"compile": {"step": 0.5}, "step": {"step": 0.001, "product size": 0.001}},
    }
    networks = [
        {
            "set": name,
            "name": f"network {size}",
            "work": {"step": 1, "product size": size},
            "sessions": [
                {
                    "measurement": 1,
                    "compile_seconds": {"with_xla": 2.0 * slowdown, "without_xla": 0.5},
                    "step_seconds": {
                        "with_xla": [0.9, with_xla * slowdown],
                        "without_xla": [0.001 * (1 + size) * slowdown, 0.5],
                    },
                }
                for slowdown in (3.0, 1.0)
            ],
        }
        for name, size, with_xla in (("fitted", 2, 0.002), ("checked", 10, 0.022))
    ]
    measurements = [{"number": 1, "date": "2026-03-01 12:00 UTC", "fitted": True}]
    return {"costs": costs, "measurements": measurements, "networks": networks}


def made_up_parts(**provenance):
    """Returns made-up results of every part, with the structure of the results file."""
    shared = {"about": about(**provenance)}
    sizes = {"images": 60_000, "epochs": 4}
    cells = [
        {"batch_size": batch, "hidden_units": units, "contestants": epoch_measurements()}
        for batch in (32, 512)
        for units in ([64], [1024], [300, 200, 100])
    ]
    stages = {"before": 1.0, "start": 2.0, "train": 3.0, "after": 0.5}
    wall_seconds = {PLAIN_SCRIPT: 20.0, FIRST_RUN: 9.0, NEW_STORE: 7.0, EXISTING_STORE: 6.5, UNTRACKED: 5.0}
    rounds = [
        {
            name: {"wall_seconds": seconds * slowdown, "stages": stages, "test_accuracy": 0.98}
            for name, seconds in wall_seconds.items()
        }
        for slowdown in (1.0, 3.0)
    ]
    return {
        "epoch": {
            **shared,
            **sizes,
            "batch_size": 32,
            "hidden_units": [300, 200, 100],
            "contestants": epoch_measurements(),
        },
        "grid": {**shared, **sizes, "cells": cells},
        "xla": {**shared, "device": "cpu", **xla_measurements()},
        "memory": {
            **shared,
            "batch_size": 500,
            "rows": [
                {"contestant": TRAINYARD, "images": 60_000, "import_mib": 700.0, "peak_mib": 1000.0},
                {"contestant": TRAINYARD, "images": 600_000, "import_mib": 700.0, "peak_mib": 2000.0},
            ],
            "skipped": ["fit on 600,000 images, because it may require 9.0 GiB"],
        },
        "seeds": {
            **shared,
            "epochs": 10,
            "trials": {"compiled": trials(0.978, 0.979, 0.980), "fit": trials(0.979, 0.979)},
        },
        "run": {**shared, "epochs": 10, "rounds": rounds},
        "sweep": {**shared, "epochs": 10, "rounds": [sweep_round(1.0), sweep_round(3.0)]},
        "search": {**shared, "epochs": 10, "rounds": [search_round(0.0), search_round(0.001)]},
        "compare": {**shared, "params": 79, "metric_values": 166, "seeds": 5, "sizes": compare_sizes()},
        "loading": {**shared, "side": 224, "folders": [loading_folder(SMALL, 1.4), loading_folder(LARGE, 0.6)]},
        "streaming": {
            **shared,
            "side": 64,
            "images": 100,
            "epochs": 3,
            "bytes": 1000,
            "rounds": [streaming_round(1.0), streaming_round(3.0)],
        },
        "trials": {
            **shared,
            "trials": 2,
            "rounds": [
                {measure_trials.THIS: trials_round(1.0), measure_trials.BASE: trials_round(4.0)},
                {measure_trials.THIS: trials_round(2.0), measure_trials.BASE: trials_round(8.0)},
            ],
        },
    }


def trials_round(factor: float) -> dict[str, object]:
    stages = {"train": [0.4 * factor] * 2, "epochs": [0.2 * factor] * 2, "total": [1.0 * factor, 1.2 * factor]}
    return {
        "wall_seconds": 10 * factor, "cpu_seconds": 12 * factor, "sweep_bytes": 800_000, "store_bytes": 1_200_000, "stages": stages,
    }  # fmt: skip


def streaming_round(factor: float) -> dict[str, dict[str, object]]:
    def trained(seconds, additional):
        return {"epoch_seconds": [seconds * factor] * 2, "additional_bytes": additional}

    return {"memory": trained(2.0, 1900), "stream": trained(3.0, 300)}


def loading_folder(name: str, seconds: float) -> dict[str, object]:
    rounds = [{FIRST_LOAD: seconds * factor, KERAS: factor, SECOND_LOAD: 0.05 * factor} for factor in (1.0, 3.0)]
    return {"photos": name, "images": 600, "bytes": 60_000, "rounds": rounds}


def search_round(gain: float) -> dict[str, dict[str, object]]:
    def trial(seconds, validation):
        test = None if validation is None else validation - 0.01
        return {"seconds": seconds, "epochs": 10, "validation": validation and validation + gain, "test": test}

    random_trials = [trial(10.0, 0.96), trial(20.0, 0.95), trial(10.0, 0.97)]
    tpe_trials = [trial(10.0, 0.95), trial(2.0, None), trial(10.0, 0.98), trial(30.0, 0.99)]
    return {RANDOM: {"wall_seconds": 25.0, "trials": random_trials}, TPE: {"wall_seconds": 30.0, "trials": tpe_trials}}


def compare_sizes() -> list[dict[str, object]]:
    return [
        {
            "runs": runs,
            "rounds": [
                {TRAINYARD_COMPARE: 0.008 * runs, MLFLOW_SEARCH: 0.004 * runs},
                {TRAINYARD_COMPARE: 0.01 * runs, MLFLOW_SEARCH: 0.008 * runs},
            ],
        }
        for runs in SIZES
    ]


def sweep_round(slowdown: float) -> dict[str, list[dict[str, object]]]:
    return {
        SHELL_LOOP: [{"wall_seconds": 50.0 * slowdown, "accuracies": {rate: 0.97}} for rate in SHELL_LOOP_RATES],
        SWEEP: [{"wall_seconds": 96.0 * slowdown, "accuracies": dict.fromkeys(LEARNING_RATES, 0.98)}],
        ONE_BY_ONE: [{"wall_seconds": 160.0 * slowdown, "accuracies": dict.fromkeys(LEARNING_RATES, 0.98)}],
    }


def trials(*accuracies: float) -> list[dict[str, float]]:
    return [{"seed": seed, "accuracy": value, "seconds": 9.0} for seed, value in enumerate(accuracies)]


# ---------------------------------------------------------------------------------------------------------------
# Statistics


def test_quartiles_of_several_values_and_of_one_value():
    assert compute_quartiles([4.0, 1.0, 3.0, 2.0, 5.0]) == Quartiles(median=3, low=2, high=4)
    assert compute_quartiles([7.0]) == Quartiles(7, 7, 7)
    assert str(compute_quartiles([1.0, 2.0, 3.0])) == "2.00 (1.50 to 2.50)"


def test_ratios_and_differences_are_computed_per_round_so_that_a_slow_round_cancels_out():
    seconds = [1.0, 10.0, 3.0]
    assert ratio_quartiles([5 * value for value in seconds], seconds) == Quartiles(5, 5, 5)
    assert difference_quartiles([value + 2 for value in seconds], seconds) == Quartiles(2, 2, 2)
    with pytest.raises(ValueError, match="shorter"):
        ratio_quartiles([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("median", "at_least", "verdict"),
    [(4.6, True, "met"), (4.4, True, "missed"), (4.6, False, "missed"), (4.5, False, "met")],
)
def test_a_goal_is_judged_by_the_median(median, at_least, verdict):
    goal = Goal("times", Quartiles(median, 0, 9), 4.5, at_least=at_least)
    assert goal.verdict == verdict
    assert goal.requirement == ("at least 4.5" if at_least else "at most 4.5")
    assert Goal("times", Quartiles(9, 9, 9), 1, not_judged_reason="tiny").verdict == "not judged: tiny"


# ---------------------------------------------------------------------------------------------------------------
# Results, sections, page, figures


def test_a_part_that_is_measured_again_replaces_its_earlier_result(tmp_path):
    results.write_results(tmp_path, {"run": {"a": 1}, "epoch": {"b": 2}})
    parts = results.load_results(tmp_path)
    results.write_results(tmp_path, parts | {"epoch": {"b": 3}})
    assert results.load_results(tmp_path) == {"epoch": {"b": 3}, "run": {"a": 1}}
    assert list(json.loads((tmp_path / "results.json").read_text())["parts"]) == ["epoch", "run"]
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["results.json"]


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"format": 2}', '{"format": 99, "parts": {}}'])
def test_a_file_with_other_content_is_not_overwritten(tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(
        ConfigError, match=r"results.json: expected .* Move the file, or write to another folder with --out"
    ):
        benchmark.run_benchmark(["epoch"], tmp_path, quick=True)
    assert (tmp_path / "results.json").read_text() == content


def test_the_error_for_an_unknown_part_lists_the_available_parts(tmp_path):
    with pytest.raises(
        ConfigError, match="performance: unknown part 'epochs'. Available: epoch, grid, xla, memory, seeds, run, sweep"
    ):
        benchmark.run_benchmark(["epochs"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_goals_are_computed_from_the_raw_measurements():
    goals = [goal for section in sections.build_sections(made_up_parts()) for goal in section.goals]
    assert [(round(goal.measured.median, 3), goal.verdict) for goal in goals] == [
        (6.0, "met"), (1.2, "met"), (1.0, "met"), (1.0, "met"), (0.333, "missed"), (2.03, "missed"), (0.169, "met"), (0.45, "missed"), (0.325, "met"), (4.0, "missed"), (3.0, "missed"),
        (8.333, "met"), (1.667, "missed"), (9.0, "met"), (1.4, "met"), (0.036, "met"), (0.6, "missed"), (0.083, "missed"), (1.9, "met"), (0.3, "missed"),
        (1.35, "missed"), (1.0, "missed"), (0.25, "met"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("provenance", "reason"),
    [({"quick": True}, "quick check with small data"), ({"gpus": ["H1"]}, "the goals apply to a CPU")],
)
def test_speed_goals_are_not_judged_for_small_data_or_on_a_gpu(provenance, reason):
    """The part `seeds` is excluded, because the equivalence of accuracies is also judged on a GPU."""
    all_sections = sections.build_sections(made_up_parts(**provenance))
    goals = [goal for section in all_sections if section.name != "seeds" for goal in section.goals]
    assert {goal.verdict for goal in goals} == {f"not judged: {reason}"}


def test_a_sweep_with_another_number_of_threads_is_not_judged():
    part = made_up_parts()["sweep"]
    part["about"]["machine"]["threads"] = 8
    (section,) = sections.build_sections({"sweep": part})
    assert {goal.verdict for goal in section.goals} == {"not judged: the goals apply to 2 threads; use --threads 2"}


@pytest.mark.parametrize(
    ("measurements", "position", "verdict"),
    [
        (epoch_measurements(products=(4.0, 4.0, 4.0)), 1, "not judged: the lower bound took longer than the training"),
        (epoch_measurements(fit=(6.0, 20.0, 9.0)), 0, "not judged: the rounds differ too much"),
        (epoch_measurements(fit=(4.0, 4.1, 7.2)), 0, "missed"),
    ],
)
def test_a_disturbed_measurement_is_not_judged(measurements, position, verdict):
    parts = made_up_parts()
    parts["epoch"]["contestants"] = measurements
    (section,) = sections.build_sections({"epoch": parts["epoch"]})
    assert section.goals[position].verdict.startswith(verdict)


def test_the_page_contains_results_and_provenance_of_every_part():
    text = page.render_page(sections.build_sections(made_up_parts()))
    assert "| epoch: speedup over plain Keras fit | 6.00 (5.50 to 6.00) | at least 4.5 | met |" in text
    assert "| trainyard | 1.00 | 1.00 to 1.40 | 6.00 (5.50 to 6.00) | 1.20 (1.10 to 1.23) | 2.5 |" in text
    assert "| fit | 6.00 | 6.00 to 7.50 | 1.00 | 6.00 (6.00 to 6.75) | 1.5 |" in text
    assert "| fitted | 1 | 1.000 | 1.00 |" in text
    assert f"| checked | 1 | 0.333 | {(2 + 66) / (0.5 + 33):.2f} |" in text
    assert "| network 2 (fitted) | 2 | 3 | 2.0 | 0.5 | 1.00, 1.00, 1.00 |" in text
    assert f"| network 10 (checked) | 22 | 11 | 2.0 | 0.5 | 1.00, {(2 + 66) / (0.5 + 33):.2f}, 2.00 |" in text
    assert "each image in addition to the first 60,000 needs 1.90 KiB" in text
    assert "Not measured: fit on 600,000 images" in text
    assert "| total | 6.50 | 6.50 | 6.50 | 6.50 |" in text
    assert "| trainyard sweep | 6.67 | 5.00 to 8.33 | 8.33 | 1.67 | 192.0 |" in text
    assert "with learning rate 0.000501: shell loop 0.9700, sweep 0.9800." in text
    assert text.count("Measured 2026-03-01 12:00 UTC in 9 s on A processor, 2 cores") == len(results.PARTS)
    column_counts = {line.count("|") for line in text.splitlines() if line.startswith("| network ")}
    assert column_counts == {7}
    assert "Quick check" not in text


def test_the_committed_page_is_generated_from_the_committed_results():
    folder = ROOT / "experiments/performance"
    assert (folder / "README.md").read_text() == page.render_page(
        sections.build_sections(results.load_results(folder))
    )  # fmt: skip


def test_the_choices_of_xla_are_also_judged_by_the_sessions_of_each_measurement():
    """Measurement 2 has only the first network. In measurement 3, both networks are slower, and faster without XLA."""
    part = made_up_parts()["xla"]
    (section,) = sections.build_sections({"xla": part})
    assert [len(table.rows) for table in section.tables] == [2, 2]  # no table of measurements, as there is only one
    first = part["networks"][0]["sessions"][1]
    part["networks"][0]["sessions"].append({**first, "measurement": 2})
    for network in part["networks"]:
        seconds = {"with_xla": [0.1], "without_xla": [0.01]}
        network["sessions"].append(
            {"measurement": 3, "compile_seconds": first["compile_seconds"], "step_seconds": seconds}
        )
    part["measurements"] += [
        {"number": 2, "date": None, "fitted": True, "remark": "Only one network."},
        {"number": 3, "date": "2026-03-02 12:00 UTC", "fitted": False},
    ]  # fmt: skip
    (section,) = sections.build_sections({"xla": part})
    worst, largest = (2 + 66) / (0.5 + 33), (2 + 3000) / (0.5 + 300)
    assert section.tables[1].rows == [
        ["all", "", "", "2", "1.000", "1.00", "0.333", f"{worst:.2f}"],  # the fastest sessions are those of 1
        ["measurements of all networks (1, 3)", "", "", "2", "1.000", "1.00", "0.333", f"{worst:.2f}"],
        ["measurement 1", "2026-03-01 12:00 UTC", "yes", "2", "1.000", "1.00", "0.333", f"{worst:.2f}"],
        ["measurement 2", "not recorded", "yes", "1", "1.000", "1.00", "", ""],
        ["measurement 3", "2026-03-02 12:00 UTC", "no", "2", "0.333", f"{largest:.2f}", "0.333", f"{largest:.2f}"],
    ]
    assert "up to a factor of 15.0." in section.notes[0]  # 0.002 / 0.003 with XLA, and then 0.1 / 0.01
    assert section.notes[-1] == "Measurement 2: Only one network."


def test_searches_are_compared_at_the_compute_time_of_the_cheapest_search():
    part = made_up_parts()["search"]
    assert compute_equal_budget(part) == 40.0
    (section,) = sections.build_sections({"search": part})
    validation_table, test_table = section.tables
    assert validation_table.rows[0][:3] == ["validation, after 10.0 s", "96.050 ± 0.071", "95.050 ± 0.071"]
    assert validation_table.rows[2][:3] == ["validation, after 40.0 s", "97.050 ± 0.071", "98.050 ± 0.071"]
    assert validation_table.rows[2][3].startswith("+1.000 (")
    assert test_table.rows[2][1:3] == ["96.000 ± 0.000", "97.000 ± 0.000"]
    reached = "TPE with pruning reached the final validation accuracy of random search with 2 of 2 seeds"
    assert section.notes == [
        "Trials per search: random search 3; TPE with pruning 4, of which 1 were pruned. TPE draws its first ten points at random, with the same seed as random search.",
        f"{reached}, after 55 % of the compute time (median).",
    ]


def test_loads_are_judged_relative_to_keras_and_to_the_first_load():
    (section,) = sections.build_sections({"loading": made_up_parts()["loading"]})
    assert [(goal.description, round(goal.measured.median, 3), goal.verdict) for goal in section.goals] == [
        ("first load of photos of 500 x 375 pixels, relative to Keras", 1.4, "met"),
        ("second load of photos of 500 x 375 pixels, relative to the first", 0.036, "met"),
        ("first load of photos of 12 megapixels, relative to Keras", 0.6, "missed"),
        ("second load of photos of 12 megapixels, relative to the first", 0.083, "missed"),
    ]


def test_the_loads_of_photos_are_measured(keras):
    part = measure_loading.measure_loading(BenchmarkSettings(Path(), 1, 2, quick=True, progress=Progress()))
    assert [(measured["photos"], measured["images"]) for measured in part["folders"]] == [(SMALL, 6), (LARGE, 4)]
    for measured in part["folders"]:
        assert len(measured["rounds"]) == 2
        for seconds in measured["rounds"]:
            assert set(seconds) == {FIRST_LOAD, KERAS, SECOND_LOAD}
            assert seconds[SECOND_LOAD] > 0
    assert "TRAINYARD_CACHE_DIR" not in os.environ


def test_streaming_is_judged_by_its_memory_and_compared_in_time():
    (section,) = sections.build_sections({"streaming": made_up_parts()["streaming"]})
    assert [(goal.measured.median, goal.verdict) for goal in section.goals] == [(1.9, "met"), (0.3, "missed")]
    assert section.notes[0].startswith("An epoch that reads the images from the disk takes 1.50 ")


def test_small_trials_are_judged_by_their_overhead_their_size_and_the_base():
    (section,) = sections.build_sections({"trials": made_up_parts()["trials"]})
    overhead, size, ratio = section.goals
    assert overhead.measured.median == pytest.approx(1.5 * (1.1 - 0.2))
    assert (size.measured.median, size.verdict) == (1.0, "missed")
    assert (ratio.measured.median, ratio.is_met) == (0.25, True)


@pytest.mark.slow
def test_a_sweep_of_small_trials_is_measured():
    part = measure_trials.measure_trials(BenchmarkSettings(Path(), 1, 1, quick=True, progress=Progress()))
    (measured,) = (versions[measure_trials.THIS] for versions in part["rounds"])
    assert all(len(seconds) == part["trials"] for seconds in measured["stages"].values())
    assert measured["cpu_seconds"] > sum(measured["stages"]["total"]) > 0
    assert min(measured["sweep_bytes"], measured["store_bytes"]) > 100_000


@pytest.mark.slow
def test_the_training_on_images_of_the_disk_is_measured():
    part = measure_streaming.measure_streaming(BenchmarkSettings(Path(), 1, 1, quick=True, progress=Progress()))
    (measured,) = part["rounds"]
    assert part["bytes"] == 200 * 64 * 64 * 3
    for mode in ("memory", "stream"):
        assert len(measured[mode]["epoch_seconds"]) == 2
        assert measured[mode]["additional_bytes"] >= 0


def test_compare_is_judged_with_a_thousand_runs():
    (section,) = sections.build_sections({"compare": made_up_parts()["compare"]})
    (table,) = section.tables
    assert [row[:2] for row in table.rows][:2] == [
        ["1,000 runs, trainyard compare", "9.0"], ["1,000 runs, mlflow.search_runs", "6.0"],
    ]  # fmt: skip
    assert table.rows[2][3] == "1.62 (1.44 to 1.81)"
    (goal,) = section.goals
    assert (goal.description, goal.measured.median, goal.verdict) == (
        "time to compare 1,000 runs, in seconds", 9.0, "met",
    )  # fmt: skip


def test_the_best_trial_is_selected_on_validation_and_pruned_trials_count_as_compute_time():
    trials = search_round(0.0)[TPE]["trials"]
    assert compute_best_so_far(trials) == [
        BestSoFar(10.0, 0.95, 0.94),
        BestSoFar(22.0, 0.98, 0.97),
        BestSoFar(52.0, 0.99, 0.98),
    ]
    assert compute_best_so_far(trials, 30.0) == compute_best_so_far(trials)[:2]
    assert compute_best_so_far(trials, 5.0) == []


def test_the_page_of_a_single_part():
    parts = {"memory": made_up_parts()["memory"]}
    text = page.render_page(sections.build_sections(parts))
    assert re.findall(r"^#+ .*", text, re.MULTILINE) == ["# Performance", "## Memory"]


@pytest.mark.pictures
def test_every_section_with_a_figure_gets_it(tmp_path):
    parts = made_up_parts()
    draw_figures(parts, tmp_path)
    expected = {section.figure for section in sections.build_sections(parts) if section.figure}
    assert {path.name for path in tmp_path.glob("*.png")} == expected
    assert all((tmp_path / name).read_bytes().startswith(PNG) for name in expected)


def test_the_repeat_command_contains_no_path_of_this_machine():
    assert benchmark.build_repeat_command("run", Path("/secret"), 2, 5, quick=False) == (
        "python -m experiments.performance run --mnist FOLDER --threads 2 --rounds 5"
    )
    assert (
        benchmark.build_repeat_command("sweep", None, None, 5, quick=False)
        == "python -m experiments.performance sweep --rounds 5"
    )
    assert (
        benchmark.build_repeat_command("epoch", None, None, 3, quick=True)
        == "python -m experiments.performance epoch --quick"
    )
    assert (
        benchmark.build_repeat_command("xla", None, None, 2, quick=False, keep_sessions=True)
        == "python -m experiments.performance xla --rounds 2 --keep-sessions"
    )


# ---------------------------------------------------------------------------------------------------------------
# Images and child processes


def test_images_are_loaded_and_repeated(digits):
    few = load_training_images(digits, 50, 1)
    assert (few.images.shape, few.labels.shape) == ((50, 8, 8), (50,))
    many = load_training_images(digits, 50, 3)
    assert len(many) == 150
    assert (many.images[100:] == few.images).all()


def test_mnist_is_verified_and_converted_to_gzipped_files_if_necessary(tiny_mnist, tmp_path):
    assert prepare_mnist(tiny_mnist, tmp_path, progress=False) == tiny_mnist.resolve()
    converted = tmp_path / "converted"
    converted.mkdir()
    assert prepare_mnist(tiny_mnist.parent / "mnist.npz", converted, progress=False) == converted
    assert (load_training_images(converted, 40, 1).images == load_training_images(tiny_mnist, 40, 1).images).all()
    with pytest.raises(DatasetError, match="--mnist: expected the four MNIST idx files.* in .*nowhere"):
        prepare_mnist(tmp_path / "nowhere", converted, progress=False)


def test_processes_train_alternately_and_the_first_epoch_is_reported_separately(digits):
    steps_reported = []

    class Listener(Progress):
        def step(self, epoch, epochs, step, steps):
            steps_reported.append((epoch, epochs, step, steps))

    job = TrainingJob(PRODUCTS, 300, 3, hidden_units=(16,))
    with start_processes({"a": PRODUCTS, "b": PRODUCTS}, digits, 1) as processes:
        children = [psutil.Process(process._process.pid) for process in processes.values()]
        first = measure_alternately(processes, dict.fromkeys(processes, job), Listener())
        second = measure_alternately(processes, dict.fromkeys(processes, job), Progress())  # reuses the processes
        assert all(process.peak_mib > 10 for process in processes.values())
        assert [child for child in children if child.is_running()] == children
    assert steps_reported == [(epoch, 3, position, 2) for epoch in (1, 2, 3) for position in (1, 2)]
    for measurement in (*first.values(), *second.values()):
        assert len(measurement["epoch_seconds"]) == 2
        assert 0 < measurement["first_seconds"] < 30
    assert not any(child.is_running() for child in children)


def test_costs_are_fitted_to_the_fastest_bursts():
    """The times follow exactly from some costs, one of them zero, except for a burst that was disturbed."""
    step = {"step": 2e-4, "product": 1e-5, "product size": 3e-9, "other": 0.0, "other size": 2e-10}
    generator, networks = np.random.default_rng(0), []
    for _ in range(12):
        product, other = (int(number) for number in generator.integers(1, 9, 2))
        work = {
            "step": 1, "product": product, "product size": product * 10.0 ** generator.uniform(4, 8),
            "other": other, "other size": other * 10.0 ** generator.uniform(3, 7),
        }  # fmt: skip
        seconds = sum(cost * work[name] for name, cost in step.items())
        networks.append(
            {
                "work": work,
                "sessions": [
                    {
                        "compile_seconds": dict.fromkeys(("with_xla", "without_xla"), 0.3 + 0.05 * product),
                        "step_seconds": {"with_xla": [seconds, 9.0], "without_xla": [9.0, 2 * seconds]},
                    }
                ],
            }
        )
    costs = fit_costs(networks)
    for name, cost in step.items():
        assert costs["with_xla"]["step"].get(name, 0.0) == pytest.approx(cost, rel=1e-3, abs=1e-11)
    assert costs["without_xla"]["step"]["product size"] == pytest.approx(6e-9, rel=1e-3)
    for name, cost in {"step": 0.3, "product": 0.05, "other": 0.0}.items():
        assert costs["with_xla"]["compile"].get(name, 0.0) == pytest.approx(cost, rel=1e-3, abs=1e-11)


@pytest.fixture
def measure_made_up_networks(monkeypatch, tmp_path):
    """Returns a function that measures two networks, whose times are made up: n seconds per step of measurement n."""

    class Process:
        seconds = 0.0

        def __init__(self, *arguments, **named):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def wait_until_ready(self):
            pass

        def request(self, text):
            assert json.loads(text)["batch_size"] == 32
            seconds = {"with_xla": [self.seconds], "without_xla": [2 * self.seconds]}
            return {"work": {"step": 1}, "compile_seconds": dict.fromkeys(seconds, 1.0), "step_seconds": seconds}

    def measure(kept=None):
        Process.seconds += 1
        return measure_xla.measure_xla(
            BenchmarkSettings(tmp_path, 1, 2, quick=False, progress=Progress(), kept_xla=kept)
        )  # fmt: skip

    monkeypatch.setattr(measure_xla, "TrainingProcess", Process)
    monkeypatch.setattr(measure_xla, "COSTS_FILE", tmp_path / "costs.json")
    monkeypatch.setattr(measure_xla, "FITTED", [Network((8, 8), 32, ("model=mlp",))])
    monkeypatch.setattr(measure_xla, "CHECKED", [Network((9, 9), 32, ("model=mlp",))])
    return measure


def test_new_sessions_of_xla_that_are_added_change_neither_the_costs_nor_the_table(measure_made_up_networks, tmp_path):
    first = measure_made_up_networks()
    table = (tmp_path / "costs.json").read_text()
    assert json.loads(table) == {first["device"]: first["costs"]}
    added = measure_made_up_networks(first)
    assert (tmp_path / "costs.json").read_text() == table
    assert added["costs"] == first["costs"]
    assert [(measurement["number"], measurement["fitted"]) for measurement in added["measurements"]] == [
        (1, True), (2, False),
    ]  # fmt: skip
    for network in added["networks"]:
        assert [(s["measurement"], *s["step_seconds"]["with_xla"]) for s in network["sessions"]] == [
            (1, 1.0), (1, 1.0), (2, 2.0), (2, 2.0),
        ]  # fmt: skip
    replaced = measure_made_up_networks()
    assert replaced["costs"] != first["costs"]
    assert [len(network["sessions"]) for network in replaced["networks"]] == [2, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"device": "tpu"}, "--keep-sessions: expected an earlier result of the device .*, got one of tpu. Omit"),
        ({"networks": []}, "--keep-sessions: expected an earlier result of the 2 networks that are measured, got one of 0 other networks"),
    ],
)  # fmt: skip
def test_sessions_are_not_added_to_the_result_of_another_device_or_of_other_networks(
    measure_made_up_networks, change, message
):
    first = measure_made_up_networks()
    with pytest.raises(ConfigError, match=message):
        measure_made_up_networks({**first, **change})


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (["epoch"], "--keep-sessions: expected the part xla, got only other parts"),
        (["xla"], "--keep-sessions: expected an earlier result of xla in .*results.json, found none"),
    ],
)
def test_sessions_can_only_be_added_to_an_earlier_result_of_xla(tmp_path, parts, message):
    with pytest.raises(ConfigError, match=message):
        benchmark.run_benchmark(parts, tmp_path / "out", quick=True, keep_sessions=True)
    assert not (tmp_path / "out").exists()


def test_the_times_of_a_network_are_those_of_the_fastest_session():
    """A session is fast or slow as a whole, so the ratio of both modes is not that of different sessions."""
    sessions = [
        {
            "compile_seconds": {"with_xla": 3.0, "without_xla": 1.0},
            "step_seconds": {"with_xla": [4.0, 5.0], "without_xla": [9.0, 6.0]},
        },
        {
            "compile_seconds": {"with_xla": 2.0, "without_xla": 1.5},
            "step_seconds": {"with_xla": [3.5, 3.6], "without_xla": [8.0, 8.1]},
        },
    ]
    assert compute_times({"sessions": sessions}, 10) == {"with_xla": 2 + 10 * 4, "without_xla": 1 + 10 * 6}


def test_a_job_is_equal_after_conversion_to_json_and_back():
    job = TrainingJob("auto", 10, 2, batch_size=5, hidden_units=(1, 2), xla="off", repeat=3)
    assert TrainingJob.from_json(job.to_json()) == job


def test_the_error_of_a_failed_child_contains_its_stderr(tmp_path):
    with TrainingProcess("matrix products", PRODUCTS, tmp_path, 1) as process:
        process.wait_until_ready()
        with pytest.raises(
            TrainingError, match="the training process 'matrix products' ended with exit code 1"
        ) as failure:
            process.prepare(TrainingJob(PRODUCTS, 10, 1))
    assert "FileNotFoundError" in str(failure.value)


def test_the_error_of_a_killed_child_contains_advice(tmp_path):
    with TrainingProcess("matrix products", PRODUCTS, tmp_path, 1) as process:
        process.wait_until_ready()
        os.kill(process._process.pid, signal.SIGKILL)
        process._process.wait()
        with pytest.raises(TrainingError, match="was ended by SIGKILL. The machine may have run out of memory"):
            process.prepare(TrainingJob(PRODUCTS, 10, 1))


def test_a_child_has_no_tracking_server_and_a_separate_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somewhere")
    monkeypatch.setenv("TF_XLA_FLAGS", "--other --tf_xla_persistent_cache_directory=/x/trainyard/xla/1")
    environment = build_child_environment(3, tmp_path)
    assert "MLFLOW_TRACKING_URI" not in environment
    assert environment["TF_XLA_FLAGS"] == "--other"
    assert environment["XDG_CACHE_HOME"] == str(tmp_path)
    assert environment["OPENBLAS_NUM_THREADS"] == "3"
    assert "OPENBLAS_NUM_THREADS" not in build_child_environment(None, tmp_path).keys() - os.environ.keys()


# ---------------------------------------------------------------------------------------------------------------
# Complete sweeps

FAKE_COMMAND = """
import json, os, shutil, sys
from pathlib import Path

home = Path(os.environ["FAKE_COMMAND_FOLDER"])
call = {
    "arguments": sys.argv[1:], "folder": os.getcwd(), "files": os.listdir(), "cache": os.environ["XDG_CACHE_HOME"],
}
with (home / "calls").open("a") as calls:
    calls.write(json.dumps(call) + chr(10))
if sys.argv[1] == "sweep":
    shutil.copy(home / "store.db", "mlflow.db")
else:
    Path("mlflow.db").touch()
    print(json.dumps({"test_accuracy": 0.97}))
"""
"""Replaces `trainyard sweep` and the script of the shell loop: does not train, and records how it was called."""


@pytest.fixture
def fake_command(new_store, tmp_path, monkeypatch):
    """Replaces both commands by a script; returns its folder, with the store that it copies as the sweep's store."""
    folder = tmp_path / "fake_command"
    folder.mkdir()
    new_store(folder / "store.db")
    script = folder / "script.py"
    script.write_text(FAKE_COMMAND)
    monkeypatch.setenv("FAKE_COMMAND_FOLDER", str(folder))
    monkeypatch.setattr(measure_sweep, "SCRIPT", script)
    monkeypatch.setattr(measure_sweep, "find_trainyard_command", lambda: [sys.executable, str(script)])
    return folder


def log_trials(folder: Path, statuses: dict[str, str]) -> None:
    """Logs a run per learning rate to the store of the fake command, and the sweep's parent run without one."""
    client = connect(build_sqlite_uri(folder / "store.db"))
    experiment = client.create_experiment("mnist_baseline")
    client.set_terminated(client.create_run(experiment).info.run_id)
    for rate, status in statuses.items():
        run_id = client.create_run(experiment).info.run_id
        client.log_param(run_id, "optimizer.learning_rate", float(rate))
        client.log_metric(run_id, "accuracy/test", float(rate) * 100)
        client.set_terminated(run_id, status)


def test_sweeps_start_in_empty_folders_and_the_shell_loop_keeps_its_store(fake_command, digits):
    log_trials(fake_command, dict.fromkeys(LEARNING_RATES, "FINISHED"))
    measured = measure_sweep.measure_sweep(BenchmarkSettings(digits, 2, 2, quick=False, progress=Progress()))
    warm_up, *calls = [json.loads(line) for line in (fake_command / "calls").read_text().splitlines()]
    assert warm_up["arguments"] == [str(digits), "300,200,100", LEARNING_RATES[0], "1"]
    assert [call["arguments"][0] == "sweep" for call in calls] == [False, True, False, True, False] * 2

    loop = [call for call in calls if call["arguments"][0] != "sweep"]
    assert [call["arguments"][1:] for call in loop] == [["300,200,100", rate, "10"] for rate in SHELL_LOOP_RATES] * 2
    assert {call["folder"] for call in loop} == {warm_up["folder"]}
    assert all(call["files"] == ["mlflow.db"] for call in loop)

    sweeps = [call for call in calls if call["arguments"][0] == "sweep"]
    assert len({call["cache"] for call in calls}) == 1 + len(sweeps)
    assert all(call["files"] == [] for call in sweeps)
    overrides = [
        "sweep", "experiment=mnist_baseline", "dataset=mnist", f"dataset.path='{digits}'", "training.epochs=10",
        f"optimizer.learning_rate={','.join(LEARNING_RATES)}", "sweep.objective=off", "sweep.name=bench",
    ]  # fmt: skip
    one_by_one = [*overrides, "hydra.launcher.n_jobs=1", "training.threads=1"]
    assert [call["arguments"] for call in sweeps] == [overrides, one_by_one] * 2

    for commands in measured["rounds"]:
        assert [len(commands[name]) for name in (SHELL_LOOP, SWEEP, ONE_BY_ONE)] == [3, 1, 1]
        assert [*commands[SWEEP][0]["accuracies"]] == list(LEARNING_RATES)
        assert commands[SWEEP][0]["accuracies"]["0.00158"] == pytest.approx(0.158)
        assert 0 < commands[SWEEP][0]["wall_seconds"] < 30


def test_a_sweep_runs_one_trial_per_requested_thread(fake_command, digits):
    log_trials(fake_command, dict.fromkeys(LEARNING_RATES[:2], "FINISHED"))
    measure_sweep.measure_sweep(BenchmarkSettings(digits, 3, 1, quick=True, progress=Progress(), requested_threads=3))
    arguments = [json.loads(line)["arguments"] for line in (fake_command / "calls").read_text().splitlines()]
    assert [call[-2:] for call in arguments if call[0] == "sweep"] == [
        ["hydra.launcher.n_jobs=3", "training.threads=1"], ["hydra.launcher.n_jobs=1", "training.threads=1"],
    ]  # fmt: skip


def test_a_trial_without_a_finished_run_is_an_error(fake_command, digits):
    first, second, *_ = LEARNING_RATES
    log_trials(fake_command, {first: "FINISHED", second: "FAILED"})
    with pytest.raises(TrainingError, match=f"1 of 2 trials have no finished run .* learning rate {second}"):
        measure_sweep.measure_sweep(BenchmarkSettings(digits, 2, 1, quick=True, progress=Progress()))


def test_trials_per_minute_are_trials_divided_by_total_time():
    loop = [{"wall_seconds": 20.0, "accuracies": {"0.1": 0.9}}, {"wall_seconds": 40.0, "accuracies": {"0.2": 0.9}}]
    sweep = [{"wall_seconds": 30.0, "accuracies": {"0.1": 0.9, "0.2": 0.9}}]
    part = {"rounds": [{SHELL_LOOP: loop, SWEEP: sweep, ONE_BY_ONE: loop[:1]}]}
    assert measure_sweep.compute_throughputs(part) == {SHELL_LOOP: [2], ONE_BY_ONE: [3], SWEEP: [4]}


def test_a_missing_package_is_reported_before_anything_is_measured(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(
        ConfigError, match="performance sweep: expected the package tensorboard.*pip install tensorboard"
    ):
        benchmark.run_benchmark([], Path("out"), quick=True)
    assert not Path("out").exists()


@pytest.mark.slow
def test_the_script_of_the_shell_loop_trains_and_logs(digits, new_store):
    client = new_store(Path("mlflow.db").absolute())
    done = run_program(RUN_SCRIPT, measure_sweep.SCRIPT, digits, "16", "0.01", "2")
    assert done.returncode == 0, done.stderr
    (run,) = client.search_runs([client.get_experiment_by_name("plain").experiment_id])
    assert run.info.status == "FINISHED"
    assert (run.data.params["epochs"], float(run.data.params["opt_learning_rate"])) == ("2", pytest.approx(0.01))
    assert len(client.get_metric_history(run.info.run_id, "accuracy")) == 2
    assert run.data.metrics["test_accuracy"] == json.loads(done.stdout.splitlines()[-1])["test_accuracy"] > 0.5
    assert run.outputs.model_outputs


@pytest.mark.slow
def test_the_command_measures_a_sweep_and_the_shell_loop(fork_commands):
    done = CliRunner().invoke(app, ["sweep", "--quick"])
    assert (done.exit_code, done.stderr) == (0, "")
    out = Path("outputs/bench_quick")
    (measured,) = results.load_results(out)["sweep"]["rounds"]
    rates = {name: [[*command["accuracies"]] for command in commands] for name, commands in measured.items()}
    both = list(LEARNING_RATES[:2])
    assert rates == {SWEEP: [both], SHELL_LOOP: [both[:1]], ONE_BY_ONE: [both]}
    assert all(
        0.1 < accuracy <= 1
        for commands in measured.values()
        for command in commands
        for accuracy in command["accuracies"].values()
    )
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
    memory = made_up_parts()["memory"]
    results.write_results(out, {"memory": memory})
    done = subprocess.run(
        _command("epoch", "--quick", "--out", "out"), capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    parts = results.load_results(out)
    assert parts["memory"] == memory
    measurements = parts["epoch"]["contestants"]
    assert list(measurements) == list(IMPLEMENTATIONS)
    assert all(len(times["epoch_seconds"]) == parts["epoch"]["epochs"] - 1 for times in measurements.values())
    assert measurements[TRAINYARD]["xla"].startswith("off: 40 steps on a CPU are estimated to take")  # 320 images
    assert measurements[NO_XLA]["xla"] == "off: set by training.xla"
    provenance = parts["epoch"]["about"]
    assert provenance["quick"]
    assert provenance["command"] == "python -m experiments.performance epoch --quick"
    assert provenance["machine"]["threads"] == len(os.sched_getaffinity(0))
    assert "host" not in provenance["machine"]

    pairs = zip(measurements[FIT]["epoch_seconds"], measurements[TRAINYARD]["epoch_seconds"], strict=True)
    speedup = statistics.median(fit / trainyard for fit, trainyard in pairs)
    line = f"| epoch: speedup over plain Keras fit | {speedup:.2f} ("
    text = (out / "README.md").read_text()
    assert line in text
    assert "## Memory" in text
    assert f"{speedup:.2f} (" in done.stdout
    assert (out / "epoch.png").read_bytes().startswith(PNG)
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "epoch.png", "results.json"]


def test_the_measured_command_is_that_of_this_environment():
    command = [*measure_run.find_trainyard_command(), "--version"]
    started, ended, output = measure_run.time_command("the command", command, Path(), dict(os.environ))
    assert version("trainyard") in output
    assert ended > started


@pytest.mark.slow
def test_the_stages_of_a_run_add_up_to_its_wall_clock_time(digits, monkeypatch, fork_commands):
    monkeypatch.setattr(measure_run, "RUNS", (PLAIN_SCRIPT, FIRST_RUN))
    (measured,) = measure_run.measure_run(BenchmarkSettings(digits, 2, 1, quick=True, progress=Progress()))["rounds"]
    for name in (PLAIN_SCRIPT, FIRST_RUN):
        stages = measured[name]["stages"]
        assert sum(stages.values()) == pytest.approx(measured[name]["wall_seconds"], abs=0.01)
        assert min(stages.values()) >= -0.01
        assert 0 < measured[name]["test_accuracy"] <= 1
    assert next(iter(measured[FIRST_RUN]["stages"])) == "before"
    assert set(measured[FIRST_RUN]["stages"]) == set(sections.STAGES)
    assert set(measured[PLAIN_SCRIPT]["stages"]) < set(sections.STAGES)


@pytest.mark.slow
def test_an_interrupt_ends_all_child_processes():
    process = subprocess.Popen(_command("epoch", "--quick", "--out", "out"), stdout=subprocess.DEVNULL)
    parent = psutil.Process(process.pid)
    deadline = time.monotonic() + 300
    while len(children := parent.children(recursive=True)) < len(IMPLEMENTATIONS):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert not psutil.wait_procs(children, timeout=10)[1]


@pytest.mark.slow
def test_the_command_measures_grid_memory_xla_and_seeds():
    """Runs two commands at the same time, because the speed is not judged."""
    commands = {"first": ["grid", "memory"], "second": ["xla", "seeds"]}
    table = COSTS_FILE.read_text()
    processes = [
        subprocess.Popen(
            _command(*names, "--quick", "--out", out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for out, names in commands.items()
    ]
    stderr = [process.communicate(timeout=900)[1] for process in processes]
    assert ([process.returncode for process in processes], stderr) == ([0, 0], ["", ""])
    first, second = (results.load_results(Path(out)) for out in commands)
    assert [(cell["batch_size"], *cell["hidden_units"]) for cell in first["grid"]["cells"]] == [(32, 16), (64, 32)]
    networks = second["xla"]["networks"]
    assert [network["set"] for network in networks] == ["fitted", "fitted", "checked"]
    for network in networks:
        (session,) = network["sessions"]
        assert set(session["compile_seconds"]) == set(session["step_seconds"]) == set(second["xla"]["costs"])
        assert all(0 < seconds < 10 for bursts in session["step_seconds"].values() for seconds in bursts)
    assert COSTS_FILE.read_text() == table  # a quick check does not change it
    trials_by_engine = second["seeds"]["trials"]
    assert {engine: [trial["seed"] for trial in trials] for engine, trials in trials_by_engine.items()} == {
        "compiled": [100, 101], "fit": [100, 101],
    }  # fmt: skip
    assert all(0.1 < trial["accuracy"] <= 1 for trials in trials_by_engine.values() for trial in trials)
    assert [row["images"] for row in first["memory"]["rows"]] == [320, 320, 3200, 3200]
    assert all(row["peak_mib"] > row["import_mib"] > 100 for row in first["memory"]["rows"])
    assert {path.name for path in Path("first").iterdir()} == {"README.md", "grid.png", "results.json"}
    assert {path.name for path in Path("second").iterdir()} == {"README.md", "results.json"}


@pytest.mark.slow
def test_compare_is_measured_on_a_store_that_grows(digits, fork_commands):
    part = measure_compare.measure_compare(BenchmarkSettings(digits, 1, 1, quick=True, progress=Progress()))
    assert [measured["runs"] for measured in part["sizes"]] == [5, 10]
    assert part["params"] > 70
    assert part["metric_values"] > 100
    for measured in part["sizes"]:
        (seconds,) = measured["rounds"]
        assert set(seconds) == {TRAINYARD_COMPARE, MLFLOW_SEARCH}
        assert all(value > 0 for value in seconds.values())
    _, small_table, small_search, large_table, large_search = fork_commands
    assert [len(re.findall(r"(?m)^\d .* 5 runs$", table)) for table in (small_table, large_table)] == [1, 2]
    assert [len(re.findall(r"(?m)^\d ", runs)) for runs in (small_search, large_search)] == [3, 3]


@pytest.mark.slow
def test_the_trials_of_searches_are_read_from_their_ledgers(digits, monkeypatch, fork_commands):
    monkeypatch.setattr(measure_search, "_QUICK_POINTS", {RANDOM: 1, TPE: 2})
    part = measure_search.measure_search(BenchmarkSettings(digits, 1, 1, quick=True, progress=Progress()))
    (searches,) = part["rounds"]
    assert [len(searches[name]["trials"]) for name in (RANDOM, TPE)] == [1, 2]
    for search in searches.values():
        assert all(trial["epochs"] == 3 and trial["seconds"] > 0 for trial in search["trials"])
        assert all(0 < trial["validation"] < 1 and 0 < trial["test"] < 1 for trial in search["trials"])
        assert sum(trial["seconds"] for trial in search["trials"]) < 2 * search["wall_seconds"]
