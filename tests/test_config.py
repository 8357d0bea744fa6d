"""The configuration's doorstep: what is read, what is refused, and with which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskmatch_med.config import TrainConfig
from maskmatch_med.errors import InputError

TOML = """
method = "fixmatch+masked"
minutes = 4
seed = 7
[pseudo_labels]
threshold = 0.8
scales = [0.9, 1, 1.1]
[optimiser]
learning_rate = 1e-3
"""


def test_toml_and_json_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(TOML, encoding="utf-8")
    config = TrainConfig.load(tmp_path / "run.toml")
    assert (config.method, config.minutes, config.seed) == ("fixmatch+masked", 4.0, 7)
    assert config.pseudo_labels.scales == (0.9, 1.0, 1.1)
    assert config.pseudo_labels.threshold == 0.8
    assert config.optimiser.learning_rate == 1e-3
    assert config.masking == TrainConfig().masking
    config.save(tmp_path / "run.json")
    assert TrainConfig.load(tmp_path / "run.json") == config
    assert (tmp_path / "run.json").read_bytes().endswith(b"}\n")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.toml", "[pseudo_labels]\ntreshold = 0.9\n", ["pseudo_labels.treshold", "0.9"]),
        ("a.json", '{"methode": "fixmatch"}', ["methode"]),
        ("a.json", '{"optimiser": {"learning_rate": -1}}', ["optimiser.learning_rate", "greater than 0", "-1"]),
        ("a.toml", 'preset = "huge"', ["preset", "quick", "balanced", "best", "huge"]),
        ("a.toml", "minutes = 1\niterations = 1", ["either minutes or iterations"]),
        ("a.toml", "[pseudo_labels]\nscales = [0.7, 1.5]", ["scales", "contain 1", "0.7"]),
        ("a.toml", "[pseudo_labels]\nscales = [1, -2]", ["scales", "positive"]),
        ("a.toml", "[pseudo_labels]\nscales = []", ["scales", "contain 1"]),
        ("a.toml", "method = ", ["a.toml"]),
        ("a.json", "{", ["a.json"]),
        ("a.json", "[1]", ["a.json"]),
    ],
)
def test_a_wrong_file_is_refused_with_its_name(tmp_path: Path, name: str, text: str, words: list[str]) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        TrainConfig.load(path)
    for word in [str(path), *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize("name", ["absent.toml", "absent.json", "."])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot read the configuration"):
        TrainConfig.load(tmp_path / name)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    for name in ("a.toml", "a.json"):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00\x80")
        with pytest.raises(InputError, match="cannot"):
            TrainConfig.load(tmp_path / name)


def test_settings_on_the_command_line_are_parsed() -> None:
    base = TrainConfig()
    config = base.override(
        {
            "method": "fixmatch+masked",
            "minutes": "0.5",
            "labelled_batch": "3",
            "pseudo_labels.threshold": "0.8",
            "pseudo_labels.scales": "[0.9, 1, 1.1]",
            "pseudo_labels.gate": "false",
            "pseudo_labels.scale_mode": "resize",
            "unlabelled.normalise_by": '"confident"',
            "spatial.zoom": (0.9, 1.1),
            "optimiser.learning_rate": "1e-4",
        }
    )
    assert (config.method, config.minutes, config.labelled_batch) == ("fixmatch+masked", 0.5, 3)
    found = config.pseudo_labels
    assert (found.threshold, found.scales, found.gate, found.scale_mode) == (0.8, (0.9, 1.0, 1.1), False, "resize")
    assert config.unlabelled.normalise_by == "confident"
    assert config.spatial.zoom == (0.9, 1.1)
    assert config.optimiser.learning_rate == 1e-4
    assert base == TrainConfig(), "the original has changed"
    assert base.override({}) == base


@pytest.mark.parametrize(
    "key", ["treshold", "pseudo_labels.treshold", "pseudo.threshold", "method.x", "", ".", "optimiser.learning_rate.x"]
)
def test_an_unknown_setting_is_refused(key: str) -> None:
    with pytest.raises(InputError) as caught:
        TrainConfig().override({key: "1"})
    assert f"unknown setting {key!r}" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("pseudo_labels.threshold", "1.5", ["pseudo_labels.threshold", "less than or equal to 1", "1.5"]),
        ("pseudo_labels.threshold", "high", ["pseudo_labels.threshold", "high"]),
        ("masking.ratio", "1", ["masking.ratio"]),
        ("masking.ratio", "0", ["masking.ratio"]),
        ("iterations", "0", ["iterations"]),
        ("pseudo_labels.scales", "[0.7]", ["contain 1"]),
    ],
)
def test_an_impossible_value_is_refused(key: str, value: str, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        TrainConfig().override({key: value})
    for word in words:
        assert word in str(caught.value)


def test_both_budgets_are_refused_when_one_is_added_to_the_other() -> None:
    with pytest.raises(InputError, match="either minutes or iterations, not both"):
        TrainConfig(minutes=5).override({"iterations": "10"})


@pytest.mark.parametrize("zoom", ["[1.3, 0.7]", "[0, 1]", "[-1, 1]"])
def test_a_zoom_that_cannot_be_drawn_is_refused(zoom: str) -> None:
    with pytest.raises(InputError, match="zoom"):
        TrainConfig().override({"spatial.zoom": zoom})


@pytest.mark.parametrize("key", ["minutes", "optimiser.learning_rate", "unlabelled.strong_weight", "spatial.zoom"])
@pytest.mark.parametrize("value", ["inf", "nan"])
def test_numbers_are_finite(key: str, value: str) -> None:
    text = f"[0.9, {value}]" if key == "spatial.zoom" else value
    with pytest.raises(InputError, match=key):
        TrainConfig().override({key: text})


def test_a_configuration_cannot_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        TrainConfig().seed = 3  # type: ignore[misc]


def test_a_long_preset_turns_to_unlabelled_scans_earlier_and_a_short_one_later() -> None:
    balanced = TrainConfig()
    assert balanced.override({"preset": "quick"}).labels_alone == 0.85
    assert balanced.labels_alone == 0.7
    assert balanced.override({"preset": "best"}).labels_alone == 0.35
    assert balanced.override({"preset": "best", "unlabelled.start": 0.5}).labels_alone == 0.5
