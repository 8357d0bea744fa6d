from __future__ import annotations

import pytest

from maskmatch_med.errors import InputError
from maskmatch_med.methods import RECIPES, parse_recipe


@pytest.mark.parametrize(
    ("name", "terms", "multiscale"),
    [
        ("supervised", set(), False),
        ("mean-teacher", {"mean_teacher"}, False),
        ("fixmatch", {"strong"}, False),
        ("maskmatch", {"strong", "masked"}, True),
        ("supervised+masked", {"masked"}, False),
        ("supervised+masked+multiscale", {"masked"}, True),
        ("supervised+multiscale+masked", {"masked"}, True),
        ("mean-teacher+masked", {"mean_teacher", "masked"}, False),
        ("mean-teacher+multiscale", {"mean_teacher"}, True),
        ("fixmatch+masked", {"strong", "masked"}, False),
        ("fixmatch+multiscale", {"strong"}, True),
        ("maskmatch+masked", {"strong", "masked"}, True),
    ],
)
def test_a_name_says_which_parts_are_used(name: str, terms: set[str], multiscale: bool) -> None:
    recipe = parse_recipe(name)
    assert recipe.name == name
    assert set(recipe.terms) == terms
    assert len(recipe.terms) == len(terms)
    assert recipe.multiscale is multiscale


@pytest.mark.parametrize("name", ["fixmatch+masked+multiscale", "fixmatch+multiscale+masked"])
def test_maskmatch_is_fixmatch_masked_multiscale(name: str) -> None:
    spelled, short = parse_recipe(name), parse_recipe("maskmatch")
    assert (spelled.terms, spelled.multiscale) == (short.terms, short.multiscale)


def test_the_recipes_are_these() -> None:
    assert set(RECIPES) == {"supervised", "mean-teacher", "fixmatch", "maskmatch"}
    for name in RECIPES:
        assert parse_recipe(name) == RECIPES[name]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("maskmach", ["unknown method 'maskmach'", "supervised", "mean-teacher", "fixmatch", "maskmatch", "+masked"]),
        ("", ["unknown method ''"]),
        ("+masked", ["unknown method ''"]),
        ("MaskMatch", ["unknown method 'MaskMatch'"]),
        ("fixmatch+mask", ["unknown addition +mask", "'fixmatch+mask'", "+masked", "+multiscale"]),
        ("fixmatch+", ["unknown addition +"]),
        ("fixmatch + masked", ["unknown method 'fixmatch '"]),
        ("supervised+multiscale", ["'supervised+multiscale'", "+masked"]),
    ],
)
def test_a_wrong_name_is_refused_with_what_would_do(name: str, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        parse_recipe(name)
    for word in words:
        assert word in str(caught.value)
