"""A small archive in the Decathlon's form, and a server of it with the habits of real ones."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from maskmatch_med.datasets import Dataset

TASK = "Task99_Phantom"


@dataclass
class Shop:
    """What the server gives, and how.

    Args:
        content: the archive.
        ranges: whether it can begin in the middle.
        cuts: after how many bytes to break off, one entry an answer.
        refusals: status codes to give before anything else.
        asked: the Range headers that came, one an answer; empty where there was none.
        paths: what was asked for.
    """

    content: bytes
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/{TASK}.tar"


class _Handler(BaseHTTPRequestHandler):
    shop: Shop

    def do_GET(self) -> None:
        shop, wanted = self.shop, self.headers.get("Range", "")
        shop.asked.append(wanted)
        shop.paths.append(self.path)
        if shop.refusals:
            self.send_error(shop.refusals.pop(0))
            return
        total = len(shop.content)
        found = re.fullmatch(r"bytes=(\d+)-", wanted) if shop.ranges else None
        begin = int(found[1]) if found else 0
        if begin >= total:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{total}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if found else 200)
        self.send_header("Content-Length", str(total - begin))
        if found:
            self.send_header("Content-Range", f"bytes {begin}-{total - 1}/{total}")
        self.end_headers()
        self.wfile.write(shop.content[begin:][: shop.cuts.pop(0) if shop.cuts else total])

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def decathlon_folder(phantom_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated scans laid out as a task of the Decathlon, with the hidden files that macOS adds."""
    root = tmp_path_factory.mktemp("decathlon") / TASK
    names = sorted(path.name.removesuffix("_0000.nii.gz") for path in (phantom_source / "imagesTr").iterdir())
    for folder, ending in (("imagesTr", "_0000.nii.gz"), ("labelsTr", ".nii.gz")):
        (root / folder).mkdir(parents=True)
        for name in names:
            content = (phantom_source / folder / f"{name}{ending}").read_bytes()
            (root / folder / f"{name}.nii.gz").write_bytes(content)
            (root / folder / f"._{name}.nii.gz").write_bytes(b"\0\5\26\7")
    declared = json.loads((phantom_source / "dataset.json").read_text())["labels"]
    entries = [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in names]
    entries.append({"image": "./imagesTr/._odd.nii.gz", "label": "./labelsTr/._odd.nii.gz"})
    dataset = {"name": "Phantom", "modality": {"0": "MRI"}, "training": entries, "test": []}
    labels = {str(value): name for name, value in declared.items()}
    (root / "dataset.json").write_text(json.dumps(dataset | {"labels": labels}))
    return root


@pytest.fixture(scope="session")
def archive(decathlon_folder: Path) -> Path:
    """Its tar file."""
    path = decathlon_folder.parent / f"{TASK}.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(decathlon_folder, TASK)
    return path


@pytest.fixture
def dataset(archive: Path) -> Dataset:
    """Its entry in the table."""
    return Dataset("phantom", TASK, "MR, invented", 7, "tens of MB", hashlib.md5(archive.read_bytes()).hexdigest())


@pytest.fixture
def shop(archive: Path) -> Iterator[Shop]:
    """A server of the archive."""
    made = Shop(archive.read_bytes())
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"shop": made}))
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()
