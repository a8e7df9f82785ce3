"""Composes the shared config of sweeps only once for all tests in this folder, because Hydra needs a tenth of a second."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from trainyard.sweep import composer

_compose_trees = composer.compose_trees
_composed = {}


def _compose_trees_once(overrides, *, config_name=None, config_dir=None):
    """Returns the composed config, from a cache if the test has no configs of its own."""
    if config_dir or Path("conf").exists():
        return _compose_trees(overrides, config_name=config_name, config_dir=config_dir)
    key = (*overrides, config_name)
    if key not in _composed:
        tree, hydra_section = _compose_trees(overrides, config_name=config_name)
        OmegaConf.set_readonly(hydra_section, True)
        _composed[key] = tree, hydra_section
    return copy.deepcopy(_composed[key])


@pytest.fixture(autouse=True)
def _compose_once(monkeypatch):
    monkeypatch.setattr(composer, "compose_trees", _compose_trees_once)
