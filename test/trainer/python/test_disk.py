"""A disk that is full, which /dev/full is for whoever writes to it: the child says so, and lives."""

from pathlib import Path

import pytest
import torch
from drawing import draw, save

from trainer.python.errors import as_refusal
from trainer.python.program import write_records

full = Path("/dev/full")


def save_tensors():
    with full.open("wb") as file:
        torch.save({"a": torch.zeros(100_000)}, file)


@pytest.mark.skipif(not full.exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize("write", [save_tensors, lambda: write_records(full, {"data/a": bytes(100_000)})])
def test_files_that_torch_writes_tell_of_it(write):
    with pytest.raises((OSError, RuntimeError)) as raised:
        write()
    assert as_refusal(raised.value).code == "out-of-room"


def test_other_errors_are_none_of_it():
    assert as_refusal(RuntimeError("no")).code == "failed"
    assert as_refusal(FileNotFoundError(2, "no")).code == "failed"
    assert as_refusal(MemoryError()).code == "out-of-memory"


@pytest.mark.skipif(not full.exists(), reason="only Linux has /dev/full")
def test_a_thumbnail_without_room_is_no_fault_of_its_picture(ingest, tmp_path):
    picture, thumbnail = save(draw("discs", 1), tmp_path / "a.jpg"), tmp_path / "a.webp"
    thumbnail.symlink_to(full)
    images = [{"path": str(picture), "thumbnail": str(thumbnail)}]
    params = {"backbone": "efficientnet-lite0", "images": images, "limits": {"pixels": 25_000_000}}
    answer, events = ingest.ask("ingest", params)
    assert (answer["error"]["code"], events) == ("out-of-room", [])
