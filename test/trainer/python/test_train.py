"""Role train as a process: embeddings in, a model's files and its report out."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from child import Child, embedding
from drawing import draw, kinds, save
from PIL import Image

from trainer.python import facts, formats
from trainer.python.export import open_checkpoint
from trainer.python.learn import Train
from trainer.python.prepared import PreparedBackbones
from trainer.python.program import Programs, open_program


@pytest.fixture(scope="module")
def trained(train, training):
    params = training()
    answer, events = train.ask("train", params)
    assert "result" in answer, answer
    return answer["result"], events, Path(params["out"])


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))[None]


def test_progress_rises_through_all_steps(trained):
    _, events, _ = trained
    steps = [event for event in events if "written" not in event]
    percents = [event["percent"] for event in steps]
    assert percents == sorted(percents)
    assert all(0 <= percent <= 100 for percent in percents)
    assert {event["step"] for event in steps} == {"fit", "evaluate", "export", "check", "look"}
    assert all(event["secondsLeft"] is None or event["secondsLeft"] >= 0 for event in steps)


def test_the_files_are_told_once_before_they_are_checked(trained):
    result, events, _ = trained
    (at,) = [index for index, event in enumerate(events) if "written" in event]
    assert "check" not in [event["step"] for event in events[:at]]
    written = events[at]["written"]
    assert written["accuracy"] == result["accuracy"]
    assert written["artifacts"] == [one for one in result["artifacts"] if one["name"] != "report.json"]


def test_the_artifacts_are_the_files(trained):
    result, _, out = trained
    assert {artifact["name"] for artifact in result["artifacts"]} == {path.name for path in out.iterdir()}
    assert {"model.pt", "model.pt2", "model.onnx", "labels.txt", "report.json"} == {path.name for path in out.iterdir()}
    assert json.loads((out / "report.json").read_text()) == result["report"]
    assert (out / "labels.txt").read_text().splitlines() == list(kinds)


def test_the_report_adds_up(trained):
    result, _, _ = trained
    report = result["report"]
    confusion = np.array(report["confusion"])
    accuracy = report["accuracy"]
    assert confusion.shape == (3, 3)
    assert confusion.sum() == accuracy["images"] == 36
    assert accuracy["value"] == result["accuracy"] == pytest.approx(np.trace(confusion) / 36)
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert accuracy["method"] == "cross-validation"
    for row, entry in enumerate(report["classes"]):
        own = {"accuracy": pytest.approx(confusion[row, row] / 12), "background": entry["background"]}
        assert entry == {"name": kinds[row], "images": 12, "singleBurst": False} | own
        assert 0 <= entry["background"] <= 2
    assert report["format"] == 1
    assert report["seconds"].keys() == {"fit", "evaluate", "export", "check", "look"}
    assert {"torch", "onnxruntime"} <= report["versions"].keys()


def test_it_learns_what_it_is_shown(trained, ingest, tmp_path):
    """On drawings that nobody used, by the exported file."""
    _, _, out = trained
    session = onnxruntime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
    right = [
        session.run(None, {"pixels": np.asarray(draw(kind, seed))[None]})[0][0].argmax() == label
        for label, kind in enumerate(kinds)
        for seed in range(100, 120)
    ]
    assert np.mean(right) >= 0.9


def test_the_certificate_is_small_and_true(trained, pictures):
    result, _, out = trained
    certificate = result["report"]["certificate"]
    assert certificate["images"] == 8
    assert certificate["formats"].keys() == {"model.pt", "model.pt2", "model.onnx"}
    for one in certificate["formats"].values():
        assert 0 < one["maxDifference"] < 1e-3
    # Once more by hand: probabilities from raw pixels against the head of model.pt on the cached embeddings.
    session = onnxruntime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
    theirs = np.concatenate([session.run(None, {"pixels": pixels_of(path)})[0] for path in pictures.paths])
    weight, bias = head_of(out / "model.pt")
    logits = pictures.embeddings @ weight.T + bias
    ours = np.exp(logits - logits.max(axis=1, keepdims=True))
    ours /= ours.sum(axis=1, keepdims=True)
    assert np.abs(ours - theirs).max() < 1e-3
    assert np.allclose(theirs.sum(axis=1), 1, atol=1e-5)


def run_python(program: str, *arguments: str) -> str:
    """Runs a program in a process that can import torch and nothing of ours."""
    command = [sys.executable, "-I", "-c", program, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd="/").stdout


def head_of(path: Path) -> tuple[np.ndarray, np.ndarray]:
    program = """
