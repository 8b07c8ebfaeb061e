"""The in-process engine against transformers' own generation and forward pass."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from evals.endpoint import BASE, Sampling
from evals.errors import EndpointError, ModelError, RunError
from imitate import engine as engine_module
from imitate.adapters import Adapters
from imitate.config import ServeConfig
from imitate.decoding import batches_within
from imitate.engine import Engine
from imitate.models import load_model, load_tokenizer, resolve_model
from imitate.network import Network, fill
from imitate.serve import open_endpoint

SHOTS = "Q: What is the capital of France?\nA: Paris\nQ: What is two and two?\nA: four\n"
PROMPTS = [
    "The quick brown",
    "Q:",
    SHOTS + "Q: What is the fox?\nA:",
    SHOTS + "Q: Where is the river, and which town does it run through?\nA:",
    "one two three four five six",
]


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(resolve_model(str(tiny_model)))


def make_engine(
    base: Path,
    adapters: dict[str, Path] | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    batch_tokens: int = 4096,
    merge_adapters: bool = True,
) -> Engine:
    ref = resolve_model(str(base))
    return Engine(
        ref,
        load_tokenizer(ref),
        adapters or {},
        dtype=dtype,
        batch_tokens=batch_tokens,
        merge_adapters=merge_adapters,
    )


@pytest.fixture(scope="module")
def engine(tiny_model: Path, tiny_adapter: Path) -> Engine:
    return make_engine(tiny_model, {"imitator": tiny_adapter})


def reference_model(base: Path, adapter: Path | None = None) -> torch.nn.Module:
    model = AutoModelForCausalLM.from_pretrained(base).eval()
    return model if adapter is None else PeftModel.from_pretrained(model, adapter).eval()


def reference_answer(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, prompt: str, n: int
) -> list[int]:
    """Greedy decoding as its definition says: no cache, no batch, no padding."""
    ids = tokenizer(prompt)["input_ids"]
    drawn: list[int] = []
    ends = {1, 2}
    with torch.no_grad():
        while len(drawn) < n and not (drawn and drawn[-1] in ends):
            logits = model(input_ids=torch.tensor([ids + drawn])).logits[0, -1]
            drawn.append(int(logits.argmax()))
    return drawn


def reference_logprobs(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, context: str, continuation: str
) -> tuple[list[float], bool]:
    before = tokenizer(context)["input_ids"]
    ids = tokenizer(context + continuation)["input_ids"]
    with torch.no_grad():
        logprobs = model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
    places = range(len(before), len(ids))
    found = [float(logprobs[place - 1, ids[place]]) for place in places]
    return found, all(int(logprobs[place - 1].argmax()) == ids[place] for place in places)


@pytest.mark.parametrize("name", [BASE, "imitator"])
def test_greedy_answers_are_the_models_own(
    engine: Engine,
    tiny_model: Path,
    tiny_adapter: Path,
    tokenizer: PreTrainedTokenizerBase,
    name: str,
) -> None:
    model = reference_model(tiny_model, None if name == BASE else tiny_adapter)
    found = engine.generate(name, PROMPTS, Sampling(max_tokens=24))
    for prompt, answer in zip(PROMPTS, found, strict=True):
        ids = reference_answer(model, tokenizer, prompt, 24)
        assert answer.n_tokens == len(ids)
        assert answer.finish_reason == ("stop" if ids[-1] in (1, 2) else "length")
        assert answer.text == tokenizer.decode(ids, skip_special_tokens=True)


def test_base_and_adapter_differ(engine: Engine) -> None:
    sampling = Sampling(max_tokens=12)
    base = engine.generate(BASE, PROMPTS, sampling)
    assert base != engine.generate("imitator", PROMPTS, sampling)
    assert base == engine.generate(BASE, PROMPTS, sampling), "the adapter left a trace on the base"


def test_rows_that_end_leave_the_batch(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine(tiny_model)
    whole = engine.generate(BASE, PROMPTS, Sampling(max_tokens=30))
    character = next(c for c in whole[0].text if c.isalnum())
    widths: list[int] = []
    extend = Network.logits

    def watch(network: Network, hidden: torch.Tensor) -> torch.Tensor:
        widths.append(len(hidden))
        return extend(network, hidden)

    monkeypatch.setattr(Network, "logits", watch)
    found = engine.generate(BASE, PROMPTS, Sampling(max_tokens=30, stop=(character,)))
    assert widths[0] == len(PROMPTS)
    assert widths[-1] < len(PROMPTS)
    for answer, full in zip(found, whole, strict=True):
        assert answer.text == full.text.split(character)[0]


def test_stop_text_is_cut_and_counts_as_a_stop(engine: Engine) -> None:
    (full,) = engine.generate(BASE, PROMPTS[:1], Sampling(max_tokens=20))
    stop = full.text[5:8]
    (cut,) = engine.generate(BASE, PROMPTS[:1], Sampling(max_tokens=20, stop=("never", stop)))
    assert cut.finish_reason == "stop"
    assert cut.text == full.text[: full.text.index(stop)]
    assert 0 < cut.n_tokens <= full.n_tokens


def test_answers_do_not_depend_on_the_batch(tiny_model: Path, engine: Engine) -> None:
    alone = make_engine(tiny_model, batch_tokens=1)
    for sampling in (Sampling(max_tokens=16), Sampling(max_tokens=16, temperature=1.0, seed=3)):
        together = engine.generate(BASE, PROMPTS, sampling)
        assert alone.generate(BASE, PROMPTS, sampling) == together
        backwards = engine.generate(BASE, PROMPTS[::-1], sampling)
        assert backwards[::-1] == together


def test_seed_decides_a_sample(engine: Engine) -> None:
    def sample(seed: int, temperature: float = 1.5) -> list[str]:
        sampling = Sampling(max_tokens=16, temperature=temperature, seed=seed)
        return [answer.text for answer in engine.generate(BASE, PROMPTS, sampling)]

    assert sample(0) == sample(0)
    assert sample(0) != sample(1)
    greedy = [a.text for a in engine.generate(BASE, PROMPTS, Sampling(max_tokens=16))]
    assert sample(0, temperature=1e-6) == greedy


def test_samples_follow_the_distribution(engine: Engine, tiny_model: Path) -> None:
    # One token of 4,000 prompts that tell the model the same (their tails) but seed differently.
    network = engine._base
    from imitate.decoding import _Picker

    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]]).repeat(4000, 1)
    for top_p, expected in ((1.0, logits[0].softmax(-1)), (0.7, None)):
        sampling = Sampling(max_tokens=1, temperature=1.0, top_p=top_p)
        picker = _Picker(sampling, [str(i) for i in range(4000)], network.device)
        drawn = picker.pick(logits, torch.arange(4000), 0)
        shares = torch.bincount(drawn, minlength=4) / 4000
        if expected is None:  # 0.644 alone is below 0.7, so the nucleus is the first two
            first = torch.tensor([2.0, 1.0]).softmax(-1)
            expected = torch.tensor([*first.tolist(), 0.0, 0.0])
        torch.testing.assert_close(shares, expected, atol=0.03, rtol=0)
        assert (shares[expected == 0] == 0).all()


def test_prompt_that_fills_the_context_fails_alone(engine: Engine) -> None:
    seen: list[int] = []
    long = "one two three " * 60
    good, bad = engine.generate(
        BASE, [PROMPTS[0], long], Sampling(max_tokens=4), progress=seen.append
    )
    assert good.finish_reason != "error"
    assert bad.finish_reason == "error"
    assert "leaves no room in a context of 128" in bad.error
    assert sum(seen) == 2


def test_answer_ends_with_the_context(engine: Engine, tokenizer: PreTrainedTokenizerBase) -> None:
    prompt = tokenizer.decode(tokenizer("one two three four five " * 20)["input_ids"][:120])
    n_prompt = len(tokenizer(prompt)["input_ids"])
    (answer,) = engine.generate(BASE, [prompt], Sampling(max_tokens=50))
    assert answer.n_tokens <= 128 - n_prompt
    assert answer.finish_reason in ("length", "stop")


PAIRS = [
    (SHOTS + "Q: What is the fox?\nA:", " quick"),
    (SHOTS + "Q: What is the fox?\nA:", " a"),
    (SHOTS + "Q: What is the fox?\nA:", " lazy dog in the town of Oakford"),
    (SHOTS + "Q: Which town?\nA:", " Oakford"),
    (SHOTS + "Q: Which town?\nA:", " the river"),
    ("The", " quick brown fox"),
]


@pytest.mark.parametrize("name", [BASE, "imitator"])
def test_logprobs_are_the_models_own(
    engine: Engine,
    tiny_model: Path,
    tiny_adapter: Path,
    tokenizer: PreTrainedTokenizerBase,
    name: str,
) -> None:
    model = reference_model(tiny_model, None if name == BASE else tiny_adapter)
    for pair, found in zip(PAIRS, engine.token_logprobs(name, PAIRS), strict=True):
        logprobs, is_greedy = reference_logprobs(model, tokenizer, *pair)
        np.testing.assert_allclose(found.logprobs, logprobs, atol=2e-5)
        assert found.is_greedy == is_greedy
        assert found.total == pytest.approx(sum(logprobs), abs=1e-4)


def test_logprobs_do_not_depend_on_the_batch(tiny_model: Path, engine: Engine) -> None:
    together = engine.token_logprobs(BASE, PAIRS)
    alone = make_engine(tiny_model, batch_tokens=1).token_logprobs(BASE, PAIRS)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-5)


def test_greedy_continuation_is_recognised(
    engine: Engine, tokenizer: PreTrainedTokenizerBase
) -> None:
    contexts = [f"The {word} fox {number}" for word in ("quick", "lazy") for number in range(20)]
    answers = engine.generate(BASE, contexts, Sampling(max_tokens=1))
    pairs = [
        (context, answer.text)
        for context, answer in zip(contexts, answers, strict=True)
        if answer.text  # a random model also says parts of characters, which read back otherwise
        and len(tokenizer(context + answer.text)["input_ids"])
        == len(tokenizer(context)["input_ids"]) + 1
        and "\ufffd" not in answer.text
    ]
    assert len(pairs) > 5
    assert all(found.is_greedy for found in engine.token_logprobs(BASE, pairs))


def test_starts_are_offsets_in_the_continuation(engine: Engine) -> None:
    (found, spaced) = engine.token_logprobs(
        BASE, [("The", " quick brown fox"), ("The ", "quick brown fox")]
    )
    text = " quick brown fox"
    assert found.starts[0] == 0
    assert list(found.starts) == sorted(found.starts)
    assert text[found.starts[-1] :].strip() in text
    # a space that ends the context is scored with the continuation, as lm-eval does
    np.testing.assert_allclose(spaced.logprobs, found.logprobs, atol=1e-5)
    assert spaced.starts[0] == 0


def test_empty_context_stands_for_the_prefix_token(
    engine: Engine, tiny_model: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    (found,) = engine.token_logprobs(BASE, [("", "The quick")])
    ids = [tokenizer.eos_token_id, *tokenizer("The quick")["input_ids"]]
    with torch.no_grad():
        logits = reference_model(tiny_model)(input_ids=torch.tensor([ids])).logits[0]
    logprobs = logits.double().log_softmax(-1)
    expected = [float(logprobs[place, ids[place + 1]]) for place in range(len(ids) - 1)]
    np.testing.assert_allclose(found.logprobs, expected, atol=2e-5)


def test_context_that_is_too_long_is_cut_from_the_left(engine: Engine) -> None:
    long = "one two three four " * 50
    cut, other = engine.token_logprobs(BASE, [(long + "five", " six"), ("five", " six")])
    assert np.isfinite(cut.logprobs).all()
    assert cut.total != pytest.approx(other.total)


def test_progress_counts_every_item(engine: Engine) -> None:
    seen: list[int] = []
    engine.generate(BASE, PROMPTS, Sampling(max_tokens=2), progress=seen.append)
    assert sum(seen) == len(PROMPTS)
    seen.clear()
    engine.token_logprobs(BASE, PAIRS, progress=seen.append)
    assert sum(seen) == len(PAIRS)


def test_no_prompts_no_answers(engine: Engine) -> None:
    assert engine.generate(BASE, [], Sampling(max_tokens=2)) == []
    assert engine.token_logprobs(BASE, []) == []


def test_merged_and_acting_adapter_agree(tiny_model: Path, tiny_adapter: Path) -> None:
    merged = make_engine(tiny_model, {"imitator": tiny_adapter})
    acting = make_engine(tiny_model, {"imitator": tiny_adapter}, merge_adapters=False)
    sampling = Sampling(max_tokens=16)
    assert merged.generate("imitator", PROMPTS, sampling) == acting.generate(
        "imitator", PROMPTS, sampling
    )
    for one, other in zip(
        merged.token_logprobs("imitator", PAIRS),
        acting.token_logprobs("imitator", PAIRS),
        strict=True,
    ):
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-4)


@pytest.mark.parametrize("merge_adapters", [True, False])
def test_two_adapters_take_turns(
    tiny_model: Path,
    tiny_adapter: Path,
    make_adapter: Callable[..., Path],
    merge_adapters: bool,
) -> None:
    both = make_engine(
        tiny_model,
        {"one": tiny_adapter, "two": make_adapter(seed=9)},
        merge_adapters=merge_adapters,
    )
    assert both.models == (BASE, "one", "two")
    sampling = Sampling(max_tokens=8)
    first = {name: both.generate(name, PROMPTS, sampling) for name in both.models}
    again = {name: both.generate(name, PROMPTS, sampling) for name in reversed(both.models)}
    assert first == again
    assert first["one"] != first["two"]


def test_merging_never_writes_to_the_base(tiny_model: Path, tiny_adapter: Path) -> None:
    ref = resolve_model(str(tiny_model))
    base = load_model(ref, torch.bfloat16)
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    adapters = Adapters(base, ref, {"one": tiny_adapter})
    merged = adapters.merged("one").state_dict()
    for name, tensor in base.state_dict().items():
        assert torch.equal(tensor, before[name])
        is_adapted = any(part in name for part in ("q_proj", "v_proj", "down_proj"))
        assert (merged[name].data_ptr() == tensor.data_ptr()) is not is_adapted, name


def test_merge_that_disagrees_is_refused(
    tiny_model: Path, tiny_adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "AGREEMENT_BOUND", {torch.float32: -1.0})
    engine = make_engine(tiny_model, {"imitator": tiny_adapter})
    with pytest.raises(RunError, match=r"merged, differs .* `serve\.merge_adapters: false`"):
        engine.generate("imitator", PROMPTS, Sampling(max_tokens=2))


def test_bfloat16_logits_are_float32(tiny_model: Path) -> None:
    engine = make_engine(tiny_model, dtype=torch.bfloat16)
    network = engine._base
    before = torch.get_float32_matmul_precision()
    with torch.inference_mode():
        _, hidden = fill(network, [[5, 6, 7]], 3)
        logits = network.logits(hidden)
    weight = network.model.get_output_embeddings().weight
    assert logits.dtype is torch.float32
    torch.testing.assert_close(logits, hidden.float() @ weight.float().T, atol=1e-3, rtol=1e-4)
    assert torch.get_float32_matmul_precision() == before


def test_unknown_model_is_told(engine: Engine) -> None:
    with pytest.raises(EndpointError, match="no model `other` here; there are: base, imitator"):
        engine.generate("other", PROMPTS, Sampling(max_tokens=2))


def test_pickled_adapter_is_refused(tiny_model: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_adapter, tmp_path / "pickled"))
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(ModelError, match=r"no adapter_model\.safetensors") as caught:
        make_engine(tiny_model, {"one": folder})
    assert "can run code" in str(caught.value.hint)


def test_folder_without_adapter_is_told(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"adapter `one`: no adapter_config\.json"):
        make_engine(tiny_model, {"one": tmp_path})


def test_adapter_of_another_shape_names_both_bases(
    tiny_model: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_adapter, tmp_path / "other"))
    weights = load_file(folder / "adapter_model.safetensors")
    halved = {name: tensor[..., ::2].contiguous() for name, tensor in weights.items()}
    save_file(halved, folder / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="was made for") as caught:
        make_engine(tiny_model, {"one": folder})
    assert caught.value.message.count(str(tiny_model)) == 2  # its config still names this base


def test_adapter_with_a_record_of_another_base_is_refused(
    tiny_model: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_adapter, tmp_path / "recorded"))
    (folder / "training.json").write_text('{"base": {"name": "x", "identity": "sha256:0"}}')
    with pytest.raises(ModelError, match=r"was made for `.*`, not for"):
        make_engine(tiny_model, {"one": folder})


def test_damaged_adapter_is_told(tiny_model: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_adapter, tmp_path / "damaged"))
    (folder / "adapter_model.safetensors").write_bytes(b"not safetensors at all")
    with pytest.raises(ModelError, match="adapter `one` is damaged"):
        make_engine(tiny_model, {"one": folder})


def test_missing_chat_template_is_told(tiny_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "plain"))
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="no chat template") as caught:
        make_engine(folder).render_chat([{"role": "user", "content": "hello"}])
    assert "`chat_template`" in str(caught.value.hint)


def test_template_that_refuses_a_role_is_told(tiny_model: Path, tmp_path: Path) -> None:
    template = tmp_path / "strict.jinja"
    template.write_text("{{ raise_exception('no system role') }}")
    serve = ServeConfig(merge_adapters=False)
    ref = resolve_model(str(tiny_model))
    with (
        open_endpoint(serve, ref, {}, chat_template=template) as endpoint,
        pytest.raises(ModelError, match="fails on a chat of system, user: no system role"),
    ):
        endpoint.render_chat(
            [{"role": "system", "content": "x"}, {"role": "user", "content": "hello"}]
        )


def test_endpoint_opens_with_its_adapters(tiny_model: Path, tiny_adapter: Path) -> None:
    ref = resolve_model(str(tiny_model))
    with open_endpoint(ServeConfig(), ref, {"imitator": tiny_adapter}) as endpoint:
        assert endpoint.models == (BASE, "imitator")
        chat = endpoint.render_chat([{"role": "user", "content": "hello"}])
        assert chat == "<|user|>hello<|end|>\n<|assistant|>"


def test_batches_stay_within_the_budget() -> None:
    lengths = [3, 50, 10, 10, 9, 200, 1]
    batches = batches_within(lengths, 5, 60)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        width = max(lengths[index] for index in batch) + 5
        assert len(batch) == 1 or len(batch) * width <= 60
