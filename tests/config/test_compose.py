from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from trainyard.config.compose import compose_config, compose_trees
from trainyard.config.fields import get_rule
from trainyard.config.overrides import expand_sweep
from trainyard.config.reference.description import describe_config
from trainyard.config.reference.json_schema import build_json_schema
from trainyard.config.registry import find_component, get_registered_components
from trainyard.config.search_path import find_shipped_config_folder, list_choices, list_groups
from trainyard.config.serialization import dump_config, flatten_config, hash_config, load_config
from trainyard.config.validation import find_section_problems
from trainyard.data import Mnist
from trainyard.errors import ConfigError
from trainyard.models.layers import describe_layers

MISTAKES = [
    ("optimizer=adma", "optimizer: unknown optimizer 'adma'. Did you mean 'adam'? Available: adadelta, adagrad, adam, adamax, adamw, ftrl"),
    ("optimizer=base_adam", "optimizer: unknown optimizer 'base_adam'. Did you mean 'adam'?"),
    ("experiment=mnist_basline", "experiment: unknown experiment 'mnist_basline'. Did you mean 'mnist_baseline'? Available: fashion_mnist, kmnist"),
    ("+experiment=quikstart", "experiment: unknown experiment 'quikstart'. Did you mean 'quickstart'?"),
    ("optimizr=sgd", "optimizr: unknown key 'optimizr'. Did you mean 'optimizer'?"),
    ("epochs=3", "epochs: unknown key 'epochs'. Did you mean 'training.epochs'?"),
    ("optimizer.learning_rte=1", "optimizer.learning_rte: unknown key 'learning_rte'. Did you mean 'learning_rate'?"),
    ("~training.epochs", "training.epochs: required, cannot be removed, got '~training.epochs'. Set a value: training.epochs=..."),
    ("~optimizer", "optimizer: required, cannot be removed"),
    ("+optimizer=sgd", "optimizer: the config already contains this group. Remove the +: optimizer=sgd"),
    ("training=5", "training: expected one of default, early_stopping, got 5"),
    ("model=null", "model: expected one of cnn, mlp, sequential, got None"),
    ("optimizer.learning_rate=abc", "optimizer.learning_rate: expected a number above 0, got 'abc'"),
    ("training.epochs=1.5", "training.epochs: expected an integer at least 1, got 1.5"),
    ("training.early_stopping=3", "training.early_stopping: expected a section (a mapping of fields to values), got 3"),
    ("seed=true", "seed: expected an integer at least 0, at most 4294967295, got True"),
    ("model.hidden_units=3", "model.hidden_units: expected a list of integers, each at least 1, got 3"),
    ("model.hidden_units=[true]", "model.hidden_units[0]: expected an integer, got True"),
    ("model.hidden_units=[1000000,1000000]", "model: expected weights that fit into this machine's memory of "),
    ("sweep.params.seed=3", "sweep.params.seed: unknown key 'seed'. To add it, use +sweep.params.seed=..."),
    ("notes=${nope}", "notes: Interpolation key 'nope' not found"),
    ("a==", "Error parsing override 'a=='"),
    ("dataset.path=x", "dataset.path: unknown key 'path'. It is a field of npz, idx, mnist, fashion_mnist, kmnist, emnist, image_folder and medmnist: set dataset=npz"),
    ("optimizer.momentum=0.9", "It is a field of sgd, rmsprop and muon: set optimizer=sgd"),
    ("hydra.searchpath=[pkg://json]", "hydra.searchpath: refused, because it can import packages"),
    ("seed=1,2", "seed: expected one value, got several: seed=1,2. For a list, use brackets and quotes: 'seed=[1,2]'; to run once per value, use `run_sweep`"),
    ("seed", "'seed': expected group=name or field=value, without spaces around the =. Did you mean 'seed=...'?"),
    ("my.yaml", "To select a recipe in conf/experiment, use experiment=my"),
    ("words", "Quote a value that contains spaces"),
    ("model.hidden_units=[512,", "'model.hidden_units=[512,': unbalanced brackets. If the value contains spaces"),
]  # fmt: skip

