from __future__ import annotations

import dataclasses
import functools
import json
import re
import sys
from pathlib import Path

import pytest
import yaml
from hydra.core.config_store import ConfigStore
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from trainyard.cli.commands import app
from trainyard.config import registry
from trainyard.config.compose import compose_config
from trainyard.config.plugins import PLUGIN_VARIABLE
from trainyard.config.reference.description import ArgumentType, describe_config
from trainyard.config.reference.json_schema import build_json_schema
from trainyard.config.reference.markdown import render_config_page
from trainyard.config.registry import get_registered_components
from trainyard.config.schema import COMPONENT_GROUPS, RunConfig
from trainyard.config.search_path import find_shipped_config_folder
from trainyard.config.serialization import dump_config
from trainyard.models.layers import LAYERS, describe_layers

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "config.md"


def run_command(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def fresh_validator(target: str = "recipe") -> Draft202012Validator:
    schema = build_json_schema(describe_config(), describe_layers(), target)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(json.loads(json.dumps(schema)))


validator = functools.cache(fresh_validator)
"""Cached. For tests that register no components and write no YAML files."""


def find_errors(text: str, target: str = "recipe", schema_validator: Draft202012Validator | None = None) -> list[str]:
    return [error.message for error in (schema_validator or validator(target)).iter_errors(yaml.safe_load(text))]


@pytest.fixture(scope="module")
def page():
    """The reference page. For tests that register no components and write no YAML files."""
    return render_config_page(describe_config(), describe_layers())


def test_committed_page_is_up_to_date():
    command = "trainyard config schema --out docs/config.md"
    assert PAGE.read_text() == run_command("config", "schema"), f"regenerate it in the checkout: {command}"


def test_every_field_has_a_meaning_and_a_table_row(page):
    classes = [(RunConfig, "")]
    classes += [(cls, f"{group}.") for group in COMPONENT_GROUPS for cls in get_registered_components(group).values()]
    for cls, path in classes:
        for spec in dataclasses.fields(cls):
            if dataclasses.is_dataclass(spec.type) or (path and spec.name == "name"):
                continue
            if not path and spec.name in (*COMPONENT_GROUPS, "training", "evaluation", "sweep"):
                assert f"\n## {spec.name}\n" in page
            else:
                assert re.search(rf"\| `{path}{spec.name}` \| \S.* \| \S.* \| \S.* \|", page), path + spec.name
    fields = _all_fields(describe_config())
    assert [doc.path for doc in fields if not doc.meaning] == []
    assert {"training.epochs", "training.early_stopping.monitor"} <= {doc.path for doc in fields}


def _all_fields(section):
    inner = [doc for other in (*section.sections, *section.components) for doc in _all_fields(other)]
    return [*section.fields, *inner]


def test_links_point_to_headings(page):
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    }
    links = set(re.findall(r"\]\(#([^)]*)\)", page))
    assert links
    assert links <= anchors


def test_common_fields_are_listed_once_and_different_fields_again(page):
    assert page.count("| `optimizer.clipnorm` |") == 1
    (sgd,) = re.findall(r"### optimizer=sgd\n(.*?)\n##", page, re.DOTALL)
    assert "| `optimizer.learning_rate` | a number above 0 | `0.01` |" in sgd
    assert "beta_1" not in sgd


def test_all_rows_of_a_table_have_the_same_number_of_cells(page):
    for table in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, table


def test_schema_accepts_every_shipped_file():
    """The test of all choices in `test_compose.py` checks the resolved configs."""
    for path in find_shipped_config_folder().glob("*/*.yaml"):
        assert find_errors(path.read_text(), path.parent.name) == [], path


def test_schema_accepts_resolved_lists_tags_and_interpolations():
    config = compose_config(
        ["model.activation=[relu,tanh,relu]", "+tracking.tags.owner=ada", "name='${notes}'", "notes=x"]
    )
    assert find_errors(dump_config(config), "config") == []


def test_schema_accepts_valid_recipes():
    for text in (
        "training: {epochs: '${seed}', xla: off, determinism: off}",
        "model: {hidden_units: ['${seed}', 3]}",
        "model: {activation: [relu, tanh]}",
        "defaults: [mnist_cnn, {override /model: sequential}, _self_]\nmodel: {layers: [Flatten, {Dense: {units: 3}}]}",
        "defaults: [{override /optimizer: sgd_momentum}]\noptimizer: {momentum: 0.5}",
        "defaults: [{override /hydra/launcher: joblib}]\nhydra: {sweep: {dir: there}}",
        "evaluation: {metrics: [cohen_kappa]}",
        "optimizer: {clipnorm: null, epsilon: 1.0e-7}",
        "tracking: {tags: {owner: ada}}",
    ):
        assert find_errors(text) == [], text


def test_schema_rejects_invalid_recipes():
    for text in (
        "trainin: {epochs: 3}",
        "training: {epoch: 3}",
        "training: {epochs: ten}",
        "training: {epochs: 0}",
        "training: {epochs: true}",
        "training: {epochs: null}",
        "training: {engine: fast}",
        "training: {early_stopping: {patience: -1}}",
        "training: {engine: off}",
        "seed: -1",
        "name: ''",
        "optimizer: {learning_rate: 0}",
        "optimizer: {learning_rat: 0.1}",
        "optimizer: {name: adma}",
        "model: {hidden_units: []}",
        "model: {hidden_units: [0]}",
        "model: {hidden_units: 3}",
        "model: {filters: [3], hidden_units: [3]}",
        "model: {activation: [rleu]}",
        "model: {layers: [Dens]}",
        "model: {layers: [Dense]}",
        "model: {layers: [Dense: {unit: 3}]}",
        "model: {layers: [Dense: {units: 0}]}",
        "model: {layers: [Lambda: {}]}",
        "evaluation: {metrics: [kappa]}",
        "tracking: {tags: {owner: 3}}",
        "defaults: [{override /optimizer: adma}]",
        "defaults: [{override /optimzer: adam}]",
        "defaults: [{override /optimizer: adam}]\noptimizer: {momentum: 0.9}",
        "defaults: [{override /optimizer: sgd_momentum}]\noptimizer: {beta_1: 0.9}",
    ):
        assert find_errors(text), text


