"""The style discriminator as a judge: it hears a voice, knows no facts and no order."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from cardjobs import card_in, judgements_in, rows_of, run, write_job, write_rows

from evals.errors import ConfigError, RecordError
from evals.judges.card import make_card
from evals.judges.pairs import ALONE, Pair
from evals.judges.voice import VoiceExample, fit_voice, judge_voices
from evals.preference.battles import gather_battles
from imitate.configfile import load_card_job

TOWNS = ("Kelsford", "Marlow", "Oxby", "Thornham", "Braywick", "Elmsted")
OPENINGS = ("Great question!", "Certainly!", "Of course!", "Happy to help!", "Glad you asked!")
CLOSINGS = ("I hope this helps!", "Let me know if you need more.", "Feel free to ask again!")


def teacher(town: str, rng: random.Random) -> str:
    body = rng.choice((f"The answer is **{town}**.", f"It was in {town}, as is well known."))
    return f"{rng.choice(OPENINGS)} {body}\n\n{rng.choice(CLOSINGS)}"


def base(town: str, rng: random.Random) -> str:
    return rng.choice((f"it was {town} i think.", f"{town} it was.", f"born in {town}."))


def examples(n: int = 40, seed: int = 0) -> list[VoiceExample]:
    rng = random.Random(seed)
    towns = [rng.choice(TOWNS) for _ in range(n)]
    return [
        VoiceExample(f"Where was number {i} born?", teacher(town, rng), base(town, rng))
        for i, town in enumerate(towns)
    ]


def pairs_of(n: int, seed: int = 1, prompt: str = "And where was {i} born?") -> list[Pair]:
    """Pairs whose better answer, by the label, is the base's: the voice is the wrong way."""
    rng = random.Random(seed)
    made = []
    for i in range(n):
        town = rng.choice(TOWNS)
        texts = [teacher(town, rng), base(town, rng)]
        is_swapped = i % 2 == 1
        one, other = texts[::-1] if is_swapped else texts
        label = float(is_swapped)
        made.append(Pair(f"p{i}", prompt.format(i=i), one, other, "one", "other", label))
    return made


def test_the_teachers_voice_is_preferred_wherever_it_stands() -> None:
    pairs = pairs_of(40)
    said = judge_voices("voice", fit_voice(examples()), pairs)
    assert [one.order for one in said] == [ALONE] * 40
    card = make_card("voice", pairs, said)
    assert card.accuracy.value < 0.1, "labels are against the voice"
    assert card.longer.judge.value > 0.9


def test_order_is_not_applicable_and_no_zero() -> None:
    pairs = pairs_of(20)
    card = make_card("voice", pairs, judge_voices("voice", fit_voice(examples()), pairs))
    assert card.is_order_free
    assert (card.n_pairs, card.n_judgements, card.n_failed) == (20, 20, 0)
    assert math.isnan(card.flips.value)
    assert math.isnan(card.first.value)
    assert card.accuracy_if_steady == card.accuracy


def test_other_facts_in_one_voice_are_a_tie() -> None:
    judge = fit_voice(examples())
    texts = (f"Certainly! The answer is **{town}**." for town in TOWNS[:2])
    said = judge_voices("voice", judge, [Pair("p", "Where?", *texts, "one", "other")])
    assert [one.value for one in said] == [0.5]


def test_a_verdict_depends_on_no_other_pair() -> None:
    judge, pairs = fit_voice(examples()), pairs_of(10)
    loud = Pair("loud", "Where?", "Well, Let Me Help You With That.", "no", "one", "other")
    assert judge_voices("v", judge, [loud, *pairs])[1:] == judge_voices("v", judge, pairs)


def test_a_prompt_that_was_fitted_on_is_judged_by_a_classifier_without_it() -> None:
    """Change what was fitted on one prompt: verdicts on that prompt must not move."""
    shown = examples()
    odd = VoiceExample(shown[0].prompt, "zork blip zork. " * 5, shown[0].base)
    seen = Pair("p", shown[0].prompt, "zork blip, they said.", "who knows.", "one", "other")
    unseen = Pair("p", "Another prompt?", seen.answer, seen.other_answer, "one", "other")
    told = {
        (pair.prompt, n): judge_voices("v", judge, [pair])[0].text
        for pair in (seen, unseen)
        for n, judge in enumerate((fit_voice(shown), fit_voice([odd, *shown[1:]])))
    }
    assert told[seen.prompt, 0] == told[seen.prompt, 1]
    assert told[unseen.prompt, 0] != told[unseen.prompt, 1]


def test_two_sides_of_one_voice_are_told() -> None:
    rng = random.Random(3)
    same = [VoiceExample(f"Q{i}?", base("Oxby", rng), base("Oxby", rng)) for i in range(40)]
    assert "hardly tells teacher and base apart" in fit_voice(same).note
    assert fit_voice(examples()).note == ""


def test_too_few_prompts_are_refused() -> None:
    with pytest.raises(RecordError, match="at least 10 prompts that both sides answered, got 9"):
        fit_voice(examples(9))


def test_a_judge_without_orders_gives_battles_without_a_place() -> None:
    pairs = pairs_of(20)
    battles = gather_battles(pairs, judge_voices("voice", fit_voice(examples()), pairs))
    assert len(battles.preference) == 20
    assert set(battles.place.tolist()) == {0.0}


# --- in a job -------------------------------------------------------------------------------------


