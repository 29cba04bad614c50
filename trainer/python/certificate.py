"""The proof that all files of a model agree with the trainer, on the learner's own pictures."""

from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np

from .decode import open_picture
from .formats import Artifact
from .head import softmax
from .records import spread
from .stage import Model

# Originals on which every file is run.
most_checked = 8


def certify(model: Model, artifacts: list[Artifact], folder: Path, pool: Executor) -> dict[str, Any]:
    """Runs each file that classifies on some originals, from their pixels.

    @returns the report's ``certificate``: by file, the largest difference of a probability from the trainer's own.
    """
    rows = spread(model.records.with_original(), most_checked)
    if not rows:
        return {"images": 0, "formats": {}}
    pictures = [open_picture(model.records.original(row)).pixels for row in rows]
    own = softmax(model.head.logits(model.embed(rows, pictures)))

    def measure_difference(artifact: Artifact) -> float | None:
        run = artifact.format.open(folder / artifact.name, model)
        return None if run is None else float(np.abs(own - np.stack([run(pixels) for pixels in pictures])).max())

    differences = zip(artifacts, pool.map(measure_difference, artifacts), strict=True)
    formats = {
        artifact.name: {"maxDifference": difference} for artifact, difference in differences if difference is not None
    }
    return {"images": len(rows), "formats": formats}
