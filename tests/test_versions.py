"""Versions with known vulnerabilities cannot be installed: the minimum versions in pyproject.toml exclude them."""

from __future__ import annotations

import tomllib
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]

FIXED_VERSIONS = {
    "filelock": ("3.20.3", "CVE-2025-68146, CVE-2026-22701: a symbolic link instead of a lock file"),
    "hydra-core": ("1.3.8", "instantiate executes code from a config; Trainyard does not call it, Hydra does"),
    "jinja2": ("3.1.6", "CVE-2025-27516: escape from the sandbox by a filter"),
    "keras": ("3.15.1", "model loaders that execute code despite safe_mode, up to 3.14"),
    "mlflow": ("3.10.0", "CVE-2025-14279, CVE-2026-2393, CVE-2026-2652: DNS rebinding, forged requests, no authentication"),
    "pillow": ("12.2.0", "CVE-2026-25990, CVE-2026-42308: writes out of bounds"),
    "ray": ("2.52.0", "CVE-2023-48022: its ports allow code execution; later versions have token authentication"),
    "requests": ("2.32.4", "CVE-2024-47081: credentials of .netrc for another host"),
    "scikit-learn": ("1.5.0", "CVE-2024-5206: training data kept in a vectorizer"),
    "tqdm": ("4.66.3", "CVE-2024-34062: code in the arguments of its command"),
}  # fmt: skip
"""Dependencies with known vulnerabilities: the version in which they are fixed, and their description."""


def _minimum_versions() -> dict[str, Version]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [Requirement(text) for text in [*project["dependencies"], *project["optional-dependencies"]["ray"]]]
    return {
        requirement.name: Version(bound.version)
        for requirement in requirements
        for bound in requirement.specifier
        if bound.operator == ">="
    }


def _pinned_versions() -> dict[str, Version]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    return {name.lower(): Version(pin) for name, _, pin in (line.partition("==") for line in lines)}


def test_versions_with_known_vulnerabilities_are_excluded():
    minimum, pinned = _minimum_versions(), _pinned_versions()
    for name, (fixed, vulnerability) in FIXED_VERSIONS.items():
        assert minimum[name] >= Version(fixed), (name, vulnerability)
        assert pinned[name] >= Version(fixed), name
        assert Version(version(name)) >= Version(fixed), name


def test_every_dependency_has_a_minimum_and_a_pinned_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {Requirement(text).name for text in project["dependencies"]}
    assert names <= _minimum_versions().keys()
    assert names <= _pinned_versions().keys()
