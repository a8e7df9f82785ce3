"""Finished runs that the tests in this folder only read. A test that changes one copies its folder first."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def wide_and_thin(train_once):
    """Two runs in one store: with 64 and with 2 hidden units, and with validation images."""
    common = ("dataset.validation_fraction=0.2", "tracking.model=false")
    wide = train_once("model.hidden_units=[64]", *common)
    return [wide, train_once("model.hidden_units=[2]", *common, beside=wide)]
