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

from trainer.python.backbone import bundled, registry  # noqa: E402
from trainer.python.prepared import PreparedBackbone  # noqa: E402
from trainer.python.records import record_type  # noqa: E402


@pytest.fixture(scope="session")
def cache() -> Path:
    """The folder of prepared backbones that the trainer itself uses: making them takes longer than most of these tests."""
    folder = Path(os.environ.get("MODEL_CACHE") or root / ".data/models").absolute()
    if not all(PreparedBackbone(registry[name], folder).is_complete for name in bundled):
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
    """Makes the params of a training: on the drawn pictures, or on others with their labels and embeddings."""

    def params(
        ids=None,
        labels=pictures.labels,
        embeddings=pictures.embeddings,
        bursts=-1,
        paths=pictures.paths,
        originals=range(0, 36, 5),
        thumbnails=range(0, 36, 3),
        **differing,
    ):
        """``originals`` and ``thumbnails``: the rows that have one, which is the picture itself."""
        folder = tmp_path_factory.mktemp("training")
        ids = ids or [f"picture-{row}" for row in range(len(labels))]
        rows = np.zeros(len(labels), record_type(embeddings.shape[1]))
        rows["id"], rows["class"], rows["burst"], rows["embedding"] = ids, labels, bursts, embeddings
        rows.tofile(folder / "records")
        for name, some in {"originals": originals, "thumbnails": thumbnails}.items():
            (folder / name).mkdir()
            for row in some:
                (folder / name / ids[row]).symlink_to(paths[row])
        return {
            "stage": "head",
            "backbone": "efficientnet-lite0",
            "classes": list(kinds),
            "records": str(folder / "records"),
            "originals": str(folder / "originals"),
            "thumbnails": str(folder / "thumbnails"),
            "seed": 7,
            "out": str(folder / "out"),
        } | differing

    return params
