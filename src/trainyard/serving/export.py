"""Exporting a trained model to a self-contained folder, which needs neither Trainyard nor the tracking store."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from trainyard.config import load_config
from trainyard.data import PREPROCESSING_FILE, DataSpec, load_preprocessing
from trainyard.errors import ConfigError, ModelError, TrainyardError
from trainyard.runs import find_run, report_run
from trainyard.system import CHECKSUM_FILE, PARTIAL_PREFIX, find_checksum_problem
from trainyard.tracking import MODEL_PACKAGES, RunRecord, TrackingStore, names

MODELS = ("model.keras", "model.h5")
_METRICS, _VERSIONS = "evaluation/metrics.json", "environment/versions.txt"
_FILES = {
    "model.keras": "the trained model, with its optimizer, so that training can continue",
    "model.h5": "the same model in Keras's older format, without the optimizer",
    CHECKSUM_FILE: "the sha256 of the two model files",
    PREPROCESSING_FILE: "the image shape, the scaling of raw pixels, and the names of the classes",
    "metrics.json": "all metrics on the test images",
    "classification_report.txt": "precision, recall and F1 of each class",
    names.REPORT_FILE: "a report of the whole run on one page",
    names.CONFIG_FILE: "the resolved config of the run",
}
"""The exported files, with their descriptions in the README."""
_PATHS = {name: _METRICS if name == "metrics.json" else name for name in _FILES if name != names.REPORT_FILE}
"""The path of each exported file in the folder of a run, except that of the report, which a run may not have yet."""
_DOWNLOADS = tuple(dict.fromkeys(Path(path).parts[0] for path in (*_PATHS.values(), _VERSIONS)))


def export_run(reference: str, store: TrackingStore, out: Path, notify: Callable[[str], None]) -> Path:
    """Writes the model, config, metrics and report of a run to a folder, with a README that explains how to load it.

    `reference` is the id of the run in the store, or its folder. The folder `out` is created; it may exist if it is
    empty. A report that does not exist yet is written, and `notify` is called with what is left out of it.

    Raises:
        ConfigError: If there is no such run, it is not FINISHED, one of its files is missing, or `out` is not empty.
        ModelError: If a model file was changed since it was saved.
        TrackingError: If the tracking store can't be reached, or does not contain the files.
        TrainyardError: If the folder can't be written.
    """
    target = out.resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"{out}: expected a new or empty folder, got a file or a folder that is not empty")
    run = find_run(reference, store, "export")
    if run.status != "FINISHED":
        raise ConfigError(f"export: expected a run that is FINISHED, got {run.identity}, which is {run.status}")
    with run.open_files(*_DOWNLOADS) as folder:
        for name in (*_PATHS.values(), _VERSIONS):
            if not (folder / name).is_file():
                raise ConfigError(f"export: expected a run with all its files, got {reference}: {name} is missing")
        for name in MODELS:
            if problem := find_checksum_problem(folder / name):
                raise ModelError(f"export: {name} of {reference} is damaged: {problem}")
        report = report_run(reference, store, notify)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=PARTIAL_PREFIX) as temporary:
                complete = Path(temporary) / "made"
                complete.mkdir()
                shutil.copyfile(report, complete / names.REPORT_FILE)
                _write_files(folder, complete, run)
                if target.exists():
                    target.rmdir()
                complete.rename(target)
        except OSError as error:
            raise TrainyardError(f"{out}: the folder can't be written: {error}") from error
    return out


def _write_files(folder: Path, target: Path, run: RunRecord) -> None:
    """Writes all exported files of a run, whose artifacts are in `folder`, to an empty folder."""
    for name, path in _PATHS.items():
        shutil.copyfile(folder / path, target / name)
    versions = dict(line.split("==", 1) for line in (folder / _VERSIONS).read_text().splitlines())
    packages = " ".join(f"{name}=={versions[name]}" for name in (*MODEL_PACKAGES, "pillow") if name in versions)
    (target / "README.md").write_text(_render_readme(target, run, packages))


def _render_readme(target: Path, run: RunRecord, packages: str) -> str:
    """Returns the README: the accuracy of the model, how to load it, the files of the folder, and the provenance.

    `packages` are the required packages as arguments of pip.
    """
    spec = load_preprocessing(target / PREPROCESSING_FILE).spec
    dataset = load_config(target / names.CONFIG_FILE).dataset
    metrics = json.loads((target / "metrics.json").read_text())
    shape = ", ".join(map(str, spec.image_shape))
    standardised = '\nscaled = (scaled - preprocessing["mean"]) / preprocessing["std"]' if spec.mean else ""
    standardised_text = ", minus the mean and divided by the std of each channel" if spec.mean else ""
    files = "\n".join(f"| `{name}` | {description} |" for name, description in _FILES.items())
    provenance = "\n".join(f"| {item} | {value} |" for item, value in _list_provenance(run).items() if value)
    return f"""# {run.name}

