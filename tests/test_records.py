"""Records: what an experiment aims at, what its runs gave, and the page that is made of both."""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from trainyard.cli.reproduce import reproduce_command
from trainyard.errors import ConfigError
from trainyard.records import chosen, page, results, target, writing
from trainyard.records.intervals import Estimate, estimate_difference, estimate_mean
from trainyard.records.results import Arm, Results, SeedResult
from trainyard.records.target import Target

ROOT = Path(__file__).parents[1]
RECORDS = sorted(file.parent for file in ROOT.glob("experiments/*/target.yaml"))

TARGET = {
    "title": "Wide or deep", "about": "Which is better?", "goal": 0.9, "seeds": 3, "first_seed": 7,
    "arms": {"wide": ["model.hidden_units=[64]"], "deep": ["model.hidden_units=[8,8]"]},
}  # fmt: skip


def arm(name, accuracies, parameters=100):
    runs = [
        SeedResult(seed=7 + place, accuracy=accuracy, loss=0.1, seconds=2.0, run_id=f"run{place}")
        for place, accuracy in enumerate(accuracies)
    ]
    return Arm(
        name=name, overrides=("experiment=a", "model.hidden_units=[8, 8]"), parameters=parameters, epochs=3,
        validation_fraction=0.0, runs=tuple(runs),
    )  # fmt: skip


def about():
    machine = {
        "cpu": "A processor",
        "cores": 2,
        "memory_gib": 8.0,
        "gpus": [],
        "platform": "Linux",
        "threads": 1,
        "python": "3.11.9",
    }
    return {
        "date": "2026-03-01 12:00 UTC", "command": "trainyard reproduce it --record", "commit": "abc", "dirty": False,
        "seconds": 9.0, "machine": machine, "versions": {"keras": "3.15.1"},
    }  # fmt: skip


def search():
    return {
        "name": "it", "overrides": ["sweep=it", "optimizer.learning_rate=tag(log, interval(1e-4, 1e-1))"],
        "objective": "accuracy/val", "chosen_by": "tpe, drawn with the seed 0",
        "swept": {"optimizer": "[adam, sgd]", "optimizer.learning_rate": "interval(0.0001, 0.1), log"},
        "trials": {"finished": 20, "pruned": 30},
        "cost": {"wall_seconds": 100.0, "done_seconds": 150.0, "pruned_seconds": 40.0, "failed_seconds": 0.0, "epochs": 300, "spared": 200},
        "winner": {"label": "adam", "varied": {"optimizer": "adam", "optimizer.learning_rate": 0.003}, "value": 0.95, "seeds": 1},
        "card": "card.html",
    }  # fmt: skip


def made(ours=(0.94, 0.95, 0.96), theirs=(0.90, 0.91, 0.92), *, parameters=100, most=None, found=None):
    aim = Target.model_validate({**TARGET, "most_parameters": most})
    return Results(target=aim, arms=(arm("wide", ours, parameters), arm("deep", theirs)), about=about(), search=found)


# ------------------------------------------------------------------------------------------------------------
# Intervals


def test_the_interval_of_a_difference_of_means_is_welchs():
    """Against the figures of a worked example: Welch (1947) as scipy's own test gives it."""
    from scipy.stats import ttest_ind

    ours, theirs = [27.5, 21.0, 19.0, 23.6, 17.0, 17.9], [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8]
    found = estimate_difference(ours, theirs, confidence=0.9)
    test = ttest_ind(ours, theirs, equal_var=False)
    expected = test.confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.value == pytest.approx(sum(ours) / 6 - sum(theirs) / 7)
    assert found.chance == pytest.approx(test.pvalue)


def test_the_interval_of_a_mean_is_students():
    from scipy.stats import ttest_1samp

    values = [0.981, 0.979, 0.985, 0.982]
    found = estimate_mean(values)
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.error == pytest.approx(statistics.stdev(values) / 2)


def test_values_that_do_not_vary_have_no_interval():
    assert estimate_difference([1.0, 1.0], [1.0, 1.0]) == Estimate(0, 0, 0, 0, 1)
    assert estimate_difference([2.0, 2.0], [1.0, 1.0]) == Estimate(1, 0, 1, 1, 0)
    assert estimate_mean([0.5, 0.5]).low == 0.5


# ------------------------------------------------------------------------------------------------------------
# Targets


