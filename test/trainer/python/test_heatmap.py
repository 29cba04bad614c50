"""Heatmaps: what speaks for a class, place by place, and whether that is the thing or what is around it."""

from pathlib import Path

import numpy as np
import pytest
from child import embedding
from drawing import draw, save
from PIL import Image

from trainer.python.head import Head
from trainer.python.heatmap import around, cells, evidence, open_places

count = 16


def framed(middle: str, edge: str, seed: int) -> Image.Image:
    """A drawing before another."""
    picture = draw(edge, seed, 300, 300)
    picture.paste(draw(middle, 1000 + seed, 130, 130), (85, 85))
    return picture


@pytest.fixture(scope="module")
def learn(ingest, train, training, tmp_path_factory):
    """What the trainer reports of two classes of pictures, each made by a seed."""

    def report(make, backbone="efficientnet-lite0"):
        folder = tmp_path_factory.mktemp("heatmap")
        paths = [save(make[one](seed), folder / f"{one}-{seed}.png") for one in range(2) for seed in range(count)]
        embeddings = np.stack([embedding(event) for event in ingest.ingest(paths, backbone=backbone)])
        some = [{"row": row, "path": str(paths[row])} for row in range(0, 2 * count, 4)]
        params = training(
            backbone=backbone,
            classes=["one", "other"],
            images=[{"id": path.stem, "class": int(path.stem[0])} for path in paths],
            check=some,
            look=some,
        )
        embeddings.astype("<f4").tofile(params["embeddings"])
        answer, _ = train.ask("train", params)
        assert "result" in answer, answer
        return answer["result"]["report"], Path(params["out"]), paths, embeddings

    return report


def test_a_class_that_is_known_by_its_surroundings_is_told_from_one_that_is_not(learn):
    kinds = ("stripes", "discs", "squares")
    scenes, *_ = learn([lambda seed, edge=edge: framed(kinds[seed % 3], edge, seed) for edge in kinds[:2]])
    things, *_ = learn([lambda seed, thing=thing: framed(thing, kinds[seed % 3], seed) for thing in kinds[:2]])
    around_scenes, around_things = ([one["background"] for one in report["classes"]] for report in (scenes, things))
    assert min(around_scenes) > 0.65 > max(around_things)
    assert scenes["next"]["code"] in ("background", "more-pictures")


@pytest.mark.parametrize("backbone", ["efficientnet-lite0", "efficientnet-lite0-lite2"])
def test_places_add_up_to_what_the_model_says(learn, backbone):
    report, out, paths, embeddings = learn(
        [lambda seed: draw("stripes", seed), lambda seed: draw("discs", seed)], backbone
    )
    see = open_places(out / "model.onnx")
    random = np.random.default_rng(1)
    head = Head(random.normal(size=(2, embeddings.shape[1])), np.zeros(2))
    for row in (0, count):
        seen = see(np.asarray(Image.open(paths[row])))
        assert np.abs(seen.mean(axis=(1, 2)) - embeddings[row]).max() < 1e-3
        logits = head.logits(embeddings[row][None].astype(float))[0]
        assert evidence(head, seen, 1).mean() == pytest.approx(logits[1] - logits[0], abs=0.05)
    assert [one["image"] for one in report["heatmaps"]] == [path.stem for path in paths[::4]]
    for one in report["heatmaps"]:
        assert one["class"] == ("one" if one["image"].startswith("0") else "other")
        values = np.array(one["cells"])
        assert values.ndim == 2 and values.min() >= 0 and values.max() == 99


def test_the_edge_counts_by_its_area():
    assert around(np.ones((7, 7))) == pytest.approx(1)
    middle = np.zeros((7, 7))
    middle[3, 3] = 5
    assert around(middle) == 0
    assert cells(middle)[3][3] == 99
    assert cells(-middle) == np.zeros((7, 7), dtype=int).tolist()
    assert around(1 - middle) > 1
