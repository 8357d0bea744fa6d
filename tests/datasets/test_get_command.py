"""``maskmatch get`` from the first word to a study, against a server with a small archive."""

from __future__ import annotations

import pytest

from maskmatch_med.cli.app import main
from maskmatch_med.datasets import DATASETS
from maskmatch_med.study import Study


@pytest.fixture(autouse=True)
def _known(dataset, monkeypatch):
    """The generated archive has an entry of its own in the table."""
    monkeypatch.setitem(DATASETS, dataset.name, dataset)


def test_it_gets_a_study_and_says_licence_and_next_step(shop, tmp_path, capsys):
    words = ["get", "phantom", "--to", str(tmp_path), "--address", shop.address, "--labelled", "2"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "Licence: CC BY-SA 4.0, https://creativecommons.org/licenses/by-sa/4.0/" in said
    assert "To cite: Simpson" in said
    assert "6 scans added, 0 unchanged, 2 labels new, 1 left out" in said
    assert f"Next: maskmatch train {tmp_path / 'phantom'}" in said
    study = Study.open(tmp_path / "phantom")
    assert (len(study.cases()), len(study.labelled_cases())) == (6, 2)
    image = next(iter(sorted((tmp_path / "phantom" / "imagesTr").iterdir())))
    assert image.samefile(tmp_path / "Task99_Phantom" / "imagesTr" / image.name.replace("_0000", ""))

    assert main(words) == 0
    said = capsys.readouterr().out
    assert "was here" in said
    assert "0 scans added, 6 unchanged, 0 labels new" in said
    assert len(shop.asked) == 1


def test_without_import_it_names_the_command(shop, tmp_path, capsys):
    assert main(["get", "PHANTOM", "--to", str(tmp_path), "--address", shop.address, "--no-import"]) == 0
    said = capsys.readouterr().out
    assert f"Next: maskmatch import {tmp_path / 'Task99_Phantom'} STUDY --splits" in said
    assert not (tmp_path / "phantom").exists()


def test_without_a_name_it_lists_them(capsys, monkeypatch):
    assert main(["get"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in DATASETS)
    assert "more than 10 GB" in said


def test_a_mistake_is_one_sentence(shop, tmp_path, capsys):
    assert main(["get", "knee", "--to", str(tmp_path)]) == 2
    assert "maskmatch: there is no data set 'knee'" in capsys.readouterr().err
    shop.refusals = [403]
    assert main(["get", "phantom", "--to", str(tmp_path), "--address", shop.address]) == 2
    assert "gives 403 Forbidden" in capsys.readouterr().err


def test_a_stop_keeps_what_came(shop, tmp_path, capsys, monkeypatch):
    def stop(done: int, total: int, text: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("maskmatch_med.cli.console.ProgressBar.update", lambda self, *step: stop(*step))
    assert main(["get", "phantom", "--to", str(tmp_path), "--address", shop.address]) == 130
    assert "the same command goes on from there" in capsys.readouterr().err
    assert (tmp_path / "Task99_Phantom.tar.part").stat().st_size > 0
