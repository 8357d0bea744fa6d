"""Text of the pages stands out from what lies behind it: 4.5 to 1 at least (WCAG 2.1, AA)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import maskmatch_app

_HERE = Path(maskmatch_app.__file__).parent
_LIGHT = ("#ffffff", "#f2f8f8")
_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
_TEXT = re.compile(r"(?:^|[;\s])color:\s*(#[0-9a-fA-F]{3,6})\b")
_BEHIND = re.compile(r"background:\s*(#[0-9a-fA-F]{3,6})\b")
_DARK = {".mm-scan div": "#0d1117", ".mm-scan div span": "#0d1117", ".mm-scope-cell span": "#0b0b0b"}
"""Text on a dark tile, whose background stands in another rule."""


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * one for one in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(text: str, behind: str) -> float:
    low, high = sorted((_luminance(text), _luminance(behind)))
    return (high + 0.05) / (low + 0.05)


def test_the_measure_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("sheet", ["pages.css", "train.css"])
def test_text_stands_out(sheet: str) -> None:
    rules = _RULE.findall((_HERE / "pictures" / sheet).read_text(encoding="utf-8"))
    seen = 0
    for selector, body in rules:
        if (text := _TEXT.search(body)) is None:
            continue
        own = _BEHIND.search(body)
        dark = _DARK.get(selector.strip())
        for behind in (own[1],) if own else (dark,) if dark else _LIGHT:
            seen += 1
            assert contrast(text[1], behind) >= 4.5, (selector.strip(), text[1], behind)
    assert seen
