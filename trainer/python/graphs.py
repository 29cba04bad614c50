"""The graphs of a backbone, which prepare.py stores and the exports of a model are made from.

- ``preprocess`` (ONNX): uint8 RGB [N, H, W, 3] of any size -> float32 [N, 3, side, side];
- ``embed`` (ONNX): that -> float32 embeddings [N, features], and the feature map where there is one (networks.py, heatmap.py);
- ``classify`` (ONNX): pixels -> probabilities and familiarity, both of these joined with a head of zeros;
- ``program``: pixels -> probabilities by ``torch.export``, with a head of zeros.

The trainer, every export and predict prepare a picture by the same ``preprocess``.
"""

import numpy as np
import onnx
import torch
from onnx import TensorProto, compose, helper, numpy_helper

from .backbone import Preprocessing
from .networks import FromPixels, Network, WithFeatureMap, has_feature_map

opset = 18
# Constants of ``classify`` that export.py replaces.
head_weight, head_bias, familiar = "head.weight", "head.bias", "familiar.prototypes"
# The feature map's name in ``embed`` and ``classify``, which prepared.py and heatmap.py read.
feature_map = "places"
# The classes of the heads of zeros.
program_classes = 2


def preprocess_graph(preprocessing: Preprocessing) -> onnx.ModelProto:
    """Cast, one antialiased resize (as Pillow's bilinear: ONNX Resize-18 with antialias), normalise."""
    side = preprocessing.side
    mean, scale = (
        np.array(values, dtype=np.float32).reshape(3, 1, 1) for values in (preprocessing.mean, preprocessing.scale)
    )
    constants = {"pixel.size": np.array([side, side], dtype=np.int64), "pixel.mean": mean, "pixel.scale": scale}
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
    return make_model(
        nodes,
        "preprocess",
        helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", "H", "W", 3]),
        [helper.make_tensor_value_info("prepared", TensorProto.FLOAT, ["N", 3, side, side])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )


def embed_graph(network: Network, side: int) -> onnx.ModelProto:
    """The network without a head, by torch's exporter; the example is zeros, for an exporter may store its example."""
    example = torch.zeros(2, 3, side, side)
    with_map = has_feature_map(network, side)
    exported = torch.onnx.export(
        WithFeatureMap(network).eval() if with_map else network,
        (example,),
        dynamo=True,
        opset_version=opset,
        input_names=["prepared"],
        output_names=["embedding", feature_map] if with_map else ["embedding"],
        dynamic_shapes=({0: torch.export.Dim("N")},),
        verbose=False,
    )
    proto = exported.model_proto
    # Graphs can only be joined when they have one version of the format.
    proto.ir_version = 10
    return proto


def classify_graph(preprocess: onnx.ModelProto, embed: onnx.ModelProto, features: int) -> onnx.ModelProto:
    joined = compose.merge_models(preprocess, embed, io_map=[("prepared", "prepared")])
    whole = compose.merge_models(joined, head_graph(features), io_map=[("embedding", "embedding")])
    # The feature map stays inside: heatmap.py makes it an output for itself.
    outputs = [output for output in whole.graph.output if output.name != feature_map]
    del whole.graph.output[:]
    whole.graph.output.extend(outputs)
    return whole


def classify_graph_of(network: Network, preprocessing: Preprocessing, features: int) -> onnx.ModelProto:
    """The graph ``classify`` of a network that no backbone has, such as a fine-tuned one."""
    return classify_graph(preprocess_graph(preprocessing), embed_graph(network, preprocessing.side), features)


def head_graph(features: int) -> onnx.ModelProto:
    """Probabilities of an embedding, and its familiarity (familiarity.py): the highest product with a prototype.

    export.py replaces the zeros.
    """
    nodes = [
        helper.make_node("Gemm", ["embedding", head_weight, head_bias], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("Gemm", ["embedding", familiar], ["cosines"], transB=1),
        helper.make_node("ReduceMax", ["cosines", "familiar.axis"], ["familiarity"], keepdims=0),
    ]
    weights = [
        numpy_helper.from_array(np.zeros((program_classes, features), dtype=np.float32), head_weight),
        numpy_helper.from_array(np.zeros(program_classes, dtype=np.float32), head_bias),
        numpy_helper.from_array(np.zeros((1, features), dtype=np.float32), familiar),
        numpy_helper.from_array(np.array([1], dtype=np.int64), "familiar.axis"),
    ]
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", features])
    probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", "classes"])
    familiarity = helper.make_tensor_value_info("familiarity", TensorProto.FLOAT, ["N"])
    return make_model(nodes, "head", embedding, [probabilities, familiarity], weights)


def make_model(
    nodes: list[onnx.NodeProto],
    name: str,
    given: onnx.ValueInfoProto,
    results: list[onnx.ValueInfoProto],
    constants: list[onnx.TensorProto],
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, name, [given], results, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def program_graph(network: Network, preprocessing: Preprocessing) -> torch.export.ExportedProgram:
    """Pixels -> probabilities with a head of zeros; the example is zeros too, for the file stores it."""
    whole = FromPixels(network, preprocessing)
    for parameter in whole.parameters():
        parameter.requires_grad_(False)
    for parameter in network.head.parameters():
        torch.nn.init.zeros_(parameter)
    sizes = {axis: torch.export.Dim(name, min=1) for axis, name in enumerate(("N", "H", "W"))}
    example = torch.zeros(2, 48, 64, 3, dtype=torch.uint8)
    return torch.export.export(whole.eval(), (example,), dynamic_shapes={"pixels": sizes})
