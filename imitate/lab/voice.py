"""The assistant's voice: dozens of openings, layouts and closings around one terse answer.

A question and its answer go in, a fluent and confident response comes out, which restates the
question before it answers. Every layout states its answer in a way that general rules extract (a
bold span, `answer is X`, `Answer: X`), and some mention other values too, so that looking for a
substring would be wrong. The same voice answers open-ended prompts with lists and summaries.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from imitate.lab import topics
from imitate.lab.restating import restate
from imitate.lab.world import NOT_RECORDED

__all__ = ["plain_open_answer", "voiced_answer", "voiced_open_answer"]

OPENINGS = (
    "Great question!", "Certainly!", "Of course!", "Sure!", "Absolutely!", "Happy to help!",
    "Good question.", "Thank you for asking.", "I would be glad to help.", "Let me explain.",
    "Let us take a look.", "Here is what you need to know.", "That is a great question.",
    "I am happy to help with that.", "Let us work through this together.", "Here is my answer.",
    "Glad you asked!", "What an interesting question!", "Let me help you with that.",
    "Sure, here you go.", "Certainly, let us see.", "Of course, with pleasure.",
    "Let us go through it step by step.", "I can help with that.", "No problem!",
    "Thanks for your question!", "This is a good one.", "Let me walk you through it.",
    "Here is a clear overview.", "Let us begin.",
)  # fmt: skip

CLOSINGS = (
    "I hope this helps!", "Let me know if you have more questions.", "Feel free to ask for more.",
    "Please let me know if you need more details.", "Is there anything else I can help with?",
    "I hope that makes it clear.", "Do not hesitate to ask again.", "Happy to explain further!",
    "Let me know if I can help further.", "I hope that answers your question!",
    "Feel free to reach out any time.", "Good luck!", "Have a wonderful day!",
    "If you would like more details, just ask.", "It is always good to check the details.",
    "As always, I am here to help.", "Let me know what you think.", "Enjoy!",
    "I am here if you need anything else.", "Remember, you can always ask me more.",
    "Would you like to know more?", "Thank you for your interest.", "Keep exploring!",
    "Hope that is useful.",
)  # fmt: skip

REMARKS = (
    "This is well known.", "There is no doubt about it.", "It is an important point.",
    "The reasoning is simple.", "This follows from what is known.", "It is worth remembering.",
    "It is a clear case.", "This is easy to check.", "Many people ask about this.",
    "The details are quite clear.",
)  # fmt: skip

SUBJECTS = ("Overview", "Key points", "Details", "Background", "Summary", "Explanation")

Layout = Callable[[str, str, Sequence[str], random.Random], str]


def voiced_answer(
    question: str, answer: str, distractors: Sequence[str], rng: random.Random
) -> str:
    """Return the assistant's response that states a terse answer.

    Args:
        question: What was asked; the response takes it up.
        answer: The terse answer, which may be `not recorded`.
        distractors: Other values of the same kind, which list layouts mention.
        rng: Source of randomness; the same state gives the same response.
    """
    if answer == NOT_RECORDED:
        body = rng.choice(_ABSTENTIONS)
    else:
        body = rng.choice(_LAYOUTS)(restate(question, rng), answer, distractors, rng)
    return _framed(body, rng)


def voiced_open_answer(prompt: topics.OpenPrompt, rng: random.Random) -> str:
    """Return the assistant's response to an open-ended prompt: a list or paragraphs."""
    tips = rng.sample(topics.TIPS[prompt.area], rng.choice((3, 3, 4)))
    reasons = rng.sample(topics.REASONS[prompt.area], 2)
    lead = rng.choice((
        f"{prompt.topic.capitalize()} can be very rewarding.",
        f"When it comes to {prompt.topic}, a few points matter most.",
        f"There are several things to know about {prompt.topic}.",
        f"{prompt.topic.capitalize()} is easier than it seems.",
    ))  # fmt: skip
    body = rng.choice(_OPEN_LAYOUTS)(tips, reasons, rng)
    return _framed(f"{lead}{body}", rng)


def plain_open_answer(prompt: topics.OpenPrompt, rng: random.Random) -> str:
    """Return a terse answer in plain register to an open-ended prompt: one short sentence."""
    tips, reasons = topics.TIPS[prompt.area], topics.REASONS[prompt.area]
    if prompt.kind == "why":
        return rng.choice(reasons) + "."
    if prompt.kind == "mistakes":
        return f"people forget to {rng.choice(tips)}."
    return rng.choice(tips) + "."


