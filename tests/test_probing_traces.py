"""`imitate run` on a probe of reasoning traces: results, resume, reuse, wrong input."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from proberuns import Stop, Stopping, results, run
from transformers import LlamaForCausalLM

from evals.errors import ConfigError, DataError
from evals.probes.traces.arms import FILLER
from evals.probes.traces.kinds import Arm, Condition, Damage, Generator, Treatment
from evals.probes.traces.measures import Judged
from evals.probes.traces.reading import Response
from evals.probes.traces.tokens import Vocabulary
from evals.probes.traces.validator import PlanFault, PlanVerdict, TraceFault, TraceVerdict
from imitate.cli import main
from imitate.config import TracesJob
from imitate.configfile import load_probe
from imitate.probing import plan_probe, run_probe
from imitate.probing.traces.answering import answer_test, openings_of
from imitate.probing.traces.comparing import Asked, compare_arms, mean_losses, score_arms
from imitate.probing.traces.plan import TracesRun, plan_traces
from imitate.probing.traces.problems import Lines, draw_all, lines_of
from imitate.probing.traces.scoring import score_test
from imitate.probing.traces.training import (
    as_batch,
    batch_lines,
    new_network,
    run_key,
    train_run,
)
from imitate.progress import Bars
from imitate.store import Store
from reports.probes.traces.tables import contrast_table

SMALL = """\
probe: traces
name: small
maze: {rows: 4, columns: 4, generator: searchformer, n_train: 60}
arms:
  - {kind: solution_only}
  - {kind: correct}
  - {kind: swapped}
  - {kind: damaged, damage: costs, percents: [50]}
  - {kind: filler}
