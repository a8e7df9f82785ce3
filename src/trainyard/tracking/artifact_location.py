"""The location of an experiment's artifacts, which MLflow records as an absolute path or URI when it creates one."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname


def build_location(folder: Path) -> str:
    """Returns the artifact location of an experiment: the URI of a folder, or a path if MLflow would misread the URI.

    MLflow does not decode ``%`` and ``?`` in URIs of files, but it decodes ``%`` in paths.
    """
    folder = folder.absolute()
    return str(folder).replace("%", "%25") if {"%", "?"} & set(str(folder)) else folder.as_uri()


def find_distant_artifacts(experiment: str, location: str, store_file: Path) -> str | None:
    """Returns a message if the artifacts of an experiment are on this machine, but not in the folder of its store.

    This happens if the file was moved or copied. Returns None otherwise, also for locations such as a bucket.
    """
    folder = Path(url2pathname(urlsplit(location).path if location.startswith("file:") else location))
    if not folder.is_absolute() or folder.resolve().is_relative_to(store_file.parent.resolve()):
        return None
    return (
        f"the artifacts of the experiment {experiment!r} are written to {folder}, and not next to {store_file}, "
        "because MLflow keeps the location that an experiment was created with. To write those of new runs next to the "
        "store, use another experiment: tracking.experiment=NAME"
    )
