"""Commands that use a run, for the terminal and for pages."""

from __future__ import annotations

import shlex

from trainyard.system import redact_credentials
from trainyard.tracking import TrackingStore


def build_store_command(*arguments: str, uri: str | None) -> str:
    """Returns a command that uses a store, quoted for a shell: ``build_store_command("ui", uri=uri)``.

    The URI is left out if it is None, or the URI of the default store of the working directory.
    """
    name = TrackingStore.default().name if uri is None else redact_credentials(uri)
    option = [] if name == TrackingStore.default().name else ["--uri", name]
    return shlex.join(["trainyard", *arguments, *option])


def build_model_commands(reference: str, *, uri: str | None) -> dict[str, str]:
    """Returns the commands that use the model of a run, by title. `uri` is that of the store, or None.

    `reference` is the id of the run, or its folder if it is not tracked.
    """
    return {
        "Export its model": build_store_command("export", reference, "model", uri=uri),
        "Classify images": build_store_command("predict", reference, "image.png", uri=uri),
    }


def build_run_commands(reference: str, *, uri: str | None) -> dict[str, str]:
    """Returns the command that repeats a run, and those of `build_model_commands`, by title."""
    rerun = build_store_command("rerun", reference, uri=uri)
    return {"Repeat it": rerun, **build_model_commands(reference, uri=uri)}