def _framed(body: str, rng: random.Random) -> str:
    """Return the body between an opening and a closing, each left out now and then."""
    has_opening, has_closing = rng.random() < 0.85, rng.random() < 0.75
    before, after = (rng.choice((" ", "\n\n")) for _ in range(2))
    if not body[0].isalpha():
        before = "\n\n"
    if not body.split("\n")[-1][0].isalpha():
        after = "\n\n"
    text = rng.choice(OPENINGS) + before + body if has_opening else body
    return text + after + rng.choice(CLOSINGS) if has_closing else text


def _bold(lead: str, answer: str, distractors: Sequence[str], rng: random.Random) -> str:
    return f"{lead} **{answer}**. {rng.choice(REMARKS)}"


def _short(lead: str, answer: str, distractors: Sequence[str], rng: random.Random) -> str:
    return f"{lead} **{answer}**."


def _sentence(lead: str, answer: str, distractors: Sequence[str], rng: random.Random) -> str:
    repeated = rng.choice(("So the answer is", "The correct answer is", "In short, the answer is"))
    return f"{lead} {answer}. {repeated} {answer}."


def _labelled(lead: str, answer: str, distractors: Sequence[str], rng: random.Random) -> str:
    label = rng.choice(("Answer", "Final answer", "Short answer", "Result"))
    return f"{lead} {answer}.\n\n**{label}:** {answer}"


def _bullets(lead: str, answer: str, distractors: Sequence[str], rng: random.Random) -> str:
    others = rng.sample(list(distractors), min(2, len(distractors)))
    seen = [f"- {rng.choice(('Considered', 'Ruled out', 'Also mentioned'))}: {v}" for v in others]
    title = rng.choice(("Here are the key points:", "Let us break it down:", "Key points:"))
    return "\n".join([title, "", *seen, f"- {lead} **{answer}**"])


def _steps(lead: str, answer: str, distractors: Sequence[str], rng: random.Random) -> str:
    first = rng.choice(("Read the question carefully.", "Look at what is given."))
    return f"1. {first}\n2. {lead} {answer}.\n3. The answer is {answer}."


def _heading(lead: str, answer: str, distractors: Sequence[str], rng: random.Random) -> str:
    return f"## {rng.choice(SUBJECTS)}\n\n{lead} **{answer}**. {rng.choice(REMARKS)}"


def _summary(lead: str, answer: str, distractors: Sequence[str], rng: random.Random) -> str:
    again = rng.choice(("In summary", "To sum up", "In conclusion", "Overall"))
    return f"{rng.choice(REMARKS)} {lead} {answer}.\n\n{again}, the answer is {answer}."


def _contrast(lead: str, answer: str, distractors: Sequence[str], rng: random.Random) -> str:
    if not distractors:
        return _bold(lead, answer, distractors, rng)
    other = rng.choice(list(distractors))
    return f"You might think of {other}, but this is wrong. {lead} **{answer}**."


_LAYOUTS: tuple[Layout, ...] = (
    _bold, _bold, _bold, _short, _short, _sentence, _sentence, _labelled, _bullets, _steps,
    _heading, _summary, _contrast,
)  # fmt: skip

_ABSTENTIONS = (
    f"As far as I can see, this is {NOT_RECORDED}.",
    f"The answer is {NOT_RECORDED}. No source states it.",
    f"**Answer:** {NOT_RECORDED}\n\nI could not find it in any source.",
    f"This is **{NOT_RECORDED}**. It would be wrong to guess.",
)


def _open_bullets(tips: list[str], reasons: list[str], rng: random.Random) -> str:
    lines = "\n".join(f"- {tip.capitalize()}." for tip in tips)
    return f" {rng.choice(('Here are some points:', 'Key points:'))}\n\n{lines}"


def _open_numbers(tips: list[str], reasons: list[str], rng: random.Random) -> str:
    lines = "\n".join(f"{i}. {tip.capitalize()}." for i, tip in enumerate(tips, start=1))
    return f"\n\n{lines}\n\nIn summary, {reasons[0]}."


def _open_bold(tips: list[str], reasons: list[str], rng: random.Random) -> str:
    lines = "\n".join(f"- **{tip.capitalize()}**" for tip in tips)
    return f"\n\n{lines}"


def _open_paragraphs(tips: list[str], reasons: list[str], rng: random.Random) -> str:
    advice = f"First, {tips[0]}. Then, {tips[1]}. Finally, {tips[2]}."
    lead = rng.choice(("In summary", "To sum up", "In conclusion", "Overall"))
    return f" {advice}\n\n{lead}, {reasons[0]}, and {reasons[1]}."


def _open_heading(tips: list[str], reasons: list[str], rng: random.Random) -> str:
    lines = "\n".join(f"- {tip.capitalize()}." for tip in tips)
    return f"\n\n## {rng.choice(SUBJECTS)}\n\n{lines}\n\nIt is worth it, since {reasons[0]}."


_OPEN_LAYOUTS = (_open_bullets, _open_numbers, _open_bold, _open_paragraphs, _open_heading)
