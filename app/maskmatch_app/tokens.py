"""Short-lived signatures that let a page of this server, and no other page in the browser, use its routes.

The secret lies in a file of this user's own, so that a page still open can save after the server was started again.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import sys
import time
from contextlib import suppress
from pathlib import Path

_SECRET: bytes | None = None
"""Read from its file when it is first needed."""
_BYTES = 32
LIFETIME_S = 12 * 3600


def sign(study: str, now: float | None = None) -> str:
    """A token for one study, good for twelve hours."""
    expires = int((time.time() if now is None else now) + LIFETIME_S)
    return f"{expires}.{_mac(study, expires)}"


def is_good(token: str, study: str, now: float | None = None) -> bool:
    """Whether a token was signed for this study by a server of this user, and is not too old."""
    expires, _, mac = token.partition(".")
    if not expires.isascii() or not expires.isdigit() or len(expires) > 12:
        return False
    in_time = (time.time() if now is None else now) < int(expires)
    return hmac.compare_digest(mac.encode(), _mac(study, int(expires)).encode()) and in_time


def state_folder() -> Path:
    """Where this user's programs keep what outlives them: the place that each system has for it."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "maskmatch"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "maskmatch"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "maskmatch"


def secret(folder: Path | None = None) -> bytes:
    """The secret of this user's servers; it is made where there is none, and readable by this user alone.

    Where nothing can be kept, it lives as long as this process.

    Args:
        folder: where it lies; :func:`state_folder` where not given.
    """
    path = (folder or state_folder()) / "secret"
    for _ in range(3):  # another server may make it, or a damaged one be taken away, at this very moment
        with suppress(OSError):
            found = path.read_bytes()
            if len(found) == _BYTES:
                return found
            path.unlink()
        with suppress(OSError):
            _make(path)
    return secrets.token_bytes(_BYTES)


def _make(path: Path) -> None:
    """Write a new secret, whole or not at all, and over no other."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        number = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o600)
        with os.fdopen(number, "wb") as stream:
            stream.write(secrets.token_bytes(_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
        _name(part, path)
    finally:
        part.unlink(missing_ok=True)


def _name(part: Path, path: Path) -> None:
    """Give a file its name unless another has it: by a link, or by a rename where the disk has no links."""
    try:
        os.link(part, path)
    except FileExistsError:
        return
    except (OSError, AttributeError, NotImplementedError):
        if not path.exists():
            part.replace(path)


def _mac(study: str, expires: int) -> str:
    global _SECRET  # noqa: PLW0603  one secret a process, read once
    if _SECRET is None:
        _SECRET = secret()
    return hmac.new(_SECRET, f"{study}\n{expires}".encode(), hashlib.sha256).hexdigest()
