"""Where a measurement comes from: when, on what machine, with which versions and code. For pages made from results."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from trainyard.system.environment import REPORTED_PACKAGES, describe_machine, installed_versions, read_git_state


def describe_origin(threads: int, command: str) -> dict[str, Any]:
    """Returns when, on what and with what something was measured; the machine without its name on the network.

    Args:
        threads: That TensorFlow was given.
        command: What measures it again.
    """
    git = read_git_state(Path(__file__).parent)
    machine = describe_machine(threads)
    versions = installed_versions()
    return {
        "date": f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}",
        "command": command,
        "commit": git.commit if git else None,
        "dirty": git.dirty if git else False,
        "machine": {name: value for name, value in machine.items() if name != "host"},
        "versions": {name: versions[name] for name in REPORTED_PACKAGES if name in versions},
    }


def origin_in_words(about: dict[str, Any]) -> str:
    """Returns an origin, with the ``seconds`` that it took, in a paragraph of Markdown."""
    machine, versions = about["machine"], about["versions"]
    gpus = ", ".join(machine["gpus"]) or "no GPU"
    threads = f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    commit = about["commit"] or "not in a git checkout"
    changes = ", with local changes" if about["dirty"] else ""
    mixed = "; ".join(about.get("mixed", ()))
    not_all = f" Not the same for all runs: {mixed}." if mixed else ""
    return (
        f"Measured {about['date']} in {about['seconds']:.0f} s on {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {gpus}, {machine['platform']}, {threads}. "
        f"Python {machine['python']}, {packages}. Commit {commit}{changes}.{not_all} Again: `{about['command']}`"
    )
