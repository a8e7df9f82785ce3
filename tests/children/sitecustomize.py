"""Read by Python at the start of every process that a test starts: the pictures of its runs are blank.

That spares each run two or three seconds. Tests marked `pictures` start processes that draw.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType


class _FigureFinder(MetaPathFinder):
    """Finds matplotlib's figures as they are found, and replaces their drawing once they are imported."""

    def find_spec(self, name: str, _path: object, _target: object = None) -> ModuleSpec | None:
        if name != "matplotlib.figure":
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        import_it = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            from blank_pictures import write_blank

            import_it(module)
            module.Figure.savefig = write_blank

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _FigureFinder())
