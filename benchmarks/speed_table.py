"""The records of the speed benchmarks as one Markdown table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.interleaved import REPOSITORY, read
from benchmarks.scored import markdown_table

BEGIN, END = "<!-- speed: written by make bench -->", "<!-- /speed -->"
PEERS = {
    "predict": ("", "MONAI's sliding window, one scale, overlap 0.5"),
    "export": ("labels onto the scan's grid, ", "nnU-Net's export"),
    "train": ("supervised steps, patches of ", "MONAI's tutorial pipeline"),
}
"""What stands before a row's name, and the peer, of the benchmarks that go into the README."""


def fill(page: str, records: Sequence[dict[str, Any]]) -> str:
    """A page with what was timed against a peer between its two marks, and when, at which commit, on what machine.

    Raises:
        ValueError: the page has no such marks.
    """
    before, begun, rest = page.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (begun and ended):
        raise ValueError(f"the page needs the marks {BEGIN} and {END}")
    rows = []
    shown = [record for record in records if record["benchmark"] in PEERS]
    for record in shown:
        for row in record["rows"]:
            named = str(row.get("what") or row.get("patch"))
            if "ratio" in row and "against" not in named:
                lead, peer = PEERS[record["benchmark"]]
                rows.append((lead + named, row.get("peer", peer), f"{row['ratio']:.2f}", _span(row)))
    heads = ("what", "peer", "time of the peer over ours", "range")
    lines = [*markdown_table(heads, rows), "", _where(shown)]
    return "\n".join([before + begun, *lines, ended + after])


def main(out: Path) -> None:
    """Print the table and write ``OUT/table.md``; times against peers go into the README."""
    records = [read(path) for path in sorted(out.glob("*.json"))]
    rows = [cells for record in records for row in record["rows"] for cells in _told(record["benchmark"], row)]
    lines = markdown_table(("benchmark", "what", "measured", "range"), rows)
    if records:
        lines += ["", _where(records)]
        readme = REPOSITORY / "README.md"
        readme.write_text(fill(readme.read_text(encoding="utf-8"), records), encoding="utf-8")
    (out / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def _where(records: Sequence[dict[str, Any]]) -> str:
    """Where, at which commits and when; more than one of each where the records are not of one run."""
    told = {
        key: ", ".join(dict.fromkeys(str(one["machine"][key]) for one in records))
        for key in ("processor", "threads", "commit", "date")
    }
    return f"{told['processor']}, {told['threads']} threads, commit {told['commit']}, {told['date']}."


def _span(row: dict[str, Any]) -> str:
    return f"{row['ratio_low']:.2f} to {row['ratio_high']:.2f}"


def _told(name: str, row: dict[str, Any]) -> list[list[str]]:
    what = str(row.get("what") or row.get("way") or row.get("cost grows with") or row.get("patch") or row.get("grid"))
    told = []
    if "ratio" in row:
        told.append([name, what, f"{row['ratio']:.2f} ×", f"{row['ratio_low']:.2f} to {row['ratio_high']:.2f}"])
    if "peer_peak_mib" in row:
        told.append([name, what, f"{row['peak_mib'] / row['peer_peak_mib']:.0%} of the peer's memory", "–"])
    for key in ("labels_agree", "labels_as_whole_map", "peak_share", "growth", "exponent", "data_share"):
        if key in row:
            told.append([name, what, f"{key.replace('_', ' ')} {row[key]}", "–"])
    return told
