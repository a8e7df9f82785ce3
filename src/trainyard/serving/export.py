"""A trained model in a folder that stands alone: for whoever has neither Trainyard nor the store."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trainyard.data.preprocessing import FILE as PREPROCESSING
from trainyard.data.preprocessing import read_preprocessing
from trainyard.errors import ConfigError, ModelError, TrackingError, TrainyardError
from trainyard.system.files import CHECKSUMS, PARTIAL, checksum_problem
from trainyard.tracking import download_files, read_account
from trainyard.tracking.search import stored_run

MODELS = ("model.keras", "model.h5")
_METRICS, _VERSIONS = "evaluation/metrics.json", "environment/versions.txt"
_FILES = {
    "model.keras": "the trained model, with its optimizer, to train on",
    "model.h5": "the same in Keras's older format, without it",
    CHECKSUMS: "the sha256 of these two",
    PREPROCESSING: "what turns raw pixels into what the model takes, and labels into names",
    "metrics.json": "every score on the test images",
    "classification_report.txt": "precision, recall and F1 of each class",
    "report.html": "the whole run on one page",
    "config.yaml": "what was trained, value by value",
}
_PACKAGES = ("tensorflow", "keras", "numpy")


@dataclass(frozen=True, slots=True)
class _Source:
    """A run's files, and what it told."""

    folder: Path
    reference: str
    name: str
    experiment: str
    status: str
    tags: Mapping[str, str]


def export_run(reference: str, uri: str, out: Path) -> Path:
    """Writes a run's model, config, scores and page into a folder, with a README that says how to load it.

    Args:
        reference: The run's id in the store, or its folder.
        uri: Of the store that knows it.
        out: The folder to make; new or empty.

    Returns:
        The folder.

    Raises:
        ConfigError: If there is no such run, it is not FINISHED, it lacks files, or the folder holds something.
        ModelError: If a model was changed since it was saved.
        TrackingError: If the store can't be reached, or lacks the files.
        TrainyardError: If the folder can't be written.
    """
    place = out.resolve()
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise ConfigError(f"{out}: expected a new or empty folder to export to, and it holds something already")
    with _source(reference, uri) as source:
        for name in (*map(_path_in_run, _FILES), _VERSIONS):
            if not (source.folder / name).is_file():
                raise ConfigError(f"export: the run {reference} lacks {name}")
        for name in MODELS:
            if problem := checksum_problem(source.folder / name):
                raise ModelError(f"export: {name} of {reference} can't be trusted: {problem}")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=place.parent, prefix=PARTIAL) as beside:
                made = Path(beside) / "made"
                made.mkdir()
                _fill(made, source)
                if place.exists():
                    place.rmdir()
                made.rename(place)
        except OSError as error:
            raise TrainyardError(f"{out}: it can't be written: {error}") from error
    return out


@contextmanager
def _source(reference: str, uri: str) -> Iterator[_Source]:
    """Gives the files of a run that is FINISHED, from its folder or from the store."""
    if (folder := Path(reference)).is_dir():
        account = read_account(folder)
        told = next(iter(account.stores.values()), reference)
        source = _Source(folder, told, account.name, account.experiment, account.status or "RUNNING", account.tags)
        _refuse_unfinished(source)
        yield source
        return
    try:
        run = stored_run(uri, reference)
    except TrackingError as error:
        raise ConfigError(f"export: {error}") from error
    with tempfile.TemporaryDirectory(prefix="trainyard-export-") as place:
        source = _Source(Path(place), reference, run.name, run.experiment, run.status, run.tags)
        _refuse_unfinished(source)
        names = [name for name in _FILES if _path_in_run(name) == name]
        download_files(uri, reference, [*names, "evaluation", "environment"], Path(place))
        yield source


def _refuse_unfinished(source: _Source) -> None:
    if source.status != "FINISHED":
        raise ConfigError(f"export: expected a run that is FINISHED, got {source.reference}, which is {source.status}")


def _path_in_run(name: str) -> str:
    return _METRICS if name == "metrics.json" else name


def _fill(made: Path, source: _Source) -> None:
    for name in _FILES:
        shutil.copyfile(source.folder / _path_in_run(name), made / name)
    (made / "README.md").write_text(_write_readme(made, source))


def _write_readme(made: Path, source: _Source) -> str:
    """Returns the README: what the model is, how to load it, what is in the folder, and where it is from."""
    spec = read_preprocessing(made / PREPROCESSING).spec
    metrics = json.loads((made / "metrics.json").read_text())
    versions = dict(line.split("==", 1) for line in (source.folder / _VERSIONS).read_text().splitlines())
    packages = " ".join(f"{name}=={versions[name]}" for name in _PACKAGES if name in versions)
    shape = ", ".join(map(str, spec.image_shape))
    standardised = '\nscaled = (scaled - known["mean"]) / known["std"]' if spec.mean else ""
    files = "\n".join(f"| `{name}` | {what} |" for name, what in _FILES.items())
    origin = "\n".join(f"| {what} | {told} |" for what, told in _origin(source).items())
    return f"""# {source.name}

{metrics["accuracy/test"]:.4f} of the test images right (loss {metrics["loss/test"]:.4f}), {spec.classes} classes.
Trained by Trainyard in the experiment {source.experiment}; `report.html` tells all about it.

## Load it

```sh
pip install {packages}
```

```python
import json

import keras
import numpy as np

with open("{PREPROCESSING}") as file:
    known = json.load(file)
model = keras.models.load_model("model.keras")

images = np.zeros((1, {shape}), np.uint8)  # yours: raw pixels, 0 to {spec.pixel_max}
scaled = images.astype("float32") / known["pixel_max"]{standardised}
probabilities = model.predict(scaled)
print([known["class_names"][label] for label in probabilities.argmax(axis=1)])
```

With Trainyard: `trainyard predict model.keras digit.png`.

## What is here

| file | what |
| --- | --- |
{files}

## Where it is from

| what | |
| --- | --- |
{origin}
"""


def _origin(source: _Source) -> Mapping[str, str]:
    tags = source.tags
    changes = ", with local changes" if tags.get("git.dirty") == "true" else ""
    told = {
        "run": f"`{source.reference}`",
        "command": f"`{tags['command']}`" if "command" in tags else "",
        "commit": f"{tags['mlflow.source.git.commit']}{changes}" if "mlflow.source.git.commit" in tags else "",
        "seed": tags.get("seed", ""),
        "digest of the data": tags.get("dataset_digest", ""),
        "digest of the weights": tags.get("weights_digest", ""),
        "Trainyard": tags.get("trainyard.version", ""),
    }
    return {what: text for what, text in told.items() if text}
