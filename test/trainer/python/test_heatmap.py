"""Heatmaps: the evidence for a class, cell by cell, and whether that is the thing or its background."""

from pathlib import Path

import numpy as np
import pytest
import torch
from child import embedding
from drawing import draw, kinds, save
from PIL import Image

from trainer.python.backbone import Backbone, registry
from trainer.python.export import open_onnx
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
    scenes, *_ = learn([lambda seed, edge=edge: framed(kinds[seed % 3], edge, seed) for edge in kinds[:2]])
    things, *_ = learn([lambda seed, thing=thing: framed(thing, kinds[seed % 3], seed) for thing in kinds[:2]])
    around_scenes, around_things = ([one["background"] for one in report["classes"]] for report in (scenes, things))
    assert min(around_scenes) > 1 > max(around_things)
    assert scenes["next"]["code"] in ("background", "more-pictures")


@pytest.mark.parametrize("backbone", ["efficientnet-lite0", "efficientnet-lite0-lite2"])
def test_a_cell_s_evidence_is_what_the_answer_changes_by(learn, cache, backbone):
    """The log odds change by the evidence of a cell where its activation grows, as far as the last layer's features go."""
    report, paths, embeddings = learn([lambda seed: draw("stripes", seed), lambda seed: draw("discs", seed)], backbone)
    entry = registry[backbone]
    feature_map = PreparedBackbone(entry, cache).feature_map
    random = np.random.default_rng(1)
    head = Head(random.normal(size=(2, embeddings.shape[1])), np.zeros(2))
    for row in (0, count):
        features, places = feature_map(np.asarray(Image.open(paths[row])))
        assert np.abs(features - embeddings[row]).max() < 1e-3
        assert np.abs(last_layers(entry, places) - features[~entry.is_level]).max() < 1e-4
        evidence = compute_evidence(1, head, entry, features, places)
        for cell in ((0, 0), (3, 4)):
            grown = places.astype(float)
            grown[:, *cell] *= 1 + 1e-4
            moved = last_layers(entry, grown) - last_layers(entry, places.astype(float))
            change = (head.weight[1] - head.weight[0])[~entry.is_level] @ moved
            assert change * evidence.size / 1e-4 == pytest.approx(evidence[cell], rel=0.01, abs=1e-4)
    assert [entry["image"] for entry in report["heatmaps"]] == [path.stem for path in paths[::4]]
    for entry in report["heatmaps"]:
        assert entry["class"] == ("one" if entry["image"].startswith("0") else "other")
        values = np.array(entry["cells"])
        assert values.ndim == 2 and values.min() >= 0 and values.max() == 99


def test_covering_the_marked_cells_changes_the_answer_more_than_covering_others(train, training, cache, pictures):
    """The model's own file says so, from pixels, on average over pictures that it has not seen."""
    params = training(originals=[], thumbnails=[])
    assert "result" in train.ask("train", params)[0]
    run = open_onnx(Path(params["out"]) / "model.onnx")
    checkpoint = torch.load(Path(params["out"]) / "model.pt", weights_only=True)["state_dict"]
    head = Head(*(checkpoint[f"head.{name}"].double().numpy() for name in ("weight", "bias")))
    entry = registry["efficientnet-lite0"]
    feature_map = PreparedBackbone(entry, cache).feature_map
    random = np.random.default_rng(1)
    marked, others = [], []
    for label, kind in enumerate(kinds):
        for seed in range(300, 308):
            pixels = np.asarray(draw(kind, seed, 224, 224))
            order = np.argsort(-compute_evidence(label, head, entry, *feature_map(pixels)).ravel())
            before = run(pixels)[label]
            marked.append(before - run(cover(pixels, order[:10]))[label])
            others.append(before - run(cover(pixels, random.permutation(order[10:])[:10]))[label])
    assert np.mean(marked) > np.mean(others) + 0.02, (np.mean(marked), np.mean(others))


def cover(pixels: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """The picture of 224 x 224 with its mean colour in some of 7 x 7 cells."""
    covered = pixels.copy()
    for row, column in zip(*np.divmod(cells, 7), strict=True):
        covered[row * 32 : row * 32 + 32, column * 32 : column * 32 + 32] = pixels.mean(axis=(0, 1))
    return covered


def last_layers(entry: Backbone, places: np.ndarray) -> np.ndarray:
    """The features of last layers that a feature map gives."""
    ends = np.cumsum([part.last_layer for part in entry.parts])[:-1]
    soft = [means / (0.5 + np.abs(means)) for means in np.split(places.mean(axis=(1, 2)), ends)]
    return np.concatenate([some / np.linalg.norm(some) for some in soft])


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
