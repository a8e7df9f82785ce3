"""Python imports this module in each process that a test starts: figures are blank, and new stores are copies.

This saves two or three seconds per run, and two more with a new store. Processes of tests marked `pictures` draw real
figures; those of tests marked `stores` create real stores.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType


def _write_blank_figures(module: ModuleType) -> None:
    from stand_ins import write_blank

    module.Figure.savefig = write_blank


def _copy_stores(module: ModuleType) -> None:
    from stand_ins import STORE_VARIABLE, build_store_copier

    module._create_store = build_store_copier(module._create_store, Path(os.environ[STORE_VARIABLE]))


class _PatchingFinder(MetaPathFinder):
    """Finds a module with the default finders, and patches it after its import."""

    def __init__(self, name: str, patch: Callable[[ModuleType], None]) -> None:
        self._name, self._patch = name, patch

    def find_spec(self, name: str, _path: object, _target: object = None) -> ModuleSpec | None:
        if name != self._name:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        original_exec_module = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            original_exec_module(module)
            self._patch(module)

        spec.loader.exec_module = exec_module
        return spec


if "BLANK_PICTURES" in os.environ:
    sys.meta_path.insert(0, _PatchingFinder("matplotlib.figure", _write_blank_figures))
if "KEPT_STORE" in os.environ:
    sys.meta_path.insert(0, _PatchingFinder("trainyard.tracking.connection", _copy_stores))