import json, sys, torch
state = torch.load(sys.argv[1], weights_only=True)["state_dict"]
print(json.dumps([state["head.weight"].tolist(), state["head.bias"].tolist()]))
"""
    weight, bias = json.loads(run_python(program, str(path)))
    return np.array(weight), np.array(bias)


def test_model_pt_is_plain_and_loads_without_us(trained):
    _, _, out = trained
    program = """
import json, sys, torch
model = torch.load(sys.argv[1], weights_only=True)
assert not any(name.startswith("trainer") or name == "timm" for name in sys.modules)
state = model.pop("state_dict")
print(json.dumps({**model, "tensors": len(state), "all": all(type(tensor) is torch.Tensor for tensor in state.values())}))
"""
    model = json.loads(run_python(program, str(out / "model.pt")))
    assert model.keys() == {"format", "backbone", "classes", "preprocessing", "features", "tensors", "all"}
    assert model["classes"] == list(kinds)
    assert model["format"] == 2
    assert model["features"]["softsign"] == 0.5
    assert model["all"]
    assert model["tensors"] == 296


def test_model_onnx_takes_batches_of_any_size_and_names_its_classes(trained, pictures):
    _, _, out = trained
    session = onnxruntime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
    (given,), (wanted, known) = session.get_inputs(), session.get_outputs()
    assert (given.type, given.shape[3], len(given.shape)) == ("tensor(uint8)", 3, 4)
    assert (wanted.name, wanted.shape[1], known.name) == ("probabilities", 3, "familiarity")
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == list(kinds)
    batch = np.concatenate([pixels_of(pictures.paths[0])] * 3)
    together = session.run(None, {given.name: batch})[0]
    alone = session.run(None, {given.name: batch[:1]})[0]
    assert np.abs(together - alone).max() < 1e-5
    for height, width in [(1, 1), (7, 1000), (224, 224), (225, 223)]:
        probabilities = session.run(None, {given.name: np.full((1, height, width, 3), 90, np.uint8)})[0]
        assert np.isfinite(probabilities).all()


def test_the_same_seed_gives_the_same_model(train, training, trained, pictures):
    first, _, out = trained
    again = training()
    second = train.ask("train", again)[0]["result"]
    for name in ("model.onnx", "labels.txt"):
        assert (out / name).read_bytes() == (Path(again["out"]) / name).read_bytes()
    same = [{key: value for key, value in one["report"].items() if key != "seconds"} for one in (first, second)]
    assert same[0] == same[1]


def test_names_of_classes_are_only_names(train, training):
    """They are data wherever they come: never a path, a line of labels.txt more, or markup that breaks JSON."""
    names = ["../../etc/passwd", "a\r\nb\u2028c\0d", '<b>"고양이"\u202e🐈</b>' + "x" * 10_000]
    params = training(classes=names)
    result = train.ask("train", params)[0]["result"]
    out = Path(params["out"])
    assert [one["name"] for one in result["report"]["classes"]] == names
    session = onnxruntime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == names
    assert (out / "labels.txt").read_bytes().count(b"\n") == 3
    assert len((out / "labels.txt").read_text(encoding="utf-8").splitlines()) == 3


@pytest.mark.parametrize(
    ("differing", "expected"),
    [
        pytest.param({"stage": "dream"}, "head", id="stage"),
        pytest.param({"stage": "fine-tune"}, "'seconds'", id="no seconds"),
        pytest.param({"backbone": "resnet-1"}, "efficientnet-lite0", id="backbone"),
        pytest.param({"classes": ["one"]}, "from 0 to 0, got 1", id="class index out of range"),
        pytest.param({"labels": [-1] * 36}, "from 0 to 2, got -1", id="negative class index"),
        pytest.param({"embeddings": np.zeros((36, 2687))}, "10796 bytes", id="embeddings of another size"),
        pytest.param({"embeddings": np.full((36, 2688), np.nan)}, "finite", id="embeddings that are no numbers"),
        pytest.param({"records": None}, "train", id="no records"),
        pytest.param({"classes": ["a", "b", "\ud83d"]}, "train", id="half a character"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_what_was_expected(train, training, differing, expected):
    answer, _ = train.ask("train", training(**differing))
    assert answer["error"]["code"] == "bad-input", answer
    assert expected in answer["error"]["message"]


def test_records_that_end_in_the_middle_of_one_are_refused(train, training):
    params = training()
    with Path(params["records"]).open("ab") as file:
        file.write(b"x")
    answer, _ = train.ask("train", params)
    assert answer["error"]["code"] == "bad-input"
    assert f"{36 * 10796 + 1} bytes" in answer["error"]["message"]


@pytest.mark.parametrize(("classes", "labels"), [(1, [0] * 36), (2, [0] * 35 + [1]), (3, [0, 1] * 18)])
def test_too_few_classes_or_images_have_a_code_of_their_own(train, training, classes, labels):
    answer, _ = train.ask("train", training(classes=list(kinds)[:classes], labels=labels))
    assert answer["error"]["code"] == "too-few-images"
    assert answer["error"]["message"] == "Two classes need two pictures each before a model can be made."


@pytest.mark.parametrize("backbone", ["efficientnet-lite0-320", "efficientnet-lite2", "efficientnet-lite0-lite2"])
def test_the_other_backbones_work_the_same_way(train, ingest, training, pictures, backbone):
    images = [{"path": str(path), "thumbnail": None} for path in pictures.paths]
    _, events = ingest.ask("ingest", {"backbone": backbone, "limits": {"pixels": 10**7}, "images": images})
    embeddings = np.stack([embedding(event) for event in sorted(events, key=lambda event: event["image"])])
    result = train.ask("train", training(backbone=backbone, embeddings=embeddings))[0]["result"]
    assert result["accuracy"] >= 0.8
    formats = result["report"]["certificate"]["formats"]
    assert len(formats) == 3
    assert all(entry["maxDifference"] < 1e-3 for entry in formats.values()), formats


def test_model_pt2_needs_no_code_of_ours_and_takes_pictures_of_any_size(trained, pictures):
    _, _, out = trained
    program = """
