"""The comparison with nnU-Net as far as it goes without nnU-Net: its raw data, its small plan, resumption, the page."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import nnunet
from benchmarks.nnunet import Comparison, Peer, compare, network_of, write_raw
from maskmatch_med.errors import InputError, TrainingError
from maskmatch_med.planning import Plan
from maskmatch_med.study import Study

STAND_IN = '''
"""Does what the comparison asks of nnU-Net, in no time: labels every scan as background."""
import json, os, sys
from pathlib import Path
import nibabel
verb, *rest = sys.argv[3:]
with open(os.environ["nnUNet_results"] + ".calls", "a") as calls:
    calls.write(verb + " " + os.environ["nnUNet_n_proc_DA"] + "\\n")
if verb == "plan":
    Path(os.environ["nnUNet_preprocessed"], "done").touch()
elif verb == "train":
    told = {"iterations": 7, "seconds": 60 * float(rest[1]), "patch_vox": [16, 16, 16], "batch_size": 2}
    Path(rest[3]).write_text(json.dumps(told | {"parameters": 1500000, "version": "2.0"}))
elif verb == "predict":
    for path in Path(rest[1]).glob("*_0000.nii.gz"):
        scan = nibabel.load(path)
        Path(rest[2]).mkdir(parents=True, exist_ok=True)
        empty = nibabel.Nifti1Image((scan.get_fdata() * 0).astype("uint8"), scan.affine)
        nibabel.save(empty, Path(rest[2], path.name.replace("_0000", "")))
'''


@pytest.fixture
def what(phantom_source: Path) -> Comparison:
    return Comparison(str(phantom_source), str(phantom_source / "splits.json"), labelled=2, minutes=0.25, scans=1)


@pytest.fixture
def tiny_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans are those of a very small network."""
    small = {"patch_vox": "[16, 16, 16]", "network.features": "[4, 8, 8]"}
    plan_study = nnunet.service.plan_study
    monkeypatch.setattr(
        nnunet.service,
        "plan_study",
        lambda path, device, settings: plan_study(path, "quick", device, small | settings),
    )


@pytest.fixture
def peer(tmp_path: Path) -> Peer:
    """An interpreter that does in no time what nnU-Net is asked for."""
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{tmp_path / "stand_in.py"}" "$@"\n')
    python.chmod(0o755)
    return Peer(str(python), tmp_path / "out" / "nnunet", threads=1)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for nnU-Net's interpreter is a shell script")
@pytest.mark.proof
def test_what_is_finished_is_not_done_again(tmp_path: Path, what: Comparison, peer: Peer, tiny_plan: None) -> None:
    root = tmp_path / "out"
    what.keep(root)

    table = compare(root, what, peer, small=False)
    calls = (peer.root / "results.calls").read_text().split("\n")
    made = {path: path.stat().st_mtime_ns for path in (root / "predictions").rglob("*.nii.gz")}
    assert calls == ["plan 1", "train 0", "predict 1", ""]
    assert "| `nnU-Net small` |" not in table.read_text()
    assert "1 scans of `test`" in table.read_text()

    compare(root, what, peer, small=True)
    page_now = table.read_text()
    calls = (peer.root / "results.calls").read_text().split("\n")

    assert calls[3:] == ["train 0", "predict 1", ""]
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert {path.parent.name for path in (root / "predictions").rglob("*.nii.gz")} == {
        "supervised",
        "3d_fullres",
        "3d_small",
    }
    assert page_now.count("| `nnU-Net small` |") == 1
    assert page_now.count("`supervised` − ") == 2
    results = json.loads((root / "results.json").read_text())
    assert results["nnU-Net"]["iterations"] == 7
    assert {row["dice"] for row in results["nnU-Net"]["rows"]} <= {0.0, None}


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for nnU-Net's interpreter is a shell script")
def test_a_failure_of_nnunet_names_its_log(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(TrainingError, match=r"failed to plan; see .*log\.txt"):
        Peer(str(python), tmp_path, 1).ask("plan")
    assert "broken" in (tmp_path / "log.txt").read_text()


def test_an_interpreter_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot start nowhere/python"):
        Peer("nowhere/python", tmp_path, 1).ask("plan")


def test_a_folder_holds_one_comparison(tmp_path: Path, what: Comparison) -> None:
    what.keep(tmp_path)
    what.keep(tmp_path)
    with pytest.raises(InputError, match="another minutes"):
        Comparison(what.data, what.splits, what.labelled, 30, scans=1).keep(tmp_path)
    with pytest.raises(InputError, match="above 0"):
        Comparison(what.data, what.splits, 2, 0).keep(tmp_path / "new")


def test_nnunet_gets_the_labelled_scans_and_the_file_that_lists_them(planned_study: Path, tmp_path: Path) -> None:
    study = Study.open(planned_study)
    write_raw(study, tmp_path)

    folder = tmp_path / "Dataset001_Study"
    listed = json.loads((folder / "dataset.json").read_text())["dataset"]
    assert set(listed) == {case.name for case in study.labelled_cases()}
    assert all((folder / path).is_file() for entry in listed.values() for path in (*entry["images"], entry["label"]))
    assert len(list((folder / "imagesTr").iterdir())) == 2


def test_the_network_is_told_along_the_axes_of_the_files(planned_study: Path) -> None:
    study, plan = Study.open(planned_study), Plan.load(planned_study / "plan.json")
    told = network_of(plan.model_copy(update={"patch_vox": (8, 16, 24)}), study)
    axes = study.labelled_cases()[0].read_image().geometry.to_canonical().target_axis
    assert told["patch_vox"] == [(8, 16, 24)[axis] for axis in axes]
    assert told["features"] == [4, 8, 8]
