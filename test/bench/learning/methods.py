"""The ways to learn that are compared: each takes files with labels, and gives what tells classes from files.

``origin``      ResNet-50 from nothing, 5 epochs, batches of 4, Adam at 1e-3: what a first lesson on networks does.
``fine-tune``   the pretrained network as Keras's guide to transfer learning does it: a new last layer for 20 epochs (Adam at
                1e-3), then all of it for 10 (Adam at 1e-5), batch normalisation as it came, pictures cropped and mirrored.
``probe``       logistic regression (L2 of 1, as scikit-learn's default) on the network's last layer, by PyTorch.
``logistic``    the head of the trainer's first version on the same last layer (logistic.py).
``head``        the trainer's own requests, ``ingest`` and ``train``, and the model.onnx that they write.
``head:NAME``   the same with backbone NAME.
``tuned``       head, then stage ``fine-tune`` for ``--tune-seconds`` at most, as it would be published: only if it is better on
                pictures that are held out. ``tuned:NAME`` too.
"""

import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import timm
import torch
from data import Labelled, number_bursts
from logistic import fit_logistic
from scipy.optimize import minimize
from torch.nn.functional import cross_entropy, interpolate
from workbench import Workbench, default, preprocess, read, side

from trainer.python.decode import open_picture
from trainer.python.graphs import head_graph
from trainer.python.head import softmax
from trainer.python.prepared import open_session
from trainer.python.records import record_type

Classify = Callable[[list[Path]], np.ndarray]
"""Files -> probabilities [N, classes]; of a head with familiarity as a last column."""

# A torch tensor of ImageNet's usual mean and deviation, for pixels from 0 to 255.
usual_mean = torch.tensor([123.7, 116.3, 103.5])[:, None, None]
usual_deviation = torch.tensor([58.4, 57.1, 57.4])[:, None, None]


def learn(method: str, bench: Workbench, pictures: Labelled, classes: list[str], seed: int) -> tuple[Classify, dict]:
    """What classifies, and the report where there is one."""
    name, _, backbone = method.partition(":")
    torch.manual_seed(seed)
    if name in ("head", "tuned"):
        return train(bench, pictures, classes, seed, backbone or default.name, tuned=name == "tuned")
    torch.set_num_threads(bench.threads)
    if name == "logistic":
        return logistic(bench, pictures, classes, seed), {}
    return {"origin": origin, "fine-tune": fine_tune, "probe": probe}[name](bench, pictures, classes), {}


