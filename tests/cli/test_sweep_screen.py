from __future__ import annotations

import dataclasses
import io
import re
import sys
from datetime import datetime
from pathlib import Path

import pexpect
import pytest
from rich.console import Console

from trainyard.cli.sweep.live_display import SweepScreen
from trainyard.cli.sweep.status import print_sweep_list, print_sweep_status, show_status
from trainyard.cli.sweep.tables import build_ranking_columns, print_plan, print_ranking, print_summary
from trainyard.cli.sweep.trial_table import TrialTable
from trainyard.config.labels import shorten_paths
from trainyard.errors import ConfigError
from trainyard.evaluation import RankedRun, rank
from trainyard.evaluation.trials import Trial, TrialResult
from trainyard.sweep.folder import SweepFolder
from trainyard.sweep.ledger import TrialState
from trainyard.sweep.listener import SweepCounts
from trainyard.sweep.plan import make_plan
from trainyard.sweep.progress import SweepProgress, build_status
from trainyard.sweep.recorder import TrialOutcomes
from trainyard.sweep.status import SweepStatus
from trainyard.sweep.summary import SweepResult
from trainyard.sweep.winner_recipe import Winner

RATES = (0.01, 0.003, 0.001, 0.0003)
WIDTHS = ([512, 256], [300, 200, 100], [64])


def make_trials(count, *, seeds=1, epochs=10):
    trials = []
    for number in range(1, count * seeds + 1):
        point, seed = divmod(number - 1, seeds)
        rate, hidden = RATES[point % 4], WIDTHS[point % 3]
        label = f"lr{rate:g} {'x'.join(map(str, hidden))}"
        trials.append(
            Trial(
                number=number,
                point=point + 1,
                label=f"{label} s{seed}" if seeds > 1 else label,
                varied={"optimizer.learning_rate": rate, "model.hidden_units": hidden},
                seed=seed,
                overrides=(),
                config={
                    "training": {"epochs": epochs},
                    "model": {"name": "mlp", "hidden_units": hidden, "activation": "relu"},
                },
                parameters=None if number == 2 else 266_610,
            )
        )
    return trials


COUNTS = SweepCounts(done=0, failed=0, pruned=0, best=None)


def result(value, *, epochs=10, test=0.5):
    return TrialResult(
        objective=value,
        metrics={"accuracy/test": test},
        epochs=epochs,
        history=(),
        seconds=12.3,
        run_id=None,
        folder="runs/1",
        parameters=266_610,
    )


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def make_progress(trials, objective="accuracy/val", *, slots=2, clock=None):
    return SweepProgress(
        [build_status(trial, objective) for trial in trials], objective, slots=slots, clock=clock or Clock()
    )


def terminal(width=80, height=24):
    return Console(
        file=io.StringIO(), force_terminal=True, width=width, height=height, highlight=False, color_system=None
    )


def pipe():
    return Console(file=io.StringIO(), width=80, highlight=False)


def printed(console):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())


def draw_lines(screen, width=80, height=24):
    """Returns the lines that the screen draws in a terminal of this size."""
    console = terminal(width, height)
    screen._console.size = (width, height)
    console.print(screen._draw())
    return printed(console).splitlines()