Test accuracy: {metrics["accuracy/test"]:.4f}. Test loss: {metrics["loss/test"]:.4f}. Classes: {spec.classes}.
Trained by Trainyard in the experiment {run.experiment}; see `report.html` for details.

## Load the model

```sh
pip install {packages}
```

```python
import json

import keras
import numpy as np

with open("{PREPROCESSING_FILE}") as file:
    preprocessing = json.load(file)
model = keras.models.load_model("model.keras")

images = np.zeros((1, {shape}), np.uint8)  # replace by your images: raw pixels, 0 to {spec.pixel_max}
scaled = images.astype("float32") / preprocessing["pixel_max"]{standardised}
probabilities = model.predict(scaled)
print([preprocessing["class_names"][label] for label in probabilities.argmax(axis=1)])
```

## Input

The model takes float32 arrays (images, {shape}): raw pixels divided by {spec.pixel_max}{standardised_text}.
It returns the probability of each class, float32 (images, {spec.classes}).
{_describe_image_files(spec, is_resized=hasattr(dataset, "height"), standardised=standardised)}
## Files

| file | content |
| --- | --- |
{files}

## Provenance

| item | value |
| --- | --- |
{provenance}
"""


def _describe_image_files(spec: DataSpec, *, is_resized: bool, standardised: str) -> str:
    """Returns the part of the README about image files; empty if the images are neither grayscale nor RGB.

    `is_resized` states whether the training images were read from files and resized; `standardised` is a line of code.
    """
    height, width, *channels = spec.image_shape
    if channels not in ([], [1], [3]):
        return ""
    mode, colours = ("RGB", "RGB") if channels == [3] else ("L", "grayscale")
    origin = (
        f"The training images were read from files, rotated as their EXIF data states, converted to {colours}, and "
        f"resized to {height} x {width} by bilinear interpolation with antialiasing, without keeping the aspect ratio."
        if is_resized
        else f"The training images are {colours} images with {height} x {width} pixels; none was resized."
    )
    axes = "np.newaxis, :, :, np.newaxis" if channels == [1] else "np.newaxis"
    return f"""
{origin} To predict an image file in the same way, continue with:

```python
from PIL import Image, ImageOps

image = ImageOps.exif_transpose(Image.open("image.png")).convert("{mode}")
image = image.resize(({width}, {height}), Image.Resampling.BILINEAR)
scaled = np.asarray(image, "float32")[{axes}] / 255{standardised}
print(preprocessing["class_names"][model.predict(scaled)[0].argmax()])
```

With Trainyard: `trainyard predict model.keras image.png --resize`.
"""


def _list_provenance(run: RunRecord) -> Mapping[str, str]:
    """Returns command, commit, seed, digests and Trainyard version by label; empty if they were not logged."""
    tags = run.tags
    changes = ", with local changes" if tags.get(names.GIT_DIRTY) == "true" else ""
    return {
        "run": f"`{run.identity}`",
        "command": f"`{tags[names.COMMAND]}`" if names.COMMAND in tags else "",
        "commit": f"{tags[names.GIT_COMMIT]}{changes}" if names.GIT_COMMIT in tags else "",
        "seed": tags.get(names.SEED, ""),
        "digest of the data": tags.get(names.DATASET_DIGEST, ""),
        "digest of the weights": tags.get(names.WEIGHTS_DIGEST, ""),
        "Trainyard": tags.get(names.VERSION, ""),
    }