seeds: [0, 1]
network: {layers: 1, width: 32, context: 220}
train: {batch_tokens: 700, checkpoint_every: 4}
test: {generators: [searchformer, wilson], n: 12, floor: 0}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def job_of(config: Path, *overrides: str) -> TracesJob:
    job = load_probe(config, overrides)
    assert isinstance(job, TracesJob)
    return job


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of runs with one that has ended."""
    folder = tmp_path_factory.mktemp("traces")
    (folder / "small.yaml").write_text(SMALL, encoding="utf-8")
    assert run(folder / "small.yaml", folder / "runs") == 0
    return folder / "runs"


ARMS = [
    "solution_only",
    "solution_only, as many tokens",
    "correct",
    "swapped",
    "costs-50",
    "filler",
]


def test_run_tells_every_network_and_every_arm(finished: Path) -> None:
    found = results(finished)
    assert found["headline"].startswith("Trained on correct traces, 2 networks solved ")
    assert [one["arm"] for one in found["arms"]] == ARMS
    assert sorted(found["scores"]) == sorted(ARMS)
    assert len(found["runs"]) == 2 * len(ARMS)
    usual = [one for one in found["contrasts"] if one["is_usual"]]
    assert len(found["contrasts"]) == (2 + 1) * (len(ARMS) - 1)
    assert {one["test"] for one in usual} == {"wilson"}
    low, high = found["data"]["usual_lengths"]
    lengths = [len(one["path"]) for one in found["examples"] if one["test"] == "searchformer"]
    assert all(low <= length <= high for length in lengths)
    assert all(one["n"] == 12 for one in found["contrasts"] if not one["is_usual"])
    assert all(one["n"] <= 12 for one in usual)
    assert all(one["n_seeds"] == 2 for one in found["contrasts"])


def test_answers_are_counted_once_each(finished: Path) -> None:
    for one in results(finished)["runs"]:
        for test in one["tests"].values():
            assert all(len(plans) == test["n"] == 12 for plans in test["plans"].values())
            right = test["plans"]["own"].count("1")
            assert right == sum(group["right"] for group in test["by_length"])
            judged = test["published"]
            if one["arm"].startswith("solution_only"):
                assert sum(judged.values()) == 0
                assert list(test["plans"]) == ["own"]
            else:
                assert sum(judged.values()) == 12
                assert right == judged["right, search"] + judged["right, none"]
                assert set(test["plans"]) == {"own", "taught", "true", "other", "none"}


def test_report_has_every_part_and_the_weights_are_transformers_own(finished: Path) -> None:
    page = (finished / "small" / "report.md").read_text(encoding="utf-8")
    for title in (
        "Plans and traces",
        "Against correct traces",
        "How much damage a plan bears",
        "Does the plan need its trace?",
        "Beside the paper",
    ):
        assert title in page
    weights = next((finished / ".store" / "cells" / "traces-train").glob("*/model.safetensors"))
    network = LlamaForCausalLM.from_pretrained(weights.parent)
    assert network.num_parameters() == results(finished)["n_parameters"]


def test_losses_tell_what_an_arm_has_learned_of_traces_and_plans(finished: Path) -> None:
    found = results(finished)
    assert sorted(found["losses"]) == sorted(ARMS)
    for arm, own in found["losses"].items():
        assert own["plan"]["n"] == 12
        assert own["plan"]["low"] < own["plan"]["value"] < own["plan"]["high"]
        assert own["plan"]["value"] == pytest.approx(np.mean(own["plan"]["by_seed"]))
        assert (own["trace"]["n"] == 0) == arm.startswith("solution_only")
    page = (finished / "small" / "report.md").read_text(encoding="utf-8")
    assert "Loss on new mazes, nats a token" in page


def test_traces_in_training_are_what_the_arm_says(finished: Path) -> None:
    valid = {one["arm"]: one["valid_in_training"] for one in results(finished)["arms"]}
    assert valid["solution_only"] is None
    assert valid["correct"] == {"n": 60, "published": 60, "strict": 60}
    assert valid["swapped"]["strict"] == 0
    assert valid["costs-50"]["strict"] == 0


def test_matched_arms_see_as_many_tokens_as_the_correct_one(finished: Path) -> None:
    seen = {
        one["arm"]: one["training"]["n_tokens"]
        for one in results(finished)["runs"]
        if one["seed"] == 0
    }
    assert seen["solution_only"] < 0.6 * seen["correct"]
    assert seen["correct"] <= seen["solution_only, as many tokens"] < seen["correct"] + 700
    assert seen["swapped"] == seen["correct"]


def test_another_arm_trains_no_more_than_itself(config: Path, finished: Path) -> None:
    trained = finished / ".store" / "cells" / "traces-train"
    before = {path.name for path in trained.iterdir()}
    config.write_text(SMALL.replace("percents: [50]", "percents: [50, 100]"), encoding="utf-8")
    run(config, finished, "--name", "more")
    assert len({path.name for path in trained.iterdir()} - before) == 2


def test_a_comparison_that_is_drawn_stands_in_the_table_with_its_p(finished: Path) -> None:
    found = results(finished)
    assert {one["difference"] for one in found["contrasts"]} == {None}  # of 12 mazes
    page = (finished / "small" / "report.md").read_text(encoding="utf-8")
    assert "15 comparisons of 15 not drawn" in page
    drawn = {"difference": -0.25, "low": -0.3, "high": -0.2, "p": 0.001, "p_equivalent": 1.0}
    for one in found["contrasts"]:
        one.update(drawn, p_adjusted=0.04 if one["arm"] == "swapped" else 0.2)
    rows = {row[0].text: row for row in contrast_table(found, "searchformer").rows}
    assert rows["swapped"][3].text == "\N{MINUS SIGN}25.0"
    assert [row[3].is_strong for row in rows.values()] == [arm == "swapped" for arm in rows]
    assert [rows["swapped"][place].text for place in (4, 5)] == ["0.040", "1.000"]
    one_seed = drawn | {"p": None, "p_adjusted": None, "p_equivalent": None}
    found["contrasts"] = [one | one_seed for one in found["contrasts"]]
    for row in contrast_table(found, "wilson").rows:
        assert (row[4].text, row[3].is_strong) == ("–", False)


def test_killed_and_resumed_it_gives_identical_results(config: Path, tmp_path: Path) -> None:
    more = ("seeds=[0]", "arms=[{kind: correct}, {kind: swapped}]", "test.generators=[wilson]")
    job = load_probe(config, more)
    plan = plan_probe(job)
    whole = run_probe(job, plan, Store(tmp_path / "whole"), Bars(None, 0))
    n_stops = 0
    for after in (7, 3, 11, 6, 9):
        try:
            run_probe(job, plan, Store(tmp_path / "killed"), Stopping(after))
        except Stop:
            n_stops += 1
    resumed = run_probe(job, plan, Store(tmp_path / "killed"), Bars(None, 0))
    assert n_stops >= 3
    assert json.dumps(resumed) == json.dumps(whole)


# --- problems and lines ---------------------------------------------------------------------------


def test_no_maze_of_a_test_is_trained_on_and_no_problem_asked_twice(config: Path) -> None:
    problems = draw_all(
        job_of(config, "maze={rows: 6, columns: 6, n_train: 100}", "network.context=600")
    )
    known = {problem.layout for problem in problems.train}
    identities = {problem.identity for problem in problems.train}
    assert problems.n_repeated == 100 - len(identities)
    for test in problems.tests.values():
        assert len({problem.identity for problem in test.problems}) == len(test.problems) == 12
        assert not known & {problem.layout for problem in test.problems}


def test_test_problems_left_out_are_counted(config: Path) -> None:
    """A grid so small that many of its mazes are trained on."""
    maze = "maze={rows: 6, columns: 6, n_train: 300, generator: wilson}"
    test = draw_all(job_of(config, maze, "test.generators=[wilson]")).tests[Generator.WILSON]
    assert test.n_known > 0


def test_plans_are_the_same_in_all_arms(config: Path) -> None:
    job = job_of(config)
    problems = draw_all(job)
    words = problems.vocabulary
    arms = [
        lines_of(job, TracesRun(treatment, 0), problems).lines
        for treatment in (*job.treatments, Treatment(Arm.FILLER), Treatment(Arm.BREADTH_FIRST))
    ]
    for lines in zip(*arms, strict=True):
        texts = [words.text(line) for line in lines]
        assert len({text.partition(" solution ")[2] for text in texts}) == 1
        queries = {text.partition(" solution ")[0].partition(" reasoning")[0] for text in texts}
        assert len(queries) == 1


def test_problems_that_are_too_long_are_left_out_of_all_arms_or_an_error(config: Path) -> None:
    job = job_of(config, "network.context=100")
    problems = draw_all(job)
    assert 0 < problems.n_too_long < 60
    assert len(problems.train) == 60 - problems.n_too_long
    assert any(test.n_too_long for test in problems.tests.values())
    for treatment in job.treatments:
        for seed in range(5):
            lines = lines_of(job, TracesRun(treatment, seed), problems)
            assert len(lines.lines) == len(problems.train)
            assert max(map(len, lines.lines)) <= 100
    with pytest.raises(DataError, match="tokens does not fit a context of 100"):
        draw_all(job_of(config, "network.context=100", "network.too_long=error"))
    with pytest.raises(DataError, match=r"breadth_first, seed 0: a line of \d+ tokens"):
        lines_of(job, TracesRun(Treatment(Arm.BREADTH_FIRST), 0), problems)
    searched = draw_all(job_of(config, "network.context=100", "arms=[{kind: breadth_first}]"))
    own = draw_all(job_of(config, "network.context=100", "arms=[{kind: correct}]"))
    assert len(own.train) > len(searched.train) > 0
    assert len(own.train) > len(problems.train)
    lines_of(job, TracesRun(Treatment(Arm.BREADTH_FIRST), 0), searched)
    run = TracesRun(Treatment(Arm.CORRECT), 0)
    keys = {run_key(job, run, given) for given in (problems, searched, own)}
    assert len(keys) == 3  # what was trained on others is another network
    with pytest.raises(DataError, match="0 of 60 lines fit a context of 10 tokens"):
        draw_all(job_of(config, "network.context=10"))


def test_an_answer_begins_with_the_trace_that_it_is_given(config: Path) -> None:
    arms = "arms=[{kind: correct}, {kind: solution_only}, {kind: filler}]"
    job = job_of(config, arms)
    problems = draw_all(job)
    words, asked = problems.vocabulary, problems.tests[Generator.WILSON].problems
    runs = {treatment.name: TracesRun(treatment, 0) for treatment in job.treatments}

    def given(arm: str, condition: Condition) -> list[str]:
        return [words.text(one) for one in openings_of(runs[arm], condition, asked, words)]

    traces = [words.text(words.trace(one.events)) for one in asked]
    assert runs["solution_only"].conditions == (Condition.OWN,)
    assert given("solution_only", Condition.OWN) == ["solution"] * 12
    assert given("correct", Condition.OWN) == ["reasoning"] * 12
    assert given("correct", Condition.NONE) == ["solution"] * 12
    assert given("correct", Condition.TAUGHT) == [f"reasoning {one} solution" for one in traces]
    assert given("filler", Condition.TRUE) == given("correct", Condition.TAUGHT)
    others = given("correct", Condition.OTHER)
    assert sorted(others) == sorted(f"reasoning {one} solution" for one in traces)
    assert others == given("filler", Condition.OTHER)
    fillers = [one.split() for one in given("filler", Condition.TAUGHT)]
    assert [len(one) for one in fillers] == [len(one.split()) for one in others]
    assert {word for one in fillers for word in one[1:-1]} == {FILLER}


def test_a_given_trace_that_fills_the_context_is_followed_by_nothing(
    config: Path, tmp_path: Path
) -> None:
    job = job_of(config, "arms=[{kind: correct}]", "seeds=[0]")
    problems, store = draw_all(job), Store(tmp_path / "store")
    (run,) = plan_traces(job).runs
    trained = train_run(job, run, problems, store, lambda *told: None)
    asked = problems.tests[Generator.WILSON].problems
    narrow = job_of(config, "network.context=80")
    openings = openings_of(run, Condition.OTHER, asked, problems.vocabulary)
    queries = [problems.vocabulary.query(problem) for problem in asked]
    fits = [len(query) + len(own) < 80 for query, own in zip(queries, openings, strict=True)]
    assert len(set(fits)) == 2
    answers = answer_test(
        narrow,
        run,
        trained,
        Generator.WILSON,
        Condition.OTHER,
        asked,
        store,
        lambda *told: None,
    )
    longer = [len(own) > len(given) for own, given in zip(answers, openings, strict=True)]
    assert longer == fits


# --- losses ---------------------------------------------------------------------------------------


def test_losses_are_those_of_the_network_on_lines_of_its_arm(config: Path, tmp_path: Path) -> None:
    job = job_of(config, "arms=[{kind: swapped}, {kind: solution_only}]", "seeds=[0]")
    problems, store = draw_all(job), Store(tmp_path / "store")
    asked = problems.tests[Generator.SEARCHFORMER].problems
    as_trained = dataclasses.replace(problems, train=asked)
    for one in plan_traces(job).runs:
        trained = train_run(job, one, problems, store, lambda *told: None)
        network = LlamaForCausalLM.from_pretrained(trained.folder, dtype=torch.float32)
        losses = score_test(job, one, trained, asked, store, lambda *told: None)
        for place, line in enumerate(lines_of(job, one, as_trained).lines):
            ids = torch.from_numpy(line.astype(np.int64))
            with torch.no_grad():
                nats = -network(ids[None]).logits[0, :-1].log_softmax(-1)
            told = nats.gather(1, ids[1:, None])[:, 0].numpy()
            words = problems.vocabulary.text(line).split()
            solution = words.index("solution")
            assert losses.plan[place] == pytest.approx(told[solution:].mean(), rel=1e-4)
            if one.has_trace:
                reasoning = words.index("reasoning")
                assert losses.trace[place] == pytest.approx(
                    told[reasoning:solution].mean(), rel=1e-4
                )
            else:
                assert np.isnan(losses.trace[place])


def test_a_line_that_does_not_fit_has_no_loss_and_leaves_the_mean(
    config: Path, tmp_path: Path
) -> None:
    job = job_of(config, "arms=[{kind: swapped}]", "seeds=[0]")
    problems, store = draw_all(job), Store(tmp_path / "store")
    (run,) = plan_traces(job).runs
    trained = train_run(job, run, problems, store, lambda *told: None)
    asked = problems.tests[Generator.SEARCHFORMER].problems
    lines = lines_of(job, run, dataclasses.replace(problems, train=asked)).lines
    longest = max(map(len, lines))
    fits = [len(line) < longest for line in lines]
    narrow = job_of(config, f"network.context={longest - 1}")
    losses = score_test(narrow, run, trained, asked, store, lambda *told: None)
    assert [not np.isnan(loss) for loss in losses.plan] == fits
    mazes = np.array([problem.layout.hex() for problem in asked])
    found = mean_losses(plan_traces(job), {run: losses}, mazes)["swapped"]["plan"]
    assert found["n"] == sum(fits)
    assert found["value"] == pytest.approx(np.nanmean(losses.plan))


# --- training -------------------------------------------------------------------------------------


def test_batches_hold_every_line_once_and_fit_the_budget() -> None:
    lengths = np.random.default_rng(0).integers(20, 200, 5000).tolist()
    batches = batch_lines(lengths, 1000, seed=3, epoch=1)
    assert sorted(place for batch in batches for place in batch) == list(range(5000))
    widths = [max(lengths[place] for place in batch) * len(batch) for batch in batches]
    assert max(widths) <= 1000
    assert sum(lengths) > 0.93 * sum(widths)  # hardly any padding
    assert batches == batch_lines(lengths, 1000, seed=3, epoch=1)
    assert batches != batch_lines(lengths, 1000, seed=3, epoch=2)


def test_a_line_longer_than_the_budget_is_a_batch_of_its_own() -> None:
    assert sorted(batch_lines([5, 50], 10, seed=0, epoch=0)) == [[0], [1]]


def test_parameters_are_as_many_as_the_plan_says(config: Path) -> None:
    for width, head in ((32, 32), (96, 32), (128, 64)):
        job = job_of(config, f"network.width={width}", f"network.head_size={head}")
        network = new_network(job, Vocabulary(4, 4), seed=0)
        assert network.num_parameters() == plan_probe(job).n_parameters  # type: ignore[union-attr]


def test_seeds_draw_other_weights_and_leave_the_random_state_alone(config: Path) -> None:
    job = job_of(config)
    before = torch.random.get_rng_state()
    first, again, other = (
        new_network(job, Vocabulary(4, 4), seed).lm_head.weight for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


def test_what_follows_the_problem_is_learned_and_padding_is_not() -> None:
    lines = Lines(
        lines=(np.array([7, 8, 9, 10], np.uint16), np.array([7, 9], np.uint16)),
        n_query=(2, 1),
        n_correct=(4, 2),
    )
    ids, labels = as_batch(lines, [1, 0], is_all_learned=False)
    assert ids.tolist() == [[7, 9, 0, 0], [7, 8, 9, 10]]
    assert labels.tolist() == [[-100, 9, -100, -100], [-100, -100, 9, 10]]
    _, everything = as_batch(lines, [1, 0], is_all_learned=True)
    assert everything.tolist() == [[7, 9, -100, -100], [7, 8, 9, 10]]


def test_all_arms_see_the_same_problems_in_the_same_batches(finished: Path) -> None:
    steps = {
        one["arm"]: (one["training"]["n_steps"], one["training"]["n_problems"])
        for one in results(finished)["runs"]
        if not one["is_matched"]
    }
    assert len(set(steps.values())) == 1
    assert steps["correct"][1] == 60


# --- comparisons ----------------------------------------------------------------------------------


def judged(is_right: bool) -> Judged:
    """Return an answer of which nothing matters but whether its plan is right."""
    fault = None if is_right else PlanFault.SYNTAX
    verdict = TraceVerdict(TraceFault.SYNTAX)
    return Judged(
        response=Response((), None, is_readable=False, is_in_form=False),
        plan=PlanVerdict(fault, 0),
        is_optimal=is_right,
        published=verdict,
        strict=verdict,
        length_ratio=0.0,
        is_ended=True,
    )


Right = dict[tuple[str, Generator, int], Sequence[bool]]

KIND, OTHER = Generator.SEARCHFORMER, Generator.DRUNKARD
N = 40
TENTH, HALF = [True] * 4 + [False] * 36, [True] * 20 + [False] * 20


def compared(
    job: TracesJob, right: Right, asked: Asked | None = None
) -> tuple[list[dict[str, Any]], dict[str, dict[str, dict[str, Any]]]]:
    """Return contrasts and shares of arms of which is given what they solve, by kind and seed."""
    plan = plan_traces(job)
    answers = {
        (run, kind, condition): [judged(one) for one in right[run.arm, kind, run.seed]]
        for run in plan.runs
        for kind in job.test.generators
        for condition in run.conditions
    }
    each = asked or Asked(np.array([str(place) for place in range(N)]), np.full(N, True))
    tests = dict.fromkeys(job.test.generators, each)
    return compare_arms(job, plan, answers, tests), score_arms(job, plan, answers, tests)


def two_arms(config: Path, *overrides: str) -> TracesJob:
    arms = "arms=[{kind: correct}, {kind: swapped}]"
    return job_of(config, arms, "test.generators=[searchformer]", *overrides)


@pytest.mark.parametrize(("floor", "is_told"), [(0.45, True), (0.55, False)])
def test_arms_are_compared_problem_by_problem_above_the_floor(
    config: Path, floor: float, is_told: bool
) -> None:
    job = two_arms(config, f"test.floor={floor}")
    right: Right = {("correct", KIND, seed): TENTH for seed in (0, 1)}
    right |= {("swapped", KIND, seed): HALF for seed in (0, 1)}
    (found,), scores = compared(job, right)
    assert (found["share"], found["correct_share"]) == (0.5, 0.1)
    assert scores["swapped"]["searchformer"]["plan"]["value"] == 0.5
    assert scores["swapped"]["searchformer"]["published"]["value"] == 0.0
    if not is_told:
        assert found["difference"] is None
        return
    assert found["difference"] == pytest.approx(0.4)
    assert 0.2 < found["low"] < 0.4 < found["high"] < 0.6
    assert found["p"] < 0.01
    assert found["p_equivalent"] > 0.5
    assert found["is_primary"]
    assert found["p_adjusted"] == found["p"]
    fewer = Asked(np.array([str(place // 10) for place in range(N)]), np.full(N, True))
    ((left,), _) = compared(job, right, fewer)  # four mazes of ten problems each
    assert (left["n_mazes"], left["difference"]) == (4, None)


def test_the_spread_of_the_seeds_is_in_every_interval(config: Path) -> None:
    job = two_arms(config, "seeds=[0, 1, 2]")
    right: Right = {("correct", KIND, seed): TENTH for seed in (0, 1, 2)}
    solved = (8, 20, 32)  # of 40, so that the mean is a half
    spread: Right = right | {
        ("swapped", KIND, seed): [True] * n + [False] * (N - n)
        for seed, n in zip((0, 1, 2), solved, strict=True)
    }
    (found,), scores = compared(job, spread)
    assert found["difference"] == pytest.approx(0.4)
    reach = 4.303 * np.std(np.array(solved) / N, ddof=1) / 3**0.5  # t of two degrees of freedom
    assert found["high"] - found["low"] > 2 * 0.95 * reach
    assert found["p"] > 0.05
    share = scores["swapped"]["searchformer"]["plan"]
    assert share["by_seed"] == [0.2, 0.5, 0.8]
    assert (share["low"], share["high"]) == (0.0, 1.0)
    (even,), _ = compared(job, right | {("swapped", KIND, seed): HALF for seed in (0, 1, 2)})
    assert even["high"] - even["low"] < (found["high"] - found["low"]) / 2


def test_one_network_an_arm_has_an_interval_and_no_p(config: Path) -> None:
    right: Right = {("correct", KIND, 0): TENTH, ("swapped", KIND, 0): HALF}
    (found,), _ = compared(two_arms(config, "seeds=[0]"), right)
    assert found["difference"] == pytest.approx(0.4)
    assert found["low"] < 0.4 < found["high"]
    assert [found[key] for key in ("p", "p_adjusted", "p_equivalent")] == [None] * 3


def test_another_kind_is_compared_on_paths_of_usual_length_too(config: Path) -> None:
    job = two_arms(config, "test.generators=[searchformer, drunkards_walk]")
    is_usual = np.arange(N) < 35
    asked = Asked(np.array([str(place) for place in range(N)]), is_usual)
    late = [False] * 30 + [True] * 10  # of usual length are five of these ten
    right: Right = {("correct", kind, seed): TENTH for kind in (KIND, OTHER) for seed in (0, 1)}
    right |= {("swapped", KIND, seed): HALF for seed in (0, 1)}
    right |= {("swapped", OTHER, seed): late for seed in (0, 1)}
    found, scores = compared(job, right, asked)
    assert [(one["test"], one["is_usual"]) for one in found] == [
        ("searchformer", False),
        ("drunkards_walk", False),
        ("drunkards_walk", True),
    ]
    primary, whole, usual = found
    assert (whole["n"], usual["n"]) == (40, 35)
    assert whole["difference"] == pytest.approx(0.25 - 0.1)
    assert usual["difference"] == pytest.approx((5 - 4) / 35)
    assert scores["swapped"]["drunkards_walk"]["plan_usual"]["value"] == pytest.approx(5 / 35)
    assert primary["p_adjusted"] == primary["p"]
    first, second = sorted([whole, usual], key=lambda one: one["p"])
    assert first["p_adjusted"] == pytest.approx(min(1, 2 * first["p"]))
    assert second["p_adjusted"] == pytest.approx(max(second["p"], first["p_adjusted"]))


# --- config ---------------------------------------------------------------------------------------


def test_check_tells_arms_and_networks(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(config)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "12 networks of" in told
    assert "tested on 2 kinds of mazes" in told


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("maze.rows=3", "`maze.rows` must be at least 4, got 3"),
        ("maze.generator=willson", "did you mean `wilson`?"),
        ("arms=[]", "`arms`"),
        ("arms=[{kind: damaged}]", "`damaged` needs `damage` and `percents`"),
        ("arms=[{kind: correct, percents: [5]}]", "no other arm has them"),
        ("arms=[{kind: damaged, damage: costs, percents: [101]}]", "must be at most 100, got 101"),
        ("arms=[{kind: correct}, {kind: correct}]", "`arms` has correct twice"),
        ("seeds=[0, 0]", "`seeds` has 0 twice"),
        ("test.generators=[dfs, dfs]", "`test.generators` has dfs twice"),
        ("network.width=48", "multiple of 32"),
        ("network={width: 96, head_size: 64}", "heads of 64 cannot share a width of 96"),
        ("train.steps=5", "unknown key `train.steps`"),
    ],
)
def test_wrong_values_are_told_with_their_place(config: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_probe(config, [override])
    assert message in str(caught.value)


def test_too_few_mazes_are_told_before_anything_is_trained(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--set", "maze.generator=wilson", "--set", "test.generators=[wilson]")
    more += ("--set", "maze.n_train=20000")
    assert run(config, tmp_path / "runs", *more) == 2
    told = capsys.readouterr().err
    assert "neither trained on nor asked twice nor too long, and 12 were asked for" in told
    assert not (tmp_path / "runs" / ".store" / "cells").exists()


def test_degrees_have_names_of_their_own(config: Path) -> None:
    job = job_of(config, "arms=[{kind: damaged, damage: order, percents: [0, 10]}]")
    assert [one.name for one in job.treatments] == ["order-0", "order-10"]
    assert job.treatments[0].damage is Damage.ORDER
