"""The test suites that Hydra provides for launchers, run with `hydra/launcher=fork` and with both sweepers.

Their jobs use files that the suites create, so they need a fork server that no other test has started:
`test_fork_launcher.py` runs this file in a new interpreter.
"""

from __future__ import annotations

import pytest
from hydra.test_utils.launcher_common_tests import BatchedSweeperTestSuite, IntegrationTestSuite, LauncherTestSuite

SWEEPER = "hydra/sweeper=trainyard"
BATCHES = "hydra.sweeper.max_batch_size=2"


@pytest.mark.parametrize(("launcher_name", "overrides"), [("fork", []), ("fork", [SWEEPER])])
class TestForkLauncher(LauncherTestSuite):
    pass


@pytest.mark.parametrize(("launcher_name", "overrides"), [("fork", [BATCHES]), ("fork", [SWEEPER, BATCHES])])
class TestForkLauncherInBatches(BatchedSweeperTestSuite):
    pass


@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"),
    [({}, ["-m", "hydra/launcher=fork"]), ({}, ["-m", "hydra/launcher=fork", SWEEPER])],
)
class TestForkLauncherInPrograms(IntegrationTestSuite):
    pass
