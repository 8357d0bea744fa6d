"""What a page says when something failed that it did not see coming: a sentence, never a traceback."""

from __future__ import annotations

import errno

import streamlit as st

from maskmatch_app import look
from maskmatch_med.errors import MaskMatchError

_OF_THE_DISK = {
    errno.ENOSPC: "The disk is full. Free some space and try again; what was saved before is kept.",
    errno.EDQUOT: "Your share of the disk is full. Free some space and try again; what was saved before is kept.",
    errno.EROFS: "The study lies on a disk that cannot be written. Nothing was changed.",
    errno.EACCES: "The study may not be written by this account. Nothing was changed; ask who looks after the folder.",
    errno.EPERM: "The study may not be written by this account. Nothing was changed; ask who looks after the folder.",
    errno.ENOENT: "A file of the study is not where it was. Was its folder moved? Put it back, then reload this page.",
}
_UNKNOWN = (
    "This page could not be shown. Everything that was saved is safe. Reload the page; if it happens again, "
    "the window in which the program was started says more."
)


def in_words(error: Exception) -> str:
    """A sentence for the reader; the program's own errors are sentences already."""
    if isinstance(error, MaskMatchError):
        return str(error)
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
        return _OF_THE_DISK[error.errno]
    return _UNKNOWN


def tell(error: Exception) -> bool:
    """Show the sentence in place of Streamlit's traceback, which goes to the log of the server."""
    st.error(look.plain(in_words(error)), icon=":material/error:")
    return True
