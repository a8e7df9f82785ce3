"""Records of experiments: specifications, results, verdicts, and the generated pages."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from pages import suggested_commands
from PIL import Image
from processes import run_trainyard
from scipy import stats
from scipy.special import stdtrit

from trainyard.analysis.claims import index, provenance, record, results, spec
from trainyard.analysis.claims.judging import (
    ClaimedMetric,
    Verdict,
    compute_contradiction_rate,
    compute_prediction_interval,
    judge,
)
from trainyard.analysis.claims.reproduction import ClaimResult
from trainyard.analysis.claims.results import Arm, Results, SeedResult
from trainyard.analysis.claims.spec import Claim, Scores, Target
from trainyard.cli.reproduce import reproduce
from trainyard.config.compose import compose_config
from trainyard.config.serialization import HASHED_SECTIONS, config_to_dict
from trainyard.errors import ConfigError
from trainyard.evaluation.statistics import SIGNIFICANCE_LEVEL, estimate_accuracy, estimate_accuracy_difference
from trainyard.sweep.folder import SweepFolder
from trainyard.tracking import load_run_record
from trainyard.tracking.names import PER_CLASS_TABLE

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
        name=name, overrides=("experiment=a", "model.hidden_units=[8, 8]"), parameters=parameters, images=1000, epochs=3,
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
                   "config": {key: value for key, value in config_to_dict(compose_config(CHOSEN)).items() if key in HASHED_SECTIONS}},
        "card": "card.html",
    }  # fmt: skip


def target_results(first=(0.94, 0.95, 0.96), second=(0.90, 0.91, 0.92), *, parameters=100, search_info=None, **limits):
    arms = {"wide": CHOSEN[:2], "deep": ("model.hidden_units=[8,8]",)}
    spec = Target.model_validate({**TARGET, **limits, "search": "it", "arms": arms})
    return Results(
        spec=spec, arms=(arm("wide", first, parameters), arm("deep", second)), about=about(), search=search_info
    )


# ------------------------------------------------------------------------------------------------------------
# Targets


def test_target_is_loaded(tmp_path):
    file = tmp_path / "target.yaml"
    file.write_text(yaml.safe_dump(TARGET, sort_keys=False))
    target = spec.load_spec(file)
    assert (target.main_arm_name, target.arms["deep"], target.first_seed) == ("wide", ("model.hidden_units=[8,8]",), 7)
    assert (target.search, target.most_parameters) == (None, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"goal": 98}, "goal: Input should be less than or equal to 1, got 98"),
        ({"seeds": 1}, "seeds: Input should be greater than or equal to 2, got 1"),
        ({"arms": {}}, "arms: Dictionary should have at least 1 item"),
        ({"arms": {"wide": []}}, "arms.wide: Tuple should have at least 1 item"),
        ({"sede": 3}, "sede: unknown field. Did you mean 'seeds'? Available: title"),
        ({"title": ""}, "title: String should have at least 1 character"),
        ({"about": None}, "about: Input should be a valid string, got None"),
    ],
)  # fmt: skip
def test_invalid_target_is_reported_field_by_field(tmp_path, change, message):
    file = tmp_path / "target.yaml"
    file.write_text(yaml.safe_dump({**TARGET, **change}))
    with pytest.raises(ConfigError) as caught:
        spec.load_spec(file)
    assert str(caught.value).startswith(f"{file}: {message}")


def test_missing_fields_and_invalid_yaml_are_reported(tmp_path):
    file = tmp_path / "target.yaml"
    file.write_text("title: It\nabout: What?\ngoal: 0.9\n")
    with pytest.raises(ConfigError) as caught:
        spec.load_spec(file)
    assert caught.value.problems == tuple(f"{file}: {name}: this field is required" for name in ("seeds", "arms"))
    for text in ("{", "- 3"):
        file.write_text(text)
        with pytest.raises(ConfigError, match=str(file)):
            spec.load_spec(file)


def test_experiment_is_found_by_name_or_by_path():
    with pytest.raises(
        ConfigError,
        match="neither experiments/it/claim.yaml nor experiments/it/target.yaml exists. experiments/ has none",
    ):
        spec.find_spec("it")
    file = Path("experiments/wide/target.yaml")
    file.parent.mkdir(parents=True)
    file.touch()
    assert spec.find_spec("wide") == spec.find_spec(str(file)) == file
    with pytest.raises(ConfigError, match="Did you mean 'wide'"):
        spec.find_spec("wid")


# ------------------------------------------------------------------------------------------------------------
# Results and pages


def test_results_survive_a_round_trip(tmp_path):
    written = target_results(search_info=search())
    results.write_results(tmp_path, written)
    assert results.load_results(tmp_path) == written


@pytest.mark.parametrize("content", ["", "{}", '{"format": 99}', '{"format": 1, "target": {}}'])
def test_invalid_results_files_are_rejected(tmp_path, content):
    (tmp_path / results.RESULTS_FILE).write_text(content)
    with pytest.raises(ConfigError, match="results.json: expected"):
        results.load_results(tmp_path)


@pytest.mark.parametrize(
    ("outcome", "met", "messages"),
    [
        (target_results(), True, ["The target, 90 %, is met. The mean is 5.000 percentage points higher than the target.", "The mean is 4.000 percentage points higher than the mean of deep", "is significant (standard error 0.816)."]),
        (target_results(first=(0.88, 0.89, 0.90)), False, ["The target, 90 %, is missed. The mean is 1.000 percentage points lower than the target.", "The mean is 2.000 percentage points lower than the mean of deep", "is not significant"]),
        (target_results(first=(0.89, 0.90, 0.91)), True, ["is met. The mean is equal to the target."]),
        (target_results(parameters=101, most_parameters=100), False, ["is missed.", "Its model has 101 parameters, over the limit of 100."]),
        (target_results(parameters=100, most_parameters=100), True, ["is met.", "Its model has 100 parameters, within the limit of 100."]),
        (target_results(most_minutes=0.15), True, ["is met.", "All runs together took 9.00 s (wall time), within the limit of 9.00 s."]),
        (target_results(most_minutes=0.1), False, ["is missed.", "All runs together took 9.00 s (wall time), over the limit of 6.00 s."]),
    ],
)  # fmt: skip
def test_verdict_describes_the_result_of_a_target(outcome, met, messages):
    assert record.get_page(outcome).verdict == ("met" if met else "missed")
    for message in messages:
        assert message in " ".join(record.get_page(outcome).describe_verdict())


def test_accuracies_of_a_small_test_set_have_the_binomial_variance():
    """Two seeds of 29 and of 28 of 30 images: the difference of one image is not significant."""
    outcome = target_results(first=[29 / 30] * 2, second=[28 / 30] * 2)
    outcome = dataclasses.replace(outcome, arms=tuple(dataclasses.replace(each, images=30) for each in outcome.arms))
    lines = " ".join(record.get_page(outcome).describe_verdict())
    assert (
        "The mean is 3.333 percentage points higher than the mean of deep: the difference is not significant" in lines
    )
    page = record.get_page(outcome)
    variances = [successes / 64 * (64 - successes) / 64 / 30 for successes in (60, 58)]
    assert page.estimate_difference(outcome.arms[1]).standard_error == pytest.approx(sum(variances) ** 0.5 / 2**0.5)
    perfect = target_results(first=[1.0] * 3, second=[1.0] * 3)
    assert record.get_page(perfect).estimate_mean(perfect.main_arm).low < 0.995


def test_page_says_how_the_runs_change_the_recipe_and_on_which_images_they_were_trained():
    results = target_results()
    first, *others = results.arms
    overrides = (*results.spec.arms["wide"], "hydra.launcher.n_jobs=2", "tracking.model=false")
    plain = dataclasses.replace(first, overrides=overrides)
    assert "change the recipe" not in record.render_page(dataclasses.replace(results, arms=(plain, *others)))
    changed = dataclasses.replace(
        plain, overrides=(*overrides, "dataset.limit=500"), dataset="mnist", train_images=500, validation_fraction=0.1
    )
    text = record.render_page(dataclasses.replace(results, arms=(changed, *others)))
    assert "**These runs change the recipe:** `dataset.limit=500`." in text
    assert ", trained on 500 images of mnist (10 % are held out)" in text
    assert "`, trained on all training images" in text  # the other arm, whose results have no number


def test_page_lists_every_run_and_the_search_of_the_recipe():
    text = record.render_page(target_results(search_info=search()))
    assert "| wide | 3 | 95.000 | 1.000 | 92.516 to 97.484 | 94.00 to 96.00 | 0.1000 | 100 | 3 | 2.0 |" in text
    assert "| deep | 8 | 0.9100 | 0.1000 | 2.0 | `run1` |" in text
    assert "`trainyard sweep sweep=it 'optimizer.learning_rate=tag(log, interval(1e-4, 1e-1))'`" in text
    assert "20 trials finished and 30 were pruned, with 300 epochs in total. Pruning saved 200 epochs." in text
    assert "| `optimizer.learning_rate` | interval(0.0001, 0.1), log | 0.003 |" in text
    assert "Measured 2026-03-01 12:00 UTC in 9 s on A processor, 2 cores, 8.0 GiB, no GPU, Linux, 1 thread." in text
    assert "How the recipe was chosen" not in record.render_page(target_results())


@pytest.mark.pictures
def test_record_has_all_files_and_keeps_the_existing_search(tmp_path):
    card = tmp_path / "card.html"
    card.write_text("<p>card")
    record.write_record(tmp_path / "out", target_results(search_info=search()), card)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "README.md",
        "results.json",
        "accuracies.png",
        "card.html",
    }
    with Image.open(tmp_path / "out" / "accuracies.png") as picture:
        assert picture.width > 800
    record.write_record(tmp_path / "out", target_results())  # for example if the sweep is on another machine
    sentence = "The [sweep card](card.html) has the details."
    assert sentence in (tmp_path / "out" / "README.md").read_text()
    other = target_results()
    record.write_record(
        tmp_path / "out", dataclasses.replace(other, spec=other.spec.model_copy(update={"search": "that"}))
    )
    assert sentence not in (tmp_path / "out" / "README.md").read_text()
    (tmp_path / "out" / "results.json").write_text("{")  # as after a crash, or from another version
    record.write_record(tmp_path / "out", target_results())
    assert results.load_results(tmp_path / "out") == target_results()


@pytest.mark.parametrize("folder", RECORDS, ids=lambda folder: folder.name)
def test_committed_pages_match_their_results(folder):
    kept = results.load_results(folder)
    expected = spec.load_spec(spec.find_spec(str(next(folder.glob("[tc]*.yaml")))))
    assert (folder / record.PAGE).read_text() == record.render_page(kept)
    assert kept.spec == expected
    assert min(len(arm_results.runs) for arm_results in kept.arms) >= expected.seeds
    if kept.search:
        provenance.check_recipe_matches_search(kept.search, expected.arms[expected.main_arm_name])


@pytest.mark.parametrize("folder", RECORDS, ids=lambda folder: folder.name)
def test_committed_numbers_are_not_changed_by_the_minimum_variance(folder):
    """The accuracies of the records vary, so scipy, which has no minimum variance, computes the same intervals and p-values."""
    kept = results.load_results(folder)
    for each in kept.arms:
        estimate = estimate_accuracy(each.accuracies, each.images)
        interval = stats.ttest_1samp(each.accuracies, 0).confidence_interval()
        assert (estimate.low, estimate.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    for each in kept.arms[1:]:
        images = (kept.main_arm.images, each.images)
        estimate = estimate_accuracy_difference(kept.main_arm.accuracies, each.accuracies, images)
        test = stats.ttest_ind(kept.main_arm.accuracies, each.accuracies, equal_var=False)
        assert estimate.p_value == pytest.approx(test.pvalue, rel=1e-9)


# ------------------------------------------------------------------------------------------------------------
# The index of all experiments


def test_committed_index_matches_the_records():
    assert (ROOT / "experiments" / record.PAGE).read_text() == index.render_index_page(ROOT / "experiments")


def test_index_has_a_row_per_record_and_lists_other_pages():
    folder = Path("experiments")
    record.write_record(folder / "wide", target_results())
    for name in ("wide", "later"):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "target.yaml").write_text(yaml.safe_dump({**TARGET, "title": f"As {name}"}))
    (folder / "notes").mkdir()
    (folder / "notes" / "README.md").write_text("# What we saw\n\n# And more\n")
    assert index.write_index(folder)
    page = (folder / "README.md").read_text()
    row = "| [`wide`](wide/README.md) | at least 90 | 95.000 ± 1.000 | met | 3 | 100 | 3 | 9.00 s | 2026-03-01 |"
    assert row in page
    assert "\n## wide: Wide or deep\n\n- wide: 95.000 % mean test accuracy over 3 seeds." in page
    assert "\n## Not measured yet\n\n- `later`: As later\n" in page
    assert "\n## Other pages\n\n- [`notes/`](notes/README.md): What we saw\n" in page


def test_hand_written_page_is_not_overwritten():
    folder = Path("experiments")
    folder.mkdir()
    (folder / "README.md").write_text("Hand-written\n")
    assert not index.write_index(folder)
    assert (folder / "README.md").read_text() == "Hand-written\n"


# ------------------------------------------------------------------------------------------------------------
# Claims: true and wrong claims, judged against simulated runs of the published recipe

PUBLISHED = yaml.safe_load((ROOT / "experiments/mnist_baseline/claim.yaml").read_text())


@pytest.mark.parametrize(
    ("accuracy", "difference"), [(0.9786, "0.0014 below it"), (0.9813, "0.0013 above it"), (0.98, "equal to it")]
)
def test_verdict_on_a_claim_describes_the_difference_of_the_accuracy(accuracy, difference):
    lines = record.get_page(claim_results(accuracies=[accuracy] * 10)).describe_verdict()
    assert f"The measured mean is {accuracy:.4f} over 10 seeds, {difference}, with a range" in lines[1]


def claim_results(change=None, accuracies=None, seeds=10, scores=None):
    """Returns results for a changed claim, with simulated runs: the published values with random noise."""
    spec = Claim.model_validate(merge(PUBLISHED, change or {}))
    true = Claim.model_validate(PUBLISHED).classification_report
    generator = np.random.default_rng(0)

    def add_noise(row, scores):
        spread = 0.0016 if "avg" in row else 0.006
        values = np.clip(np.array(scores[:3]) + generator.normal(0, spread, 3), 0, 1)
        return Scores(*map(float, values), scores.support)

    runs = tuple(
        SeedResult(
            seed=seed, loss=0.08, seconds=9.0, run_id=None,
            accuracy=float(accuracies[seed] if accuracies else 0.9792 + generator.normal(0, 0.0018)),
            report={row: add_noise(row, scores or published) for row, published in true.items()},
        )
        for seed in range(seeds)
    )  # fmt: skip
    recipe_arm = dataclasses.replace(arm("recipe", [0.9]), runs=runs)
    return Results(spec=spec, arms=(recipe_arm,), about=about())


def merge(content, change):
    return {
        **content,
        **{
            key: merge(content.get(key, {}), value) if isinstance(value, dict) else value
            for key, value in change.items()
        },
    }


def test_every_metric_of_a_true_claim_is_supported():
    outcome = claim_results()
    assert record.get_page(outcome).verdict == "supported"
    lines = record.get_page(outcome).describe_verdict()
    assert lines[0] == "**The claim is supported.** Metrics: 37 in total, 37 supported, 0 contradicted, 0 undecided."
    assert len(lines) == 2
    judgements = record.get_page(outcome).judgements
    assert judgements[0].name == "accuracy"
    assert {judgement.verdict for judgement in judgements} == {Verdict.SUPPORTED}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accuracy": 0.96}, "accuracy: the published value is 0.96, but the prediction interval of one more run is 0.9"),
        ({"accuracy": 1.0}, "accuracy: the published value is 1.00, but the prediction interval of one more run is 0.9"),
        ({"classification_report": {"3": [0.97, 0.98, 0.90, 1010]}}, "3 f1: the published value is 0.90, but the prediction interval of one more run is 0.9"),
        ({"classification_report": {"3": [0.97, 0.98, 0.97, 1011]}}, "3: the published number of images is 1,011, the measured number is 1,010"),
    ],
)  # fmt: skip
def test_wrong_claim_is_contradicted_with_a_reason(change, message):
    outcome = claim_results(change)
    assert record.get_page(outcome).verdict == "contradicted"
    (_, _, *reasons) = record.get_page(outcome).describe_verdict()
    assert len(reasons) == 1
    assert reasons[0].startswith(message)


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (
            claim_results(seeds=9),
            "With fewer than 10 seeds no metric can be supported, only contradicted: use --seeds 10.",
        ),
        (
            claim_results(accuracies=[0.93, 0.99] * 5),
            "accuracy: the prediction interval of one more run is 0.8850 to 1.0000, which is too wide to decide.",
        ),
    ],
)
def test_too_few_seeds_or_too_much_variance_is_undecided(outcome, message):
    assert record.get_page(outcome).verdict == "undecided"
    assert record.get_page(outcome).describe_verdict()[-1] == message


def test_five_seeds_can_contradict_a_claim():
    assert record.get_page(claim_results({"accuracy": 0.9}, seeds=5)).verdict == "contradicted"


def test_equal_values_have_the_variance_of_rounding():
    low, high = compute_prediction_interval([0.9] * 10, 0.05, images=100)
    assert high - low == pytest.approx(2 * 2.262 * 0.01 / 12**0.5 * 1.1**0.5, rel=1e-3)


@pytest.mark.parametrize(("count", "seeds"), [(98, 10), (100, 10), (1, 5)])
def test_values_with_few_errors_have_the_binomial_variance_and_a_continuity_correction(count, seeds):
    """The variance has two more correct and two more wrong predictions; half an image is added at both ends."""
    low, high = compute_prediction_interval([count / 100] * seeds, 0.05, images=100)
    share = (count * seeds + 2) / (100 * seeds + 4)
    half = stats.t.isf(0.025, seeds - 1) * (share * (1 - share) / 100 * (1 + 1 / seeds)) ** 0.5 + 0.005
    assert (low, high) == (pytest.approx(count / 100 - half), pytest.approx(count / 100 + half))


def test_figures_can_have_different_numbers_of_decimals():
    """The accuracy was published with four decimals, and one figure of the report with three."""
    change = {"accuracy": 0.9784, "decimals_by_figure": {"accuracy": 4, "3 f1": 3}}
    page = record.get_page(claim_results({**change, "classification_report": {"3": [0.97, 0.98, 0.975, 1010]}}))
    accuracy, *others = page.judgements
    assert (accuracy.published_text, accuracy.rounding_low) == ("0.9784", pytest.approx(0.97835))
    assert {judgement.name: judgement.decimals for judgement in others if judgement.decimals != 2} == {"3 f1": 3}
    assert accuracy.verdict == Verdict.SUPPORTED
    assert "| accuracy | 0.9784 |" in record.render_page(page.results)
    _, other_claims = page.simulate_power()
    assert list(other_claims)[3] == f"{accuracy.mean:.4f}"
    claimed = [float(value) for value in other_claims]
    assert np.diff(claimed) == pytest.approx(0.001)


def test_secondary_metrics_share_one_level():
    metric = ClaimedMetric(name="a", published=0.9, decimals=2, values=tuple(np.linspace(0.89, 0.91, 10)), images=1000)
    alone, shared = judge([metric]), judge([metric] * 36)
    assert shared[0].high - shared[0].low > 1.5 * (alone[0].high - alone[0].low)
    low, high = compute_prediction_interval(metric.values, 0.05 / 36, 1000)
    assert (shared[0].low, shared[0].high) == (low, min(high, 1.0))


@pytest.mark.parametrize("seeds", [10, 20])
def test_true_accuracy_is_contradicted_at_most_at_the_level(seeds):
    """Without rounding the level is exact: 5 %. Rounding makes a contradiction less likely."""
    generator = np.random.default_rng(0)
    normal = generator.normal(0.979, 0.0025, (20_000, seeds + 1))
    heavy_tailed = 0.979 + 0.0018 * generator.standard_t(4, (20_000, seeds + 1))
    assert compute_contradiction_rate(normal[:, 1:], normal[:, 0], 12) == pytest.approx(0.05, abs=0.005)
    assert compute_contradiction_rate(normal[:, 1:], normal[:, 0].round(2)) < 0.03
    assert compute_contradiction_rate(heavy_tailed[:, 1:], heavy_tailed[:, 0].round(2)) < 0.05


def test_true_secondary_metrics_are_contradicted_at_most_at_the_shared_level():
    """36 metrics that share half of their variance, because the metrics of one run are correlated."""
    generator, repeats, metrics, seeds = np.random.default_rng(1), 4_000, 36, 10
    common = generator.normal(size=(repeats, seeds + 1, 1))
    values = 0.98 + 0.006 * (common + generator.normal(size=(repeats, seeds + 1, metrics))) / 2**0.5
    measured, claimed = values[:, :seeds], values[:, seeds]
    half = (
        stdtrit(seeds - 1, 1 - SIGNIFICANCE_LEVEL / metrics / 2) * measured.std(axis=1, ddof=1) * (1 + 1 / seeds) ** 0.5
    )
    wrong = np.abs(claimed - measured.mean(axis=1)) > half
    assert 0.01 < wrong.any(axis=1).mean() <= SIGNIFICANCE_LEVEL


def test_power_matches_the_documentation():
    values = np.random.default_rng(0).normal(0.979, 0.0025, (20_000, 10))
    rates = {claimed: compute_contradiction_rate(values, claimed) for claimed in (0.96, 0.97, 0.98, 0.99, 1.0)}
    assert rates[0.96] > 0.99
    assert rates[1.0] > 0.99
    assert rates[0.98] < 0.01
    assert 0.05 < rates[0.97] < 0.3
    assert 0.3 < rates[0.99] < 0.8


def test_invalid_claim_is_reported_field_by_field(tmp_path):
    file = tmp_path / "claim.yaml"
    file.write_text(
        yaml.safe_dump(merge(PUBLISHED, {"decimals": 0, "classification_report": {"3": [0.9, 0.9, 1.2, 0]}}))
    )
    with pytest.raises(ConfigError) as caught:
        spec.load_spec(file)
    assert caught.value.problems == (
        f"{file}: decimals: Input should be greater than or equal to 1, got 0",
        f"{file}: classification_report.3.f1: Input should be less than or equal to 1, got 1.2",
        f"{file}: classification_report.3.support: Input should be greater than or equal to 1, got 0",
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accuracy": 0.9795}, "accuracy: expected at most 2 decimals (the value of decimals), got 0.9795"),
        ({"accuracy": 0.97951, "decimals_by_figure": {"accuracy": 4}}, "accuracy: expected at most 4 decimals (the value of decimals_by_figure.accuracy), got 0.97951"),
        ({"decimals_by_figure": {"acuracy": 4}}, "decimals_by_figure.acuracy: unknown figure. Did you mean 'accuracy'? Available: accuracy, 0 precision"),
        ({"decimals_by_figure": {"accuracy": 0}}, "decimals_by_figure.accuracy: Input should be greater than or equal to 1, got 0"),
        ({"recipe": []}, "recipe: Tuple should have at least 1 item"),
    ],
)  # fmt: skip
def test_values_of_a_claim_must_be_rounded(tmp_path, change, message):
    file = tmp_path / "claim.yaml"
    file.write_text(yaml.safe_dump({**PUBLISHED, **change}))
    with pytest.raises(ConfigError, match=re.escape(f"{file}: {message}")):
        spec.load_spec(file)


def test_class_names_may_be_unquoted_digits(tmp_path):
    file = tmp_path / "claim.yaml"
    rows = {3: [0.97, 0.98, 0.97, 1010]}
    file.write_text(yaml.safe_dump({**PUBLISHED, "classification_report": rows}))
    assert spec.load_spec(file).classification_report["3"].support == 1010
    file.write_text(yaml.safe_dump({**PUBLISHED, "classification_report": {3: [0.97, 0.98, 1.97, 1010]}}))
    with pytest.raises(ConfigError, match="classification_report.3.f1: "):
        spec.load_spec(file)


def test_unknown_report_row_is_reported():
    outcome = claim_results({"classification_report": {"Trouser": [0.9, 0.9, 0.9, 10]}})
    with pytest.raises(
        ConfigError, match="classification_report.Trouser: the data set has no such class. Available: 0, 1"
    ):
        record.get_page(outcome).check_rows()


def test_loaded_report_equals_the_report_of_scikit_learn(tmp_path):
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
    report = results._load_report(tmp_path)
    for row in ("0", "2", "macro avg", "weighted avg"):
        assert report[row] == pytest.approx(tuple(expected[row].values()))


def test_claim_page_lists_every_metric():
    text = record.render_page(claim_results({"accuracy": 0.96}))
    assert "**The claim is contradicted.** Metrics: 37 in total, 36 supported, 1 contradicted, 0 undecided." in text
    assert re.search(r"\| accuracy \| 0.96 \| 0.97\d\d \| 0.00\d\d \| .* \| 0 % \| \*\*contradicted\*\* \|", text)
    assert re.search(r"\| 9 recall \| 0.96 \| 0.9\d\d\d \| .* \| supported \|", text)
    assert "| 1.00 | 100.0 % |" in text
    assert "the other 36 metrics share a level of 0.05 (Bonferroni)" in text


@pytest.mark.pictures
def test_claim_plot_has_a_band_for_every_metric(tmp_path):
    record.write_record(tmp_path, claim_results({"accuracy": 0.96}))
    with Image.open(tmp_path / "cells.png") as picture:
        assert picture.height > 1000
    assert results.load_results(tmp_path) == claim_results({"accuracy": 0.96})
    summary = ClaimResult(claim_results({"accuracy": 0.96}), tmp_path).summarize()
    assert (summary["verdict"], summary["cells"][0]["verdict"], summary["cells"][0]["published"]) == (
        "contradicted",
        "contradicted",
        0.96,
    )


# ------------------------------------------------------------------------------------------------------------
# The command


def test_recipe_that_differs_from_the_choice_of_its_sweep_is_rejected():
    sweep_choice = search()
    provenance.check_recipe_matches_search(sweep_choice, CHOSEN[:2])  # without the validation images
    with pytest.raises(ConfigError) as caught:
        provenance.check_recipe_matches_search(sweep_choice, ("optimizer=sgd", "optimizer.learning_rate=0.01"))
    assert "optimizer.name: the recipe differs from the choice of the sweep it: sgd, was adam" in caught.value.problems
    assert (
        "optimizer.learning_rate: the recipe differs from the choice of the sweep it: 0.01, was 0.003"
        in caught.value.problems
    )
    with pytest.raises(
        ConfigError, match="training.epochs: the recipe differs from the choice of the sweep it: 20, was 10"
    ):
        provenance.check_recipe_matches_search(sweep_choice, (*CHOSEN, "training.epochs=20"))


@pytest.mark.parametrize(
    ("overrides", "seeds", "message"),
    [
        (["training.epochs=1"], None, "training.epochs=1: a record must use the recipes of the experiment without changes"),
        (["tracking=off", "~model.dropout"], None, "~model.dropout: a record must use"),
        (["dataset.path=x", "seed=5"], None, "seed=5: a record must use"),
        ([], 2, "--seeds: a record requires at least the experiment's 3 seeds, got 2"),
    ],
)  # fmt: skip
def test_record_rejects_changes_of_the_experiment(overrides, seeds, message):
    file = Path("experiments/wide/target.yaml")
    file.parent.mkdir(parents=True)
    file.write_text(yaml.safe_dump(TARGET))
    with pytest.raises(ConfigError, match=message):
        reproduce("wide", overrides, seeds=seeds, record=True, fresh=False, as_json=False)
    assert not Path("sweeps").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["seed=5"], "seed=5: reproduce sets seeds and sweeps itself"),
        (["sweep.seeds=3"], "sweep.seeds=3: reproduce sets"),
        (["hydra.sweep.dir=x"], "hydra.sweep.dir=x: reproduce sets"),
        (["training.epochs=5,10"], "expected one recipe, got 2"),
        (["sweep=widths"], "sweep=widths: reproduce sets"),
    ],
)
def test_reproduce_rejects_sweeps_and_seeds(overrides, message):
    file = Path("experiments/wide/target.yaml")
    file.parent.mkdir(parents=True)
    file.write_text(yaml.safe_dump(TARGET))
    with pytest.raises(ConfigError, match=re.escape(message)):
        reproduce("wide", overrides, seeds=None, record=False, fresh=False, as_json=False)
    assert not Path("sweeps").exists()


SMALL = ["name=it", "dataset.limit=300", "training.epochs=2", "training.xla=off"]


def write_spec(kind, **content):
    file = Path("experiments/wide", kind)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def load_train_size(sweep):
    """Returns the number of images on which the trials of a sweep without validation images would be trained."""
    inputs = load_run_record(Path(sweep, "trials", "1")).inputs
    return sum(split.images for split in inputs if split.context in {"train", "validation"})


@pytest.mark.slow
def test_experiment_is_reproduced_recorded_and_not_trained_twice():
    chose = run_trainyard(
        "sweep", *SMALL, "sweep.name=it", "model.hidden_units=[4],[32]", "dataset.validation_fraction=0.2"
    )
    assert chose.returncode == 0, chose.stderr
    spec = {key: value for key, value in TARGET.items() if key != "arms"} | {"search": "it", "seeds": 2, "goal": 1.0}
    write_spec("target.yaml", **spec, arms={"wide": [*SMALL, "model.hidden_units=[5]"]})
    other = run_trainyard("reproduce", "wide", "--record")
    assert other.returncode == 2
    assert "error model.hidden_units: the recipe differs from the choice of the sweep it: [5], was [" in other.stderr
    widths = provenance.describe_search(SweepFolder(Path("sweeps/it")))["winner"]["varied"]["model.hidden_units"]
    arms = {"wide": [*SMALL, f"model.hidden_units={widths}"], "deep": [*SMALL, "model.hidden_units=[8,8]"]}
    file = write_spec("target.yaml", **spec, arms=arms)
    missed = run_trainyard("reproduce", "wide", "--record", "tracking.model=false")
    assert (missed.returncode, missed.stderr) == (3, "")
    assert "The target, 100 %, is missed." in missed.stdout
    assert missed.stdout.count("Next steps") == 1  # the sweeps of the arms print none
    assert suggested_commands(missed.stdout) == {"see it": "trainyard ui"}
    kept = results.load_results(file.parent)
    assert {each.name: [run.seed for run in each.runs] for each in kept.arms} == {"wide": [7, 8], "deep": [7, 8]}
    assert kept.main_arm.accuracies != kept.arms[1].accuracies
    assert kept.search["winner"]["varied"] == {"model.hidden_units": widths}
    assert kept.about["mixed"] == []
    assert {(each.dataset, each.train_images) for each in kept.arms} == {("digits", load_train_size("sweeps/it"))}
    assert (file.parent / "card.html").read_text() == Path("sweeps/it/card.html").read_text()
    assert (file.parent / "README.md").read_text() == record.render_page(kept)
    assert "| [`wide`](wide/README.md) | at least 100 |" in Path("experiments/README.md").read_text()
    write_spec("target.yaml", **{**spec, "goal": 0.0}, arms=arms)
    met = run_trainyard(
        "reproduce", "wide", "tracking.model=false", "hydra.launcher.n_jobs=1"
    )  # no run is trained twice
    assert met.returncode == 0, met.stderr
    assert results.load_results(Path("outputs/reproduce/wide")).arms[0].runs == kept.main_arm.runs


@pytest.mark.slow
def test_claim_is_judged_without_tracking_and_printed_as_json():
    recipe = [*SMALL, "model.hidden_units=[8]", "tracking=off"]
    row = {"0": [0.9, 0.9, 0.9, 30]}
    write_spec(
        "claim.yaml", title="It", about="What?", source="Us", recipe=recipe, seeds=2, decimals=1, accuracy=0.9,
        classification_report=row,
    )  # fmt: skip
    done = run_trainyard("reproduce", "wide", "--json")
    summary = json.loads(done.stdout)
    supports = {run_result["report"]["0"][3] for run_result in summary["arms"][0]["runs"]}
    assert (len(summary["cells"]), len(supports)) == (4, 1)
    if supports == {30}:
        assert (done.returncode, summary["verdict"]) == (4, "undecided")  # two seeds are too few
    else:
        assert (done.returncode, summary["verdict"]) == (3, "contradicted")
        assert summary["wrong_counts"] == [
            f"0: the published number of images is 30, the measured number is {supports.pop()}"
        ]
    assert {run_result["run_id"] for run_result in summary["arms"][0]["runs"]} == {None}
    assert not Path("mlflow.db").exists()
