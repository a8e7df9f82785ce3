"""Hooks of MkDocs: which files of the repository are pages, and the reference of the Python API.

The site has the folders of the repository, so links between the Markdown files work in both.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import trainyard

_ROOT = Path(__file__).parents[2]
_PAGES = ("README.md", "CONTRIBUTING.md", "docs/*.md", "experiments/**/README.md")
_STATIC = ("docs/pictures/*.png", "docs/site/*.css", "experiments/**/*.png", "experiments/**/*.html")
_API = "docs/api.md"
_LINK = re.compile(r"\]\(([^)#\s:]+)[^)]*\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replaces the files of `docs_dir`: by all pages, their pictures, files that they link to, and the API."""
    files = Files([file for file in files if file.src_dir != config.docs_dir])
    for pattern in (*_PAGES, *_STATIC):
        for path in sorted(_ROOT.glob(pattern)):
            _add(files, path, config)
    for page in list(files.documentation_pages()):
        for link in _LINK.findall(page.content_string):
            path = (_ROOT / page.src_uri).parent / link
            if path.is_file() and path.resolve().is_relative_to(_ROOT):
                _add(files, path.resolve(), config)
    files.append(File.generated(config, _API, content=_render_api()))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Removes what only concerns a repository: comments for CI."""
    return re.sub(r"<!-- ci: \w+ -->\n", "", markdown)


def _add(files: Files, path: Path, config: MkDocsConfig) -> None:
    """Adds a file of the repository, under its path in the repository, unless it is there already."""
    source = path.relative_to(_ROOT).as_posix()
    if files.get_file_from_path(source) is None:
        files.append(File(source, str(_ROOT), config.site_dir, config.use_directory_urls))


def _render_api() -> str:
    """Returns a page with an entry for each public name; mkdocstrings replaces it by the docstring."""
    groups = {
        "Functions": [name for name in trainyard.__all__ if name[0].islower()],
        "Classes": [name for name in trainyard.__all__ if name[0].isupper() and not _is_error(name)],
        "Errors": [name for name in trainyard.__all__ if _is_error(name)],
    }
    lines = ["# Python API", "", "All names are imported from `trainyard`. [Examples](python.md).", ""]
    for title, names in groups.items():
        lines += [f"## {title}", "", *(f"::: trainyard.{name}\n    options: {{heading_level: 3}}\n" for name in names)]
    return "\n".join(lines)


def _is_error(name: str) -> bool:
    """Returns whether a public name is an exception."""
    return name.endswith("Error") or name == "Terminated"
