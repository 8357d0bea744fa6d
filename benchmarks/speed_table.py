"""The records of the speed benchmarks as one Markdown table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.interleaved import read
from benchmarks.scored import markdown_table


def main(out: Path) -> None:
    """Print the table and write ``OUT/table.md``."""
    records = [read(path) for path in sorted(out.glob("*.json"))]
    rows = [cells for record in records for row in record["rows"] for cells in _told(record["benchmark"], row)]
    lines = markdown_table(("benchmark", "what", "measured", "range"), rows)
    if records:
        where = records[0]["machine"]
        lines += ["", f"{where['processor']}, {where['threads']} threads, commit {where['commit']}, {where['date']}."]
    (out / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


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
