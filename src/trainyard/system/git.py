"""The state of a git checkout, with a diff from which files and values that may be secret are removed."""

from __future__ import annotations

import difflib
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainyard.system.uris import redact_credentials

_TIMEOUT_SECONDS = 10
_MAX_DIFF_CHARACTERS = 5_000_000

_RUN_OUTPUTS = tuple(
    f":(exclude,top,glob)**/{name}"
    for name in ("outputs/**", "multirun/**", "sweeps/**", "mlartifacts/**", "mlflow.db*")
)
"""Patterns of the files that runs write. They do not make a checkout dirty."""

_SECRET_FILES = (".env*", ".netrc", "*.pem", "*.key", "id_rsa*", "id_ed25519*", "credentials*")
"""Patterns of the names of files and folders whose contents are left out of the diff."""
_NOTEBOOKS = "*.ipynb"

_NAME_PATTERN = r"[\w.-]*(?:_KEY|TOKEN|SECRET|PASSWORD|PASSWD)"
_QUOTED_VALUE = re.compile(
    rf"""(?i)({_NAME_PATTERN}["'\]]*(?:\s*:\s*[\w.\[\]| ]+?)?\s*[:=,]+\s*[rbf]?("{{3}}|'{{3}}|["']))(?:\\.|(?!\2).)+"""
)
_UNQUOTED_VALUE = re.compile(rf"""(?i)({_NAME_PATTERN}\s*[:=]\s*)(?![\s"'$&|>*]|null\b|~)\S.*""")
_BEARER = re.compile(r"(?i)(\bBearer\s+)[\w.~+/=-]+")
_PRIVATE_KEY_LINE = re.compile(r"^([-+ ]?\s*)[A-Za-z0-9+/=]{40,}\s*$")
_SOURCE_SUFFIXES = (".py", ".pyi", ".ipynb", ".c", ".cc", ".cpp", ".cu", ".go", ".h", ".java", ".js", ".rs", ".ts")
"""Suffixes of files in which an unquoted value is an expression, not a literal."""


@dataclass(frozen=True, slots=True)
class GitState:
    """The state of the git checkout in which the command was started."""

    commit: str
    """The full hash."""
    branch: str
    """The name of the branch, or ``HEAD`` if no branch is checked out."""
    diff: str
    """The changes of tracked files since the commit, without secrets; empty if there are none."""
    untracked: tuple[str, ...]
    """The files that git neither tracks nor ignores."""
    left_out: tuple[str, ...] = ()
    """The changed files that are not in the diff because they may contain secrets."""
    notebooks: tuple[str, ...] = ()
    """The changed notebooks, whose outputs are not in the diff."""

    @property
    def dirty(self) -> bool:
        """Whether the code differs from the commit."""
        return bool(self.diff or self.untracked or self.left_out or self.notebooks)

    def describe_changes(self) -> str:
        """Returns the names of the untracked files and of what is left out, followed by the diff."""
        lists = (
            ("untracked", self.untracked),
            ("left out, may contain secrets", self.left_out),
            ("outputs left out", self.notebooks),
        )
        header = "".join(f"# {reason}: {name}\n" for reason, names in lists for name in names)
        return (header + self.diff)[:_MAX_DIFF_CHARACTERS]


def read_git_state(folder: Path) -> GitState | None:
    """Returns the state of the git checkout that contains a folder, or None outside a checkout or without git."""

    def run_git(*arguments: str) -> str:
        """Returns the output of a git command in the folder."""
        command = ["git", "-C", str(folder), *arguments]
        process = subprocess.run(command, capture_output=True, check=True, timeout=_TIMEOUT_SECONDS)
        return process.stdout.decode(errors="replace")

    def list_changed(*patterns: str) -> tuple[str, ...]:
        """Returns the paths, relative to the root, of changed tracked files and folders that match a pattern."""
        pathspecs = [pathspec for pattern in patterns for pathspec in _build_pathspecs(pattern, "")]
        return tuple(filter(None, run_git("diff", "HEAD", "--name-only", "-z", "--", *pathspecs).split("\0")))

    try:
        patterns = (*_SECRET_FILES, _NOTEBOOKS)
        excluded = [pathspec for pattern in patterns for pathspec in _build_pathspecs(pattern, "exclude,")]
        diff = run_git("diff", "HEAD", "--no-color", "--no-ext-diff", "--no-textconv", "--", ":/", *excluded)
        secret_files = list_changed(*_SECRET_FILES)
        notebooks = tuple(name for name in list_changed(_NOTEBOOKS) if name not in secret_files)
        root = Path(run_git("rev-parse", "--show-toplevel").removesuffix("\n"))
        notebook_diffs = "".join(_diff_notebook(name, root, run_git) for name in notebooks)
        untracked = run_git("ls-files", "--others", "--exclude-standard", "--full-name", ":/", *_RUN_OUTPUTS)
        return GitState(
            commit=run_git("rev-parse", "HEAD").strip(),
            branch=run_git("rev-parse", "--abbrev-ref", "HEAD").strip(),
            diff=mask_secrets(diff + notebook_diffs),
            untracked=tuple(untracked.splitlines()),
            left_out=secret_files,
            notebooks=notebooks,
        )
    except (OSError, subprocess.SubprocessError):
        return None


def mask_secrets(diff: str) -> str:
    """Replaces values that may be secret in a diff with ``***``.

    These are literal values assigned to names that end in ``_KEY``, ``TOKEN``, ``SECRET`` or ``PASSWORD`` in any case,
    Bearer headers, private keys, and credentials in URIs.
    """
    return "".join(_mask_lines(diff))


def _mask_lines(diff: str) -> Iterator[str]:
    """Yields the lines of a diff without secrets."""
    is_source = is_private_key = False
    for line in redact_credentials(diff).splitlines(keepends=True):
        if line.startswith("diff --git "):
            is_source, is_private_key = line.rstrip().rstrip('"').endswith(_SOURCE_SUFFIXES), False
        masked = _BEARER.sub(r"\1***", _QUOTED_VALUE.sub(r"\1***", line))
        if not is_source:
            masked = _UNQUOTED_VALUE.sub(r"\1***", masked)
        if "PRIVATE KEY-----" in line:
            is_private_key = "-----BEGIN" in line
        elif is_private_key:
            masked = _PRIVATE_KEY_LINE.sub(r"\1***\n", masked)
        yield masked


def _build_pathspecs(pattern: str, magic: str) -> tuple[str, str]:
    """Returns git's pathspecs for the files, and for the contents of the folders, whose name matches a pattern."""
    pathspec = f":({magic}top,glob,icase)**/{pattern}"
    return pathspec, f"{pathspec}/**"


def _diff_notebook(name: str, root: Path, run_git: Callable[..., str]) -> str:
    """Returns the diff of the cells of a notebook, without their outputs; empty if a version can't be read."""
    try:
        before = _list_cell_lines(run_git("show", f"HEAD:{name}"))
    except subprocess.CalledProcessError:  # a new notebook
        before = []
    try:
        after = _list_cell_lines((root / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        after = []
    lines = "".join(difflib.unified_diff(before, after, f"a/{name}", f"b/{name}"))
    return lines and f"diff --git a/{name} b/{name}\n{lines}"


def _list_cell_lines(text: str) -> list[str]:
    """Returns the lines of the cells of a notebook; nothing if it is not a valid notebook."""
    try:
        cells: list[dict[str, Any]] = json.loads(text)["cells"]
        sources = ["".join(cell["source"]) for cell in cells]
    except (ValueError, KeyError, TypeError):
        return []
    return [f"{line}\n" for source in sources for line in source.splitlines()]
