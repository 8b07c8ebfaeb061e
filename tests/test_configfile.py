"""What a config file may say, and how its errors read."""

from pathlib import Path

import pytest

from evals.errors import ConfigError
from imitate.configfile import config_schema, load_config

GOOD = """\
name: tiny
bases:
  - {name: small, model: lab/small}
teacher: {kind: model, model: lab/teacher}
mixes:
  broad:
    sources: [{kind: lab, mix: broad, rows: 100}]
    amounts: [50]
train:
  learning_rate: 1e-4
tasks:
  - {name: facts, axis: factuality, source: {kind: lab, task: facts}}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def error_of(tmp_path: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text), overrides)
    return str(caught.value)


def test_a_rate_without_a_dot_is_a_number(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, GOOD)).train.learning_rate == 1e-4


def test_a_misspelt_key_names_its_line_and_the_key_that_was_meant(tmp_path: Path) -> None:
    told = error_of(tmp_path, GOOD.replace("learning_rate", "lerning_rate"))
    assert "unknown key `train.lerning_rate`" in told
    assert "config.yaml:10" in told
    assert "did you mean `learning_rate`?" in told


def test_a_misspelt_key_inside_a_union_is_explained_by_that_member(tmp_path: Path) -> None:
    told = error_of(tmp_path, GOOD.replace("rows: 100", "row: 100"))
    assert "unknown key `mixes.broad.sources.0.row`" in told
    assert "did you mean `rows`?" in told
    assert "`mixes.broad.sources.0.rows` is missing" in told


def test_a_wrong_type_shows_what_was_given(tmp_path: Path) -> None:
    told = error_of(tmp_path, GOOD.replace("amounts: [50]", "amounts: [fifty]"))
    assert '`mixes.broad.amounts.0` should be a valid integer, got "fifty"' in told


def test_two_errors_are_told_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("learning_rate: 1e-4", "lora_rank: 0").replace(
        "lab/small}", "lab/small, x: 1}"
    )
    told = error_of(tmp_path, text)
    assert "`train.lora_rank` must be at least 1, got 0" in told
    assert "hint: 16 is what the published runs use" in told
    assert "unknown key `bases.0.x`" in told


def test_a_wrong_kind_lists_the_kinds(tmp_path: Path) -> None:
    told = error_of(tmp_path, GOOD.replace("kind: model, ", "kind: modell, "))
    assert "`teacher.kind` must be one of model, oracle, endpoint, outputs, published" in told
    assert "did you mean `model`?" in told


def test_an_unknown_mix_in_a_task_is_told(tmp_path: Path) -> None:
    told = error_of(
        tmp_path, GOOD.replace("task: facts}}", "task: facts}, in_support_of: [local]}")
    )
    assert "names `local`, which is no mix" in told


def test_a_key_named_as_its_sections_kind_does_not_hide_another(tmp_path: Path) -> None:
    told = error_of(
        tmp_path,
        GOOD.replace("model: lab/teacher}", "model: lab/teacher, modle: x}"),
    )
    assert "unknown key `teacher.modle`" in told
    assert "did you mean `model`?" in told


def test_a_mix_needs_exactly_one_origin(tmp_path: Path) -> None:
    for key in ("shuffled_from", "swapped_from"):
        told = error_of(tmp_path, GOOD.replace("    amounts", f"    {key}: broad\n    amounts"))
        assert "give one of `sources`, `shuffled_from` and `swapped_from`" in told


def test_an_override_wins_and_is_named_as_the_place_of_its_error(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    assert load_config(path, ["train.epochs=3"]).train.epochs == 3
    assert load_config(path, ["mixes.broad.amounts=[5, 9]"]).mixes["broad"].amounts == [5, 9]
    with pytest.raises(ConfigError, match=r"--> --set train.epochs=0"):
        load_config(path, ["train.epochs=0"])


def test_an_override_without_a_value_is_refused(tmp_path: Path) -> None:
    assert "is no override" in error_of(tmp_path, GOOD, "train.epochs")


def test_a_missing_file_suggests_a_similar_one(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    with pytest.raises(ConfigError, match=r"did you mean `.*config\.yaml`"):
        load_config(tmp_path / "confg.yaml")


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: café".encode("latin-1"))
    with pytest.raises(ConfigError, match="is not UTF-8: byte 9"):
        load_config(path)


def test_broken_yaml_names_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not valid YAML.*\n.*config\.yaml:4"):
        load_config(write(tmp_path, GOOD.replace("model: lab/small}", "model: lab/small")))


def test_a_control_character_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not valid YAML: .*special characters"):
        load_config(write(tmp_path, GOOD + "# \x07\n"))


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    assert "`name` is given twice" in error_of(tmp_path, GOOD + "name: again\n")


def test_the_schema_describes_every_field(tmp_path: Path) -> None:
    import json

    schema = json.loads(config_schema())
    undescribed = [
        f"{section}.{name}"
        for section, body in schema["$defs"].items()
        for name, field in body.get("properties", {}).items()
        if name != "kind" and not field.get("description")
    ]
    assert undescribed == []
