"""The OpenAI protocol's JSON: prompts -> request bodies, reply bodies -> answers.

A remote server keeps its chat template to itself, so a chat travels as its messages: in a prompt it
is written as JSON behind `CHAT_MARK`, two control characters around a word, with which no text
begins. Prompts so marked go to `/chat/completions`, all others as they are to `/completions`.
Whoever holds the server's tokenizer may send token ids instead, which leaves nothing to the
server's own reading of a text.

Sources: OpenAI API reference, "Create chat completion" and "Create completion (legacy)"; vLLM's
server follows both. `echo` with `logprobs` is of the second, and few hosted servers still take it;
`prompt_logprobs` and `stop_token_ids` are vLLM's own.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from evals.endpoint import Message, Sampling
from evals.errors import EndpointError
from evals.ledger import Usage
from evals.transport import CallError, Fault

__all__ = [
    "CHAT_MARK",
    "Request",
    "is_refusal",
    "read_generation",
    "read_logprobs",
    "read_token_logprobs",
    "read_tokens",
    "read_usage",
    "render_messages",
    "request_generation",
    "request_logprobs",
    "request_token_logprobs",
    "request_tokens",
]

CHAT_MARK = "\x02chat\x03"

_KEY_VERSION = 2
"""Part of every digest: raise it where the same reply is read differently."""

_BYTES_PER_TOKEN = 3
"""For estimates before the server has counted; English text has about four."""

_FINISH_REASONS = {
    "stop": "stop",
    "stop_sequence": "stop",
    "end_turn": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "length": "length",
    "max_tokens": "length",
}
"""The protocol's two words, and what servers that translate from others let through."""


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked: a path below the server's URL, and the JSON body for it.

    Where the end of the prompt is to be scored, `continuation` is its text, or `starts` the offsets
    of its tokens; both are empty where an answer is wanted.
    """

    path: str
    body: dict[str, Any]
    continuation: str = ""
    starts: tuple[int, ...] = ()

    @property
    def is_scoring(self) -> bool:
        """Whether a given text is scored, and no answer wanted."""
        return bool(self.continuation or self.starts)

    @property
    def model(self) -> str:
        """The model's name on the server."""
        return str(self.body["model"])

    @property
    def digest(self) -> str:
        """Identity of the request: all that decides its answer, whichever host gives it."""
        asked = [_KEY_VERSION, self.path, self.body, self.continuation, self.starts]
        text = json.dumps(asked, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def at_most(self) -> Usage:
        """Tokens that it may take: the prompt by estimate, the answer by its limit."""
        prompt = self.body.get("prompt") or json.dumps(self.body.get("messages"))
        n_prompt = _estimate_tokens(prompt) if isinstance(prompt, str) else len(prompt)
        return Usage(n_prompt, int(self.body["max_tokens"]))


def render_messages(messages: Sequence[Message]) -> str:
    """Return a chat as prompt text that `request_generation` recognises."""
    return CHAT_MARK + json.dumps(list(messages), ensure_ascii=False)


def request_generation(model: str, prompt: str, sampling: Sampling) -> Request:
    """Return the request for one answer.

    Raises:
        EndpointError: The answer to a chat is begun already, which only the server could render.
    """
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
    }
    body |= _constraints(sampling)
    if prompt.startswith(CHAT_MARK):
        messages, end = json.JSONDecoder().raw_decode(prompt, len(CHAT_MARK))
        if end < len(prompt):
            raise EndpointError(
                f"the server renders chats itself, so none can be begun with {prompt[end:]!r} in "
                "the assistant's name (`gen_prefix` of an lm-eval task): ask in the plain format, "
                "or serve the model in process"
            )
        return Request("/chat/completions", body | {"messages": messages})
    return Request("/completions", body | {"prompt": prompt})


def request_logprobs(model: str, context: str, continuation: str) -> Request:
    """Return the request for the log-probabilities of a text's tokens.

    Raises:
        EndpointError: The continuation is empty, or the context is a chat, whose text only the
            server knows.
    """
    if not continuation:
        raise EndpointError("an empty continuation has no score")
    if context.startswith(CHAT_MARK):
        raise EndpointError(
            "log-probabilities in a chat need the chat template, which the server keeps to "
            "itself: score in the plain format, or serve the model in process"
        )
    body = {
        "model": model,
        "prompt": context + continuation,
        "max_tokens": 1,  # 0 is refused by some servers; the token is cut off again
        "temperature": 0.0,
        "echo": True,
        "logprobs": 1,
    }
    return Request("/completions", body, continuation)


