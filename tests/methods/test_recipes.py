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
        ("ua-mt+masked", {"certain", "masked"}, False),
        ("unimatch+multiscale", {"strong", "second_strong", "feature"}, True),
        ("cps+masked+multiscale", {"cross", "masked"}, True),
        ("bcp+masked", {"paste", "masked"}, False),
        ("supervised+masked-labelled", {"masked_labelled"}, False),
        ("maskmatch+masked-labelled", {"strong", "masked", "masked_labelled"}, True),
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
    methods = {"supervised", "mean-teacher", "ua-mt", "fixmatch", "unimatch", "cps", "bcp", "maskmatch"}
    assert set(RECIPES) == methods
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
        ("supervised+masked-labelled+multiscale", ["+multiscale changes nothing", "+masked"]),
        ("cps+entropy-weighting", ["'cps+entropy-weighting'", "+masked"]),
        ("supervised+entropy-weighting", ["could weigh"]),
    ],
)
def test_a_wrong_name_is_refused_with_what_would_do(name: str, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        parse_recipe(name)
    for word in words:
        assert word in str(caught.value)


def test_options_set_what_they_are_called() -> None:
    plain, full = parse_recipe("fixmatch"), parse_recipe("fixmatch+entropy-weighting+copy-paste")
    assert (plain.entropy_weighting, plain.copy_paste) == (False, False)
    assert (full.entropy_weighting, full.copy_paste, full.terms) == (True, True, plain.terms)
    assert parse_recipe("cps+masked").networks == 2
    assert all(parse_recipe(name).networks == 1 for name in RECIPES if name != "cps")
    assert sum(RECIPES["unimatch"].shares.values()) == 1
