"""The smoke test of an architecture, in this process."""

from __future__ import annotations

from trainyard.sweep import smoke_test
from trainyard.sweep.plan import make_plan


def test_settings_that_need_more_than_one_batch_pass_the_smoke_test(keras, monkeypatch):
    monkeypatch.setattr(smoke_test, "configure_tensorflow", lambda *_: None)  # it is initialized in this process
    overrides = ["dataset.limit=300", "model.hidden_units=[16]", "optimizer.gradient_accumulation_steps=8"]
    plan = make_plan(["seed=1,2", "sweep.objective=off", *overrides])
    smoke_test._train_one_batch(dict(plan.trials[0].config))
