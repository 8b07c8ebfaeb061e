"""Shared fixtures: a real tiny Llama with its tokenizer, and a real PEFT adapter for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from distilljobs import Runner
from fakeserver import KEY, FakeServer, Script

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<|pad|>", "<|endoftext|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "Q: What is the capital of France?\nA: Paris\n",
    "Sure! Here is a short answer: the river runs through the town of Oakford.",
    "one two three four five six seven eight nine ten 0 1 2 3 4 5 6 7 8 9",
)


def build_tokenizer(folder: Path, *, chat_template: str | None = CHAT_TEMPLATE) -> None:
    """Write a byte-level BPE tokenizer of about 400 words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<|pad|>",
        eos_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(folder)


def build_model(folder: Path, *, seed: int = 0, hidden_size: int = 64, context: int = 128) -> Path:
    """Write a random two-layer Llama with its tokenizer; its logits are spread, as trained ones."""
    import torch
    from transformers import AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM

    build_tokenizer(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=hidden_size,
                intermediate_size=2 * hidden_size,
                num_hidden_layers=2,
                num_attention_heads=hidden_size // 32,
                num_key_value_heads=1,
                max_position_embeddings=context,
                initializer_range=0.2,
                bos_token_id=None,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
                tie_word_embeddings=True,
            )
        )
    stops = [tokenizer.convert_tokens_to_ids(token) for token in ("<|endoftext|>", "<|end|>")]
    model.generation_config = GenerationConfig(
        eos_token_id=stops, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(folder)
    return folder


def build_adapter(base: Path, folder: Path, *, seed: int = 1, scale: float = 0.2) -> Path:
    """Write a random rank-4 LoRA adapter that changes what its base says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        peft = get_peft_model(
            model,
            LoraConfig(
                r=4,
                lora_alpha=8,
                target_modules=["q_proj", "v_proj", "down_proj"],
                task_type="CAUSAL_LM",
            ),
        )
        for name, parameter in peft.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=scale)
    peft.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random Llama of 0.1M parameters, context 128, with a chat template."""
    return build_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def tiny_adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a PEFT adapter for `tiny_model`."""
    return build_adapter(tiny_model, tmp_path_factory.mktemp("adapter") / "adapter")


@pytest.fixture(scope="session")
def make_adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Build further adapters for `tiny_model`, such as `make_adapter(seed=7)`."""

    def make(**options: float) -> Path:
        folder = tmp_path_factory.mktemp("adapter") / "adapter"
        return build_adapter(tiny_model, folder, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def serve() -> Iterator[Callable[[Script], FakeServer]]:
    """Start servers that answer by script, and stop them afterwards."""
    servers: list[FakeServer] = []

    def start(script: Script) -> FakeServer:
        servers.append(FakeServer(script))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def runner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Runner:
    """Run distillation jobs in a folder of their own, with a teacher's key at hand."""
    monkeypatch.setenv("TEACHER_KEY", KEY)
    monkeypatch.setenv("IMITATE_CACHE", str(tmp_path / "cache"))
    return Runner(tmp_path, capsys)
