"""The catalogue: an index of the cases in ``study.sqlite``. The files are the truth; it can be rebuilt from them.

SQLite's default journal is used, which is safe on network drives too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    NullPool,
    String,
    Table,
    create_engine,
    delete,
    insert,
    select,
)
from sqlalchemy.exc import DatabaseError

from maskmatch_med.study.case import Case

_METADATA = MetaData()
_CASES = Table(
    "cases",
    _METADATA,
    Column("name", String, primary_key=True),
    Column("source_name", String, nullable=False),
    Column("patient_group", String),
    Column("judged", String, nullable=False),
    Column("version", String),
    Column("x", Integer, nullable=False),
    Column("y", Integer, nullable=False),
    Column("z", Integer, nullable=False),
)


def write_catalogue(root: Path, cases: Sequence[Case]) -> None:
    """Make the catalogue say what the files say; a damaged one is replaced."""
    rows: list[dict[str, object]] = [
        {
            "name": case.name,
            "source_name": case.source_name,
            "patient_group": case.group,
            "judged": case.judged,
            "version": case.label.version if case.label else None,
            "x": case.shape[0],
            "y": case.shape[1],
            "z": case.shape[2],
        }
        for case in cases
    ]
    try:
        _write(root, rows)
    except DatabaseError:
        _path(root).unlink(missing_ok=True)
        _write(root, rows)


def read_catalogue(root: Path) -> dict[str, tuple[str, str | None]] | None:
    """State and label version of each case by name; None where the catalogue is missing or damaged."""
    if not _path(root).is_file():
        return None
    try:
        with _connected(root) as connection:
            rows = connection.execute(select(_CASES.c.name, _CASES.c.judged, _CASES.c.version)).all()
    except DatabaseError:
        return None
    return {name: (judged, version) for name, judged, version in rows}


def _path(root: Path) -> Path:
    return root / "study.sqlite"


def _write(root: Path, rows: list[dict[str, object]]) -> None:
    with _connected(root) as connection:
        # Zeros take the place of deleted rows: the name of a scan taken out must not stay in the file.
        connection.exec_driver_sql("PRAGMA secure_delete = ON")
        _METADATA.create_all(connection)
        connection.execute(delete(_CASES))
        if rows:
            connection.execute(insert(_CASES), rows)


@contextmanager
def _connected(root: Path) -> Iterator[Connection]:
    engine = create_engine(f"sqlite:///{_path(root).as_posix()}", poolclass=NullPool)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()
