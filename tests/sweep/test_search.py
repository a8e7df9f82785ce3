"""Tests of sweeps with samplers: search space, drawn points, resuming and warm start."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
from pathlib import Path

import pytest

from trainyard.errors import ConfigError
from trainyard.evaluation.trials import TrialResult
from trainyard.sweep.folder import SweepFolder
from trainyard.sweep.folder_checks import check_definition
from trainyard.sweep.launch.process_pool import JobExit, Message
from trainyard.sweep.ledger import Draw, Ledger, PriorPoint
from trainyard.sweep.plan import make_plan
from trainyard.sweep.pruner import TrialPruner
from trainyard.sweep.recorder import TrialRecorder
from trainyard.sweep.results import RESULT
from trainyard.sweep.scheduler import SweepScheduler
from trainyard.sweep.space import NOT_DRAWN
from trainyard.sweep.trial_queue import SearchQueue
from trainyard.sweep.warm_start import load_prior_sweeps

WIDTH = "model.hidden_units=choice([8],[16],[32])"
RATE = "optimizer.learning_rate=tag(log, interval(1e-4, 1e-1))"
BASE = ["dataset.validation_fraction=0.2", "name=tiny", "sweep.name=mine", "sweep.points=8"]
SAMPLERS = ["random", "tpe", "cmaes", "qmc"]


def objective_of(config):
    """Returns the objective of a config. It is best at a learning rate of 0.01 and 32 units."""
    rate, units = config["optimizer"]["learning_rate"], sum(config["model"].get("hidden_units", [0]))
    return 0.9 - 0.1 * abs(math.log10(rate) + 2) + 0.001 * min(units, 32) + 0.0001 * config["seed"]


class Runner:
    """Runs one trial at a time: writes the result of `objective_of`. Raises KeyboardInterrupt after `stop_after` trials."""

    def __init__(self, folder, stop_after=None, failing=()):
        self.folder, self.stop_after, self.failing = folder, stop_after, failing
        self.started, self.ended = [], []

    def __len__(self):
        return len(self.ended)

    @property
    def has_free_slot(self):
        return not self.ended

    def start(self, trial, folder):
        if len(self.started) == self.stop_after:
            raise KeyboardInterrupt
        assert {planned.number: planned for planned in self.folder.read_trials()}[trial.number] == trial
        self.started.append(trial)
        folder.mkdir(parents=True)
        if trial.number in self.failing:
            self.ended.append(JobExit(trial.number, None, "TrainingError: on purpose"))
            return
        result = TrialResult(
            objective=objective_of(trial.config), metrics={}, epochs=1, history=(), seconds=1.0, run_id=None,
            folder=str(folder), parameters=1,
        )  # fmt: skip
        (folder / RESULT).write_text(json.dumps(dataclasses.asdict(result)))
        self.ended.append(JobExit(trial.number, None, ""))

    def poll(self):
        assert self.ended, "the scheduler polls although no trial is running"
        ended, self.ended = self.ended, []
        return ended


class Untracked:
    """The runs of trials without a tracking store."""

    def is_finished(self, _):
        return True


class EpochRunner(Runner):
    """Runs one trial at a time, which reports its epochs and can be pruned."""

    EPOCHS = 3
    steps = None

    def start(self, trial, folder):
        super().start(trial, folder)
        (exit_event,), self.ended = self.ended, []
        result = folder / RESULT
        self.content, self.reply = result.read_text(), (0, "")
        result.unlink()
        self.steps = iter([*self.report_epochs(trial.number, json.loads(self.content)["objective"]), exit_event])
        self.result = result

    def report_epochs(self, number, objective):
        for epoch in range(1, self.EPOCHS + 1):
            yield Message(number, (epoch, self.EPOCHS, {"accuracy/val": objective - 0.1 / epoch}), self.answer)

    def answer(self, reply):
        self.reply = reply

    def __len__(self):
        return self.steps is not None

    @property
    def has_free_slot(self):
        return self.steps is None

    def poll(self):
        step = next(self.steps)
        if self.reply[1]:
            step = next(step for step in self.steps if isinstance(step, JobExit))
        elif isinstance(step, JobExit):
            self.result.write_text(self.content)
        if isinstance(step, JobExit):
            self.steps = None
        return [step]


def search(*overrides, name="mine", **running):
    """Runs or resumes the sweep `name`. Returns the recorder and the runner."""
    plan = make_plan([*BASE, *overrides, f"sweep.name={name}"])
    folder = SweepFolder(Path("sweeps") / name)
    axes = plan.space.axes
    resuming = folder.plan.exists() and folder.ledger.has_started
    prior_sweeps = (
        [] if resuming else load_prior_sweeps(plan.policy.warm_start, plan.objective, axes, plan.policy.sampler)
    )
    if resuming:
        check_definition(folder, plan)
    else:
        folder.write_plan(plan, None)
    plan = folder.append_missing_trials(plan)
    is_pruned = plan.policy.pruner != "off"
    recorder, runner = (
        TrialRecorder(plan.trials, folder, plan.objective),
        (EpochRunner if is_pruned else Runner)(folder, **running),
    )
    queue = SearchQueue(plan.space, plan.policy, folder, prior_sweeps)
    pruner = TrialPruner(plan.policy, EpochRunner.EPOCHS, folder.ledger, plan.trials) if is_pruned else None
    with contextlib.suppress(KeyboardInterrupt):
        SweepScheduler(plan.policy, recorder, queue, runner, runs=Untracked(), pruner=pruner).run()
    return recorder, runner


def drawn_settings(sweep):
    return [tuple(sorted((key, str(value)) for key, value in trial.varied.items())) for trial in sweep.trials]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_sampler_draws_the_requested_number_of_distinct_points(sampler):
    sweep, runner = search(f"sweep.sampler={sampler}", RATE, WIDTH)
    assert [trial.number for trial in runner.started] == list(range(1, 9))
    assert sorted(sweep.outcomes.done) == list(range(1, 9))
    assert sweep.outcomes.waiting == []
    assert len(set(drawn_settings(sweep))) == 8
    for trial in sweep.trials:
        rate, units = trial.config["optimizer"]["learning_rate"], trial.config["model"]["hidden_units"]
        assert 1e-4 <= rate <= 1e-1
        assert units in ([8], [16], [32])
        assert trial.varied == {"optimizer.learning_rate": rate, "model.hidden_units": units}
        assert trial.label
        assert trial.parameters


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_resumed_search_draws_the_same_points_as_an_uninterrupted_one(sampler):
    uninterrupted, _ = search(f"sweep.sampler={sampler}", RATE, WIDTH, name="uninterrupted")
    for stop in (1, 4, 7):
        name = f"stopped-after-{stop}"
        _, first = search(f"sweep.sampler={sampler}", RATE, WIDTH, name=name, stop_after=stop)
        assert len(first.started) == stop
        resumed, second = search(f"sweep.sampler={sampler}", RATE, WIDTH, name=name)
        assert drawn_settings(resumed) == drawn_settings(uninterrupted), name
        assert [trial.number for trial in second.started] == list(range(stop + 1, 9))


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_resumed_search_prunes_the_same_points_as_an_uninterrupted_one(sampler):
    """A pruned point has a result, and its last seeds do not start. The sampler receives the mean of its results."""
    overrides = [f"sweep.sampler={sampler}", "sweep.pruner=halving", "sweep.seeds=4", RATE, WIDTH]
    uninterrupted, runner = search(*overrides, name="uninterrupted")
    done, pruned = uninterrupted.outcomes.done, uninterrupted.outcomes.pruned
    assert sorted([*done, *pruned]) == list(range(1, 33))
    assert {uninterrupted.get_trial(number).point for number in done} == set(range(1, 9))
    not_started = pruned.keys() - {trial.number for trial in runner.started}
    assert not_started
    assert all("before its first epoch" in pruned[number] for number in not_started)
    plan = make_plan([*BASE, *overrides])
    reported = SearchQueue(plan.space, plan.policy, runner.folder)._reported
    assert len(reported) == 8
    for point, value in reported.items():
        finished = [
            result.objective for number, result in done.items() if uninterrupted.get_trial(number).point == point
        ]
        assert value == pytest.approx(sum(finished) / len(finished))
    for stop in (5, 9):
        _, first = search(*overrides, name=f"stopped-{stop}", stop_after=stop)
        assert len(first.started) == stop
        resumed, _ = search(*overrides, name=f"stopped-{stop}")
        assert drawn_settings(resumed) == drawn_settings(uninterrupted)
        assert resumed.outcomes.pruned == pruned


def test_different_sampler_seeds_draw_different_points():
    one, _ = search("sweep.sampler=random", RATE, name="one")
    other, _ = search("sweep.sampler=random", RATE, "sweep.sampler_seed=1", name="other")
    assert not set(drawn_settings(one)) & set(drawn_settings(other))


def test_tpe_finds_good_points():
    """The best eighth of the learning rates gets more than twice the number of later points that chance would give it."""
    sweep, _ = search("sweep.sampler=tpe", RATE, "sweep.points=40", "model.hidden_units=[32]")
    later = [trial.config["optimizer"]["learning_rate"] for trial in sweep.trials[20:]]
    assert sum(10**-2.1875 < rate < 10**-1.8125 for rate in later) > 2 * 20 / 8


def test_all_kinds_of_axes_can_be_drawn():
    sweep, _ = search(
        "sweep.sampler=random",
        "training.batch_size=int(interval(8, 64))",
        "training.epochs=range(2,9,3)",
        "optimizer=adam,sgd",
        "model.dropout=interval(0.0, 0.5)",
    )
    configs = [trial.config for trial in sweep.trials]
    assert all(8 <= config["training"]["batch_size"] <= 64 for config in configs)
    assert {config["training"]["epochs"] for config in configs} <= {2, 5, 8}
    assert {config["optimizer"]["name"] for config in configs} == {"adam", "sgd"}
    assert len({config["model"]["dropout"] for config in configs}) == 8


def test_setting_of_one_choice_is_drawn_only_with_that_choice():
    sweep, _ = search("sweep.sampler=tpe", "model=mlp,cnn", "model.filters=[4],[8]", WIDTH, "sweep.points=8")
    models = {trial.config["model"]["name"] for trial in sweep.trials}
    assert models == {"mlp", "cnn"}
    for trial in sweep.trials:
        own = "model.filters" if trial.varied["model"] == "cnn" else "model.hidden_units"
        assert set(trial.varied) == {"model", own}


def test_next_point_is_drawn_after_all_seeds_of_a_point_have_ended():
    _, runner = search("sweep.sampler=tpe", RATE, "model.hidden_units=[8]", "sweep.seeds=2", "sweep.points=4")
    assert [(trial.point, trial.seed) for trial in runner.started] == [(n, s) for n in (1, 2, 3, 4) for s in (0, 1)]
    ledger = Ledger(runner.folder.ledger_file)
    assert [event.point if isinstance(event, Draw) else -event.trial for event in ledger.events] == [
        1, -1, -2, 2, -3, -4, 3, -5, -6, 4, -7, -8,
    ]  # fmt: skip


def test_failed_trial_is_retried_when_the_sweep_is_resumed():
    sweep, _ = search("sweep.sampler=tpe", RATE, failing={2})
    assert sweep.outcomes.failed == {2: "TrainingError: on purpose"}
    assert sorted(sweep.outcomes.done) == [1, 3, 4, 5, 6, 7, 8]
    again, runner = search("sweep.sampler=tpe", RATE)
    assert [trial.number for trial in runner.started] == [2]
    assert sorted(again.outcomes.done) == list(range(1, 9))


def test_search_ends_when_a_small_space_is_exhausted():
    sweep, runner = search("sweep.sampler=random", WIDTH)
    assert len(runner.started) == 3
    assert sorted(sweep.outcomes.done) == [1, 2, 3]
    assert sweep.outcomes.waiting == []
    again, second = search("sweep.sampler=random", WIDTH)
    assert (second.started, again.outcomes.waiting) == ([], [])


def test_search_resumes_with_more_points_but_not_with_another_definition():
    search("sweep.sampler=tpe", RATE, "sweep.points=3")
    more, runner = search("sweep.sampler=tpe", RATE, "sweep.points=5")
    assert [trial.number for trial in runner.started] == [4, 5]
    uninterrupted, _ = search("sweep.sampler=tpe", RATE, "sweep.points=5", name="uninterrupted")
    assert drawn_settings(more) == drawn_settings(uninterrupted)
    for change in ("sweep.sampler=random", "optimizer.learning_rate=interval(0.1,0.2)", "training.epochs=7"):
        with pytest.raises(ConfigError, match="its definition has changed"):
            search("sweep.sampler=tpe", RATE, "sweep.points=5", change)


def test_plan_of_a_search_has_only_placeholders():
    plan = make_plan([*BASE, "sweep.sampler=tpe", RATE, "sweep.seeds=2"])
    assert len(plan.trials) == 16
    assert {trial.label for trial in plan.trials} == {NOT_DRAWN}
    assert [trial.point for trial in plan.trials[:4]] == [1, 1, 2, 2]


def test_invalid_point_is_skipped_with_a_recorded_reason():
    """The two settings are invalid only in combination, which no probe point has. Three of four points are valid."""
    both = ["optimizer.clipnorm=null,1.0", "optimizer.clipvalue=null,0.5"]
    sweep, _ = search("sweep.sampler=random", *both, "sweep.points=4")
    assert len(sweep.outcomes.done) == 3
    draws = [event for event in Ledger(Path("sweeps/mine/ledger.jsonl")).events if isinstance(event, Draw)]
    (reason,) = {event.reason for event in draws if "invalid" in event.reason}
    assert "only one kind of clipping is possible" in reason
    again, runner = search("sweep.sampler=random", *both, "sweep.points=4")
    assert runner.started == []
    assert again.outcomes.waiting == []


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_search_can_be_interrupted_between_any_two_ledger_entries(sampler, monkeypatch):
    """A trial can be in the plan but not in the ledger, or drawn but not started, or finished but not recorded."""
    overrides = [f"sweep.sampler={sampler}", RATE, WIDTH]
    uninterrupted, _ = search(*overrides, name="uninterrupted")

    def build_stop(entry, number):
        calls = itertools.count(1)

        def stop(self, *arguments, **named):
            if next(calls) == number:
                raise KeyboardInterrupt
            return entry(self, *arguments, **named)

        return stop

    for moment, number in itertools.product(("record_draw", "record_start", "record_result"), (1, 4)):
        name = f"{moment}-{number}"
        with monkeypatch.context() as patch:
            patch.setattr(Ledger, moment, build_stop(getattr(Ledger, moment), number))
            stopped, _ = search(*overrides, name=name)
        assert len(stopped.outcomes.done) < 8, name
        resumed, _ = search(*overrides, name=name)
        assert sorted(resumed.outcomes.done) == list(range(1, 9)), name
        assert drawn_settings(resumed) == drawn_settings(uninterrupted), name


def test_failed_trial_is_retried_after_all_others():
    _, runner = search("sweep.sampler=tpe", RATE, "sweep.retries=1", failing={2})
    assert [trial.number for trial in runner.started] == [1, 2, 3, 4, 5, 6, 7, 8, 2]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_retried_trial_is_replayed_correctly_in_a_third_session(sampler):
    overrides = [f"sweep.sampler={sampler}", RATE, WIDTH]
    for name in ("one", "two"):
        search(*overrides, "sweep.points=5", name=name, failing={3})
        search(*overrides, "sweep.points=5", name=name)
    once, _ = search(*overrides, "sweep.points=12", name="one")
    search(*overrides, "sweep.points=12", name="two", stop_after=3)
    twice, _ = search(*overrides, "sweep.points=12", name="two")
    assert sorted(once.outcomes.done) == list(range(1, 13))
    assert drawn_settings(once) == drawn_settings(twice)


def test_rounding_keeps_numbers_of_a_narrow_interval_distinct():
    sweep, _ = search("sweep.sampler=random", "optimizer.beta_2=interval(0.999, 0.9999)", "sweep.points=30")
    values = {trial.config["optimizer"]["beta_2"] for trial in sweep.trials}
    assert len(values) == 30
    assert all(0.999 <= value <= 0.9999 and len(repr(value)) <= 11 for value in values)


def test_logarithmic_range_with_steps_is_drawn_as_choices():
    sweep, _ = search("sweep.sampler=random", "training.batch_size=tag(log, range(16, 129, 16))", "sweep.points=6")
    assert {trial.config["training"]["batch_size"] % 16 for trial in sweep.trials} == {0}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sweep.objective=off", RATE], "sweep.sampler: tpe requires an objective, but sweep.objective is off"),
        ([], "sweep.sampler: tpe requires settings to draw, but none is swept"),
        (["seed=1,2"], "seed: a sampler cannot draw seeds. Set sweep.seeds"),
        (["optimizer.learning_rate=interval(0.1, 0.1)"], "learning_rate: expected two numbers, the smaller first"),
        (["optimizer.learning_rate=tag(log, interval(0, 0.1))"], "learning_rate: expected two numbers above 0"),
        (["optimizer.learning_rate=interval(-1, 0.1)"], "optimizer.learning_rate: expected"),
        (["model.hidden_units=choice([8],[-1])"], "model.hidden_units: expected"),
        (
            ["model=mlp,cnn", "model.wings=1,2"],
            "model.wings: this field exists for no choice of the swept config groups",
        ),
        (["sweep.points=0", RATE], "sweep.points: expected"),
    ],
)
def test_invalid_search_space_is_rejected_before_any_trial_starts(overrides, message):
    with pytest.raises(ConfigError, match=message.replace("(", r"\(").replace(".", r"\.")):
        make_plan([*BASE, "sweep.sampler=tpe", *overrides])


def test_missing_package_of_a_sampler_is_reported(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="sweep.sampler: gp requires the package torch"):
        make_plan([*BASE, "sweep.sampler=gp", RATE])


def test_grid_rejects_an_interval():
    with pytest.raises(ConfigError, match=r"a grid requires a list of values, got an interval.*sweep\.sampler=tpe"):
        make_plan([*BASE, RATE])


# ---------------------------------------------------------------------------------------------------------------
# Warm start from earlier sweeps


def near_the_best(sweep):
    """Returns the number of points whose learning rate is within a factor of 1.54 of the best, an eighth of the range."""
    rates = [trial.config["optimizer"]["learning_rate"] for trial in sweep.trials]
    return sum(abs(math.log10(rate) + 2) < 3 / 16 for rate in rates)


def test_warm_start_gives_tpe_better_first_points():
    units = "model.hidden_units=[32]"
    search("sweep.sampler=tpe", RATE, "sweep.points=40", units, name="earlier")
    cold, _ = search("sweep.sampler=tpe", RATE, units, "sweep.points=10", "sweep.sampler_seed=1", name="cold")
    warm, _ = search(
        "sweep.sampler=tpe", RATE, units, "sweep.points=10", "sweep.sampler_seed=1", "sweep.warm_start=[earlier]"
    )
    assert near_the_best(warm) > near_the_best(cold) + 2


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_prior_points_are_the_same_after_a_resume_even_if_the_earlier_sweep_has_changed(sampler):
    wider = ["optimizer.beta_1=interval(0.5, 0.99)", WIDTH]
    search(f"sweep.sampler={sampler}", RATE, *wider, "sweep.points=12", name="earlier")
    overrides = [f"sweep.sampler={sampler}", RATE, *wider, "sweep.warm_start=[earlier]"]
    uninterrupted, _ = search(*overrides, name="uninterrupted")
    search(*overrides, stop_after=3)
    prior_points = [event for event in Ledger(Path("sweeps/mine/ledger.jsonl")).events if isinstance(event, PriorPoint)]
    assert len(prior_points) == 12
    search(f"sweep.sampler={sampler}", RATE, *wider, "sweep.points=20", name="earlier")
    resumed, _ = search(*overrides)
    assert drawn_settings(resumed) == drawn_settings(uninterrupted)


def test_prior_points_are_those_inside_the_space_with_the_mean_over_seeds():
    """A grid can be used for a warm start. Some of its trials have no result, and some points are outside the space."""
    grid = make_plan([*BASE, "sweep.name=grid", "optimizer.learning_rate=0.5,0.01,0.001", WIDTH, "sweep.seeds=2"])
    folder = SweepFolder(Path("sweeps/grid"))
    folder.write_plan(grid, None)
    ledger = folder.ledger
    for trial in grid.trials:
        if trial.number % 6:
            ledger.record_start(trial.number, "")
            result = TrialResult(
                objective=objective_of(trial.config), metrics={}, epochs=1, history=(), seconds=1.0, run_id=None, folder="",
                parameters=1,
            )  # fmt: skip
            ledger.record_result(trial.number, result)
    plan = make_plan([*BASE, "sweep.sampler=tpe", RATE, "model.hidden_units=[8],[32],[64]"])
    (prior,) = load_prior_sweeps(["grid"], plan.objective, plan.space.axes)
    settings = {(point.drawn["optimizer.learning_rate"], point.drawn["model.hidden_units"]) for point in prior.points}
    assert settings == {(rate, f"model.hidden_units=[{units}]") for rate in (0.01, 0.001) for units in (8, 32)}
    assert prior.n_outside == 5
    by_drawn = {tuple(point.drawn.values()): point.value for point in prior.points}
    assert by_drawn[0.01, "model.hidden_units=[8]"] == pytest.approx(0.9 + 0.008 + 0.00005)
    assert by_drawn[0.001, "model.hidden_units=[32]"] == pytest.approx(0.8 + 0.032)  # its second seed has no result
    assert prior.describe().startswith("warm start: the sampler uses 4 points of the sweep grid; 5 more are outside")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["sweep.sampler=random"],
            "sweep.warm_start: the sampler random does not use earlier results. Set sweep.sampler to one of tpe, gp",
        ),
        (["sweep.sampler=grid", "seed=1,2"], "sweep.warm_start: the sampler grid does not use earlier results"),
        (
            ["sweep.sampler=cmaes"],
            "cmaes starts from the best tenth of the earlier points and needs at least 10, but only 2 points of earlier",
        ),
        (["sweep.sampler=tpe", "sweep.warm_start=[earlyer]"], "sweep.warm_start: there is no sweep 'earlyer'. Did you"),
        (
            ["sweep.sampler=tpe", "sweep.objective=loss/val"],
            "expected a sweep with the objective loss/val, but earlier has accuracy/val",
        ),
        (
            ["sweep.sampler=tpe", "optimizer.learning_rate=interval(0.2, 0.3)"],
            "earlier has no points that the sampler can use: none of its 2 finished points",
        ),
    ],
)
def test_invalid_warm_start_is_rejected(overrides, message):
    search("sweep.sampler=tpe", RATE, "sweep.points=2", name="earlier")
    with pytest.raises(ConfigError) as caught:
        search(RATE, "sweep.warm_start=[earlier]", *overrides)
    assert message in str(caught.value)
    assert not Path("sweeps/mine").exists()
