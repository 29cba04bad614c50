"""What the trainer's way to embeddings adds to the network itself."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from data import PictureSet
from workbench import Workbench, default, embed

from trainer.python.decode import open_picture
from trainer.python.prepared import open_session

pictures_at_once = 100
rounds = 5


def measure_throughput(pictures: PictureSet, bench: Workbench) -> dict[str, tuple[float, float]]:
    """Pictures a second on the bench's threads, and a second of the processor: medians of rounds taken in turns."""
    paths = [path for own in pictures.classes.values() for path in own.train + own.test][:pictures_at_once]
    backbone = bench.backbones.open(default.name)
    run = open_session(backbone.path("embed"), arena=True).run
    decoded = [open_picture(path, 25_000_000).pixels for path in paths]
    ready = [backbone.prepare(pixels)[None] for pixels in decoded]

    def threaded(work: Callable, things: list) -> Callable[[], None]:
        def once() -> None:
            with ThreadPoolExecutor(bench.threads) as pool:
                list(pool.map(work, things))

        return once

    ways = {
        "bare onnxruntime loop": threaded(lambda one: run(None, {"prepared": one}), ready),
        "resize and embed": threaded(lambda pixels: backbone.embed([backbone.prepare(pixels)]), decoded),
        "request ingest: files to embeddings": lambda: embed(bench, paths, default.name),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, once in ways.items():
            began = time.perf_counter(), time.process_time()
            once()
            taken[name].append((time.perf_counter() - began[0], time.process_time() - began[1]))
    rates = {name: len(paths) / np.median(some, axis=0) for name, some in taken.items()}
    return {name: (float(clock), float(processor)) for name, (clock, processor) in rates.items()}
