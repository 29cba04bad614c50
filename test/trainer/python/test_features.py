"""The features of a picture: the same ones in torch, ONNX and an exported program, for every kind of network."""

import io

import numpy as np
import onnxruntime
import pytest
import torch

from trainer.python.backbone import bundled, registry
from trainer.python.graphs import embed_graph
from trainer.python.networks import Network
from trainer.python.prepared import PreparedBackbone

# The smallest networks of timm of their kinds: convolutions with blocks, stages without blocks, attention.
small = {"test_efficientnet.r160_in1k": 160, "test_convnext.r160_in1k": 160, "test_vit.r160_in1k": 160}


def export(network: Network, side: int) -> torch.nn.Module:
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    exported = torch.export.export(
        network, (torch.zeros(2, 3, side, side),), dynamic_shapes=({0: torch.export.Dim("N", min=1)},)
    )
    file = io.BytesIO()
    torch.export.save(exported, file)
    file.seek(0)
    return torch.export.load(file).module()


def run_all(network: Network, graph: bytes, side: int) -> list[np.ndarray]:
    pictures = torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(1))
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        by_torch = [network(pictures), export(network, side)(pictures)]
    return [features.numpy() for features in by_torch] + [session.run(["embedding"], {"prepared": pictures.numpy()})[0]]


@pytest.mark.parametrize("name", bundled)
def test_a_prepared_graph_gives_the_features_of_its_network(cache, name):
    backbone = PreparedBackbone(registry[name], cache)
    side = backbone.entry.preprocessing.side
    every = run_all(backbone.load_network(), backbone.path("embed").read_bytes(), side)
    assert every[0].shape == (3, backbone.entry.features)
    assert np.ptp(np.stack(every), axis=0).max() < 1e-4


@pytest.mark.parametrize("name", small)
def test_any_network_of_timm_has_features(name):
    torch.manual_seed(1)
    network = Network([name], small[name]).eval()
    every = run_all(network, embed_graph(network, small[name]).SerializeToString(), small[name])
    assert np.ptp(np.stack(every), axis=0).max() < 1e-4
    assert np.isfinite(every[0]).all()


def test_each_block_has_length_one_and_is_what_it_says(cache):
    """By timm's own calls, as somebody would compute them who knows the description in model.pt alone."""
    backbone = PreparedBackbone(registry["efficientnet-lite0"], cache)
    network = backbone.load_network()
    pictures = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        features = network(pictures).double().numpy()
        last = network.parts[0](pictures).double().numpy()
        block = network.parts[0].forward_intermediates(pictures, indices=1, extra_blocks=True)[1][0].double().numpy()
    soft = last / (0.5 + np.abs(last))
    assert np.abs(features[:, :1280] - soft / np.linalg.norm(soft, axis=1, keepdims=True)).max() < 1e-5
    # The last level comes last, and its deviation is the mean absolute one.
    means = block.mean(axis=(2, 3))
    deviations = np.abs(block - means[:, :, None, None]).mean(axis=(2, 3))
    level = np.concatenate([means, deviations], axis=1)
    assert np.abs(features[:, -640:] - level / np.linalg.norm(level, axis=1, keepdims=True)).max() < 1e-5
    starts = np.cumsum([0, 1280, 160, 224, 384, 640])
    for start, end in zip(starts[:-1], starts[1:], strict=True):
        assert np.linalg.norm(features[:, start:end], axis=1) == pytest.approx([1, 1], abs=1e-5)
