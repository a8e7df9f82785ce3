"""Builds the section of the part ``streaming``."""

from __future__ import annotations

from typing import Any

from experiments.performance.measure_streaming import MODES
from experiments.performance.section import Section, disturbance_reason, not_judged_reason
from experiments.performance.summary_statistics import Goal, compute_quartiles, ratio_quartiles
from trainyard.reporting.markdown import Table

MEMORY_GOALS = {"memory": 2.0, "stream": 0.25}
"""Maximum additional memory relative to the size of the images, by setting of ``dataset.memory``."""


def streaming_section(part: dict[str, Any]) -> Section:
    """Returns the section of the part ``streaming``."""
    times, memory = {}, {}
    for mode in MODES:
        times[mode] = [seconds for measured in part["rounds"] for seconds in measured[mode]["epoch_seconds"]]
        memory[mode] = compute_quartiles(
            [measured[mode]["additional_bytes"] / part["bytes"] for measured in part["rounds"]]
        )
    ratio = ratio_quartiles(times["stream"], times["memory"])
    rows = []
    for mode in MODES:
        quartiles = compute_quartiles(times[mode])
        rows.append(
            [
                f"`dataset.memory={mode}`",
                f"{quartiles.median:.2f}",
                f"{quartiles.low:.2f} to {quartiles.high:.2f}",
                f"{memory[mode].median:.2f}",
            ]
        )
    reason = not_judged_reason(part["about"])
    return Section(
        name="streaming",
        title="Images in memory, and images that are read from the disk",
        method=(
            f"Trains a network with one hidden layer of 64 units on {part['images']:,} random images of "
            f"{part['side']} x {part['side']} x 3 pixels ({part['bytes'] / 1e6:,.0f} MB) in a memory-mapped file, "
            "which is in the file cache of the operating system. Both settings alternate, each in a new process with "
            f"{part['epochs']} epochs, of which the first is not counted. Number of rounds: {len(part['rounds'])}. "
            "The additional memory is the largest memory of the process without mapped files, minus that after a "
            "training on 64 images."
        ),
        tables=[Table(["setting", "s per epoch", "quartiles", "additional memory / size of the images"], rows)],
        goals=[
            Goal(f"additional memory with dataset.memory={mode}, relative to the images", memory[mode], bound,
                 not_judged_reason=reason)
            for mode, bound in MEMORY_GOALS.items()
        ],
        notes=[
            f"An epoch that reads the images from the disk takes {ratio} times as long as one with images in memory."
            + (f" This ratio is unreliable: {unreliable}." if (unreliable := disturbance_reason(ratio)) else "")
        ],
        provenance=part["about"],
    )  # fmt: skip
