"""The one table of the formats that can be read, and what every reader takes and gives.

Each reader is a module of this room with ``header(path, options) -> Header`` and ``read(path, options) -> StoredScan``;
it is imported when a file of its format is met, so that the table itself costs nothing.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from maskmatch_med.errors import InputError
from maskmatch_med.volume import Array, Geometry

READABLE = (
    "NIfTI (.nii, .nii.gz, .hdr/.img), Analyze, NRRD, MetaImage, MGH, AFNI, MINC, DICOM "
    "or a picture (PNG, JPEG, TIFF, GIF, BMP)"
)
_DICOM_MAGIC_AT = 128
_MAGIC = (
    (0, b"NRRD", "NRRD"),
    (0, b"ObjectType", "MetaImage"),
    (0, b"NDims", "MetaImage"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"BZh", "bzip2"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"CDF", "MINC1"),
    (0, b"\x89HDF", "HDF5, such as MINC2"),
    (0, b"\x89PNG", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (_DICOM_MAGIC_AT, b"DICM", "DICOM"),
    (344, b"n+1\0", "NIfTI-1"),
    (344, b"ni1\0", "the header of a NIfTI-1 pair"),
    (4, b"n+2\0", "NIfTI-2"),
)
"""Where which bytes tell a format: used to say what a file with a wrong name really is."""


@dataclass(frozen=True)
class ReadOptions:
    """What the caller wants of a file that could be read in more than one way.

    Args:
        frames: which entries of a fourth axis to take as channels, counted from 0; None where none was chosen.
        magnitude: read complex values as their magnitude instead of refusing them.
        series: which series of a DICOM folder or zip, by the name that ``find_series`` gives it.
        channels: how many entries a fourth axis must have to be taken as the channels of the scan.
    """

    frames: tuple[int, ...] | None = None
    magnitude: bool = False
    series: str | None = None
    channels: int | None = None

    def choose(self, path: Path, count: int) -> tuple[int, ...]:
        """Which of the ``count`` entries along a fourth axis to read.

        Raises:
            InputError: several entries and nothing that says what they are, or a frame that is not there.
        """
        if self.frames is not None:
            wrong = [frame for frame in self.frames if not 0 <= frame < count]
            if wrong or not self.frames:
                raise InputError(f"{path} has frames 0 to {count - 1}, not {list(wrong)}; choose others with --frames")
            if len(set(self.frames)) < len(self.frames):
                raise InputError(f"--frames {_listed(self.frames)} names a frame of {path} twice; name each once")
            return self.frames
        if count == 1:
            return (0,)
        if self.channels is None or self.channels == 1:
            raise InputError(
                f"{path} has four axes with {count} entries along the last: a time series or several channels in one "
                "file; import it with --frames all or 0,1,…, or save each channel as a file of its own, "
                "NAME_0000.nii.gz, NAME_0001.nii.gz, …"
            )
        if count != self.channels:
            raise InputError(
                f"{path} holds {count} channels along its fourth axis, expected {self.channels}; give a file with "
                "those channels, or each channel as a file of its own, NAME_0000.nii.gz, NAME_0001.nii.gz"
            )
        return tuple(range(count))


def _listed(frames: tuple[int, ...]) -> str:
    return ",".join(str(frame) for frame in frames)


@dataclass(frozen=True)
class Header:
    """What a file says of itself before its values are read.

    Args:
        format: the name of the format, such as ``"NIfTI-1"``.
        dtype: the type of number as stored, such as ``"int16"`` or ``"RGB uint8"``.
        geometry: the grid.
        frames: entries along a fourth axis; 1 where there is none.
        channels: numbers a voxel, 3 where it holds a colour.
        placed: whether it says how its axes lie in the world.
    """

    format: str
    dtype: str
    geometry: Geometry
    frames: int = 1
    channels: int = 1
    placed: bool = True


@dataclass(frozen=True, eq=False)
class StoredScan:
    """The values of a file in the type in which they are exact.

    Args:
        array: (C, X, Y, Z) of the stored type, or of a float where the file scales its values.
        header: what the file says of itself.
    """

    array: Array
    header: Header

    @property
    def geometry(self) -> Geometry:
        """The grid."""
        return self.header.geometry


class Reader(Protocol):
    """What a module that reads a format offers; both raise InputError for whatever cannot be read."""

    def header(self, path: Path, options: ReadOptions) -> Header:
        """What the file says of itself."""

    def read(self, path: Path, options: ReadOptions) -> StoredScan:
        """Its values on their grid."""


@dataclass(frozen=True)
class Format:
    """A row of the table.

    Args:
        name: as people call it.
        endings: of file names, in lower case, longest first.
        module: the module of this room that reads it.
        labels: whether a label map may come in it.
    """

    name: str
    endings: tuple[str, ...]
    module: str
    labels: bool = True

    def reader(self) -> Reader:
        """The module that reads it, imported now."""
        return cast(Reader, import_module(f"maskmatch_med.io.{self.module}"))


FORMATS = (
    Format("NIfTI", (".nii.gz", ".nii"), "nifti"),
    Format("NIfTI or Analyze pair", (".hdr.gz", ".img.gz", ".hdr", ".img"), "nifti"),
    Format("NRRD", (".nrrd", ".nhdr"), "itk"),
    Format("MetaImage", (".mha", ".mhd"), "itk"),
    Format("FreeSurfer MGH", (".mgh.gz", ".mgz", ".mgh"), "neuro"),
    Format("AFNI", (".head", ".brik.gz", ".brik"), "neuro"),
    Format("MINC", (".mnc",), "neuro"),
    Format("DICOM", (".dicom", ".dcm", ".ima"), "dicom"),
    Format("picture", (".jpeg", ".tiff", ".png", ".jpg", ".tif", ".gif", ".bmp"), "rasters"),
)
_NOT_READ = {
    **dict.fromkeys((".spr", ".sdt"), "an SPR/SDT file"),
    **dict.fromkeys((".idf", ".int2", ".byt", ".real", ".cmplx"), "a UCSF SIVIC file"),
    **dict.fromkeys((".par", ".rec"), "a Philips PAR/REC file"),
    **dict.fromkeys((".raw", ".raw.gz", ".zraw", ".dat"), "voxels without their header"),
    **dict.fromkeys((".gii", ".vtk", ".vti", ".stl", ".obj"), "a surface or mesh"),
    ".v": "an ECAT file",
    ".zip": "a zip archive without a DICOM file (unpack it)",
    ".ima.gz": "a gzipped DICOM file",
}
"""What people try besides, by the ending of the name, for a message that says what it is."""
_DICOM = next(row for row in FORMATS if row.name == "DICOM")
_ZIP = ".zip"
_HEADER_OF = {".img": ".hdr", ".img.gz": ".hdr.gz", ".brik": ".head", ".brik.gz": ".head"}


def format_of(path: Path) -> Format | None:
    """The row for a file: by the ending of its name, else DICOM where its content says so; None for any other."""
    return _by_name(path) or (_DICOM if _holds_dicom(path) else None)


def is_readable(path: Path) -> bool:
    """Whether the name or the first bytes of a file are those of a format that can be read."""
    return format_of(path) is not None


def is_folder(path: Path) -> bool:
    """Whether a path is a folder; False, never an error, where it cannot be looked at."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def check_file(path: Path) -> None:
    """Make sure that a path is a regular file with content that may be read.

    Raises:
        InputError: there is none, it is a folder, a device or a link that leads to itself, it is empty, or the right
            to read it is missing.
    """
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"there is no file {path}; check the path") from error
    except PermissionError as error:
        raise InputError(f"{path} may not be read by this account; ask for the permission to read it") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot open {path} ({why}); check the path and its links") from error
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path} is a folder; expected one file: {READABLE}")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path} is a device or a pipe; expected one file: {READABLE}")
    if status.st_size == 0:
        raise InputError(f"{path} is empty, cut off when it was saved or copied; copy or export it anew")


