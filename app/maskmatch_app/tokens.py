"""Short-lived signatures that let a page of this server, and no other page in the browser, use its routes."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time

_SECRET = secrets.token_bytes(32)
LIFETIME_S = 12 * 3600


def sign(study: str, now: float | None = None) -> str:
    """A token for one study, good for twelve hours of this server's life."""
    expires = int((time.time() if now is None else now) + LIFETIME_S)
    return f"{expires}.{_mac(study, expires)}"


def is_good(token: str, study: str, now: float | None = None) -> bool:
    """Whether a token was signed by this server for this study and is not too old."""
    expires, _, mac = token.partition(".")
    if not expires.isascii() or not expires.isdigit() or len(expires) > 12:
        return False
    in_time = (time.time() if now is None else now) < int(expires)
    return hmac.compare_digest(mac.encode(), _mac(study, int(expires)).encode()) and in_time


def _mac(study: str, expires: int) -> str:
    return hmac.new(_SECRET, f"{study}\n{expires}".encode(), hashlib.sha256).hexdigest()