def test_a_target_is_read(tmp_path):
    file = tmp_path / "target.yaml"
    file.write_text(yaml.safe_dump(TARGET, sort_keys=False))
    found = target.read_target(file)
    assert (found.ours, found.arms["deep"], found.first_seed) == ("wide", ("model.hidden_units=[8,8]",), 7)
    assert (found.search, found.most_parameters) == (None, None)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"goal": 98}, "goal: Input should be less than or equal to 1, got 98"),
        ({"seeds": 1}, "seeds: Input should be greater than or equal to 2, got 1"),
        ({"arms": {}}, "arms: Dictionary should have at least 1 item"),
        ({"arms": {"wide": []}}, "arms.wide: Tuple should have at least 1 item"),
        ({"sede": 3}, "sede: there is no such field. Did you mean 'seeds'? There are: title"),
        ({"title": ""}, "title: String should have at least 1 character"),
        ({"about": None}, "about: Input should be a valid string, got None"),
    ],
)  # fmt: skip
def test_a_target_that_is_wrong_is_told_field_by_field(tmp_path, change, told):
    file = tmp_path / "target.yaml"
    file.write_text(yaml.safe_dump({**TARGET, **change}))
    with pytest.raises(ConfigError) as caught:
        target.read_target(file)
    assert str(caught.value).startswith(f"{file}: {told}")


def test_what_is_missing_is_told_and_so_is_what_is_no_yaml(tmp_path):
    file = tmp_path / "target.yaml"
    file.write_text("title: It\nabout: What?\n")
    with pytest.raises(ConfigError) as caught:
        target.read_target(file)
    assert caught.value.problems == tuple(f"{file}: {name}: is missing" for name in ("goal", "arms", "seeds"))
    for text in ("{", "- 3"):
        file.write_text(text)
        with pytest.raises(ConfigError, match=str(file)):
            target.read_target(file)


def test_an_experiment_is_found_by_its_name_or_its_file():
    with pytest.raises(
        ConfigError, match="no experiment 'it': experiments/it/target.yaml is not there. There are none in experiments"
    ):
        target.find_target("it")
    file = Path("experiments/wide/target.yaml")
    file.parent.mkdir(parents=True)
    file.touch()
    assert target.find_target("wide") == target.find_target(str(file)) == file
    with pytest.raises(ConfigError, match="Did you mean 'wide'"):
        target.find_target("wid")


# ------------------------------------------------------------------------------------------------------------
# Results and page


def test_results_are_read_as_they_were_written(tmp_path):
    written = made(found=search())
    results.save_results(tmp_path, written)
    assert results.load_results(tmp_path) == written


@pytest.mark.parametrize("content", ["", "{}", '{"format": 99}', '{"format": 1, "target": {}}'])
def test_results_of_something_else_are_refused(tmp_path, content):
    (tmp_path / results.FILE).write_text(content)
    with pytest.raises(ConfigError, match="results.json: expected"):
        results.load_results(tmp_path)


@pytest.mark.parametrize(
    ("given", "met", "told"),
    [
        (made(), True, ["the target, 90.00 %, is met.", "It is 4.000 points ahead of deep, standard error 0.816: more than chance."]),
        (made(ours=(0.88, 0.89, 0.90)), False, ["the target, 90.00 %, is missed.", "It is 2.000 points behind deep", "which may be chance."]),
        (made(parameters=101, most=100), False, ["is missed.", "Its model has 101 parameters, more than the 100."]),
        (made(parameters=100, most=100), True, ["is met.", "Its model has 100 parameters, of at most 100."]),
    ],
)  # fmt: skip
def test_the_verdict_says_what_came_out(given, met, told):
    assert page.is_met(given) is met
    for words in told:
        assert words in " ".join(page.verdict(given))


def test_the_page_has_every_run_and_how_the_recipe_was_chosen():
    text = page.write_page(made(found=search()))
    assert "| wide | 3 | 95.00 | 1.000 | 92.52 to 97.48 | 94.00 to 96.00 | 0.1000 | 100 | 3 | 2.0 |" in text
    assert "| deep | 8 | 0.9100 | 0.1000 | 2.0 | `run1` |" in text
    assert "`trainyard sweep sweep=it 'optimizer.learning_rate=tag(log, interval(1e-4, 1e-1))'`" in text
    assert "20 trials came to their end, 30 were pruned: 300 epochs; pruning spared 200 more" in text
    assert "| `optimizer.learning_rate` | interval(0.0001, 0.1), log | 0.003 |" in text
    assert "Measured 2026-03-01 12:00 UTC in 9 s on A processor, 2 cores, 8.0 GiB, no GPU, Linux, 1 thread." in text
    assert "How the recipe was chosen" not in page.write_page(made())


