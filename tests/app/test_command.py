"""The command that opens the app."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.served import Server


def test_a_study_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scan.nii").touch()
    command = [sys.executable, "-c", "from maskmatch_med.cli import main; main()", "app", str(tmp_path / "scan.nii")]
    done = subprocess.run([*command, "--no-browser"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "is a file; name a study folder" in done.stderr


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    command = [sys.executable, "-m", "maskmatch_app", "--folder", str(tmp_path / "taken" / "studies"), "--no-browser"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "folder for studies cannot be made" in done.stderr


def test_a_port_that_is_taken_is_told_with_one_to_try(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        command = [sys.executable, "-m", "maskmatch_app", "--folder", str(tmp_path), "--port", str(port)]
        done = subprocess.run(
            [*command, "--host", "127.0.0.1", "--no-browser"], capture_output=True, text=True, check=False, timeout=60
        )
    assert done.returncode == 2
    assert done.stderr.startswith(f"maskmatch: something answers at port {port} already")
    assert f"--port {port + 1}" in done.stderr
    assert done.stdout == ""


def test_no_address_is_told_before_the_password_was_read(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "maskmatch_app", "--folder", str(tmp_path), "--no-browser"]
    done = subprocess.run(
        [*command, "--password-file", str(tmp_path / "none")], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "password file" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="ends as Unix does")
def test_a_command_that_is_ended_takes_its_server_along(tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    command = (sys.executable, "-c", "from maskmatch_med.cli import main; main()", "app")
    server = Server(tmp_path / "studies", command).start()
    (child,) = psutil.Process(server.process.pid).children()
    server.stop()
    psutil.wait_procs([child], timeout=20)
    assert not child.is_running()


def test_no_module_of_the_app_hides_one_of_python() -> None:
    """Streamlit puts the folder of the pages before all others on the path, also of the processes that read files."""
    import maskmatch_app

    names = {path.stem for path in Path(maskmatch_app.__file__).parent.iterdir()} - {"__init__", "__main__"}
    assert names & set(sys.stdlib_module_names) == set()
