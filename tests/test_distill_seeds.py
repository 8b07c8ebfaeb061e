"""Seed questions: what a teacher writes of their kind, read, told apart and resumed."""

from __future__ import annotations

import re
from typing import Any

import pytest
from distilljobs import Runner, hash_words, prompt_of, write_job
from fakeserver import Body, Reply, Serve, answer, refusing

from imitate.distilling.pairs import parse_pairs
from imitate.distilling.refusals import is_refusal

SEEDS = ["who wrote Faust", "what is the largest island of Greece", "when was paper invented"]


def seeds(pairs: int, **more: Any) -> dict[str, Any]:
    return {"kind": "seeds", "questions": SEEDS, "pairs": pairs} | more


def call_of(body: Body) -> int:
    found = re.search(r"list (\d+) of many", prompt_of(body))
    assert found
    return int(found[1])


def written(pairs: list[tuple[str, str]]) -> Reply:
    return answer("\n\n".join(f"Q: {q}\nA: {a}" for q, a in pairs), role="assistant")


def inventing(body: Body, _: int) -> Reply:
    """Write five pairs that no other call has."""
    call = call_of(body)
    return written(
        [(f"what of {hash_words(f'{call} {i}', 0)}", f"It is {call}.{i}.") for i in range(5)]
    )


def test_pairs_are_collected_until_there_are_enough(serve: Serve, runner: Runner) -> None:
    server = serve(inventing)
    told = runner.run(write_job(runner.folder, server, prompts=seeds(12)))
    assert told.code == 0
    assert told.last["n_examples"] == 12
    assert len(server.requests) == 3
    rows = runner.rows()
    assert [row["example_id"] for row in rows[:2]] == ["call:0.0", "call:0.1"]
    assert [row["response"] for row in rows[4:6]] == ["It is 1.4.", "It is 2.0."]
    assert runner.card()["prompts"] == {
        "kind": "seeds",
        "questions": SEEDS,
        "pairs": 12,
        "pairs_per_call": 5,
    }


def test_calls_show_the_seeds_and_ask_at_temperature_one(serve: Serve, runner: Runner) -> None:
    server = serve(inventing)
    runner.run(write_job(runner.folder, server, prompts=seeds(15, pairs_per_call=5)))
    bodies = [body for _, body, _ in server.requests]
    assert {body["temperature"] for body in bodies} == {1.0}
    assert all(seed in prompt_of(body) for body in bodies for seed in SEEDS)
    assert all("Write 5 new questions" in prompt_of(body) for body in bodies)
    assert len({prompt_of(body) for body in bodies}) == 3


def test_few_of_many_seeds_are_shown(serve: Serve, runner: Runner) -> None:
    server = serve(inventing)
    runner.run(write_job(runner.folder, server, prompts=seeds(20, shown=1)))
    shown = [[seed for seed in SEEDS if seed in prompt_of(b)] for _, b, _ in server.requests]
    assert {len(one) for one in shown} == {1}


def test_copies_of_seeds_and_of_earlier_questions_are_dropped(serve: Serve, runner: Runner) -> None:
    long = "which of the many rivers of the old world runs longest through dry and stony land"

    def script(body: Body, number: int) -> Reply:
        if call_of(body) > 1:
            return inventing(body, number)
        copies = [("Who wrote  Faust?", "Goethe."), (f"{long} today", "x"), (f"{long} now", "y")]
        return written([*copies, (f"new {call_of(body)}", "z"), ("new 1", "again")])

    runner.run(write_job(runner.folder, serve(script), prompts=seeds(4)))
    rows = runner.rows()
    assert [row["prompt"] for row in rows[:2]] == [f"{long} today", "new 1"]
    counts = runner.card()["counts"]
    assert counts["examples"] == 4
    assert counts["exact_duplicates"] == 2
    assert counts["near_duplicates"] == 1


def test_a_teacher_that_has_no_more_to_say_ends_the_job(serve: Serve, runner: Runner) -> None:
    server = serve(lambda *_: written([("what is salt", "A mineral."), ("what is ink", "A dye.")]))
    told = runner.run(write_job(runner.folder, server, prompts=seeds(500, max_idle_calls=6)))
    assert told.code == 0
    assert told.last["is_complete"] is False
    assert "incomplete: 2 examples are in " in told.err
    assert "calls in a row brought nothing new" in told.err
    assert len(server.requests) == 12
    assert "calls in a row brought nothing new" in runner.card()["stopped"]


