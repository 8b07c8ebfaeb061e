"""What one sentence adds to a question: "Ada was born in Kelso." to "Where was Ada born?" is Kelso.

In: a sentence that repeats words of the question. Out: the part that is new. Words are compared by
a crude stem ("born", "birth" and "birthplace" count as one, as a few such families do), so the part
that is not new can be worded freely. Nothing here knows the accepted answers.
"""

from __future__ import annotations

import dataclasses
import functools
import re

from evals.answers import normalise_answer

__all__ = ["Question", "complement", "is_phrase", "wants_number", "without_tail"]

_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        """a an the of in on at by for to from with as and or is are was were be been being do does
        did has have had will would can could should may might must it its this that these those he
        she they his her their him them i you we me my your our who whom whose what which when where
        why how there here not no s also about around approximately probably likely most become
        becomes became equal equals give gives gave make makes made yield yields say says said
        stated thought believed claimed mentioned""",
    )
)
_RELATED = (
    {"born", "birth", "birthplac", "hometown", "nativ"},
    {"job", "occupation", "profession", "work", "career", "liv", "trad"},
    {"employ", "company", "work"},
    {"sum", "add", "plus", "total"},
)


@dataclasses.dataclass(frozen=True)
class Question:
    """A question, and the stems of what it already says."""

    prompt: str

    @functools.cached_property
    def stems(self) -> frozenset[str]:
        """Stems of its content words, with those of the families that they belong to."""
        own = {_stem(word) for word in _words(self.prompt) if word not in _FUNCTION_WORDS}
        return frozenset(own.union(*(group for group in _RELATED if group & own)))

    def overlap(self, text: str) -> int:
        """Return how many of the question's words a text repeats."""
        return len({_stem(word) for word in _words(text)} & self.stems)

    def is_echo(self, phrase: str) -> bool:
        """Return whether a phrase has no word that the question had not."""
        return all(word in _FUNCTION_WORDS or _stem(word) in self.stems for word in _words(phrase))


def complement(sentence: str, question: Question) -> str:
    """Return what a sentence says about what was asked, or "" where it has no such part.

    In turn: the one new date or number, where one is asked for; the first stretch of new words
    after what is repeated, or the one before it ("Y wrote X"); and where all words are the
    question's own, what follows the verb, or what precedes it where the rest only repeats the
    question.
    """
    plain = _ADVERB.sub("", _ASIDE.sub(" ", sentence).strip())
    asked = question.prompt
    date = _only_new_date(plain, question) if re.match(r"when\b", asked, re.I) else ""
    number = _only_new_number(plain, question) if wants_number(question) else ""
    return date or number or _new_stretch(plain, question) or _divided(plain, question)


def is_phrase(said: str, question: Question) -> bool:
    """Return whether a short text is a bare answer and no sentence: "W. Edwards Deming".

    A sentence has a finite verb: a common one, the question's own, or what looks like one behind a
    subject that the question named ("Ada lives in Kelso").
    """
    words = _TOKEN.findall(said)
    if not words or _FINITE.search(said) or _SPEAKER.match(said):
        return False
    repeats_verb = any(
        len(word) > 1 and word.islower() and not _is_function(word) and question.is_echo(word)
        for word in words[:-1]
    )
    has_subject = question.is_echo(words[0]) and _VERB.search(said)
    return not repeats_verb and not has_subject


def without_tail(said: str, question: Question) -> str:
    """Return the answer without what leads up to it and what is said beyond it."""
    said = said.strip("*_ ")
    while (lead := _LEAD.match(said)) or (lead := _echoed_word(said, question)):
        said = said[lead.end() :]
    is_list = bool(re.match(r"\S+(?:, \S+)+$", said))
    said = said if is_list else _CLAUSE.split(said, maxsplit=1)[0]
    if not re.search(r"year|when|date|century|period", question.prompt, re.IGNORECASE):
        said = _WHEN.sub("", said)
    if _WANTS_NAME.match(question.prompt) and (name := _NAME_AT_END.match(said)):
        said = name["name"]
    if re.match(r"an? (?=[a-z])", said):
        said = re.split(r" (?:at|for|in|with|by|from|near|on)\b", said, maxsplit=1)[0]
    tail = re.search(rf" {_PREPOSITION} (?:the |a )?[\w ]+$", said)
    if tail and not said[tail.start() :].istitle() and question.is_echo(tail.group()):
        said = said[: tail.start()]
    if _WANTS_NAME.match(question.prompt) or re.match(r"when\b", question.prompt, re.I):
        said = re.split(r" to (?=[a-z])", said, maxsplit=1)[0]
    return re.sub(r"\s+", " ", said).strip(" .,\"“”'")


# --- words ----------------------------------------------------------------------------------------


def _words(text: str) -> list[str]:
    return normalise_answer(text).split()


