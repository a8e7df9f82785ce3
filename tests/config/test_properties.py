"""Every config is either rejected with a ConfigError that contains path and reason, or can be run to its end."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import re
import tempfile
import typing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainyard import ConfigError, TrainingError, compose_config, run_experiment
from trainyard.config.fields import get_rule, is_optional, list_accepted_types
from trainyard.config.registry import find_component, get_registered_components
from trainyard.config.serialization import dump_config, load_config
from trainyard.config.validation import validate_config

GROUPS = ("model", "optimizer", "schedule", "loss", "augmentation")
JUNK = st.sampled_from(
    [None, True, -1, 0, 1.5, -0.1, 2**40, math.nan, math.inf, "", "nope", "${nope}", "a/b", [], [0], [-5, 3], [True],
     ["nope"], {}, {"_target_": "os.system"}, 10**400, "é\n"]
)  # fmt: skip
SKIPPED_FIELDS = {"experiment", "tracking", "debug", "path", "resume", "start_from", "limit", "uri"}
"""Fields that would make a run too long, or refer to stores and other runs."""


def _fields(section, path=""):
    """Yields (section, field, type, dotted path) of every value in a config."""
    hints = typing.get_type_hints(type(section))
    for spec in dataclasses.fields(section):
        value, dotted = getattr(section, spec.name), f"{path}{spec.name}"
        if spec.name in SKIPPED_FIELDS:
            continue
        if dataclasses.is_dataclass(value):
            yield from _fields(value, f"{dotted}.")
        else:
            yield section, spec, hints[spec.name], dotted


def _likely_values(annotation, rule):
    """Returns values of the type of a field around its bounds: most are valid, some are slightly out of range."""
    low, high = (0 if rule.ge is None and rule.gt is None else rule.ge or rule.gt or 0), rule.le or rule.lt
    numbers = st.integers(int(low) - 1, min(int(high) if high else 40, 40) + 1)
    of_type = {
        int: numbers,
        float: st.floats(float(low) - 0.1, min(float(high) if high else 2.0, 2.0) + 0.1, allow_nan=False),
        bool: st.booleans(),
        str: st.sampled_from(rule.choices or ("name", "a b", "x" * 300)),
    }
    strategies = [st.none()] if is_optional(annotation) else []
    for option in list_accepted_types(annotation, rule):
        if option in of_type:
            strategies.append(of_type[option])
        elif typing.get_origin(option) is list and typing.get_args(option)[0] in of_type:
            strategies.append(st.lists(of_type[typing.get_args(option)[0]], max_size=3))
    return st.one_of(*strategies) if strategies else JUNK


@functools.cache
def _compose_small_config():
    return compose_config(
        ["dataset.limit=60", "training.epochs=1", "training.xla=off", "debug=one_batch", "tracking=off", "name=tiny"]
    )


REQUIRED_FIELDS = {"affine": {"shift": 0.1}}


@st.composite
def changed_configs(draw):
    """Draws a config with random components and up to three random values. Returns it with the changed values."""
    config = copy.deepcopy(_compose_small_config())
    for group in GROUPS:
        name = draw(st.sampled_from(sorted(get_registered_components(group))))
        setattr(config, group, find_component(group, name)(**REQUIRED_FIELDS.get(name, {})))
    changes = {}
    for section, spec, annotation, path in draw(st.lists(st.sampled_from(list(_fields(config))), max_size=3)):
        value = draw(
            st.one_of(_likely_values(annotation, get_rule(spec)), _likely_values(annotation, get_rule(spec)), JUNK)
        )
        setattr(section, spec.name, value)
        changes[path] = value
    return config, changes


HYPOTHESIS_SETTINGS = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    "database": None,
    "print_blob": True,
}


def _problems(config):
    try:
        validate_config(config)
    except ConfigError as error:
        return error.problems
    return ()


@pytest.mark.slow
@given(changed_configs())
@settings(max_examples=40, **HYPOTHESIS_SETTINGS)
def test_config_is_valid_or_its_problems_are_reported(case):
    config, changes = case
    problems = _problems(config)
    assert changes or not problems, problems  # every combination of components is valid
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
@settings(max_examples=10, **HYPOTHESIS_SETTINGS)
def test_config_is_rejected_before_any_work_or_can_be_run(keras, case):
    config, _ = case
    files_before = set(Path.cwd().rglob("*"))
    try:
        result = run_experiment(config)
    except ConfigError:
        assert set(Path.cwd().rglob("*")) == files_before
    except TrainingError as error:
        # problems that are found only with the built model, during training, or in the process
        expected = r"training diverged in epoch 1|model\.|out of memory|training\.threads: expected|optimizer\."
        assert re.match(expected, str(error))  # noqa: PT017
    else:
        assert 0 <= result.evaluation.accuracy <= 1
        assert (result.folder / "model.h5").exists()
