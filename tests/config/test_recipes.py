"""Every shipped recipe has a header with description, command and expected result, and can be trained."""

from __future__ import annotations

import pytest

from trainyard import run_experiment
from trainyard.config.compose import compose_config
from trainyard.config.registry import get_registered_components
from trainyard.config.search_path import find_shipped_config_folder
from trainyard.data import DownloadableDataset, Mnist

RECIPES = sorted(path.stem for path in (find_shipped_config_folder() / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_begins_with_description_command_and_expected_result(name):
    lines = (find_shipped_config_folder() / "experiment" / f"{name}.yaml").read_text().splitlines()
    assert lines[:2] == ["# @package _global_", "#"]
    assert len(lines[2]) > 40
    assert f"#   trainyard train experiment={name}" in lines[3:8]
    assert any(line.startswith("# Expected: ") for line in lines[3:10])


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_can_be_trained_for_one_step(keras, tiny_mnist, use_tiny_files_for, name):
    config = compose_config([f"experiment={name}", "tracking=off", "dataset.limit=30", "training.epochs=1"])
    assert config.name == name
    if isinstance(config.dataset, DownloadableDataset):
        if not isinstance(config.dataset, Mnist):
            use_tiny_files_for(type(config.dataset))
        config.dataset.path = str(tiny_mnist)
    config.training.batch_size = 40
    result = run_experiment(config)
    assert len(result.training.history) == 1
    assert (result.folder / "model.h5").exists()


def test_every_shipped_data_set_has_a_recipe():
    used = {compose_config([f"experiment={name}"]).dataset.name for name in RECIPES}
    own = {
        name for name, dataset in get_registered_components("dataset").items() if "path" in dataset.__dataclass_fields__
    }
    published = {
        name
        for name, dataset in get_registered_components("dataset").items()
        if issubclass(dataset, DownloadableDataset)
    }
    assert used == {"digits"} | published
    assert own - published == {"npz", "idx", "image_folder"}
