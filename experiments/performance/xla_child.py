"""The child process of the part ``xla``: measures networks with and without XLA.

    python -m experiments.performance.xla_child FOLDER THREADS LOOP

Each line on stdin is a `Network` in JSON. Each line on stdout is its measurement, see `measure_network`. FOLDER and
LOOP are not used.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.performance.training_child import Channel, read_peak_memory_mib
from experiments.performance.xla_networks import Network
from trainyard.config import compose_config
from trainyard.data import Dataset, DataSpec, Split, build_batch_maker
from trainyard.system import configure_tensorflow, import_tensorflow
from trainyard.training.compiled_engine import CompiledEngine
from trainyard.training.trainer import compile_model
from trainyard.training.xla_costs import count_work

MODES = {"with_xla": True, "without_xla": False}
"""Whether XLA is used, by the name of the mode in the table of costs."""

_BATCHES = 8
_ROUNDS, _BURST_SECONDS = 9, 0.06
_CLEAR_RATIO, _ROUNDS_IF_CLEAR = 4, 3
"""If one mode is this many times slower, fewer rounds are enough."""


def main() -> None:
    """Measures the requested networks until stdin ends."""
    threads = int(sys.argv[2])
    channel = Channel()
    import_tensorflow(threads)
    channel.respond(peak_mib=read_peak_memory_mib())
    while True:
        request = json.loads(channel.next_request())
        network = Network(tuple(request["image_shape"]), request["batch_size"], tuple(request["overrides"]))
        channel.respond(**measure_network(network, threads))


def measure_network(network: Network, threads: int) -> dict[str, Any]:
    """Measures the compilation and the training steps of a network in both modes, alternately, in short bursts.

    Returns:
        The work of a step, see `count_work`; and by mode the seconds of the compilation, and the seconds per step of
        each burst.
    """
    config = compose_config([*network.overrides, f"training.batch_size={network.batch_size}", "tracking=off"])
    dataset = _draw_dataset(network)
    work: dict[str, float] = {}
    compile_seconds, engines = {}, {}
    for mode, xla in MODES.items():
        configure_tensorflow(0, threads, precision=config.training.precision)
        model = config.model.build(dataset.spec)
        compile_model(model, config, _BATCHES)
        work = dict(count_work(model, network.batch_size, network.image_shape))
        wall, cpu = time.perf_counter(), time.process_time()
        batches = build_batch_maker(config, dataset, 0)
        engines[mode] = _build_trainer(CompiledEngine(model, dataset, batches, network.batch_size, xla=xla))
        # other programs increase the wall time, and compiling with several threads increases the CPU time
        compile_seconds[mode] = min(time.perf_counter() - wall, time.process_time() - cpu)
    return {"work": work, "compile_seconds": compile_seconds, "step_seconds": _measure_steps(engines)}


def _draw_dataset(network: Network) -> Dataset:
    """Returns random images and labels of ten classes."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (network.batch_size * _BATCHES, *network.image_shape), np.uint8)
    split = Split(images, random.integers(0, 10, len(images)).astype(np.uint8))
    spec = DataSpec(network.image_shape, tuple(map(str, range(10))), 255)
    return Dataset("random", spec, split, split, "random numbers")


def _build_trainer(engine: CompiledEngine) -> Callable[[int], float]:
    """Returns a function that trains for a number of steps, and returns the seconds per step."""
    order = np.arange(engine._images, dtype=np.int32)  # noqa: SLF001 - `run` would add its time between epochs

    def train(steps: int) -> float:
        start = time.perf_counter()
        for first in range(0, steps, _BATCHES):
            span = engine._data.load_span(order, 0, min(_BATCHES, steps - first))  # noqa: SLF001
            engine._train(span, 0)  # type: ignore[misc] # noqa: SLF001 - there are full batches
        return (time.perf_counter() - start) / steps

    return train


def _measure_steps(engines: dict[str, Callable[[int], float]]) -> dict[str, list[float]]:
    """Returns the seconds per step of each burst, by mode."""
    steps = {}
    for mode, train in engines.items():
        train(2)
        steps[mode] = max(1, round(_BURST_SECONDS / train(2)))
    seconds: dict[str, list[float]] = {mode: [] for mode in engines}
    for number in range(_ROUNDS):
        if number == _ROUNDS_IF_CLEAR:
            fastest = sorted(map(min, seconds.values()))
            if fastest[-1] > _CLEAR_RATIO * fastest[0]:
                break
        for mode in list(engines)[:: 1 if number % 2 else -1]:
            seconds[mode].append(engines[mode](steps[mode]))
    return seconds


if __name__ == "__main__":
    main()
