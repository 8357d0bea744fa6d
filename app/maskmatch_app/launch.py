"""Start the server, on this machine alone unless asked for more, with its looks and with nothing sent to anybody."""

from __future__ import annotations

import logging
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskmatch_app.entrance import PASSWORD_FILE, read_password
from maskmatch_app.hosts import HOSTS, is_loopback, names_of
from maskmatch_app.shelf import FOLDER, STUDY

_THEME: dict[str, Any] = {
    "base": "light",
    "primaryColor": "#0b6e75",
    "backgroundColor": "#ffffff",
    "secondaryBackgroundColor": "#f2f6f7",
    "textColor": "#14262b",
    "linkColor": "#0b6e75",
    "borderColor": "#d9e3e5",
    "dataframeBorderColor": "#e3eaec",
    "dataframeHeaderBackgroundColor": "#f2f6f7",
    "showSidebarBorder": True,
    "baseRadius": "0.5rem",
    "headingFontWeights": [650, 600, 600],
    "headingFontSizes": ["2.1rem", "1.45rem", "1.2rem"],
    "chartCategoricalColors": ["#0b6e75", "#e69f00", "#56b4e9", "#d55e00"],
}


@dataclass(frozen=True)
class Launch:
    """How to start.

    Args:
        study: the one study to show; all in ``folder`` where not given.
        folder: where the studies lie, and new ones are made.
        port: on this machine.
        browser: whether to open a window.
        host: the name or address to listen on.
        password_file: a file with the password; needed where others than this machine can ask.
    """

    study: Path | None
    folder: Path
    port: int = 8501
    browser: bool = True
    host: str = "localhost"
    password_file: Path | None = None


def default_folder() -> Path:
    """Where studies lie unless another place is named."""
    return Path.home() / "maskmatch"


def serve(launch: Launch) -> None:
    """Serve until stopped.

    Raises:
        ValueError: the study is a file, its folder cannot be made, a network would be served without a password, or
            something answers at the port already.
    """
    _guard(launch)
    if launch.study is not None:
        study = launch.study.resolve()
        if study.exists() and not study.is_dir():
            raise ValueError(f"{launch.study} is a file; name a study folder, or none")
        os.environ[STUDY] = str(study)
    folder = launch.folder.expanduser().resolve()
    try:
        (study.parent if launch.study is not None else folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"the folder for studies cannot be made: {error}") from error
    os.environ[FOLDER] = str(folder)
    # Where it listens everywhere, nobody can open the name it listens on.
    host = launch.host if names_of(launch.host) else "localhost"
    _check_port(host, launch.port)
    if not launch.browser:
        print(f"maskmatch: open http://{host}:{launch.port} in a browser", flush=True)
    # Streamlit warns of caches that are declared before it runs, as they are in a server that is imported.
    logging.getLogger("streamlit.runtime.caching.cache_data_api").addFilter(
        lambda record: "No runtime found" not in record.getMessage()
    )
    from maskmatch_app.server import app  # noqa: PLC0415  the shelf is known only now

    app.run(config=_config(launch))


def _guard(launch: Launch) -> None:
    """Tell the server by which names it goes and where its password lies."""
    if launch.password_file is None and not is_loopback(launch.host):
        raise ValueError(
            f"whoever reaches {launch.host} could open every scan; name a file that holds a password: "
            "--password-file FILE"
        )
    os.environ.pop(PASSWORD_FILE, None)
    if launch.password_file is not None:
        path = launch.password_file.expanduser().resolve()
        read_password(path)
        os.environ[PASSWORD_FILE] = str(path)
    os.environ[HOSTS] = ",".join(names_of(launch.host)) or "*"


def _check_port(host: str, port: int) -> None:
    """Tell a port that is taken before the server fails on it."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return
    raise ValueError(
        f"something answers at port {port} already, perhaps this app: open http://{host}:{port}, "
        f"or take another port: --port {port + 1}"
    )


def _config(launch: Launch) -> dict[str, Any]:
    options: dict[str, Any] = {
        "server.address": launch.host,
        "server.port": launch.port,
        "server.headless": not launch.browser,
        "server.fileWatcherType": "none",
        "server.showEmailPrompt": False,
        "server.enableAgentApi": False,
        "server.allowedHosts": list(names_of(launch.host)),
        "server.enableXsrfProtection": True,
        "runner.magicEnabled": False,
        "browser.gatherUsageStats": False,
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "client.allowedOrigins": [],
        "global.developmentMode": False,
        "logger.hideWelcomeMessage": True,
    }
    return options | {f"theme.{name}": value for name, value in _THEME.items()}