REPORTED_TOGETHER = [
    [
        ("+training.foo=1", "training.foo: unknown key 'foo'. Keys of training: balance_classes, batch_size"),
        ("+foo=1", "foo: unknown key 'foo'."),
    ],
    [
        ("seed=4294967296", "seed: expected an integer at least 0, at most 4294967295, got 4294967296"),
        ("dataset.validation_fraction=1", "dataset.validation_fraction: expected a number at least 0, below 1, got 1.0"),
        ("dataset.limit=0", "dataset.limit: expected an integer at least 1, or null, got 0"),
        ("model.hidden_units=[]", "model.hidden_units: expected a list of integers, each at least 1, got []: it must not be empty"),
        ("model.activation=3", "model.activation: expected one of celu"),
        ("model.dropout=1.0", "model.dropout: expected a number at least 0, below 1, got 1.0"),
        ("optimizer.learning_rate=-1", "optimizer.learning_rate: expected a number above 0, got -1.0"),
        ("optimizer.name=sgd", "optimizer.name: expected 'adam', got 'sgd'; the name cannot be changed. To select another component, set optimizer=sgd"),
        ("training.epochs=0", "training.epochs: expected an integer at least 1, got 0"),
        ("training.batch_size=-1", "training.batch_size: expected an integer at least 1, got -1"),
        ("training.threads=0", "training.threads: expected an integer at least 1, or null, got 0"),
        ("training.engine=fast", "training.engine: expected one of auto, compiled, fit, got 'fast'"),
        ("tracking.uri=nowhere", "tracking.uri: expected http://..."),
    ],
    [
        ("model.hidden_units=[300,-5]", "model.hidden_units: expected a list of integers, each at least 1, got [300, -5]"),
        ("model.activation=rleu", "got 'rleu'. Did you mean 'relu'?"),
        ("optimizer.learning_rate=nan", "optimizer.learning_rate: expected a finite number, got nan"),
        ("tracking.experiment=../../up", "tracking.experiment: expected letters and digits"),
        ("tracking.uri=http://ada:secret@host", "tracking.uri: must not contain credentials, because the config is logged"),
    ],
    [
        ("model.activation=[relu,tanh]", "model.activation: expected one name, or one per hidden layer (3), got 2"),
        ("optimizer.learning_rate=inf", "optimizer.learning_rate: expected a finite number, got inf"),
        ("tracking.experiment=' '", "tracking.experiment: expected letters and digits"),
        ("tracking.uri=http://token@host", "tracking.uri: must not contain credentials, because the config is logged"),
        ("+tracking.tags.seed=3", "tracking.tags.seed: this tag is reserved for Trainyard or MLflow"),
    ],
    [
        ("training=early_stopping", "training.early_stopping.monitor: loss/val requires validation images"),
        ("name=a/b", "name: expected letters and digits, and between them spaces and . _ + - (it names a folder), got 'a/b'; '/' at position 2 is not allowed"),
        ("sweep.name=a.", "sweep.name: expected letters and digits, and between them spaces and . _ + - (it names a folder), got 'a.'; '.' at position 2 is not allowed"),
    ],
    [("tracking.uri='postgresql://h/db?user=a&password=x'", "tracking.uri: must not contain credentials")],
    [("tracking.uri=http://", "tracking.uri: expected http://...")],
    [
        ("+tracking.tags.API_KEY=canary", "tracking.tags.API_KEY: refused, because the config is logged"),
        ("+tracking.tags.password=canary", "tracking.tags.password: refused, because the config is logged"),
    ],
]  # fmt: skip
"""Mistakes that are found in the complete config, which are reported together."""


@pytest.mark.parametrize(
    "mistakes",
    [*([mistake] for mistake in MISTAKES), *REPORTED_TOGETHER],
    ids=lambda mistakes: " ".join(override for override, _ in mistakes),
)
def test_error_messages_contain_path_expected_received_and_remedy(mistakes):
    """Each mistake is reported once."""
    overrides = [override for override, _ in mistakes]
    with pytest.raises(ConfigError) as caught:
        compose_config(overrides)
    problems = caught.value.problems
    assert len(problems) == len(mistakes), problems
    for _, message in mistakes:
        assert any(message in problem for problem in problems), problems
    assert all(word not in str(caught.value) for word in ("full_key", "object_type", "Traceback"))
    assert "base_" not in str(caught.value) or "base_" in " ".join(overrides)


