"""Read a Dockerfile, and do what it says in bare root folders, where no container engine is at hand.

As root, with debootstrap: ``python tests/container/dockerfile.py WORK`` makes a Debian root, runs the steps of the
image, starts it with a read-only root as its own user, asks the app whether it is well, and goes the whole loop there
in a browser.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = "python3,python3-venv,ca-certificates"
_START_S = 600.0


@dataclass(frozen=True)
class Step:
    """One instruction.

    Args:
        word: such as ``RUN``, in capitals.
        rest: what follows it, its lines joined.
    """

    word: str
    rest: str

    def words(self) -> list[str]:
        """The command that the step lists in JSON, else its words as a shell takes them."""
        listed = self.rest.find("[")
        if listed >= 0 and self.word in {"CMD", "ENTRYPOINT", "HEALTHCHECK"}:
            return [str(word) for word in json.loads(self.rest[listed:])]
        return shlex.split(self.rest)


def steps_of(text: str) -> list[Step]:
    """The instructions of a Dockerfile in order."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Step(*line.split(maxsplit=1)) for line in joined.splitlines()]


@dataclass
class Image:
    """A root folder with what the steps so far have set.

    Args:
        root: where it lies.
        environment: its variables.
        folder: where commands run.
        user: ``UID:GID`` that commands run as.
    """

    root: Path
    environment: dict[str, str]
    folder: str = "/"
    user: str = "0:0"
    settings: dict[str, list[str]] = field(default_factory=dict)

    def run(
        self, words: list[str], *, mounts: str = "", environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command in it, in a mount space of its own with /proc and /dev."""
        place = shlex.quote(str(self.root))
        uid, gid = self.user.split(":")
        given = [f"{name}={value}" for name, value in {**self.environment, **(environment or {})}.items()]
        inner = ["chroot", f"--userspec={uid}:{gid}", str(self.root), "/usr/bin/env", "-i", *given]
        inner += ["sh", "-c", f'cd {shlex.quote(self.folder)} && exec "$@"', "sh", *words]
        script = (
            f"set -e; mount --bind {place} {place}; mount -t proc proc {place}/proc; mount --rbind /dev {place}/dev; "
            f"{mounts} exec {shlex.join(inner)}"
        )
        return subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-c", script])


def build(work: Path, base: Path, arguments: dict[str, str]) -> Image:
    """Do the steps; the last stage is the image.

    Args:
        work: gets a root folder a stage.
        base: the root folder that stands for the base image.
        arguments: values for ARG.

    Raises:
        RuntimeError: a command failed.
    """
    stages: dict[str, Image] = {}
    known: dict[str, str] = {}
    image = Image(base, {})
    for step in steps_of((ROOT / "Dockerfile").read_text(encoding="utf-8")):
        words = step.words() if step.word != "RUN" else []
        if step.word == "ARG":
            name, _, value = words[0].partition("=")
            known[name] = arguments.get(name, value)
        elif step.word == "FROM":
            name = words[2] if len(words) > 2 else "last"
            shutil.rmtree(work / name, ignore_errors=True)
            subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(work / name)], check=True)
            image = stages[name] = Image(work / name, {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"})
        elif step.word == "RUN":
            variables = {name: value for name, value in known.items() if name != "BASE"}
            if image.run(["sh", "-c", step.rest], mounts=_registry(image.root), environment=variables).wait() != 0:
                raise RuntimeError(f"failed: RUN {step.rest}")
        elif step.word == "COPY":
            _copy(words, image, stages)
        else:
            _set(step, image)
    return image


def _set(step: Step, image: Image) -> None:
    """What changes no file."""
    words = step.words()
    if step.word == "ENV":
        for word in words:
            name, _, value = word.partition("=")
            image.environment[name] = value.replace("$PATH", image.environment["PATH"])
    elif step.word == "WORKDIR":
        image.folder = words[0]
        (image.root / words[0].lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif step.word == "USER":
        image.user = words[0]
    else:
        image.settings[step.word] = words


def _copy(words: list[str], image: Image, stages: dict[str, Image]) -> None:
    origin = ROOT
    if words[0].startswith("--from="):
        origin = stages[words.pop(0).removeprefix("--from=")].root
    *sources, target = words
    into = image.root / (Path(image.folder) / target).as_posix().lstrip("/")
    for source in sources:
        found = origin / source.lstrip("/")
        into.parent.mkdir(parents=True, exist_ok=True)
        if found.is_dir():
            shutil.copytree(
                found, into, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(found, into / found.name if target.endswith("/") else into)


def _registry(root: Path) -> str:
    """Mounts that let pip find what it finds on this machine: settings, certificates, local indexes."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    places = {"/etc/resolv.conf", "/etc/pip.conf", "/etc/xdg/pip", "/etc/ssl/certs/ca-certificates.crt"}
    places |= {word.removeprefix("file://") for word in re.findall(r"(?:file://)?/[\w./-]+", listed.stdout)}
    commands = []
    for place in sorted(path for path in places if Path(path).exists()):
        inside = root / place.lstrip("/")
        inside.parent.mkdir(parents=True, exist_ok=True)
        if Path(place).is_dir():
            inside.mkdir(exist_ok=True)
        else:
            inside.touch()
        commands.append(f"mount --bind {shlex.quote(place)} {shlex.quote(str(inside))};")
    return " ".join(commands)


@dataclass(frozen=True)
class Served:
    """An image that runs.

    Args:
        port: where it answers on this machine.
        password: what lets somebody in.
        health: what its health page says.
    """

    port: str
    password: str
    health: str


@contextmanager
def running(image: Image, studies: Path) -> Iterator[Served]:
    """Start it with a read-only root, a /tmp in memory and the volume; it is ended afterwards.

    Raises:
        RuntimeError: it does not become well.
    """
    uid, gid = map(int, image.user.split(":"))
    studies.mkdir(exist_ok=True)
    password = studies / ".password"
    password.touch(mode=0o600)
    password.write_text(secrets.token_urlsafe(18) + "\n")
    for path in (studies, password):
        os.chown(path, uid, gid)
    # As an engine does it.
    (image.root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    place = shlex.quote(str(image.root))
    mounts = (
        f"mount -t tmpfs -o mode=1777 tmpfs {place}/tmp; mount --bind {shlex.quote(str(studies))} {place}/studies; "
        f"mount -o remount,bind,ro {place};"
    )
    as_root = replace(image, user="0:0")
    if as_root.run(["sh", "-c", "touch /opt/x || touch /x"], mounts=mounts).wait() == 0:
        raise RuntimeError("the root can be written to")
    port = image.settings["EXPOSE"][0]
    server = image.run([*image.settings["ENTRYPOINT"], *image.settings["CMD"]], mounts=mounts)
    try:
        health = _health(port, server)
        if image.run(image.settings["HEALTHCHECK"]).wait() != 0:
            raise RuntimeError("the health check of the image fails")
        yield Served(port, password.read_text(encoding="utf-8").strip(), health)
    finally:
        server.terminate()
        server.wait(30)


def _health(port: str, server: subprocess.Popen[bytes]) -> str:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            time.sleep(1)
    raise RuntimeError(f"it did not become well; exit code {server.poll()}")


def journey(served: Served, studies: Path) -> bool:
    """Go the whole loop there in a browser of this machine; gives whether it ended well."""
    given = {"SERVER": f"http://localhost:{served.port}", "STUDIES": str(studies), "PASSWORD": served.password}
    command = [sys.executable, "-m", "pytest", "-q", "tests/browser/test_journey.py", "-k", "server_that_runs"]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **given}, check=False).returncode == 0


def _first_page(port: str) -> str:
    """What somebody without the password gets, whatever its status."""
    asked = urllib.request.Request(f"http://localhost:{port}/", headers={"Accept": "text/html"})
    try:
        with urllib.request.urlopen(asked, timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as refused:
        return refused.read().decode()


def main(work: Path) -> None:
    """All of it; a Debian root that lies in WORK/base already is taken."""
    base = work / "base"
    if not (base / "usr/bin/python3").exists():
        subprocess.run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(base)], check=True)
    given = {"TORCH_INDEX": os.environ["TORCH_INDEX"]} if "TORCH_INDEX" in os.environ else {}
    studies = work / "studies"
    shutil.rmtree(studies, ignore_errors=True)
    with running(build(work, base, given), studies) as served:
        asks = "password" in _first_page(served.port)
        print(f"{served.health}; the first page asks for the password: {asks}", flush=True)
        if not journey(served, studies):
            raise RuntimeError("the loop failed in the browser")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
