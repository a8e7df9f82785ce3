"""The rules that keep the structure: what imports what, and what is not imported before it is needed."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import trainyard

SOURCE = Path(trainyard.__file__).parent

LEVELS = [
    ("errors",),
    ("system",),
    ("config",),
    ("data",),
    ("models", "training", "evaluation"),
    ("tracking", "reporting"),
    ("runs",),
    ("serving", "sweep", "doctor"),
    ("analysis",),
    ("api",),
    ("cli",),
]
"""The packages. Each imports only from levels above its own; packages of one level are independent of each other."""

HEAVY = (
    "tensorflow",
    "keras",
    "mlflow",
    "matplotlib",
    "sklearn",
    "pooch",
    "jinja2",
    "requests",
    "pandas",
    "scipy",
    "optuna",
)


def _name(path: Path) -> str:
    """Returns the dotted name of a module below ``trainyard``; the package itself is the empty string."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for path in SOURCE.rglob("*.py")}
LEVEL_OF = {package: level for level, packages in enumerate(LEVELS) for package in packages}


@functools.cache
def _imports(path: Path) -> list[tuple[str, tuple[str, ...], bool]]:
    """Returns the imports of a file: the module, the names imported from it, and whether it runs on import.

    Imports for annotations only, under ``TYPE_CHECKING``, are left out.
    """
    tree = ast.parse(path.read_text())
    lazy, typing_only = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lazy.update(id(child) for child in ast.walk(node))
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            typing_only.update(id(child) for child in ast.walk(node))
    imports = []
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            imports += [(alias.name, (), id(node) not in lazy) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            imports.append((node.module, tuple(alias.name for alias in node.names), id(node) not in lazy))
    return imports


def _own_imports(module: str) -> list[tuple[str, tuple[str, ...]]]:
    """Returns the imports of a module from Trainyard, without the prefix ``trainyard.``."""
    return [
        (name.removeprefix("trainyard").removeprefix("."), names)
        for name, names, _ in _imports(MODULES[module])
        if name.split(".")[0] == "trainyard"
    ]


@functools.cache
def _exports(package: str) -> set[str]:
    """Returns the names that the ``__init__.py`` of a package imports or defines."""
    body = ast.parse(MODULES[package].read_text()).body
    defined = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assigned = {ast.unparse(target) for node in body if isinstance(node, ast.Assign) for target in node.targets}
    return defined | assigned | {name for _, names, _ in _imports(MODULES[package]) for name in names}


def test_every_package_has_a_level():
    assert {module.split(".")[0] for module in MODULES} - {""} == set(LEVEL_OF)


def test_the_top_is_small():
    assert sum(path.parent == SOURCE for path in MODULES.values()) <= 3
    assert sum(path.is_dir() and path.name.isalpha() for path in SOURCE.iterdir()) <= 14


def test_packages_import_in_one_direction():
    for module in MODULES:
        package = module.split(".")[0]
        for imported, _ in _own_imports(module) if package else ():
            other = imported.split(".")[0]
            assert other in (package, "") or LEVEL_OF[other] < LEVEL_OF[package], f"{module} imports {imported}"


def test_packages_use_only_what_other_packages_export():
    for module in MODULES:
        package = module.split(".")[0]
        for imported, names in _own_imports(module) if package else ():
            other = imported.split(".")[0]
            if other not in (package, "errors", ""):
                assert imported == other, f"{module} imports {imported}, which is private to {other}"
                assert set(names) <= _exports(other), f"{module}: {set(names) - _exports(other)}"


def test_modules_do_not_import_in_a_circle():
    graph = {}
    for module in MODULES:
        targets = set()
        for imported, names in _own_imports(module):
            if imported:
                inner = {f"{imported}.{name}" for name in names} & set(MODULES)
                targets |= inner or {imported}
        graph[module] = targets - {module}
    list(TopologicalSorter(graph).static_order())


def test_heavy_libraries_are_imported_where_they_are_needed():
    for module, path in MODULES.items():
        heavy = {name for name, _, at_top in _imports(path) if at_top and name.split(".")[0] in HEAVY}
        assert not heavy, module


def test_one_package_knows_mlflow_and_one_matplotlib():
    for module, path in MODULES.items():
        libraries = {name.split(".")[0] for name, _, _ in _imports(path)}
        assert "mlflow" not in libraries or module.startswith("tracking"), module
        assert "matplotlib" not in libraries or module.startswith("reporting.plots"), module


def test_one_module_uses_private_names_of_hydra_and_omegaconf():
    private = {"_return_value", "_get_node", "_is_none", "_is_missing", "_get_value_element_as_str", "repo"}
    also_our_own = {"_value", "_convert_value"}
    for path in SOURCE.parent.rglob("*.py"):
        if path == MODULES["config.hydra_adapter"]:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                own = ast.unparse(node.value) in ("self", "cls")
                assert node.attr not in private | (set() if own else also_our_own), f"{path}:{node.lineno}"
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert "hydra._internal" not in node.value, f"{path}:{node.lineno}"
        for name, _, _ in _imports(path):
            assert not name.startswith(("hydra._internal", "omegaconf._")), f"{path} imports {name}"


def test_one_module_uses_private_names_of_keras_and_tensorflow():
    private = re.compile(r"\bkeras\.src\b|\b(tensorflow|tf)\.(python|tsl|compiler)\b")
    users = {module for module, path in MODULES.items() if private.search(path.read_text())}
    assert users == {"system.keras_adapter"}


def test_one_module_uses_private_names_of_mlflow():
    """Ruff reports private names of other objects, unless a comment excludes a line from the rule SLF001."""
    modules = [module for module, path in MODULES.items() if "noqa: SLF001" in path.read_text()]
    assert [module for module in modules if module.startswith("tracking")] == ["tracking.mlflow_internals"]


def test_public_classes_have_distinct_names():
    homes: dict[str, str] = {}
    for module, path in MODULES.items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                assert node.name not in homes, f"{node.name} is in {homes[node.name]} and in {module}"
                homes[node.name] = module


def test_help_and_errors_import_nothing_heavy():
    """The commands run one after the other in a new interpreter, which has not imported anything."""
    commands = {
        "--help": 0,
        "complete-words bash 'trainyard train model=cnn model.fi'": 0,
        "train optimizer=adma": 2,
        "train --help": 0,
        "train -m seed=1,-1": 2,
        "train --cfg job": 0,
        "config schema": 0,
    }
    program = f"""
import shlex, sys
from trainyard.cli import main
for command in {[*commands]!r}:
    sys.argv = ["trainyard", *shlex.split(command)]
    try:
        main()
    except SystemExit as ended:
        print("ENDED", (command, ended.code or 0, [name for name in {HEAVY!r} if name in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    ended = [line.removeprefix("ENDED ") for line in done.stdout.splitlines() if line.startswith("ENDED ")]
    assert ended == [str((command, code, [])) for command, code in commands.items()]


def test_importing_the_package_imports_no_other_module_of_it():
    program = "import sys, trainyard; print([name for name in sys.modules if name.startswith('trainyard.')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        trainyard.nonsense  # noqa: B018 - the lookup is what is tested


def test_files_stay_readable():
    for path in MODULES.values():
        assert len(path.read_text().splitlines()) <= 400, path
        assert path.stem not in ("utils", "helpers", "common", "manager", "misc"), path
