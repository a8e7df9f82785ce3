"""Points that samplers draw: from what, with what known, again after a stop."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.utils import JobReturn

from trainyard.errors import ConfigError
from trainyard.evaluation.trials import TrialResult
from trainyard.sweep.folder import SweepFolder, refuse_other_definition
from trainyard.sweep.launch.launcher import JobEnd
from trainyard.sweep.ledger import Draw, Known, Ledger
from trainyard.sweep.plan import make_plan
from trainyard.sweep.results import RESULT
from trainyard.sweep.scheduler import PlannedSweep
from trainyard.sweep.search import Search
from trainyard.sweep.space import NOT_DRAWN
from trainyard.sweep.warm_start import read_experience

WIDTH = "model.hidden_units=choice([8],[16],[32])"
RATE = "optimizer.learning_rate=tag(log, interval(1e-4, 1e-1))"
BASE = ["dataset.validation_fraction=0.2", "name=tiny", "sweep.name=mine", "sweep.points=8"]
SAMPLERS = ["random", "tpe", "cmaes", "qmc"]


def worth(config):
    """What a trial of a config comes to: best at a learning rate of 0.01 and 32 units."""
    rate, units = config["optimizer"]["learning_rate"], sum(config["model"].get("hidden_units", [0]))
    return 0.9 - 0.1 * abs(math.log10(rate) + 2) + 0.001 * min(units, 32) + 0.0001 * config["seed"]


class Launcher:
    """Has each trial leave the result that `worth` says, one at a time; as many as `stop_after`, then Ctrl-C."""

    free = True

    def __init__(self, folder, stop_after=None, failing=()):
        self.folder, self.stop_after, self.failing = folder, stop_after, failing
        self.begun, self.ended, self.answers = [], [], []

    @contextlib.contextmanager
    def open(self, held):
        yield self

    def __len__(self):
        return len(self.ended)

    @property
    def free(self):  # noqa: F811
        return not self.ended

    def answer(self, number, content):
        self.answers.append((number + 1, content))

    def compose(self, number, overrides):
        subdir = str(self.folder.next_attempt(number + 1).relative_to(self.folder.path))
        trials = {trial.number: trial for trial in self.folder.read_trials()}
        assert trials[number + 1].overrides == tuple(overrides)
        return SimpleNamespace(hydra=SimpleNamespace(sweep=SimpleNamespace(subdir=subdir)), trial=trials[number + 1])

    def submit(self, job):
        if len(self.begun) == self.stop_after:
            raise KeyboardInterrupt
        self.begun.append(job.trial)
        folder = self.folder.path / job.hydra.sweep.subdir
        folder.mkdir(parents=True)
        number = job.trial.number
        if number in self.failing:
            self.ended.append(JobEnd(number - 1, JobReturn(), "TrainingError: on purpose"))
            return
        result = TrialResult(
            objective=worth(job.trial.config), metrics={}, epochs=1, history=(), seconds=1.0, run_id=None,
            folder=str(folder), parameters=1,
        )  # fmt: skip
        (folder / RESULT).write_text(json.dumps(dataclasses.asdict(result)))
        self.ended.append(JobEnd(number - 1, JobReturn(), ""))

    def poll(self):
        assert self.ended, "a launcher waits for what will never come"
        ended, self.ended = self.ended, []
        return ended


def search(*overrides, name="mine", **launching):
    """Carries out the sweep of this folder, or goes on with it; returns it with the launcher."""
    plan = make_plan([*BASE, *overrides, f"sweep.name={name}"])
    folder = SweepFolder(Path("sweeps") / name)
    ledger, axes = Ledger(folder.ledger), plan.search.space.axes
    goes_on = folder.plan.exists() and ledger.has_begun
    known = [] if goes_on else read_experience(plan.policy.warm_start, plan.objective, axes, plan.search.sampler)
    if goes_on:
        refuse_other_definition(folder, plan)
    else:
        folder.write_plan(plan, None)
    folder.repair()
    ledger.repair()
    plan = folder.restore(plan)
    sweep = PlannedSweep(plan.trials, plan.policy, folder, ledger, work=lambda _: None)
    sweep.take_up()
    sweep.make_queue = lambda: Search(plan.search, plan.objective, folder, ledger, known)
    launcher = Launcher(folder, **launching)
    with contextlib.suppress(KeyboardInterrupt):
        sweep.conduct(launcher, None)
    return sweep, launcher


def drawn(sweep):
    return [tuple(sorted((key, str(value)) for key, value in trial.varied.items())) for trial in sweep.trials]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sampler_draws_as_many_points_as_are_asked_for_each_once(sampler):
    sweep, launcher = search(f"sweep.sampler={sampler}", RATE, WIDTH)
    assert [trial.number for trial in launcher.begun] == list(range(1, 9))
    assert sorted(sweep.tally.done) == list(range(1, 9))
    assert sweep.tally.waiting == []
    assert len(set(drawn(sweep))) == 8
    for trial in sweep.trials:
        rate, units = trial.config["optimizer"]["learning_rate"], trial.config["model"]["hidden_units"]
        assert 1e-4 <= rate <= 1e-1
        assert units in ([8], [16], [32])
        assert trial.varied == {"optimizer.learning_rate": rate, "model.hidden_units": units}
        assert trial.label
        assert trial.parameters


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("stop", [1, 4, 7])
def test_a_search_that_is_stopped_draws_the_same_as_one_that_is_not(sampler, stop):
    whole, _ = search(f"sweep.sampler={sampler}", RATE, WIDTH, name="whole")
    _, first = search(f"sweep.sampler={sampler}", RATE, WIDTH, stop_after=stop)
    assert len(first.begun) == stop
    resumed, second = search(f"sweep.sampler={sampler}", RATE, WIDTH)
    assert drawn(resumed) == drawn(whole)
    assert [trial.number for trial in second.begun] == list(range(stop + 1, 9))


def test_another_seed_of_the_sampler_draws_other_points():
    one, _ = search("sweep.sampler=random", RATE, name="one")
    other, _ = search("sweep.sampler=random", RATE, "sweep.sampler_seed=1", name="other")
    assert not set(drawn(one)) & set(drawn(other))


def test_tpe_finds_what_is_good():
    """Of the later points more than twice as many lie in the best eighth of the learning rates as chance puts there."""
    sweep, _ = search("sweep.sampler=tpe", RATE, "sweep.points=40", "model.hidden_units=[32]")
    later = [trial.config["optimizer"]["learning_rate"] for trial in sweep.trials[20:]]
    assert sum(10**-2.1875 < rate < 10**-1.8125 for rate in later) > 2 * 20 / 8


def test_what_is_drawn_goes_through_the_whole_grammar():
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


def test_a_setting_that_one_choice_alone_knows_is_drawn_where_that_is_chosen():
    sweep, _ = search("sweep.sampler=tpe", "model=mlp,cnn", "model.filters=[4],[8]", WIDTH, "sweep.points=8")
    models = {trial.config["model"]["name"] for trial in sweep.trials}
    assert models == {"mlp", "cnn"}
    for trial in sweep.trials:
        own = "model.filters" if trial.varied["model"] == "cnn" else "model.hidden_units"
        assert set(trial.varied) == {"model", own}


def test_points_that_are_repeated_with_seeds_are_told_by_their_mean():
    sweep, launcher = search("sweep.sampler=tpe", RATE, "model.hidden_units=[8]", "sweep.seeds=2", "sweep.points=4")
    assert [(trial.point, trial.seed) for trial in launcher.begun] == [(n, s) for n in (1, 2, 3, 4) for s in (0, 1)]
    ledger = Ledger(sweep.folder.ledger)
    assert [event.point if isinstance(event, Draw) else -event for event in ledger.sequence] == [
        1, -1, -2, 2, -3, -4, 3, -5, -6, 4, -7, -8,
    ]  # fmt: skip


def test_a_failed_trial_is_told_and_tried_again_at_the_next_start():
    sweep, _ = search("sweep.sampler=tpe", RATE, failing={2})
    assert sweep.tally.failed == {2: "TrainingError: on purpose"}
    assert sorted(sweep.tally.done) == [1, 3, 4, 5, 6, 7, 8]
    again, launcher = search("sweep.sampler=tpe", RATE)
    assert [trial.number for trial in launcher.begun] == [2]
    assert sorted(again.tally.done) == list(range(1, 9))


def test_a_small_space_is_tried_whole_and_no_more():
    sweep, launcher = search("sweep.sampler=random", WIDTH)
    assert len(launcher.begun) == 3
    assert sorted(sweep.tally.done) == [1, 2, 3]
    assert sweep.tally.waiting == []
    again, second = search("sweep.sampler=random", WIDTH)
    assert (second.begun, again.tally.waiting) == ([], [])


def test_a_search_goes_on_to_more_points_but_not_from_another_space():
    search("sweep.sampler=tpe", RATE, "sweep.points=3")
    more, launcher = search("sweep.sampler=tpe", RATE, "sweep.points=5")
    assert [trial.number for trial in launcher.begun] == [4, 5]
    whole, _ = search("sweep.sampler=tpe", RATE, "sweep.points=5", name="whole")
    assert drawn(more) == drawn(whole)
    for change in ("sweep.sampler=random", "optimizer.learning_rate=interval(0.1,0.2)", "training.epochs=7"):
        with pytest.raises(ConfigError, match="planned otherwise"):
            search("sweep.sampler=tpe", RATE, "sweep.points=5", change)


def test_nothing_is_drawn_before_its_turn():
    plan = make_plan([*BASE, "sweep.sampler=tpe", RATE, "sweep.seeds=2"])
    assert len(plan.trials) == 16
    assert {trial.label for trial in plan.trials} == {NOT_DRAWN}
    assert [trial.point for trial in plan.trials[:4]] == [1, 1, 2, 2]


def test_a_point_that_is_wrong_is_passed_over_and_said():
    """Only together are the two wrong: no probe of one alone finds it. Of four points three are left."""
    both = ["optimizer.clipnorm=null,1.0", "optimizer.clipvalue=null,0.5"]
    sweep, _ = search("sweep.sampler=random", *both, "sweep.points=4")
    assert len(sweep.tally.done) == 3
    draws = [event for event in Ledger(Path("sweeps/mine/ledger.jsonl")).sequence if isinstance(event, Draw)]
    (why,) = {event.why for event in draws if "wrong" in event.why}
    assert "gradients are clipped in one way" in why
    again, launcher = search("sweep.sampler=random", *both, "sweep.points=4")
    assert launcher.begun == []
    assert again.tally.waiting == []


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
@pytest.mark.parametrize("moment", ["drew", "began", "done"])
@pytest.mark.parametrize("number", [1, 4])
def test_a_search_may_be_stopped_between_any_two_entries(sampler, moment, number, monkeypatch):
    """A trial may be in the plan and not in the ledger, or drawn and not begun, or done and not known to be."""
    asked = [f"sweep.sampler={sampler}", RATE, WIDTH]
    whole, _ = search(*asked, name="whole")
    entry, calls = getattr(Ledger, moment), []

    def stop(self, *arguments, **named):
        calls.append(moment)
        if len(calls) == number:
            raise KeyboardInterrupt
        return entry(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, moment, stop)
        stopped, _ = search(*asked)
    assert len(stopped.tally.done) < 8
    resumed, _ = search(*asked)
    assert sorted(resumed.tally.done) == list(range(1, 9))
    assert drawn(resumed) == drawn(whole)


def test_a_trial_that_failed_is_tried_again_after_all_others():
    _, launcher = search("sweep.sampler=tpe", RATE, "sweep.retries=1", failing={2})
    assert [trial.number for trial in launcher.begun] == [1, 2, 3, 4, 5, 6, 7, 8, 2]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_failed_in_one_start_and_was_done_in_the_next_is_known_in_the_third(sampler):
    asked = [f"sweep.sampler={sampler}", RATE, WIDTH]
    for name in ("one", "two"):
        search(*asked, "sweep.points=5", name=name, failing={3})
        search(*asked, "sweep.points=5", name=name)
    once, _ = search(*asked, "sweep.points=12", name="one")
    search(*asked, "sweep.points=12", name="two", stop_after=3)
    twice, _ = search(*asked, "sweep.points=12", name="two")
    assert sorted(once.tally.done) == list(range(1, 13))
    assert drawn(once) == drawn(twice)


def test_of_a_narrow_interval_as_many_numbers_are_drawn_as_of_a_wide_one():
    sweep, _ = search("sweep.sampler=random", "optimizer.beta_2=interval(0.999, 0.9999)", "sweep.points=30")
    values = {trial.config["optimizer"]["beta_2"] for trial in sweep.trials}
    assert len(values) == 30
    assert all(0.999 <= value <= 0.9999 and len(repr(value)) <= 11 for value in values)


def test_steps_on_a_logarithmic_scale_are_choices():
    sweep, _ = search("sweep.sampler=random", "training.batch_size=tag(log, range(16, 129, 16))", "sweep.points=6")
    assert {trial.config["training"]["batch_size"] % 16 for trial in sweep.trials} == {0}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sweep.objective=off", RATE], "sweep.sampler: tpe wants something to be told, and sweep.objective is off"),
        ([], "sweep.sampler: tpe has nothing to draw"),
        (["seed=1,2"], "seed: can't be drawn by a sampler. Repeat each point with sweep.seeds"),
        (["optimizer.learning_rate=interval(0.1, 0.1)"], "learning_rate: expected two numbers, the lesser first"),
        (["optimizer.learning_rate=tag(log, interval(0, 0.1))"], "learning_rate: expected numbers above 0"),
        (["optimizer.learning_rate=interval(-1, 0.1)"], "optimizer.learning_rate: expected"),
        (["model.hidden_units=choice([8],[-1])"], "model.hidden_units: expected"),
        (["model=mlp,cnn", "model.wings=1,2"], "model.wings: no choice of what is swept has such a field"),
        (["sweep.points=0", RATE], "sweep.points: expected"),
    ],
)
def test_what_is_wrong_with_a_space_is_told_before_anything_starts(overrides, message):
    with pytest.raises(ConfigError, match=message.replace("(", r"\(").replace(".", r"\.")):
        make_plan([*BASE, "sweep.sampler=tpe", *overrides])


def test_a_sampler_that_is_not_installed_is_told(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="sweep.sampler: gp fits its Gaussian process with the package torch"):
        make_plan([*BASE, "sweep.sampler=gp", RATE])


def test_a_grid_does_not_take_an_interval():
    with pytest.raises(ConfigError, match=r"a grid wants values, got an interval.*sweep\.sampler=tpe"):
        make_plan([*BASE, RATE])


# ---------------------------------------------------------------------------------------------------------------
# What is known from earlier sweeps


def near_the_best(sweep):
    """How many points have a learning rate within a factor of 2.4 of the best: an eighth of what is drawn from."""
    rates = [trial.config["optimizer"]["learning_rate"] for trial in sweep.trials]
    return sum(abs(math.log10(rate) + 2) < 3 / 16 for rate in rates)


def test_an_earlier_sweep_spares_tpe_the_points_that_it_begins_with():
    units = "model.hidden_units=[32]"
    search("sweep.sampler=tpe", RATE, "sweep.points=40", units, name="earlier")
    cold, _ = search("sweep.sampler=tpe", RATE, units, "sweep.points=10", "sweep.sampler_seed=1", name="cold")
    warm, _ = search(
        "sweep.sampler=tpe", RATE, units, "sweep.points=10", "sweep.sampler_seed=1", "sweep.warm_start=[earlier]"
    )
    assert near_the_best(warm) > near_the_best(cold) + 2


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_what_was_known_is_known_again_after_a_stop_whatever_became_of_the_earlier_sweep(sampler):
    wider = ["optimizer.beta_1=interval(0.5, 0.99)", WIDTH]
    search(f"sweep.sampler={sampler}", RATE, *wider, "sweep.points=12", name="earlier")
    asked = [f"sweep.sampler={sampler}", RATE, *wider, "sweep.warm_start=[earlier]"]
    whole, _ = search(*asked, name="whole")
    search(*asked, stop_after=3)
    known = [event for event in Ledger(Path("sweeps/mine/ledger.jsonl")).sequence if isinstance(event, Known)]
    assert len(known) == 12
    search(f"sweep.sampler={sampler}", RATE, *wider, "sweep.points=20", name="earlier")
    resumed, _ = search(*asked)
    assert drawn(resumed) == drawn(whole)


def test_of_an_earlier_sweep_what_lies_in_the_space_is_known_by_the_mean_over_seeds():
    """A grid may be learnt from as well; one trial of it failed, and two points are not drawn from now."""
    grid = make_plan([*BASE, "sweep.name=grid", "optimizer.learning_rate=0.5,0.01,0.001", WIDTH, "sweep.seeds=2"])
    folder = SweepFolder(Path("sweeps/grid"))
    folder.write_plan(grid, None)
    ledger = Ledger(folder.ledger)
    for trial in grid.trials:
        if trial.number % 6:
            ledger.began(trial.number, "")
            result = TrialResult(
                objective=worth(trial.config), metrics={}, epochs=1, history=(), seconds=1.0, run_id=None, folder="",
                parameters=1,
            )  # fmt: skip
            ledger.done(trial.number, result)
    plan = make_plan([*BASE, "sweep.sampler=tpe", RATE, "model.hidden_units=[8],[32],[64]"])
    (experience,) = read_experience(["grid"], plan.objective, plan.search.space.axes)
    told = {(known.drawn["optimizer.learning_rate"], known.drawn["model.hidden_units"]) for known in experience.known}
    assert told == {(rate, f"model.hidden_units=[{units}]") for rate in (0.01, 0.001) for units in (8, 32)}
    assert experience.outside == 5
    by_drawn = {tuple(known.drawn.values()): known.value for known in experience.known}
    assert by_drawn[0.01, "model.hidden_units=[8]"] == pytest.approx(0.9 + 0.008 + 0.00005)
    assert by_drawn[0.001, "model.hidden_units=[32]"] == pytest.approx(0.8 + 0.032)  # its second seed was not done
    assert experience.describe().startswith("4 points of the sweep grid are known to the sampler; 5 more lie outside")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sweep.sampler=random"], "sweep.warm_start: random does not learn from what came out. Take one of tpe, gp"),
        (["sweep.sampler=grid", "seed=1,2"], "sweep.warm_start: grid does not learn"),
        (
            ["sweep.sampler=cmaes"],
            "cmaes begins from the best tenth of what it knows, and needs 10 points; 2 of earlier",
        ),
        (["sweep.sampler=tpe", "sweep.warm_start=[earlyer]"], "sweep.warm_start: there is no sweep 'earlyer'. Did you"),
        (
            ["sweep.sampler=tpe", "sweep.objective=loss/val"],
            "expected a sweep that compares by loss/val, earlier does by",
        ),
        (
            ["sweep.sampler=tpe", "optimizer.learning_rate=interval(0.2, 0.3)"],
            "nothing to be learnt from earlier: none",
        ),
    ],
)
def test_what_can_not_be_learnt_from_is_told(overrides, message):
    search("sweep.sampler=tpe", RATE, "sweep.points=2", name="earlier")
    with pytest.raises(ConfigError) as caught:
        search(RATE, "sweep.warm_start=[earlier]", *overrides)
    assert message in str(caught.value)
    assert not Path("sweeps/mine").exists()
