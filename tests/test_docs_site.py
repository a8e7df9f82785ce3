"""The website of the documentation: it is built without warnings, and loads nothing from other servers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import trainyard

ROOT = Path(__file__).parents[1]


def build_site(config, folder):
    """Builds the site, in which a dead link is an error."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    built = build_site(ROOT / "mkdocs.yml", folder)
    assert built.returncode == 0, built.stderr
    return folder


def test_every_page_is_on_the_site(site):
    pages = ["README.md", "CONTRIBUTING.md", "docs/api.md"]
    pages += [str(file.relative_to(ROOT)) for file in ROOT.glob("docs/*.md")]
    pages += [str(file.relative_to(ROOT)) for file in ROOT.glob("experiments/**/README.md")]
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in pages:
        assert (site / page.replace("README.md", "index.md").replace(".md", ".html")).is_file()
        assert page in navigation


def test_pages_load_nothing_from_other_servers(site):
    for page in site.rglob("*.html"):
        loaded = re.findall(r'<(?:script|img|iframe)[^>]* src="([^"]*)"|<link[^>]* href="([^"]*)"', page.read_text())
        assert not [address for addresses in loaded for address in addresses if re.match("(https?:)?//", address)]


def test_the_reference_has_every_public_name(site):
    page = (site / "docs" / "api.html").read_text()
    for name in trainyard.__all__:
        assert f'"trainyard.{name}"' in page
    for described in ("The metric to compare by", "A process performs one run at a time"):
        assert described in page


def test_a_dead_link_is_an_error(tmp_path):
    """The setting is that of the real site; the page is not."""
    config = (ROOT / "mkdocs.yml").read_text()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Start\n\n[this](missing.md) and [that](index.md#nothing)\n")
    validation = re.search(r"^validation:\n(  .*\n)+", config, re.MULTILINE)[0]
    (tmp_path / "mkdocs.yml").write_text(f"site_name: Test\n{validation}")
    built = build_site(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert built.returncode == 1
    assert "missing.md" in built.stderr
    assert "#nothing" in built.stderr
