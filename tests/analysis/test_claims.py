"""Records: what an experiment aims at, what its runs gave, and the page that is made of both."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from scipy.special import stdtrit

from trainyard.analysis.claims import claim_page, index, record, results, selection, spec, target_page, verdicts
from trainyard.analysis.claims.judging import LEVEL, Cell, Verdict, judge, prediction_interval
from trainyard.analysis.claims.power import normal, share_contradicted
from trainyard.analysis.claims.results import Arm, Results, SeedResult
from trainyard.analysis.claims.spec import Claim, Scores, Target
from trainyard.cli.reproduce import reproduce_command
from trainyard.config.compose import HASHED_SECTIONS, compose_config, to_tree
from trainyard.errors import ConfigError
from trainyard.evaluation.intervals import Estimate, estimate_difference, estimate_mean
from trainyard.runs.artifacts import PER_CLASS_TABLE
from trainyard.sweep.folder import SweepFolder

ROOT = Path(__file__).parents[2]
RECORDS = sorted(file.parent for kind in ("target", "claim") for file in ROOT.glob(f"experiments/*/{kind}.yaml"))

TARGET = {
    "title": "Wide or deep", "about": "Which is better?", "goal": 0.9, "seeds": 3, "first_seed": 7,
    "arms": {"wide": ["model.hidden_units=[64]"], "deep": ["model.hidden_units=[8,8]"]},
}  # fmt: skip


def arm(name, accuracies, parameters=100):
    runs = [
        SeedResult(seed=7 + place, accuracy=accuracy, loss=0.1, seconds=2.0, run_id=f"run{place}", report={})
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


CHOSEN = ("optimizer=adam", "optimizer.learning_rate=0.003", "dataset.validation_fraction=0.2")


def search():
    return {
        "name": "it", "overrides": ["sweep=it", "optimizer.learning_rate=tag(log, interval(1e-4, 1e-1))"],
        "objective": "accuracy/val",
        "chosen_by": "tpe, drawn with the seed 0",
        "swept": {"optimizer": "[adam, sgd]", "optimizer.learning_rate": "interval(0.0001, 0.1), log"},
        "trials": {"finished": 20, "pruned": 30},
        "cost": {"wall_seconds": 100.0, "done_seconds": 150.0, "pruned_seconds": 40.0, "failed_seconds": 0.0, "epochs": 300, "spared": 200},
        "winner": {"label": "adam", "varied": {"optimizer": "adam", "optimizer.learning_rate": 0.003}, "value": 0.95, "seeds": 1,
                   "config": {key: value for key, value in to_tree(compose_config(CHOSEN)).items() if key in HASHED_SECTIONS}},
        "card": "card.html",
    }  # fmt: skip


def made(ours=(0.94, 0.95, 0.96), theirs=(0.90, 0.91, 0.92), *, parameters=100, found=None, **limits):
    arms = {"wide": CHOSEN[:2], "deep": ("model.hidden_units=[8,8]",)}
    aim = Target.model_validate({**TARGET, **limits, "search": "it", "arms": arms})
    return Results(aim=aim, arms=(arm("wide", ours, parameters), arm("deep", theirs)), about=about(), search=found)


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
    found = spec.read_aim(file)
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
        spec.read_aim(file)
    assert str(caught.value).startswith(f"{file}: {told}")


def test_what_is_missing_is_told_and_so_is_what_is_no_yaml(tmp_path):
    file = tmp_path / "target.yaml"
    file.write_text("title: It\nabout: What?\ngoal: 0.9\n")
    with pytest.raises(ConfigError) as caught:
        spec.read_aim(file)
    assert caught.value.problems == tuple(f"{file}: {name}: is missing" for name in ("seeds", "arms"))
    for text in ("{", "- 3"):
        file.write_text(text)
        with pytest.raises(ConfigError, match=str(file)):
            spec.read_aim(file)


def test_an_experiment_is_found_by_its_name_or_its_file():
    with pytest.raises(
        ConfigError,
        match="there is neither experiments/it/claim.yaml nor experiments/it/target.yaml. There are none in experiments",
    ):
        spec.find_aim("it")
    file = Path("experiments/wide/target.yaml")
    file.parent.mkdir(parents=True)
    file.touch()
    assert spec.find_aim("wide") == spec.find_aim(str(file)) == file
    with pytest.raises(ConfigError, match="Did you mean 'wide'"):
        spec.find_aim("wid")


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
        (made(), True, ["the target, 90 %, is met.", "It is 4.000 points ahead of deep, standard error 0.816: more than chance."]),
        (made(ours=(0.88, 0.89, 0.90)), False, ["the target, 90 %, is missed.", "It is 2.000 points behind deep", "which may be chance."]),
        (made(parameters=101, most_parameters=100), False, ["is missed.", "Its model has 101 parameters, more than the 100."]),
        (made(parameters=100, most_parameters=100), True, ["is met.", "Its model has 100 parameters, of at most 100."]),
        (made(most_minutes=0.15), True, ["is met.", "All runs together took 9.00 s by the clock, of at most 9.00 s."]),
        (made(most_minutes=0.1), False, ["is missed.", "All runs together took 9.00 s by the clock, more than the 6.00 s."]),
    ],
)  # fmt: skip
def test_the_verdict_says_what_came_out(given, met, told):
    assert target_page.is_met(given) is met
    for words in told:
        assert words in " ".join(target_page.describe_verdict(given))


def test_the_page_has_every_run_and_how_the_recipe_was_chosen():
    text = verdicts.write_page(made(found=search()))
    assert "| wide | 3 | 95.000 | 1.000 | 92.516 to 97.484 | 94.00 to 96.00 | 0.1000 | 100 | 3 | 2.0 |" in text
    assert "| deep | 8 | 0.9100 | 0.1000 | 2.0 | `run1` |" in text
    assert "`trainyard sweep sweep=it 'optimizer.learning_rate=tag(log, interval(1e-4, 1e-1))'`" in text
    assert "20 trials came to their end, 30 were pruned: 300 epochs; pruning spared 200 more" in text
    assert "| `optimizer.learning_rate` | interval(0.0001, 0.1), log | 0.003 |" in text
    assert "Measured 2026-03-01 12:00 UTC in 9 s on A processor, 2 cores, 8.0 GiB, no GPU, Linux, 1 thread." in text
    assert "How the recipe was chosen" not in verdicts.write_page(made())


@pytest.mark.pictures
def test_a_record_is_written_whole_and_keeps_how_its_recipe_was_chosen(tmp_path):
    card = tmp_path / "card.html"
    card.write_text("<p>card")
    record.write_record(tmp_path / "out", made(found=search()), card)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "README.md",
        "results.json",
        "accuracies.png",
        "card.html",
    }
    with Image.open(tmp_path / "out" / "accuracies.png") as picture:
        assert picture.width > 800
    record.write_record(tmp_path / "out", made())  # as where the sweep is not on this machine
    told = "The [sweep card](card.html) shows all of it."
    assert told in (tmp_path / "out" / "README.md").read_text()
    other = made()
    record.write_record(
        tmp_path / "out", dataclasses.replace(other, aim=other.aim.model_copy(update={"search": "that"}))
    )
    assert told not in (tmp_path / "out" / "README.md").read_text()
    (tmp_path / "out" / "results.json").write_text("{")  # by a crash, or another version
    record.write_record(tmp_path / "out", made())
    assert results.load_results(tmp_path / "out") == made()


@pytest.mark.parametrize("folder", RECORDS, ids=lambda folder: folder.name)
def test_the_committed_pages_are_what_their_results_say(folder):
    kept = results.load_results(folder)
    aim = spec.read_aim(spec.find_aim(str(next(folder.glob("[tc]*.yaml")))))
    assert (folder / record.PAGE).read_text() == verdicts.write_page(kept)
    assert kept.aim == aim
    assert min(len(one.runs) for one in kept.arms) >= aim.seeds
    if kept.search:
        selection.refuse_other_recipe(kept.search, aim.arms[aim.ours])


# ------------------------------------------------------------------------------------------------------------
# The table across experiments


def test_the_committed_table_is_what_the_records_say():
    assert (ROOT / "experiments" / record.PAGE).read_text() == index.write_index_page(ROOT / "experiments")


def test_the_table_has_a_row_per_record_and_names_what_else_is_there():
    folder = Path("experiments")
    record.write_record(folder / "wide", made())
    for name in ("wide", "later"):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "target.yaml").write_text(yaml.safe_dump({**TARGET, "title": f"As {name}"}))
    (folder / "notes").mkdir()
    (folder / "notes" / "README.md").write_text("# What we saw\n\n# And more\n")
    assert index.write_index(folder)
    page = (folder / "README.md").read_text()
    row = "| [`wide`](wide/README.md) | 90 or more | 95.000 ± 1.000 | met | 3 | 100 | 3 | 9.00 s | 2026-03-01 |"
    assert row in page
    assert "\n## wide: Wide or deep\n\n- wide: 95.000 % of the test images right" in page
    assert "\n## Not measured yet\n\n- `later`: As later\n" in page
    assert "\n## Beside them\n\n- [`notes/`](notes/README.md): What we saw\n" in page


def test_a_page_that_somebody_wrote_is_left_alone():
    folder = Path("experiments")
    folder.mkdir()
    (folder / "README.md").write_text("Ours\n")
    assert not index.write_index(folder)
    assert (folder / "README.md").read_text() == "Ours\n"


# ------------------------------------------------------------------------------------------------------------
# Claims: against what ten seeds of the published recipe came to, and against wrong claims

PUBLISHED = yaml.safe_load((ROOT / "experiments/mnist_baseline/claim.yaml").read_text())


def judged(change=None, accuracies=None, seeds=10, scores=None):
    """Judges the published claim, changed, by runs like those of its recipe: published figures with some spread."""
    aim = Claim.model_validate(merge(PUBLISHED, change or {}))
    true = Claim.model_validate(PUBLISHED).classification_report
    generator = np.random.default_rng(0)

    def shaken(row, scores):
        spread = 0.0016 if "avg" in row else 0.006
        values = np.clip(np.array(scores[:3]) + generator.normal(0, spread, 3), 0, 1)
        return Scores(*map(float, values), scores.support)

    runs = tuple(
        SeedResult(
            seed=seed, loss=0.08, seconds=9.0, run_id=None,
            accuracy=float(accuracies[seed] if accuracies else 0.9792 + generator.normal(0, 0.0018)),
            report={row: shaken(row, scores or published) for row, published in true.items()},
        )
        for seed in range(seeds)
    )  # fmt: skip
    ours = dataclasses.replace(arm("recipe", [0.9]), runs=runs)
    return Results(aim=aim, arms=(ours,), about=about())


def merge(content, change):
    return {
        **content,
        **{key: merge(content[key], value) if isinstance(value, dict) else value for key, value in change.items()},
    }


def test_a_true_claim_is_supported_figure_by_figure():
    found = judged()
    assert claim_page.verdict_of(found) == "supported"
    told = claim_page.describe_verdict(found)
    assert told[0] == "**The claim is supported.** Of 37 figures 37 supported, 0 contradicted, 0 undecided."
    assert len(told) == 2
    judgements = judge(claim_page.cells_of(found))
    assert judgements[0].cell.name == "accuracy"
    assert {one.verdict for one in judgements} == {Verdict.SUPPORTED}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"accuracy": 0.96}, "accuracy: published 0.96, and one more run would lie in 0.9"),
        ({"accuracy": 1.0}, "accuracy: published 1.00, and one more run would lie in 0.9"),
        ({"classification_report": {"3": [0.97, 0.98, 0.90, 1010]}}, "3 f1: published 0.90, and one more run would lie in 0.9"),
        ({"classification_report": {"3": [0.97, 0.98, 0.97, 1011]}}, "3: 1,011 images were published, and there are 1,010"),
    ],
)  # fmt: skip
def test_a_wrong_claim_is_contradicted_for_the_stated_reason(change, told):
    found = judged(change)
    assert claim_page.verdict_of(found) == "contradicted"
    (_, _, *reasons) = claim_page.describe_verdict(found)
    assert len(reasons) == 1
    assert reasons[0].startswith(told)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (judged(seeds=9), "Fewer than 10 seeds can contradict a figure, and support none: --seeds 10."),
        (
            judged(accuracies=[0.93, 0.99] * 5),
            "accuracy: one more run would lie in 0.8850 to 1.0000, which is too wide to tell.",
        ),
    ],
)
def test_too_little_decides_nothing(found, told):
    assert claim_page.verdict_of(found) == "undecided"
    assert claim_page.describe_verdict(found)[-1] == told


def test_a_contradiction_needs_no_tenth_seed():
    assert claim_page.verdict_of(judged({"accuracy": 0.9}, seeds=5)) == "contradicted"


def test_seeds_that_all_agree_are_taken_to_vary_by_their_rounding():
    low, high = prediction_interval([0.98] * 10, 0.05, step=1 / 100)
    assert high - low == pytest.approx(2 * 2.262 * 0.01 / 12**0.5 * 1.1**0.5, rel=1e-3)


def test_the_other_cells_share_one_level():
    cell = Cell(name="a", published=0.9, decimals=2, values=tuple(np.linspace(0.89, 0.91, 10)), step=0.001)
    alone, shared = judge([cell]), judge([cell] * 36)
    assert shared[0].high - shared[0].low > 1.5 * (alone[0].high - alone[0].low)
    low, high = prediction_interval(cell.values, 0.05 / 36, 0.001)
    assert (shared[0].low, shared[0].high) == (low, min(high, 1.0))


@pytest.mark.parametrize("seeds", [10, 20])
def test_a_true_accuracy_is_contradicted_no_more_often_than_promised(seeds):
    """Unrounded the interval is exact: 5 %. Rounding is on the side of the claim."""
    draw = normal(0.979, 0.0025)
    assert share_contradicted(draw, seeds, decimals=12) == pytest.approx(0.05, abs=0.005)
    assert share_contradicted(draw, seeds) < 0.03
    heavy = lambda generator, shape: 0.979 + 0.0018 * generator.standard_t(4, shape)  # noqa: E731 - values with far outliers
    assert share_contradicted(heavy, seeds) < 0.05


def test_true_cells_that_share_a_level_are_contradicted_together_no_more_often_than_promised():
    """36 cells, half of their variance in common, as the figures of one run have much in common."""
    generator, repeats, cells, seeds = np.random.default_rng(1), 4_000, 36, 10
    common = generator.normal(size=(repeats, seeds + 1, 1))
    values = 0.98 + 0.006 * (common + generator.normal(size=(repeats, seeds + 1, cells))) / 2**0.5
    ours, told = values[:, :seeds], values[:, seeds]
    half = stdtrit(seeds - 1, 1 - LEVEL / cells / 2) * ours.std(axis=1, ddof=1) * (1 + 1 / seeds) ** 0.5
    wrong = np.abs(told - ours.mean(axis=1)) > half
    assert 0.01 < wrong.any(axis=1).mean() <= LEVEL


def test_the_power_against_other_figures_is_what_the_docs_say():
    draw = normal(0.979, 0.0025)
    found = {figure: share_contradicted(draw, 10, published=figure) for figure in (0.96, 0.97, 0.98, 0.99, 1.0)}
    assert found[0.96] > 0.99
    assert found[1.0] > 0.99
    assert found[0.98] < 0.01
    assert 0.05 < found[0.97] < 0.3
    assert 0.3 < found[0.99] < 0.8


def test_a_claim_that_is_wrong_is_told_field_by_field(tmp_path):
    file = tmp_path / "claim.yaml"
    file.write_text(
        yaml.safe_dump(merge(PUBLISHED, {"decimals": 0, "classification_report": {"3": [0.9, 0.9, 1.2, 0]}}))
    )
    with pytest.raises(ConfigError) as caught:
        spec.read_aim(file)
    assert caught.value.problems == (
        f"{file}: decimals: Input should be greater than or equal to 1, got 0",
        f"{file}: classification_report.3.f1: Input should be less than or equal to 1, got 1.2",
        f"{file}: classification_report.3.support: Input should be greater than or equal to 1, got 0",
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"accuracy": 0.9795}, "accuracy: expected at most 2 decimals, as it was rounded, got 0.9795"),
        ({"recipe": []}, "recipe: Tuple should have at least 1 item"),
    ],
)
def test_figures_of_a_claim_are_as_they_were_rounded(tmp_path, change, told):
    file = tmp_path / "claim.yaml"
    file.write_text(yaml.safe_dump({**PUBLISHED, **change}))
    with pytest.raises(ConfigError, match=re.escape(f"{file}: {told}")):
        spec.read_aim(file)


def test_digits_that_name_classes_need_no_quotes(tmp_path):
    file = tmp_path / "claim.yaml"
    rows = {3: [0.97, 0.98, 0.97, 1010]}
    file.write_text(yaml.safe_dump({**PUBLISHED, "classification_report": rows}))
    assert spec.read_aim(file).classification_report["3"].support == 1010
    file.write_text(yaml.safe_dump({**PUBLISHED, "classification_report": {3: [0.97, 0.98, 1.97, 1010]}}))
    with pytest.raises(ConfigError, match="classification_report.3.f1: "):
        spec.read_aim(file)


def test_a_row_that_the_data_lacks_is_told():
    found = judged({"classification_report": {"Trouser": [0.9, 0.9, 0.9, 10]}})
    with pytest.raises(ConfigError, match="classification_report.Trouser: there is no such class. There are: 0, 1"):
        verdicts.refuse_other_rows(found)


def test_a_report_is_read_unrounded_and_its_means_are_those_of_scikit_learn(tmp_path):
    from sklearn.metrics import classification_report

    generator = np.random.default_rng(0)
    actual, predicted = generator.integers(0, 3, 200), generator.integers(0, 3, 200)
    expected = classification_report(actual, predicted, output_dict=True)
    rows = [
        [
            str(row),
            expected[str(row)]["f1-score"],
            expected[str(row)]["precision"],
            expected[str(row)]["recall"],
            int(expected[str(row)]["support"]),
        ]
        for row in range(3)
    ]
    file = tmp_path / PER_CLASS_TABLE
    file.parent.mkdir()
    file.write_text(json.dumps({"columns": ["class", "f1", "precision", "recall", "support"], "data": rows}))
    found = results._read_report(tmp_path)
    for row in ("0", "2", "macro avg", "weighted avg"):
        assert found[row] == pytest.approx(tuple(expected[row].values()))


def test_the_page_of_a_claim_has_every_figure():
    text = verdicts.write_page(judged({"accuracy": 0.96}))
    assert "**The claim is contradicted.** Of 37 figures 36 supported, 1 contradicted, 0 undecided." in text
    assert re.search(r"\| accuracy \| 0.96 \| 0.97\d\d \| 0.00\d\d \| .* \| 0 % \| \*\*contradicted\*\* \|", text)
    assert re.search(r"\| 9 recall \| 0.96 \| 0.9\d\d\d \| .* \| supported \|", text)
    assert "| 1.00 | 100.0 % |" in text
    assert "the other 36 cells share another 0.05 (Bonferroni)" in text


@pytest.mark.pictures
def test_the_picture_of_a_claim_has_a_band_for_every_figure(tmp_path):
    record.write_record(tmp_path, judged({"accuracy": 0.96}))
    with Image.open(tmp_path / claim_page.PICTURE) as picture:
        assert picture.height > 1000
    assert results.load_results(tmp_path) == judged({"accuracy": 0.96})
    told = verdicts.summarise(judged({"accuracy": 0.96}))
    assert (told["verdict"], told["cells"][0]["verdict"], told["cells"][0]["published"]) == (
        "contradicted",
        "contradicted",
        0.96,
    )


# ------------------------------------------------------------------------------------------------------------
# The command


def test_a_recipe_that_is_not_what_its_sweep_chose_is_refused():
    found = search()
    selection.refuse_other_recipe(found, CHOSEN[:2])  # without the images that were kept back
    with pytest.raises(ConfigError) as caught:
        selection.refuse_other_recipe(found, ("optimizer=sgd", "optimizer.learning_rate=0.01"))
    assert "optimizer.name: the sweep it chose otherwise: sgd, was adam" in caught.value.problems
    assert "optimizer.learning_rate: the sweep it chose otherwise: 0.01, was 0.003" in caught.value.problems
    with pytest.raises(ConfigError, match="training.epochs: the sweep it chose otherwise: 20, was 10"):
        selection.refuse_other_recipe(found, (*CHOSEN, "training.epochs=20"))


@pytest.mark.parametrize(
    ("overrides", "seeds", "told"),
    [
        (["training.epochs=1"], None, "training.epochs=1: a record is of what the experiment says, and of nothing else"),
        (["tracking=off", "~model.dropout"], None, "~model.dropout: a record is of"),
        (["dataset.path=x", "seed=5"], None, "seed=5: a record is of"),
        ([], 2, "--seeds: expected at least the 3 of the experiment"),
    ],
)  # fmt: skip
def test_a_record_is_what_its_target_says(overrides, seeds, told):
    file = Path("experiments/wide/target.yaml")
    file.parent.mkdir(parents=True)
    file.write_text(yaml.safe_dump(TARGET))
    with pytest.raises(ConfigError, match=told):
        reproduce_command("wide", overrides, seeds=seeds, record=True, fresh=False, as_json=False)
    assert not Path("sweeps").exists()


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["seed=5"], "seed=5: reproduce chooses seeds and sweeps itself"),
        (["sweep.seeds=3"], "sweep.seeds=3: reproduce chooses"),
        (["hydra.sweep.dir=x"], "hydra.sweep.dir=x: reproduce chooses"),
        (["training.epochs=5,10"], "expected one recipe, got 2"),
        (["sweep=widths"], "sweep=widths: reproduce chooses"),
    ],
)
def test_what_is_reproduced_is_one_recipe(overrides, told):
    file = Path("experiments/wide/target.yaml")
    file.parent.mkdir(parents=True)
    file.write_text(yaml.safe_dump(TARGET))
    with pytest.raises(ConfigError, match=re.escape(told)):
        reproduce_command("wide", overrides, seeds=None, record=False, fresh=False, as_json=False)
    assert not Path("sweeps").exists()


SMALL = ["name=it", "dataset.limit=300", "training.epochs=2", "training.xla=off"]


def run(*words):
    command = [sys.executable, "-c", "from trainyard.cli import main; main()", *words]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=300, check=False)


def write_aim(kind, **content):
    file = Path("experiments/wide", kind)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


@pytest.mark.slow
def test_an_experiment_is_reproduced_gone_on_with_and_recorded():
    chose = run("sweep", *SMALL, "sweep.name=it", "model.hidden_units=[4],[32]", "dataset.validation_fraction=0.2")
    assert chose.returncode == 0, chose.stderr
    aims_at = {key: value for key, value in TARGET.items() if key != "arms"} | {"search": "it", "seeds": 2, "goal": 1.0}
    write_aim("target.yaml", **aims_at, arms={"wide": [*SMALL, "model.hidden_units=[5]"]})
    other = run("reproduce", "wide", "--record")
    assert other.returncode == 2
    assert "error model.hidden_units: the sweep it chose otherwise: [5], was [" in other.stderr
    widths = selection.describe_search(SweepFolder(Path("sweeps/it")))["winner"]["varied"]["model.hidden_units"]
    arms = {"wide": [*SMALL, f"model.hidden_units={widths}"], "deep": [*SMALL, "model.hidden_units=[8,8]"]}
    file = write_aim("target.yaml", **aims_at, arms=arms)
    missed = run("reproduce", "wide", "--record", "tracking.model=false")
    assert (missed.returncode, missed.stderr) == (3, "")
    assert "the target, 100 %, is missed." in missed.stdout
    kept = results.load_results(file.parent)
    assert {one.name: [run.seed for run in one.runs] for one in kept.arms} == {"wide": [7, 8], "deep": [7, 8]}
    assert kept.ours.accuracies != kept.arms[1].accuracies
    assert kept.search["winner"]["varied"] == {"model.hidden_units": widths}
    assert kept.about["mixed"] == []
    assert (file.parent / "card.html").read_text() == Path("sweeps/it/card.html").read_text()
    assert (file.parent / "README.md").read_text() == verdicts.write_page(kept)
    assert "| [`wide`](wide/README.md) | 100 or more |" in Path("experiments/README.md").read_text()
    write_aim("target.yaml", **{**aims_at, "goal": 0.0}, arms=arms)
    met = run("reproduce", "wide", "tracking.model=false", "hydra.launcher.n_jobs=1")  # nothing is trained again
    assert met.returncode == 0, met.stderr
    assert results.load_results(Path("outputs/reproduce/wide")).arms[0].runs == kept.ours.runs


@pytest.mark.slow
def test_a_claim_is_judged_without_a_store_and_told_as_json():
    recipe = [*SMALL, "model.hidden_units=[8]", "tracking=off"]
    row = {"0": [0.9, 0.9, 0.9, 30]}
    write_aim(
        "claim.yaml", title="It", about="What?", source="Us", recipe=recipe, seeds=2, decimals=1, accuracy=0.9,
        classification_report=row,
    )  # fmt: skip
    done = run("reproduce", "wide", "--json")
    told = json.loads(done.stdout)
    supports = {one["report"]["0"][3] for one in told["arms"][0]["runs"]}
    assert (len(told["cells"]), len(supports)) == (4, 1)
    if supports == {30}:
        assert (done.returncode, told["verdict"]) == (4, "undecided")  # two seeds decide nothing
    else:
        assert (done.returncode, told["verdict"]) == (3, "contradicted")
        assert told["wrong_counts"] == [f"0: 30 images were published, and there are {supports.pop()}"]
    assert {one["run_id"] for one in told["arms"][0]["runs"]} == {None}
    assert not Path("mlflow.db").exists()
