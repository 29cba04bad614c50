"""The protocol of the Python child, which trainer/python-child.ts relies on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from child import Child, root
from drawing import draw, save

from trainer.python import main


def test_says_first_what_it_is(ingest, train):
    assert ingest.ready["device"] == train.ready["device"] == "cpu"
    assert ingest.ready["backbones"] == [
        "efficientnet-lite0",
        "efficientnet-lite0-320",
        "efficientnet-lite2",
        "efficientnet-lite0-lite2",
    ]
    assert {"onnxruntime"} <= ingest.ready["versions"].keys()
    assert {"onnxruntime", "torch"} <= train.ready["versions"].keys()


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "null",
        '"ingest"',
        "{}",
        '{"id": 1}',
        '{"id": 1, "method": "ingest"}',
        '{"id": 1, "method": "ingest", "params": []}',
    ],
)
def test_a_line_that_is_no_request_is_answered_and_harms_nothing(cache, tmp_path, line):
    with Child("ingest", cache) as child:
        child.write(line)
        answer = child.read()
        assert answer["id"] is None
        assert answer["error"]["code"] == "bad-input"
        assert "embedding" in child.ingest([save(draw("discs", 1), tmp_path / "good.jpg")])[0]


def test_what_it_cannot_do_is_refused_by_name(ingest, train):
    for child, method, params, expected in [
        (ingest, "train", {}, "ingest"),
        (train, "ingest", {}, "train"),
        (ingest, "ingest", {"backbone": "resnet-1", "images": [], "limits": {"pixels": 1}}, "efficientnet-lite0"),
        (ingest, "ingest", {"images": [], "limits": {"pixels": 1}}, "'backbone'"),
        (ingest, "ingest", {"backbone": "efficientnet-lite0", "images": ["x"], "limits": {"pixels": 1}}, "ingest"),
    ]:
        answer, _ = child.ask(method, params)
        assert answer["error"]["code"] == "bad-input"
        assert expected in answer["error"]["message"]


def test_a_file_that_is_not_there_is_the_request_s_fault_not_the_picture_s(ingest, tmp_path):
    params = {"backbone": "efficientnet-lite0", "limits": {"pixels": 1}}
    images = [{"path": str(tmp_path / "gone"), "thumbnail": None}]
    answer, _ = ingest.ask("ingest", params | {"images": images})
    assert answer["error"]["code"] == "failed"
    assert "gone" in answer["error"]["message"]


def test_no_room_for_a_thumbnail_is_an_error_and_no_reason(ingest, tmp_path):
    """A full disk (here: no folder) must not look like a bad picture, which would be rejected for ever."""
    path = save(draw("discs", 1), tmp_path / "good.jpg")
    images = [{"path": str(path), "thumbnail": str(tmp_path / "no-folder" / "x.webp")}]
    params = {"backbone": "efficientnet-lite0", "images": images, "limits": {"pixels": 10**6}}
    answer, events = ingest.ask("ingest", params)
    assert answer["error"]["code"] == "failed"
    assert events == []


def test_the_protocol_is_all_that_stdout_carries(cache):
    """Whatever a library prints, from Python or from C, goes to stderr."""
    program = """
import os, sys
import trainer.python.main as main
talk = main.open_role
def talkative(*given):
    print("from Python")
    os.write(1, b"from C\\n")
    return talk(*given)
main.open_role = talkative
sys.argv[0] = "main"
main.main()
"""
    command = [sys.executable, "-c", program, "--role", "ingest", "--cache", str(cache), "--device", "cpu"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=root, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as child:
        ready = child.stdout.readline()
        out, err = child.communicate(timeout=5)
    assert {"from Python", "from C"} <= set(err.splitlines())
    assert "ready" in json.loads(ready)
    assert out == ""


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("kind", ["event", "result"])
def test_a_number_that_json_lacks_is_the_error_of_its_request_alone(number, kind):
    """An answer with NaN would be a line that no parser of JSON reads, and a request without an end."""
    lines: list[str] = []

    def handler(params, event):
        if kind == "event":
            event({"percent": number})
        return {"accuracy": params.get("accuracy", number)}

    def send(line):
        lines.append(json.dumps(line, allow_nan=False))

    main.answer('{"id": 1, "method": "train", "params": {}}', {"train": handler}, send)
    main.answer('{"id": 2, "method": "train", "params": {"accuracy": 1}}', {"train": lambda *_: {"accuracy": 1}}, send)
    failed, answered = map(json.loads, lines)
    assert (failed["id"], failed["error"]["code"]) == (1, "failed")
    assert "JSON compliant" in failed["error"]["message"]
    assert answered == {"id": 2, "result": {"accuracy": 1}}


def test_the_protocol_never_carries_nan(cache):
    program = """
