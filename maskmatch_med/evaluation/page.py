"""One look for every page: templates, embedded pictures, and numbers as a person writes them."""

from __future__ import annotations

import base64
from datetime import datetime
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from maskmatch_med.evaluation.figures import inline_svg, png_bytes
from maskmatch_med.version import __version__


def render(template: str, **content: Any) -> str:
    """Fill a template of this room; every text is escaped.

    Args:
        template: its file name; it extends ``page.html``.
        content: what it shows, ``title`` and ``subtitle`` among it.
    """
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(_source),
    )
    return environment.get_template(template).render(
        version=__version__, today=datetime.now().astimezone().date().isoformat(), **content
    )


def svg(figure: Figure, label: str) -> Markup:
    """The figure as markup taken as it is: it was drawn here, and matplotlib escapes the text in it."""
    return Markup(inline_svg(figure, label))


def png_uri(figure: Figure) -> str:
    """The figure as an embedded PNG."""
    return "data:image/png;base64," + base64.b64encode(png_bytes(figure)).decode("ascii")


def jpeg_uri(picture: bytes) -> str:
    """The bytes of a JPEG, embedded."""
    return "data:image/jpeg;base64," + base64.b64encode(picture).decode("ascii")


def times(values: tuple[float, ...] | tuple[int, ...], digits: int = 4) -> str:
    """``1 × 1 × 2.5``."""
    return " × ".join(f"{value:.{digits}g}" for value in values)


def _source(name: str) -> str:
    return files("maskmatch_med.evaluation").joinpath(name).read_text(encoding="utf-8")
