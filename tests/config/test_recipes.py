"""Every shipped recipe says what it is, and trains a step."""

from __future__ import annotations

import pytest

from trainyard import run_experiment
from trainyard.config.compose import compose_config
from trainyard.config.registry import components
from trainyard.config.search_path import shipped_conf
from trainyard.data import Mnist, PublishedSet

RECIPES = sorted(path.stem for path in (shipped_conf() / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_opens_with_what_it_is_its_command_and_what_to_expect(name):
    lines = (shipped_conf() / "experiment" / f"{name}.yaml").read_text().splitlines()
    assert lines[:2] == ["# @package _global_", "#"]
    assert len(lines[2]) > 40
    assert f"#   trainyard train experiment={name}" in lines[3:8]
    assert any(line.startswith("# Expected: ") for line in lines[3:10])


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_one_step(keras, tiny_mnist, take_tiny_files_for, name):
    config = compose_config([f"experiment={name}", "tracking=off", "dataset.limit=30", "training.epochs=1"])
    assert config.name == name
    if isinstance(config.dataset, PublishedSet):
        if not isinstance(config.dataset, Mnist):
            take_tiny_files_for(type(config.dataset))
        config.dataset.path = str(tiny_mnist)
    config.training.batch_size = 40
    result = run_experiment(config)
    assert len(result.training.history) == 1
    assert (result.folder / "model.h5").exists()


def test_every_shipped_data_set_has_a_recipe():
    used = {compose_config([f"experiment={name}"]).dataset.name for name in RECIPES}
    own = {name for name, dataset in components("dataset").items() if "path" in dataset.__dataclass_fields__}
    published = {name for name, dataset in components("dataset").items() if issubclass(dataset, PublishedSet)}
    assert used == {"digits"} | published
    assert own - published == {"npz", "idx", "image_folder"}