def test_schemas_of_group_files_and_resolved_configs():
    for group, text, valid in (
        ("optimizer", "defaults: [base_sgd]\nmomentum: 0.9", True),
        ("optimizer", "defaults: [sgd_momentum, _self_]\nmomentum: 0.8", True),
        ("optimizer", "defaults: [base_adam]\nmomentum: 0.9", False),
        ("optimizer", "defaults: [base_sdg]", False),
        ("optimizer", "momentum: 0.9", False),
        ("training", "epochs: 3", True),
        ("training", "epoch: 3", False),
        ("config", "model: {name: mlp, filters: [3]}", False),
        ("config", "model: {dropout: 0.1}", False),
        ("config", "defaults: []", False),
    ):
        assert (find_errors(text, group) == []) == valid, (group, text)


PROBES = [0, 1, 3, -1, 0.5, 1.5, True, None, "relu", "same", "nearest", "zeros", [], [1, 2], [0, 1], [[0, 1], [2, 3]], [[]],
          [1, "x"], {}, {"l2": 0.1}, {"l1": -1}, {"l3": 1}, [True]]  # fmt: skip


def test_schema_and_validation_accept_the_same_layer_arguments():
    schema = validator("config").schema
    for layer, arguments in LAYERS.items():
        (entries,) = [entry for entry in schema["$defs"]["layer"]["anyOf"] if "properties" in entry]
        for name, kind in arguments.items():
            assert isinstance(kind, ArgumentType)
            part = {**entries["properties"][layer]["properties"][name], "$defs": schema["$defs"]}
            argument = Draft202012Validator(part)
            for probe in PROBES:
                assert argument.is_valid(probe) == kind.accepts(probe), (layer, name, probe)


def test_user_yaml_files_are_listed_and_in_the_schema():
    Path("conf/optimizer").mkdir(parents=True)
    Path("conf/optimizer/fast.yaml").write_text("# Fast.\ndefaults: [sgd_momentum]\nlearning_rate: 0.5\n")
    Path("conf/experiment").mkdir()
    recipe = "# @package _global_\n# yaml-language-server: $schema=x.json\n# Mine.\ndefaults: [{override /optimizer: fast}]\n"
    Path("conf/experiment/mine.yaml").write_text(recipe)
    page = render_config_page(describe_config(), describe_layers())
    assert "| `fast` | Fast. | `optimizer=sgd`, `optimizer.learning_rate=0.5` |" in page
    assert "| `mine` | Mine. |" in page
    schema_validator = fresh_validator()
    assert find_errors(f"{recipe}optimizer: {{nesterov: false}}", schema_validator=schema_validator) == []
    assert find_errors(f"{recipe}optimizer: {{beta_1: 0.9}}", schema_validator=schema_validator)
    assert compose_config(["experiment=mine"]).optimizer.name == "sgd"


def test_plugin_components_are_listed_and_in_the_schema(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "plugin_example" / "src"))
    registry.load_built_in_components()  # once per process, so not into the copies
    monkeypatch.setattr(registry, "_components", {group: dict(known) for group, known in registry._components.items()})
    monkeypatch.setattr(registry, "_metrics", dict(registry._metrics))
    store = ConfigStore.instance()
    copy = {group: dict(known) if isinstance(known, dict) else known for group, known in store.repo.items()}
    monkeypatch.setattr(store, "repo", copy)
    monkeypatch.setenv(PLUGIN_VARIABLE, "acme_vision")
    registry.load_plugins.cache_clear()
    try:
        page = render_config_page(describe_config(), describe_layers())
        assert "| [`linear`](#modellinear) | Logistic regression. |" in page
        assert "| `dataset.noise` | a number at least 0, at most 1 | `0.2` | Fraction of noise in each pixel. |" in page
        assert "| `optimizer.momentum` | a number at least 0, below 1 | `0.95` |" in page
        assert "`worst_recall`" in page
        schema_validator = fresh_validator()
        assert (
            find_errors(
                "defaults: [{override /dataset: stripes}]\ndataset: {noise: 0.3}", schema_validator=schema_validator
            )
            == []
        )
        assert find_errors(
            "defaults: [{override /dataset: stripes}]\ndataset: {noise: 3}", schema_validator=schema_validator
        )
    finally:
        sys.modules.pop("acme_vision", None)
        registry.load_plugins.cache_clear()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--format", "json", "--for", "optimzer"],
            "--for: unknown target 'optimzer'. Did you mean 'optimizer'?",
        ),
        (
            ["--for", "optimizer"],
            "--for optimizer: only applies to a JSON Schema; the Markdown page has every field. Add --format json",
        ),
    ],
)
def test_invalid_options_exit_with_2(arguments, message):
    result = CliRunner().invoke(app, ["config", "schema", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr


def test_unwritable_output_file_exits_with_1():
    result = CliRunner().invoke(app, ["config", "schema", "--out", "nowhere/page.md"])
    assert result.exit_code == 1
    assert "error nowhere/page.md: cannot be written: No such file or directory" in result.stderr
