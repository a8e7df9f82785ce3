"""Tests of the sweep plan: axes, duplicate trials, labels, and problems that are found before any trial starts."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from trainyard.config.compose import compose_config
from trainyard.config.labels import build_label, shorten_keys
from trainyard.config.serialization import config_to_dict
from trainyard.errors import ConfigError
from trainyard.sweep.composer import Composer
from trainyard.sweep.grid import parse_axes
from trainyard.sweep.plan import make_plan

OFF = "sweep.objective=off"


def _varied(*overrides: str):
    return [dict(trial.varied) for trial in make_plan([OFF, *overrides]).trials]


# ---------------------------------------------------------------------------------------------------------------
# Axes: all of Hydra's sweep grammar


@pytest.mark.parametrize(
    ("override", "values"),
    [
        ("training.epochs=1,2", [1, 2]),
        ("training.epochs=choice(1,2)", [1, 2]),
        ("training.epochs=range(1,7,2)", [1, 3, 5]),
        ("training.epochs=sort(3,1,2,reverse=true)", [3, 2, 1]),
        ("training.epochs=tag(fast,choice(1,2))", [1, 2]),
        ("optimizer.learning_rate=1e-3,3e-4", [0.001, 0.0003]),
        ("model.hidden_units=[300,200,100],[512,256]", [[300, 200, 100], [512, 256]]),
        ("model.dropout=0.1,0.2", [0.1, 0.2]),
        ("model=mlp,cnn", ["mlp", "cnn"]),
        ("model=glob(*)", ["cnn", "mlp", "sequential"]),
        ("model=glob([c*,m*],exclude=cnn)", ["mlp"]),
        ("experiment=quickstart,mnist_baseline", ["quickstart", "mnist_baseline"]),
    ],
)
def test_all_of_hydras_sweep_grammar_is_supported(override, values):
    key = override.partition("=")[0]
    assert _varied(override) == [{key: value} for value in values]


def test_shuffle_keeps_all_values():
    assert sorted(trial["training.epochs"] for trial in _varied("training.epochs=shuffle(range(1,9))")) == list(
        range(1, 9)
    )


def test_grid_has_every_combination_and_the_last_axis_varies_fastest():
    values = [tuple(trial.values()) for trial in _varied("training.epochs=1,2", "training.batch_size=8,16,32")]
    assert values == list(itertools.product([1, 2], [8, 16, 32]))


def test_swept_tags_are_added_to_each_trial():
    plan = make_plan([OFF, "+tracking.tags.owner=ada,ben", "seed=1,2"])
    assert [trial.config["tracking"]["tags"] for trial in plan.trials] == [{"owner": "ada"}] * 2 + [
        {"owner": "ben"}
    ] * 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.learning_rate=interval(0,1)", "a grid requires a list of values"),
        ("sweep.retries=1,2", "sweep.retries: cannot be swept"),
        ("tracking=local,off", "tracking: cannot be swept, because all trials of a sweep are logged to one experiment"),
        ("hydra.launcher.n_jobs=1,2", "hydra.launcher.n_jobs: cannot be swept"),
        ("hydra/launcher=fork,basic", "hydra/launcher: cannot be swept"),
        ("model=glob(x*)", "model: expected values to sweep over, got none"),
        ("optimizer=adma,sgd", "unknown optimizer 'adma'. Did you mean 'adam'?"),
        ("sweep=none_such", "unknown sweep 'none_such'"),
        ("sweep.seeds=0", "sweep.seeds: expected an integer at least 1, or null, got 0"),
        ("sweep.on_error=ignore", "sweep.on_error: expected one of continue, stop, got 'ignore'"),
    ],
)
def test_invalid_sweeps_are_rejected(override, message):
    with pytest.raises(ConfigError) as caught:
        make_plan([OFF, override])
    assert message in str(caught.value)


# ---------------------------------------------------------------------------------------------------------------
# Sweeps defined in files


def _write_sweep(text: str, name: str = "mine"):
    Path("conf/sweep").mkdir(parents=True, exist_ok=True)
    Path(f"conf/sweep/{name}.yaml").write_text(text)


def test_sweep_is_loaded_from_a_file():
    plan = make_plan(["sweep=widths"])
    assert len(plan.trials) == 9
    assert {trial.config["dataset"]["validation_fraction"] for trial in plan.trials} == {0.1}
    assert plan.trials[-1].label == "300x200x100 lr0.0003"


def test_params_can_be_lists_grammar_texts_and_groups():
    _write_sweep(
        "objective: off\nparams:\n  training.epochs: range(1,3)\n  optimizer: [adam, sgd]\n"
        "  optimizer.learning_rate: [1.0e-3]\n  training.xla: ['off']\n"
    )
    plan = make_plan(["sweep=mine"])
    assert [(t.config["training"]["epochs"], t.config["optimizer"]["name"]) for t in plan.trials] == [
        (1, "adam"), (1, "sgd"), (2, "adam"), (2, "sgd")
    ]  # fmt: skip
    assert {trial.config["training"]["xla"] for trial in plan.trials} == {"off"}


@pytest.mark.parametrize(
    ("params", "overrides"),
    [
        ("optimizer.clipnorm: [null, 1.0]", ["optimizer.clipnorm=null", "optimizer.clipnorm=1.0"]),
        ("notes: ['1', 'a b']", ["notes='1'", "notes='a b'"]),
        ("notes: ['1,2', 'a=b']", ["notes='1,2'", "notes='a=b'"]),
        ("model.hidden_units: [[1, 2], [3]]", ["model.hidden_units=[1,2]", "model.hidden_units=[3]"]),
    ],
)
def test_values_of_params_keep_their_type_and_their_quotes(params, overrides):
    _write_sweep(f"objective: off\nparams: {{{params}}}\n")
    assert [trial.overrides[0] for trial in make_plan(["sweep=mine"]).trials] == overrides


def test_overrides_take_precedence_over_params_and_hydra_sweeper_params_are_used():
    _write_sweep(
        "# @package _global_\nsweep:\n  objective: off\n  params:\n    training.epochs: [1, 2]\n    seed: [3, 4]\n"
        "hydra:\n  sweeper:\n    params:\n      training.batch_size: 8,16\n"
    )
    plan = make_plan(["sweep=mine", "seed=7"])
    combinations = {(t.seed, t.config["training"]["epochs"], t.config["training"]["batch_size"]) for t in plan.trials}
    assert combinations == {(7, epochs, size) for epochs in (1, 2) for size in (8, 16)}


def test_sweep_inside_a_list_is_rejected():
    _write_sweep("objective: off\nparams:\n  training.epochs: [1, 'range(2,4)']\n")
    with pytest.raises(ConfigError, match=r"training.epochs: expected an integer"):
        make_plan(["sweep=mine"])


# ---------------------------------------------------------------------------------------------------------------
# Fast composition is equal to Hydra's


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.hidden_units=[8],[9,10]", "optimizer.learning_rate=1,1e-4", "training.early_stopping.patience=null,3",
         "dataset.validation_fraction=0.1", "training.xla=on,off", "training.class_weights=[1,2,3],null",
         "evaluation.metrics=[],[cohen_kappa]"],
        ["model=mlp,cnn", "optimizer=adam,sgd", "seed=3", "model.dropout=0,0.25"],
        ["notes='${name} and ${seed}'", "seed=1,2"],
        ["optimizer.learning_rate='${model.dropout}'", "model.dropout=0.1,0.2"],
        ["training.early_stopping={patience: 3},{patience: 4, min_delta: 1}", "dataset.validation_fraction=0.1"],
        ["+tracking.tags.a=1,b", "name=x"],
        ["model=sequential", "model.layers=[Flatten],[Flatten,{Dense: {units: 5}}]"],
    ],
)  # fmt: skip
def test_composed_configs_equal_those_of_hydra(overrides):
    """Each setting is in one of the points; a complete grid would compose many more configs."""
    composer, axes = Composer(), parse_axes(overrides)
    for number in range(max(len(axis.settings) for axis in axes)):
        point = tuple(axis.settings[number % len(axis.settings)] for axis in axes)
        assert config_to_dict(composer.build_config(point)) == config_to_dict(
            compose_config([setting.text for setting in point])
        )


def test_recipe_with_interpolations_can_be_swept():
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/mine.yaml").write_text("# @package _global_\nname: mine\nnotes: seed ${seed}\n")
    plan = make_plan([OFF, "experiment=mine", "seed=1,2"])
    assert [trial.config["notes"] for trial in plan.trials] == ["seed 1", "seed 2"]


# ---------------------------------------------------------------------------------------------------------------
# Problems are found before any trial starts


def test_invalid_trials_are_listed_with_their_errors():
    with pytest.raises(ConfigError) as caught:
        make_plan([OFF, "optimizer.learning_rate=0.1,-1,abc", "training.epochs=1,0"])
    assert str(caught.value).splitlines() == [
        "5 of 6 trials are invalid, so none was started:",
        "trial 2, optimizer.learning_rate=0.1 training.epochs=0: training.epochs: expected an integer at least 1, got 0",
        "trial 3, optimizer.learning_rate=-1 training.epochs=1: optimizer.learning_rate: expected a number above 0, got -1.0",
        "trial 4, optimizer.learning_rate=-1 training.epochs=0: optimizer.learning_rate: expected a number above 0, got -1.0",
        "trial 4, optimizer.learning_rate=-1 training.epochs=0: training.epochs: expected an integer at least 1, got 0",
        "trial 5, optimizer.learning_rate=abc training.epochs=1: optimizer.learning_rate: expected a number above 0, got 'abc'",
        "trial 6, optimizer.learning_rate=abc training.epochs=0: optimizer.learning_rate: expected a number above 0, got 'abc'",
    ]


def test_problem_of_all_trials_is_reported_once():
    with pytest.raises(ConfigError) as caught:
        make_plan([OFF, "seed=1,2,3", "training.epochs=0"])
    assert str(caught.value) == "training.epochs: expected an integer at least 1, got 0"


def test_objective_requires_validation_images():
    with pytest.raises(ConfigError) as caught:
        make_plan(["seed=1,2"])
    assert "sweep.objective: accuracy/val needs validation images" in str(caught.value)
    assert "dataset.validation_fraction=0.1" in str(caught.value)


@pytest.mark.parametrize("metric", ["accuracy/test", "loss/test", "f1_macro/test"])
def test_test_metric_as_objective_is_rejected_with_the_reason(metric):
    with pytest.raises(ConfigError) as caught:
        make_plan(["seed=1,2", "dataset.validation_fraction=0.1", f"sweep.objective={metric}"])
    assert "sweep.objective: expected one of accuracy/val, loss/val, off" in str(caught.value)
    assert "if the test images selected the winner" in str(caught.value)


def test_missing_data_is_reported():
    with pytest.raises(ConfigError, match="dataset.path: expected an existing file or folder, got nowhere"):
        make_plan([OFF, "dataset=mnist", "dataset.path=nowhere", "seed=1,2"])


def test_code_in_a_swept_recipe_is_rejected():
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/evil.yaml").write_text(
        "# @package _global_\nhydra:\n  callbacks:\n    x:\n      _target_: os.system\n"
    )
    with pytest.raises(ConfigError, match="hydra.callbacks: refused"):
        make_plan([OFF, "experiment=quickstart,evil"])


# ---------------------------------------------------------------------------------------------------------------
# Duplicates, labels and numbers of trials


def test_combinations_with_equal_configs_are_one_trial():
    plan = make_plan([OFF, "optimizer.learning_rate=0.001,0.01,1e-3", "model=mlp"])
    assert [trial.label for trial in plan.trials] == ["lr0.001", "lr0.01"]
    assert [trial.number for trial in plan.trials] == [1, 2]
    assert plan.duplicates == 1


def test_each_point_is_repeated_with_consecutive_seeds():
    plan = make_plan([OFF, "sweep.seeds=3", "seed=5", "training.epochs=1,2"])
    assert [(t.point, t.seed, t.label) for t in plan.trials] == [
        (1, 5, "epochs1 seed5"), (1, 6, "epochs1 seed6"), (1, 7, "epochs1 seed7"),
        (2, 5, "epochs2 seed5"), (2, 6, "epochs2 seed6"), (2, 7, "epochs2 seed7"),
    ]  # fmt: skip
    assert plan.swept == ("training.epochs",)


def test_last_override_of_a_key_takes_precedence_with_or_without_prefix():
    assert _varied("training.epochs=5", "++training.epochs=3,4") == [{"training.epochs": 3}, {"training.epochs": 4}]
    _write_sweep("objective: off\nparams:\n  training.epochs: [1, 2]\n")
    assert len(make_plan(["sweep=mine", "++training.epochs=5"]).trials) == 1


def test_swept_recipes_can_set_the_sweep_section():
    Path("conf/experiment").mkdir(parents=True)
    for name in ("one", "two"):
        Path(f"conf/experiment/{name}.yaml").write_text(
            f"# @package _global_\nname: {name}\nsweep: {{seeds: 3, objective: off}}\n"
        )
    _write_sweep("params:\n  experiment: [one, two]\n  seed: '5'\n")
    plan = make_plan(["sweep=mine"])
    assert [(trial.config["name"], trial.seed) for trial in plan.trials] == [
        (name, seed) for name in ("one", "two") for seed in (5, 6, 7)
    ]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("{model: {hidden_units: [[1], [2]]}}", "sweep.params: model: expected a list of values, or a sweep as text"),
        (
            "{training.epochs: }",
            "sweep.params: training.epochs: expected a list of values, or a sweep as text, got None",
        ),
        ("{training.epochs: []}", "sweep.params: training.epochs: expected values to sweep over, got none"),
        ("{sweep.seeds: '3'}", "sweep.seeds: cannot be swept"),
        ("{hydra.launcher.n_jobs: 2}", "hydra.launcher.n_jobs: cannot be swept"),
    ],
)
def test_invalid_params_are_named(params, message):
    _write_sweep(f"objective: off\nparams: {params}\n")
    with pytest.raises(ConfigError) as caught:
        make_plan(["sweep=mine"])
    assert message in str(caught.value)


def test_swept_recipes_with_different_sweep_sections_are_rejected():
    Path("conf/experiment").mkdir(parents=True)
    for name, seeds in (("one", 2), ("two", 3)):
        Path(f"conf/experiment/{name}.yaml").write_text(
            f"# @package _global_\nname: {name}\nsweep: {{seeds: {seeds}, objective: off}}\n"
        )
    with pytest.raises(ConfigError, match=r"sweep.seeds: expected the same for all trials, got 2 and 3"):
        make_plan(["experiment=one,two"])


def test_swept_seeds_belong_to_one_point():
    assert [trial.point for trial in make_plan([OFF, "seed=4,5,6"]).trials] == [1, 1, 1]
    with pytest.raises(ConfigError, match=r"sweep.seeds: cannot be combined with a swept seed"):
        make_plan([OFF, "seed=4,5", "sweep.seeds=2"])


@pytest.mark.parametrize(
    ("varied", "label"),
    [
        ({"optimizer.learning_rate": 0.003, "model.hidden_units": [512, 256]}, "lr0.003 512x256"),
        ({"model": "cnn", "training.batch_size": 64}, "cnn batch64"),
        ({"model.batch_norm": True, "dataset.standardise": False}, "batch_norm no-standardise"),
        ({"training.early_stopping.monitor": "a", "training.plateau.monitor": "b"}, "a b"),
        ({"training.early_stopping.patience": 3, "training.plateau.patience": 4}, "early_stopping.patience3 plateau.patience4"),
        ({"optimizer.clipnorm": None, "model.activation": ["relu", "tanh"]}, "clipnorm-none relu,tanh"),
        ({"model.dense_units": []}, "no-dense_units"),
        ({"model.layers": ["Flatten", {"Dense": {"units": 64}}]}, "Flatten,Dense(units=64)"),
        ({"model.layers": [{"Conv2D": {"filters": 8, "kernel_size": [3, 3]}}]}, "Conv2D(filters=8,kernel_size=3x3)"),
        ({"model.layers": [{"Dropout": 0.1}, {"Flatten": None}]}, "Dropout(0.1),Flatten"),
    ],
)  # fmt: skip
def test_trial_label_is_built_from_the_varied_settings(varied, label):
    assert build_label(varied, shorten_keys(list(varied))) == label


def test_default_name_depends_only_on_the_definition():
    name = make_plan([OFF, "seed=1,2", "name=tiny"]).name
    assert name.startswith("tiny-")
    assert make_plan(["name=tiny", "seed=1,2", OFF, "hydra.launcher.n_jobs=1", "sweep.retries=2"]).name == name
    assert make_plan([OFF, "seed=1,3", "name=tiny"]).name != name
    params = [make_plan([OFF, f"+hydra.sweeper.params.seed='{seeds}'"]) for seeds in ("1,2", "1,3")]
    assert [[trial.seed for trial in plan.trials] for plan in params] == [[1, 2], [1, 3]]
    assert params[0].name != params[1].name
    assert make_plan([OFF, "seed=1,2", "sweep.name=mine"]).name == "mine"
    with pytest.raises(ConfigError, match=r"sweep.name: expected letters and digits"):
        make_plan([OFF, "seed=1,2", "sweep.name=../up"])


def test_trials_of_several_recipes_are_logged_to_one_experiment():
    plan = make_plan([OFF, "experiment=quickstart,mnist_baseline"])
    assert plan.experiment == plan.name
    assert plan.name.startswith("quickstart+mnist_baseline-")
    assert {trial.config["tracking"]["experiment"] for trial in plan.trials} == {plan.name}
    assert {trial.config["name"] for trial in plan.trials} == {"quickstart", "mnist_baseline"}


def test_config_of_a_trial_has_only_the_name_of_the_sweep():
    _write_sweep("objective: off\nparams:\n  seed: [3, 4]\nretries: 2\n")
    plan = make_plan(["sweep=mine"])
    assert plan.policy.retries == 2
    assert plan.trials[0].config["sweep"] == config_to_dict(compose_config([f"sweep.name={plan.name}"]))["sweep"]


def test_trials_share_their_equal_sections_and_each_is_checked():
    """A large plan would otherwise need gigabytes."""
    rates, sizes = range(1, 21), range(10, 30)
    sweep = [f"optimizer.learning_rate={','.join(f'{rate}e-3' for rate in rates)}", "training.batch_size=range(10,30)"]
    plan = make_plan([OFF, *sweep])
    assert [(trial.varied["optimizer.learning_rate"], trial.config["training"]["batch_size"]) for trial in plan.trials] == [
        (rate / 1000, size) for rate in rates for size in sizes
    ]  # fmt: skip
    for section, count in {"optimizer": len(rates), "training": len(sizes), "model": 1, "tracking": 1}.items():
        assert len({id(trial.config[section]) for trial in plan.trials}) == count
    with pytest.raises(ConfigError) as caught:
        make_plan([OFF, "optimizer.learning_rate=1e-3,-1", "optimizer.beta_1=0.8,2"])
    assert [problem.partition(":")[0] for problem in caught.value.problems[1:]] == [
        "trial 2, optimizer.learning_rate=0.001 optimizer.beta_1=2",
        "trial 3, optimizer.learning_rate=-1 optimizer.beta_1=0.8",
        "trial 4, optimizer.learning_rate=-1 optimizer.beta_1=2",
        "trial 4, optimizer.learning_rate=-1 optimizer.beta_1=2",
    ]


def test_progress_of_a_long_plan_is_printed(capsys, monkeypatch):
    make_plan([OFF, "seed=range(0,4)"])
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("trainyard.sweep.plan._FIRST_REPORT_SECONDS", -1)
    make_plan([OFF, "seed=range(0,4)"])
    assert capsys.readouterr().err.splitlines() == [
        "planning: checked 0 of 4 trials",
        "planning: planned 0 of 4 trials",
    ]