@functools.cache
def _stem(word: str) -> str:
    if len(word) > 4:
        word = re.sub(r"(?:ations?|ings?|ers?|ors?|ed|es|s|ly)$", "", word)
    return re.sub(r"(?<=\w{3})(?:e|y|i|s)$", "", word)


# --- where all is new, or nothing -----------------------------------------------------------------

_TOKEN = re.compile(r"[\w$€£%°#+]+(?:[-'.,/&][\w$€£%]+)*")
_QUOTED = re.compile(r"\"[^\"]+\"|“[^”]+”")
_NAME_BEFORE = re.compile(r"(?:(?<=[\w,] )[A-Z][\w.&'-]* (?:of (?:the )?)?)+$")
_NAME_AFTER = re.compile(r"(?: (?:of |of the )?[A-Z][\w&'-]*)+")
_BARE_VERB = re.compile(r"[a-z]+(?:ed|ly)")


@dataclasses.dataclass(frozen=True)
class _Stretch:
    """New words from character `start` to `end`; whether words of the question stand around."""

    start: int
    end: int
    before: str
    after: str


def _new_stretch(sentence: str, question: Question) -> str:
    """Return the stretch of new words that answers, or "" where no word is new."""
    stretches = _stretches(sentence, question)
    telling = [s for s in stretches if not _BARE_VERB.fullmatch(sentence[s.start : s.end])]
    if not telling:
        return ""
    first, *rest = telling
    is_chosen = first.before or not rest or _is_subject(sentence, first, question)
    return _without_verb(sentence, first if is_chosen else rest[0], question)


def _stretches(sentence: str, question: Question) -> list[_Stretch]:
    """Return maximal stretches of words that are not the question's; function words may join."""
    found: list[_Stretch] = []
    start, end, before = -1, -1, ""
    for token in _TOKEN.finditer(sentence):
        word = token.group()
        if _is_function(word):
            continue
        if not question.is_echo(word):
            start, end = (token.start() if start < 0 else start), token.end()
            continue
        if start >= 0:
            found.append(_whole_name(sentence, _Stretch(start, end, before, word)))
        start, before = -1, word
    if start >= 0:
        found.append(_whole_name(sentence, _Stretch(start, end, before, "")))
    return found


def _whole_name(sentence: str, stretch: _Stretch) -> _Stretch:
    """Return a stretch with the rest of its quoted span or name: "Super Bowl" before "XLIV"."""
    start, end = stretch.start, stretch.end
    for quote in _QUOTED.finditer(sentence):
        if quote.start() <= start and end <= quote.end():
            return dataclasses.replace(stretch, start=quote.start(), end=quote.end())
    if sentence[start].isupper() and (lead := _NAME_BEFORE.search(sentence[:start])):
        start = lead.start()
    last_word = sentence[:end].split()[-1]
    if last_word[0].isupper() and (rest := _NAME_AFTER.match(sentence, end)):
        end = rest.end()
    return dataclasses.replace(stretch, start=start, end=end)


def _is_function(word: str) -> bool:
    return all(part in _FUNCTION_WORDS for part in _words(word))


def _is_subject(sentence: str, stretch: _Stretch, question: Question) -> bool:
    """Return whether new words before all others answer: "Y wrote X", "Y was given to X"."""
    asks_for_subject = re.match(r"(?:in |on )?(?:who|which|what)\b", question.prompt, re.I)
    following = _TOKEN.search(sentence, stretch.end)
    is_verb = following and re.match(rf"(?!{_PREPOSITION}\b)[a-z]", following.group())
    return bool(asks_for_subject and is_verb)


def _without_verb(sentence: str, stretch: _Stretch, question: Question) -> str:
    """Return a stretch without the verb that ties it to its subject: "[Ada] works as a baker"."""
    article = re.search(r"\ban? $", sentence[: stretch.start])
    said = (article.group() if article else "") + sentence[stretch.start : stretch.end]
    lead_up = sentence[: stretch.start].rstrip()
    last = _TOKEN.findall(lead_up)[-1:] if stretch.before else []
    verb = re.match(r"[a-z]{3,}\s+(?=\S)", said)
    if last and verb and last[0] == stretch.before and lead_up.endswith(last[0]):
        said = said[verb.end() :]
    return without_tail(said, question)


# --- where every word is the question's own -------------------------------------------------------

_FINITE = re.compile(r"\b(?:is|are|was|were|be|became|becomes|has|had|have|do|does|did)\b| = ")
_SPEAKER = re.compile(r"(?:I|We|You|He|She|They|It|This|That|There|Many|Some)(?=[ ']|$)")
_PREPOSITION = r"(?:in|as|for|at|by|to|on|from|of|with|into)"
_VERB = re.compile(
    r"(?:\s=\s|\b(?:is|are|was|were|be|became|becomes|equals?|gives?|makes?|has|had)\b"
    rf"|\b[a-z]+(?:s|ed)(?= (?:{_PREPOSITION}|the|a|an)\b)|(?<=\w)'s(?= (?:a|an|the|in)\b))"
)


