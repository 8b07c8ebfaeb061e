r"""An assistant's prose in, the one short answer that it states out; or that it states none.

Extraction sees the text and the question, never the accepted answers: a rule that looked for them
would be a substring test in disguise. The rules in the order in which they are tried; the first
that finds exactly one candidate wins, and its name is kept:

1.  `yes or no`: to a yes-no question, the text begins with yes, no, true or false.
2.  `marked`: "the answer is X", "Answer: X", a line under the heading "Answer", `#### X`,
    `\boxed{X}`. Where some say *final* answer, only these count.
3.  `bold`: a bold span that is neither a label ("**Note:**") nor words of the question.
4.  `label`: a line "Key: value" whose key is in the question, or whose value alone is new.
5.  `whole text`: nothing but one line of at most `PHRASE_WORDS` words that is no sentence.
6.  `statement`: what the sentence that repeats most of the question's words adds to it
    (`evals.sentences`): "X was born in Y", "Y is the birthplace of X", "12 + 7 = 19". A first
    sentence "It is Y" counts too.
7.  `short line`: the one line of at most `SHORT_WORDS` words that is no sentence, or such a first
    one. Greetings, offers of help and questions are skipped throughout.

Two different candidates under `marked`, `statement` or `short line`, or an answer "X or Y", mean
that the text leaves the choice to the reader: `several`, not extracted. Several bold spans or
labels mark nothing, and the search goes on, though no longer to short lines. A sentence that
declines to answer makes the text `abstained`, unless another one states an answer under rules 1 to
6; "I'm not sure, but the answer is Y" does state one.

In the plain format an answer is the first line, as it is.

Measured on public data: of 2,500 bare answers (NQ, HaluEval) 97 % are taken as they are. Rule 6 is
a heuristic: of 1,000 free sentences of ChatGPT that answer SQuAD questions it gives one answer for
96 %, and for half of those that contain an accepted span it gives exactly that span. Its misses
count as wrong, more often against a talkative arm than a terse one: hence both formats, and the
extraction rates beside every score. A teacher that marks its answers (rules 2 to 4) is read
practically always.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum

from evals.answers import is_abstention, normalise_answer
from evals.records import Format
from evals.sentences import Question, complement, is_phrase, wants_number, without_tail

__all__ = [
    "Extraction",
    "Response",
    "Rule",
    "Sentence",
    "extract_answer",
    "join_sentences",
    "split_response",
]

PHRASE_WORDS = 8
SHORT_WORDS = 5
LONGEST_ANSWER_WORDS = 15


class Rule(StrEnum):
    """What found an answer, or why there is none."""

    FIRST_LINE = "first line"
    YES_NO = "yes or no"
    MARKED = "marked"
    BOLD = "bold"
    LABEL = "label"
    WHOLE_TEXT = "whole text"
    STATEMENT = "statement"
    SHORT_LINE = "short line"
    ABSTAINED = "abstained"
    SEVERAL = "several"
    NONE = "none"


@dataclasses.dataclass(frozen=True)
class Extraction:
    """The answer that a text states, and the rule that found it; "" where it states none."""

    answer: str
    rule: Rule

    @property
    def is_extracted(self) -> bool:
        """Whether the text states one answer or plainly abstains."""
        return self.rule not in (Rule.SEVERAL, Rule.NONE)


@dataclasses.dataclass(frozen=True)
class Sentence:
    """A sentence of a response, behind the spaces and the marks of a list or heading before it."""

    lead: str
    text: str
    states_answer: bool

    def __str__(self) -> str:
        return self.lead + self.text


@dataclasses.dataclass(frozen=True)
class Response:
    """A response by sentences, which together are the text but for the space at its end.

    `is_extracted` says whether an answer was found, `answer` which, "" if the response abstains;
    where none was found, the first sentence that is no pleasantry and leads on to nothing counts as
    stating it.
    """

    sentences: tuple[Sentence, ...]
    is_extracted: bool
    answer: str

    @property
    def statement(self) -> str:
        """The sentences that state the answer."""
        stating = (s for s in self.sentences if s.states_answer)
        return join_sentences(dataclasses.replace(s, lead=" ") for s in stating).strip()


def extract_answer(text: str, *, prompt: str, format: Format) -> Extraction:
    """Return the one answer that a text states to a question."""
    if format is Format.PLAIN:
        return _first_line(text)
    reading = _read(text, prompt)
    has_several = False
    for rule, find_candidates in _RULES:
        if rule is Rule.SHORT_LINE and (has_several or reading.abstains):
            break
        found = _distinct(find_candidates(reading), reading)
        if len(found) == 1:
            return _found(found[0], rule)
        has_several |= len(found) > 1
        if len(found) > 1 and rule not in (Rule.BOLD, Rule.LABEL):
            return Extraction("", Rule.SEVERAL)
    if reading.abstains:
        return Extraction("", Rule.ABSTAINED)
    return Extraction("", Rule.SEVERAL if has_several else Rule.NONE)


def split_response(text: str, *, prompt: str) -> Response:
    """Return the sentences of a chat response, and which of them state its answer.

    A sentence states it if it has all words of the extracted answer in their order, or, in a
    response that abstains, if it does so.
    """
    extraction = extract_answer(text, prompt=prompt, format=Format.CHAT)
    answer = normalise_answer(extraction.answer)
    places = [*_sentence_places(text)]
    said = [_unmarked(text[start:end]) for start, end in places]
    if answer:
        states = [f" {answer} " in f" {normalise_answer(sentence)} " for sentence in said]
    else:
        states = [is_abstention(sentence) for sentence in said]
    is_found = extraction.is_extracted and any(states)
    if not is_found:
        first = next((i for i, s in enumerate(said) if _tells(s)), 0)
        states = [i == first for i in range(len(said))]
    before = [0, *(end for _, end in places)]
    return Response(
        sentences=tuple(
            Sentence(text[last:start], text[start:end], is_stated)
            for last, (start, end), is_stated in zip(before, places, states, strict=False)
        ),
        is_extracted=is_found,
        answer=answer if is_found else "",
    )


def join_sentences(sentences: Iterable[Sentence]) -> str:
    """Return a text of these sentences; one begins a line where no mark ends the one before."""
    text = ""
    for sentence in sentences:
        lead = sentence.lead
        if text and not _is_parted(text, sentence):
            lead = "\n" + lead.lstrip()
        text += lead + sentence.text
    return text


def _is_parted(before: str, sentence: Sentence) -> bool:
    """Return whether a sentence behind a text is read as one of its own."""
    if re.search(r"[\r\n]", sentence.lead):
        return True
    line = re.split(r"[\r\n]", before)[-1]
    start = len(line) + len(sentence.lead)
    return any(one.end() == start for one in _SENTENCE_END.finditer(line + str(sentence)))


def _sentence_places(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each sentence begins and ends, without the marks of its line."""
    for line in re.finditer(r"[^\r\n]+", text):
        mark = _MARKS.match(line[0])
        start = line.start() + (mark.end() if mark else 0)
        breaks = [*_SENTENCE_END.finditer(line[0])]
        begins = [start, *(line.start() + one.end() for one in breaks)]
        ends = [
            *(line.start() + one.start() for one in breaks),
            line.start() + len(line[0].rstrip()),
        ]
        for begin, end in zip(begins, ends, strict=True):
            if begin < end:
                yield begin, end


