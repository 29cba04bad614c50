"""What the request ``train`` asks for (see train.py), taken apart and checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .backbone import Backbone, find_backbone
from .errors import BadInput, reading

stages = ("head", "fine-tune")


@dataclass
class Request:
    """What is trained, read and checked."""

    stage: str
    backbone: Backbone
    classes: list[str]
    ids: list[str]
    labels: np.ndarray
    """int [N], from 0"""
    embeddings: np.ndarray
    """float64 [N, features]"""
    check: list[tuple[int, Path]]
    """Row and original of some images."""
    look: list[tuple[int, Path]]
    """Row and thumbnail of some images of each class."""
    seed: int
    out: Path
    pictures: list[Path]
    """Originals of all images, to fine-tune."""
    seconds: float
    checkpoint: Path


def read(params: dict[str, Any]) -> Request:
    """Raises BadInput when something is missing, unknown, or does not fit the rest."""
    with reading("train"):
        request = Request(
            stage=params["stage"],
            backbone=find_backbone(params["backbone"]),
            classes=[plain_text(name) for name in params["classes"]],
            ids=[image["id"] for image in params["images"]],
            labels=np.array([image["class"] for image in params["images"]], dtype=int),
            embeddings=np.fromfile(params["embeddings"], dtype="<f4").astype(np.float64),
            check=rows_and_paths(params["check"]),
            look=rows_and_paths(params["look"]),
            seed=int(params["seed"]),
            out=Path(params["out"]),
            pictures=[Path(path) for path in params["pictures"]] if params["stage"] == "fine-tune" else [],
            seconds=float(params["seconds"]) if params["stage"] == "fine-tune" else 0.0,
            checkpoint=Path(params["checkpoint"]) if params["stage"] == "fine-tune" else Path(),
        )
    if request.stage not in stages:
        raise BadInput(f"There is no stage {request.stage}; there is {', '.join(stages)}.")
    count, features, numbers = len(request.labels), request.backbone.features, len(request.embeddings)
    if numbers != count * features:
        raise BadInput(f"Expected {count} embeddings of {features} numbers, got {numbers} numbers.")
    if not np.isfinite(request.embeddings).all():
        raise BadInput("Expected embeddings of finite numbers, got some that are none: compute them again.")
    known = [label for label in request.labels if 0 <= label < len(request.classes)]
    images = np.bincount(known, minlength=len(request.classes)).tolist()
    if len(known) < count or len(images) < 2 or min(images) < 2:
        raise BadInput(f"Expected two classes or more with two pictures each, got {images} of {count} pictures.")
    for name, some in (("check", request.check), ("look", request.look)):
        if any(not 0 <= row < count for row, _ in some):
            raise BadInput(f"Expected {name} to name rows from 0 to {count - 1}, got {[row for row, _ in some]}.")
    if request.stage == "fine-tune" and len(request.pictures) != count:
        raise BadInput(f"Expected the originals of {count} images, got {len(request.pictures)}.")
    request.embeddings = request.embeddings.reshape(count, features)
    return request


def rows_and_paths(some: list[dict[str, Any]]) -> list[tuple[int, Path]]:
    return [(int(one["row"]), Path(one["path"])) for one in some]


def plain_text(name: str) -> str:
    """The name itself; ValueError for half a character, which no file can hold (JSON can: a lone surrogate)."""
    name.encode()
    return name
