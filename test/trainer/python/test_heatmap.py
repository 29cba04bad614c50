"""Heatmaps: the evidence for a class, cell by cell, and whether that is the thing or its background."""

import numpy as np
import pytest
from child import embedding
from drawing import draw, save
from PIL import Image

from trainer.python.backbone import registry
from trainer.python.head import Head
from trainer.python.heatmap import Heatmap, compute_evidence
from trainer.python.prepared import PreparedBackbone

count = 16


def framed(middle: str, edge: str, seed: int) -> Image.Image:
    """A drawing before another."""
    picture = draw(edge, seed, 300, 300)
    picture.paste(draw(middle, 1000 + seed, 130, 130), (85, 85))
    return picture


@pytest.fixture(scope="module")
def learn(ingest, train, training, tmp_path_factory):
    """Trains on two classes of pictures, each made by a seed."""

    def report(make, backbone="efficientnet-lite0"):
        folder = tmp_path_factory.mktemp("heatmap")
        paths = [save(make[one](seed), folder / f"{one}-{seed}.png") for one in range(2) for seed in range(count)]
        embeddings = np.stack([embedding(event) for event in ingest.ingest(paths, backbone=backbone)])
        some = range(0, 2 * count, 4)
        params = training(
            ids=[path.stem for path in paths],
            labels=[int(path.stem[0]) for path in paths],
            embeddings=embeddings,
            paths=paths,
            originals=some,
            thumbnails=some,
            backbone=backbone,
            classes=["one", "other"],
        )
        answer, _ = train.ask("train", params)
        assert "result" in answer, answer
        return answer["result"]["report"], paths, embeddings

    return report


def test_a_class_that_is_known_by_its_surroundings_is_told_from_one_that_is_not(learn):
    kinds = ("stripes", "discs", "squares")
    scenes, *_ = learn([lambda seed, edge=edge: framed(kinds[seed % 3], edge, seed) for edge in kinds[:2]])
    things, *_ = learn([lambda seed, thing=thing: framed(thing, kinds[seed % 3], seed) for thing in kinds[:2]])
    around_scenes, around_things = ([one["background"] for one in report["classes"]] for report in (scenes, things))
    assert min(around_scenes) > 0.65 > max(around_things)
    assert scenes["next"]["code"] in ("background", "more-pictures")


@pytest.mark.parametrize("backbone", ["efficientnet-lite0", "efficientnet-lite0-lite2"])
def test_the_cells_add_up_to_the_model_s_answer(learn, cache, backbone):
    report, paths, embeddings = learn([lambda seed: draw("stripes", seed), lambda seed: draw("discs", seed)], backbone)
    feature_map = PreparedBackbone(registry[backbone], cache).feature_map
    random = np.random.default_rng(1)
    head = Head(random.normal(size=(2, embeddings.shape[1])), np.zeros(2))
    for row in (0, count):
        features = feature_map(np.asarray(Image.open(paths[row])))
        assert np.abs(features.mean(axis=(1, 2)) - embeddings[row]).max() < 1e-3
        logits = head.logits(embeddings[row][None].astype(float))[0]
        assert compute_evidence(1, head, features).mean() == pytest.approx(logits[1] - logits[0], abs=0.05)
    assert [entry["image"] for entry in report["heatmaps"]] == [path.stem for path in paths[::4]]
    for entry in report["heatmaps"]:
        assert entry["class"] == ("one" if entry["image"].startswith("0") else "other")
        values = np.array(entry["cells"])
        assert values.ndim == 2 and values.min() >= 0 and values.max() == 99


def test_the_edge_counts_by_its_area():
    def heatmap(evidence: np.ndarray) -> Heatmap:
        return Heatmap("picture", 0, evidence)

    assert heatmap(np.ones((7, 7))).edge_share == pytest.approx(1)
    middle = np.zeros((7, 7))
    middle[3, 3] = 5
    assert heatmap(middle).edge_share == 0
    assert heatmap(middle).cells[3][3] == 99
    assert heatmap(-middle).cells == np.zeros((7, 7), dtype=int).tolist()
    assert heatmap(1 - middle).edge_share > 1
