"""Read by Python at the start of every process that a test starts: its pictures are blank, its store is a copy.

That spares each run two or three seconds, and one with a new store two more. Processes of tests marked `pictures` or
`stores` draw, or make theirs.
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


def _blank_pictures(module: ModuleType) -> None:
    from stand_ins import write_blank

    module.Figure.savefig = write_blank


def _copied_stores(module: ModuleType) -> None:
    from stand_ins import STORE_VARIABLE, copying

    module._create_store = copying(module._create_store, Path(os.environ[STORE_VARIABLE]))


class _Finder(MetaPathFinder):
    """Finds a module as it is found, and replaces something in it once it is imported."""

    def __init__(self, name: str, replace: Callable[[ModuleType], None]) -> None:
        self._name, self._replace = name, replace

    def find_spec(self, name: str, _path: object, _target: object = None) -> ModuleSpec | None:
        if name != self._name:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        import_it = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            import_it(module)
            self._replace(module)

        spec.loader.exec_module = exec_module
        return spec


if "BLANK_PICTURES" in os.environ:
    sys.meta_path.insert(0, _Finder("matplotlib.figure", _blank_pictures))
if "KEPT_STORE" in os.environ:
    sys.meta_path.insert(0, _Finder("trainyard.tracking.connection", _copied_stores))
