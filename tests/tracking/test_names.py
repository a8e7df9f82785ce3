from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

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
    "warnings.txt",
}  # fmt: skip
"""Names that the run and the sweep of this module do not log."""


class Entry(NamedTuple):
    """A name in the page, or a pattern with parts in angle brackets, and what logs it."""

    name: str
    loggers: set[str]

    def matches(self, name):
        """Returns whether a logged name is that of this entry."""
        parts = re.split(r"<[^>]+>", self.name)
        return re.fullmatch(".+".join(map(re.escape, parts)), name) is not None


def _load_page():
    """Returns the entries of each table of the page, by the title of its section."""
    tables = {}
    for section in PAGE.read_text().split("\n## ")[1:]:
        rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
        tables[section.splitlines()[0]] = [Entry(cells[0].strip("`"), set(cells[-1].split(", "))) for cells in rows]
    return tables


TABLES = _load_page()
TAGS = {entry.name for entry in TABLES["Tags"]}


def _logged(run, client):
    def files(path=None):
        for file in client.list_artifacts(run.info.run_id, path):
            yield from files(file.path) if file.is_dir else [file.path]

    return {
        "tags": set(run.data.tags), "params": set(run.data.params), "metrics": set(run.data.metrics),
        "artifacts": set(files()),
    }  # fmt: skip


def _check(logged, *, logger, fields=()):
    for kind, names_of_kind in logged.items():
        table = [entry for entry in TABLES[kind.capitalize()] if logger in entry.loggers]
        table = [entry for entry in table if entry.name not in CATCH_ALL]
        unknown = {name for name in names_of_kind - set(fields) if not any(entry.matches(name) for entry in table)}
        assert not unknown, f"{kind} that the page does not list"
        missing = {
            entry.name
            for entry in table
            if entry.name not in CONDITIONAL and not any(map(entry.matches, names_of_kind))
        }
        assert not missing, f"{kind} that the page lists and nothing logs"


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
    _check({**run, "tags": run["tags"] | of_sweep}, logger="run", fields=fields)
    for trial in roles["trial"]:
        _check(trial, logger="run", fields=fields)
    _check(parent, logger="sweep")
    for tag in experiment.tags:
        assert any(entry.matches(tag) for entry in TABLES["Tags of an experiment"]), tag


def test_the_page_lists_every_name_that_is_a_constant():
    listed = {entry.name for entries in TABLES.values() for entry in entries}
    for constant, name in vars(names).items():
        if constant.isupper():
            assert any(entry == name or entry.startswith((f"{name.rstrip('/')}/", f"{name}.")) for entry in listed), (
                name
            )


def test_users_cannot_set_a_tag_that_is_logged():
    reserved = {name for name in TAGS if name in RESERVED_TAGS or name.startswith(("mlflow.", "trainyard.", "git."))}
    assert TAGS - reserved <= {names.PRUNED, names.RERUN_OF, names.RESTORED_EPOCH}
    assert set(RESERVED_TAGS) <= TAGS


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
    assert Entry(pattern, set()).matches(name) is matches


def test_names_with_a_prefix_are_spelled_in_one_module():
    source = Path(names.__file__).parents[1]
    tags = [name for name in TAGS if name.startswith(("mlflow.", "trainyard.", "git."))]
    for path in source.rglob("*.py"):
        if path != Path(names.__file__):
            text = path.read_text()
            assert not [tag for tag in tags if f'"{tag}"' in text or f"'{tag}'" in text], path
