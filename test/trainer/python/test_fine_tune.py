"""Stage fine-tune: in one process where its parts are looked at, by the child where its answers are."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from drawing import kinds
from PIL import Image

from trainer.python.backbone import registry
from trainer.python.blocks import Blocks
from trainer.python.certificate import certify
from trainer.python.errors import OutOfMemory
from trainer.python.evaluate import evaluate
from trainer.python.familiarity import find_prototypes
from trainer.python.fine_tune_stage import TunedModel, divide, is_better
from trainer.python.formats import open_artifacts
from trainer.python.head import fit, softmax
from trainer.python.head_stage import HeadModel
from trainer.python.learn import Train, draw_heatmaps
from trainer.python.networks import without_head
from trainer.python.prepared import PreparedBackbone, PreparedBackbones
from trainer.python.records import Records
from trainer.python.report import make_report
from trainer.python.tuner import Sides, Tuner
from trainer.python.views import read_square, vary

everything = range(36)
is_level = registry["efficientnet-lite0"].is_level


@pytest.fixture(scope="module")
def backbone(cache) -> PreparedBackbone:
    return PreparedBackbones(cache, "cpu").open("efficientnet-lite0")


@pytest.fixture(scope="module")
def records(cache, training) -> Records:
    """With their pictures."""
    params = training(stage="fine-tune", originals=everything, seconds=1, checkpoint="/nowhere")
    stage, records, _ = Train(PreparedBackbones(cache, "cpu"), 2).read(params)
    return stage.read_pictures(records)


@pytest.fixture(scope="module")
def images(records) -> torch.Tensor:
    return torch.from_numpy(records.pictures).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def tuner(backbone, head, records):
    """Makes one that has learned nothing yet."""
    return lambda: Tuner(backbone, head, records, seed=3)


@pytest.fixture(scope="module")
def head(pictures):
    # At this temperature its probabilities are neither all sure nor all alike.
    return fit(Blocks(pictures.embeddings, is_level), pictures.labels, 3, 0.1, 0.35).cooled(20)


sides = Sides(learn=np.array([0, 1, 12, 13, 24, 25]), stop=np.array([2, 14, 26]), judge=np.array([3, 15, 27]))


class Stopped(Exception):
    pass


def tune(tuning: Tuner, checkpoint: Path, epochs: int) -> Tuner:
    """Tunes for so many epochs, as a worker does that is then asked to stop."""

    def on_epoch(share: float, seconds_left: float) -> None:
        assert 0 < share <= 1
        if tuning.tuning.epoch == epochs:
            raise Stopped

    with pytest.raises(Stopped):
        tuning.run(sides, 1000, checkpoint, on_epoch)
    return tuning


def test_another_worker_goes_on_where_one_left_off_and_comes_to_the_same(tuner, tmp_path):
    whole = tune(tuner(), tmp_path / "whole", epochs=2)
    tune(tuner(), tmp_path / "parts", epochs=1)
    parts = tune(tuner(), tmp_path / "parts", epochs=2)
    assert (whole.tuning.resumed, parts.tuning.resumed) == (0, 1)
    assert [one["epoch"] for one in parts.tuning.curve] == [0, 1, 2]
    for one, other in zip(whole.averaged.parameters(), parts.averaged.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    assert [one["loss"] for one in parts.tuning.curve] == pytest.approx([one["loss"] for one in whole.tuning.curve])
    # It learned something at all, all layers of it, and the lowest the least.
    fresh = tuner()
    moved = {
        name: float((now - before).abs().mean())
        for (name, now), before in zip(whole.averaged.named_parameters(), fresh.averaged.parameters(), strict=True)
    }
    assert all(one > 0 for name, one in moved.items() if "weight" in name)
    assert moved["parts.0.conv_stem.weight"] < moved["parts.0.conv_head.weight"]


def test_what_is_learned_from_all_pictures_goes_on_with_another_worker_too(tuner, head, tmp_path):
    def learn(checkpoint: Path, *stops: int) -> Tuner:
        for stop in stops:
            tuning = tuner()
            tuning.run(sides, 0.1, checkpoint, lambda *_: None)

            def on_epoch(*_, tuning=tuning, stop=stop):
                if tuning.tuning.whole == stop:
                    raise Stopped

            with pytest.raises(Stopped):
                tuning.learn_all(head, sides, 1000, checkpoint, on_epoch)
        return tuning

    whole, parts = learn(tmp_path / "whole", 2), learn(tmp_path / "parts", 1, 2)
    assert (whole.tuning.whole, parts.tuning.whole, parts.tuning.resumed) == (2, 2, 1)
    for one, other in zip(whole.averaged.parameters(), parts.averaged.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    # What was judged is still there, and another network.
    judged = parts.run(sides, 0.1, tmp_path / "parts", lambda *_: None)
    assert not torch.equal(judged.parts[0].conv_stem.weight, parts.averaged.parts[0].conv_stem.weight)


def test_a_checkpoint_of_another_version_is_not_resumed(tuner, tmp_path):
    torch.save({"format": 1, "backbone": "efficientnet-lite0"}, tmp_path / "checkpoint")
    assert tune(tuner(), tmp_path / "checkpoint", epochs=1).tuning.resumed == 0


def test_better_is_more_than_chance():
    rng = np.random.default_rng(0)
    rival = rng.exponential(size=20)
    assert is_better(rival - 0.1, rival)
    assert not is_better(rival, rival)
    assert not is_better(rival + 0.1, rival)
    # A mean that one picture makes says nothing.
    assert not is_better(np.where(np.arange(20) == 0, 0, rival + 0.01), rival)
    assert not is_better(np.array([0.0]), np.array([1.0]))


def test_it_begins_with_the_head_s_own_answers(tuner, head, pictures):
    tuning = tuner()
    rows = np.arange(0, 36, 5)
    ours = head.logits(pictures.embeddings[rows].astype(np.float64))
    # Pictures are resized twice here, so a little differs.
    assert (tuning.logits(rows, tuning.averaged).argmax(1) == ours.argmax(1)).mean() > 0.8
    assert np.abs(tuning.logits(rows, tuning.averaged) - ours).mean() < 0.3 * np.abs(ours).mean()


def test_too_little_memory_is_answered_by_smaller_batches(tuner, monkeypatch):
    tuning = tuner()
    tried = []

    def epoch(number: int, rows: np.ndarray, most: int) -> float:
        tried.append(tuning.tuning.batch)
        if tuning.tuning.batch > holds:
            raise torch.cuda.OutOfMemoryError
        return 1.0

    monkeypatch.setattr(tuning, "run_epoch", epoch)
    holds = 2
    assert tuning.run_epoch_in_memory(0, sides.learn, 4) == 1.0
    assert tried == [8, 4, 2]
    holds = 1
    with pytest.raises(OutOfMemory):
        tuning.run_epoch_in_memory(0, sides.learn, 4)


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
    one_class = np.zeros(5, dtype=int)
    assert divide(np.array([0, 1, 0, 1]), one_class[:4]) is None
    both = divide(np.array([0, 1, 2, 3, 0]), one_class)
    assert [rows.tolist() for rows in vars(both).values()] == [[2, 3], [1], [0, 4]]
    # Each class has to be learned.
    assert divide(np.array([0, 1, 2, 0, 1]), np.array([0, 0, 0, 1, 1])) is None


def test_files_of_a_tuned_network_say_what_it_says(backbone, tuner, records, pictures, tmp_path):
    """Weights that differ from the backbone's in every layer must be in every file."""
    network = tuner().averaged
    noise = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1 + 0.05 * torch.randn(parameter.shape, generator=noise))
    embeddings, labels = records.embeddings, records.labels
    blocks = Blocks(embeddings, is_level)
    head, prototypes = fit(blocks, labels, 3, 0.1, 0.35).cooled(400), find_prototypes(blocks, labels, 3, 0.35)
    network = without_head(network).to(memory_format=torch.contiguous_format)
    evaluation = evaluate(blocks, labels, 3, 0, records.bursts)
    model = TunedModel(backbone, records, evaluation, head, network, prototypes)
    files = [artifact for artifact in open_artifacts() if not artifact.is_report]
    for artifact in files:
        artifact.format.write(tmp_path / artifact.name, model)
    with ThreadPoolExecutor(2) as pool:
        certificate = certify(model, files, tmp_path, pool)
    assert certificate["images"] == 8
    assert certificate["formats"].keys() == {"model.pt", "model.pt2", "model.onnx"}
    for name, entry in certificate["formats"].items():
        assert 0 < entry["maxDifference"] < 2e-3, name
    # The certificate could have failed: the same head on the backbone as it was gives other answers.
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    pixels = np.asarray(Image.open(pictures.paths[0]).convert("RGB"))
    tuned = session.run(None, {"pixels": pixels[None]})[0][0]
    assert np.abs(tuned - softmax(head.logits(embeddings[:1]))).max() > 0.01
    # Heatmaps are of the tuned network too.
    features, places = model.open_feature_map()(pixels)
    assert np.abs(features - model.embed([0], [pixels])[0]).max() < 1e-3
    assert np.abs(features - embeddings[0]).max() > 0.01
    assert places.shape == (1280, 7, 7)


