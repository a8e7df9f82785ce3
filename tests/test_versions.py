"""No version with a vulnerability that is known may be installed: the floors in pyproject.toml lie above them."""

from __future__ import annotations

import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]

MENDED = {
    "filelock": ("3.20.3", "CVE-2025-68146, CVE-2026-22701: a symbolic link in the place of a lock"),
    "hydra-core": ("1.3.8", "instantiate runs whatever a config names; we never call it, Hydra does"),
    "jinja2": ("3.1.6", "CVE-2025-27516: out of the sandbox by a filter"),
    "keras": ("3.15.1", "loaders of models that ran code in spite of safe_mode, up to 3.14"),
    "mlflow": ("3.10.0", "CVE-2025-14279, CVE-2026-2393, CVE-2026-2652: DNS rebinding, forged requests, no authentication"),
    "pillow": ("12.2.0", "CVE-2026-25990, CVE-2026-42308: writes out of bounds"),
    "ray": ("2.52.0", "CVE-2023-48022: whoever reaches its ports runs code; there are tokens since"),
    "requests": ("2.32.4", "CVE-2024-47081: credentials of .netrc for another host"),
    "scikit-learn": ("1.5.0", "CVE-2024-5206: training data kept in a vectorizer"),
    "tqdm": ("4.66.3", "CVE-2024-34062: code in the arguments of its command"),
}  # fmt: skip
"""What we stand on, the version in which it was mended, and what that was."""


def _floors() -> dict[str, Version]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needs = [Requirement(text) for text in [*project["dependencies"], *project["optional-dependencies"]["ray"]]]
    return {need.name: Version(bound.version) for need in needs for bound in need.specifier if bound.operator == ">="}


def _pins() -> dict[str, Version]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    return {name.lower(): Version(pin) for name, _, pin in (line.partition("==") for line in lines)}


@pytest.mark.parametrize("name", MENDED)
def test_no_version_with_a_known_vulnerability_may_be_installed(name):
    mended = Version(MENDED[name][0])
    assert _floors()[name] >= mended, MENDED[name][1]
    assert _pins()[name] >= mended
    assert Version(version(name)) >= mended


def test_every_dependency_has_a_floor_and_a_pin():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name in (Requirement(text).name for text in project["dependencies"]):
        assert name in _floors(), name
        assert name in _pins(), name
