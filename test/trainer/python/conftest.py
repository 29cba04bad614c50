import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from child import Child, embedding, root
from drawing import draw, kinds, save

# Of the tree whose tests these are.
sys.path.insert(0, str(root))

from trainer.python.backbone import bundled, prepared_files, prepared_path, registry  # noqa: E402


@pytest.fixture(scope="session")
def cache() -> Path:
    """The folder of prepared backbones that the trainer itself uses: making them takes longer than most of these tests."""
    folder = Path(os.environ.get("MODEL_CACHE") or root / ".data/models").absolute()
    complete = all(
        prepared_path(folder, registry[name], file).exists()
        for name in bundled
        for file in prepared_files(registry[name])
    )
    if not complete:
        subprocess.run([sys.executable, "-m", "trainer.python.prepare", "--cache", folder], check=True, cwd=root)
    return folder


@pytest.fixture(scope="session")
def ingest(cache):
    with Child("ingest", cache) as child:
        yield child


@pytest.fixture(scope="session")
def train(cache):
    with Child("train", cache) as child:
        yield child


@pytest.fixture(scope="session")
def pictures(ingest, tmp_path_factory):
    """Twelve drawn pictures of each of three kinds, of odd sizes and every accepted type, with their embeddings."""
    folder = tmp_path_factory.mktemp("pictures")
    paths, labels = [], []
    for label, kind in enumerate(kinds):
        for seed in range(12):
            image = draw(kind, seed, 161 + 37 * seed, 443 - 23 * seed)
            paths.append(save(image, folder / f"{kind}-{seed}.{('jpg', 'png', 'webp')[seed % 3]}"))
            labels.append(label)
    return SimpleNamespace(
        paths=paths,
        labels=np.array(labels),
        embeddings=np.stack([embedding(event) for event in ingest.ingest(paths)]),
    )


@pytest.fixture(scope="session")
def training(pictures, tmp_path_factory):
    """Makes the params of a training on the drawn pictures, with whatever differs."""

    def params(**differing):
        folder = tmp_path_factory.mktemp("training")
        pictures.embeddings.astype("<f4").tofile(folder / "embeddings.f32")
        return {
            "stage": "head",
            "backbone": "efficientnet-lite0",
            "classes": list(kinds),
            "images": [{"id": str(row), "class": int(label)} for row, label in enumerate(pictures.labels)],
            "embeddings": str(folder / "embeddings.f32"),
            "check": [{"row": row, "path": str(pictures.paths[row])} for row in range(0, 36, 5)],
            "look": [{"row": row, "path": str(pictures.paths[row])} for row in range(0, 36, 3)],
            "seed": 7,
            "out": str(folder / "out"),
        } | differing

    return params