def test_the_child_tunes_judges_and_reports(train, training, tmp_path):
    params = training(stage="fine-tune", originals=everything, seconds=3, checkpoint=str(tmp_path / "checkpoint"))
    answer, events = train.ask("train", params)
    result = answer["result"]
    tuned = result["report"]["fineTune"]
    assert sum(tuned["images"].values()) == 36
    assert tuned["epochs"] == len(tuned["curve"]) - 1 >= 1
    assert tuned["device"] == "cpu"
    if tuned["better"]:
        assert tuned["network"]["accuracy"] >= tuned["head"]["accuracy"]
        assert tuned["network"]["loss"] < tuned["head"]["loss"]
        assert tuned["bestEpoch"] > 0
    assert (tuned["wholeEpochs"] > 0) == tuned["better"]
    assert bool(result["artifacts"]) == tuned["better"]
    assert result["report"]["accuracy"]["images"] == tuned["images"]["judge"]
    steps = [event for event in events if "written" not in event]
    assert {event["step"] for event in steps} >= {"evaluate", "read", "tune"}
    percents = [event["percent"] for event in steps]
    assert percents == sorted(percents)
    assert (tmp_path / "checkpoint").exists()


def test_images_without_a_readable_original_are_left_out_of_everything(train, training, pictures, tmp_path):
    """Rows behind them move up: in the first version the certificate and the heatmaps still used the rows from before."""
    # The last picture is in the wrong class, so that the report names it.
    labels = pictures.labels.copy()
    labels[35] = 0
    params = training(
        stage="fine-tune",
        labels=labels,
        originals=[row for row in everything if row != 5],
        thumbnails=[2, 4, 14, 20, 35],
        seconds=1,
        checkpoint=str(tmp_path / "checkpoint"),
    )
    damaged = Path(params["originals"]) / "picture-17"
    damaged.unlink()
    damaged.write_bytes(pictures.paths[17].read_bytes()[:100])
    answer, _ = train.ask("train", params)
    assert "result" in answer, answer
    report = answer["result"]["report"]
    assert sum(report["fineTune"]["images"].values()) == 34
    assert [entry["images"] for entry in report["classes"]] == [12, 11, 11]
    named = {entry["image"]: entry["class"] for entry in report["suspects"] + report["hardest"]}
    assert not named.keys() & {"picture-5", "picture-17"}
    assert all(kind == kinds[labels[int(name.removeprefix("picture-"))]] for name, kind in named.items())


