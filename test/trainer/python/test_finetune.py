"""Stage fine-tune: in one process where its parts are looked at, by the child where its answers are."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from trainer.python.backbone import registry
from trainer.python.errors import OutOfMemory
from trainer.python.evaluate import evaluate
from trainer.python.familiarity import find_prototypes
from trainer.python.finetune import FineTune, Sides, divide, is_better, read_pictures, vary
from trainer.python.head import fit, softmax
from trainer.python.request import read
from trainer.python.train import Learned, Train

lite0 = registry["efficientnet-lite0"]


@pytest.fixture(scope="module")
def images(pictures):
    return read_pictures(pictures.paths, lite0.side, 2)


@pytest.fixture(scope="module")
def head(pictures):
    return fit(pictures.embeddings.astype(np.float64), pictures.labels, 3, 0.003)


sides = Sides(learn=np.array([0, 1, 12, 13, 24, 25]), stop=np.array([2, 14, 26]), judge=np.array([3, 15, 27]))


def tune(images, head, pictures, checkpoint: Path, epochs: int) -> FineTune:
    """That stops after so many epochs, as a worker that is told to."""
    tuning = FineTune(lite0, head, images, pictures.labels, "cpu", seed=3)

    class Stopped(Exception):
        pass

    def told(share: float, left: float) -> None:
        assert 0 < share <= 1
        if tuning.tuning.epoch == epochs:
            raise Stopped

    with pytest.raises(Stopped):
        tuning.run(sides, 1000, checkpoint, told)
    return tuning


def test_another_worker_goes_on_where_one_left_off_and_comes_to_the_same(images, head, pictures, tmp_path):
    whole = tune(images, head, pictures, tmp_path / "whole", epochs=2)
    tune(images, head, pictures, tmp_path / "parts", epochs=1)
    parts = tune(images, head, pictures, tmp_path / "parts", epochs=2)
    assert (whole.tuning.resumed, parts.tuning.resumed) == (0, 1)
    assert [one["epoch"] for one in parts.tuning.curve] == [0, 1, 2]
    for one, other in zip(whole.averaged.parameters(), parts.averaged.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    assert [one["loss"] for one in parts.tuning.curve] == pytest.approx([one["loss"] for one in whole.tuning.curve])
    # It learned something at all, all layers of it, and the lowest the least.
    fresh = FineTune(lite0, head, images, pictures.labels, "cpu", seed=3)
    moved = {
        name: float((now - before).abs().mean())
        for (name, now), before in zip(whole.averaged.named_parameters(), fresh.averaged.parameters(), strict=True)
    }
    assert all(one > 0 for name, one in moved.items() if "weight" in name)
    assert moved["conv_stem.weight"] < moved["conv_head.weight"]


def test_what_is_learned_from_all_pictures_goes_on_with_another_worker_too(images, head, pictures, tmp_path):
    class Stopped(Exception):
        pass

    def learn(checkpoint: Path, *stops: int) -> FineTune:
        for stop in stops:
            tuning = FineTune(lite0, head, images, pictures.labels, "cpu", seed=3)
            tuning.run(sides, 0.1, checkpoint, lambda *_: None)

            def told(*_, tuning=tuning, stop=stop):
                if tuning.tuning.whole == stop:
                    raise Stopped

            with pytest.raises(Stopped):
                tuning.learn_all(head, sides, 1000, checkpoint, told)
        return tuning

    whole, parts = learn(tmp_path / "whole", 2), learn(tmp_path / "parts", 1, 2)
    assert (whole.tuning.whole, parts.tuning.whole, parts.tuning.resumed) == (2, 2, 1)
    for one, other in zip(whole.averaged.parameters(), parts.averaged.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    # What was judged is still there, and another network.
    judged = parts.run(sides, 0.1, tmp_path / "parts", lambda *_: None)
    assert not torch.equal(judged.conv_stem.weight, parts.averaged.conv_stem.weight)


def test_better_is_more_than_chance():
    rng = np.random.default_rng(0)
    rival = rng.exponential(size=20)
    assert is_better(rival - 0.1, rival)
    assert not is_better(rival, rival)
    assert not is_better(rival + 0.1, rival)
    # A mean that one picture makes says nothing.
    assert not is_better(np.where(np.arange(20) == 0, 0, rival + 0.01), rival)
    assert not is_better(np.array([0.0]), np.array([1.0]))


def test_it_begins_with_the_head_s_own_answers(images, head, pictures):
    tuning = FineTune(lite0, head, images, pictures.labels, "cpu", seed=3)
    rows = np.arange(0, 36, 5)
    ours = head.logits(pictures.embeddings[rows].astype(np.float64))
    # Pictures are resized twice here, so a little differs.
    assert (tuning.logits(rows, tuning.averaged).argmax(1) == ours.argmax(1)).mean() > 0.8
    assert np.abs(tuning.logits(rows, tuning.averaged) - ours).mean() < 0.3 * np.abs(ours).mean()


def test_too_little_memory_is_answered_by_smaller_batches(images, head, pictures, monkeypatch):
    tuning = FineTune(lite0, head, images, pictures.labels, "cpu", seed=3)
    tried = []

    def epoch(number: int, rows: np.ndarray, most: int) -> float:
        tried.append(tuning.tuning.batch)
        if tuning.tuning.batch > holds:
            raise torch.cuda.OutOfMemoryError
        return 1.0

    monkeypatch.setattr(tuning, "epoch", epoch)
    holds = 2
    assert tuning.epoch_in_memory(0, sides.learn, 4) == 1.0
    assert tried == [8, 4, 2]
    holds = 1
    with pytest.raises(OutOfMemory):
        tuning.epoch_in_memory(0, sides.learn, 4)


def test_no_two_views_of_a_picture_are_alike_and_all_are_pictures(images):
    same = images[:1].expand(6, -1, -1, -1)
    views = vary(same, 224, torch.Generator().manual_seed(1))
    assert views.shape == (6, 3, 224, 224)
    assert views.min() >= 0 and views.max() <= 255
    assert all((views[0] - one).abs().mean() > 3 for one in views[1:])
    again = vary(same, 224, torch.Generator().manual_seed(1))
    assert torch.equal(views, again)


def test_a_view_is_not_mirrored():
    """A learner may teach left and right."""
    left = torch.zeros(50, 3, 257, 257)
    left[..., :80] = 255
    views = vary(left.to(torch.uint8), 224, torch.Generator().manual_seed(1)).mean((1, 2))
    assert (views[:, :60].mean(1) > views[:, -60:].mean(1)).all()


def test_sides_need_three_folds():
    assert divide(np.array([0, 1, 0, 1])) is None
    both = divide(np.array([0, 1, 2, 3, 0]))
    assert [rows.tolist() for rows in vars(both).values()] == [[2, 3], [1], [0, 4]]


def test_files_of_a_tuned_network_say_what_it_says(cache, training, pictures):
    """Weights that differ from the backbone's in every layer must be in every file."""
    train = Train(cache, 1, "cpu")
    params = training(
        stage="fine-tune", pictures=[str(path) for path in pictures.paths], seconds=1, checkpoint="/nowhere"
    )
    request = read(params)
    request.out.mkdir()
    tuning = FineTune(
        lite0, fit(request.embeddings, pictures.labels, 3, 0.01), torch.zeros(0), pictures.labels, "cpu", 0
    )
    noise = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in tuning.averaged.parameters():
            parameter.mul_(1 + 0.05 * torch.randn(parameter.shape, generator=noise))
    tuning.averaged.classifier = torch.nn.Identity()
    head = fit(request.embeddings, pictures.labels, 3, 0.01)
    evaluation = evaluate(request.embeddings, request.labels, 3, 0)
    prototypes = find_prototypes(request.embeddings, request.labels, 3)
    learned = Learned(evaluation, head, tuning.averaged, prototypes)
    train.write(request, learned)
    formats = train.check(request, learned)
    assert formats.keys() == {"model.pt", "model.pt2", "model.onnx"}
    for name, one in formats.items():
        assert 0 < one["maxDifference"] < 2e-3, name
    # The certificate could have failed: the same head on the backbone as it was says something else.
    session = onnxruntime.InferenceSession(request.out / "model.onnx", providers=["CPUExecutionProvider"])
    path = pictures.paths[0]
    tuned = session.run(None, {"pixels": np.asarray(Image.open(path).convert("RGB"))[None]})[0][0]
    assert np.abs(tuned - softmax(head.logits(request.embeddings[:1]))).max() > 0.01


