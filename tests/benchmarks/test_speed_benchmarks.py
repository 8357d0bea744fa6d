"""The speed benchmarks run, and their numbers are those of what was timed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import app, peers, windows
from benchmarks.export import export
from benchmarks.interleaved import growth_exponent, interleave, read
from benchmarks.made import network_of
from benchmarks.speed_table import BEGIN, END, fill
from benchmarks.speed_table import main as table
from maskmatch_app.shelf import STUDY
from maskmatch_med.inference.stream import linear_positions
from maskmatch_med.nets import ModelFolder, save_weights
from maskmatch_med.planning import Plan


def test_both_take_turns_and_who_begins_changes() -> None:
    calls: list[str] = []
    timed = interleave(lambda: calls.append("ours"), lambda: calls.append("peer"), 2)
    assert calls == ["ours", "peer", "ours", "peer", "peer", "ours"]
    assert len(timed.ratios) == 2


def test_cost_that_grows_as_the_square_has_exponent_two() -> None:
    assert growth_exponent([1, 2, 4], [3, 12, 48]) == pytest.approx(2)


def test_the_export_gives_the_labels_of_the_whole_map() -> None:
    import torch

    logits = torch.randn(5, 30, 6, 4, generator=torch.Generator().manual_seed(0))
    whole = torch.nn.functional.interpolate(logits.softmax(0)[None], size=(60, 12, 8), mode="trilinear")[0].argmax(0)
    assert np.mean(export(logits, (60, 12, 8)) == whole.numpy()) > 0.999
    assert linear_positions(30, 60)[0].tolist()[:4] == [0, 0, 0, 1]


@pytest.fixture
def drawn_model(planned_study: Path, tmp_path: Path) -> Path:
    plan = Plan.load(planned_study / "plan.json")
    folder = ModelFolder(tmp_path / "model")
    folder.root.mkdir()
    plan.save(folder.plan_path)
    save_weights(network_of(plan), folder.weights_path)
    return folder.root


def test_fewer_windows_are_scored_scan_by_scan(drawn_model: Path, phantom_source: Path, tmp_path: Path) -> None:
    splits, out = str(phantom_source / "splits.json"), tmp_path / "out"
    windows.main([str(drawn_model), str(phantom_source), "--splits", splits, "--part", "test", "-o", str(out)])
    rows = read(out / f"windows-{phantom_source.name}.json")["rows"]
    assert [row["what"] for row in rows] == list(windows.WAYS)
    assert rows[0]["points_from_first"] == 0
    assert {row["scans"] for row in rows} == {2}
    words = [str(drawn_model), str(phantom_source), "--splits", splits, "--part", "test", "-o", str(out)]
    windows.main([*words, "--scales", "1;0.8,1", "--mirror"])
    chosen = read(out / f"scales-{phantom_source.name}-{drawn_model.name}-mirrored.json")["rows"]
    assert [row["what"] for row in chosen] == ["scales 1", "scales 0.8,1"]
    assert chosen[0]["points_from_first"] == 0
    assert chosen[0]["dice"] != rows[0]["dice"], "mirror images change something"


def test_monai_is_timed_and_scored_on_the_same_scans(
    drawn_model: Path, phantom_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splits, out = str(phantom_source / "splits.json"), tmp_path / "out"
    words = [str(drawn_model), str(phantom_source), "--splits", splits, "--rounds", "1", "--engine", "eager"]
    peers.main([*words, "-o", str(out)])
    rows = read(out / f"peers-{phantom_source.name}.json")["rows"]
    assert [row["what"] for row in rows] == list(peers.WAYS)
    one, *three = rows
    assert one["labels_agree"] > 0.95, "MONAI places the windows of such a shape otherwise"
    assert one["dice"] == pytest.approx(one["peer_dice"], abs=0.01)
    assert one["points_over_peer"] == pytest.approx(100 * (one["dice"] - one["peer_dice"]), abs=0.02)
    assert all(0.3 < row["labels_agree"] < one["labels_agree"] for row in three)
    assert {row["scans"] for row in rows} == {2}
    assert "nnU-Net is left out" in capsys.readouterr().out


def test_pages_are_timed_and_told_in_one_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(app, "COUNTS", (2, 4))
    monkeypatch.setenv(STUDY, "")
    monkeypatch.setenv("XDG_STATE_HOME", "")
    app.main(tmp_path, 1)
    rows = read(tmp_path / "app.json")["rows"]
    assert [row["cost grows with"].rpartition(" ")[2] for row in rows] == list(app.PAGES)
    monkeypatch.setattr("benchmarks.speed_table.REPOSITORY", tmp_path)
    (tmp_path / "README.md").write_text(f"a\n{BEGIN}\nold\n{END}\nb\n")
    table(tmp_path)
    assert "old" not in (tmp_path / "README.md").read_text()
    assert "page review" in capsys.readouterr().out
    assert (tmp_path / "table.md").is_file()


def test_the_readme_gets_times_against_peers_between_its_marks() -> None:
    row = {"what": "forward", "ratio": 2.1666, "ratio_low": 2.0, "ratio_high": 2.3}
    machine = {"processor": "P", "threads": 2, "commit": "abc", "date": "2026-01-01"}
    records = [{"benchmark": "predict", "machine": machine, "rows": [row, {"what": "no peer", "exponent": 1}]}]
    once = fill(f"above\n{BEGIN}\nold\n{END}\nbelow\n", records)
    assert once == fill(once, records)
    assert once.startswith(f"above\n{BEGIN}\n| what |")
    assert "| forward | MONAI's sliding window, one scale, overlap 0.5 | 2.17 | 2.00 to 2.30 |" in once
    assert "P, 2 threads, commit abc, 2026-01-01." in once
    assert "old" not in once
    assert "no peer" not in once
    assert once.endswith(f"{END}\nbelow\n")
    with pytest.raises(ValueError, match="marks"):
        fill("nothing", records)
