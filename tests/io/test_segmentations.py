"""Segmentations of other programs: files written by hand, by SimpleITK and by pydicom, read back with their names."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.utils import pack_bits
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, generate_uid

from maskmatch_med.errors import InputError
from maskmatch_med.io import write_segmentation
from maskmatch_med.io.guard import GUARD
from maskmatch_med.io.segmentations import read_segmentation, referenced_series, segments_of
from maskmatch_med.volume import Geometry

SHAPE = (6, 5, 4)
AFFINE_RAS = np.array([[-1.5, 0, 0, 10], [0, -2.0, 0, 20], [0, 0, 2.5, 30], [0, 0, 0, 1.0]])
GEOMETRY = Geometry(SHAPE, AFFINE_RAS)


def _block(*corners: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(*pair) for pair in corners)] = True
    return mask


LIVER, LESION = _block((0, 3), (1, 4), (0, 2)), _block((4, 6), (0, 2), (2, 4))


def _write_seg_nrrd(path: Path, layers: np.ndarray, fields: dict[str, str]) -> Path:
    """Layers (L, X, Y, Z) uint8 as 3D Slicer stores them: LPS, the list axis first and fastest."""
    lps = np.diag([-1.0, -1, 1, 1]) @ AFFINE_RAS
    vectors = [f"({','.join(str(v) for v in lps[:3, axis])})" for axis in range(3)]
    origin = f"({','.join(str(v) for v in lps[:3, 3])})"
    several = len(layers) > 1
    sizes = " ".join(str(n) for n in ((len(layers), *layers.shape[1:]) if several else layers.shape[1:]))
    lines = [
        "NRRD0004",
        "# Complete NRRD file format specification at:",
        "type: unsigned char",
        f"dimension: {4 if several else 3}",
        "space: left-posterior-superior",
        f"sizes: {sizes}",
        f"space directions: {'none ' if several else ''}{' '.join(vectors)}",
        f"kinds: {'list ' if several else ''}domain domain domain",
        "encoding: gzip",
        f"space origin: {origin}",
        *(f"{key}:={value}" for key, value in fields.items()),
    ]
    data = layers if several else layers[0]
    body = gzip.compress(np.asfortranarray(data).tobytes(order="F"))
    path.write_bytes("\n".join(lines).encode() + b"\n\n" + body)
    return path


def _segment(number: int, name: str, value: int, layer: int = 0, colour: str = "1 0 0") -> dict[str, str]:
    keys = {"ID": f"Segment_{number}", "Name": name, "LabelValue": str(value), "Layer": str(layer), "Color": colour}
    return {f"Segment{number}_{key}": text for key, text in keys.items()} | {f"Segment{number}_Extent": "0 5 0 4 0 3"}


def test_slicer_segments_of_one_layer(tmp_path):
    values = (LIVER * 1 + LESION * 5).astype(np.uint8)
    fields = _segment(0, "liver", 1) | _segment(1, "lesion", 5, colour="0 0.5 1")
    path = _write_seg_nrrd(tmp_path / "a.seg.nrrd", values[None], fields)
    found = read_segmentation(path)
    np.testing.assert_array_equal(found.labels.array, values)
    np.testing.assert_allclose(found.labels.geometry.affine, AFFINE_RAS)
    assert found.background_outside
    other = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(other).T, found.labels.array)
    segments = segments_of([path])[path]
    assert [(s.value, s.name, s.colour) for s in segments] == [(1, "liver", "#ff0000"), (5, "lesion", "#0080ff")]


def test_slicer_layers_that_do_not_overlap_become_one_label_map(tmp_path):
    layers = np.stack([LIVER, LESION]).astype(np.uint8)
    fields = _segment(0, "liver", 1) | _segment(1, "lesion", 1, layer=1)
    path = _write_seg_nrrd(tmp_path / "a.seg.nrrd", layers, fields)
    np.testing.assert_array_equal(read_segmentation(path).labels.array, LIVER * 1 + LESION * 2)
    old = {"Segment0_ID": "A", "Segment0_Name": "liver", "Segment1_ID": "B", "Segment1_Name": "lesion"}
    path = _write_seg_nrrd(tmp_path / "old.seg.nrrd", layers, old)
    np.testing.assert_array_equal(read_segmentation(path).labels.array, LIVER * 1 + LESION * 2)


@pytest.mark.parametrize(
    ("layers", "fields", "message"),
    [
        ([LIVER, LIVER], _segment(0, "a", 1) | _segment(1, "b", 1, 1), r"'a' and 'b' of .* overlap in 18 voxels"),
        ([LIVER * 7], _segment(0, "a", 1), "holds the value 7, which none of its segments has"),
        ([LIVER], _segment(0, "a", 1) | _segment(1, "a", 2), "two segments called 'a'"),
        ([LIVER], _segment(0, "a", 1, layer=1), "describes 2 layers but holds 1|layer that is not there"),
        ([LIVER], _segment(0, "a", 1) | {"Segment0_LabelValue": "one"}, "describes a segment without numbers"),
        ([LIVER], _segment(0, "a", 1) | {"Segment0_Name": " ", "Segment0_ID": ""}, "without a name"),
        ([np.zeros((1, 1, 1))], _segment(0, "a", 1), "has no labelled voxel"),
    ],
)
def test_slicer_files_that_cannot_be_classes_are_refused(tmp_path, layers, fields, message):
    path = _write_seg_nrrd(tmp_path / "a.seg.nrrd", np.stack(layers).astype(np.uint8), fields)
    with pytest.raises(InputError, match=message) as caught:
        read_segmentation(path)
    assert "a.seg.nrrd" in str(caught.value)
    assert "\n" not in str(caught.value)


def _write_dicom_seg(path: Path, masks: dict[str, np.ndarray], kind: str = "BINARY", **changes) -> Path:
    """A segmentation on the grid of GEOMETRY, frames without a voxel left out."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = f"1.2.840.10008.5.1.4.1.1.66.{7 if kind == 'LABELMAP' else 4}"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.Modality, dataset.SegmentationType = "SEG", kind
    dataset.Columns, dataset.Rows = SHAPE[:2]
    bits = 1 if kind == "BINARY" else 8
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = bits - 1, 0, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    segments, frames, pixels = [], [], []
    total = np.zeros(SHAPE, np.uint8)
    for number, (name, mask) in enumerate(masks.items(), start=1):
        item = Dataset()
        item.SegmentNumber, item.SegmentLabel = number, name
        item.RecommendedDisplayCIELabValue = [34885, 53485, 50171]  # of pure red
        segments.append(item)
        total[mask] = number
        for z in range(SHAPE[2]) if kind != "LABELMAP" else ():
            if mask[:, :, z].any():
                frames.append(_frame(z, number))
                pixels.append(mask[:, :, z].T.astype(np.uint8) * (255 if kind == "FRACTIONAL" else 1))
    if kind == "LABELMAP":
        dataset.PixelPaddingValue = 0
        frames, pixels = [_frame(z, None) for z in range(SHAPE[2])], [total[:, :, z].T for z in range(SHAPE[2])]
    order = list(reversed(range(len(frames))))
    dataset.SegmentSequence = Sequence(segments)
    dataset.PerFrameFunctionalGroupsSequence = Sequence([frames[i] for i in order])
    dataset.NumberOfFrames = len(frames)
    stack = np.stack([pixels[i] for i in order])
    dataset.PixelData = pack_bits(stack.ravel()) if kind == "BINARY" else stack.tobytes() + b"\0" * (stack.size % 2)
    dataset.SharedFunctionalGroupsSequence = Sequence([_shared()])
    series = Dataset()
    series.SeriesInstanceUID = "1.2.3.4"
    dataset.ReferencedSeriesSequence = Sequence([series])
    for key, value in changes.items():
        setattr(dataset, key, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def _frame(z: int, number: int | None) -> Dataset:
    """A frame at slice z of GEOMETRY; positions in LPS."""
    frame, position = Dataset(), Dataset()
    position.ImagePositionPatient = [-10.0, -20.0, 30.0 + 2.5 * z]
    frame.PlanePositionSequence = Sequence([position])
    if number is not None:
        identity = Dataset()
        identity.ReferencedSegmentNumber = number
        frame.SegmentIdentificationSequence = Sequence([identity])
    return frame


def _shared() -> Dataset:
    shared, turn, measures = Dataset(), Dataset(), Dataset()
    turn.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness, measures.SpacingBetweenSlices = [2.0, 1.5], 2.5, 2.5
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Sequence([turn]), Sequence([measures])
    return shared


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_dicom_segmentations(tmp_path, kind):
    path = _write_dicom_seg(tmp_path / "seg.dcm", {"Liver": LIVER, "Lesion": LESION}, kind)
    found = read_segmentation(path)
    np.testing.assert_array_equal(found.labels.array, LIVER * 1 + LESION * 2)
    np.testing.assert_allclose(found.labels.geometry.affine, AFFINE_RAS)
    assert [(s.value, s.name, s.colour) for s in segments_of([path])[path]] == [
        (1, "Liver", "#ff0000"),
        (2, "Lesion", "#ff0000"),
    ]
    assert referenced_series(path) == "1.2.3.4"


@pytest.mark.parametrize("kind", ["FRACTIONAL", "LABELMAP"])
def test_compressed_dicom_segmentations_are_decoded_where_a_crash_costs_nothing(tmp_path, kind, monkeypatch):
    plain = read_segmentation(_write_dicom_seg(tmp_path / "a.dcm", {"Liver": LIVER, "Lesion": LESION}, kind))
    packed = pydicom.dcmread(tmp_path / "a.dcm")
    packed.compress(JPEGLSLossless, generate_instance_uid=False)
    packed.save_as(tmp_path / "b.dcm")
    asked = []
    run = GUARD.run
    monkeypatch.setattr(GUARD, "run", lambda call, *told, **more: asked.append(call) or run(call, *told, **more))
    found = read_segmentation(tmp_path / "b.dcm")
    np.testing.assert_array_equal(found.labels.array, plain.labels.array)
    assert asked == ["maskmatch_med.io.dicom.decoding:decode_in_child"]
    whole = bytearray((tmp_path / "b.dcm").read_bytes())
    start = whole.index(b"\xff\xd8\xff") + 2
    whole[start : start + 8] = bytes(8)
    (tmp_path / "c.dcm").write_bytes(whole)
    with pytest.raises(InputError, match=r"c\.dcm"):
        read_segmentation(tmp_path / "c.dcm")


def test_a_dicom_segmentation_without_its_empty_slices_lies_where_its_frames_lie(tmp_path):
    path = _write_dicom_seg(tmp_path / "noname", {"Lesion": LESION})
    found = read_segmentation(path).labels
    assert found.geometry.shape == (6, 5, 2)
    np.testing.assert_allclose(found.geometry.affine[:3, 3], AFFINE_RAS[:3] @ [0, 0, 2, 1])
    np.testing.assert_array_equal(found.array, LESION[:, :, 2:])
    pixels = pydicom.dcmread(path).pixel_array[::-1]
    np.testing.assert_array_equal(found.array, pixels.transpose(2, 1, 0))


def _two_orientations(dataset: Dataset) -> None:
    turn = Dataset()
    turn.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    dataset.PerFrameFunctionalGroupsSequence[0].PlaneOrientationSequence = Sequence([turn])


def _uneven(dataset: Dataset) -> None:
    dataset.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient = [-10, -20, 38.1]


def _tilted(dataset: Dataset) -> None:
    dataset.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient = [-13, -20, 37.5]


def _nowhere(dataset: Dataset) -> None:
    del dataset.PerFrameFunctionalGroupsSequence


def _stranger(dataset: Dataset) -> None:
    dataset.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence[0].ReferencedSegmentNumber = 9


def _cut(dataset: Dataset) -> None:
    dataset.PixelData = dataset.PixelData[:4]


def _nameless(dataset: Dataset) -> None:
    del dataset.SegmentSequence


def _scan(dataset: Dataset) -> None:
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_two_orientations, "several orientations"),
        (_uneven, "not equally far apart"),
        (_tilted, "do not lie above each other"),
        (_nowhere, "does not say where its frames lie"),
        (_stranger, "frames of a segment 9"),
        (_cut, "cannot read the segmentation"),
        (_nameless, "does not describe its segments"),
        (_scan, "is no DICOM segmentation"),
    ],
)
def test_dicom_segmentations_that_cannot_be_laid_out_are_refused(tmp_path, spoil, message):
    path = _write_dicom_seg(tmp_path / "seg.dcm", {"Liver": LIVER, "Lesion": LESION})
    dataset = pydicom.dcmread(path)
    spoil(dataset)
    dataset.save_as(path)
    with pytest.raises(InputError, match=message) as caught:
        read_segmentation(path)
    assert "seg.dcm" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_overlapping_and_fractional_dicom_segments_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"'A' and 'B' .* overlap in 18 voxels"):
        read_segmentation(_write_dicom_seg(tmp_path / "a.dcm", {"A": LIVER, "B": LIVER}))
    path = _write_dicom_seg(tmp_path / "b.dcm", {"A": LIVER}, "FRACTIONAL", MaximumFractionalValue=250)
    with pytest.raises(InputError, match="holds fractions"):
        read_segmentation(path)
    content = path.read_bytes()
    for length in (140, 200, len(content) // 2, len(content) - 3):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"b\.dcm"):
            read_segmentation(path)


DESCRIPTION = """################################################
# ITK-SnAP Label Description File
    0     0    0    0        0  0  0    "Clear Label"
    1   255    0    0        1  1  1    "femoral head"
    2     0  128  255      0.5  1  1    "acetabulum"
    3     0    0  255        1  1  1    "Label 3"
"""


def _plain(path: Path, values: np.ndarray) -> Path:
    write_segmentation(path, values.astype(np.uint8), GEOMETRY)
    return path


def test_itksnap_descriptions_beside_a_label(tmp_path):
    label = _plain(tmp_path / "hip.nii.gz", LIVER)
    assert segments_of([label]) == {}
    (tmp_path / "notes.txt").write_text("not a description")
    (tmp_path / "itksnap.label").write_text(DESCRIPTION)
    assert [(s.value, s.name, s.colour) for s in segments_of([label])[label]] == [
        (1, "femoral head", "#ff0000"),
        (2, "acetabulum", "#0080ff"),
    ]
    (tmp_path / "hip.txt").write_text(DESCRIPTION.replace("femoral head", "caput"))
    other = _plain(tmp_path / "other.nii.gz", LIVER)
    found = segments_of([label, other])
    assert [found[path][0].name for path in (label, other)] == ["caput", "femoral head"]
    (tmp_path / "second.label").write_text(DESCRIPTION.replace("acetabulum", "socket"))
    with pytest.raises(InputError, match=r"itksnap\.label and .*second\.label describe labels differently"):
        segments_of([label, other])


def test_plain_labels_of_any_format_and_255(tmp_path):
    values = (LIVER * 1 + LESION * 255).astype(np.uint8)
    for name in ("a.nii.gz", "a.nrrd", "a.mha"):
        image = sitk.GetImageFromArray(values.T)
        image.SetSpacing((1.5, 2.0, 2.5))
        sitk.WriteImage(image, str(tmp_path / name))
        np.testing.assert_array_equal(read_segmentation(tmp_path / name).labels.array, values)
    nib.save(nib.MGHImage(values.astype(np.int32), AFFINE_RAS), tmp_path / "a.mgz")
    np.testing.assert_array_equal(read_segmentation(tmp_path / "a.mgz").labels.array, values)
    nib.save(nib.Nifti1Image((LIVER * 2).astype(np.float64), AFFINE_RAS), tmp_path / "f.nii.gz")
    np.testing.assert_array_equal(read_segmentation(tmp_path / "f.nii.gz").labels.array, LIVER * 2)
    nib.save(nib.Nifti1Image((LIVER * 1.5).astype(np.float32), AFFINE_RAS), tmp_path / "g.nii.gz")
    with pytest.raises(InputError, match=r"g\.nii\.gz needs whole numbers, got 1\.5"):
        read_segmentation(tmp_path / "g.nii.gz")
    with pytest.raises(InputError, match="holds the value 255"):
        read_segmentation(_plain(tmp_path / "lone.nii.gz", LIVER * 255))


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_slicer_layers_are_no_colours_however_many(tmp_path, count):
    layers = np.zeros((count, *LIVER.shape), np.uint8)
    fields: dict[str, str] = {}
    for layer in range(count):
        layers[layer, layer % LIVER.shape[0], :, layer // LIVER.shape[0]] = 1
        fields |= _segment(layer, f"segment {layer}", 1, layer=layer)
    found = read_segmentation(_write_seg_nrrd(tmp_path / "a.seg.nrrd", layers, fields))
    assert sorted(set(found.labels.values)) == list(range(count + 1))
    for layer in range(count):
        np.testing.assert_array_equal(found.labels.array == layer + 1, layers[layer] == 1)
