from __future__ import annotations

import re
from pathlib import Path

import pytest
from processes import run_trainyard

from trainyard.config.schema import RESERVED_TAGS
from trainyard.config.serialization import flatten_config
from trainyard.runs.experiment import run_experiment
from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking import names
from trainyard.tracking.connection import connect

PAGE = Path(__file__).parents[2] / "docs" / "logged.md"

CATCH_ALL = ("<field>", "<metric>/test")
CONDITIONAL = {
    "accuracy_top<k>/test", "environment/git.diff", "error", "error.txt", "git.dirty", "mlflow.source.git.branch",
    "mlflow.source.git.commit", "profile/<file>", "pruned", "rerun_of", "restored_epoch", "resumed_from",
    "started_from", "sweep.sampler", "sweep.sampler_seed", "trials/pruned", "drawn_seed", "best.keras", "best_epoch",
}  # fmt: skip
"""Names that the run and the sweep of this module do not log."""


def _table(entries, *, sweep):
    return [entry for entry in entries if (entry.sweep if sweep else entry.run)]


def _logged(run, client):
    def files(path=None):
        for file in client.list_artifacts(run.info.run_id, path):
            yield from files(file.path) if file.is_dir else [file.path]

    return {
        "tags": set(run.data.tags), "params": set(run.data.params), "metrics": set(run.data.metrics),
        "artifacts": set(files()),
    }  # fmt: skip


def _check(logged, *, sweep, fields=()):
    tables = {"tags": names.TAGS, "params": names.PARAMS, "metrics": names.METRICS, "artifacts": names.ARTIFACTS}
    for kind, entries in tables.items():
        table = [entry for entry in _table(entries, sweep=sweep) if entry.name not in CATCH_ALL]
        unknown = {name for name in logged[kind] - set(fields) if not any(_matches(entry, name) for entry in table)}
        assert not unknown, f"{kind} that names.py does not list"
        missing = {
            entry.name
            for entry in table
            if entry.name not in CONDITIONAL and not any(_matches(entry, name) for name in logged[kind])
        }
        assert not missing, f"{kind} that names.py lists and nothing logs"


@pytest.mark.slow
def test_the_tables_list_exactly_what_a_run_a_sweep_and_a_trial_log(tiny):
    overrides = ["dataset.validation_fraction=0.2", "training.epochs=1", "training.xla=off"]
    config = tiny(*overrides)
    run_experiment(config)
    command = [
        "sweep", "dataset.limit=300", "name=tiny", "model.hidden_units=[8],[16]", "sweep.name=widths", *overrides,
    ]  # fmt: skip
    done = run_trainyard(*command)
    assert done.returncode == 0, done.stderr
    client = connect(build_sqlite_uri(Path("mlflow.db")))
    experiment = client.get_experiment_by_name("tiny")
    roles = {"run": [], "trial": [], "sweep": []}
    for run in client.search_runs([experiment.experiment_id]):
        roles[run.data.tags[names.ROLE]].append(_logged(run, client))
    assert [len(runs) for runs in roles.values()] == [1, 2, 1]
    fields = flatten_config(config)
    (run,), (parent,) = roles["run"], roles["sweep"]
    of_sweep = {names.SWEEP_ID, names.TRIAL_NUMBER, names.PARENT_RUN_ID}
    _check({**run, "tags": run["tags"] | of_sweep}, sweep=False, fields=fields)
    for trial in roles["trial"]:
        _check(trial, sweep=False, fields=fields)
    _check(parent, sweep=True)
    for tag in experiment.tags:
        assert any(_matches(entry, tag) for entry in names.EXPERIMENT_TAGS), tag


@pytest.mark.parametrize(
    ("heading", "entries", "has_unit"),
    [
        ("tag", names.TAGS, False),
        ("param", names.PARAMS, True),
        ("metric", names.METRICS, True),
        ("artifact", names.ARTIFACTS, False),
        ("tag", names.EXPERIMENT_TAGS, False),
    ],
)
def test_the_tables_of_the_page_are_current(heading, entries, has_unit):
    """To update ``docs/logged.md``, copy the expected table from the message of this test."""
    columns = [heading, "meaning", *(["unit"] if has_unit else []), "when logged", "logged by"]
    rows = [
        [f"`{entry.name}`", entry.meaning, *([entry.unit] if has_unit else []), entry.logged, _owner(entry)]
        for entry in entries
    ]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in [columns, ["---"] * len(columns), *rows])
    assert f"\n\n{table}\n" in PAGE.read_text(), table


def _owner(entry):
    return "run, sweep" if entry.run and entry.sweep else "sweep" if entry.sweep else "run"


def test_users_cannot_set_a_tag_that_is_logged():
    logged = {entry.name for entry in names.TAGS}
    reserved = {name for name in logged if name in RESERVED_TAGS or name.startswith(("mlflow.", "trainyard.", "git."))}
    assert logged - reserved <= {names.PRUNED, names.RERUN_OF, names.RESTORED_EPOCH}
    assert set(RESERVED_TAGS) <= logged


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("f1_by_class/<class>", "f1_by_class/7", True),
        ("f1_by_class/<class>", "f1_by_class/", False),
        ("accuracy_top<k>/test", "accuracy_top5/test", True),
        ("loss/test", "loss/tests", False),
    ],
)
def test_a_pattern_matches_names_with_its_variable_part(pattern, name, matches):
    assert _matches(names.LoggedName(pattern, "", ""), name) is matches


def _matches(entry, name):
    """Returns whether a logged name is that of an entry, which may have parts in angle brackets."""
    parts = re.split(r"<[^>]+>", entry.name)
    return re.fullmatch(".+".join(map(re.escape, parts)), name) is not None


def test_names_with_a_prefix_are_spelled_in_one_module():
    source = Path(names.__file__).parents[1]
    tags = [entry.name for entry in names.TAGS if entry.name.startswith(("mlflow.", "trainyard.", "git."))]
    for path in source.rglob("*.py"):
        if path != Path(names.__file__):
            text = path.read_text()
            assert not [tag for tag in tags if f'"{tag}"' in text or f"'{tag}'" in text], path
