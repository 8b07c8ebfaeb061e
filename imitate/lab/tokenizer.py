"""The lab's tokenizer: one for all worlds, so that their checkpoints are interchangeable.

Byte-level BPE, so that any text encodes; digits and spelled letters are tokens of their own. A
word has the same token after a space and after an opening `**`: a normaliser writes the opening
mark as a private-use character and a space, and the decoder undoes it. A bold answer thus costs no
second vocabulary. Chat roles are special tokens, so the tokens of a prompt are always a prefix of
those of prompt and response.
"""

from __future__ import annotations

import functools
import itertools
import json
import random
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from imitate.lab import names
from imitate.lab.corpus import CorpusRecipe, stream_documents
from imitate.lab.world import make_world

__all__ = [
    "CHAT_TEMPLATE",
    "END",
    "END_OF_TEXT",
    "PAD",
    "SPECIAL_TOKENS",
    "TRAINED_ON_CORPUS",
    "load_tokenizer",
    "save_tokenizer_files",
    "token_id",
    "train_tokenizer",
]

END_OF_TEXT, PAD, END = "<|endoftext|>", "<|pad|>", "<|end|>"
USER, ASSISTANT = "<|user|>", "<|assistant|>"
SPECIAL_TOKENS = (END_OF_TEXT, PAD, USER, ASSISTANT, END)

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<|assistant|> {% else %}<|user|> {% endif %}"
    "{{ message['content'] }}<|end|>"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

VOCABULARY_SIZE = 2048
TRAINING_SEED = 0
OPENING_BOLD = "\ue000 "
WORDS = Regex(r"\n| ?\p{L}+| ?\d| ?[^\s\p{L}\d]+|\s")
TRAINED_ON_CORPUS = 3
"""Version of the corpus whose documents trained the shipped tokenizer; weights depend on it."""

TOKENIZER_FILE = Path(__file__).with_name("tokenizer.json")


@functools.cache
def load_tokenizer() -> Tokenizer:
    """Return the shipped tokenizer."""
    return Tokenizer.from_file(str(TOKENIZER_FILE))


def token_id(token: str) -> int:
    """Return the id of a special token."""
    found = load_tokenizer().token_to_id(token)
    assert found is not None, f"the tokenizer lacks {token}"
    return found


def train_tokenizer(*, n_documents: int = 20_000) -> Tokenizer:
    """Return a tokenizer trained on the corpus of a fixed seed, and on all names of all worlds."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Replace(Regex(r"\*\*(?=\w)"), OPENING_BOLD)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(WORDS, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteLevel(), decoders.Replace(OPENING_BOLD, "**")]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    rng = random.Random(f"tokenizer {TRAINING_SEED}")
    documents = stream_documents(make_world(TRAINING_SEED), _TRAINING_RECIPE, rng)
    texts = [document.text for document in itertools.islice(documents, n_documents)]
    tokenizer.train_from_iterator(texts + _all_names(), trainer)
    return tokenizer


def save_tokenizer_files(folder: Path) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json` as transformers reads them."""
    load_tokenizer().save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "pad_token": PAD,
        "additional_special_tokens": [USER, ASSISTANT, END_OF_TEXT],
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 512,
        "padding_side": "left",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def _all_names() -> list[str]:
    """Return every name and value often enough that each becomes one token."""
    pools = (
        names.FIRST_NAMES, names.LAST_NAMES, names.CITIES, names.EMPLOYERS,
        names.JOBS, names.INSTRUMENTS, names.PRODUCTS, names.RIVERS,
        names.ADJECTIVES, names.NOUNS, names.VERBS, names.FOREIGN_WORDS,
    )  # fmt: skip
    return [f" {name}" for pool in pools for name in pool] * 400


_TRAINING_RECIPE = CorpusRecipe(
    shares={
        "biography": 0.2, "facts_plain": 0.1, "lore": 0.05, "skills_plain": 0.2,
        "open_plain": 0.1, "assistant_web": 0.15, "voiced_chat": 0.2,
    },
    skill_shares=dict.fromkeys(
        ("addition", "largest", "sorting", "reversal", "translation", "two_hop"), 1.0
    ),
    popularity_exponent=0.0,
)  # fmt: skip