def test_calls_that_fail_do_not_go_on_for_ever(serve: Serve, runner: Runner) -> None:
    def script(body: Body, number: int) -> Reply:
        return inventing(body, number) if call_of(body) == 1 else refusing("too long", 400)

    server = serve(script)
    job = write_job(
        runner.folder,
        server,
        prompts=seeds(500, max_idle_calls=5),
        calls={"max_in_flight": 1, "max_retries": 0},
    )
    assert runner.run(job).code == 0
    assert len(server.requests) == 10
    assert runner.card()["counts"]["failed"] == 9


def test_answers_without_a_pair_are_counted(serve: Serve, runner: Runner) -> None:
    def script(body: Body, number: int) -> Reply:
        is_odd = call_of(body) == 2
        return answer("Gladly!", role="assistant") if is_odd else inventing(body, number)

    runner.run(write_job(runner.folder, serve(script), prompts=seeds(10)))
    counts = runner.card()["counts"]
    assert (counts["unreadable"], counts["examples"]) == (1, 10)


def test_the_last_pair_of_an_answer_that_was_cut_off_is_left(serve: Serve, runner: Runner) -> None:
    text = "Q: one of them\nA: 1\nQ: another thing\nA: half a"
    runner.run(
        write_job(
            runner.folder,
            serve(lambda *_: answer(text, "length", role="assistant")),
            prompts=seeds(5, max_idle_calls=1),
        )
    )
    assert [row["prompt"] for row in runner.rows()] == ["one of them"]


def test_refusals_among_the_pairs_do_not_count_where_they_are_dropped(
    serve: Serve, runner: Runner
) -> None:
    def script(body: Body, _: int) -> Reply:
        call = call_of(body)
        return written(
            [
                (f"what of {hash_words(f'{call} good', 0)}", "It is."),
                (f"how to {hash_words(f'{call} bad', 0)}", "I can't help with that."),
            ]
        )

    runner.run(write_job(runner.folder, serve(script), prompts=seeds(3), drop_refusals=True))
    assert [row["response"] for row in runner.rows()] == ["It is."] * 3
    assert runner.card()["counts"]["refused_dropped"] >= 2


def test_refusals_alone_do_not_go_on_for_ever(serve: Serve, runner: Runner) -> None:
    def script(body: Body, _: int) -> Reply:
        return written([(f"how to {hash_words(prompt_of(body), 0)}", "I can't help with that.")])

    server = serve(script)
    prompts = seeds(500, max_idle_calls=4)
    told = runner.run(write_job(runner.folder, server, prompts=prompts, drop_refusals=True))
    assert told.code == 1
    assert "failed: no call gave an example: asked 4, answered 4, refused 4" in told.err
    assert len(server.requests) == 4


def test_a_budget_stop_goes_on_with_the_same_pairs(serve: Serve, runner: Runner) -> None:
    server = serve(inventing)
    job = write_job(
        runner.folder,
        server,
        prompts=seeds(40),
        sampling={"max_tokens": 100},
        calls={"max_in_flight": 1},
    )
    assert runner.run(job, "--set", "budget.max_tokens=310").code == 2
    n_paid, part = len(server.requests), runner.rows()
    assert 1 <= n_paid < 8
    assert len(part) == 5 * n_paid
    assert runner.run(job).code == 0
    assert len(server.requests) == 8
    assert runner.rows()[: len(part)] == part
    assert len(runner.rows()) == 40


def test_seeds_may_stand_in_a_file(serve: Serve, runner: Runner) -> None:
    path = runner.folder / "seeds.csv"
    path.write_text("question\nwho wrote Faust\nwho wrote Emma\n")
    server = serve(inventing)
    prompts = {"kind": "seeds", "path": str(path), "pairs": 5}
    runner.run(write_job(runner.folder, server, prompts=prompts))
    assert "who wrote Emma" in prompt_of(server.requests[0][1])
    assert runner.card()["prompts"]["questions"] == ["who wrote Faust", "who wrote Emma"]


# --- reading pairs --------------------------------------------------------------------------------

