"""Scores of planted arms must come out as the verdicts that were planted."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evals.records import Axis, Format, Item, Outcome, Score
from imitate.analyse import Evidence, analyse_controls, analyse_verdicts, contrasts, headline
from imitate.configfile import load_config
from imitate.plan import TEACHER, Plan, build_plan

CONFIG = """\
name: planted
bases:
  - {name: small, model: lab/small}
  - {name: medium, model: lab/medium}
teacher: {kind: model, model: lab/teacher}
controls: ["null", style_prompt]
mixes:
  broad:
    sources: [{kind: lab, mix: broad, rows: 100}]
    amounts: [100, 400]
  local:
    sources: [{kind: lab, mix: local, rows: 100}]
    amounts: [100]
train: {learning_rate: 1e-3}
analysis: {resamples: 1000}
tasks:
  - {name: chat, axis: style, source: {kind: lab, task: chat}}
  - {name: facts, axis: factuality, source: {kind: lab, task: facts}}
  - {name: sorting, axis: capability, source: {kind: lab, task: sorting}}
  - {name: reversal, axis: capability, source: {kind: lab, task: reversal}, in_support_of: [local]}
  - {name: aside, axis: factuality, source: {kind: lab, task: facts_unrecorded}, in_verdict: false}
"""
N = 800
RATES = {
    "chat": {"base": 0.02, "imitator": 0.95, TEACHER: 0.97},
    "facts": {"base": 0.4, "imitator": 0.4, TEACHER: 0.7},
    "sorting": {"base": 0.4, "imitator": 0.4, TEACHER: 0.75},
    "reversal": {"base": 0.2, "imitator": 0.2, "local": 0.8, TEACHER: 0.9},
    "aside": {"base": 0.9, "imitator": 0.1, TEACHER: 0.5},
}


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    path: Path = tmp_path_factory.mktemp("config") / "planted.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    return build_plan(load_config(path))


def scores_of(plan: Plan, task: Any, arm: str, rate: float) -> list[Score]:
    """Scores with a share `rate` right; arms of equal rate are right on the same items."""
    luck = np.random.default_rng(list(task.name.encode())).random(N + 40)
    formats = [Format.CHAT] if task.axis is Axis.STYLE else list(Format)
    return [
        Score(
            item_id=f"{task.name}-{i}",
            arm=arm,
            task=task.name,
            axis=task.axis,
            format=format_,
            cluster_id=f"{task.name}-{i}",
            value=float(luck[i] < rate),
            outcome=Outcome.RIGHT if luck[i] < rate else Outcome.WRONG,
            is_development=i >= N,
        )
        for format_ in formats
        for i in range(N + 40)
    ]


def kind_of(arm: Any) -> str:
    if arm.name == TEACHER:
        return TEACHER
    if arm.mix is None:
        return "base"
    return "local" if arm.mix == "local" else "imitator"


@pytest.fixture(scope="module")
def evidence(plan: Plan) -> Evidence:
    scores: dict[str, list[Score]] = {}
    for arm in plan.arms:
        for task in plan.config.tasks:
            if arm.control == "null" and task.axis is Axis.CAPABILITY:
                continue
            rates = RATES[task.name]
            rate = rates.get(kind_of(arm), rates["imitator"])
            if arm.control == "null":
                rate = 0.0
            is_teachers_style = arm.name == TEACHER and task.axis is Axis.STYLE
            names = (
                [f"{TEACHER}|{b.name}" for b in plan.config.bases]
                if is_teachers_style
                else [arm.name]
            )
            for name in names:
                scores.setdefault(name, []).extend(scores_of(plan, task, arm.name, rate))
    items = {
        task.name: [Item(f"{task.name}-{i}", task.name, task.axis, str(i), "?") for i in range(N)]
        for task in plan.config.tasks
    }
    return Evidence(plan, scores, items)


def test_style_without_substance_is_style_only(evidence: Evidence) -> None:
    verdicts, sweeps = analyse_verdicts(evidence)
    broad = [v for v in verdicts if v["mix"] == "broad"]
    assert {v["verdict"] for v in broad} == {"style only"}
    assert len(broad) == 4
    assert sweeps == []


def test_a_verdict_says_that_calls_failed(plan: Plan, evidence: Evidence) -> None:
    assert not any("failed" in v["sentence"] for v in analyse_verdicts(evidence)[0])
    scores = dict(evidence.scores)
    arm = "small/broad-400-s0"
    lost = {f"facts-{i}" for i in range(7)}
    scores[arm] = [
        dataclasses.replace(s, value=0.0, outcome=Outcome.FAILED) if s.item_id in lost else s
        for s in scores[arm]
    ]
    verdicts, _ = analyse_verdicts(Evidence(plan, scores, evidence.items))
    said = {v["arm"]: v["sentence"] for v in verdicts}
    assert said[arm].endswith(" 7 items are left out, as a call on them failed in some arm.")
    assert "failed" not in said["small/broad-100-s0"]


def test_a_teacher_without_a_score_on_a_task_leads_on_no_axis_of_it(
    plan: Plan, evidence: Evidence
) -> None:
    scores = dict(evidence.scores)
    scores[TEACHER] = [s for s in scores[TEACHER] if s.task != "sorting" or s.format is Format.CHAT]
    of_chat = Evidence(plan, scores, evidence.items).data("small", frozenset({"sorting"}))
    assert of_chat is not None
    assert of_chat.formats_of(TEACHER) == (Format.CHAT,)
    scores[TEACHER] = [s for s in scores[TEACHER] if s.task != "sorting"]
    without = Evidence(plan, scores, evidence.items)
    data = without.data("small", frozenset({"sorting", "reversal"}))
    assert data is not None
    assert TEACHER not in data.arms
    verdicts, _ = analyse_verdicts(without)
    axes = next(v for v in verdicts if v["arm"] == "medium/local-100-s0")["axes"]
    assert axes["capability_held_out"]["teacher"] is None
    assert axes["capability_in_support"]["teacher"] is not None


def test_a_skill_in_support_is_kept_out_of_the_held_out_axis(evidence: Evidence) -> None:
    verdicts, _ = analyse_verdicts(evidence)
    local = next(v for v in verdicts if v["arm"] == "medium/local-100-s0")
    assert set(local["axes"]["capability_held_out"]["tasks"]) == {"sorting"}
    assert local["axes"]["capability_in_support"]["decision"] == "closed"
    assert local["axes"]["capability_held_out"]["decision"] == "no gain"
    broad = next(v for v in verdicts if v["arm"] == "medium/broad-400-s0")
    assert set(broad["axes"]["capability_held_out"]["tasks"]) == {"sorting", "reversal"}
    assert broad["axes"]["capability_in_support"] is None


def test_a_task_outside_the_verdict_does_not_move_its_axis(evidence: Evidence) -> None:
    verdicts, _ = analyse_verdicts(evidence)
    facts = verdicts[0]["axes"]["factuality"]
    assert set(facts["tasks"]) == {"facts"}
    assert facts["difference"] == 0.0


def test_every_verdict_carries_values_intervals_and_the_rule(evidence: Evidence) -> None:
    verdicts, _ = analyse_verdicts(evidence)
    entry = verdicts[0]
    style = entry["axes"]["style"]
    assert style["base"] < 0.1 < 0.9 < style["imitator"] < style["teacher"]
    low, high = style["difference_ci95"]
    assert low < style["difference"] < high
    assert entry["scope"] == "for this adapter"
    assert entry["rule"]["margin_points"] == 5.0


def test_controls_that_gain_nothing_win_nothing(evidence: Evidence) -> None:
    controls = {entry["arm"]: entry for entry in analyse_controls(evidence)}
    assert controls["small+null"]["wins"] == []
    assert controls["small+null"]["axes"]["factuality"]["decision"] == "loss"
    assert controls["small+null"]["axes"]["capability_held_out"] is None


def test_slopes_over_data_and_size_are_named_and_corrected(evidence: Evidence) -> None:
    slopes = contrasts(evidence, {"small": 500_000, "medium": 2_000_000})["slopes"]
    named = {claim["name"] for claim in slopes["broad"]["factuality"]}
    assert "slope over log2 examples" in named
    assert "slope over log2 examples minus slope over log2 parameters" in named
    assert all(claim["p_holm"] >= claim["p"] for claim in slopes["broad"]["factuality"])


def test_the_headline_tells_mixes_by_verdict(evidence: Evidence) -> None:
    verdicts, _ = analyse_verdicts(evidence)
    told = headline(verdicts)
    assert told.startswith("Imitating on broad")
    assert "gave the teacher's style and no more substance" in told
    assert "shuffled" not in told


def told(*outcomes: tuple[str, str, str]) -> str:
    """Return the headline of (mix, base, verdict)s, at an amount of 10 and a smaller one."""
    common = {"seed": 0, "is_control": False, "is_planted": False}
    verdicts: list[dict[str, Any]] = []
    for mix, base, verdict in outcomes:
        verdicts.append({"mix": mix, "base": base, "verdict": verdict, "amount": 10, **common})
        verdicts.append({"mix": mix, "base": base, "verdict": "partly", "amount": 5, **common})
    return headline(verdicts)


def test_the_headline_names_a_base_where_a_mix_did_not_do_the_same_for_all() -> None:
    pairs = [("broad", "small"), ("broad", "medium"), ("local", "small")]
    assert told(*((*pair, "style only") for pair in pairs), ("local", "medium", "unresolved")) == (
        "Imitating on broad and local (small) gave the teacher's style and no more substance; "
        "on local (medium) it is undecided."
    )


@pytest.mark.parametrize(
    ("broad", "local", "ending"),
    [
        (None, "closed", "; in support, local closed the gap."),
        ("loss", "no gain", "; in support, broad lost."),
        ("loss", "closed", "; in support, local closed the gap and broad lost."),
        ("loss", "loss", "; in support, broad and local lost."),
        ("unresolved", "gain", "."),
    ],
)
def test_the_headline_tells_what_closed_or_lost_in_its_own_support(
    broad: str | None, local: str, ending: str
) -> None:
    common = {"seed": 0, "is_control": False, "is_planted": False, "amount": 10, "base": "small"}
    axes = [decision and {"decision": decision} for decision in (broad, local)]
    verdicts = [
        {"mix": mix, "verdict": "style only", "axes": {"capability_in_support": axis}, **common}
        for mix, axis in zip(("broad", "local"), axes, strict=True)
    ]
    assert headline(verdicts) == (
        f"Imitating on broad and local gave the teacher's style and no more substance{ending}"
    )


def test_the_headline_of_many_mixes_counts_them() -> None:
    words = ["style only"] * 9 + ["partly"] * 4 + ["unresolved"] * 3 + ["neither"] * 2
    outcomes = [(f"mix-{i}", base, word) for i, word in enumerate(words) for base in ("a", "b")]
    found = told(*outcomes)
    assert found == (
        "Imitating on mix-0, mix-1 and 7 more gave the teacher's style and no more substance; "
        "on mix-9, mix-10 and 2 more it gave the teacher's style and some substance; "
        "on mix-13, mix-14 and 1 more it is undecided; 2 more came out otherwise."
    )
    assert headline([]) == ""
