"""Whether what Trainyard stands on is installed: Python, the packages, plugins."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, entry_points, metadata, requires, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from trainyard.doctor.finding import Finding, note, ok, wrong


def check_versions() -> Iterator[Finding]:
    """Holds Python and each package against what Trainyard says that it needs."""
    try:
        wanted, needs = metadata("trainyard")["Requires-Python"] or "", requires("trainyard") or []
    except PackageNotFoundError:
        yield wrong(
            "packages", "Trainyard is not installed, so what it needs is not known", "in its clone: pip install -e ."
        )
        return
    python = platform.python_version()
    if SpecifierSet(wanted).contains(python, prereleases=True):
        yield ok("python", f"{python}, {platform.system()} {platform.machine()}")
    else:
        yield wrong("python", f"{python}; expected {wanted}", f"make an environment with Python {wanted}")
    requirements = [Requirement(text) for text in needs]
    needed = [need for need in requirements if need.marker is None or need.marker.evaluate({"extra": ""})]
    lacking = {f"{need.name}{need.specifier}": found for need in needed if (found := _lack(need))}
    if lacking:
        yield wrong("packages", "; ".join(lacking.values()), f"pip install {shlex.join(lacking)}")
    else:
        yield ok("packages", f"all {len(needed)} are there, none older than needed: {_main_versions()}")


def check_plugins() -> Iterator[Finding]:
    """Imports the plugins, and tells what they add."""
    from trainyard.config import compose  # noqa: F401 - registers our own components, whose names a plugin may not take
    from trainyard.config.registry import (
        PLUGIN_GROUP,
        PLUGIN_VARIABLE,
        components,
        load_plugins,
        registered_metrics,
    )
    from trainyard.config.schema import COMPONENT_GROUPS
    from trainyard.errors import ConfigError

    if not entry_points(group=PLUGIN_GROUP) and not os.environ.get(PLUGIN_VARIABLE):
        yield ok("plugins", "none are installed, and none named")
        return
    try:
        load_plugins()
    except ConfigError as error:
        found, _, remedy = str(error).partition(" Mend it")
        yield wrong("plugins", found.rstrip("."), f"mend it{remedy}" if remedy else "choose another name in the plugin")
        return
    registered: dict[str, object] = {}
    for group in COMPONENT_GROUPS:
        registered |= {f"{group}={name}": kind for name, kind in components(group).items()}
    registered |= {f"evaluation.metrics=[{name}]": metric for name, metric in registered_metrics().items()}
    origins = {name: str(getattr(thing, "__module__", "")) for name, thing in registered.items()}
    added = [f"{name} ({module})" for name, module in origins.items() if module.partition(".")[0] != "trainyard"]
    if added:
        yield ok("plugins", f"they add {', '.join(added)}")
    else:
        yield note("plugins", "they are imported, and register nothing")


def _lack(need: Requirement) -> str:
    """Returns what is wrong with a package, or an empty text."""
    try:
        found = version(need.name)
    except PackageNotFoundError:
        return f"{need.name} is missing"
    fits = need.specifier.contains(found, prereleases=True)
    return "" if fits else f"{need.name} is {found}, expected {need.specifier}"


def _main_versions() -> str:
    return ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "mlflow"))
