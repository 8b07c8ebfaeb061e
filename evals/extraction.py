r"""An assistant's prose in, the one short answer that it states out; or that it states none.

Extraction sees the text and the question, never the accepted answers: a rule that looked for them
would be a substring test in disguise. The rules in the order in which they are tried; the first
that finds exactly one candidate wins, and its name is kept:

1.  `yes or no`: to a yes-no question, the text begins with yes, no, true or false.
2.  `marked`: "the answer is X", "Answer: X", a line under the heading "Answer", `#### X`,
    `\boxed{X}`. Where some say *final* answer, only these count.
3.  `bold`: a bold span that is neither a label ("**Note:**") nor words of the question.
4.  `label`: a line "Key: value" whose key is in the question, or whose value alone is new.
5.  `statement`: the sentence that repeats most of the question's words, divided at its verb: "X was
    born in Y" gives Y, "Y is the birthplace of X" gives Y as well, "12 + 7 = 19" gives 19. A first
    sentence "It is Y" counts too. Clauses, dates and places behind Y are cut off.
6.  `short line`: the one line of at most `SHORT_WORDS` words without a verb, or such a first
    sentence. Greetings, offers of help and questions are skipped throughout.

Two different candidates under `marked`, `statement` or `short line`, or an answer "X or Y", mean
that the text leaves the choice to the reader: `several`, not extracted. Several bold spans or
labels mark nothing, and the search goes on, though no longer to short lines. A sentence that
declines to answer makes the text `abstained`, unless another one states an answer under rules 1 to
5; "I'm not sure, but the answer is Y" does state one.

In the plain format an answer is the first line, as it is.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum

from evals.answers import is_abstention, normalise_answer
from evals.records import Format

__all__ = ["Extraction", "Rule", "extract_answer"]

SHORT_WORDS = 5
LONGEST_ANSWER_WORDS = 15


class Rule(StrEnum):
    """What found an answer, or why there is none."""

    FIRST_LINE = "first line"
    YES_NO = "yes or no"
    MARKED = "marked"
    BOLD = "bold"
    LABEL = "label"
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


def extract_answer(text: str, *, prompt: str, format: Format) -> Extraction:
    """Return the one answer that a text states to a question."""
    if format is Format.PLAIN:
        return _first_line(text)
    reading = _read(text, prompt)
    has_several = False
    for rule, find_candidates in _RULES:
        if rule is Rule.SHORT_LINE and (has_several or reading.abstains):
            break
        found = _distinct(find_candidates(reading))
        if len(found) == 1:
            return (
                Extraction("", Rule.ABSTAINED)
                if is_abstention(found[0])
                else Extraction(found[0], rule)
            )
        has_several |= len(found) > 1
        if len(found) > 1 and rule not in (Rule.BOLD, Rule.LABEL):
            return Extraction("", Rule.SEVERAL)
    if reading.abstains:
        return Extraction("", Rule.ABSTAINED)
    return Extraction("", Rule.SEVERAL if has_several else Rule.NONE)


def _first_line(text: str) -> Extraction:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    answer = re.sub(r"^(?:a|answer)\s*:\s*", "", line, flags=re.IGNORECASE).strip(" .*")
    if not answer:
        return Extraction("", Rule.NONE)
    return (
        Extraction("", Rule.ABSTAINED)
        if is_abstention(answer)
        else Extraction(answer, Rule.FIRST_LINE)
    )


# --- reading: lines, sentences, and what the question already said --------------------------------

_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        """a an the of in on at by for to from with as and or is are was were be been being do does
        did has have had will would can could should may might must it its this that these those he
        she they his her their him them i you we me my your our who whom whose what which when where
        why how there here not no s""",
    )
)
_RELATED = (
    {"born", "birth", "birthplac", "hometown", "nativ"},
    {"job", "occupation", "profession", "work", "career", "living", "trade"},
    {"employer", "employ", "compan", "work"},
    {"sum", "add", "plus", "total"},
)
_MARKER = re.compile(r"^\s*(?:[-*•+]\s+|\d{1,2}[.)]\s+|>\s+)")
_SENTENCE_END = re.compile(
    r"(?<!\bMr\.)(?<!\bMrs\.)(?<!\bMs\.)(?<!\bDr\.)(?<!\bSt\.)(?<!\bJr\.)(?<!\bNo\.)(?<!\bvs\.)"
    r"(?<![ .(][A-Z]\.)(?<=[.!?])[\"'*”)]*\s+(?=[\"'*“(#\d]*[A-Z0-9])"
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

    prompt: str
    stems: frozenset[str]
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
    stems = {_stem(word) for word in _words(prompt)} - _FUNCTION_WORDS
    related = [group for group in _RELATED if group & stems]
    return _Reading(
        prompt=prompt,
        stems=frozenset(stems.union(*related)),
        lines=tuple(lines),
        sentences=tuple(s for s in sentences if s),
        abstains=bool(abstaining),
    )


def _words(text: str) -> list[str]:
    return normalise_answer(text).split()


def _stem(word: str) -> str:
    return re.sub(r"(?<=\w{3})(?:ings?|ed|er|es|s|e|y|ies)$", "", word)


def _unmarked(line: str) -> str:
    return re.sub(r"^#+\s*|\*\*|__|`", "", line).strip()


def _is_echo(phrase: str, reading: _Reading) -> bool:
    """Return whether a phrase has no word that the question had not."""
    return all(_stem(w) in reading.stems or w in _FUNCTION_WORDS for w in _words(phrase))


def _distinct(candidates: Iterable[str]) -> list[str]:
    found: dict[str, str] = {}
    for candidate in candidates:
        for part in re.split(r",? \bor\b ", re.sub(r"^either ", "", candidate.strip())):
            if 0 < len(part.split()) <= LONGEST_ANSWER_WORDS and normalise_answer(part):
                found.setdefault(normalise_answer(part), part.strip(' .,;:*"“”'))
    return list(found.values())


def _without_echoes(candidates: Sequence[str], reading: _Reading) -> list[str]:
    """Return the candidates that add something; all of them where none does."""
    return [c for c in candidates if not _is_echo(c, reading)] or list(candidates)


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
_LABEL = re.compile(r"^(?P<key>[^:.!?]{2,40}):\s+(?P<x>[^:]+)$")


def _yes_no(reading: _Reading) -> list[str]:
    if not _YES_NO_QUESTION.match(reading.prompt) or not reading.lines:
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
    complement = _complement(said, reading) if len(said.split()) > 4 else ""
    return complement or _without_tail(said, reading)


def _bold(reading: _Reading) -> list[str]:
    spans = [m["x"] or m["y"] for line in reading.lines for m in _BOLD.finditer(line)]
    spans = [s for s in spans if not s.rstrip().endswith(":")]
    if all(_is_echo(s, reading) for s in spans) and reading.abstains:
        return []
    return [_answer_in(s, reading) for s in _without_echoes(spans, reading)]


def _label(reading: _Reading) -> list[str]:
    pairs = [(m["key"], m["x"]) for s in reading.sentences if (m := _LABEL.match(s))]
    matching = [x for key, x in pairs if {_stem(w) for w in _words(key)} & reading.stems]
    return _without_echoes(matching or [x for _, x in pairs], reading)


def _statement(reading: _Reading) -> list[str]:
    pronoun = _PRONOUN.match(reading.sentences[0]) if reading.sentences else None
    if pronoun and not reading.abstains:
        return [_without_tail(pronoun["x"], reading)]
    overlaps = [
        len({_stem(w) for w in _words(sentence)} & reading.stems) for sentence in reading.sentences
    ]
    most = max(overlaps, default=0)
    pairs = zip(overlaps, reading.sentences, strict=True)
    return [_complement(s, reading) for overlap, s in pairs if overlap == most and most > 0]


def _short_line(reading: _Reading) -> list[str]:
    def is_short(said: str) -> bool:
        is_clause = _VERB.search(said) or re.match(_SPEAKER, said)
        return len(said.split()) <= SHORT_WORDS and not is_clause

    whole = {_unmarked(line) for line in reading.lines}
    alone = [s for s in reading.sentences if s in whole and is_short(s)]
    quiet = [s for s in alone if not s.endswith(("!", ":"))] or alone
    return _without_echoes(quiet, reading) or [s for s in reading.sentences[:1] if is_short(s)]


_RULES: tuple[tuple[Rule, Callable[[_Reading], list[str]]], ...] = (
    (Rule.YES_NO, _yes_no),
    (Rule.MARKED, _marked),
    (Rule.BOLD, _bold),
    (Rule.LABEL, _label),
    (Rule.STATEMENT, _statement),
    (Rule.SHORT_LINE, _short_line),
)


# --- the complement of a sentence -----------------------------------------------------------------

_PREPOSITION = r"(?:in|as|for|at|by|to|on|from|of|with|into)"
_VERB = re.compile(
    r"(?:\s=\s|\b(?:is|are|was|were|be|became|becomes|equals?|gives?|makes?|has|had)\b"
    rf"|\b[a-z]+(?:s|ed)(?= (?:{_PREPOSITION}|the|a|an)\b)|(?<=\w)'s(?= (?:a|an|the|in)\b))"
)
_SPEAKER = r"(?:I|We|You|He|She|They|It|This|That|There|Many|Some)\b"
_PRONOUN = re.compile(
    r"^(?:it|that|this|s?he|they)(?:'s| is| was| would be)(?: that)? (?P<x>.+)$", re.I
)
_LEAD = re.compile(
    rf"^(?:{_PREPOSITION}|born|based|located|known|called|named|also|actually|indeed|probably|likely"
    r"|most|simply|just|currently|originally|possibly|perhaps|exactly|approximately|about|around"
    r"|[a-z]+ed(?= (?:in|as|for|at|by|to|on|from|of|with)\b)"
    r"|(?:the )?(?:town|city|village|state|country|year|company|firm|name|number|word|letters?)"
    r" (?:of|called|named)|the year)\s+"
)
_NAME = r"[A-Z][\w.&'-]*(?: (?:[A-Z][\w.&'-]*|of|the|and|de|von|van))*"
_ECHOED_VERB = re.compile(rf"^(?P<left>{_NAME}) (?P<verb>[a-z]{{3,}}) (?P<right>[^,]+?)\.?$")
_NAME_AT_END = re.compile(rf"^[a-z].*\b(?:{_PREPOSITION}|the) (?P<name>{_NAME})$")
_WANTS_NAME = re.compile(
    r"^(?:who\b|where\b|(?:in |on |for |at )?(?:which|what) "
    r"(?:city|town|country|place|company|river|person|state)\b|what is the "
    r"(?:name|birthplace|capital|employer|hometown|author)\b)",
    re.IGNORECASE,
)
_OFFER = re.compile(
    r"(?<=\w) (?=(?:Let me|I hope|I am|Feel free|Please|If you|Do not|Thank you|Is there|Would you"
    r"|Have a|Hope that|Happy to|As always|Remember,|Keep exploring|Good luck|Enjoy!|It is)\b)"
)
_CLAUSE = re.compile(
    r"[;:(!?—–]|\.$|\s-\s|,? \b(?:which|who|where|that|because|since|although|while|but|so"
    r"|according|based on"
    r"|and (?:he|she|it|they|is|was|has|had|also|\w+ed|works|lives|plays|comes))\b"
    r"|, (?=[a-z]+ )(?!and |or )"
)
_WHEN = re.compile(r" (?:in|on|at|since|from|around|during) (?:the year )?(?:[A-Z][a-z]+ )?\d.*$")
_ASIDE = re.compile(r", (?:who|which|where|whose)\b[^,]*(?:,|$)|\s*\([^)]*\)")
_WANTS_NUMBER = re.compile(
    r"\b(?:year|how (?:many|much|old)|sum|total|add|plus|minus|times|calculate|compute)\b"
    r"|\d\s*[-+*/×÷]\s*\d",
    re.IGNORECASE,
)


def _complement(sentence: str, reading: _Reading) -> str:
    """Return what a sentence says about what was asked, or "" where it has no such part."""
    plain = _ASIDE.sub(" ", sentence).strip()
    if _WANTS_NUMBER.search(reading.prompt) and (number := _only_new_number(plain, reading)):
        return number
    inverted = _ECHOED_VERB.match(plain)
    if inverted and _is_inverted(inverted, reading):
        return inverted["left"]
    for verb in _VERB.finditer(plain):
        left, right = plain[: verb.start()].strip(), plain[verb.end() :].strip(" .")
        if left and _restates(right, reading):
            return left
        if _mentions(left, reading):
            return _without_tail(right, reading)
    return ""


def _only_new_number(sentence: str, reading: _Reading) -> str:
    asked = set(normalise_answer(reading.prompt).split())
    said = normalise_answer(sentence).split()
    numbers = {w for w in said if re.fullmatch(r"-?\d+(?:\.\d+)?", w)} - asked
    return numbers.pop() if len(numbers) == 1 else ""


def _restates(right: str, reading: _Reading) -> bool:
    """Return whether what follows the verb only repeats the question: "Y is the home of X"."""
    words = [w for w in _words(right) if w not in _FUNCTION_WORDS]
    is_phrase = re.match(r"(?:the|where|what|who|which|one)\b", right) and len(words) > 1
    is_predicate = right == right.lower() and all(w.isalpha() and len(w) > 1 for w in words)
    return bool(words and (is_phrase or is_predicate) and _is_echo(right, reading))


def _is_inverted(parts: re.Match[str], reading: _Reading) -> bool:
    """Return whether a new name is put before the question's own verb: "Y wrote X"."""
    is_restated = _is_echo(parts["verb"], reading) and _is_echo(parts["right"], reading)
    return is_restated and not _is_echo(parts["left"], reading)


