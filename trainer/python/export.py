"""The files of a model, and the proof that they all say the same.

``model.onnx``: raw pixels in, calibrated probabilities and familiarity out; resize and normalisation are inside.
``model.pt``: plain tensors and values for ``torch.load(path, weights_only=True)``; its ``state_dict`` fits the timm network
that it names (of several, see network.py). ``model.pt2``: ``torch.export.load(path).module()``, pixels to probabilities.
"""

import json
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .backbone import Backbone, graph_path
from .embed import session
from .head import Head, softmax
from .prepare import familiar, head_bias, head_weight

if TYPE_CHECKING:
    import onnx
    import torch

artifact_types = {
    "model.pt": "application/octet-stream",
    "model.pt2": "application/octet-stream",
    "model.onnx": "application/octet-stream",
    "labels.txt": "text/plain; charset=utf-8",
    "report.json": "application/json",
}


def backbone_graph(cache: Path, backbone: Backbone) -> "onnx.ModelProto":
    """Pixels to probabilities, waiting for a head: the backbone was converted once, long before."""
    import onnx

    return onnx.load(graph_path(cache, backbone, "classify"))


def write_onnx(
    path: Path,
    model: "onnx.ModelProto",
    backbone: Backbone,
    head: Head,
    prototypes: np.ndarray,
    classes: list[str],
) -> None:
    """Puts the head, and what is familiar to it, into the graph."""
    from onnx import helper, numpy_helper

    weights = {head_weight: head.weight, head_bias: head.bias, familiar: prototypes}
    for constant in model.graph.initializer:
        if constant.name in weights:
            constant.CopyFrom(numpy_helper.from_array(weights[constant.name].astype(np.float32), constant.name))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = len(classes)
    model.producer_name = "AI Teacher"
    helper.set_model_props(
        model,
        {
            "classes": json.dumps(classes, ensure_ascii=False),
            "backbone": backbone.name,
            "license": backbone.license,
            "input": "uint8 RGB [N, H, W, 3], the whole picture, upright, of any size",
            "output": "probabilities [N, classes]; familiarity [N]: cosine to the nearest of what it learned",
        },
    )
    path.write_bytes(model.SerializeToString())


def write_checkpoint(
    path: Path, backbone: Backbone, network: "torch.nn.Module", head: Head, classes: list[str]
) -> None:
    import torch

    from .network import classifier_name

    last = classifier_name(network)
    state = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith(f"{last}.")}
    state[f"{last}.weight"] = torch.tensor(head.weight, dtype=torch.float32)
    state[f"{last}.bias"] = torch.tensor(head.bias, dtype=torch.float32)
    checkpoint = {
        "format": 1,
        "backbone": {"name": backbone.name, "timm": timm_names(backbone), "license": backbone.license},
        "classes": classes,
        "preprocessing": {
            "input": "uint8 RGB, the whole picture, upright",
            "size": [backbone.side, backbone.side],
            "resize": "bilinear, antialias, not cropped",
            "mean": list(backbone.mean),
            "scale": list(backbone.scale),
        },
        "state_dict": state,
    }
    # By Python's own file, which says why it could not be written; torch's does not.
    with path.open("wb") as file:
        torch.save(checkpoint, file)


def timm_names(backbone: Backbone) -> str | list[str]:
    names = [part.timm for part in backbone.parts]
    return names[0] if len(names) == 1 else names


def write_labels(path: Path, classes: list[str]) -> None:
    """One line a class, in the order of the probabilities, also where a name has a line break or the like in it."""
    lines = (
        "".join(" " if unicodedata.category(one) in ("Cc", "Zl", "Zp") else one for one in name) for name in classes
    )
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())


def open_onnx(path: Path):
    """The exported file as others run it: pixels [H, W, 3] -> probabilities [classes]."""
    opened = session(path)
    return lambda pixels: opened.run(["probabilities"], {"pixels": pixels[None]})[0][0]


def open_checkpoint(path: Path):
    """The exported file as others load it, prepared by torch's own resize: pixels [H, W, 3] -> probabilities [classes].

    The network is made without weights, and all of them have to come from the file.
    """
    import torch
    from torch.nn.functional import interpolate

    from .network import make_network, per_channel

    checkpoint = torch.load(path, weights_only=True)
    preprocessing = checkpoint["preprocessing"]
    names = checkpoint["backbone"]["timm"]
    names = [names] if isinstance(names, str) else names
    side, classes = preprocessing["size"][0], len(checkpoint["classes"])
    with torch.device("meta"):
        network = make_network(names, classes, side)
    if any(name not in checkpoint["state_dict"] for name, _ in network.named_buffers()):
        # Some compute a part of themselves from nothing but their size, and no file holds that.
        network = make_network(names, classes, side)
    mean, scale = (per_channel(preprocessing[name]) for name in ("mean", "scale"))
    network.load_state_dict(checkpoint["state_dict"], assign=True)
    network.eval()

    def run(pixels: np.ndarray) -> np.ndarray:
        planes = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float()
        resized = interpolate(planes, size=preprocessing["size"], mode="bilinear", antialias=True)
        with torch.inference_mode():
            logits = network((resized - mean) / scale)
            return logits.softmax(dim=1)[0].numpy()

    return run


def largest_difference(run, head: Head, pictures: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Between what a file says of some pictures and what the trainer says of their embeddings.

    Args:
        pictures: pixels and embedding of each.
    """
    ours = softmax(head.logits(np.stack([embedding for _, embedding in pictures])))
    theirs = np.stack([run(pixels) for pixels, _ in pictures])
    return float(np.abs(ours - theirs).max())
