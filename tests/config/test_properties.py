"""Any config is answered: by a ConfigError that says where and what, or by a run that comes to its end."""

from __future__ import annotations

import dataclasses
import math
import re
import tempfile
import typing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from trainyard import ConfigError, TrainingError, compose_config, run_experiment
from trainyard.config.compose import dump_config, load_config
from trainyard.config.fields import rule_of
from trainyard.config.registry import components
from trainyard.config.validation import alternatives, is_optional, validate

GROUPS = ("model", "optimizer", "schedule", "loss", "augmentation")
JUNK = st.sampled_from(
    [None, True, -1, 0, 1.5, -0.1, 2**40, math.nan, math.inf, "", "nope", "${nope}", "a/b", [], [0], [-5, 3], [True],
     ["nope"], {}, {"_target_": "os.system"}, 10**400, "é\n"]
)  # fmt: skip
LEFT_ALONE = {"experiment", "tracking", "debug", "path", "resume", "start_from", "limit", "uri"}
"""What would not end within a test, or is about stores and other runs."""


def _fields(section, path=""):
    """Yields (section, field, type, dotted path) of every value in a config."""
    hints = typing.get_type_hints(type(section))
    for spec in dataclasses.fields(section):
        value, dotted = getattr(section, spec.name), f"{path}{spec.name}"
        if spec.name in LEFT_ALONE:
            continue
        if dataclasses.is_dataclass(value):
            yield from _fields(value, f"{dotted}.")
        else:
            yield section, spec, hints[spec.name], dotted


def _likely(kind, rule):
    """Returns values of a field's type, about its bounds, so that many are right and some just wrong."""
    low, high = (0 if rule.ge is None and rule.gt is None else rule.ge or rule.gt or 0), rule.le or rule.lt
    numbers = st.integers(int(low) - 1, min(int(high) if high else 40, 40) + 1)
    of_type = {
        int: numbers,
        float: st.floats(float(low) - 0.1, min(float(high) if high else 2.0, 2.0) + 0.1, allow_nan=False),
        bool: st.booleans(),
        str: st.sampled_from(rule.choices or ("name", "a b", "x" * 300)),
    }
    found = [st.none()] if is_optional(kind) else []
    for option in alternatives(kind, rule):
        if option in of_type:
            found.append(of_type[option])
        elif typing.get_origin(option) is list and typing.get_args(option)[0] in of_type:
            found.append(st.lists(of_type[typing.get_args(option)[0]], max_size=3))
    return st.one_of(*found) if found else JUNK


@st.composite
def changed_configs(draw):
    """A config of any components, with up to three of its values changed; and which."""
    chosen = [f"{group}={draw(st.sampled_from(sorted(components(group))))}" for group in GROUPS]
    small = [
        "dataset.limit=60",
        "training.epochs=1",
        "training.xla=off",
        "debug=one_batch",
        "tracking=off",
        "name=tiny",
    ]
    try:
        config = compose_config([*chosen, *small])
    except ConfigError:  # some want a field set, as an augmentation does
        reject()
    changes = {}
    for section, spec, kind, path in draw(st.lists(st.sampled_from(list(_fields(config))), max_size=3)):
        value = draw(st.one_of(_likely(kind, rule_of(spec)), _likely(kind, rule_of(spec)), JUNK))
        setattr(section, spec.name, value)
        changes[path] = value
    return config, changes


UNHURRIED = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    "database": None,
    "print_blob": True,
}


def _problems(config):
    try:
        validate(config)
    except ConfigError as error:
        return error.problems
    return ()


@pytest.mark.slow
@given(changed_configs())
@settings(max_examples=40, **UNHURRIED)
def test_a_config_is_sound_or_told_what_is_wrong_with_it(case):
    config, changes = case
    problems = _problems(config)
    assert changes or not problems, problems  # every combination of components is sound as it comes
    for problem in problems:
        path, _, message = problem.partition(": ")
        assert re.fullmatch(r"[\w.]+(\[\d+\])?", path), problem
        assert message, problem
    if problems:
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "config.yaml")
        file.write_text(dump_config(config))
        assert load_config(file) == config


@pytest.mark.slow
@given(changed_configs())
@settings(max_examples=20, **UNHURRIED)
def test_a_config_is_refused_before_anything_is_done_or_it_runs(keras, case):
    config, _ = case
    before = set(Path.cwd().rglob("*"))
    try:
        result = run_experiment(config)
    except ConfigError:
        assert set(Path.cwd().rglob("*")) == before
    except TrainingError as error:
        # what can be known only with the model built, or once it trains, or of the process that it would train in
        told = r"training broke down in epoch 1|model\.|the memory was used up|training\.threads: expected"
        assert re.match(told, str(error))  # noqa: PT017
    else:
        assert 0 <= result.evaluation.accuracy <= 1
        assert (result.folder / "model.h5").exists()
