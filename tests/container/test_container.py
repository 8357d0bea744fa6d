"""The image and its compose file keep what docs/container.md says of them."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.container.dockerfile import ROOT, Step, steps_of

STEPS = steps_of((ROOT / "Dockerfile").read_text(encoding="utf-8"))
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))


def stage(number: int) -> list[Step]:
    begins = [place for place, step in enumerate(STEPS) if step.word == "FROM"] + [len(STEPS)]
    return STEPS[begins[number] : begins[number + 1]]


def the(word: str) -> Step:
    """The one step of its kind in the last stage."""
    (found,) = [step for step in stage(1) if step.word == word]
    return found


def test_there_are_two_stages_and_what_builds_stays_behind() -> None:
    assert len([step for step in STEPS if step.word == "FROM"]) == 2
    copies = [step.rest for step in stage(1) if step.word == "COPY"]
    assert copies == ["--from=build /opt/maskmatch /opt/maskmatch"]
    assert not any("pip" in step.rest for step in stage(1) if step.word == "RUN")


def test_nothing_is_fetched_but_by_pip() -> None:
    assert [step for step in STEPS if step.word == "ADD"] == []
    commands = " ".join(step.rest for step in STEPS if step.word == "RUN")
    assert not re.search(r"\b(curl|wget|git|https?:)", commands)
    indexes = [step.words()[0] for step in STEPS if step.word == "ARG"]
    assert "TORCH_INDEX=https://download.pytorch.org/whl/cpu" in indexes


def test_the_base_and_every_package_are_pinned() -> None:
    (base,) = [step.words()[0] for step in STEPS if step.rest.startswith("BASE=")]
    assert re.fullmatch(r"BASE=python:3\.\d+-slim-\w+", base)
    installs = [step.rest for step in STEPS if step.word == "RUN" and "pip install" in step.rest]
    assert len(installs) == 2
    assert all("constraints.txt" in command for command in installs)


def test_it_runs_as_a_numbered_user_and_root_has_no_step_after() -> None:
    assert the("USER").rest == "1000:1000"
    words = [step.word for step in stage(1)]
    assert "RUN" not in words[words.index("USER") :]


def test_it_tells_how_it_is_without_a_proxy() -> None:
    command = the("HEALTHCHECK").words()
    assert command[:2] == ["python", "-c"]
    compile(command[2], "HEALTHCHECK", "exec")
    assert "ProxyHandler({})" in command[2]
    assert f"localhost:{the('EXPOSE').rest}/_stcore/health" in command[2]


def test_all_that_is_written_goes_to_tmp_and_to_the_one_volume() -> None:
    (environment,) = [dict(word.split("=", 1) for word in step.words()) for step in stage(1) if step.word == "ENV"]
    places = {name: value for name, value in environment.items() if value.startswith("/") and name != "PATH"}
    assert {"HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "MPLCONFIGDIR", "TORCH_HOME"} <= set(places)
    assert all(value.startswith("/tmp") for value in places.values())
    assert environment["STREAMLIT_BROWSER_GATHER_USAGE_STATS"] == "false"
    assert the("VOLUME").rest == the("WORKDIR").rest == "/studies"


def test_what_it_starts_is_a_command_that_the_app_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    from maskmatch_med.cli import system

    asked: list[list[str]] = []

    class Server:
        def __init__(self, command: list[str]) -> None:
            asked.append(command)

        def __enter__(self) -> Server:
            return self

        def __exit__(self, *given: object) -> None:
            pass

        def wait(self) -> int:
            return 0

    monkeypatch.setattr(system.subprocess, "Popen", Server)
    from maskmatch_med.cli.app import main

    assert the("ENTRYPOINT").words() == ["maskmatch"]
    assert main(the("CMD").words()) == 0
    assert asked[0][asked[0].index("--host") + 1] == "0.0.0.0"
    assert asked[0][asked[0].index("--password-file") + 1] == "/studies/.password"


def test_without_its_password_file_the_app_ends_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from maskmatch_app.__main__ import main

    words = the("CMD").words()[1:]
    given = [str(tmp_path) if word == "/studies" else word.replace("/studies", str(tmp_path)) for word in words]
    monkeypatch.setattr(sys, "argv", ["maskmatch app", *given])
    assert main() == 2
    said = capsys.readouterr().err
    assert f"there is no password file {tmp_path / '.password'}" in said


def test_what_is_copied_is_sent_to_the_engine() -> None:
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert rules[0] == "*"
    sent = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    wanted = [word for step in stage(0) if step.word == "COPY" for word in step.words()[:-1]]
    assert [word for word in wanted if not any(fnmatch.fnmatch(word, rule) for rule in sent)] == []
    assert [word for word in wanted if not (ROOT / word).exists()] == []


def test_compose_locks_it_down() -> None:
    app = COMPOSE["services"]["app"]
    assert app["read_only"] is True
    assert app["cap_drop"] == ["ALL"]
    assert app["security_opt"] == ["no-new-privileges:true"]
    assert [one.partition(":")[0] for one in app["tmpfs"]] == ["/tmp"]
    assert app["volumes"] == ["studies:/studies"]
    assert "studies" in COMPOSE["volumes"]
    assert app["ports"] == [f"127.0.0.1:{the('EXPOSE').rest}:{the('EXPOSE').rest}"]
    assert not {"privileged", "network_mode", "user", "cap_add", "environment"} & set(app)


def test_the_card_is_asked_for_on_request_alone() -> None:
    gpu = COMPOSE["services"]["gpu"]
    assert gpu["profiles"] == ["gpu"]
    assert gpu["extends"] == {"service": "app"}
    assert gpu["build"]["args"]["TORCH_INDEX"].startswith("https://download.pytorch.org/whl/cu")
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert "profiles" not in COMPOSE["services"]["app"]


def test_steps_are_read_as_docker_reads_them() -> None:
    text = '# one\nFROM a AS b\nRUN x \\\n    && y\nENV A=1 \\\n  B="two words"\nCMD ["a", "b c"]\n'
    steps = steps_of(text)
    assert [(step.word, step.words()) for step in steps[:1]] == [("FROM", ["a", "AS", "b"])]
    assert steps[1].rest == "x && y"
    assert steps[2].words() == ["A=1", "B=two words"]
    assert steps[3].words() == json.loads('["a", "b c"]')


@pytest.mark.proof
def test_its_steps_work_in_a_bare_root(tmp_path: Path) -> None:
    lacking = [name for name in ("debootstrap", "unshare", "chroot") if shutil.which(name) is None]
    if lacking or not hasattr(os, "getuid") or os.getuid() != 0:
        pytest.skip(f"needs root, debootstrap, unshare and chroot; lacking: {', '.join(lacking) or 'root'}")
    command = [sys.executable, str(ROOT / "tests" / "container" / "dockerfile.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "ok; the first page asks for the password: True" in done.stdout
