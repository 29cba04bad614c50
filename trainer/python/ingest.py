"""The request ``ingest``: pictures in files -> thumbnails and embeddings, or why a picture is not taken.

params ``{"backbone", "images": [{"path", "thumbnail": path or null}], "limits": {"pixels"}}``; an event for each image in any
order: ``{"image": index, "width", "height", "type", "embedding", "seconds"}`` (base64 of float32, little endian) or
``{"image": index, "reason": {"code", "params", "message"}}``; result ``{"seconds": {"decode", "embed"}}``, summed over threads.
"""

import base64
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from .backbone import Backbone, find_backbone
from .embed import Embedder
from .errors import reading
from .images import Rejected, open_picture, write_thumbnail

Event = dict[str, Any]

# Pictures that a thread decodes before it embeds them: the network's weights push the decoder out of the processor's cache
# (0.5 ms a picture in a row, 0.85 in turns with the network).
most_in_a_row = 4


class Ingest:
    def __init__(self, cache: Path, threads: int, device: str):
        self.cache, self.threads, self.device = cache, threads, device
        self.embedders: dict[str, Embedder] = {}

    def __call__(self, params: dict[str, Any], event: Callable[[Event], None]) -> dict[str, Any]:
        backbone, files, most_pixels = read(params)
        embedder = self.embedder(backbone)
        waiting: list[tuple[Event, np.ndarray]] = []
        lock = Lock()
        seconds = {"decode": 0.0, "embed": 0.0}

        def look(some: list[tuple[int, Path, Path | None]]) -> list[Event]:
            """What is known when these pictures are seen: why some are rejected, and the batch that they complete."""
            rejected, seen = [], []
            for index, path, thumbnail in some:
                began = time.perf_counter()
                try:
                    picture = open_picture(path, most_pixels)
                except Rejected as refusal:
                    rejected.append({"image": index, "reason": refusal.reason})
                    continue
                if thumbnail:
                    write_thumbnail(picture, thumbnail)
                height, width, _ = picture.pixels.shape
                facts = {"image": index, "width": width, "height": height, "type": picture.type}
                prepared = embedder.prepare(picture.pixels)
                facts["seconds"] = time.perf_counter() - began
                seen.append((facts, prepared))
            with lock:
                seconds["decode"] += sum(facts["seconds"] for facts, _ in seen)
                waiting.extend(seen)
                if len(waiting) < embedder.batch_size:
                    return rejected
                batch = waiting.copy()
                waiting.clear()
            return rejected + embed(batch)

        def embed(batch: list[tuple[Event, np.ndarray]]) -> list[Event]:
            began = time.perf_counter()
            vectors = embedder.embed([prepared for _, prepared in batch])
            took = time.perf_counter() - began
            with lock:
                seconds["embed"] += took
            for (facts, _), vector in zip(batch, vectors, strict=True):
                facts |= {"embedding": encode(vector), "seconds": round(facts["seconds"] + took / len(batch), 4)}
            return [facts for facts, _ in batch]

        pool = ThreadPoolExecutor(self.threads)
        try:
            size = max(1, min(most_in_a_row, math.ceil(len(files) / self.threads)))
            parts = [files[at : at + size] for at in range(0, len(files), size)]
            for done in as_completed([pool.submit(look, some) for some in parts]):
                for one in done.result():
                    event(one)
            for one in embed(waiting) if waiting else []:
                event(one)
        finally:
            # After a failure (a disk that is full, say) the rest is not looked at.
            pool.shutdown(cancel_futures=True)
        return {"seconds": seconds}

    def embedder(self, backbone: Backbone) -> Embedder:
        """Opened with its first use: a worker may never need the others."""
        if backbone.name not in self.embedders:
            self.embedders[backbone.name] = Embedder(backbone, self.cache, self.device)
        return self.embedders[backbone.name]


def read(params: dict[str, Any]) -> tuple[Backbone, list[tuple[int, Path, Path | None]], int]:
    """Backbone; index, path and thumbnail's path of each image; the most pixels of one."""
    with reading("ingest"):
        files = [
            (index, Path(image["path"]), Path(image["thumbnail"]) if image["thumbnail"] else None)
            for index, image in enumerate(params["images"])
        ]
        return find_backbone(params["backbone"]), files, int(params["limits"]["pixels"])


def encode(vector: np.ndarray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
