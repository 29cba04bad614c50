"""The request ``ingest``: pictures in files -> thumbnails and embeddings, or why a picture is rejected.

params ``{"backbone", "images": [{"path", "thumbnail": path or null}], "limits": {"pixels"}}``; an event for each image in any
order: ``{"image": index, "width", "height", "type", "embedding", "seconds"}`` (base64 of float32, little endian) or
``{"image": index, "reason": {"code", "params", "message"}}``; result ``{"seconds": {"decode", "embed"}}``, summed over threads.
"""

import base64
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from .decode import open_picture, write_thumbnail
from .errors import Rejected, reading
from .prepared import PreparedBackbone, PreparedBackbones

Event = dict[str, Any]

# Pictures that a thread decodes before it embeds them: the network's weights push the decoder out of the processor's cache
# (0.5 ms a picture in a row, 0.85 in turns with the network).
most_in_a_row = 4


@dataclass
class File:
    """A picture of the request."""

    index: int
    path: Path
    thumbnail: Path | None


class Ingest:
    def __init__(self, backbones: PreparedBackbones, threads: int):
        self.backbones, self.threads = backbones, threads

    def __call__(self, params: dict[str, Any], event: Callable[[Event], None]) -> dict[str, Any]:
        with reading("ingest"):
            files = [
                File(index, Path(image["path"]), Path(image["thumbnail"]) if image["thumbnail"] else None)
                for index, image in enumerate(params["images"])
            ]
            most_pixels = int(params["limits"]["pixels"])
            batches = Batches(self.backbones.open(params["backbone"]), most_pixels)
        pool = ThreadPoolExecutor(self.threads)
        try:
            size = max(1, min(most_in_a_row, math.ceil(len(files) / self.threads)))
            parts = [files[start : start + size] for start in range(0, len(files), size)]
            for part in as_completed([pool.submit(batches.add, files) for files in parts]):
                for known in part.result():
                    event(known)
            for known in batches.finish():
                event(known)
        finally:
            # After a failure, such as a full disk, the pictures that wait are dropped.
            pool.shutdown(cancel_futures=True)
        return {"seconds": batches.seconds}


@dataclass
class Batches:
    """Decodes pictures, gathers them from several threads, and embeds them as soon as a batch is full."""

    backbone: PreparedBackbone
    most_pixels: int
    seconds: dict[str, float] = field(default_factory=lambda: {"decode": 0.0, "embed": 0.0})
    waiting: list[tuple[Event, np.ndarray]] = field(default_factory=list)
    """The event and the prepared pixels of each decoded picture."""
    lock: Lock = field(default_factory=Lock)

    def __post_init__(self):
        # They are opened here, once, and not by several threads at the same time.
        self.prepare, self.embed_all = self.backbone.prepare, self.backbone.embed

    def add(self, files: list[File]) -> list[Event]:
        """@returns the events that are known now: why pictures are rejected, and the embeddings of a batch that is full."""
        rejected, decoded = [], []
        for file in files:
            try:
                decoded.append(self.decode(file))
            except Rejected as rejection:
                rejected.append({"image": file.index, "reason": rejection.reason})
        with self.lock:
            self.seconds["decode"] += sum(event["seconds"] for event, _ in decoded)
            self.waiting.extend(decoded)
            if len(self.waiting) < self.backbone.batch_size:
                return rejected
            batch = self.waiting.copy()
            self.waiting.clear()
        return rejected + self.embed(batch)

    def finish(self) -> list[Event]:
        """@returns the events of the pictures that no full batch had."""
        return self.embed(self.waiting) if self.waiting else []

    def decode(self, file: File) -> tuple[Event, np.ndarray]:
        """Raises Rejected."""
        began = time.perf_counter()
        picture = open_picture(file.path, self.most_pixels)
        if file.thumbnail:
            write_thumbnail(picture, file.thumbnail)
        height, width, _ = picture.pixels.shape
        event = {"image": file.index, "width": width, "height": height, "type": picture.type}
        prepared = self.prepare(picture.pixels)
        return event | {"seconds": time.perf_counter() - began}, prepared

    def embed(self, batch: list[tuple[Event, np.ndarray]]) -> list[Event]:
        began = time.perf_counter()
        embeddings = self.embed_all([prepared for _, prepared in batch])
        seconds = time.perf_counter() - began
        with self.lock:
            self.seconds["embed"] += seconds
        return [
            event | {"embedding": encode(embedding), "seconds": round(event["seconds"] + seconds / len(batch), 4)}
            for (event, _), embedding in zip(batch, embeddings, strict=True)
        ]


def encode(embedding: np.ndarray) -> str:
    """Base64 of float32, little endian."""
    return base64.b64encode(embedding.astype("<f4").tobytes()).decode()
