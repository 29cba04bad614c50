"""The request ``ingest``: pictures in files -> thumbnails and embeddings, or why a picture is not taken.

params ``{"backbone", "images": [{"path", "thumbnail": path or null}], "limits": {"pixels"}}``; an event for each image in any
order: ``{"image": index, "width", "height", "type", "embedding"}`` (base64 of float32, little endian) or
``{"image": index, "reason": {"code", "params", "message"}}``; result ``{"seconds": {"embed"}}``.
"""

import base64
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np

from .backbone import registry
from .embed import Embedder
from .errors import BadInput
from .images import Rejected, open_picture, write_thumbnail


class Ingest:
    def __init__(self, cache: Path, threads: int, device: str):
        self.cache, self.threads, self.device = cache, threads, device
        self.pool = ThreadPoolExecutor(threads)
        self.embedders: dict[str, Embedder] = {}

    def __call__(self, params: dict[str, Any], event: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        embedder = self.embedder(params["backbone"])
        limit = params["limits"]["pixels"]
        seconds = 0.0

        def look(index: int, image: dict[str, Any]) -> tuple[int, dict[str, Any], np.ndarray | None]:
            try:
                picture = open_picture(Path(image["path"]), limit)
            except Rejected as rejected:
                return index, {"reason": rejected.reason}, None
            if image["thumbnail"]:
                write_thumbnail(picture, Path(image["thumbnail"]))
            height, width, _ = picture.pixels.shape
            facts = {"width": width, "height": height, "type": picture.type}
            return index, facts, embedder.prepare(picture.pixels)

        waiting: list[tuple[int, dict[str, Any], np.ndarray]] = []

        def embed() -> None:
            nonlocal seconds
            if not waiting:
                return
            began = time.perf_counter()
            vectors = embedder.embed([prepared for _, _, prepared in waiting])
            seconds += time.perf_counter() - began
            for (index, facts, _), vector in zip(waiting, vectors, strict=True):
                data = base64.b64encode(vector.astype("<f4").tobytes()).decode()
                event({"image": index, **facts, "embedding": data})
            waiting.clear()

        # The network computes a batch while the threads decode and resize the next.
        looked = [self.pool.submit(look, index, image) for index, image in enumerate(params["images"])]
        for done in as_completed(looked):
            index, facts, prepared = done.result()
            if prepared is None:
                event({"image": index, **facts})
                continue
            waiting.append((index, facts, prepared))
            if len(waiting) == embedder.batch_size:
                embed()
        embed()
        return {"seconds": {"embed": seconds}}

    def embedder(self, name: str) -> Embedder:
        """Opened with its first use: a worker may never need the others."""
        if name not in registry:
            raise BadInput(f"There is no backbone {name}; there are {', '.join(registry)}.")
        if name not in self.embedders:
            self.embedders[name] = Embedder(registry[name], self.cache, self.threads, self.device)
        return self.embedders[name]
