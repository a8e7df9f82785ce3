"""Malicious configs are passed to the real command. They are rejected before Hydra runs and have no effects."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from processes import run_trainyard

EVIL = (
    "import pathlib; pathlib.Path('owned').touch()\ndef run(*arguments, **named):\n    pathlib.Path('owned').touch()\n"
)
"""A module that creates a file when it is imported or called."""

RECIPE = "# @package _global_\ndefaults:\n  - override /dataset: digits\n"

RECIPES = {
    "a target in the config": ("model: {_target_: evil.run}", ["model._target_: unknown key"]),
    "a target at the top": ("_target_: evil.run", ["_target_: unknown key"]),
    "a target behind an alias": (
        "optimizer: &harm {_target_: evil.run}\nmodel: *harm",
        ["error optimizer._target_: unknown key '_target_'"],
    ),
    "a target among tags": (
        "tracking: {tags: {_target_: {x: evil.run}}}",
        ["tracking.tags: expected a mapping of strings to strings"],
    ),
    "code and environment variables in Hydra's section": (
        (
            "hydra:\n"
            "  callbacks: {x: {_target_: evil.run}}\n"
            "  launcher: {_target_: evil.run}\n"
            "  job_logging: {formatters: {simple: {'()': evil.run}}}\n"
            "  hydra_logging: {handlers: {console: {class: evil.run}}}\n"
            "  job: {env_set: {PATH: x}}"
        ),
        [
            "hydra.callbacks: refused",
            "hydra.launcher._target_: refused",
            "hydra.job_logging.formatters.simple.(): expected one of",
            "hydra.hydra_logging.handlers.console.class: expected one of",
            "hydra.job.env_set: refused",
        ],
    ),
    "secrets": (
        "name: oc.env\nnotes: ${oc.env:CANARY}\nsweep: {name: '${${name}:CANARY}'}",
        ["notes: resolvers are refused", "sweep.name: resolvers are refused"],
    ),
    "another search path": ("hydra: {searchpath: [pkg://evil]}", ["hydra.searchpath"]),
    "a Python object": ("notes: !!python/object/apply:evil.run []", ["expected YAML, but it cannot be read"]),
}
"""Contents of recipes, and what is reported for each."""

SWEPT = (
    "a target in the config", "code and environment variables in Hydra's section", "secrets", "a Python object"
)  # fmt: skip
"""Recipes that are also tested with ``trainyard sweep``: one for each of the checks."""


def _trainyard(*arguments, **variables):
    python_path = os.pathsep.join([os.environ.get("PYTHONPATH", ""), "."])
    return run_trainyard(*arguments, environment={"PYTHONPATH": python_path, "CANARY": "canary7", **variables})


@pytest.mark.parametrize(
    ("command", "recipe"), [*(("train", recipe) for recipe in RECIPES), *(("sweep", recipe) for recipe in SWEPT)]
)
def test_malicious_recipe_is_rejected(command, recipe):
    content, messages = RECIPES[recipe]
    Path("evil.py").write_text(EVIL)
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/harm.yaml").write_text(f"{RECIPE}{content}\n")
    files_before = {path for path in Path().rglob("*") if "__pycache__" not in path.parts}
    sweep_arguments = ["sweep.objective=off", "seed=1,2"] if command == "sweep" else []
    process = _trainyard(command, "experiment=harm", *sweep_arguments)
    assert process.returncode == 2, process.stdout + process.stderr
    assert [message for message in messages if message not in process.stderr] == []
    assert "Traceback" not in process.stderr
    assert "canary7" not in process.stdout + process.stderr
    assert {path for path in Path().rglob("*") if "__pycache__" not in path.parts} == files_before


@pytest.mark.parametrize(
    ("files", "arguments", "messages"),
    [
        (
            {"conf/hydra/launcher/harm.yaml": "_target_: evil.run\n"},
            ["hydra/launcher=harm"],
            ["hydra.launcher._target_: refused"],
        ),
        (
            {
                "more/mine.yaml": "defaults: [config, _self_]\n"
                "hydra: {callbacks: {x: {_target_: evil.run}}, run: {dir: '${oc.env:CANARY}'}}\n"
            },
            ["--config-dir", "more", "--config-name", "mine"],
            ["hydra.callbacks: refused", "hydra.run.dir: refused, only the resolvers"],
        ),
        ({}, ["model=sequential", "model.layers=[{_target_: evil.run}]"], ["model.layers"]),
        ({"run.pickle": "cevil\nrun\n(tR."}, ["--experimental-rerun", "run.pickle"], ["it unpickles a file"]),
    ],
    ids=["a custom launcher", "a custom callback and a secret as a folder", "a layer", "a pickled run"],
)
def test_other_malicious_inputs_are_rejected(files, arguments, messages):
    Path("evil.py").write_text(EVIL)
    for name, content in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(content)
    process = _trainyard("train", *arguments)
    assert process.returncode == 2, process.stdout + process.stderr
    assert [message for message in messages if message not in process.stderr] == []
    assert "Traceback" not in process.stderr
    assert "canary7" not in process.stdout + process.stderr
    assert not Path("owned").exists()
    assert not Path("outputs").exists()


def test_hydra_environment_variables_do_not_disable_the_checks():
    Path("evil.py").write_text(EVIL)
    variables = {"HYDRA_FULL_ERROR": "1", "HYDRA_MAIN_MODULE": "evil", "HYDRA_DEPRECATION_WARNINGS_AS_ERRORS": "1"}
    process = _trainyard("train", "+hydra.callbacks.x._target_=evil.run", **variables)
    assert process.returncode == 2, process.stdout + process.stderr
    assert process.stderr.startswith("error hydra.callbacks: refused")
    assert "Traceback" not in process.stderr
    assert not Path("owned").exists()
    assert not Path("outputs").exists()


def test_malicious_overrides_in_the_folder_of_a_resumed_run_are_rejected():
    Path("evil.py").write_text(EVIL)
    Path("old/environment").mkdir(parents=True)
    Path("old/environment/overrides.yaml").write_text("- +hydra.callbacks.x._target_=evil.run\n")
    process = _trainyard("train", "resume=old")
    assert process.returncode == 2, process.stdout + process.stderr
    assert process.stderr.startswith("error hydra.callbacks: refused")
    assert not Path("owned").exists()
    assert not Path("outputs").exists()
