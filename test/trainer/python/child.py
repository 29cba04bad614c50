"""The Python child as trainer/python-child.ts runs it: a process, JSON lines, its stdin kept open."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

root = Path(__file__).resolve().parents[3]


class Child:
    def __init__(
        self,
        role: str,
        cache: Path,
        threads: int = 2,
        environment: dict[str, str] | None = None,
        backbones: list[str] | None = None,
    ):
        command = [sys.executable, "-m", "trainer.python.main", "--role", role]
        command += ["--threads", str(threads), "--cache", str(cache), "--device", "cpu"]
        command += ["--backbones", ",".join(backbones)] if backbones else []
        self.process = subprocess.Popen(
            command,
            cwd=root,
            env=os.environ | (environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.requests = 0
        self.ready = self.read()["ready"]

    def write(self, line: str) -> None:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        assert line, f"the child ended: {self.process.wait()}"
        return json.loads(line)

    def ask(self, method: str, params: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The one answer of a request, and the events before it."""
        self.requests += 1
        self.write(json.dumps({"id": self.requests, "method": method, "params": params}))
        events = []
        while True:
            line = self.read()
            assert line["id"] == self.requests
            if "event" not in line:
                return line, events
            events.append(line["event"])

    def memory(self, what: str) -> int:
        """Bytes: resident now (``VmRSS``) or at most so far (``VmHWM``)."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(what):
                return int(line.split()[1]) * 1024
        raise AssertionError(what)

    def ingest(
        self,
        paths: list[Path],
        thumbnails: dict[int, Path] | None = None,
        pixels: int = 25_000_000,
        backbone: str = "efficientnet-lite0",
    ):
        """The event of each picture, in the order of the paths."""
        images = [
            {"path": str(path), "thumbnail": str(thumbnails[index]) if thumbnails and index in thumbnails else None}
            for index, path in enumerate(paths)
        ]
        params = {"backbone": backbone, "images": images, "limits": {"pixels": pixels}}
        answer, events = self.ask("ingest", params)
        assert "result" in answer, answer
        assert sorted(event["image"] for event in events) == list(range(len(paths)))
        return sorted(events, key=lambda event: event["image"])

    def close(self, seconds: float = 5) -> int:
        """Closes its stdin and waits for its end, as exit status."""
        self.process.stdin.close()
        return self.process.wait(seconds)

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.communicate()


def embedding(event: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(event["embedding"]), dtype="<f4")
