"""Draw docs/images/loop.png from the pictures of the pages beside it: label, train, review, and round again."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
STEPS = (("label", "1  Label a few scans"), ("train", "2  Train on all of them"), ("review", "3  Review, worst first"))
RETURN = "correct, and train again"
PART = {"label": (340, 98, 1240, 758), "train": (340, 118, 1240, 778), "review": (340, 118, 1240, 778)}
"""What is shown of each picture: left, top, right, bottom in its pixels."""
WIDTH, GAP, EDGE, HEAD, FOOT = 600, 56, 24, 62, 84
INK, TEAL, PAPER = "#14262b", "#0b6e75", "#ffffff"
COLOURS = 128


def draw(images: Path = IMAGES) -> Image.Image:
    """The picture of the loop."""
    parts = [Image.open(images / f"{name}.png").convert("RGB").crop(PART[name]) for name, _ in STEPS]
    height = round(WIDTH * parts[0].height / parts[0].width)
    size = (2 * EDGE + len(STEPS) * WIDTH + (len(STEPS) - 1) * GAP, HEAD + height + FOOT)
    canvas = Image.new("RGB", size, PAPER)
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(34)
    middles = []
    for place, (part, (_, words)) in enumerate(zip(parts, STEPS, strict=True)):
        left = EDGE + place * (WIDTH + GAP)
        pen.text((left, HEAD / 2), words, INK, font, anchor="lm")
        canvas.paste(part.resize((WIDTH, height), Image.Resampling.LANCZOS), (left, HEAD))
        pen.rectangle((left - 1, HEAD - 1, left + WIDTH, HEAD + height), outline="#b9c8cc")
        middles.append(left + WIDTH // 2)
        if place:
            arrow(pen, [(left - GAP + 8, HEAD + height / 2), (left - 8, HEAD + height / 2)])
    below = HEAD + height
    arrow(
        pen, [(middles[-1], below + 10), (middles[-1], below + 46), (middles[0], below + 46), (middles[0], below + 10)]
    )
    box = pen.textbbox((size[0] / 2, below + 46), RETURN, font, anchor="mm")
    pen.rectangle((box[0] - 16, box[1], box[2] + 16, box[3]), fill=PAPER)
    pen.text((size[0] / 2, below + 46), RETURN, TEAL, font, anchor="mm")
    return canvas.quantize(COLOURS, dither=Image.Dither.NONE)


def arrow(pen: ImageDraw.ImageDraw, points: list[tuple[float, float]]) -> None:
    """A line along some points, with a head at the last, along an axis."""
    pen.line(points, TEAL, 5, "curve")
    (x0, y0), (x, y) = points[-2:]
    across, up = ((x > x0) - (x < x0)) * 14, ((y > y0) - (y < y0)) * 14
    pen.polygon(
        [(x + across / 2, y + up / 2), (x - across + up, y - up + across), (x - across - up, y - up - across)], TEAL
    )


if __name__ == "__main__":
    draw().save(IMAGES / "loop.png", optimize=True)
