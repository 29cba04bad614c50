"""``model.pt2``: a backbone's exported program (prepare.py) with a model's weights in it, and how the file is checked."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch.export.pt2_archive import PT2ArchiveWriter

from .graphs import program_classes
from .head import Head
from .networks import Network
from .prepared import PreparedBackbone

names_file = "extra/classes.json"
weights_folder = "data/weights/"
# Programs that stay open to check the next files by, and files that the next are made from; each holds a network.
most_open = 3
# In a program, the weight and the bias of the head.
head_names = ("network.head.weight", "network.head.bias")


def write_program(
    path: Path,
    program: torch.export.ExportedProgram,
    network: Network,
    head: Head,
    classes: list[str],
) -> None:
    """Puts the network's weights and the head into the backbone's exported program, made by prepare.py: nothing is traced again.

    The program is changed by that; the next head is put in its place. Only the last nodes know the number of classes, by the
    sizes that the file tells of them.
    """
    for name, tensor in network.state_dict().items():
        program.state_dict[f"network.{name}"] = kept(tensor, program.state_dict[f"network.{name}"])
    before = program.state_dict[head_names[0]].shape[0]
    for name, values in zip(head_names, (head.weight, head.bias), strict=True):
        tensor = torch.tensor(values, dtype=torch.float32)
        program.state_dict[name] = torch.nn.Parameter(tensor, requires_grad=False)
    given = {name: node for node, name in program.graph_signature.inputs_to_parameters.items()}
    head_nodes = [given[name] for name in head_names]
    after_head = False
    for node in program.graph.nodes:
        told = node.meta.get("val")
        if node.name in head_nodes:
            node.meta["val"] = told.new_empty((len(classes), *told.shape[1:]))
        after_head = after_head or any(one.name == head_nodes[0] for one in node.all_input_nodes)
        if after_head and isinstance(told, torch.Tensor) and told.shape[-1] == before:
            node.meta["val"] = told.new_empty((*told.shape[:-1], len(classes)))
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={names_file.removeprefix("extra/"): names_text(classes)})
    write_archive(path, file)


def names_text(classes: list[str]) -> str:
    return json.dumps(classes, ensure_ascii=False)


class ProgramFiles:
    """Files that differ in their heads only: torch writes the first of as many classes, the next are that one with another head.

    What torch does for a file, most of it to tell of its graph, takes a third of a second; copying one takes a fiftieth. Of two
    classes the prepared file is the first: there the program need not be opened either, which takes another second.
    """

    def __init__(self):
        self.written: dict[tuple[str, int], dict[str, bytes]] = {}

    def write(
        self,
        path: Path,
        backbone: PreparedBackbone,
        network: Network,
        head: Head,
        classes: list[str],
    ) -> None:
        """As ``write_program``, for a network whose weights are those of the backbone."""
        kind = backbone.name, len(classes)
        records = self.written.pop(kind, None)
        if records is None and len(classes) == program_classes:
            records = read_records(backbone.path("program"))
        if records is None:
            write_program(path, backbone.program, network, head, classes)
            records = read_records(path)
        else:
            own = head_records(records, head)
            write_records(path, records | own | {names_file: names_text(classes).encode()})
        self.written[kind] = records
        while len(self.written) > most_open:
            del self.written[next(iter(self.written))]


def read_records(path: Path) -> dict[str, bytes]:
    """What a file holds, by names without the archive's own, less what its writer adds by itself."""
    with zipfile.ZipFile(path) as archive:
        inside = {name.split("/", 1)[1]: name for name in archive.namelist()}
        return {
            name: archive.read(whole)
            for name, whole in inside.items()
            if not name.startswith(".data/") and name != "byteorder"
        }


def write_records(path: Path, records: dict[str, bytes]) -> None:
    file = io.BytesIO()
    with PT2ArchiveWriter(file) as archive:
        for name, data in records.items():
            archive.write_bytes(name, data)
    write_archive(path, file)


def write_archive(path: Path, file: io.BytesIO) -> None:
    """Made in memory: on a full disk torch's own writer of archives (2.15) ends the whole process."""
    path.write_bytes(file.getbuffer())


def head_records(records: dict[str, bytes], head: Head) -> dict[str, bytes]:
    """The records of a head's tensors in a file of as many classes."""
    config = json.loads(records[f"{weights_folder}model_weights_config.json"])["config"]
    return {
        weights_folder + config[name]["path_name"]: values.astype("<f4").tobytes()
        for name, values in zip(head_names, (head.weight, head.bias), strict=True)
    }


def kept(tensor: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """A parameter where there was one, else a buffer."""
    return torch.nn.Parameter(tensor, requires_grad=False) if isinstance(before, torch.nn.Parameter) else tensor


def open_program(path: Path):
    """The exported file as others load it: pixels [H, W, 3] -> probabilities [classes]."""
    return runner(torch.export.load(path).module())


def runner(module: torch.nn.Module):
    def run(pixels: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(pixels.copy())[None])[0].numpy()

    return run


class Programs:
    """Opens files that differ in their heads only without loading what they have in common again, which takes a second.

    What tells that is the archive's own directory: names, sizes and checksums of all that it holds beside the head.
    """

    def __init__(self):
        self.opened: dict[tuple, torch.nn.Module] = {}

    def open(self, path: Path):
        """As ``open_program``; the head is read from the file each time."""
        rest, head = look_into(path)
        module = self.opened.pop(rest, None) or torch.export.load(path).module()
        self.opened[rest] = module
        while len(self.opened) > most_open:
            del self.opened[next(iter(self.opened))]
        own = dict(module.named_parameters())
        with torch.no_grad():
            for name, values in head.items():
                own[name].copy_(values)
        return runner(module)


def look_into(path: Path) -> tuple[tuple, dict[str, torch.Tensor]]:
    """What stands for all but the head, and the head's tensors as the file holds them. zipfile checks what it reads."""
    with zipfile.ZipFile(path) as archive:
        root = archive.namelist()[0].split("/")[0]
        weights = f"{root}/{weights_folder}"
        config = json.loads(archive.read(f"{weights}model_weights_config.json"))["config"]
        files = {name: weights + config[name]["path_name"] for name in head_names}
        # Neither the names of the classes nor what is made from all the rest is the program's.
        aside = {*files.values(), f"{root}/{names_file}", f"{root}/.data/serialization_id"}
        rest = tuple((one.filename, one.file_size, one.CRC) for one in archive.infolist() if one.filename not in aside)
        head = {}
        for name, file in files.items():
            sizes = [size["as_int"] for size in config[name]["tensor_meta"]["sizes"]]
            values = np.frombuffer(archive.read(file), dtype="<f4", count=int(np.prod(sizes)))
            head[name] = torch.from_numpy(values.copy()).reshape(sizes)
    return rest, head