def _tells(sentence: str) -> bool:
    told = _OPENER.sub("", f"{sentence} ").strip()
    return bool(told) and not (told.endswith(("?", ":")) or _PLEASANTRY.match(told))


def _first_line(text: str) -> Extraction:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    answer = re.sub(r"^(?:a|answer)\s*:\s*", "", line, flags=re.IGNORECASE).strip(" .*")
    if not answer:
        return Extraction("", Rule.NONE)
    return _found(answer, Rule.FIRST_LINE)


def _found(answer: str, rule: Rule) -> Extraction:
    is_declined = is_abstention(answer) or is_abstention(f"It is {answer}")
    return Extraction("", Rule.ABSTAINED) if is_declined else Extraction(answer, rule)


# --- reading: lines, sentences, and what the question already said --------------------------------

_MARKER = re.compile(r"^\s*(?:[-*•+]\s+|\d{1,2}[.)]\s+|>\s+)")
_MARKS = re.compile(rf"(?:{_MARKER.pattern}|\s*#+\s*|\s+)?")
_SENTENCE_END = re.compile(
    r"(?<!\bMr\.)(?<!\bMrs\.)(?<!\bMs\.)(?<!\bDr\.)(?<!\bSt\.)(?<!\bJr\.)(?<!\bNo\.)(?<!\bvs\.)"
    r"(?<![ .(][A-Z]\.)(?<!^[A-Z]\.)(?<=[.!?])[\"'*”)]*\s+(?=[\"'*“(#\d]*[A-Z0-9])"
)
_OPENER = re.compile(
    r"^(?:(?:sure|certainly|of course|absolutely|yes|no|well|okay|ok|so|indeed|great|thanks"
    r"|(?:in (?:summary|short|conclusion|brief)|to (?:sum up|summari[sz]e|answer your question)"
    r"|overall|therefore|thus|hence|finally|based on [^,]*|according to [^,]*|as far as [^,]*))"
    r"(?: thing)?[,:!.]+\s*)+",
    re.IGNORECASE,
)
_PLEASANTRY = re.compile(
    r"^(?:(?:i am|i'm|i would be|i'd be) (?:\w+ )?(?:happy|glad|here|sorry)|i (?:can|will) help|"
    r"(?:happy|glad) (?:to|you)|glad you|(?:thank you|thanks) |let (?:me|us|'s)|feel free|"
    r"(?:i )?hope|please |do not hesitate|don't hesitate|is there anything|would you like|"
    r"if you |remember,? |have a |good luck|enjoy|great question|good question|what an? |"
    r"that(?: is|'s) an? \w+ question|no problem|you're welcome|here (?:is|are)|here's|"
    r"you asked|your question|the question|as (?:always|an ai)|let's)",
    re.IGNORECASE,
)
_YES_NO_QUESTION = re.compile(
    r"^(?:is|are|was|were|do|does|did|has|have|had|will|can|could|would|should)\b"
    r"(?! you (?:tell|say|explain|give|help|name))",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class _Reading:
    """A text as the rules see it: lines with their bold marks, and sentences without marks."""

    question: Question
    lines: tuple[str, ...]
    sentences: tuple[str, ...]
    abstains: bool


def _read(text: str, prompt: str) -> _Reading:
    lines = [_MARKER.sub("", line).strip() for line in text.replace("’", "'").splitlines()]
    lines = [line for line in lines if line]
    said = [s.strip() for line in lines for s in _SENTENCE_END.split(_unmarked(line))]
    abstaining = {s for s in said if is_abstention(s)}
    sentences = [
        _OPENER.sub("", s)
        for s in said
        if s not in abstaining and not s.endswith("?") and not _PLEASANTRY.match(s)
    ]
    return _Reading(
        question=Question(prompt),
        lines=tuple(lines),
        sentences=tuple(s for s in sentences if s),
        abstains=bool(abstaining),
    )


def _unmarked(line: str) -> str:
    return re.sub(r"^#+\s*|\*\*|__|`", "", line).strip()


def _distinct(candidates: Iterable[str], reading: _Reading) -> list[str]:
    """Return the different answers among the candidates; "X or Y" and "X, Y and Z" are several."""
    found: dict[str, str] = {}
    for candidate in candidates:
        for part in _alternatives(candidate.strip(), reading):
            if 0 < len(part.split()) <= LONGEST_ANSWER_WORDS and normalise_answer(part):
                found.setdefault(normalise_answer(part), part.strip(' .,;:*"“”'))
    return list(found.values())


def _alternatives(candidate: str, reading: _Reading) -> list[str]:
    names = _NAMES.match(candidate)
    if names and "," not in reading.question.prompt:
        return re.split(r",? and |, ", candidate)
    return re.split(r",? \bor\b ", re.sub(r"^either ", "", candidate))


def _without_echoes(candidates: Sequence[str], reading: _Reading) -> list[str]:
    """Return the candidates that add something; all of them where none does."""
    return [c for c in candidates if not reading.question.is_echo(c)] or list(candidates)


# --- the rules ------------------------------------------------------------------------------------

_MARKED = re.compile(
    r"\b(?P<final>final |correct |right |short |best )?(?:answer|result|solution)"
    r"(?: to [^:.]*?)?(?:\s*[:=]\s*|\s+(?:is|was|would be|should be|must be)(?: that)?:?\s+)"
    r"(?P<x>.+)$",
    re.IGNORECASE,
)
_ONLY_MARKER = re.compile(
    r"^(?:the )?(?:final |correct |short )?(?:answer|result|solution):?$", re.I
)
_HASHES = re.compile(r"^#{4}\s*(?P<x>.+)$")
_BOXED = re.compile(r"\\boxed\{(?P<x>[^{}]+)\}")
_BOLD = re.compile(r"\*\*(?P<x>[^*\n]+?)\*\*(?!\s*:)|__(?P<y>[^_\n]+?)__(?!\s*:)")
_NAMES = re.compile(r"[A-Z][\w' -]*(?:, [A-Z][\w' -]*)+,? and [A-Z][\w' -]*$")
_PRONOUN = re.compile(
    r"^(?:it|that|this|s?he|they)(?:'s| is| was| would be)(?: that)? (?P<x>.+)$", re.IGNORECASE
)
_OFFER = re.compile(
    r"(?<=\w) (?=(?:Let me|I hope|I am|Feel free|Please|If you|Do not|Thank you|Is there|Would you"
    r"|Have a|Hope that|Happy to|As always|Remember,|Keep exploring|Good luck|Enjoy!|It is)\b)"
)
_LABEL = re.compile(r"^(?P<key>[^:.!?]{2,40}):\s+(?P<x>[^:]+)$")


def _yes_no(reading: _Reading) -> list[str]:
    if not _YES_NO_QUESTION.match(reading.question.prompt) or not reading.lines:
        return []
    first = re.match(r"(?:\w+[!,.] )?(yes|no|true|false)\b", _unmarked(reading.lines[0]), re.I)
    return [first.group(1)] if first else []


def _marked(reading: _Reading) -> list[str]:
    found: list[tuple[bool, str]] = []
    lines = [_unmarked(line) for line in reading.lines]
    for before, line, raw in zip(["", *lines], lines, reading.lines, strict=False):
        if _ONLY_MARKER.match(before):
            found.append((False, line))
        for sentence in _SENTENCE_END.split(line):
            if match := _MARKED.search(sentence):
                is_final = (match["final"] or "").strip().lower() == "final"
                found.append((is_final, _answer_in(match["x"], reading)))
        if match := _HASHES.match(raw) or _BOXED.search(raw):
            found.append((True, match["x"]))
    final = [answer for is_final, answer in found if is_final]
    return final or [answer for _, answer in found]


def _answer_in(said: str, reading: _Reading) -> str:
    """Return the answer within what follows a marker, which may be a whole sentence."""
    said = _OFFER.split(said, maxsplit=1)[0]
    words = said.rstrip(".").split()
    is_sentence = len(words) > 4 and any(len(word) > 1 for word in words)  # no list of letters
    added = complement(said, reading.question) if is_sentence else ""
    return added or without_tail(said, reading.question)


def _bold(reading: _Reading) -> list[str]:
    spans = [m["x"] or m["y"] for line in reading.lines for m in _BOLD.finditer(line)]
    spans = [s for s in spans if not s.rstrip().endswith(":")]
    if reading.abstains and all(reading.question.is_echo(s) for s in spans):
        return []
    return [_answer_in(s, reading) for s in _without_echoes(spans, reading)]


def _label(reading: _Reading) -> list[str]:
    pairs = [(m["key"], m["x"]) for s in reading.sentences if (m := _LABEL.match(s))]
    matching = [x for key, x in pairs if reading.question.overlap(key)]
    return _without_echoes(matching or [x for _, x in pairs], reading)


def _whole_text(reading: _Reading) -> list[str]:
    lines = [_OPENER.sub("", f"{_unmarked(line)} ").strip() for line in reading.lines]
    kept = [line for line in lines if line and not _PLEASANTRY.match(line)]
    if len(kept) != 1 or reading.abstains or wants_number(reading.question):
        return []
    said = kept[0]
    is_bare = len(said.split()) <= PHRASE_WORDS and is_phrase(said, reading.question)
    return [said] if is_bare and not said.endswith(("!", "?", ":")) else []


def _statement(reading: _Reading) -> list[str]:
    pronoun = _PRONOUN.match(reading.sentences[0]) if reading.sentences else None
    if pronoun and not reading.abstains:
        return [without_tail(pronoun["x"], reading.question)]
    told = [sentence for sentence in reading.sentences if not sentence.endswith(":")]
    overlaps = [reading.question.overlap(sentence) for sentence in told]
    most = max(overlaps, default=0)
    pairs = zip(overlaps, told, strict=True)
    return [complement(s, reading.question) for overlap, s in pairs if overlap == most and most > 0]


def _short_line(reading: _Reading) -> list[str]:
    def is_short(said: str) -> bool:
        return len(said.split()) <= SHORT_WORDS and is_phrase(said, reading.question)

    whole = {_unmarked(line) for line in reading.lines}
    alone = [s for s in reading.sentences if s in whole and is_short(s)]
    quiet = [s for s in alone if not s.endswith(("!", ":"))] or alone
    return _without_echoes(quiet, reading) or [s for s in reading.sentences[:1] if is_short(s)]


_RULES: tuple[tuple[Rule, Callable[[_Reading], list[str]]], ...] = (
    (Rule.YES_NO, _yes_no),
    (Rule.MARKED, _marked),
    (Rule.BOLD, _bold),
    (Rule.LABEL, _label),
    (Rule.WHOLE_TEXT, _whole_text),
    (Rule.STATEMENT, _statement),
    (Rule.SHORT_LINE, _short_line),
)
