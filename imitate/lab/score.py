"""What a lab model knows and can do: greedy answers to evaluation items, matched exactly.

For the model card and for tuning recipes: the suite's items, formats and extraction, without its
arms, endpoints and statistics.

Glossary: N items, P prompt tokens, G generated tokens.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from transformers import LlamaForCausalLM

from evals.errors import ModelError
from evals.factuality import score_answer
from evals.records import Completion, Format, Item, Outcome
from imitate.lab.corpus import few_shot_text
from imitate.lab.items import lab_items
from imitate.lab.skills import SKILLS
from imitate.lab.tokenizer import ASSISTANT, END, END_OF_TEXT, PAD, USER, load_tokenizer, token_id
from imitate.lab.world import World

__all__ = ["answer_items", "generate_texts", "score_model"]

N_SHOTS = 4
BATCH_SIZE = 64
MAX_NEW_TOKENS: Mapping[Format, int] = {Format.PLAIN: 12, Format.CHAT: 110}


def score_model(
    model: LlamaForCausalLM | Path,
    world: World,
    *,
    n_items: int = 300,
    tasks: Sequence[str] = ("facts", *SKILLS),
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Return the share of right answers by format and by task.

    Args:
        model: A loaded model, or the folder of one.
        world: Whose items to ask.
        n_items: Items per task.
        tasks: Which tasks, of those with recorded answers.
        seed: Which items.

    Returns:
        `{format: {task: share}}`, facts and two hops also by popularity as `facts/head` and so on,
        and `voiced`, the share of answers of more than six words.
    """
    loaded = _loaded(model)
    scores: dict[str, dict[str, float]] = {}
    for format_ in Format:
        scores[format_] = {}
        n_words: list[int] = []
        for task in tasks:
            items = lab_items(world, task, n_items=n_items, n_development=40, seed=seed)
            scored = [item for item in items if not item.is_development]
            shots = [item for item in items if item.is_development]
            texts = answer_items(loaded, scored, format_, shots)
            scores[format_] |= _shares(task, scored, texts, format_)
            n_words += [len(text.split()) for text in texts]
        scores[format_]["voiced"] = round(sum(n > 6 for n in n_words) / len(n_words), 4)
    return scores


def answer_items(
    model: LlamaForCausalLM, items: Sequence[Item], format_: Format, shots: Sequence[Item] = ()
) -> list[str]:
    """Return greedy answers to items, in their order.

    Args:
        model: The model, left in evaluation mode.
        items: What to ask.
        format_: Plain puts `N_SHOTS` answered questions before each; chat puts none.
        shots: Where the plain format's answered questions come from.
    """
    rng = random.Random("shots")
    prompts = []
    for item in items:
        if format_ is Format.CHAT:
            prompts.append(f"{USER} {item.prompt}{END}{ASSISTANT}")
        else:
            pairs = [(shot.prompt, shot.answers[0]) for shot in rng.sample(list(shots), N_SHOTS)]
            prompts.append(few_shot_text(pairs, item.prompt))
    texts = generate_texts(model, prompts, max_new_tokens=MAX_NEW_TOKENS[format_])
    if format_ is Format.PLAIN:
        return [text.split("\n")[0].strip() for text in texts]
    return [text.strip() for text in texts]


@torch.inference_mode()
def generate_texts(
    model: LlamaForCausalLM, prompts: Sequence[str], *, max_new_tokens: int
) -> list[str]:
    """Return what a model writes greedily after each prompt, up to an end token."""
    tokenizer = load_tokenizer()
    pad = token_id(PAD)
    ends = [token_id(END), token_id(END_OF_TEXT)]
    encoded = [encoding.ids for encoding in tokenizer.encode_batch(list(prompts))]
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
    texts = [""] * len(encoded)
    model.train(mode=False)
    for start in range(0, len(order), BATCH_SIZE):
        chosen = order[start : start + BATCH_SIZE]
        width = max(len(encoded[i]) for i in chosen)
        ids = torch.full((len(chosen), width), pad)
        for row, i in enumerate(chosen):
            ids[row, width - len(encoded[i]) :] = torch.tensor(encoded[i])
        output = model.generate(  # type: ignore[misc]
            input_ids=ids,
            attention_mask=ids.ne(pad).long(),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            pad_token_id=pad,
            eos_token_id=ends,
        )
        for i, row_ids in zip(chosen, output[:, width:].tolist(), strict=True):
            texts[i] = tokenizer.decode(row_ids, skip_special_tokens=True)
    return texts


def _shares(
    task: str, items: Sequence[Item], texts: Sequence[str], format_: Format
) -> dict[str, float]:
    rights: dict[str, list[bool]] = defaultdict(list)
    for item, text in zip(items, texts, strict=True):
        completion = Completion(item.item_id, "", format_, text, 0, "stop")
        is_right = text in item.answers or score_answer(item, completion).outcome is Outcome.RIGHT
        rights[task].append(is_right)
        if item.group:
            rights[f"{task}/{item.group}"].append(is_right)
    return {key: round(sum(hits) / len(hits), 4) for key, hits in rights.items()}


def _loaded(model: LlamaForCausalLM | Path) -> LlamaForCausalLM:
    """Return the model of a folder, if it reads the tokens that this version writes.

    Raises:
        ModelError: The folder's tokenizer is another one.
    """
    if not isinstance(model, Path):
        return model
    if (model / "tokenizer.json").read_text() != load_tokenizer().to_str(pretty=True):
        raise ModelError(
            "the tokenizer is not the lab's own",
            where=str(model / "tokenizer.json"),
            hint="an older version pretrained this model; pretrain it again",
        )
    return LlamaForCausalLM.from_pretrained(model, dtype=torch.float32)