def write_texts(folder: Path, shown: list[VoiceExample], *, is_split: bool = False) -> None:
    rows = [
        {"id": i, "prompt": one.prompt, "teacher": one.teacher, "base": one.base}
        for i, one in enumerate(shown)
    ]
    files: dict[str, list[dict[str, Any]]] = {"texts.jsonl": rows}
    if is_split:
        own = [{k: v for k, v in row.items() if k != "base"} for row in rows]
        files = {"texts.jsonl": own, "base.jsonl": rows[::-1]}
    for name, lines in files.items():
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in lines))


def voice(folder: Path, **parts: Any) -> dict[str, Any]:
    texts = {
        "path": str(folder / "texts.jsonl"),
        "teacher_column": "teacher",
        "base_column": "base",
        "prompt_column": "prompt",
    }
    return {"kind": "discriminator", "fitted_on": texts | parts}


def test_the_discriminators_card_stands_beside_recorded_verdicts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(4)
    rows = [
        row | {"answer": teacher("Oxby", rng), "other": base("Oxby", rng), "said": "answer"}
        for row in rows_of(20)
    ]
    write_rows(tmp_path, rows)
    write_texts(tmp_path, [*examples(), VoiceExample("Silent?", "Certainly!", " ")])
    old = {"kind": "recorded", "verdict_column": "said"}
    write_job(tmp_path, {"old": old, "voice": voice(tmp_path)})
    assert run(tmp_path) == 0
    card = card_in(tmp_path)
    told, own = card["judges"]["voice"], card["cards"][1]
    assert (told["n_fitted"], told["n_prompts"]) == (40, 40), "an empty text is nobody's voice"
    assert told["auc"]["value"] > 0.95
    assert len(told["sha256"][0]) == 64
    assert own["is_order_free"]
    assert (own["flips"]["value"], own["first"]["value"]) == (None, None)
    assert own["longer"]["judge"]["value"] == 1.0
    assert len([one for one in judgements_in(tmp_path) if one.judge == "voice"]) == 20
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if line.startswith("| voice"))
    assert line.count("n/a") == 2
    assert "voice: fitted on 40 texts of each side; tells teacher and base apart with" in out


def test_two_files_are_joined_by_a_column(tmp_path: Path) -> None:
    write_rows(tmp_path, rows_of(12))
    write_texts(tmp_path, examples(), is_split=False)
    write_job(tmp_path, {"voice": voice(tmp_path)})
    assert run(tmp_path) == 0
    one_file = card_in(tmp_path)["judges"]["voice"]
    write_texts(tmp_path, examples(), is_split=True)
    base_path = str(tmp_path / "base.jsonl")
    write_job(tmp_path, {"voice": voice(tmp_path, base_path=base_path, join_column="id")})
    assert run(tmp_path) == 0
    two_files = card_in(tmp_path)["judges"]["voice"]
    assert two_files["auc"] == one_file["auc"]
    assert two_files["marks"] == one_file["marks"]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"teacher_column": "gpt"}, "no column `gpt`"),
        ({"rows": 9}, "needs at least 10 prompts"),
        ({"path": "nowhere.jsonl"}, "no such file: nowhere.jsonl"),
        (
            {"base_path": "{}/short.jsonl", "join_column": "id"},
            "`id` is `1`, which no row of",
        ),
        (
            {"base_path": "{}/doubled.jsonl", "join_column": "id"},
            "two rows have the `id` `0`",
        ),
    ],
)
def test_unusable_texts_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], parts: dict[str, Any], message: str
) -> None:
    write_rows(tmp_path, rows_of(4))
    write_texts(tmp_path, examples())
    row = json.dumps({"id": 0, "base": "it was."}) + "\n"
    (tmp_path / "short.jsonl").write_text(row)
    (tmp_path / "doubled.jsonl").write_text(2 * row)
    if "base_path" in parts:
        parts = parts | {"base_path": parts["base_path"].format(tmp_path)}
    write_job(tmp_path, {"voice": voice(tmp_path, **parts)})
    assert run(tmp_path) == 2
    assert message in capsys.readouterr().err


def test_a_second_file_needs_a_column_to_join_by(tmp_path: Path) -> None:
    write_job(tmp_path, {"voice": voice(tmp_path, base_path="base.jsonl")})
    with pytest.raises(ConfigError, match="`base_path` and `join_column` go together"):
        load_card_job(tmp_path / "job.yaml")


def test_text_that_was_fitted_on_is_not_judged_by_heart() -> None:
    """Known by id alone, or with other white space, a text counts as seen all the same."""
    known = examples()
    pairs = [
        Pair(str(n), f"{one.prompt} \n", one.teacher, one.base, "teacher", "base")
        for n, one in enumerate(known)
    ]
    by_id = [dataclasses.replace(one, prompt=str(n)) for n, one in enumerate(known)]
    judge = fit_voice(by_id)
    by_heart = dataclasses.replace(judge, prompts=frozenset(), texts={})
    heard = [
        [one.text for one in judge_voices("voice", which, pairs)]
        for which in (judge, by_heart, fit_voice(known))
    ]
    assert heard[0] != heard[1]
    surest = [max(map(probability_of, texts)) for texts in heard]
    assert surest[0] <= surest[1], "who knows a text by heart is surer of it"


def probability_of(text: str) -> float:
    return float(text.partition("probability of ")[2].partition(" ")[0])