def test_all_problems_are_reported_at_once():
    with pytest.raises(ConfigError) as caught:
        compose_config(["training.epochs=0", "seed=-1", "model.dropout=2"])
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "seed",
        "model.dropout",
        "training.epochs",
    ]


def test_tracking_uri_with_tracking_off_is_rejected():
    with pytest.raises(ConfigError, match=r"tracking\.uri: expected null because tracking is off"):
        compose_config(["tracking=off", "tracking.uri=http://host:5000"])


def test_valid_overrides_set_fields_and_components_and_can_be_saved_and_loaded():
    config = compose_config(
        [
            "training=early_stopping",
            "dataset.validation_fraction=0.2",
            "optimizer=sgd_momentum",
            "optimizer.learning_rate=1",  # an integer where a number is expected
            "schedule=cosine",
            "model.hidden_units=[64, 32]",
            "model.activation=[relu,tanh]",
            "training.threads=null",
            "+tracking.tags.owner=ada",
            "seed=7",
            "name=mine",
            "sweep.name=${name}",
            "notes='a: b # c'",
        ]
    )
    assert (config.model.name, config.optimizer.name, config.schedule.name) == ("mlp", "sgd", "cosine")
    assert (config.model.hidden_units, config.model.activation, config.seed) == ([64, 32], ["relu", "tanh"], 7)
    assert (config.optimizer.momentum, config.optimizer.learning_rate) == (0.9, 1.0)
    assert (config.tracking.tags, config.sweep.name, config.notes) == ({"owner": "ada"}, "mine", "a: b # c")
    assert config.training.threads is None
    assert load_config(_save(config)) == config


def test_early_stopping_can_monitor_the_training_loss():
    compose_config(["training.early_stopping.patience=3", "training.early_stopping.monitor=loss/train"])


REQUIRED_OVERRIDES = {
    **{f"dataset={name}": "dataset.path=somewhere" for name in ("npz", "idx", "image_folder")},
    "augmentation=affine": "augmentation.flip_horizontal=true",
    "training=early_stopping": "dataset.validation_fraction=0.1",
    "tracking=server": "tracking.uri=http://127.0.0.1:5000",
}
"""Overrides that some choices require."""


def test_every_shipped_file_and_component_composes_loads_and_is_accepted_by_the_schema():
    """Each config has one choice of each group; recipes set fields of several components, so they are separate."""
    groups = {group: [f"{group}={name}" for name in list_choices(group)] for group in list_groups()}
    recipes = groups.pop("experiment")
    shipped = {f"{path.parent.name}={path.stem}" for path in find_shipped_config_folder().glob("*/*.yaml")}
    assert shipped <= {*recipes, *itertools.chain(*groups.values())}
    schema = Draft202012Validator(build_json_schema(describe_config(), describe_layers(), "config"))
    for choices in [*([recipe] for recipe in recipes), *itertools.zip_longest(*groups.values())]:
        selected = list(filter(None, choices))
        config = compose_config(
            [*selected, *(REQUIRED_OVERRIDES[name] for name in selected if name in REQUIRED_OVERRIDES)]
        )
        assert config == load_config(_save(config)), selected
        assert [error.message for error in schema.iter_errors(yaml.safe_load(dump_config(config)))] == [], selected
        for group, _, name in (choice.partition("=") for choice in selected):
            if component := get_registered_components(group).get(name):
                assert isinstance(getattr(config, group), component)


@pytest.fixture(scope="module")
def _composed():
    return compose_config()


@pytest.fixture
def config(_composed):
    """A copy of the default config."""
    return copy.deepcopy(_composed)


