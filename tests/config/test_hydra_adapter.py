"""The private names of Hydra and OmegaConf have the expected meaning in the pinned versions."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from trainyard.config import hydra_adapter as adapter


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a=1,2.5,true,null", [(1, "1"), (2.5, "2.5"), (True, "True"), (None, "null")]),
        ("a='x y',z", [("x y", "'x y'"), ("z", "z")]),
        ("a=[1,'b,c'],{k: 'v w'}", [([1, "b,c"], "[1,'b,c']"), ({"k": "v w"}, "{k:'v w'}")]),
        ("a=range(1,4)", [(1, "1"), (2, "2"), (3, "3")]),
        ("a=range(0,1,0.5)", [(0.0, "0.0"), (0.5, "0.5")]),
        ("a=choice(1,2)", [(1, "1"), (2, "2")]),
        ("a=glob(mnist*)", [("mnist_a", "mnist_a"), ("mnist_b", "mnist_b")]),
        ("a=glob(*,exclude=mnist*)", [("digits", "digits")]),
    ],
)
def test_sweep_values_and_their_texts(text, values):
    (override,) = OverridesParser.create().parse_overrides([text])
    assert list(adapter.iterate_sweep_values(override, ["digits", "mnist_a", "mnist_b"])) == values


def test_parser_accepts_the_flags_of_hydra():
    options = adapter.build_argument_parser().parse_args(["--multirun", "seed=1,2", "--config-name", "other"])
    assert (options.multirun, options.overrides, options.config_name) == (True, ["seed=1,2"], "other")
    flags = ("cfg", "resolve", "package", "run", "shell_completion", "config_path", "config_dir", "experimental_rerun")
    assert not any(getattr(options, flag) for flag in (*flags, "info", "hydra_help", "help"))


def test_error_of_a_job_is_returned_not_raised(capsys):
    failed, completed = JobReturn(status=JobStatus.FAILED), JobReturn(status=JobStatus.COMPLETED)
    failed.return_value = error = ValueError("broken")
    completed.return_value = 3
    assert adapter.get_job_error(failed) is error
    assert adapter.get_job_error(completed) is None
    assert capsys.readouterr().err == ""


def test_basic_launcher_and_sweeper():
    launcher = Plugins.instance()._instantiate(OmegaConf.create({"_target_": adapter.BASIC_LAUNCHER}))
    config = OmegaConf.create({"hydra": {"hydra_logging": None, "verbose": False, "sweep": {"dir": "."}}})
    launcher.setup(hydra_context=adapter.build_hydra_context(None), task_function=print, config=config)
    assert launcher.launch([], 0) == []
    sweeper = adapter.build_basic_sweeper(3, {"a": "1,2"})
    assert (sweeper.launcher, sweeper.max_batch_size, sweeper.params) == (None, 3, {"a": "1,2"})


def test_stored_configs_are_replaced_removed_and_listed():
    @dataclass
    class First:
        rate: int = 1

    @dataclass
    class Second:
        rate: int = 2

    store = ConfigStore.instance()
    for component in (First, First, Second):
        adapter.store_config("adapter_test", "a", component)
        assert adapter.list_stored_configs("adapter_test") == [{"rate": component().rate}]
    for _ in range(2):
        adapter.remove_stored_config("adapter_test", "a")
        assert store.get_type("adapter_test/a.yaml") == ObjectType.NOT_FOUND
    adapter.remove_stored_config("no_such_group", "a")
