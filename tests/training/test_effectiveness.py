"""Settings that have no effect, or would keep the weights from changing, are reported before the first step."""

from __future__ import annotations

import pytest

from trainyard.errors import TrainingError
from trainyard.system import Progress
from trainyard.training.effectiveness import find_ineffective_settings

STEPS = 10
NEVER_BETTER = "min_delta=1e9"
"""With this minimum change, only the first epoch is an improvement."""
PLATEAU = ["training.plateau.monitor=loss/train", f"training.plateau.{NEVER_BETTER}"]
STOPPING = ["training.early_stopping.monitor=loss/train", f"training.early_stopping.{NEVER_BETTER}"]


class Listener(Progress):
    def __init__(self):
        self.warnings = []

    def detail(self, text):
        self.warnings += [text.removeprefix("warning: ")] if text.startswith("warning: ") else []


@pytest.mark.parametrize(
    ("overrides", "path", "parts"),
    [
        (["schedule=piecewise"], "schedule.at_epochs", ("[6.0, 8.0]", "training.epochs=4", "factors [0.1, 0.01]")),
        (["schedule=piecewise", "schedule.at_epochs=[3,4]"], "schedule.at_epochs", ("[4.0]", "factors [0.01]")),
        (["schedule=piecewise", "schedule.at_epochs=[1,3.96]"], "schedule.at_epochs", ("[3.96]",)),
        (["schedule=exponential", "schedule.decay_epochs=4", "schedule.staircase=true"], "schedule.decay_epochs", ("4 epochs",)),
        (["training.plateau.patience=3", *PLATEAU], "training.plateau.patience", ("3 epochs", "training.epochs=4")),
        (
            ["training.plateau.patience=1", *PLATEAU, "training.plateau.min_learning_rate=0.001"],
            "training.plateau.min_learning_rate", ("0.001", "optimizer.learning_rate=0.001"),
        ),
        (
            ["training.early_stopping.patience=3", *STOPPING, "training.early_stopping.restore_best=false"],
            "training.early_stopping.patience", ("3 epochs", "training.epochs=4", "restore_best"),
        ),
        (["optimizer=sgd", "optimizer.nesterov=true"], "optimizer.nesterov", ("optimizer.momentum=0",)),
        (["optimizer.use_ema=true", "optimizer.ema_momentum=0"], "optimizer.ema_momentum", ("optimizer.use_ema=true",)),
        (["optimizer=sgd", "optimizer.use_ema=true", "optimizer.ema_momentum=0"], "optimizer.ema_momentum", ()),
    ],
)  # fmt: skip
def test_a_setting_without_effect_causes_one_warning(tiny, overrides, path, parts):
    (warning,) = find_ineffective_settings(tiny("training.epochs=4", *overrides), STEPS)
    assert warning.startswith(f"{path}: ")
    assert all(part in warning for part in parts)
    assert " Set " in warning


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["schedule=piecewise", "schedule.at_epochs=[1,3.94]"],
        ["schedule=exponential", "schedule.decay_epochs=3.9", "schedule.staircase=true"],
        ["schedule=exponential", "schedule.decay_epochs=8"],
        ["schedule=exponential", "schedule.decay_epochs=8", "schedule.staircase=true", "schedule.decay_rate=1"],
        ["schedule=cosine", "schedule.warmup_epochs=3.9"],
        ["training.plateau.patience=2", *PLATEAU],
        ["training.plateau.min_learning_rate=1"],  # the reduction is disabled
        ["training.plateau.patience=1", *PLATEAU, "training.plateau.min_learning_rate=0.0009"],
        ["training.early_stopping.patience=2", *STOPPING, "training.early_stopping.restore_best=false"],
        ["training.early_stopping.patience=9", *STOPPING],  # the best weights are restored
        ["optimizer=sgd_momentum"],
        ["optimizer=muon"],
        ["optimizer.use_ema=true"],
        ["optimizer.ema_momentum=0"],
        ["optimizer.gradient_accumulation_steps=40"],
    ],
)
def test_a_setting_with_an_effect_causes_no_warning(tiny, overrides):
    assert list(find_ineffective_settings(tiny("training.epochs=4", *overrides), STEPS)) == []


@pytest.mark.parametrize(("epochs", "patience", "is_effective"), [(3, 1, True), (3, 2, False), (2, 1, False)])
def test_a_patience_that_cannot_end_changes_nothing(tiny, train_model, epochs, patience, is_effective):
    """Trains with a metric that improves only in the first epoch, first with `plateau`, then with `early_stopping`."""
    listener = Listener()
    plateau = tiny(f"training.epochs={epochs}", f"training.plateau.patience={patience}", *PLATEAU)
    *_, trained = train_model(plateau, listener)
    assert (len({metrics["learning_rate/value"] for metrics in trained.history}) > 1) == is_effective
    stopping = tiny(
        f"training.epochs={epochs}", f"training.early_stopping.patience={patience}", *STOPPING,
        "training.early_stopping.restore_best=false",
    )  # fmt: skip
    *_, trained = train_model(stopping, listener)
    assert (len(trained.history) < epochs) == is_effective
    assert len(listener.warnings) == (0 if is_effective else 2)


def test_a_stopping_with_a_patience_of_zero_needs_three_epochs(tiny, train_model):
    """Keras does not stop after the first epoch."""
    overrides = ["training.early_stopping.patience=0", *STOPPING, "training.early_stopping.restore_best=false"]
    listener = Listener()
    for epochs in (2, 3):
        *_, trained = train_model(tiny(f"training.epochs={epochs}", *overrides), listener)
        assert len(trained.history) == 2
    assert len(listener.warnings) == 1


def test_the_learning_rate_is_not_reduced_below_its_minimum(tiny, train_model):
    overrides = ["training.epochs=4", "training.plateau.patience=1", *PLATEAU, "optimizer.learning_rate=0.01"]
    listener = Listener()
    for minimum, rates in ((0.01, [0.01] * 4), (0.009, [0.01, 0.01, 0.009, 0.009])):
        *_, trained = train_model(tiny(*overrides, f"training.plateau.min_learning_rate={minimum}"), listener)
        assert [metrics["learning_rate/value"] for metrics in trained.history] == pytest.approx(rates)
    assert len(listener.warnings) == 1


@pytest.mark.parametrize("engine", ["compiled", "fit"])
def test_a_training_without_an_update_of_the_weights_is_an_error(tiny, train_model, engine):
    overrides = ["training.epochs=2", f"training.engine={engine}"]
    with pytest.raises(TrainingError) as error:
        train_model(tiny(*overrides, f"optimizer.gradient_accumulation_steps={2 * STEPS + 1}"))
    assert str(error.value) == (
        "optimizer.gradient_accumulation_steps: expected at most 20, the number of batches in training.epochs=2, got "
        "21, so the weights would never change. Set a smaller value or null, or train for more epochs"
    )
    model, *_ = train_model(tiny(*overrides, f"optimizer.gradient_accumulation_steps={2 * STEPS}"))
    assert all(layer.bias.numpy().any() for layer in model.layers if hasattr(layer, "bias"))  # they were 0


def test_a_debug_mode_that_uses_fewer_images_is_not_checked(tiny, train_model):
    listener = Listener()
    overrides = ["schedule=piecewise", "training.epochs=2", "optimizer.gradient_accumulation_steps=1000"]
    train_model(tiny(*overrides, "debug=one_batch"), listener)
    assert listener.warnings == []