def test_the_child_tunes_judges_and_tells(train, training, pictures, tmp_path):
    params = training(
        stage="fine-tune",
        pictures=[str(path) for path in pictures.paths],
        seconds=3,
        checkpoint=str(tmp_path / "checkpoint"),
    )
    answer, events = train.ask("train", params)
    result = answer["result"]
    told = result["report"]["fineTune"]
    assert sum(told["images"].values()) == 36
    assert told["epochs"] == len(told["curve"]) - 1 >= 1
    assert told["device"] == "cpu"
    if told["better"]:
        assert told["network"]["accuracy"] >= told["head"]["accuracy"]
        assert told["network"]["loss"] < told["head"]["loss"]
        assert told["bestEpoch"] > 0
    assert (told["wholeEpochs"] > 0) == told["better"]
    assert bool(result["artifacts"]) == told["better"]
    assert result["report"]["accuracy"]["images"] == told["images"]["judge"]
    assert {event["step"] for event in events if "written" not in event} >= {"evaluate", "read", "tune"}
    assert (tmp_path / "checkpoint").exists()


def test_too_few_pictures_to_tune_are_told(train, training, pictures, tmp_path):
    rows = [0, 1, 12, 13]
    params = training(
        stage="fine-tune",
        images=[{"id": str(row), "class": int(row >= 12)} for row in rows],
        classes=["a", "b"],
        check=[],
        look=[],
        pictures=[str(pictures.paths[row]) for row in rows],
        seconds=3,
        checkpoint=str(tmp_path / "checkpoint"),
    )
    pictures.embeddings[rows].astype("<f4").tofile(params["embeddings"])
    assert train.ask("train", params)[0]["error"]["code"] == "too-few-images"
