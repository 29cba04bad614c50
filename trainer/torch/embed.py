"""From pixels to embeddings, in the fastest runtime of the device."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort

from .backbone import Backbone, graph_path, load_network

batch_size = {"cpu": 8, "cuda": 64}


class Embedder:
    """Embeds by onnxruntime on a CPU (twice to three times as fast as torch there, the same to 1e-5) and by torch on a GPU."""

    def __init__(self, backbone: Backbone, cache: Path, threads: int, device: str):
        self.backbone = backbone
        self.batch_size = batch_size[device]
        self.prepare_session = session(graph_path(cache, backbone, "preprocess"), 1)
        self.network: Callable[[np.ndarray], np.ndarray]
        if device == "cuda":
            self.network = on_gpu(backbone)
        else:
            run = session(graph_path(cache, backbone, "embed"), threads).run
            self.network = lambda prepared: run(None, {"prepared": prepared})[0]

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] -> float32 [3, side, side], by the graph that every export carries."""
        return self.prepare_session.run(None, {"pixels": pixels[None]})[0][0]

    def embed(self, prepared: list[np.ndarray]) -> np.ndarray:
        """float32 [3, side, side] each -> float32 [N, features]."""
        return self.network(np.stack(prepared))


def session(path: Path, threads: int) -> ort.InferenceSession:
    """A session that gives its memory back: pictures come in every size, and an arena would keep the largest for ever."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    # Threads that wait spin otherwise, on cores that decoding could use.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def on_gpu(backbone: Backbone) -> Callable[[np.ndarray], np.ndarray]:
    """The network on the GPU in mixed precision: bfloat16 where the card has it, float16 on a V100."""
    import torch

    network = load_network(backbone).to("cuda", memory_format=torch.channels_last)
    precision = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16

    def run(prepared: np.ndarray) -> np.ndarray:
        with torch.inference_mode(), torch.autocast("cuda", dtype=precision):
            given = torch.from_numpy(prepared).to("cuda", memory_format=torch.channels_last, non_blocking=True)
            return network(given).float().cpu().numpy()

    return run
