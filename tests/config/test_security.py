from __future__ import annotations

from pathlib import Path

import pytest

from trainyard.config.compose import compose_config, compose_trees
from trainyard.config.security import forbid_code_execution
from trainyard.errors import ConfigError


def _find_problems(overrides, typed=()):
    with pytest.raises(ConfigError) as caught:
        forbid_code_execution(compose_trees(overrides)[1], typed)
    return caught.value.problems


def test_resolvers_are_rejected_and_not_resolved(monkeypatch):
    monkeypatch.setenv("HOME", "canary-home")
    fields = {
        "notes": "${oc.env:HOME}",
        "sweep.name": "a ${oc.env:HOME}",
        "tracking.experiment": "${oc.decode:x}",
        "+tracking.tags.nested": "${oc.${name}:HOME}",
        "+tracking.tags.unique": "${trainyard.unique:}",
    }
    with pytest.raises(ConfigError) as caught:
        compose_config([f"{path}='{text}'" for path, text in fields.items()])
    assert len(caught.value.problems) == len(fields)
    for path in fields:
        assert any(
            problem.startswith(f"{path.lstrip('+')}: resolvers are refused") for problem in caught.value.problems
        )
    assert "canary-home" not in str(caught.value)


def test_settings_that_execute_code_or_access_the_environment_are_rejected():
    settings = {
        "+hydra.callbacks.x._target_=os.getcwd": "hydra.callbacks: refused",
        "+hydra.job.env_set.A=b": "hydra.job.env_set: refused",
        "hydra.launcher._target_=os.getcwd": "hydra.launcher._target_: refused",
        "hydra.sweeper._target_=os.getcwd": "hydra.sweeper._target_: refused",
        "+hydra.launcher.preload=[antigravity]": (
            "hydra.launcher.preload: refused, because a config must not execute code"
        ),
        "+hydra.job_logging.handlers.x.class=os.PathLike": "hydra.job_logging.handlers.x.class: expected one of",
        "hydra.run.dir=${oc.env:HOME}": "hydra.run.dir: refused, only the resolvers now, hydra",
        'hydra.sweep.dir="x/${oc.${name}:HOME}"': "hydra.sweep.dir: refused, only the resolvers now, hydra",
    }
    problems = _find_problems([*settings])
    for override, message in settings.items():
        assert any(problem.startswith(message) for problem in problems), override


def test_a_launcher_whose_name_only_begins_like_a_plugin_is_rejected():
    problems = _find_problems(["hydra.launcher._target_=hydra_plugins.mine.os.getcwd"])
    assert any(problem.startswith("hydra.launcher._target_: refused") for problem in problems)


def _write_recipe(text):
    Path("conf/experiment").mkdir(parents=True, exist_ok=True)
    Path("conf/experiment/mine.yaml").write_text(f"# @package _global_\n{text}\n")


def test_callbacks_and_logging_factories_in_a_recipe_are_rejected():
    callbacks, logging = "callbacks: {x: {_target_: os.getcwd}}", "job_logging: {formatters: {x: {'()': os.getcwd}}}"
    _write_recipe(f"hydra: {{{callbacks}, {logging}}}")
    problems = _find_problems(["experiment=mine"])
    assert any(problem.startswith("hydra.callbacks: refused") for problem in problems)
    assert any("formatters.x.(): expected one of" in problem for problem in problems)


@pytest.mark.parametrize(
    ("launcher", "settings"),
    [
        ("ray", {"address": "evil:6379", "resources": "{big: 1}"}),
        ("submitit_slurm", {"setup": "[touch owned]", "additional_parameters": "{wrap: touch owned}"}),
        ("submitit_local", {"submitit_folder": "elsewhere"}),
    ],
)
def test_launcher_settings_in_a_recipe_are_rejected_for_clusters(launcher, settings):
    _write_recipe(f"hydra: {{launcher: {{{', '.join(f'{name}: {value}' for name, value in settings.items())}}}}}")
    overrides = ["experiment=mine", f"hydra/launcher={launcher}"]
    problems = _find_problems(overrides, typed=overrides)
    for name in settings:
        (problem,) = [
            problem for problem in problems if problem.startswith(f"hydra.launcher.{name}: refused in a recipe")
        ]
        assert "Set it on the command line" in problem


@pytest.mark.parametrize(
    "overrides",
    [
        ["hydra/launcher=ray", "hydra.launcher.address=head:6379", "+hydra.launcher.resources={big: 1}"],
        ["hydra/launcher=ray", "++hydra.launcher.resources.big=1"],
        ["hydra/launcher=submitit_slurm", "hydra.launcher.setup=[module load python]"],
    ],
)
def test_launcher_settings_on_the_command_line_are_accepted(overrides):
    hydra_section = compose_trees(overrides)[1]
    forbid_code_execution(hydra_section, overrides)
    with pytest.raises(ConfigError, match="refused in a recipe"):
        forbid_code_execution(hydra_section)


def test_default_hydra_settings_are_accepted():
    forbid_code_execution(compose_trees([])[1])
    forbid_code_execution(compose_trees(["hydra/launcher=fork"])[1])


def test_targets_in_a_config_are_rejected():
    with pytest.raises(ConfigError) as caught:
        compose_config(["+model._target_=os.system", "++_target_=os.system", "+tracking._target_=x"])
    assert len(caught.value.problems) == 3
    assert all("unknown key '_target_'" in problem for problem in caught.value.problems)
