"""From pixels to embeddings, in the fastest runtime of the device."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort

from .backbone import Backbone, graph_path, load_network

# Pictures that the network takes at once. On a CPU each thread computes a picture of its own: two threads that share one
# picture or batch wait for each other (on two busy cores 58 to 150 pictures a second, apart 211).
batch_size = {"cpu": 1, "cuda": 64}


class Embedder:
    """Embeds by onnxruntime on a CPU (twice to three times as fast as torch there, the same to 1e-5), by torch on a GPU.

    Its methods may be called from several threads at once.
    """

    def __init__(self, backbone: Backbone, cache: Path, device: str):
        self.batch_size = batch_size[device]
        self.prepare_session = session(graph_path(cache, backbone, "preprocess"))
        self.network: Callable[[list[np.ndarray]], np.ndarray]
        if device == "cuda":
            self.network = on_gpu(backbone, cache)
        else:
            run = session(graph_path(cache, backbone, "embed"), arena=True).run
            self.network = lambda prepared: np.concatenate(
                [run(["embedding"], {"prepared": one[None]})[0] for one in prepared]
            )

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] -> float32 [3, side, side], by the graph that every export carries."""
        return self.prepare_session.run(None, {"pixels": pixels[None]})[0][0]

    def embed(self, prepared: list[np.ndarray]) -> np.ndarray:
        """float32 [3, side, side] each -> float32 [N, features]."""
        return self.network(prepared)


def session(model: Path | bytes, arena: bool = False) -> ort.InferenceSession:
    """A session that computes on the thread that calls it, of a file or of what is in one.

    With ``arena`` it keeps its memory, which saves a twentieth of the time: for what is always given the same size. Pictures
    come in every size, and an arena would keep the largest for ever.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = arena
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def on_gpu(backbone: Backbone, cache: Path) -> Callable[[list[np.ndarray]], np.ndarray]:
    """The network on the GPU, in full precision: the exported files compute so, and pictures take longer to decode.

    On an H100 batches of 16 took 2,209 pictures a second to 2,335 in bfloat16, whose probabilities are off by up to 0.02.
    """
    import torch

    network = load_network(backbone, cache=cache).to("cuda", memory_format=torch.channels_last)

    def run(prepared: list[np.ndarray]) -> np.ndarray:
        with torch.inference_mode():
            given = torch.from_numpy(np.stack(prepared)).to("cuda", memory_format=torch.channels_last)
            return network(given).cpu().numpy()

    # What torch finds out about a GPU's convolutions it keeps for each thread, and those of a request are new ones.
    thread = ThreadPoolExecutor(1)
    return lambda prepared: thread.submit(run, prepared).result()
