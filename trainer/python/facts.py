"""The facts that all programs of the project share: each file of functions/shared/*.json that Python reads."""

import json
from pathlib import Path
from typing import Any

folder = Path(__file__).parents[2] / "functions/shared"


def read(name: str) -> Any:
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


artifacts: dict[str, dict[str, str]] = read("artifacts")
"""The files of a model: name -> ``type`` (of the content) and ``writer`` (a class of formats.py)."""
backbones: list[dict[str, Any]] = read("backbones")
"""The pretrained networks (see backbone.py)."""
codes: dict[str, dict[str, Any]] = read("codes")
"""The conditions that are reported: code -> ``message`` with ``{params}``."""
embeddings: dict[str, int] = read("embeddings")
"""The ``version`` of embeddings: raised with every change of what a picture's features are."""
images: dict[str, Any] = read("images")
"""Accepted pictures: ``types``, ``pixels`` (at most), ``thumbnailSide`` (pixels)."""
stages: dict[str, dict[str, Any]] = read("stages")
"""The ways to make a model (see stages.py)."""
thresholds: dict[str, Any] = read("thresholds")
"""Numbers that decide what is reported."""
