"""Backbones that timm brings: found where its download would have put them, and as good as the bundled ones from then on."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from child import Child, embedding, root
from drawing import kinds
from PIL import Image
from safetensors.torch import save_file

from trainer.python import export, facts
from trainer.python.backbone import Backbone, Part, Preprocessing, bundled, registry
from trainer.python.errors import BadInput
from trainer.python.learning_rates import group_by_rate
from trainer.python.networks import Network
from trainer.python.prepare import check_entry
from trainer.python.prepared import find_backbone
from trainer.python.program import open_program
from trainer.python.weights import count_features

# The smallest of timm: with convolutions, batch norm and `classifier`; with attention and `head`.
models = ["test_efficientnet.r160_in1k", "test_vit.r160_in1k"]


def put_weights(home: Path, model: str, pictures: SimpleNamespace) -> None:
    """Laid out as `hf download timm/MODEL` does it, for nobody can download on a machine of tests: a network that knows the
    drawings by heart, so that its embeddings tell them apart only where these very weights are used, and as they are meant."""
    folder = home / "hub" / f"models--timm--{model}"
    for name in ("refs", "snapshots/1234"):
        (folder / name).mkdir(parents=True)
    (folder / "refs/main").write_text("1234")
    state = timm.create_model(model, pretrained=False).state_dict() | teach(model, pictures)
    save_file(
        {name: tensor.contiguous() for name, tensor in state.items()}, folder / "snapshots/1234/model.safetensors"
    )


def teach(model: str, pictures: SimpleNamespace) -> dict[str, torch.Tensor]:
    """Weights of all but the last layer."""
    torch.manual_seed(5)
    network = timm.create_model(model, pretrained=False, num_classes=len(kinds))
    last = network.get_classifier()
    told = timm.get_pretrained_cfg(model)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (told.mean, told.std))
    images = [np.asarray(Image.open(path).convert("RGB").resize((160, 160))) for path in pictures.paths]
    given = (torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 255 - mean) / std
    truth = torch.from_numpy(pictures.labels)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for step in range(300):
        loss = torch.nn.functional.cross_entropy(network(given), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 19 and all_right(network, given, truth):
            break
    last = {id(tensor) for tensor in last.state_dict(keep_vars=True).values()}
    return {
        name: tensor.detach() for name, tensor in network.state_dict(keep_vars=True).items() if id(tensor) not in last
    }


def all_right(network: torch.nn.Module, given: torch.Tensor, truth: torch.Tensor) -> bool:
    with torch.inference_mode():
        right = (network.eval()(given).argmax(1) == truth).all().item()
    network.train()
    return right


@pytest.fixture(scope="module")
def offline(pictures, tmp_path_factory):
    """A machine without internet, a folder of weights that was brought, and an empty cache of prepared backbones."""
    folder = tmp_path_factory.mktemp("offline")
    for model in models:
        put_weights(folder / "home", model, pictures)
    environment = {"HF_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1"}
    return SimpleNamespace(cache=folder / "cache", environment=environment, names=[f"timm/{model}" for model in models])


@pytest.fixture(scope="module")
def prepared(offline):
    """What a worker does at its start where they are offered."""
    with Child("ingest", offline.cache, environment=offline.environment, backbones=offline.names) as child:
        assert child.ready["backbones"] == offline.names
    # From now on nobody needs what was brought: the children of the tests do not get it.
    return offline.cache


@pytest.fixture(scope="module", params=range(len(models)), ids=models)
def learned(request, prepared, offline, pictures, training):
    name = offline.names[request.param]
    alone = {"HF_HOME": str(prepared / "nothing"), "HF_HUB_OFFLINE": "1"}
    with Child("ingest", prepared, environment=alone, backbones=[name]) as child:
        embeddings = np.stack([embedding(event) for event in child.ingest(pictures.paths, backbone=name)])
    with Child("train", prepared, environment=alone, backbones=[name]) as train:
        params = training(backbone=name, embeddings=embeddings, originals=range(36))
        yield SimpleNamespace(
            name=name, params=params, embeddings=embeddings, train=train, answer=train.ask("train", params)[0]
        )


def test_files_of_a_head_say_what_the_trainer_says(learned, pictures):
    assert "result" in learned.answer, learned.answer
    report = learned.answer["result"]["report"]
    certificate = report["certificate"]["formats"]
    assert set(certificate) == {"model.pt", "model.pt2", "model.onnx"}
    assert all(one["maxDifference"] < 1e-3 for one in certificate.values()), certificate
    assert report["backbone"] == learned.name
    # What agrees is a model that tells the classes apart, and not all the same answer.
    assert report["accuracy"]["value"] > 0.7
    # The embedding of one is the mean of what it sees at each place, of the other it is not.
    assert len(report["heatmaps"]) == (12 if "efficientnet" in learned.name else 0)


def test_files_work_where_nothing_of_ours_is(learned, pictures):
    out = Path(learned.params["out"])
    pixels = np.random.default_rng(1).integers(0, 256, (97, 203, 3), dtype=np.uint8)
    said = [one(out / name)(pixels) for one, name in ((export.open_onnx, "model.onnx"), (open_program, "model.pt2"))]
    kept = torch.load(out / "model.pt", weights_only=True)
    # As somebody does it who knows torch and timm alone.
    network = timm.create_model(kept["backbone"]["timm"], num_classes=0)
    weight, bias = (kept["state_dict"].pop(f"head.{name}") for name in ("weight", "bias"))
    network.load_state_dict(kept["state_dict"])
    told = kept["preprocessing"]
    centre, scale = (torch.tensor(told[name]).view(3, 1, 1) for name in ("mean", "scale"))
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    resized = torch.nn.functional.interpolate(planes, told["size"], mode="bilinear", antialias=True)
    with torch.inference_mode():
        output, levels = network.eval().forward_intermediates(
            (resized - centre) / scale, **kept["features"]["forward_intermediates"][0]
        )
        last = network.forward_head(output, pre_logits=True)
        blocks = [last / (kept["features"]["softsign"] + last.abs())]
        for level in levels:
            mean = level.mean((2, 3), keepdim=True)
            blocks.append(torch.cat([mean.flatten(1), 2 * (level - mean).relu().mean((2, 3))], dim=1))
        features = torch.cat([block / block.norm(dim=1) for block in blocks], dim=1)
        said.append((features @ weight.T + bias).softmax(1)[0].numpy())
    assert np.ptp(np.stack(said), axis=0).max() < 1e-3
    # What timm itself says of its models is what is inside the graphs.
    config = timm.data.resolve_data_config(model=network)
    assert np.allclose(np.array(told["mean"]) / 255, config["mean"], atol=1e-6)
    assert np.allclose(np.array(told["scale"]) / 255, config["std"], atol=1e-6)


def test_the_network_itself_is_tuned_and_its_files_agree(learned, pictures, tmp_path):
    tuning = {"seconds": 60, "checkpoint": str(tmp_path / "checkpoint")}
    asked = learned.params | {"stage": "fine-tune", "out": str(tmp_path / "out"), **tuning}
    answer, _ = learned.train.ask("train", asked)
    assert "result" in answer, answer
    report = answer["result"]["report"]
    curve = report["fineTune"]["curve"]
    assert len(curve) > 2
    assert np.isfinite([one["loss"] for one in curve]).all()
    assert len({one["loss"] for one in curve}) > 1
    if report["fineTune"]["better"]:
        assert all(one["maxDifference"] < 1e-3 for one in report["certificate"]["formats"].values())


@pytest.mark.parametrize("role", ["ingest", "train"])
def test_a_worker_without_the_weights_says_what_to_do(role, tmp_path):
    command = [sys.executable, "-m", "trainer.python.main", "--role", role, "--cache", str(tmp_path / "cache")]
    child = subprocess.Popen(
        [*command, "--device", "cpu", "--backbones", f"timm/{models[1]}"],
        cwd=root,
        env={"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PATH": "/usr/bin"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        # Its input stays open: a child whose parent is gone ends without a word.
        said = child.stderr.read()
        assert child.wait() == 1
        assert child.stdout.read() == ""
    last = said.strip().splitlines()[-1]
    assert last.startswith(f"The weights of the backbone timm/{models[1]} ")
    assert all(word in last for word in ("BACKBONES", "--backbones", "HF_HOME"))


def test_an_unknown_name_is_answered_by_near_ones():
    with pytest.raises(BadInput, match="convnext_tiny.fb_in22k"):
        find_backbone("timm/convnext_tiny.fb_in22")
    with pytest.raises(BadInput, match="efficientnet-lite0"):
        find_backbone("resnet")


@pytest.mark.parametrize(
    "entry", [one for one in facts.backbones if one["name"] not in bundled], ids=lambda one: one["name"]
)
def test_an_entry_says_what_timm_says(entry):
    """Licence, normalisation, features and megabytes; its network takes a head, and pictures of its side."""
    [part] = entry["parts"]
    backbone, side, told = registry[entry["name"]], entry["side"], timm.get_pretrained_cfg(part["timm"])
    assert entry["license"].lower() == told.license
    for ours, theirs in ((entry["mean"], told.mean), (entry["scale"], told.std)):
        assert np.allclose(ours, np.array(theirs) * 255)
    with torch.device("meta"):
        network = Network([part["timm"]], side, backbone.features, 2).eval()
        plain = Network([part["timm"]], side).eval()
    megabytes = sum(one.numel() for one in plain.parameters()) * 4 / 1e6
    assert abs(entry["megabytes"] - megabytes) < 1
    with torch.inference_mode():
        assert plain(torch.zeros(1, 3, side, side, device="meta")).shape == (1, backbone.features)
    assert count_features(part["timm"], side) == (part["features"], part["lastLayer"])
    groups = group_by_rate(network)
    tops = [group["top"] for group in groups[1:]]
    # Every parameter is in one group, the newest layers learn fastest, the oldest as slow as EfficientNet's.
    listed = [id(one) for group in groups for one in group["params"]]
    assert sorted(listed) == sorted(id(one) for one in network.parameters())
    assert tops == sorted(tops, reverse=True) and tops[0] == 1e-4
    assert tops[-1] == pytest.approx(1e-4 * 0.6**8)


def test_an_entry_that_says_other_than_its_network_is_refused():
    wrong = Backbone("wrong", (Part(models[1], 99, 64),), Preprocessing(160, (127.5,) * 3, (127.5,) * 3), "Apache-2.0")
    with pytest.raises(BadInput, match="99 features"):
        check_entry(wrong, Network([models[1]], 160).eval())
