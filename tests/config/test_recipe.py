"""Tests of what distinguishes a config from its recipe, and of the names of runs."""

from __future__ import annotations

import pytest

from trainyard.config.compose import compose_config
from trainyard.config.labels import find_common_label
from trainyard.config.recipe import build_run_name, find_recipe, find_recipe_changes, select_notes

QUICKSTART = "experiment=quickstart"


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([QUICKSTART], "300x200x100 relu seed0"),
        ([], "300x200x100 relu seed0"),
        ([QUICKSTART, "seed=7"], "300x200x100 relu seed7"),
        (["model.activation=tanh", "model.hidden_units=[64]", "optimizer.learning_rate=0.01", "seed=3"], "tanh 64 lr0.01 seed3"),
        (["optimizer.learning_rate=0.01", QUICKSTART, "model.hidden_units=[64]"], "lr0.01 64 seed0"),
        ([QUICKSTART, "model=cnn"], "cnn 32x64 128 seed0"),
        ([QUICKSTART, "model=cnn", "model.dense_units=[16]", "optimizer=sgd"], "cnn 32x64 16 sgd seed0"),
        (["optimizer=sgd", "optimizer.momentum=0.9"], "sgd momentum0.9 seed0"),
        (["training.xla=off", "training.checkpoint=true"], "xla-off seed0"),
        (["name=other", "tracking=off", "notes=x", "sweep.seeds=3"], "300x200x100 relu seed0"),
        (["training.determinism=off", "training.epochs=3"], "determinism-off epochs3"),
        (["model.dropout=0.1", "model.l2=0.1", "training.epochs=1", "training.batch_size=8", "dataset.limit=9", "dataset.validation_fraction=0.2"],
         "dropout0.1 l2=0.1 epochs1 batch8 +2 seed0"),
    ],
)  # fmt: skip
def test_name_of_a_run_has_what_differs_from_its_recipe_in_the_order_of_the_overrides(overrides, name):
    config = compose_config(overrides)
    assert build_run_name(config, find_recipe_changes(config, overrides)) == name


def test_changes_in_python_are_found_without_overrides():
    config = compose_config([QUICKSTART])
    config.model.hidden_units, config.optimizer.learning_rate = [32], 0.5
    changes = find_recipe_changes(config)
    assert changes == {"model.hidden_units": [32], "optimizer.learning_rate": 0.5}
    assert build_run_name(config, changes) == "32 lr0.5 seed0"


@pytest.mark.parametrize(
    ("overrides", "changes"),
    [
        (["model=cnn", "optimizer=sgd", "optimizer.momentum=0.9"], {"model": "cnn 32x64 128", "optimizer": "sgd", "optimizer.momentum": 0.9}),
        ([QUICKSTART], {}),
        ([QUICKSTART, "seed=9", "name=quickstart", "dataset.path=null", "training.epochs=99"], {"training.epochs": 99}),
    ],
)  # fmt: skip
def test_changes_are_the_same_with_and_without_overrides(overrides, changes):
    config = compose_config([item for item in overrides if item != "dataset.path=null"])
    assert find_recipe_changes(config) == find_recipe_changes(config, overrides) == changes


@pytest.mark.parametrize(
    ("overrides", "notes"),
    [
        ([QUICKSTART], "The published architecture"),
        ([QUICKSTART, "seed=3", "name=mine", "tracking=off", "training.threads=1"], "The published architecture"),
        ([QUICKSTART, "model=cnn"], ""),
        ([QUICKSTART, "model.hidden_units.0=64"], ""),
        ([QUICKSTART, "training.epochs=3"], ""),
        ([QUICKSTART, "training.epochs=3", "notes=mine"], "mine"),
        (["model=cnn", "notes=mine"], "mine"),
        ([], ""),
    ],
)
def test_notes_of_a_recipe_are_kept_only_while_they_describe_the_run(overrides, notes):
    selected = select_notes(compose_config(overrides), overrides)
    assert selected.startswith(notes)
    assert bool(selected) == bool(notes)


def test_recipe_is_that_of_the_overrides_or_of_the_name():
    assert find_recipe(compose_config([QUICKSTART, "name=mine"]), [QUICKSTART, "name=mine"]) == "quickstart"
    assert find_recipe(compose_config([QUICKSTART])) == "quickstart"
    assert find_recipe(compose_config([])) is None


@pytest.mark.parametrize(
    ("labels", "common"),
    [
        (["lr0.1 512x256 seed0", "lr0.1 512x256 seed1"], "lr0.1 512x256"),
        (["lr0.1 seed0"], "lr0.1"),
        (["64 relu seed0", "64 relu seed0 #2"], "64 relu"),
        (["seed=4"], ""),
        (["lr0.1", "lr0.2"], ""),
    ],
)
def test_common_label_is_what_all_labels_share_without_seeds_and_repetitions(labels, common):
    assert find_common_label(labels) == common