@pytest.mark.pictures
def test_a_record_is_written_whole_and_keeps_how_its_recipe_was_chosen(tmp_path):
    card = tmp_path / "card.html"
    card.write_text("<p>card")
    writing.write_record(tmp_path / "out", made(found=search()), card)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "README.md",
        "results.json",
        "accuracies.png",
        "card.html",
    }
    with Image.open(tmp_path / "out" / "accuracies.png") as picture:
        assert picture.width > 800
    writing.write_record(tmp_path / "out", made())  # as where the sweep is not on this machine
    assert "The [sweep card](card.html) shows all of it." in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("folder", RECORDS, ids=lambda folder: folder.name)
def test_the_committed_pages_are_what_their_results_say(folder):
    kept = results.load_results(folder)
    assert (folder / writing.PAGE).read_text() == page.write_page(kept)
    assert kept.target == target.read_target(folder / target.FILE)
    assert min(len(one.runs) for one in kept.arms) >= kept.target.seeds
    if kept.search:
        chosen.refuse_other_recipe(kept.search, kept.target.arms[kept.target.ours])


# ------------------------------------------------------------------------------------------------------------
# The command


def test_a_recipe_that_is_not_what_its_sweep_chose_is_refused():
    found = search()
    chosen.refuse_other_recipe(found, ("optimizer=adam", "optimizer.learning_rate=0.003"))
    with pytest.raises(ConfigError) as caught:
        chosen.refuse_other_recipe(found, ("optimizer=sgd", "optimizer.learning_rate=0.01"))
    assert caught.value.problems[:2] == (
        "optimizer: the sweep it chose 'adam', and the recipe has 'sgd'",
        "optimizer.learning_rate: the sweep it chose 0.003, and the recipe has 0.01",
    )


@pytest.mark.parametrize(
    ("overrides", "seeds", "told"),
    [
        (["training.epochs=1"], None, "training.epochs=1: a record is what the target says, and nothing else"),
        (["tracking=off", "~model.dropout"], None, "~model.dropout: a record is"),
        ([], 2, "--seeds: expected at least the 3 of the target"),
    ],
)  # fmt: skip
def test_a_record_is_what_its_target_says(overrides, seeds, told):
    file = Path("experiments/wide/target.yaml")
    file.parent.mkdir(parents=True)
    file.write_text(yaml.safe_dump(TARGET))
    with pytest.raises(ConfigError, match=told):
        reproduce_command("wide", overrides, seeds=seeds, record=True, fresh=False)
    assert not Path("sweeps").exists()


@pytest.mark.slow
def test_an_experiment_is_reproduced_gone_on_with_and_recorded():
    small = ["name=it", "dataset.limit=300", "training.epochs=2", "training.xla=off"]

    def run(*words):
        command = [sys.executable, "-c", "from trainyard.cli import main; main()", *words]
        return subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=300, check=False)

    chose = run("sweep", *small, "sweep.name=it", "model.hidden_units=[4],[32]", "dataset.validation_fraction=0.2")
    assert chose.returncode == 0, chose.stderr
    best = json.loads(Path("sweeps/it/leaderboard.json").read_text())["data"][0]
    file = Path("experiments/wide/target.yaml")
    file.parent.mkdir(parents=True)
    aims = {"search": "it", "seeds": 2, "goal": 1.0, "arms": {"wide": [*small, "model.hidden_units=[5]"]}}
    file.write_text(yaml.safe_dump({**TARGET, **aims}))
    other = run("reproduce", "wide")
    assert other.returncode == 2
    assert "error model.hidden_units: the sweep it chose" in other.stderr
    (widths,) = [width for width in ([4], [32]) if str(width) in str(best) or str(width[0]) in str(best[1])]
    aims["arms"] = {"wide": [*small, f"model.hidden_units={widths}"]}
    file.write_text(yaml.safe_dump({**TARGET, **aims}))
    missed = run("reproduce", "wide", "--record", "tracking.model=false")
    assert (missed.returncode, missed.stderr) == (3, "")
    assert "the target, 100.00 %, is missed." in missed.stdout
    kept = results.load_results(file.parent)
    assert [one.seed for one in kept.ours.runs] == [7, 8]
    assert kept.search["winner"]["varied"] == {"model.hidden_units": widths}
    assert (file.parent / "card.html").read_text() == Path("sweeps/it/card.html").read_text()
    assert (file.parent / "README.md").read_text() == page.write_page(kept)
    file.write_text(yaml.safe_dump({**TARGET, **aims, "goal": 0.0}))
    met = run("reproduce", "wide", "tracking.model=false")  # nothing is trained again
    assert met.returncode == 0
    assert results.load_results(Path("outputs/reproduce/wide")).arms == dataclasses.replace(kept).arms
