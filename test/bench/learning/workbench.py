"""What stays warm between measurements, as in a worker, and the embeddings that measurements share."""

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from trainer.python.backbone import registry
from trainer.python.learn import Train
from trainer.python.networks import Preprocess
from trainer.python.prepared import PreparedBackbones
from trainer.python.see import Ingest

default = next(iter(registry.values()))
preprocess = Preprocess(default.preprocessing)
side = 224


@dataclass
class Workbench:
    cache: Path
    threads: int
    device: str
    tune_seconds: float
    backbones: PreparedBackbones = field(init=False)
    ingest: Ingest = field(init=False)
    train: Train = field(init=False)
    known: dict[str, dict[Path, np.ndarray]] = field(default_factory=dict)
    """Embeddings by what computed them: draws share many pictures."""
    seconds: dict[str, float] = field(default_factory=dict)
    """What they took of the processor, in all."""
    borrowed: float = 0.0
    """Seconds that a measurement saved because its pictures had been embedded before."""

    def __post_init__(self):
        self.backbones = PreparedBackbones(self.cache, self.device)
        self.ingest = Ingest(self.backbones, self.threads)
        self.train = Train(self.backbones, self.threads)
        self.train.warm_up(default.name)

    def embeddings(
        self, by: str, compute: Callable[[list[Path]], np.ndarray], paths: list[Path], learned: bool
    ) -> np.ndarray:
        """Computes what is not known yet; ``learned``: the seconds of all ``paths`` belong to the measurement."""
        known = self.known.setdefault(by, {})
        new = [path for path in dict.fromkeys(paths) if path not in known]
        began = time.process_time()
        if new:
            known |= zip(new, compute(new), strict=True)
        took = time.process_time() - began
        self.seconds[by] = self.seconds.get(by, 0.0) + took
        if learned:
            self.borrowed += self.seconds[by] / len(known) * len(paths) - took
        return np.stack([known[path] for path in paths])

    def embed_pictures(self, paths: list[Path], backbone: str, learned: bool = False) -> np.ndarray:
        """float32 [N, features] by the trainer's own request."""
        return self.embeddings(backbone, lambda new: embed(self, new, backbone), paths, learned)

    @cached_property
    def last_layer(self) -> torch.nn.Module:
        return self.backbones.open(default.name).load_network().parts[0].to(self.device)

    def embed_last_layer(self, paths: list[Path], learned: bool = False) -> np.ndarray:
        """float64 [N, features] of the default backbone's last layer, as a tutorial computes them."""
        network = self.last_layer

        def compute(new: list[Path]) -> np.ndarray:
            with torch.inference_mode():
                batches = [torch.stack([read(path) for path in new[at : at + 32]]) for at in range(0, len(new), 32)]
                prepared = [preprocess.normalise(batch.float()).to(self.device) for batch in batches]
                return torch.cat([network(batch).cpu() for batch in prepared]).numpy().astype(np.float64)

        return self.embeddings("last layer", compute, paths, learned)


def embed(bench: Workbench, paths: list[Path], backbone: str) -> np.ndarray:
    vectors: dict[int, np.ndarray] = {}

    def take(event: dict[str, Any]) -> None:
        if "reason" in event:
            raise SystemExit(f"{paths[event['image']]}: {event['reason']['message']}")
        vectors[event["image"]] = np.frombuffer(base64.b64decode(event["embedding"]), dtype="<f4")

    images = [{"path": str(path), "thumbnail": None} for path in paths]
    bench.ingest({"backbone": backbone, "images": images, "limits": {"pixels": 25_000_000}}, take)
    return np.stack([vectors[at] for at in range(len(paths))])


def read(path: Path) -> torch.Tensor:
    """uint8 [3, side, side]"""
    with Image.open(path) as image:
        small = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1)
