from __future__ import annotations

from pathlib import Path

import pytest

from trainyard.config.compose import compose_config, compose_trees
from trainyard.config.security import forbid_code_execution
from trainyard.errors import ConfigError


@pytest.mark.parametrize(
    "text",
    ["${oc.env:HOME}", "a ${oc.env:HOME}", "${oc.decode:x}", "${oc.${name}:HOME}", "${trainyard.unique:}"],
)
def test_resolvers_are_rejected_and_not_resolved(text, monkeypatch):
    monkeypatch.setenv("HOME", "canary-home")
    with pytest.raises(ConfigError, match="notes: resolvers are refused") as caught:
        compose_config([f"notes='{text}'"])
    assert "canary-home" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+hydra.callbacks.x._target_=os.getcwd", "hydra.callbacks: refused"),
        ("+hydra.job.env_set.A=b", "hydra.job.env_set: refused"),
        ("hydra.launcher._target_=os.getcwd", "hydra.launcher._target_: refused"),
        ("hydra.sweeper._target_=os.getcwd", "hydra.sweeper._target_: refused"),
        ("hydra.launcher._target_=hydra_plugins.mine.os.getcwd", "hydra.launcher._target_: refused"),
        (
            "+hydra.launcher.preload=[antigravity]",
            "hydra.launcher.preload: refused, because a config must not execute code",
        ),
        ("+hydra.job_logging.handlers.x.class=os.PathLike", "handlers.x.class: expected one of"),
        ("hydra.run.dir=${oc.env:HOME}", "hydra.run.dir: refused, only the resolvers now, hydra"),
        ('hydra.run.dir="x/${oc.${name}:HOME}"', "hydra.run.dir: refused, only the resolvers now, hydra"),
    ],
)
def test_settings_that_execute_code_or_access_the_environment_are_rejected(override, message):
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        forbid_code_execution(compose_trees([override])[1])


def test_callbacks_in_a_recipe_are_rejected():
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/mine.yaml").write_text(
        "# @package _global_\nhydra: {callbacks: {x: {_target_: os.getcwd}}}\n"
    )
    with pytest.raises(ConfigError, match="hydra.callbacks: refused"):
        forbid_code_execution(compose_trees(["experiment=mine"])[1])


def test_factory_in_a_logging_section_is_rejected():
    Path("conf/experiment").mkdir(parents=True)
    factory = "hydra: {job_logging: {formatters: {x: {'()': os.getcwd}}}}"
    Path("conf/experiment/mine.yaml").write_text(f"# @package _global_\n{factory}\n")
    with pytest.raises(ConfigError, match=r"formatters\.x\.\(\): expected one of"):
        forbid_code_execution(compose_trees(["experiment=mine"])[1])


@pytest.mark.parametrize(
    ("launcher", "setting"),
    [
        ("ray", "address: evil:6379"),
        ("ray", "resources: {big: 1}"),
        ("submitit_slurm", "setup: [touch owned]"),
        ("submitit_slurm", "additional_parameters: {wrap: touch owned}"),
        ("submitit_local", "submitit_folder: elsewhere"),
    ],
)
def test_launcher_settings_in_a_recipe_are_rejected_for_clusters(launcher, setting):
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/mine.yaml").write_text(f"# @package _global_\nhydra: {{launcher: {{{setting}}}}}\n")
    overrides = ["experiment=mine", f"hydra/launcher={launcher}"]
    name = setting.partition(":")[0]
    with pytest.raises(ConfigError, match=rf"hydra\.launcher\.{name}: refused in a recipe.*Set it on the command line"):
        forbid_code_execution(compose_trees(overrides)[1], overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        ["hydra/launcher=ray", "hydra.launcher.address=head:6379", "+hydra.launcher.resources={big: 1}"],
        ["hydra/launcher=ray", "++hydra.launcher.resources.big=1"],
        ["hydra/launcher=submitit_slurm", "hydra.launcher.setup=[module load python]"],
    ],
)
def test_launcher_settings_on_the_command_line_are_accepted(overrides):
    forbid_code_execution(compose_trees(overrides)[1], overrides)
    with pytest.raises(ConfigError, match="refused in a recipe"):
        forbid_code_execution(compose_trees(overrides)[1])


def test_default_hydra_settings_are_accepted():
    forbid_code_execution(compose_trees([])[1])
    forbid_code_execution(compose_trees(["hydra/launcher=fork"])[1])


@pytest.mark.parametrize("override", ["+model._target_=os.system", "++_target_=os.system", "+tracking._target_=x"])
def test_target_in_a_config_is_rejected(override):
    with pytest.raises(ConfigError, match="unknown key '_target_'"):
        compose_config([override])
