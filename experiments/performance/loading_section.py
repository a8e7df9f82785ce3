"""Builds the section of the part ``loading``."""

from __future__ import annotations

from typing import Any

from experiments.performance.measure_loading import FIRST_LOAD, KERAS, LARGE, SECOND_LOAD, SMALL
from experiments.performance.section import Section, disturbance_reason, not_judged_reason
from experiments.performance.summary_statistics import Goal, compute_quartiles, ratio_quartiles
from trainyard.reporting.markdown import Table

FIRST_LOAD_GOALS = {SMALL: 1.5, LARGE: 0.5}
"""Maximum time of the first load relative to Keras, by folder."""
SECOND_LOAD_GOAL = 0.05
"""Maximum time of the second load relative to the first."""


def loading_section(part: dict[str, Any]) -> Section:
    """Returns the section of the part ``loading``."""
    rows, goals = [], []
    for measured in part["folders"]:
        name = measured["photos"]
        times = {load: [seconds[load] for seconds in measured["rounds"]] for load in (FIRST_LOAD, KERAS, SECOND_LOAD)}
        for load, values in times.items():
            quartiles = compute_quartiles(values)
            rows.append([
                f"{name}: {load}", f"{quartiles.median:.2f}", f"{quartiles.low:.2f} to {quartiles.high:.2f}",
                f"{measured['images'] / quartiles.median:,.0f}", str(ratio_quartiles(values, times[KERAS])),
            ])  # fmt: skip
        first = ratio_quartiles(times[FIRST_LOAD], times[KERAS])
        second = ratio_quartiles(times[SECOND_LOAD], times[FIRST_LOAD])
        reason = not_judged_reason(part["about"])
        goals += [
            Goal(f"first load of photos of {name}, relative to Keras", first, FIRST_LOAD_GOALS[name],
                 not_judged_reason=reason or disturbance_reason(first)),
            Goal(f"second load of photos of {name}, relative to the first", second, SECOND_LOAD_GOAL,
                 not_judged_reason=reason),
        ]  # fmt: skip
    sizes = ", ".join(f"{entry['images']:,} of {entry['photos']} ({entry['bytes'] / 1e3:,.0f} kB each)"
                      for entry in part["folders"])  # fmt: skip
    return Section(
        name="loading",
        title="Loading folders of photos",
        method=(
            f"Loads folders of generated JPEG files ({sizes}) as images of {part['side']} x {part['side']} pixels. "
            "`trainyard` loads them with `dataset=image_folder`: the first load decodes all files and writes the "
            "cache, the second one reads the cache. `keras.utils.image_dataset_from_directory` decodes the files in "
            "each epoch; the time of one pass over all batches is measured. The three are measured alternately in one "
            "process, with an empty cache in each round. The files are in the file cache of the operating system. "
            f"Number of rounds: {len(part['folders'][0]['rounds'])}."
        ),
        tables=[Table(["photos, load", "s", "quartiles", "images per second", "time / Keras"], rows)],
        goals=goals,
        notes=[],
        provenance=part["about"],
    )