@pytest.fixture(autouse=True)
def _terminal_environment(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


# --------------------------------------------------------------------------------------------------------------
# Progress of a sweep


def test_a_ledger_of_another_version_does_not_hide_the_other_sweeps(capsys):
    for name in ("good", "old"):
        plan = make_plan(["sweep.objective=off", "seed=1,2", f"sweep.name={name}"])
        SweepFolder(Path("sweeps", name)).write_plan(plan, threads=1)
    Path("sweeps/old/ledger.jsonl").write_text('{"what": "opened", "time": "2026-01-01T00:00:00", "places": 2}\n')
    show_status("")
    output = capsys.readouterr()
    assert "good" in output.out
    assert "ledger.jsonl: line 1: expected an entry" in output.err
    with pytest.raises(ConfigError, match="with --fresh"):
        show_status("old")


def test_the_best_trial_has_the_lowest_loss_or_error_or_the_highest_accuracy():
    for objective, best in (("accuracy/val", 0.9), ("loss/val", 0.1), ("mae/val", 0.1)):
        progress = make_progress(make_trials(3), objective)
        for number, value in ((1, 0.5), (2, 0.9), (3, 0.1)):
            progress.start_trial(number, 1)
            progress.finish_trial(number, result(value))
        assert progress.best.value == best
        assert progress.ranked[0].value == best


def test_a_nan_objective_is_never_the_best():
    progress = make_progress(make_trials(2))
    progress.finish_trial(1, result(float("nan")))
    assert progress.best is None
    progress.finish_trial(2, result(0.1))
    assert progress.best.value == 0.1
    assert [status.trial.number for status in progress.ranked] == [2, 1]


def test_a_point_with_several_seeds_is_ranked_by_its_mean_once_all_seeds_are_done():
    progress = make_progress(make_trials(2, seeds=2))
    progress.finish_trial(1, result(0.99))
    assert progress.best is None
    progress.finish_trial(3, result(0.8))
    progress.finish_trial(4, result(0.9))
    assert (round(progress.best.value, 4), progress.best.label) == (0.85, "lr0.003 300x200x100")
    progress.finish_trial(2, result(0.81))
    assert (round(progress.best.value, 4), progress.best.source) == (0.9, "mean of 2 seeds")


def test_without_an_objective_there_is_no_best_trial():
    progress = make_progress(make_trials(2), None)
    progress.finish_trial(1, result(None, test=0.7))
    progress.finish_trial(2, result(None, test=0.6))
    assert progress.best is None
    assert [status.value for status in progress.ranked] == [0.6, 0.7]


def test_the_remaining_time_follows_from_the_remaining_epochs_and_the_slots():
    clock = Clock()
    progress = make_progress(make_trials(4), clock=clock)
    progress.start_trial(1, 1)
    progress.start_trial(2, 1)
    clock.now += 3
    progress.update_epoch(1, 1, 10, {})
    progress.update_epoch(2, 1, 10, {})
    assert progress.estimate_seconds_left() is None  # too early for an estimate
    clock.now += 1
    progress.update_epoch(1, 2, 10, {})
    progress.update_epoch(2, 2, 10, {})
    assert progress.estimate_seconds_left() == pytest.approx(36 * 2 / 2)  # 36 epochs of 2 s in 2 slots
    progress.fail_trial(2, "no", will_retry=False)
    assert progress.estimate_seconds_left() == pytest.approx(28 * 2 / 2)
    progress.mark_interrupted()
    assert progress.estimate_seconds_left() is None


def test_the_remaining_time_is_at_least_that_of_the_slowest_running_trial():
    clock = Clock()
    progress = make_progress(make_trials(2), clock=clock)
    progress.start_trial(1, 1)
    progress.start_trial(2, 1)
    clock.now += 10
    for epoch in range(1, 10):
        progress.update_epoch(1, epoch, 10, {})
    progress.update_epoch(2, 1, 10, {})
    assert progress.estimate_seconds_left() == pytest.approx(90)


def test_epochs_of_an_earlier_attempt_do_not_count_for_the_speed():
    clock = Clock()
    progress = make_progress(make_trials(1), slots=1, clock=clock)
    progress.start_trial(1, 1)
    clock.now += 4
    progress.update_epoch(1, 7, 10, {})
    progress.update_epoch(1, 8, 10, {})
    assert progress.estimate_seconds_left() == pytest.approx(2 * 4 / 2)


def test_a_short_table_shows_running_trials_first_then_the_best_and_the_failures():
    progress = make_progress(make_trials(1000), slots=3)
    for number in range(1, 101):
        progress.finish_trial(number, result(number / 1000))
    for number in range(101, 121):
        progress.fail_trial(number, "no", will_retry=False)
    for number in (200, 201, 202):
        progress.start_trial(number, 1)
    rows, hidden = progress.select_rows(12)
    assert [row.trial.number for row in rows] == [200, 201, 202, 100, 99, 98, 97, 96, 95, 118, 119, 120]
    assert hidden == {"waiting": 877, "done": 94, "failed": 17}
    rows, hidden = progress.select_rows(2)
    assert [row.trial.number for row in rows] == [200, 201]
    assert hidden["running"] == 1


def test_interrupted_trials_are_shown_and_can_restart():
    progress = make_progress(make_trials(100))
    progress.start_trial(7, 1)
    progress.mark_interrupted()
    rows, hidden = progress.select_rows(5)
    assert [(row.trial.number, row.state) for row in rows] == [(7, TrialState.STOPPED)]
    assert hidden == {"waiting": 99}
    progress.start_trial(7, 2)
    assert not progress.stopped


def test_settings_are_named_by_the_shortest_unique_end_of_their_path():
    paths = ["optimizer.learning_rate", "model.dropout", "augmentation.dropout", "model", "seed"]
    assert shorten_paths(paths) == ["learning_rate", "model.dropout", "augmentation.dropout", "model", "seed"]


# --------------------------------------------------------------------------------------------------------------
# The live table


@pytest.mark.parametrize("size", [(160, 50), (80, 24), (60, 20), (40, 12), (32, 9)])
@pytest.mark.parametrize("count", [3, 16, 3000])
def test_the_table_fits_the_terminal_and_shows_running_trials(size, count):
    width, height = size
    trials = make_trials(count)
    screen = SweepScreen(trials, "accuracy/val", slots=2, console=terminal(width, height))
    screen.on_trial_done(trials[0], result(0.9), COUNTS)
    screen.on_trial_begin(trials[1], 1)
    screen.on_trial_failed(trials[2], "it took longer than 5 s", COUNTS, will_retry=False)
    lines = draw_lines(screen, width, height)
    assert len(lines) < height
    assert max(map(len, lines)) <= width
    assert any(re.match(r" *2 +lr|  *2  +0.003", line) for line in lines)


def test_settings_have_separate_columns_in_a_wide_terminal_and_a_label_in_a_narrow_one():
    screen = SweepScreen(make_trials(4), "accuracy/val", slots=2, console=terminal())
    assert draw_lines(screen, 120)[1].split() == (
        ["trial", "learning_rate", "hidden_units", "state", "progress", "epoch", "accuracy/val", "time"]
    )
    narrow = draw_lines(screen, 80)
    assert narrow[1].split() == ["trial", "settings", "state", "progress", "epoch", "accuracy/val", "time"]
    assert "  1  lr0.01 512x256 " in narrow[2]


def test_columns_are_removed_one_by_one_as_the_terminal_gets_narrower():
    trials = make_trials(4)
    table = TrialTable(make_progress(trials))
    layouts = {width: table.fit(width) for width in range(120, 20, -1)}
    titles = [tuple(columns) for columns in layouts.values()]
    gap = 2
    for width in range(120, 40, -1):
        assert sum(size + gap for size in layouts[width].values()) - gap <= width
    assert [len(each) for each in titles] == sorted((len(each) for each in titles), reverse=True)
    assert titles[-1] == ("trial", "settings", "epoch", "accuracy/val")


def test_a_running_trial_shows_epoch_objective_and_time():
    clock, trials = Clock(), make_trials(2)
    screen = SweepScreen(trials, "accuracy/val", slots=2, console=terminal(), clock=clock)
    screen.on_trial_begin(trials[0], 2)
    screen.on_epoch_end(trials[0], 3, 10, {"accuracy/val": 0.87654, "loss/val": 1.0})
    clock.now += 125
    running, waiting = draw_lines(screen)[2:4]
    assert running.split()[3] == "try"
    assert "━" in running
    assert running.split()[-3:] == ["3/10", "0.8765", "2:05"]
    assert waiting.split() == ["2", "lr0.003", "300x200x100", "waiting"]


def test_counts_remaining_time_and_the_best_trial_are_below_the_table():
    clock, trials = Clock(), make_trials(4)
    screen = SweepScreen(trials, "accuracy/val", slots=1, console=terminal(), clock=clock)
    assert draw_lines(screen)[-1].endswith("0 of 4 done")
    for trial, value in zip(trials, (0.5, 0.75), strict=False):
        screen.on_trial_begin(trial, 1)
        for epoch in range(1, 11):
            clock.now += 7
            screen.on_epoch_end(trial, epoch, 10, {})
        screen.on_trial_done(trial, result(value), COUNTS)
    screen.on_trial_begin(trials[2], 1)
    lines = draw_lines(screen)
    assert lines[-2].endswith("2 of 4 done, about 2 min 20 s left")
    assert lines[-1] == "best accuracy/val 0.7500, lr0.003 300x200x100 (trial 2)"


def test_the_best_point_of_several_seeds_is_called_complete_and_always_has_a_name():
    """Of a sweep over seeds alone, the labels of the trials have only the seed."""
    trials = [dataclasses.replace(trial, label=f"seed{trial.seed}") for trial in make_trials(1, seeds=2)]
    screen = SweepScreen(trials, "accuracy/val", slots=1, console=pipe(), clock=Clock())
    for trial in trials:
        screen.on_trial_begin(trial, 1)
        screen.on_trial_done(trial, result(0.75), COUNTS)
    assert draw_lines(screen)[-1] == "best complete point accuracy/val 0.7500, point 1 (mean of 2 seeds)"
    assert "(2 of 2 done, best complete point 0.7500: point 1)" in printed(screen._console)


def test_trials_of_an_earlier_start_count_as_done():
    trials = make_trials(3)
    outcomes = TrialOutcomes(done={2: result(0.8)})
    screen = SweepScreen(trials, "accuracy/val", slots=1, outcomes=outcomes, console=pipe())
    with screen:
        pass
    lines = printed(screen._console).splitlines()
    assert lines[:2] == ["already done: 1 of 3 trials", "trials to run: 2, at the same time: 1"]
    assert "best accuracy/val 0.8000" in draw_lines(screen)[-1]


def test_drawing_ten_thousand_trials_reads_only_the_shown_ones(monkeypatch):
    trials = make_trials(10_000)
    screen = SweepScreen(trials, "accuracy/val", slots=4, console=terminal())
    for trial in trials[:4]:
        screen.on_trial_begin(trial, 1)
    read_statuses = []
    monkeypatch.setattr(SweepProgress, "compute_seconds_run", lambda self, status: read_statuses.append(status))
    monkeypatch.setattr(screen._progress, "_statuses", None)
    draw_lines(screen)
    assert len(read_statuses) == 4


# --------------------------------------------------------------------------------------------------------------
# Lines without a terminal


def test_without_a_terminal_trials_have_lines_but_epochs_have_none():
    trials, console = make_trials(3), pipe()
    with SweepScreen(trials, "accuracy/val", slots=2, console=console, clock=Clock()) as screen:
        screen.on_message("16 trials in sweeps/lr")
        screen.on_trial_begin(trials[0], 1)
        screen.on_epoch_end(trials[0], 1, 10, {"accuracy/val": 0.5})
        screen.on_trial_done(trials[0], result(0.9812, test=0.979), COUNTS)
        screen.on_trial_begin(trials[1], 1)
        screen.on_trial_failed(trials[1], "it took longer than 5 s", COUNTS, will_retry=True)
        screen.on_trial_begin(trials[1], 2)
        screen.on_trial_failed(trials[1], "[bold]no[/bold]", COUNTS, will_retry=False)
        screen.on_trial_begin(trials[2], 1)
        screen.on_trial_done(trials[2], result(0.5), COUNTS)
    assert console.file.getvalue().splitlines() == [
        "trials to run: 3, at the same time: 2",
        "16 trials in sweeps/lr",
        "trial 1  started lr0.01 512x256",
        "trial 1  done    accuracy/val 0.9812, accuracy/test 0.9790, 12.3 s  (1 of 3 done, best 0.9812: lr0.01 512x256)",
        "trial 2  started lr0.003 300x200x100",
        "trial 2  failed  it took longer than 5 s; it will be retried",
        "trial 2  started lr0.003 300x200x100, attempt 2",
        "trial 2  failed  [bold]no[/bold]",
        "trial 3  started lr0.001 64",
        "trial 3  done    accuracy/val 0.5000, accuracy/test 0.5000, 12.3 s  (2 of 3 done, 1 failed, best 0.9812: lr0.01 512x256)",
        "finished after 0.00 s: 2 of 3 done, 1 failed",
    ]


def test_without_a_terminal_the_remaining_time_is_printed_as_soon_as_it_is_known():
    clock, trials, console = Clock(), make_trials(4), pipe()
    with SweepScreen(trials, "accuracy/val", slots=0, console=console, clock=clock) as screen:
        for trial in trials[:2]:
            screen.on_trial_begin(trial, 1)
            for epoch in range(1, 11):
                clock.now += 7
                screen.on_epoch_end(trial, epoch, 10, {})
            if trial is trials[0]:
                screen.on_trial_done(trial, result(0.5), COUNTS)
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "trials to run: 4"  # it is not known how many at the same time
    assert lines[1] == "trial 1  started lr0.01 512x256"
    assert lines[3] == "trial 2  started lr0.003 300x200x100  (sweep: about 3 min 30 s left)"


def test_without_an_objective_the_test_accuracy_is_printed():
    trials, console = make_trials(1), pipe()
    with SweepScreen(trials, None, slots=2, console=console) as screen:
        screen.on_trial_begin(trials[0], 1)
        screen.on_trial_done(trials[0], result(None, test=0.97), COUNTS)
    assert "done    accuracy/test 0.9700, 12.3 s  (1 of 1 done)" in console.file.getvalue()


def test_a_log_file_with_forced_colours_is_not_a_terminal():
    trials, console = make_trials(1), terminal()
    with SweepScreen(trials, None, slots=1, console=console) as screen:
        screen.on_trial_begin(trials[0], 1)
    assert printed(console).splitlines()[1] == "trial 1  started lr0.01 512x256"


# --------------------------------------------------------------------------------------------------------------
# A real terminal

SWEEP = """
import sys, time
sys.path.insert(0, {tests!r})
from test_sweep_screen import COUNTS, make_trials, result
from trainyard.cli.sweep.live_display import SweepScreen

trials = make_trials(6)
try:
    with SweepScreen(trials, "accuracy/val", slots=1) as screen:
        for trial in trials:
            screen.on_trial_begin(trial, 1)
            screen.on_epoch_end(trial, 1, 10, {{"accuracy/val": 0.5}})
            time.sleep(30 if trial.number == {hangs} else 0.3)
            if trial.number == 2:
                screen.on_trial_failed(trial, "it took longer than 5 s", COUNTS, will_retry=False)
            else:
                screen.on_trial_done(trial, result(0.9 + trial.number / 1000), COUNTS)
except KeyboardInterrupt:
    print("interrupted")
"""


def _spawn(hangs):
    program = SWEEP.format(tests=str(Path(__file__).parent), hangs=hangs)
    return pexpect.spawn(sys.executable, ["-c", program], timeout=60, encoding="utf-8", dimensions=(24, 80))


def test_a_terminal_shows_a_live_table_until_the_sweep_has_finished():
    child = _spawn(hangs=0)
    child.expect("settings")
    child.expect("━")
    child.expect("trial 2  .*failed.*lr0.003 300x200x100: it took longer than 5 s")
    child.expect("best .*0.9060.*trial 6")
    child.expect("finished after .*: 5 of 6 done, 1 failed")
    rest = child.before + child.after + child.read()
    assert "\x1b[?25h" in rest  # the cursor is visible again
    assert child.wait() == 0


def test_ctrl_c_keeps_the_table_and_restores_the_terminal():
    child = _spawn(hangs=3)
    child.expect("1 of 6 done, 1 failed")
    child.sendintr()
    rest = child.read()  # reads to the end, because the size of the chunks is undefined
    table, show_cursor, after = rest.partition("\x1b[?25h")
    assert re.search("3 .*stopped", table)
    assert show_cursor
    assert re.search("stopped after .*: 1 of 6 done, 1 failed, 1 stopped", after)
    assert after.endswith("interrupted\r\n")


# --------------------------------------------------------------------------------------------------------------
# Plan, status and summary


def test_a_plan_has_a_row_per_trial_and_their_number():
    console = pipe()
    print_plan(make_trials(2, seeds=2), 3, "lr", 2, 1, console=console)
    assert console.file.getvalue().splitlines() == [
        "trial  learning_rate  hidden_units     seed  network           parameters",
        "    1           0.01  [512, 256]          0  512x256 relu         266,610",
        "    2           0.01  [512, 256]          1  512x256 relu",
        "    3          0.003  [300, 200, 100]     0  300x200x100 relu     266,610",
        "    4          0.003  [300, 200, 100]     1  300x200x100 relu     266,610",
        "",
        "sweep lr: 4 trials (2 points with 2 seeds each); 3 duplicates skipped",
        "2 in parallel, with 1 thread each",
    ]


def test_a_terminal_shows_the_first_and_last_trials_of_a_long_plan_and_a_pipe_all():
    trials = make_trials(10_000)
    console = terminal()
    print_plan(trials, 0, "long", 1, 2, console=console)
    lines = printed(console).splitlines()
    assert [line.split()[0] for line in lines[50:57]] == ["50", "...", "9996", "9997", "9998", "9999", "10000"]
    assert lines[57] == "not shown: 9,945 trials"
    assert lines[-2:] == ["sweep long: 10,000 trials", "one at a time, with 2 threads each"]
    console = pipe()
    print_plan(trials, 0, "long", 1, 2, console=console)
    assert len(console.file.getvalue().splitlines()) == 10_004


def test_the_plan_of_a_cluster_has_no_number_of_parallel_trials():
    console = pipe()
    print_plan(make_trials(2), 0, "far", None, None, console=console)
    assert console.file.getvalue().splitlines()[-1] == "as many in parallel as the launcher or its cluster allows"


@pytest.mark.parametrize("width", [80, 60, 40])
def test_a_plan_fits_a_narrow_terminal(width):
    console = terminal(width)
    print_plan(make_trials(3, seeds=2), 0, "lr", 2, 1, console=console)
    assert max(map(len, printed(console).splitlines())) <= width
    assert "parameters" in printed(console)


def make_sweep_status(statuses, objective="accuracy/val", **changes):
    fields = {
        "name": "quickstart-3f2a9c",
        "state": "running (4711)",
        "changed": datetime(2026, 11, 23, 16, 4),  # noqa: DTZ001 - printed without conversion
        "progress": SweepProgress(statuses, objective, slots=2),
    }
    return SweepStatus(**{**fields, **changes})


def test_the_status_has_a_row_per_sweep():
    rows = [
        make_sweep_status(make_trial_statuses()),
        make_sweep_status([build_status(trial, None) for trial in make_trials(12)], None, name="lr", state="done"),
    ]
    console = pipe()
    print_sweep_list(rows, console=console)
    assert console.file.getvalue().splitlines() == [
        "sweep              state           done  failed  remaining  last change       best",
        "quickstart-3f2a9c  running (4711)     1       1          1  2026-11-23 16:04  0.9000 lr0.01 512x256 (accuracy/val)",
        "lr                 done               0       0         12  2026-11-23 16:04",
    ]
    console = terminal()
    print_sweep_list(rows, console=console)
    assert "running (4711)     1       1          1  0.9000 lr0.01" in printed(console)


def make_trial_statuses():
    trials = make_trials(3)
    statuses = [
        build_status(trial, "accuracy/val", done, log=f"sweeps/lr/logs/{trial.number}.log")
        for trial, done in zip(trials, (result(0.9), None, None), strict=True)
    ]
    statuses[1].state, statuses[1].reason = TrialState.FAILED, "it took longer than 5 s"
    return statuses


def test_the_status_of_one_sweep_shows_its_trials_and_their_failures():
    for console, failure in (
        (pipe(), "    2 .* failed .* it took longer than 5 s"),
        (
            terminal(120),
            r"failed    trial 2, lr0.003 300x200x100: it took longer than 5 s \(log: sweeps/lr/logs/2.log\)",
        ),
    ):
        print_sweep_status(make_sweep_status(make_trial_statuses()), console=console)
        assert re.search("1 .*done .*10/10 .*0.9000 .*12.3 s", printed(console))
        assert re.search(failure, printed(console))
    assert "1 of 3 done, 1 failed" in printed(console)


@pytest.mark.parametrize(
    ("width", "titles"),
    [
        (120, ["point", "accuracy/val", "seeds", "95", "%", "accuracy/test", "loss/test", "parameters", "time"]),
        (80, ["point", "accuracy/val", "seeds", "accuracy/test", "time"]),
        (60, ["point", "accuracy/val", "seeds", "time"]),
        (40, ["point", "accuracy/val"]),
        (20, []),
    ],
)
def test_a_ranking_leaves_out_columns_that_do_not_fit_and_cuts_nothing(width, titles):
    runs = [
        RankedRun(
            number=number, point=number % 2, label=f"lr0.{number % 2} 512x256", varied={}, seed=number // 2,
            value=0.9 + number / 1000, metrics={"accuracy/test": 0.9, "loss/test": 0.1}, seconds=12.3, run_id=None,
            parameters=266_610,
        )
        for number in range(6)
    ]  # fmt: skip
    console = terminal(width)
    print_ranking(build_ranking_columns(rank(runs, "accuracy/val")), "accuracy/val", console=console)
    lines = printed(console).splitlines()
    assert (lines[0].split() == titles) == bool(titles)
    assert max(map(len, map(str.rstrip, lines))) <= width
    assert "…" not in "".join(lines)
    for value in ("lr0.1 512x256", "0.9030 ± 0.0020", "lr0.0 512x256", "0.9020 ± 0.0020"):
        assert sum(value in line for line in lines) == 1


def test_the_summary_shows_ranking_winner_commands_files_and_failures():
    command = "trainyard train --config-dir sweeps/lr/conf experiment=winner_of_a_sweep_with_a_long_name seed=1"
    runs = [
        RankedRun(
            number=trial.number,
            point=trial.point,
            label=trial.label,
            varied=trial.varied,
            seed=0,
            value=0.9812,
            metrics={},
            seconds=12.3,
            run_id=None,
            parameters=266_610,
        )
        for trial in make_trials(30)
    ]
    sweep = SweepResult(
        folder=Path("sweeps/lr"),
        objective="accuracy/val",
        trials=tuple(make_trials(25)),
        outcomes=TrialOutcomes(failed=dict.fromkeys(range(1, 26), "it took longer than 5 s")),
        ranking=rank(runs, "accuracy/val"),
        winner=Winner("lr0.003 512x256", None, Path("sweeps/lr/winner.yaml"), command),
        files=[],
    )
    for console, ranked, failed in ((pipe(), 30, 25), (terminal(), 20, 21)):
        print_summary("lr", sweep, console=console)
        output = printed(console)
        lines = output.splitlines()
        assert "recipe    sweeps/lr/winner.yaml" in lines
        assert len(re.findall(r"0\.9812 .*12\.3 s", output)) == ranked
        assert len([line for line in lines if line.startswith("failed ")]) == failed
    assert "and 10 more" in output
    assert "failed    5 more; to list all: trainyard sweep --status lr | grep failed" in output
