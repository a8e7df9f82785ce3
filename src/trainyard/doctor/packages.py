"""Checks Python, the installed packages and the plugins."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, entry_points, metadata, requires, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from trainyard.config import (
    COMPONENT_GROUPS,
    PLUGIN_GROUP,
    PLUGIN_VARIABLE,
    get_registered_components,
    get_registered_metrics,
    load_plugins,
)
from trainyard.doctor.finding import Finding, note, ok, wrong
from trainyard.errors import ConfigError


def check_versions() -> Iterator[Finding]:
    """Compares the versions of Python and of each package with Trainyard's requirements."""
    try:
        python_specifier, texts = metadata("trainyard")["Requires-Python"] or "", requires("trainyard") or []
    except PackageNotFoundError:
        message = "Trainyard is not installed, so its requirements are unknown"
        yield wrong("packages", message, "in the repository of Trainyard: pip install -e .")
        return
    python = platform.python_version()
    if SpecifierSet(python_specifier).contains(python, prereleases=True):
        yield ok("python", f"{python}, {platform.system()} {platform.machine()}")
    else:
        remedy = f"create an environment with Python {python_specifier}"
        yield wrong("python", f"expected {python_specifier}, got {python}", remedy)
    requirements = [Requirement(text) for text in texts]
    required = [entry for entry in requirements if entry.marker is None or entry.marker.evaluate({"extra": ""})]
    problems = {
        f"{entry.name}{entry.specifier}": problem for entry in required if (problem := _find_version_problem(entry))
    }
    if problems:
        yield wrong("packages", "; ".join(problems.values()), f"pip install {shlex.join(problems)}")
    else:
        versions = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "mlflow"))
        yield ok("packages", f"all {len(required)} requirements are met: {versions}")


def check_plugins() -> Iterator[Finding]:
    """Imports the plugins, and reports the components and metrics that they register."""
    if not entry_points(group=PLUGIN_GROUP) and not os.environ.get(PLUGIN_VARIABLE):
        yield ok("plugins", f"none are installed, and {PLUGIN_VARIABLE} is not set")
        return
    try:
        load_plugins()
    except ConfigError as error:
        yield wrong("plugins", str(error), "fix the plugin, or uninstall it")
        return
    registered: dict[str, object] = {
        f"{group}={name}": component
        for group in COMPONENT_GROUPS
        for name, component in get_registered_components(group).items()
    }
    registered |= {f"evaluation.metrics=[{name}]": metric for name, metric in get_registered_metrics().items()}
    modules = {name: component.__module__ for name, component in registered.items()}
    if added := [f"{name} ({module})" for name, module in modules.items() if not module.startswith("trainyard.")]:
        yield ok("plugins", f"registered by plugins: {', '.join(added)}")
    else:
        yield note("plugins", "the plugins were imported but register nothing")


def _find_version_problem(requirement: Requirement) -> str:
    """Returns a message if the package does not meet the requirement, or an empty string if it does."""
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement.name} is missing"
    is_met = requirement.specifier.contains(installed, prereleases=True)
    return "" if is_met else f"{requirement.name}: expected {requirement.specifier}, got {installed}"