def origin(bench: Workbench, pictures: Labelled, classes: list[str]) -> Classify:
    network = timm.create_model("resnet50", pretrained=False, num_classes=len(classes)).to(bench.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def prepare(images: torch.Tensor) -> torch.Tensor:
        return (images.float() - usual_mean) / usual_deviation

    return train_network(bench, network, optimizer, pictures, prepare, prepare, epochs=5)


def fine_tune(bench: Workbench, pictures: Labelled, classes: list[str]) -> Classify:
    # The last layer of the network as timm has it.
    network = bench.backbones.open(default.name).load_network().parts[0]
    network.reset_classifier(len(classes))
    network.eval().to(bench.device)

    def prepare(images: torch.Tensor) -> torch.Tensor:
        return preprocess.normalise(images.float())

    def vary(images: torch.Tensor) -> torch.Tensor:
        return prepare(torch.stack([crop(image) for image in images]))

    network.requires_grad_(False)
    last = network.get_classifier().requires_grad_(True)
    ways = {"batch": 8, "train_mode": False}
    optimizer = torch.optim.Adam(last.parameters(), lr=1e-3)
    train_network(bench, network, optimizer, pictures, vary, prepare, epochs=20, **ways)
    optimizer = torch.optim.Adam(network.requires_grad_(True).parameters(), lr=1e-5)
    return train_network(bench, network, optimizer, pictures, vary, prepare, epochs=10, **ways)


def crop(image: torch.Tensor) -> torch.Tensor:
    """A random part of at least half of the picture, mirrored every other time."""
    share = float(torch.empty(()).uniform_(0.5, 1).sqrt())
    size = round(side * share)
    top, left = (int(torch.randint(0, side - size + 1, ())) for _ in range(2))
    part = image[None, :, top : top + size, left : left + size].float()
    part = interpolate(part, size=(side, side), mode="bilinear", antialias=True)[0]
    return part.flip(2) if torch.rand(()) < 0.5 else part


def train_network(
    bench: Workbench, network, optimizer, pictures: Labelled, vary, prepare, epochs: int, batch=4, train_mode=True
) -> Classify:
    images = torch.stack([read(path) for path, _ in pictures])
    labels = torch.tensor([label for _, label in pictures])
    network.train(train_mode)
    for _ in range(epochs):
        for some in torch.randperm(len(labels)).split(batch):
            if train_mode and len(some) < 2:
                continue  # Batch normalisation needs two.
            loss = cross_entropy(network(vary(images[some]).to(bench.device)), labels[some].to(bench.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network.eval()

    def classify(paths: list[Path]) -> np.ndarray:
        with torch.inference_mode():
            batches = [torch.stack([read(path) for path in paths[at : at + 32]]) for at in range(0, len(paths), 32)]
            return torch.cat([network(prepare(one).to(bench.device)).softmax(1).cpu() for one in batches]).numpy()

    return classify


def probe(bench: Workbench, pictures: Labelled, classes: list[str]) -> Classify:
    points = bench.embed_last_layer([path for path, _ in pictures], learned=True)
    truth = np.eye(len(classes))[[label for _, label in pictures]]
    shape = len(classes), points.shape[1] + 1

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight = flat.reshape(shape)
        logits = points @ weight[:, 1:].T + weight[:, 0]
        probabilities = softmax(logits)
        wrong = probabilities - truth
        value = -np.log(np.maximum((probabilities * truth).sum(1), 1e-300)).sum() + (weight[:, 1:] ** 2).sum() / 2
        return value, np.concatenate([wrong.sum(0)[:, None], wrong.T @ points + weight[:, 1:]], axis=1).ravel()

    found = minimize(loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 100})
    weight = found.x.reshape(shape)
    return lambda paths: softmax(bench.embed_last_layer(paths) @ weight[:, 1:].T + weight[:, 0])


def logistic(bench: Workbench, pictures: Labelled, classes: list[str], seed: int) -> Classify:
    points = bench.embed_last_layer([path for path, _ in pictures], learned=True)
    head = fit_logistic(points, np.array([label for _, label in pictures]), len(classes), seed)
    return lambda paths: softmax(head.logits(bench.embed_last_layer(paths)))


def train(
    bench: Workbench, pictures: Labelled, classes: list[str], seed: int, backbone: str, tuned: bool
) -> tuple[Classify, dict]:
    paths = [path for path, _ in pictures]
    scratch = tempfile.TemporaryDirectory()
    folder = Path(scratch.name)
    embeddings = bench.embed_pictures(paths, backbone, learned=True)
    rows = np.zeros(len(paths), record_type(embeddings.shape[1]))
    rows["id"] = [str(row) for row in range(len(paths))]
    rows["class"] = [label for _, label in pictures]
    rows["burst"] = number_bursts(paths)
    rows["embedding"] = embeddings
    rows.tofile(folder / "records")
    (folder / "originals").mkdir()
    for row, path in enumerate(paths):
        (folder / "originals" / str(row)).symlink_to(path.absolute())
    (folder / "thumbnails").mkdir()
    for row in range(0, len(paths), max(1, len(paths) // 8)):
        (folder / "thumbnails" / str(row)).symlink_to(paths[row].absolute())
    params = {
        "stage": "head",
        "backbone": backbone,
        "classes": classes,
        "records": str(folder / "records"),
        "originals": str(folder / "originals"),
        "thumbnails": str(folder / "thumbnails"),
        "seed": seed,
        "out": str(folder / "out"),
    }
    result = bench.train(params, lambda event: None)
    if tuned:
        more = {"stage": "fine-tune", "seconds": bench.tune_seconds, "checkpoint": str(folder / "checkpoint")}
        second = bench.train(params | more, lambda event: None)
        told = {
            name: second["report"]["fineTune"][name] for name in ("better", "epochs", "bestEpoch", "head", "network")
        }
        print(told, file=sys.stderr)
        result = second if second["artifacts"] else result
    file = folder / "out" / "model.onnx"
    if result["report"]["stage"] == "head":
        return head_of(bench, file, backbone), result["report"]
    model = open_session(file)

    def classify(paths: list[Path]) -> np.ndarray:
        def one(path: Path) -> np.ndarray:
            pixels = open_picture(path, 25_000_000).pixels
            probabilities, known = model.run(["probabilities", "familiarity"], {"pixels": pixels[None]})
            return np.append(probabilities[0], known[0])

        with ThreadPoolExecutor(bench.threads) as pool:
            return np.stack(list(pool.map(one, paths)))

    return classify, result["report"]


def head_of(bench: Workbench, file: Path, backbone: str) -> Classify:
    """What a model.onnx makes of embeddings, which are those of its backbone: the certificate in its report says so."""
    weights = {constant.name: constant for constant in onnx.load(file).graph.initializer}
    model = head_graph(bench.backbones.open(backbone).entry.features)
    for constant in model.graph.initializer:
        constant.CopyFrom(weights[constant.name])
    opened = open_session(model.SerializeToString())

    def classify(paths: list[Path]) -> np.ndarray:
        embeddings = bench.embed_pictures(paths, backbone)
        probabilities, known = opened.run(["probabilities", "familiarity"], {"embedding": embeddings})
        return np.column_stack([probabilities, known])

    return classify