import sys
import trainer.python.main as main
main.open_role = lambda *_: ({"train": lambda *_: {"accuracy": float("nan")}}, {}, lambda: None)
sys.argv[0] = "main"
main.main()
"""
    command = [sys.executable, "-c", program, "--role", "ingest", "--cache", str(cache), "--device", "cpu"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=root, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as child:
        assert "ready" in json.loads(child.stdout.readline())
        for number in (1, 2):
            child.stdin.write(json.dumps({"id": number, "method": "train", "params": {}}) + "\n")
            child.stdin.flush()
            answer = json.loads(child.stdout.readline(), parse_constant=pytest.fail)
            assert (answer["id"], answer["error"]["code"]) == (number, "failed")
        child.communicate(timeout=5)


@pytest.mark.parametrize("waiting", [True, False])
def test_it_warms_up_unless_a_request_waits(cache, waiting):
    program = """
import sys
import trainer.python.main as main
opened = main.open_role
main.open_role = lambda *given: (*opened(*given)[:2], lambda: print("warm", file=sys.stderr))
sys.argv[0] = "main"
main.main()
"""
    command = [sys.executable, "-c", program, "--role", "ingest", "--cache", str(cache), "--device", "cpu"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=root, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as child:
        if waiting:
            child.stdin.write('{"id": 1, "method": "none", "params": {}}\n')
            child.stdin.flush()
        assert "ready" in json.loads(child.stdout.readline())
        if waiting:
            assert "error" in json.loads(child.stdout.readline())
        _, err = child.communicate(timeout=5)
    assert ("warm" in err.splitlines()) != waiting


def test_ingest_is_there_in_a_moment_and_never_imports_torch(cache, tmp_path):
    script = tmp_path / "sitecustomize.py"
    script.write_text(
        "import atexit, sys\n"
        "class NoTorch:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.partition('.')[0] in ('torch', 'timm', 'torchvision'):\n"
        "            raise ImportError(f'{name} is not for role ingest')\n"
        "sys.meta_path.insert(0, NoTorch())\n"
    )
    began = time.perf_counter()
    child = Child("ingest", cache, environment={"PYTHONPATH": str(tmp_path)})
    seconds = time.perf_counter() - began
    assert "embedding" in child.ingest([save(draw("discs", 1), tmp_path / "good.jpg")])[0]
    assert child.close() == 0
    # Half a second where the cores are free.
    assert seconds < 3


def test_role_train_would_fail_without_torch(cache, tmp_path):
    """Shows that the test above can fail."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = None\n")
    with pytest.raises(AssertionError, match="the child ended"):
        Child("train", cache, environment={"PYTHONPATH": str(tmp_path)})


def test_it_ends_when_stdin_closes(cache):
    child = Child("ingest", cache)
    assert child.close() == 0


def test_it_ends_in_the_middle_of_a_request_when_stdin_closes(cache, tmp_path):
    """That is how it notices that its parent was killed: within 2 s, whatever it computes."""
    path = save(draw("discs", 1, 2000, 1500), tmp_path / "large.jpg")
    child = Child("ingest", cache)
    images = [{"path": str(path), "thumbnail": None}] * 500
    params = {"backbone": "efficientnet-lite0", "images": images, "limits": {"pixels": 10**7}}
    child.write(json.dumps({"id": 1, "method": "ingest", "params": params}))
    assert "event" in child.read()
    began = time.perf_counter()
    child.close()
    assert time.perf_counter() - began < 2


def test_sigterm_ends_it(cache):
    child = Child("ingest", cache)
    child.process.send_signal(signal.SIGTERM)
    assert child.process.wait(2) in (0, -signal.SIGTERM)
    child.close()


def test_ctrl_c_is_the_parent_s_to_answer(ingest, tmp_path):
    ingest.process.send_signal(signal.SIGINT)
    assert "embedding" in ingest.ingest([save(draw("discs", 1), tmp_path / "good.jpg")])[0]


def test_run_after_run_a_warm_child_does_not_grow(cache, training, pictures):
    """Projects of other numbers of classes in turns. LONG_RUNS=100 shows that many."""
    runs = int(os.environ.get("LONG_RUNS", 24))
    sizes = []
    with Child("train", cache) as child:
        for run in range(runs):
            classes = 2 + run % 2
            own = pictures.labels < classes
            params = training(
                labels=pictures.labels[own],
                embeddings=pictures.embeddings[own],
                originals=range(0, own.sum(), 5),
                thumbnails=range(0, own.sum(), 3),
                seed=run,
                classes=["brick", "grass", "sky"][:classes],
            )
            answer, _ = child.ask("train", params)
            assert "result" in answer, answer
            shutil.rmtree(params["out"])
            sizes.append(child.memory("VmRSS"))
    # After a quarter of them all that is kept on purpose is there.
    before, after = (np.median(some) for some in (sizes[runs // 4 : runs // 2], sizes[-runs // 4 :]))
    print(f"{runs} runs: {before / 2**20:.0f} MiB after a third, {after / 2**20:.0f} MiB in the end")
    assert after < 1.05 * before