def test_loading_a_config_validates_it(config):
    tree = yaml.safe_load(dump_config(config))
    for change, message in [
        ({"seed": -1}, "seed: expected an integer"),
        ({"optimizer": {"name": "adma"}}, "unknown optimizer 'adma'"),
        ({"model": {"name": "mlp", "_target_": "os.system"}}, "unknown key '_target_'"),
        ({"dataset": 3}, "dataset.name: expected the name of a component"),
    ]:
        Path("changed.yaml").write_text(yaml.safe_dump(tree | change))
        with pytest.raises(ConfigError, match=message):
            load_config(Path("changed.yaml"))
    Path("tagged.yaml").write_text("name: !!python/object/apply:os.system ['touch owned']\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(Path("tagged.yaml"))
    assert not Path("owned").exists()


def test_config_hash_depends_only_on_settings_that_affect_results(config):
    def changed_hash(path, value):
        changed = copy.deepcopy(config)
        *sections, name = path.split(".")
        setattr(functools.reduce(getattr, sections, changed), name, value)
        return hash_config(changed)

    def component(group, name, **fields):
        return find_component(group, name)(**fields)

    base = hash_config(config)
    for path, value in (
        ("seed", 3),
        ("training.threads", 1),
        ("tracking", component("tracking", "off")),
        ("name", "other"),
        ("notes", "hi"),
        ("sweep.name", "s"),
        ("evaluation.mistakes", 3),
    ):
        assert changed_hash(path, value) == base, path
    mnist = [changed_hash("dataset", component("dataset", "mnist", path=path)) for path in ("a", "b")]
    assert mnist[0] == mnist[1] != base
    for path, value in (
        ("model.dropout", 0.1),
        ("optimizer", component("optimizer", "sgd")),
        ("training.epochs", 3),
        ("dataset.limit", 10),
        ("schedule", component("schedule", "cosine")),
    ):
        assert changed_hash(path, value) != base, path


def test_configs_in_the_working_directory_override_shipped_configs():
    _write(
        "conf/experiment/mine.yaml",
        "# @package _global_\ndefaults: [{override /optimizer: fast}]\nname: mine\n",
    )
    _write("conf/optimizer/fast.yaml", "defaults: [base_sgd]\nlearning_rate: 0.5\n")
    _write("conf/optimizer/adam.yaml", "defaults: [base_adam]\nlearning_rate: 0.25\n")
    assert compose_config(["experiment=mine"]).optimizer.learning_rate == 0.5
    assert compose_config().optimizer.learning_rate == 0.25
    assert "fast" in list_choices("optimizer")


def test_configs_in_config_dir_are_found():
    _write("elsewhere/experiment/mine.yaml", "# @package _global_\nname: mine\ntraining: {epochs: 3}\n")
    _write("elsewhere/optimizer/adam.yaml", "defaults: [base_adam]\nlearning_rate: 0.125\n")
    config = compose_config(["experiment=mine"], config_dir=Path("elsewhere"))
    assert (config.training.epochs, config.optimizer.learning_rate) == (3, 0.125)
    with pytest.raises(ConfigError, match="unknown experiment 'mien'. Did you mean 'mine'"):
        compose_config(["experiment=mien"], config_dir=Path("elsewhere"))


def test_error_in_a_recipe_names_the_recipe():
    _write("conf/experiment/mine.yaml", "# @package _global_\ntraining: {epchs: 3}\n")
    with pytest.raises(
        ConfigError,
        match=r"training.epchs: unknown key 'epchs'. Did you mean 'epochs'.*\(in experiment/mine.yaml\)",
    ):
        compose_config(["experiment=mine"])


def test_primary_config_without_schema_is_rejected():
    _write("conf/config.yaml", "seed: 3\n")
    with pytest.raises(ConfigError, match="does not extend Trainyard's schema"):
        compose_config()


def test_baseline_recipe_sets_all_published_values():
    """The recipe sets every field that affects results, so that a changed default cannot change the baseline."""
    text = yaml.safe_load((find_shipped_config_folder() / "experiment" / "mnist_baseline.yaml").read_text())
    config = compose_config(["experiment=mnist_baseline"])
    for section in ("dataset", "model", "optimizer", "loss"):
        fields = dataclasses.fields(getattr(config, section))
        assert set(text[section]) == {spec.name for spec in fields if get_rule(spec).identity} - {"name"}, section
    execution = {"engine", "xla", "determinism"}  # may differ between runs of the recipe
    computed = {spec.name for spec in dataclasses.fields(config.training) if get_rule(spec).identity}
    assert set(text["training"]) == computed - execution
    assert (text["training"]["epochs"], text["training"]["batch_size"]) == (10, 32)
    assert text["model"]["hidden_units"] == [300, 200, 100]
    assert (config.dataset.validation_fraction, config.dataset.limit) == (0, None)


def test_flatten_config_does_not_flatten_lists(config):
    flat = flatten_config(config)
    assert flat["model.hidden_units"] == [300, 200, 100]
    assert flat["training.early_stopping.patience"] is None


def test_expand_sweep_returns_all_combinations():
    assert expand_sweep(["seed=1,2", "model.hidden_units=[64],[32,16]", "name=x"]) == [
        ["seed=1", "model.hidden_units=[64]", "name=x"],
        ["seed=1", "model.hidden_units=[32,16]", "name=x"],
        ["seed=2", "model.hidden_units=[64]", "name=x"],
        ["seed=2", "model.hidden_units=[32,16]", "name=x"],
    ]


def _save(config) -> Path:
    path = Path("saved.yaml")
    path.write_text(dump_config(config))
    return path


def _write(name: str, text: str) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("mirrors", "message"),
    [([], "must not be empty"), (["ftp://x"], "begin with http:// or https://, got 'ftp://x'")],
)
def test_mirrors_must_be_http_urls(mirrors, message):
    (problem,) = find_section_problems(Mnist(mirrors=mirrors), "dataset")
    assert problem.startswith("dataset.mirrors: ")
    assert message in problem


