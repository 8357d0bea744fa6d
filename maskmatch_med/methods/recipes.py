"""Recipes: learning methods as names for combinations of the same parts.

A name may be followed by additions, as in ``fixmatch+masked``; ``maskmatch`` is ``fixmatch+masked+multiscale``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from maskmatch_med.errors import InputError


@dataclass(frozen=True)
class Recipe:
    """Which terms train on unlabelled scans, and whether pseudo-labels are averaged over scales."""

    name: str
    terms: tuple[str, ...] = ()
    multiscale: bool = False


_FIXMATCH = Recipe("fixmatch", ("strong",))
RECIPES: dict[str, Recipe] = {
    "supervised": Recipe("supervised"),
    "mean-teacher": Recipe("mean-teacher", ("mean_teacher",)),
    "fixmatch": _FIXMATCH,
    "maskmatch": Recipe("maskmatch", ("strong", "masked"), multiscale=True),
}
ADDITIONS = ("masked", "multiscale")


def parse_recipe(name: str) -> Recipe:
    """Turn ``maskmatch`` or ``fixmatch+masked`` into a recipe.

    Raises:
        InputError: the method or an addition is unknown, or multi-scale pseudo-labels are asked for without a term
            that uses pseudo-labels.
    """
    base, *additions = name.split("+")
    if base not in RECIPES:
        raise InputError(f"unknown method {base!r}; choose one of {', '.join(RECIPES)}, with +masked or +multiscale")
    recipe = replace(RECIPES[base], name=name)
    for addition in additions:
        if addition == "masked":
            recipe = replace(recipe, terms=tuple(dict.fromkeys([*recipe.terms, "masked"])))
        elif addition == "multiscale":
            recipe = replace(recipe, multiscale=True)
        else:
            raise InputError(f"unknown addition +{addition} in {name!r}; choose from +{', +'.join(ADDITIONS)}")
    if recipe.multiscale and not recipe.terms:
        raise InputError(f"{name!r} makes no use of pseudo-labels, so +multiscale changes nothing; add +masked as well")
    return recipe
