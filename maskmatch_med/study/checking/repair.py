"""Rebuild what can be rebuilt from the files of a study."""

from __future__ import annotations

from pathlib import Path

from maskmatch_med.errors import InputError
from maskmatch_med.study.catalogue import write_catalogue
from maskmatch_med.study.checking.files import catalogue_is_right, leftovers
from maskmatch_med.study.study import Study
from maskmatch_med.study.versions import recover_version


def repair_study(root: Path) -> list[str]:
    """Rebuild what can be rebuilt from the files: sidecars, labelsTr, dataset.json, the catalogue; clear leftovers.

    No scan, no label version and no model is changed.

    Returns:
        What was done, in sentences.

    Raises:
        NewerError: a newer version of the program has written a file of it.
        StudyError: the folder is no study, or a living process keeps it locked.
    """
    study = Study.at(root)
    done = []
    if study.lock.remove_if_dead():
        done.append("removed the lock of a process that has ended")
    with study.lock.held():
        for path in leftovers(study.root):
            path.unlink()
            done.append(f"removed the unfinished file {path.relative_to(study.root)}")
        done += [f"wrote sources/{n}.json anew from the scan" for n in study.folder.names() if _restore(study, n)]
        catalogue_was_right = catalogue_is_right(study)
        done += [f"wrote {p.relative_to(study.root)} anew" for p in _recover_versions(study)]
        adopted = study.view().refresh()
        write_catalogue(study.root, study.cases())
        done += [f"the label of {name}, changed by another program, became a new version" for name in adopted]
        if not catalogue_was_right:
            done.append("rebuilt the catalogue study.sqlite from the files")
    return done


def _restore(study: Study, name: str) -> bool:
    try:
        return study.folder.restore_sidecar(name)
    except InputError:
        return False


def _recover_versions(study: Study) -> list[Path]:
    """Write damaged version sidecars anew from the voxels they describe; those are not touched."""
    return [
        path
        for name in study.folder.names()
        for path in sorted((study.root / "history" / name).glob("[0-9]*.json"))
        if recover_version(study.root, name, path.stem, study.label_names)
    ]