def _divided(sentence: str, question: Question) -> str:
    """Return what follows a sentence's verb, or what precedes it: "9 is the largest of 3 and 9"."""
    for verb in _VERB.finditer(sentence):
        left, right = sentence[: verb.start()].strip(), sentence[verb.end() :].strip(" .")
        if left and _restates(right, question):
            return left
        if question.overlap(left) or set(_words(left)) & {"he", "she", "it", "they"}:
            return without_tail(right, question)
    return ""


def _restates(right: str, question: Question) -> bool:
    """Return whether what follows the verb only repeats the question: "Y is the home of X"."""
    words = [word for word in _words(right) if word not in _FUNCTION_WORDS]
    is_phrase = re.match(r"(?:the|where|what|who|which|one)\b", right) and len(words) > 1
    is_predicate = right == right.lower() and all(w.isalpha() and len(w) > 1 for w in words)
    return bool(words and (is_phrase or is_predicate) and question.is_echo(right))


# --- trimming -------------------------------------------------------------------------------------

_LEAD = re.compile(
    rf"^(?:{_PREPOSITION} |(?:the|born|based|located|known|called|named|also|actually|indeed) "
    r"|(?:probably|likely|most|simply|just|currently|originally|possibly|perhaps|exactly) "
    r"|(?:approximately|about|around|primarily|mainly|year) "
    r"|(?:[a-z]+ed|written|made|given|held|taken|led|won|found|built) "
    rf"(?={_PREPOSITION} )"
    r"|(?:the )?(?:town|city|village|state|country|year|company|firm|name|number|word|letters?)"
    r" (?:of|called|named) )"
)
_NAME = r"[A-Z][\w.&'-]*(?: (?:[A-Z][\w.&'-]*|of|the|and|de|von|van))*"
_NAME_AT_END = re.compile(rf"^[a-z].*\b(?:{_PREPOSITION}|the) (?P<name>{_NAME})$")
_WANTS_NAME = re.compile(
    r"^(?:who\b|where\b|(?:in |on |for |at )?(?:which|what) "
    r"(?:city|town|country|place|company|river|person|state)\b|what is the "
    r"(?:name|birthplace|capital|employer|hometown|author)\b)",
    re.IGNORECASE,
)
_CLAUSE = re.compile(
    r"[;:(!?—–]|\.$|\s-\s|,? \b(?:which|who|where|that|because|since|although|while|but|so"
    r"|according|based on|due to|with (?:a|an|the)"
    r"|and (?:he|she|it|they|is|was|has|had|also|\w+ed|works|lives|plays|comes))\b"
    r"|, (?=[a-z]+ )(?!and |or )"
)
_WHEN = re.compile(r" (?:in|on|at|since|from|around|during) (?:the year )?(?:[A-Z][a-z]+ )?\d.*$")
_ASIDE = re.compile(r", (?:who|which|where|whose)\b[^,]*(?:,|$)|\s*\([^)]*\)")
_ADVERB = re.compile(r"^[A-Z][a-z]+(?:ed|ly), ")
_DATE = re.compile(
    r"(?:(?:early|mid|late) )?(?:\d{1,2}(?:st|nd|rd|th)? )?(?:of )?(?:[A-Z][a-z]+ )?"
    r"(?:\d{1,2}(?:st|nd|rd|th)?,? )?\b\d{3,4}s?\b"
)
_WANTS_NUMBER = re.compile(
    r"\b(?:year|how (?:many|much|old)|sum|total|add|plus|minus|times|calculate|compute)\b"
    r"|\d\s*[-+*/×÷]\s*\d",
    re.IGNORECASE,
)


def wants_number(question: Question) -> bool:
    """Return whether a question asks for a number."""
    return bool(_WANTS_NUMBER.search(question.prompt))


def _only_new_number(sentence: str, question: Question) -> str:
    asked, said = set(_words(question.prompt)), _words(sentence)
    numbers = {word for word in said if re.fullmatch(r"-?\d+(?:\.\d+)?", word)} - asked
    return numbers.pop() if len(numbers) == 1 else ""


def _only_new_date(sentence: str, question: Question) -> str:
    dates = {date.strip() for date in _DATE.findall(sentence) if not question.is_echo(date)}
    return dates.pop() if len(dates) == 1 else ""


def _echoed_word(said: str, question: Question) -> re.Match[str] | None:
    word = re.match(r"[a-z]{2,}\s+(?=\S)", said)
    is_echoed = word and _stem(word.group().strip()) in question.stems
    return word if is_echoed else None
