"""Fast replacements for two slow steps of a run: drawing figures and creating a tracking store.

`install_stand_ins` replaces both in a process. The environment variables of a test decide which are active.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

BLANK_VARIABLE = "BLANK_PICTURES"
"""The environment variable that makes runs write blank images instead of figures."""

STORE_VARIABLE = "KEPT_STORE"
"""The environment variable with the path of the store to copy instead of creating one."""


def install_stand_ins() -> None:
    """Replaces `Figure.savefig` and the function that creates a store, also in modules that are imported later."""
    for name, patch in (
        ("matplotlib.figure", _replace_savefig),
        ("trainyard.reporting.plots", _replace_plots_of_runs),
        ("trainyard.tracking.connection", _replace_create_store),
    ):
        if name in sys.modules:
            patch(sys.modules[name])
        else:
            sys.meta_path.insert(0, _PatchingFinder(name, patch))


def _replace_savefig(module: ModuleType) -> None:
    original = module.Figure.savefig

    @functools.wraps(original)  # pyplot checks the name of the method
    def savefig(figure: object, file: object, **settings: object) -> None:
        if BLANK_VARIABLE in os.environ:
            _write_blank(file)
        else:
            original(figure, file, **settings)

    module.Figure.savefig = savefig


def _replace_plots_of_runs(module: ModuleType) -> None:
    """Replaces the functions that draw the plots of a run, because creating a figure takes a tenth of a second."""
    for name in ("learning_curves", "confusion_matrix", "predictions", "mistakes", "calibration"):
        setattr(module, f"draw_{name}", _build_blank_plot(getattr(module, f"draw_{name}")))


def _build_blank_plot(draw: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(draw)
    def draw_blank(*arguments: object, **named: object) -> None:
        if BLANK_VARIABLE in os.environ:
            (file,) = (argument for argument in arguments if isinstance(argument, Path))
            _write_blank(file)
        else:
            draw(*arguments, **named)

    return draw_blank


def _write_blank(file: object) -> None:
    from PIL import Image

    Image.new("RGB", (400, 300), "white").save(file, "PNG", dpi=(100, 100))


def _replace_create_store(module: ModuleType) -> None:
    module._create_store = build_store_copier(module._create_store)


def build_store_copier(create_store: Callable[[Path], None]) -> Callable[[Path], None]:
    """Returns a function that copies the kept store to a path, or creates a store there and keeps a copy of it."""

    def copy_store(file: Path) -> None:
        if STORE_VARIABLE not in os.environ:
            create_store(file)
            return
        kept = Path(os.environ[STORE_VARIABLE])
        if kept.exists():
            shutil.copyfile(kept, file)
            return
        create_store(file)
        partial = kept.with_name(f"{kept.name}.{os.getpid()}")
        shutil.copyfile(file, partial)
        partial.replace(kept)

    return copy_store


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
