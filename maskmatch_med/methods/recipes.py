"""Recipes: learning methods as names for combinations of the same parts.

A name may be followed by additions, as in ``fixmatch+masked``; ``maskmatch`` is ``fixmatch+masked+multiscale``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from maskmatch_med.errors import InputError


@dataclass(frozen=True)
class Recipe:
    """Which terms train on unlabelled scans, and how.

    Args:
        name: as it was asked for.
        terms: names of the terms, see :data:`maskmatch_med.methods.terms.TERMS`.
        multiscale: whether pseudo-labels are averaged over scales.
        shares: a term's weight as its method was published, by which the setting is multiplied; 1 where not given.
        networks: how many learn; two teach each other, one is taught by its average.
        entropy_weighting: uncertain voxels count less, instead of not at all below the threshold.
        copy_paste: labelled patches receive boxes of each other.
    """

    name: str
    terms: tuple[str, ...] = ()
    multiscale: bool = False
    shares: Mapping[str, float] = field(default_factory=dict)
    networks: int = 1
    entropy_weighting: bool = False
    copy_paste: bool = False


_UNIMATCH = {"strong": 0.25, "second_strong": 0.25, "feature": 0.5}
RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("supervised"),
        Recipe("mean-teacher", ("mean_teacher",)),
        Recipe("ua-mt", ("certain",)),
        Recipe("fixmatch", ("strong",)),
        Recipe("unimatch", ("strong", "second_strong", "feature"), shares=_UNIMATCH),
        Recipe("cps", ("cross",), networks=2),
        Recipe("bcp", ("paste",), copy_paste=True),
        Recipe("maskmatch", ("strong", "masked"), multiscale=True),
    )
}
ADDITIONS = ("masked", "multiscale", "entropy-weighting", "masked-labelled", "copy-paste")
_ADDED_TERMS = {"masked": "masked", "masked-labelled": "masked_labelled"}
_WITHOUT_PSEUDO_LABELS = {"masked_labelled"}
WEIGHABLE = ("strong", "second_strong", "masked", "feature", "mean_teacher")
"""Terms whose voxels +entropy-weighting can weigh; the others have a rule of their own."""


def parse_recipe(name: str) -> Recipe:
    """Turn ``maskmatch`` or ``fixmatch+masked`` into a recipe.

    Raises:
        InputError: the method or an addition is unknown, or an addition has nothing to act on.
    """
    base, *additions = name.split("+")
    if base not in RECIPES:
        added = ", ".join(f"+{addition}" for addition in ADDITIONS)
        raise InputError(f"unknown method {base!r}; choose one of {', '.join(RECIPES)}, with any of {added}")
    recipe = replace(RECIPES[base], name=name)
    for addition in additions:
        if addition in _ADDED_TERMS:
            recipe = replace(recipe, terms=tuple(dict.fromkeys([*recipe.terms, _ADDED_TERMS[addition]])))
        elif addition == "multiscale":
            recipe = replace(recipe, multiscale=True)
        elif addition == "entropy-weighting":
            recipe = replace(recipe, entropy_weighting=True)
        elif addition == "copy-paste":
            recipe = replace(recipe, copy_paste=True)
        else:
            raise InputError(f"unknown addition +{addition} in {name!r}; choose from +{', +'.join(ADDITIONS)}")
    if recipe.multiscale and not set(recipe.terms) - _WITHOUT_PSEUDO_LABELS:
        raise InputError(f"{name!r} makes no use of pseudo-labels, so +multiscale changes nothing; add +masked as well")
    if recipe.entropy_weighting and not set(recipe.terms) & set(WEIGHABLE):
        raise InputError(f"{name!r} has no voxels that +entropy-weighting could weigh; add +masked as well")
    return recipe
