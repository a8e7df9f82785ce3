"""Finds the folder of a run by id, and closes runs whose process has died."""

from __future__ import annotations

from pathlib import Path

from trainyard.errors import ConfigError, TrackingError
from trainyard.tracking import find_run, is_alive, is_on_this_host, is_orphan, mark_killed, names


class FolderElsewhereError(ConfigError):
    """The run is in the tracking store, but its folder is not on this machine."""


def find_run_folder(reference: str, uri: str | None, setting: str = "resume") -> Path:
    """Returns the folder of a run.

    Args:
        reference: The run's id in the store, or its folder.
        uri: The tracking URI. None if tracking is off.
        setting: The setting or argument that names the run, for messages.

    Raises:
        ConfigError: If the run does not exist, or is still running.
        FolderElsewhereError: If the folder is not on this machine. It is a subclass of ConfigError.
        TrackingError: If the store can't be reached.
    """
    if not reference:
        raise ConfigError(f"{setting}: expected the id or the folder of a run, got an empty value")
    if (folder := Path(reference)).is_dir():
        return folder.absolute()
    if uri is None:
        raise ConfigError(
            f"{setting}: expected an existing folder of a run (tracking is off, so run ids can't be looked up), "
            f"got {reference!r}"
        )
    try:
        run = find_run(uri, reference)
    except TrackingError as error:
        raise ConfigError(f"{setting}: {error}") from error
    if run.status == "RUNNING" and is_on_this_host(run) and is_alive(run):
        raise ConfigError(
            f"{setting}: run {reference} is still running, as process {run.tags[names.PID]}. Wait for it or stop it"
        )
    folder = Path(run.tags.get(names.FOLDER, ""))
    if names.FOLDER not in run.tags or not folder.is_dir():
        location = f"{folder} on host {run.tags.get('host', '(unknown)')}"
        raise FolderElsewhereError(
            f"{setting}: the folder of run {reference} is not on this machine. It was written to {location}. "
            f"Copy the folder to this machine and name it: {setting}=FOLDER"
        )
    return folder


def mark_orphan_killed(reference: str, uri: str | None) -> bool:
    """Marks the run as KILLED if its process on this host has ended. Returns whether the run was marked."""
    if uri is None or Path(reference).is_dir() or not is_orphan(find_run(uri, reference)):
        return False
    mark_killed(uri, reference)
    return True
