"""2D pictures and masks."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from maskmatch_med.errors import InputError
from maskmatch_med.io import MaskCode, read_labels, read_volume, write_mask_png
from maskmatch_med.io.rasters import slice_geometry

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
RGB = np.stack([GREY, GREY + 1, GREY + 2], axis=-1)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".gif"])
def test_grey_pictures_have_one_channel_with_x_the_column(tmp_path, suffix):
    Image.fromarray(GREY).save(tmp_path / f"x{suffix}")
    volume = read_volume(tmp_path / f"x{suffix}")
    assert volume.array.shape == (1, 4, 3, 1)
    np.testing.assert_array_equal(volume.array[0, :, :, 0], GREY.T)
    np.testing.assert_array_equal(volume.geometry.affine, np.diag([-1.0, -1.0, 1.0, 1.0]))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_colour_has_three_channels(tmp_path, suffix):
    Image.fromarray(RGB).save(tmp_path / f"x{suffix}")
    array = read_volume(tmp_path / f"x{suffix}").array
    np.testing.assert_array_equal(array[..., 0], RGB.transpose(2, 1, 0))


def test_alpha_is_dropped_and_equal_channels_stay_three(tmp_path):
    alpha = np.concatenate([RGB, np.full((3, 4, 1), 7, np.uint8)], axis=-1)
    Image.fromarray(alpha).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.png").array[..., 0], RGB.transpose(2, 1, 0))
    Image.fromarray(np.repeat(GREY[..., None], 3, axis=2)).save(tmp_path / "g.png")
    assert read_volume(tmp_path / "g.png").channels == 3


def test_sixteen_bits_and_palettes(tmp_path):
    deep = GREY.astype(np.uint16) * 200
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_volume(tmp_path / "deep.png").array[0, :, :, 0], deep.T)
    coloured = np.stack([GREY, GREY // 2, 255 - GREY], axis=-1)
    Image.fromarray(coloured).quantize().save(tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.mode == "P"
    assert read_volume(tmp_path / "p.png").channels == 3


def test_jpeg_is_close(tmp_path):
    smooth = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "x.jpg", quality=95)
    assert np.abs(read_volume(tmp_path / "x.jpg").array[0, :, :, 0] - smooth.T).max() < 12


def test_bad_pictures_are_refused(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "x.png")
    content = (tmp_path / "x.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.png").write_text("hello")
    for name in ("cut.png", "text.png"):
        with pytest.raises(InputError, match=f"cannot read the picture .*{name}") as caught:
            read_volume(tmp_path / name)
        assert "BytesIO" not in str(caught.value)
    Image.fromarray(GREY).save(tmp_path / "pages.tif", save_all=True, append_images=[Image.fromarray(GREY)])
    with pytest.raises(InputError, match="2 pages"):
        read_volume(tmp_path / "pages.tif")


def test_black_and_white_masks_are_background_and_foreground(tmp_path):
    mask = np.array([[0, 255], [255, 0], [0, 0]], np.uint8)
    Image.fromarray(mask).save(tmp_path / "m.png")
    Image.fromarray(mask > 0).save(tmp_path / "bits.png")
    Image.fromarray(mask).save(tmp_path / "m.gif")
    Image.fromarray(np.repeat(mask[..., None], 3, axis=2)).save(tmp_path / "rgb.bmp")
    for name in ("m.png", "bits.png", "m.gif", "rgb.bmp"):
        np.testing.assert_array_equal(read_labels(tmp_path / name).array[:, :, 0], mask.T // 255, err_msg=name)


def test_jpeg_masks_are_binary_or_refused(tmp_path):
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 16:48] = 255
    Image.fromarray(mask).save(tmp_path / "m.jpg")
    np.testing.assert_array_equal(read_labels(tmp_path / "m.jpg").array[:, :, 0], mask.T // 255)
    Image.fromarray(mask // 2).save(tmp_path / "grey.jpg")
    with pytest.raises(InputError, match="save masks as PNG"):
        read_labels(tmp_path / "grey.jpg")


def test_index_masks_are_classes_and_255_is_not_judged(tmp_path):
    mask = np.array([[0, 1, 2], [2, 1, 255]], np.uint8)
    Image.fromarray(mask).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "m.png").array[:, :, 0], mask.T)


def test_colours_keep_one_class_over_all_masks(tmp_path):
    black, red, blue = (0, 0, 0), (255, 0, 0), (0, 0, 255)
    Image.fromarray(np.array([[black, red]], np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.array([[blue, black]], np.uint8)).save(tmp_path / "b.png")
    code = MaskCode.of([tmp_path / "a.png", tmp_path / "b.png"])
    assert code.colours == (black, blue, red)
    np.testing.assert_array_equal(code.decode(tmp_path / "a.png").array.ravel(), [0, 2])
    np.testing.assert_array_equal(code.decode(tmp_path / "b.png").array.ravel(), [1, 0])
    with pytest.raises(InputError, match="colour #ff0000"):
        MaskCode("colours", colours=(black, blue)).decode(tmp_path / "a.png")


def test_photographs_are_no_masks(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    with pytest.raises(InputError, match=r"photo\.png has .* colours"):
        read_labels(tmp_path / "photo.png")


@pytest.mark.parametrize("values", [(0, 0), (0, 1), (1, 1), (0, 1, 2), (0, 1, 255), (0, 255), (3, 200, 254)])
def test_a_written_mask_reads_back(tmp_path, values):
    labels = np.array(values, np.uint8).reshape(-1, 1, 1)
    write_mask_png(tmp_path / "m.png", labels)
    back = read_labels(tmp_path / "m.png")
    np.testing.assert_array_equal(back.array, labels)
    assert back.geometry.same_grid(slice_geometry(len(values), 1))


def test_a_mask_of_several_slices_is_refused(tmp_path):
    with pytest.raises(InputError, match="one slice"):
        write_mask_png(tmp_path / "m.png", np.zeros((3, 3, 2), np.uint8))


def test_real_nuclei(shared_data):
    name = sorted((shared_data / "nuclei" / "masks").iterdir())[0].name
    image = read_volume(shared_data / "nuclei" / "images" / name)
    labels = read_labels(shared_data / "nuclei" / "masks" / name)
    assert image.channels == 3
    assert labels.values == (0, 1)
    assert labels.geometry.same_grid(image.geometry)
    with Image.open(shared_data / "nuclei" / "masks" / name) as picture:
        pixels = np.asarray(picture)
    assert labels.array.sum() == (pixels == 255).sum()


def test_masks_of_0_and_255_beside_masks_of_class_numbers_are_refused(tmp_path):
    for name, values in (("a", (0, 255)), ("b", (255, 255)), ("c", (0, 1))):
        Image.fromarray(np.array([values] * 2, np.uint8)).save(tmp_path / f"{name}.png")
    for first in ("a", "b"):
        with pytest.raises(InputError, match=rf"{first}.png holds the value 255, .*foreground as 1"):
            MaskCode.of([tmp_path / "c.png", tmp_path / f"{first}.png"])
    both = MaskCode.of([tmp_path / "a.png", tmp_path / "b.png"])
    assert both.decode(tmp_path / "a.png").values == (0, 1)
    Image.fromarray(np.array([[0, 1, 255]], np.uint8)).save(tmp_path / "d.png")
    assert MaskCode.of([tmp_path / "c.png", tmp_path / "d.png"]).decode(tmp_path / "d.png").values == (0, 1, 255)