@pytest.mark.parametrize(
    "content", [b"name: [1", b"name: a\nname: b\n", b"\xff\xfe"], ids=["syntax", "duplicate key", "not UTF-8"]
)
def test_invalid_yaml_file_is_named(content):
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/mine.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"^conf/experiment/mine\.yaml: expected YAML, but it cannot be read"):
        compose_config(["experiment=mine"])


def test_recipe_without_package_line_is_rejected():
    _write("conf/experiment/mine.yaml", "name: mine\n")
    with pytest.raises(ConfigError, match="must begin with the line '# @package _global_'"):
        compose_config(["experiment=mine"])


def test_string_that_looks_like_an_interpolation_survives_saving_and_loading(config):
    config.notes = "costs ${x} a piece"
    assert load_config(_save(config)).notes == config.notes


def test_integer_and_float_value_have_the_same_config_hash(config):
    config.optimizer.learning_rate = 1
    assert hash_config(config) == hash_config(load_config(_save(config)))


def test_hydra_instance_of_the_caller_is_restored():
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    Path("other").mkdir()
    with hydra.initialize_config_dir(str(Path("other").absolute()), version_base="1.3"):
        original = GlobalHydra.instance().hydra
        compose_config()
        assert GlobalHydra.instance().hydra is original


def test_several_threads_can_compose_at_the_same_time():
    with ThreadPoolExecutor(4) as pool:
        seeds = [config.seed for config in pool.map(lambda seed: compose_config([f"seed={seed}"]), range(4))]
    assert seeds == list(range(4))


def test_several_values_name_the_command_only_where_overrides_are_those_of_a_command():
    with pytest.raises(ConfigError, match="experiment: expected one value, got several.*use `run_sweep`"):
        compose_config(["experiment=quickstart,mnist_cnn"])
    with pytest.raises(ConfigError, match="use `trainyard sweep`"):
        compose_trees(["experiment=quickstart,mnist_cnn"])


def test_string_instead_of_list_of_overrides_is_rejected():
    with pytest.raises(ConfigError, match="expected a list of overrides, got the string 'seed=1'"):
        compose_config("seed=1")


def test_a_recipe_can_be_selected_with_a_plus():
    selected = compose_config(["experiment=quickstart"])
    for prefix in ("+", "++"):
        assert compose_config([f"{prefix}experiment=quickstart"]) == selected, prefix
