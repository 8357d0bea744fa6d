"""What distances and sizes are counted in: mm and ml, or pixels where scans are pictures, whose pixels have no size."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Units:
    """The words of a table.

    Args:
        length: of distances, and of the tolerance of the surface Dice.
        amount: of what is stored in ml, with a pixel counted as a cubic millimetre.
        size: what an amount is of.
    """

    length: str
    amount: str
    size: str

    def metric_heads(self, tolerance: float) -> dict[str, str]:
        """What a table calls each metric: the tolerance of the NSD, and the distances with their unit."""
        heads = {"dice": "Dice", "nsd": f"NSD {tolerance:g}", "hd95_mm": "HD95", "assd_mm": "ASSD"}
        return {key: head if key == "dice" else f"{head} {self.length}" for key, head in heads.items()}


SOLID = Units("mm", "ml", "volume")
FLAT = Units("px", "1000 px", "area")