def test_rows_stay_together_when_an_original_in_the_middle_is_missing(backbone, training, pictures):
    """What is made of a model after that names the images that it is made of, whether the network won or not."""
    missing = (5, 17)
    # One picture of the last class is put into the first, so that the report suspects it.
    labels = pictures.labels.copy()
    labels[35] = 0
    params = training(
        stage="fine-tune",
        labels=labels,
        originals=[row for row in everything if row not in missing],
        thumbnails=[4, 5, 6, 16, 17, 18, 34],
        seconds=1,
        checkpoint="/nowhere",
    )
    stage, before, folder = Train(PreparedBackbones(backbone.cache, "cpu"), 2).read(params)
    records = stage.read_pictures(before)
    kept = [row for row in everything if row not in missing]
    assert records.ids == [f"picture-{row}" for row in kept]
    assert records.labels.tolist() == labels[kept].tolist()
    assert np.array_equal(records.embeddings, pictures.embeddings[kept].astype(float))
    for row, name in enumerate(records.ids):
        assert np.array_equal(records.pictures[row], read_square(before.originals / name, records.pictures.shape[1]))
    # A head that nearly knows the pictures by heart: with the embeddings of other rows the certificate would differ.
    blocks = Blocks(records.embeddings, is_level)
    head = fit(blocks, records.labels, 3, 0.01, 1).cooled(60)
    prototypes = find_prototypes(blocks, records.labels, 3, 1)
    evaluation = evaluate(blocks, records.labels, 3, 0, records.bursts)
    model = HeadModel(backbone, records, evaluation, head, backbone.network, prototypes)
    files = [artifact for artifact in open_artifacts() if artifact.name == "model.onnx"]
    folder.mkdir()
    files[0].format.write(folder / "model.onnx", model)
    with ThreadPoolExecutor(2) as pool:
        certificate = certify(model, files, folder, pool)
        heatmaps = [heatmap.result() for heatmap in draw_heatmaps(model, pool)]
    assert certificate["formats"]["model.onnx"]["maxDifference"] < 1e-3
    report = make_report(stage, model, {}, heatmaps, certificate)
    assert {entry["image"]: entry["class"] for entry in report["heatmaps"]} == {
        f"picture-{row}": kinds[labels[row]] for row in (4, 6, 16, 18, 34)
    }
    suspects = {entry["image"]: entry["class"] for entry in report["suspects"]}
    assert suspects["picture-35"] == kinds[0]
    assert all(kind == kinds[labels[int(name.removeprefix("picture-"))]] for name, kind in suspects.items())


def test_too_few_pictures_to_tune_have_a_code(train, training, pictures, tmp_path):
    rows = [0, 1, 12, 13]
    params = training(
        stage="fine-tune",
        labels=[0, 0, 1, 1],
        embeddings=pictures.embeddings[rows],
        paths=[pictures.paths[row] for row in rows],
        originals=range(4),
        thumbnails=[],
        classes=["a", "b"],
        seconds=3,
        checkpoint=str(tmp_path / "checkpoint"),
    )
    assert train.ask("train", params)[0]["error"]["code"] == "too-few-images"
    # One original of a class is too few, however many embeddings there are.
    (Path(params["originals"]) / "picture-0").unlink()
    assert train.ask("train", params)[0]["error"]["code"] == "too-few-images"
