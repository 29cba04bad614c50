"""What all stages have in common: a stage learns a model from records, and a model knows what its files are made of."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx

from .evaluate import Evaluation
from .head import Head
from .heatmap import FeatureMap
from .networks import Network
from .prepared import PreparedBackbone
from .program import ProgramFiles
from .records import Records


class Progress:
    """Reports how far a run is, and keeps the seconds of each step."""

    def __init__(self, event: Callable[[dict[str, Any]], None]):
        self.event, self.began = event, time.perf_counter()
        self.seconds: dict[str, float] = {}

    def report(self, step: str, percent: float, seconds_left: float | None) -> None:
        left = seconds_left if seconds_left is None else round(max(0, seconds_left), 1)
        self.event({"percent": percent, "step": step, "secondsLeft": left})

    def finish(self, step: str, percent: int) -> None:
        """Reports a step that is finished, and how long the rest takes at the speed so far."""
        self.seconds[step] = round(time.perf_counter() - self.began, 4)
        self.began = time.perf_counter()
        self.report(step, percent, sum(self.seconds.values()) * (100 - percent) / percent)


@dataclass
class Model(ABC):
    """What a stage learned from records."""

    backbone: PreparedBackbone
    records: Records
    """The images that it learned from."""
    evaluation: Evaluation
    head: Head
    network: Network
    """On the CPU; it gives features."""
    prototypes: np.ndarray
    """float64 [P, features]: see familiarity.py."""
    is_better: bool = True
    """Whether it is better than what there was without it: else it is not published."""
    findings: dict[str, Any] = field(default_factory=dict)
    """Entries of the report that only this stage has."""
    report: dict[str, Any] = field(default_factory=dict)
    """All of the report, once the other files are written and checked."""

    @property
    def classes(self) -> list[str]:
        return self.records.classes

    @abstractmethod
    def graph(self) -> onnx.ModelProto:
        """The ONNX graph ``classify`` of its network, with any head."""

    @abstractmethod
    def write_program(self, path: Path, files: ProgramFiles) -> None:
        """Writes its network and head as an exported program."""

    @abstractmethod
    def embed(self, rows: list[int], pictures: list[np.ndarray]) -> np.ndarray:
        """The trainer's own embeddings of some rows and their pixels [H, W, 3], which files must match: float64 [N, features]."""

    @abstractmethod
    def open_feature_map(self) -> FeatureMap | None:
        """None where the last layer is not the mean of a feature map."""


@dataclass
class Stage(ABC):
    """A way to make a model; an instance is one run of it."""

    name: ClassVar[str]
    """In functions/shared/stages.json."""
    needs: ClassVar[dict[str, Callable[[Any], Any]]] = {}
    """The params that it needs beside those of every stage, and how each is read; they become attributes."""

    backbone: PreparedBackbone
    seed: int
    threads: int

    @abstractmethod
    def learn(self, records: Records, progress: Progress) -> Model:
        """Learns and evaluates a model, and reports steps up to 75 percent.

        Raises:
            TooFewImages: there are too few images for this stage.
        """
