"""The test suites that Hydra provides for launchers, run with `hydra/launcher=fork` and both sweepers."""

from __future__ import annotations

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.test_utils.launcher_common_tests import BatchedSweeperTestSuite, IntegrationTestSuite, LauncherTestSuite

SWEEPER = "hydra/sweeper=trainyard"
BATCHES = "hydra.sweeper.max_batch_size=2"


def test_hydra_finds_the_plugins():
    launchers = {plugin.__name__ for plugin in Plugins.instance().discover(Launcher)}
    sweepers = {plugin.__name__ for plugin in Plugins.instance().discover(Sweeper)}
    assert {"ForkLauncher", "RayLauncher"} <= launchers
    assert "TrainyardSweeper" in sweepers


@pytest.mark.slow
@pytest.mark.parametrize(("launcher_name", "overrides"), [("fork", []), ("fork", [SWEEPER])])
class TestForkLauncher(LauncherTestSuite):
    pass


@pytest.mark.slow
@pytest.mark.parametrize(("launcher_name", "overrides"), [("fork", [BATCHES]), ("fork", [SWEEPER, BATCHES])])
class TestForkLauncherInBatches(BatchedSweeperTestSuite):
    pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"),
    [({}, ["-m", "hydra/launcher=fork"]), ({}, ["-m", "hydra/launcher=fork", SWEEPER])],
)
class TestForkLauncherInPrograms(IntegrationTestSuite):
    pass