import json, sys, torch
extra = {"classes.json": ""}
model = torch.export.load(sys.argv[1], extra_files=extra).module()
assert not any(name.startswith("trainer") or name == "timm" for name in sys.modules)
sizes = ((1, 1, 1), (1, 7, 1000), (3, 225, 223))
shapes = [list(model(torch.full((n, h, w, 3), 90, dtype=torch.uint8)).shape) for n, h, w in sizes]
print(json.dumps([shapes, json.loads(extra["classes.json"])]))
"""
    assert json.loads(run_python(program, str(out / "model.pt2"))) == [[[1, 3], [1, 3], [3, 3]], list(kinds)]
    # Once more by hand, against the ONNX.
    session = onnxruntime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
    ours = open_program(out / "model.pt2")
    for path in pictures.paths[::9]:
        assert np.abs(ours(pixels_of(path)[0]) - session.run(None, {"pixels": pixels_of(path)})[0][0]).max() < 1e-3


def test_a_program_is_checked_by_what_is_in_its_file(train, training, trained, pictures, tmp_path):
    """Opened the quick way or as others do, a file says the same: whatever was opened before, and whatever is wrong in it."""
    _, _, out = trained
    other = training(seed=8, classes=["x", "y", "z"], labels=(pictures.labels + 1) % 3)
    train.ask("train", other)
    wrong = torch.export.load(out / "model.pt2")
    wrong.state_dict["network.parts.0.blocks.0.0.conv_dw.weight"].data.mul_(0.5)
    torch.export.save(wrong, tmp_path / "wrong.pt2")
    quick = Programs()
    pixels = np.random.default_rng(1).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    files = [out / "model.pt2", Path(other["out"]) / "model.pt2", tmp_path / "wrong.pt2", out / "model.pt2"]
    said = [quick.open(path)(pixels) for path in files]
    assert len(quick.opened) == 2
    for path, one in zip(files, said, strict=True):
        assert np.abs(open_program(path)(pixels) - one).max() < 1e-6
    assert np.abs(said[0] - said[1]).max() > 0.01
    assert np.abs(said[0] - said[2]).max() > 1e-3


def test_no_file_holds_what_another_model_left(train, training, trained, pictures):
    """The program that takes the heads is kept: of another number of classes, and of a run before, nothing may stay."""
    first, _, out = trained
    two = training(classes=["a", "b"], labels=pictures.labels % 2)
    other = train.ask("train", two)[0]["result"]["report"]["certificate"]["formats"]["model.pt2"]
    assert other["maxDifference"] < 1e-3
    again = training()
    train.ask("train", again)
    gray = np.full((30, 40, 3), 99, np.uint8)
    assert (open_program(Path(again["out"]) / "model.pt2")(gray) == open_program(out / "model.pt2")(gray)).all()
    assert (Path(two["out"]) / "model.pt2").stat().st_size < 16_000_000


def test_memory_stays_over_many_trainings(cache, training):
    """A worker lives for weeks. Eight here: the first ones fill what is kept, after that nothing may grow."""
    with Child("train", cache, threads=1) as child:
        params = training()
        for _ in range(3):
            child.ask("train", params)
        before = child.memory("VmRSS")
        for _ in range(8):
            assert "result" in child.ask("train", params)[0]
        assert child.memory("VmRSS") < before * 1.05


def test_a_class_of_one_burst_is_named(train, training, pictures):
    """Its frames need not look alike: their burst says that they are one."""
    report = train.ask("train", training(bursts=np.where(pictures.labels == 1, 5, -1)))[0]["result"]["report"]
    assert [entry["singleBurst"] for entry in report["classes"]] == [False, True, False]
    assert report["next"] == {"code": "single-burst", "params": {"class": kinds[1]}}
    assert report["accuracy"]["groups"] <= 25


def test_without_originals_there_is_a_model_and_no_certificate(train, training):
    report = train.ask("train", training(originals=[], thumbnails=[]))[0]["result"]["report"]
    assert report["certificate"] == {"images": 0, "formats": {}}
    assert report["heatmaps"] == []


def test_files_are_checked_on_eight_originals_and_heatmaps_are_of_all_thumbnails(train, training):
    report = train.ask("train", training(originals=range(36), thumbnails=[1, 20, 35]))[0]["result"]["report"]
    assert report["certificate"]["images"] == 8
    assert [entry["image"] for entry in report["heatmaps"]] == ["picture-1", "picture-20", "picture-35"]
    assert [entry["class"] for entry in report["heatmaps"]] == [kinds[0], kinds[1], kinds[2]]


def test_a_wrong_picture_is_noticed_by_the_certificate(train, training, tmp_path):
    """A certificate that could not fail would say nothing."""
    other = save(draw("squares", 50), tmp_path / "other.png")
    report = train.ask("train", training(originals=[0], paths=[other] * 36))[0]["result"]["report"]
    assert report["certificate"]["formats"]["model.onnx"]["maxDifference"] > 0.1


def test_a_checkpoint_is_checked_by_what_is_in_it(trained, pictures, tmp_path):
    """Another head in the file gives other answers; a missing tensor none: nothing of the trainer's own network helps out."""
    _, _, out = trained
    pixels = pixels_of(pictures.paths[0])[0]
    written = torch.load(out / "model.pt", weights_only=True)
    first = open_checkpoint(out / "model.pt")(pixels)
    written["state_dict"]["blocks.0.0.conv_dw.weight"] *= 0
    torch.save(written, tmp_path / "changed.pt")
    assert np.abs(open_checkpoint(tmp_path / "changed.pt")(pixels) - first).max() > 1e-3
    del written["state_dict"]["bn1.running_mean"]
    torch.save(written, tmp_path / "missing.pt")
    with pytest.raises(RuntimeError, match="bn1.running_mean"):
        open_checkpoint(tmp_path / "missing.pt")


def test_a_new_format_is_an_entry_and_a_class(cache, training, monkeypatch):
    """The parent, the certificate and the report get it from there."""

    class Twin(formats.Format):
        def write(self, path, model):
            formats.Onnx().write(path, model)

        def open(self, path, model):
            return formats.Onnx().open(path, model)

    monkeypatch.setitem(facts.artifacts, "twin.onnx", {"type": "application/octet-stream", "writer": "Twin"})
    params = training()
    result = Train(PreparedBackbones(cache, "cpu"), 1)(params, lambda event: None)
    assert {"name": "twin.onnx", "type": "application/octet-stream"} in result["artifacts"]
    assert "twin.onnx" in result["report"]["certificate"]["formats"]
    assert (Path(params["out"]) / "twin.onnx").exists()
