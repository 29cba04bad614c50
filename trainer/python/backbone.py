"""The pretrained networks that functions/shared/backbones.json describes: adding one is an entry there.

An entry has a ``name``; ``parts``, each with its name in ``timm``, the number of its ``features``, and how many of these, the
first, come from its ``lastLayer`` (networks.py describes the others); the ``side`` of the square that a picture is resized to, in
pixels; ``mean`` and ``scale`` of red, green and blue, in pixels (timm's mean and std times 255); the ``license`` of its weights
(an SPDX name; one with NC in it forbids commercial use) and their ``megabytes``. ``words``, where an entry has some, names what
the page says about it. ``better``, where it was measured: how many ``points`` more accurate models of this backbone were than
those of another, on average over ten sets from so many images a class on, at so many times its ``cost`` (time of a picture).

The weights of a part come from the locked ``package`` that it names (``file`` is the class there that knows their path), else
from timm (weights.py). Any other model of timm is ``timm/NAME``, which needs no entry: timm describes it.

A backbone of two parts gives the features of both.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from . import facts

# The prefix of a model of timm that has no entry.
from_timm = "timm/"
# The activation that softsign maps to one half (networks.py). 0.25 and 0.5 were equally accurate with EfficientNet-Lite0 (10
# sets), 1 was 0.15 points worse.
softsign = 0.5


@dataclass(frozen=True)
class Better:
    """A measured gain over another backbone."""

    than: str
    images: int
    """Of each class, at least."""
    points: float
    """Of accuracy, in percent."""
    cost: float
    """The time of a picture, in that of the other."""


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become the input of a network; graphs.py (ONNX), networks.py (torch) and ``model.pt`` all follow it.

    A picture is squashed to a square, not cropped, so that nothing at its edges is lost, by one antialiased bilinear resize,
    also where timm itself resizes bicubically: the difference is small. Then (pixel - mean) / scale.
    """

    side: int
    """Of the square, in pixels."""
    mean: tuple[float, float, float]
    """Of red, green and blue, in pixels."""
    scale: tuple[float, float, float]

    def describe(self) -> dict[str, Any]:
        """The description in ``model.pt``: plain values."""
        return {
            "input": "uint8 RGB, the whole picture, upright",
            "size": [self.side, self.side],
            "resize": "bilinear, antialias, not cropped",
            "mean": list(self.mean),
            "scale": list(self.scale),
        }

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> "Preprocessing":
        return cls(description["size"][0], tuple(description["mean"]), tuple(description["scale"]))


@dataclass(frozen=True)
class Part:
    """A pretrained network; a backbone is one of them, or several that get the same picture."""

    timm: str
    """The name of its definition in timm."""
    features: int
    last_layer: int
    """How many of its features, the first, come from its last layer; the others come from its levels (networks.py)."""
    package: str | None = None
    file: str | None = None


@dataclass(frozen=True)
class Backbone:
    """An entry of backbones.json, or its like for a model of timm."""

    name: str
    parts: tuple[Part, ...]
    """The embedding of several is theirs in a row."""
    preprocessing: Preprocessing
    license: str
    better: Better | None = None

    @property
    def features(self) -> int:
        return sum(part.features for part in self.parts)

    @cached_property
    def is_level(self) -> np.ndarray:
        """bool [features]: whether a feature comes from a level and not from a last layer."""
        return np.concatenate([np.arange(part.features) >= part.last_layer for part in self.parts])

    @property
    def is_bundled(self) -> bool:
        """Whether its weights come with the locked packages."""
        return all(part.package for part in self.parts)

    @property
    def timm_names(self) -> list[str]:
        return [part.timm for part in self.parts]


def read_entry(entry: dict[str, Any]) -> Backbone:
    preprocessing = Preprocessing(entry["side"], tuple(entry["mean"]), tuple(entry["scale"]))
    parts = tuple(
        Part(part["timm"], part["features"], part["lastLayer"], part.get("package"), part.get("file"))
        for part in entry["parts"]
    )
    measured = entry.get("better")
    better = measured and Better(measured["than"], measured["from"], measured["points"], measured["cost"])
    return Backbone(entry["name"], parts, preprocessing, entry["license"], better)


registry = {entry["name"]: read_entry(entry) for entry in facts.backbones}
bundled = [name for name, backbone in registry.items() if backbone.is_bundled]
