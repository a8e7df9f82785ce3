"""The plan of a sweep: what is swept, how trials are told apart, and what is found wrong before any starts."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from trainyard.config.compose import compose_config, to_tree
from trainyard.errors import ConfigError
from trainyard.sweep.composer import Composer
from trainyard.sweep.grid import combine, read_axes
from trainyard.sweep.labels import name_trial, short_keys
from trainyard.sweep.plan import make_plan

OFF = "sweep.objective=off"


def _varied(*overrides: str):
    return [dict(trial.varied) for trial in make_plan([OFF, *overrides]).trials]


# ---------------------------------------------------------------------------------------------------------------
# What is swept: Hydra's grammar, whole


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
def test_the_whole_grammar_of_hydra_is_swept(override, values):
    key = override.partition("=")[0]
    assert _varied(override) == [{key: value} for value in values]


def test_shuffled_values_are_all_there():
    assert sorted(trial["training.epochs"] for trial in _varied("training.epochs=shuffle(range(1,9))")) == list(
        range(1, 9)
    )


def test_every_combination_the_last_varying_fastest():
    values = [tuple(trial.values()) for trial in _varied("training.epochs=1,2", "training.batch_size=8,16,32")]
    assert values == list(itertools.product([1, 2], [8, 16, 32]))


def test_tags_are_added_and_taken_away_for_all():
    plan = make_plan([OFF, "+tracking.tags.owner=ada,ben", "seed=1,2"])
    assert [trial.config["tracking"]["tags"] for trial in plan.trials] == [{"owner": "ada"}] * 2 + [
        {"owner": "ben"}
    ] * 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.learning_rate=interval(0,1)", "a grid wants values"),
        ("sweep.retries=1,2", "sweep.retries: can't be swept"),
        ("tracking=local,off", "tracking: can't be swept, all trials of a sweep go to one experiment"),
        ("hydra.launcher.n_jobs=1,2", "hydra.launcher.n_jobs: can't be swept"),
        ("hydra/launcher=fork,basic", "hydra/launcher: can't be swept"),
        ("model=glob(x*)", "model: expected values to sweep over, got none"),
        ("optimizer=adma,sgd", "unknown optimizer 'adma'. Did you mean 'adam'?"),
        ("sweep=none_such", "unknown sweep 'none_such'"),
        ("sweep.seeds=0", "sweep.seeds: expected a whole number at least 1, or null, got 0"),
        ("sweep.on_error=ignore", "sweep.on_error: expected one of continue, stop, got 'ignore'"),
    ],
)
def test_what_can_not_be_swept_is_refused(override, message):
    with pytest.raises(ConfigError) as caught:
        make_plan([OFF, override])
    assert message in str(caught.value)


# ---------------------------------------------------------------------------------------------------------------
# Sweeps that are files


def _write_sweep(text: str, name: str = "mine"):
    Path("conf/sweep").mkdir(parents=True, exist_ok=True)
    Path(f"conf/sweep/{name}.yaml").write_text(text)


def test_a_sweep_is_a_file():
    plan = make_plan(["sweep=widths"])
    assert len(plan.trials) == 9
    assert {trial.config["dataset"]["validation_fraction"] for trial in plan.trials} == {0.1}
    assert plan.trials[-1].label == "300x200x100 lr0.0003"


def test_a_file_may_hold_lists_texts_of_the_grammar_and_groups():
    _write_sweep(
        "objective: off\nparams:\n  training.epochs: range(1,3)\n  optimizer: [adam, sgd]\n"
        "  optimizer.learning_rate: [1.0e-3]\n  training.xla: ['off']\n"
    )
    plan = make_plan(["sweep=mine"])
    assert [(t.config["training"]["epochs"], t.config["optimizer"]["name"]) for t in plan.trials] == [
        (1, "adam"), (1, "sgd"), (2, "adam"), (2, "sgd")
    ]  # fmt: skip
    assert {trial.config["training"]["xla"] for trial in plan.trials} == {"off"}


def test_an_override_holds_over_a_file_and_hydras_own_params_count_too():
    _write_sweep(
        "# @package _global_\nsweep:\n  objective: off\n  params:\n    training.epochs: [1, 2]\n    seed: [3, 4]\n"
        "hydra:\n  sweeper:\n    params:\n      training.batch_size: 8,16\n"
    )
    plan = make_plan(["sweep=mine", "seed=7"])
    found = {(t.seed, t.config["training"]["epochs"], t.config["training"]["batch_size"]) for t in plan.trials}
    assert found == {(7, epochs, size) for epochs in (1, 2) for size in (8, 16)}


def test_a_sweep_within_a_list_is_a_mistake():
    _write_sweep("objective: off\nparams:\n  training.epochs: [1, 'range(2,4)']\n")
    with pytest.raises(ConfigError, match=r"training.epochs: expected a whole number"):
        make_plan(["sweep=mine"])


# ---------------------------------------------------------------------------------------------------------------
# Fast and slow composition agree


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.hidden_units=[8],[9,10]", "optimizer.learning_rate=1,1e-4", "training.early_stopping.patience=null,3",
         "dataset.validation_fraction=0.1"],
        ["model=mlp,cnn", "optimizer=adam,sgd", "seed=3", "model.dropout=0,0.25"],
        ["training.xla=on,off", "training.class_weights=[1,2,3],null", "evaluation.metrics=[],[cohen_kappa]"],
        ["notes='${name} and ${seed}'", "seed=1,2"],
        ["optimizer.learning_rate='${model.dropout}'", "model.dropout=0.1,0.2"],
        ["training.early_stopping={patience: 3},{patience: 4, min_delta: 1}", "dataset.validation_fraction=0.1"],
        ["+tracking.tags.a=1,b", "name=x"],
        ["model=sequential", "model.layers=[Flatten],[Flatten,{Dense: {units: 5}}]"],
    ],
)  # fmt: skip
def test_configs_are_those_that_hydra_composes(overrides):
    composer = Composer()
    for point in combine(read_axes(overrides)):
        assert to_tree(composer.make(point)) == to_tree(compose_config([setting.text for setting in point]))


def test_a_recipe_with_interpolations_is_swept_too():
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/mine.yaml").write_text("# @package _global_\nname: mine\nnotes: seed ${seed}\n")
    plan = make_plan([OFF, "experiment=mine", "seed=1,2"])
    assert [trial.config["notes"] for trial in plan.trials] == ["seed 1", "seed 2"]


# ---------------------------------------------------------------------------------------------------------------
# What is wrong is found before anything starts


def test_wrong_trials_are_listed_each_with_its_error():
    with pytest.raises(ConfigError) as caught:
        make_plan([OFF, "optimizer.learning_rate=0.1,-1,abc", "training.epochs=1,0"])
    assert str(caught.value).splitlines() == [
        "5 of 6 trials are wrong, so none was started:",
        "trial 2, optimizer.learning_rate=0.1 training.epochs=0: training.epochs: expected a whole number at least 1, got 0",
        "trial 3, optimizer.learning_rate=-1 training.epochs=1: optimizer.learning_rate: expected a number above 0, got -1.0",
        "trial 4, optimizer.learning_rate=-1 training.epochs=0: optimizer.learning_rate: expected a number above 0, got -1.0",
        "trial 4, optimizer.learning_rate=-1 training.epochs=0: training.epochs: expected a whole number at least 1, got 0",
        "trial 5, optimizer.learning_rate=abc training.epochs=1: optimizer.learning_rate: expected a number above 0, got 'abc'",
        "trial 6, optimizer.learning_rate=abc training.epochs=0: optimizer.learning_rate: expected a number above 0, got 'abc'",
    ]


def test_what_is_wrong_with_all_is_told_once():
    with pytest.raises(ConfigError) as caught:
        make_plan([OFF, "seed=1,2,3", "training.epochs=0"])
    assert str(caught.value) == "training.epochs: expected a whole number at least 1, got 0"


def test_an_objective_without_validation_images_is_a_mistake():
    with pytest.raises(ConfigError) as caught:
        make_plan(["seed=1,2"])
    assert "sweep.objective: accuracy/val needs validation images" in str(caught.value)
    assert "dataset.validation_fraction=0.1" in str(caught.value)


@pytest.mark.parametrize("metric", ["accuracy/test", "loss/test", "f1_macro/test"])
def test_a_test_metric_as_objective_is_refused_with_the_reason(metric):
    with pytest.raises(ConfigError) as caught:
        make_plan(["seed=1,2", "dataset.validation_fraction=0.1", f"sweep.objective={metric}"])
    assert "sweep.objective: expected one of accuracy/val, loss/val, off" in str(caught.value)
    assert "the test images would choose the winner" in str(caught.value)


def test_data_that_is_not_there_is_a_mistake():
    with pytest.raises(ConfigError, match="dataset.path: expected nowhere to be there"):
        make_plan([OFF, "dataset=mnist", "dataset.path=nowhere", "seed=1,2"])


def test_code_in_a_swept_recipe_is_refused():
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/evil.yaml").write_text(
        "# @package _global_\nhydra:\n  callbacks:\n    x:\n      _target_: os.system\n"
    )
    with pytest.raises(ConfigError, match="hydra.callbacks: refused"):
        make_plan([OFF, "experiment=quickstart,evil"])


# ---------------------------------------------------------------------------------------------------------------
# Trials: told apart, named, numbered


def test_combinations_that_come_to_the_same_config_are_one_trial():
    plan = make_plan([OFF, "optimizer.learning_rate=0.001,0.01,1e-3", "model=mlp"])
    assert [trial.label for trial in plan.trials] == ["lr0.001", "lr0.01"]
    assert [trial.number for trial in plan.trials] == [1, 2]
    assert plan.duplicates == 1


def test_seeds_repeat_each_point_from_the_seed_on():
    plan = make_plan([OFF, "sweep.seeds=3", "seed=5", "training.epochs=1,2"])
    assert [(t.point, t.seed, t.label) for t in plan.trials] == [
        (1, 5, "epochs1 seed5"), (1, 6, "epochs1 seed6"), (1, 7, "epochs1 seed7"),
        (2, 5, "epochs2 seed5"), (2, 6, "epochs2 seed6"), (2, 7, "epochs2 seed7"),
    ]  # fmt: skip
    assert plan.swept == ("training.epochs",)


def test_a_later_override_holds_over_an_earlier_one_with_or_without_signs():
    assert _varied("training.epochs=5", "++training.epochs=3,4") == [{"training.epochs": 3}, {"training.epochs": 4}]
    _write_sweep("objective: off\nparams:\n  training.epochs: [1, 2]\n")
    assert len(make_plan(["sweep=mine", "++training.epochs=5"]).trials) == 1


def test_what_a_file_sweeps_has_a_say_in_how_it_is_swept():
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
        ("{sweep.seeds: '3'}", "sweep.seeds: can't be swept"),
        ("{hydra.launcher.n_jobs: 2}", "hydra.launcher.n_jobs: can't be swept"),
    ],
)
def test_wrong_params_are_named(params, message):
    _write_sweep(f"objective: off\nparams: {params}\n")
    with pytest.raises(ConfigError) as caught:
        make_plan(["sweep=mine"])
    assert message in str(caught.value)


def test_recipes_that_are_swept_with_other_ways_to_sweep_are_refused():
    Path("conf/experiment").mkdir(parents=True)
    for name, seeds in (("one", 2), ("two", 3)):
        Path(f"conf/experiment/{name}.yaml").write_text(
            f"# @package _global_\nname: {name}\nsweep: {{seeds: {seeds}, objective: off}}\n"
        )
    with pytest.raises(ConfigError, match=r"sweep.seeds: expected the same for all trials, got 2 and 3"):
        make_plan(["experiment=one,two"])


def test_seeds_that_are_swept_belong_to_one_point():
    assert [trial.point for trial in make_plan([OFF, "seed=4,5,6"]).trials] == [1, 1, 1]
    with pytest.raises(ConfigError, match=r"sweep.seeds: repeats each point with its own seeds, and seed is swept too"):
        make_plan([OFF, "seed=4,5", "sweep.seeds=2"])


@pytest.mark.parametrize(
    ("varied", "name"),
    [
        ({"optimizer.learning_rate": 0.003, "model.hidden_units": [512, 256]}, "lr0.003 512x256"),
        ({"model": "cnn", "training.batch_size": 64}, "cnn batch64"),
        ({"model.batch_norm": True, "dataset.standardise": False}, "batch_norm no-standardise"),
        ({"training.early_stopping.monitor": "a", "training.plateau.monitor": "b"}, "a b"),
        ({"training.early_stopping.patience": 3, "training.plateau.patience": 4}, "early_stopping.patience3 plateau.patience4"),
        ({"optimizer.clipnorm": None, "model.activation": ["relu", "tanh"]}, "clipnorm-none relu,tanh"),
        ({"model.dense_units": []}, "no-dense_units"),
    ],
)  # fmt: skip
def test_trials_are_named_by_what_varies(varied, name):
    assert name_trial(varied, short_keys(list(varied))) == name


def test_a_name_is_the_same_for_the_same_command_and_another_for_another():
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


def test_trials_of_several_recipes_go_to_one_experiment():
    plan = make_plan([OFF, "experiment=quickstart,mnist_baseline"])
    assert plan.experiment == plan.name
    assert plan.name.startswith("quickstart+mnist_baseline-")
    assert {trial.config["tracking"]["experiment"] for trial in plan.trials} == {plan.name}
    assert {trial.config["name"] for trial in plan.trials} == {"quickstart", "mnist_baseline"}


def test_of_the_sweep_a_trial_knows_the_name_alone():
    _write_sweep("objective: off\nparams:\n  seed: [3, 4]\nretries: 2\n")
    plan = make_plan(["sweep=mine"])
    assert plan.policy.retries == 2
    assert plan.trials[0].config["sweep"] == to_tree(compose_config([f"sweep.name={plan.name}"]))["sweep"]