def unreadable(path: Path) -> InputError:
    """The refusal of a file of no format in the table."""
    name = path.name.lower()
    known = next((what for ending, what in _NOT_READ.items() if name.endswith(ending)), None)
    if known:
        return InputError(f"cannot read {path}: it is {known}, which is not read here; give {READABLE}")
    return InputError(f"cannot read {path}{looks_like(path)}: expected {READABLE}")


def looks_like(path: Path, expected: str = "none") -> str:
    """A remark for messages on what the first bytes of a file say that it is; empty where nothing or as expected."""
    try:
        with path.open("rb") as stream:
            start = stream.read(512)
    except OSError:
        return ""
    found = next((name for at, magic, name in _MAGIC if start[at:].startswith(magic)), None)
    return f" (its first bytes are those of {found})" if found and expected not in found else ""


def strip_extension(path: Path) -> str:
    """The file's name without a format's ending: ``a.b.nii.gz`` gives ``a.b``."""
    ending = _ending(path)
    return path.name[: -len(ending)] if ending else path.stem


def without_data_files(paths: Iterable[Path]) -> list[Path]:
    """The same files without those that hold only the voxels of another among them, such as the .img of an .hdr."""
    files = list(paths)
    names = {(f.parent, f.name.lower()) for f in files}
    return [f for f in files if not any((f.parent, header) in names for header in _header_names(f))]


def _header_names(path: Path) -> tuple[str, ...]:
    header = _HEADER_OF.get(_ending(path))
    if header is None:
        return ()
    base = strip_extension(path).lower()
    return (base + header, base + header.removesuffix(".gz"), base + header.removesuffix(".gz") + ".gz")


def _ending(path: Path) -> str:
    name = path.name.lower()
    return next((ending for row in FORMATS for ending in row.endings if name.endswith(ending) and name != ending), "")


def _by_name(path: Path) -> Format | None:
    ending = _ending(path)
    return next((row for row in FORMATS if ending in row.endings), None)


def _holds_dicom(path: Path) -> bool:
    """Whether a file without a known ending is DICOM by its magic number, or an archive of such files."""
    if path.suffix.lower() == _ZIP:
        return bool(import_module("maskmatch_med.io.dicom").is_dicom(path))
    try:
        with path.open("rb") as stream:
            stream.seek(_DICOM_MAGIC_AT)
            return stream.read(4) == b"DICM"
    except (OSError, ValueError):
        return False
