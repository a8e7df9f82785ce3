"""Provenance of a measurement (time, machine, versions, code) for pages that are generated from results."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from trainyard.reporting.formatting import format_count
from trainyard.system import REPORTED_PACKAGES, collect_machine_info, list_installed_versions, read_git_state


def collect_provenance(threads: int, command: str) -> dict[str, Any]:
    """Returns date, code, machine and versions of a measurement that is made now. The host name is left out.

    `threads` is the number of threads that TensorFlow uses; `command` repeats the measurement.
    """
    git = read_git_state(Path(__file__).parent)
    machine = collect_machine_info(threads)
    versions = list_installed_versions()
    return {
        "date": format_current_time(),
        "command": command,
        "commit": git.commit if git else None,
        "dirty": git.dirty if git else False,
        "machine": {name: value for name, value in machine.items() if name != "host"},
        "versions": {name: versions[name] for name in REPORTED_PACKAGES if name in versions},
    }


def format_current_time() -> str:
    """Returns the date and the local time, for the record of a measurement: ``2026-11-30 18:15 UTC``."""
    return f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"


def format_provenance(about: dict[str, Any]) -> str:
    """Returns the result of `collect_provenance`, plus the duration in ``seconds``, as a paragraph of Markdown.

    Optional ``mixed``: one line for each value that differs between runs.
    """
    machine, versions = about["machine"], about["versions"]
    gpus = ", ".join(machine["gpus"]) or "no GPU"
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    commit = about["commit"] or "unknown (not a git checkout)"
    changes = ", with local changes" if about["dirty"] else ""
    mixed = "; ".join(about.get("mixed", ()))
    differences = f" Not the same for all runs: {mixed}." if mixed else ""
    return (
        f"Measured {about['date']} in {about['seconds']:.0f} s on {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {gpus}, {machine['platform']}, {format_count(machine['threads'], 'thread')}. "
        f"Python {machine['python']}, {packages}. Commit {commit}{changes}.{differences} "
        f"Command to repeat it: `{about['command']}`"
    )