def request_tokens(
    model: str, ids: Sequence[int], sampling: Sampling, stop_ids: Sequence[int]
) -> Request:
    """Return the request for one answer to a prompt of token ids; `stop_ids` end it as well."""
    body: dict[str, Any] = {
        "model": model,
        "prompt": list(ids),
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        "stop_token_ids": list(stop_ids),
        "return_token_ids": True,
    }
    return Request("/completions", body | _constraints(sampling))


def request_token_logprobs(model: str, ids: Sequence[int], starts: Sequence[int]) -> Request:
    """Return the request for the log-probabilities of a prompt's last `len(starts)` tokens."""
    body = {
        "model": model,
        "prompt": list(ids),
        "max_tokens": 1,
        "temperature": 0.0,
        "prompt_logprobs": 1,
    }
    return Request("/completions", body, starts=tuple(starts))


def read_generation(request: Request, reply: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a `Generation`.

    An answer that the server's filter withheld has failed: the model did not say it.

    Raises:
        CallError: The reply has no answer in it.
    """
    text = _text(reply)
    told = _choice(reply).get("finish_reason")
    reason = _FINISH_REASONS.get(str(told), "error")
    n_tokens = read_usage(request, reply).completion_tokens
    error = "" if reason != "error" else f"the server ended the answer with `{told}`"
    answer = {"text": text, "n_tokens": n_tokens, "finish_reason": reason, "error": error}
    return answer | {"is_refused": _was_refused(_choice(reply))}


def read_logprobs(request: Request, reply: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a `TokenLogprobs`, as lists.

    The continuation's tokens are found from the end, by their text: the offsets that a server tells
    also count a first token that is no text. Spaces that end the context, and a token across the
    border, are the continuation's, as in process and in lm-eval.

    Raises:
        EndpointError: The server does not score prompts.
    """
    found = _choice(reply).get("logprobs")
    tokens = [token or "" for token in _column(found, "tokens", str)]
    n_prompt = _usage(reply).get("prompt_tokens", len(tokens) - 1)
    first, starts = _align(tokens[:n_prompt], *_scored(request))
    logprobs = _column(found, "token_logprobs", float | int)[first:n_prompt]
    best = _column(found, "top_logprobs", dict)[first:n_prompt]
    if not len(logprobs) == len(best) == len(starts) or None in logprobs or None in best:
        raise EndpointError(
            "the server gave no log-probability for every token; "
            "the first token of a text has none, so a context is needed"
        )
    behind = [max(*top.values(), one) - one for one, top in zip(logprobs, best, strict=True)]
    is_top = [lag == 0 for lag in behind]
    return {"logprobs": logprobs, "starts": starts, "is_top": is_top, "behind": behind}


def read_tokens(request: Request, reply: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a `Generation`, and `ids`: the answer's tokens, as vLLM tells them."""
    ids = _choice(reply).get("token_ids")
    return read_generation(request, reply) | {"ids": ids if isinstance(ids, list) else None}


def read_token_logprobs(request: Request, reply: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a `TokenLogprobs`, as lists.

    Raises:
        EndpointError: The server does not score prompts of token ids.
    """
    n_scored = len(request.starts)
    scored = _choice(reply).get("prompt_logprobs")
    columns = scored[-n_scored:] if isinstance(scored, list) else []
    ids = request.body["prompt"][-n_scored:]
    told = [
        found.get(str(one), {}) if isinstance(found, dict) else {}
        for one, found in zip(ids, columns, strict=False)
    ]
    logprobs = [one.get("logprob") for one in told]
    if len(logprobs) != n_scored or not all(isinstance(one, float | int) for one in logprobs):
        raise EndpointError(
            "the server gave no log-probability for every token: it must be one of vLLM's, which "
            "take token ids and `prompt_logprobs`"
        )
    best = [max(one["logprob"] for one in found.values()) for found in columns]
    return {
        "logprobs": logprobs,
        "starts": list(request.starts),
        "is_top": [one.get("rank") == 1 for one in told],
        "behind": [top - one for top, one in zip(best, logprobs, strict=True)],
    }


def read_usage(request: Request, reply: dict[str, Any]) -> Usage:
    """Return the tokens that the server counted, or an estimate where it did not."""
    told = _usage(reply)
    prompt, completion = told.get("prompt_tokens"), told.get("completion_tokens")
    if prompt is None:
        prompt = request.at_most.prompt_tokens
    if completion is None:
        completion = _estimate_tokens(_text(reply))
    return Usage(prompt, completion)


def is_refusal(reply: dict[str, Any]) -> bool:
    """Return whether an answer is empty, refused or filtered by the server."""
    return _was_refused(_choice(reply)) or not _text(reply).strip()


def _constraints(sampling: Sampling) -> dict[str, Any]:
    """Return what ends an answer, and the form that it must have."""
    found: dict[str, Any] = {"stop": list(sampling.stop)} if sampling.stop else {}
    if sampling.json_schema:
        schema = {"name": "answer", "schema": json.loads(sampling.json_schema), "strict": True}
        found["response_format"] = {"type": "json_schema", "json_schema": schema}
    return found


def _was_refused(choice: dict[str, Any]) -> bool:
    message = choice.get("message")
    is_refused = isinstance(message, dict) and bool(message.get("refusal"))
    return is_refused or choice.get("finish_reason") == "content_filter"


def _choice(reply: dict[str, Any]) -> dict[str, Any]:
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise _unreadable("choices", reply)
    return choices[0]


def _usage(reply: dict[str, Any]) -> dict[str, int]:
    """Return the token counts that the server told."""
    told = reply.get("usage")
    counts = told if isinstance(told, dict) else {}
    return {name: n for name, n in counts.items() if isinstance(n, int) and n >= 0}


def _column(logprobs: Any, name: str, kind: Any) -> list[Any]:
    """Return one list of a reply's log-probabilities, with `None` for what is not of its kind."""
    column = logprobs.get(name) if isinstance(logprobs, dict) else None
    values = column if isinstance(column, list) else []
    return [value if isinstance(value, kind) and value != {} else None for value in values]


def _text(reply: dict[str, Any]) -> str:
    """Return an answer's text; a refusal that the server sets apart is the answer."""
    choice = _choice(reply)
    message = choice.get("message")
    if isinstance(message, dict):
        text = message.get("content") or message.get("refusal") or ""
    else:
        text = choice.get("text")
    if not isinstance(text, str):
        raise _unreadable("text", reply)
    return text.encode("utf-8", errors="replace").decode("utf-8")  # lone surrogates fit no file


def _unreadable(what: str, reply: dict[str, Any]) -> CallError:
    keys = ", ".join(f"`{key}`" for key in list(reply)[:8]) or "nothing"
    return CallError(Fault(f"the server's reply has no readable `{what}`; it has {keys}"))


def _scored(request: Request) -> tuple[str, int]:
    """Return the text whose tokens are scored, and how many spaces of the context open it."""
    context = str(request.body["prompt"]).removesuffix(request.continuation)
    spaces = context[len(context.rstrip()) :]
    return spaces + request.continuation, len(spaces)


def _align(tokens: Sequence[str], scored: str, n_spaces: int) -> tuple[int, list[int]]:
    """Return the index of the scored text's first token, and all starts in the continuation."""
    starts: list[int] = []
    n_left = len(scored)
    index = len(tokens)
    while index > 0 and (n_left > 0 or not tokens[index - 1]):
        index -= 1  # a token without text is the first bytes of the next one's character
        n_left -= len(tokens[index])
        starts.insert(0, max(0, n_left - n_spaces))
    if not "".join(tokens[index:]).endswith(scored):
        raise EndpointError(
            "the server did not return the prompt's tokens: it does not score prompts "
            "(`echo` with `logprobs` on /completions), or spells them in another way"
        )
    return index, starts


def _estimate_tokens(text: str) -> int:
    return -(-len(text.encode("utf-8", errors="replace")) // _BYTES_PER_TOKEN)