def _mentions(left: str, reading: _Reading) -> bool:
    words = set(_words(left))
    return bool({_stem(w) for w in words} & reading.stems or words & {"he", "she", "it", "they"})


def _without_tail(said: str, reading: _Reading) -> str:
    """Return the answer without what leads up to it and what is said beyond it."""
    said = said.strip("*_ ")
    while (lead := _LEAD.match(said)) or (lead := _echoed_word(said, reading)):
        said = said[lead.end() :]
    is_list = bool(re.match(r"\S+(?:, \S+)+$", said))
    said = said if is_list else _CLAUSE.split(said, maxsplit=1)[0]
    if not re.search(r"year|when|date", reading.prompt, re.IGNORECASE):
        said = _WHEN.sub("", said)
    if _WANTS_NAME.match(reading.prompt) and (name := _NAME_AT_END.match(said)):
        said = name["name"]
    if re.match(r"an? (?=[a-z])", said):
        said = re.split(r" (?:at|for|in|with|by|from|near|on)\b", said, maxsplit=1)[0]
    tail = re.search(rf" {_PREPOSITION} (?:the |a )?[\w ]+$", said)
    if tail and not said[tail.start() :].istitle() and _is_echo(tail.group(), reading):
        said = said[: tail.start()]
    return said.strip(" .,")


def _echoed_word(said: str, reading: _Reading) -> re.Match[str] | None:
    word = re.match(r"[a-z]{2,}\s+(?=\S)", said)
    is_echoed = word and _stem(word.group().strip()) in reading.stems
    return word if is_echoed else None