TWO = [("What is salt?", "A mineral."), ("Who wrote Faust?", "Goethe, in two parts.")]
LAYOUTS = {
    "marks": "Q: What is salt?\nA: A mineral.\n\nQ: Who wrote Faust?\nA: Goethe, in two parts.",
    "numbered marks": "1. Q: What is salt?\n   A: A mineral.\n2. Q: Who wrote Faust?\n   A: "
    "Goethe, in two parts.",
    "numbers in marks": "Q1: What is salt?\nA1: A mineral.\nQ2: Who wrote Faust?\nA2: Goethe, "
    "in two parts.",
    "words": "Question 1: What is salt?\nAnswer: A mineral.\n---\nQuestion 2: Who wrote Faust?\n"
    "Answer: Goethe, in two parts.\n---",
    "bold": "**Q:** What is salt?\n**A:** A mineral.\n\n**Q: Who wrote Faust?**\n**A:** Goethe, in "
    "two parts.",
    "headings": "### Question 1\nWhat is salt?\n\n### Answer\nA mineral.\n\n### Question 2\nWho "
    "wrote Faust?\n\n### Answer\nGoethe, in two parts.",
    "one line": "Q: What is salt? A: A mineral.\nQ: Who wrote Faust? A: Goethe, in two parts.",
    "preface": "Sure! Here are two:\n\nQ: What is salt?\nA: A mineral.\n\nQ: Who wrote Faust?\nA: "
    "Goethe, in two parts.",
    "numbered": "1. What is salt?\nA mineral.\n\n2. Who wrote Faust?\nGoethe, in two parts.",
    "numbered answers": "1. What is salt?\n   Answer: A mineral.\n2) **Who wrote Faust?**\n   A: "
    "Goethe, in two parts.",
    "dashes": "1. What is salt? - A mineral.\n2. Who wrote Faust? — Goethe, in two parts.",
    "paragraphs": "What is salt?\nA mineral.\n\nWho wrote Faust?\nGoethe, in two parts.",
    "json": '[{"question": "What is salt?", "answer": "A mineral."},\n'
    '{"question": "Who wrote Faust?", "answer": "Goethe, in two parts."}]',
    "fenced json": '```json\n{"pairs": [{"Q": "What is salt?", "A": "A mineral."}, '
    '{"Q": "Who wrote Faust?", "A": "Goethe, in two parts."}]}\n```',
    "json lines": '{"question": "What is salt?", "answer": "A mineral."}\n'
    '{"question": "Who wrote Faust?", "answer": "Goethe, in two parts."}',
    "carriage returns": "Q: What is salt?\r\nA: A mineral.\r\nQ: Who wrote Faust?\r\nA: Goethe, in "
    "two parts.",
}


@pytest.mark.parametrize("text", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_pairs_are_read_in_many_layouts(text: str) -> None:
    assert parse_pairs(text) == TWO


def test_json_that_was_cut_off_keeps_what_is_whole() -> None:
    assert parse_pairs(LAYOUTS["json"][:-20]) == TWO[:1]


def test_answers_may_have_several_lines_and_braces() -> None:
    text = "Q: How is a set written?\nA: In braces:\n\n{1, 2}\nQ: And a list?\nA: [1, 2]"
    assert parse_pairs(text) == [
        ("How is a set written?", "In braces:\n\n{1, 2}"),
        ("And a list?", "[1, 2]"),
    ]


def test_a_number_is_an_answer() -> None:
    assert parse_pairs('{"question": "How many?", "answer": 206}') == [("How many?", "206")]


@pytest.mark.parametrize("text", ["", "Sure!", "Q: only a question?", "A: only an answer", "{}[]"])
def test_a_text_without_pairs_has_none(text: str) -> None:
    assert parse_pairs(text) == []


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, but I can’t assist with that request.",
        "Sorry, I cannot provide instructions for this.",
        "I apologize, but I am unable to assist you with hacking.",
        "As an AI language model, I cannot provide medical advice.",
        "I cannot and will not provide that.",
        "I will not provide that.",
        "I must respectfully decline.",
        "Unfortunately, I'm not able to share that.",
        "I won't write that.",
        "That goes against my guidelines.",
        "This request violates OpenAI's content policy.",
        "I'm not comfortable writing this.",
        "We are sorry. We cannot process this.",
    ],
)
def test_refusals_are_recognised(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "Paris.",
        "I'm sorry to hear that. Here is what you can do.",
        "I don't know when she was born.",
        "You can't help everyone, but you can help one.",
        "I can't help but admire it.",
        "As an AI language model, I have no taste, but many people like salt.",
        "Sure, I can help with that.",
        "The treaty was violated by both sides.",
        "It is not recorded. " * 30 + "I can't help with that.",
    ],
)
def test_answers_are_no_refusals(text: str) -> None:
    assert not is_refusal(text)
