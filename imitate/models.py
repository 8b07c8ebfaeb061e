"""A model's name -> a checkpoint: what it is, where it lies, and how it is loaded.

In: a name of the config (hub id, local folder, package-shipped name, `lab/SIZE`). Out: a `ModelRef`
with a content identity for fingerprints, and from that a transformers model and tokenizer. Nothing
heavy is imported before a model is loaded. Weights load from safetensors only, and no code of a
checkpoint is ever executed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import math
import re
import struct
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.errors import ModelError
from imitate.config import LabConfig
from imitate.hashing import folder_identity
from imitate.hub import hub_commit
from imitate.packaged import PACKAGED, packaged_folder

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = [
    "ModelKind",
    "ModelRef",
    "choose_dtype",
    "context_length",
    "count_parameters",
    "linear_shapes",
    "load_model",
    "load_tokenizer",
    "parameter_count",
    "resolve_model",
    "tokenizer_identity",
]

logger = logging.getLogger(__name__)

LAB_SIZES = ("small", "medium", "large", "teacher")
LAB_WEIGHTS = Path(__file__).parent / "lab" / "weights"

BFLOAT16_MIN_PARAMETERS = 20_000_000
"""Parameters from which `auto` takes bfloat16 on a CPU. On 2 cores with AMX, generation with 5M
parameters is as fast in float32 (and its answers do not depend on the batch); a forward pass with
135M is 3.7 times faster in bfloat16."""

_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?(@[\w./-]+)?")
"""An id of the hub, with a revision where one is pinned."""


class ModelKind(StrEnum):
    """Where a checkpoint comes from."""

    HUB = "hub"
    PATH = "path"
    PACKAGED = "packaged"
    LAB = "lab"


@dataclasses.dataclass(frozen=True)
class ModelRef:
    """One checkpoint.

    `location` is a folder, or a hub id with `revision` as its commit. `identity` names the content
    and nothing else (`sha256:...` of a folder's files, `hub:ID@COMMIT`): the same weights have the
    same identity on every machine.
    """

    name: str
    kind: ModelKind
    location: str
    identity: str
    revision: str | None = None


def resolve_model(name: str, lab: LabConfig | None = None) -> ModelRef:
    """Return the checkpoint that a name means.

    Raises:
        ModelError: There is none, or the hub cannot be asked.
    """
    if name.startswith("lab/"):
        return _from_folder(name, ModelKind.LAB, _lab_folder(name, lab or LabConfig()))
    if name in PACKAGED:
        return _from_folder(name, ModelKind.PACKAGED, _packaged_folder(name))
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _from_folder(name, ModelKind.PATH, folder)
    if folder.exists() or name.startswith(("/", ".", "~")) or not _HUB_ID.fullmatch(name):
        raise ModelError(
            f"no model folder at `{name}`",
            hint="name a folder with config.json and *.safetensors, a hub id such as "
            "`HuggingFaceTB/SmolLM2-135M` (`ID@REVISION` pins it), `lab/SIZE`, or one of: "
            + ", ".join(PACKAGED),
        )
    repository, _, revision = name.partition("@")
    commit = _hub_commit(repository, revision or None)
    identity = f"hub:{repository}@{commit}"
    return ModelRef(repository, ModelKind.HUB, repository, identity, revision=commit)


def load_model(ref: ModelRef, dtype: torch.dtype) -> PreTrainedModel:
    """Return a checkpoint as a causal language model in evaluation mode, without gradients.

    Raises:
        ModelError: The weights are missing, damaged, not in safetensors, or need code of their own.
    """
    from transformers import AutoModelForCausalLM

    model = _load(ref, AutoModelForCausalLM, dtype=dtype, use_safetensors=True)
    model.eval()
    model.requires_grad_(False)
    return model  # type: ignore[no-any-return]


def load_tokenizer(ref: ModelRef, chat_template: Path | None = None) -> PreTrainedTokenizerBase:
    """Return a checkpoint's tokenizer, with a pad token, and with another chat template if given.

    Raises:
        ModelError: It is missing, gives no character offsets, or has neither pad nor EOS token.
    """
    from transformers import AutoTokenizer

    tokenizer = _load(ref, AutoTokenizer)
    if not tokenizer.is_fast:
        raise ModelError(
            f"the tokenizer of `{ref.name}` gives no character offsets",
            hint="save it with a tokenizer.json (a fast tokenizer)",
        )
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"the tokenizer of `{ref.name}` has no EOS token, so no answer could ever end",
            hint="set `eos_token` in its tokenizer_config.json",
        )
    if tokenizer.pad_token_id is None:
        logger.info("%s has no pad token; its EOS token pads instead", ref.name)
        tokenizer.pad_token = tokenizer.eos_token
    if chat_template is not None:
        tokenizer.chat_template = _read_template(chat_template)
    return tokenizer  # type: ignore[no-any-return]


def generation_config(ref: ModelRef) -> Any:
    """Return a checkpoint's generation settings, or None where it has none of its own."""
    from transformers import GenerationConfig

    try:
        return GenerationConfig.from_pretrained(ref.location, revision=ref.revision or "main")
    except OSError:
        return None


def choose_dtype(setting: str, ref: ModelRef) -> torch.dtype:
    """Return the dtype of a base model's weights for `auto`, `float32` or `bfloat16`.

    `auto` is bfloat16 where the hardware computes in it and the model is large enough to gain.
    """
    import torch

    if setting != "auto":
        return torch.bfloat16 if setting == "bfloat16" else torch.float32
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    is_large = parameter_count(ref) >= BFLOAT16_MIN_PARAMETERS
    return torch.bfloat16 if is_large and computes_bfloat16() else torch.float32


def computes_bfloat16() -> bool:
    """Return whether this machine multiplies bfloat16 matrices in hardware."""
    import torch

    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def parameter_count(ref: ModelRef) -> int:
    """Return how many parameters a checkpoint has, from its config alone."""
    return sum(parameter.numel() for parameter in _skeleton(ref).parameters())


def linear_shapes(ref: ModelRef) -> dict[str, tuple[int, int]]:
    """Return (outputs, inputs) of each linear layer of a checkpoint, from its config alone."""
    import torch
    from transformers.pytorch_utils import Conv1D

    found = {}
    for name, layer in _skeleton(ref).named_modules():
        if isinstance(layer, torch.nn.Linear):
            found[name] = (layer.out_features, layer.in_features)
        elif isinstance(layer, Conv1D):  # GPT-2's
            found[name] = (layer.nf, layer.nx)
    return found


def tokenizer_identity(tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    """Return digests of how a tokenizer splits text, and of its chat template."""
    whole = json.loads(tokenizer.backend_tokenizer.to_str())
    rules = {key: value for key, value in whole.items() if key not in ("padding", "truncation")}
    texts = {
        "tokenizer": json.dumps(rules, sort_keys=True),
        "chat_template": str(tokenizer.chat_template or ""),
    }
    return {what: hashlib.sha256(text.encode()).hexdigest() for what, text in texts.items()}


def _skeleton(ref: ModelRef) -> PreTrainedModel:
    """Return a checkpoint's modules without any weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = _load(ref, AutoConfig)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call,no-any-return]


def context_length(ref: ModelRef) -> int:
    """Return the longest text that a checkpoint's positions hold, in tokens."""
    from transformers import AutoConfig

    config = _load(ref, AutoConfig).get_text_config()
    return int(config.max_position_embeddings)


def count_parameters(ref: ModelRef) -> int | None:
    """Return how many parameters a local checkpoint stores, from its headers; None for the hub.

    Tied weights are stored, and counted, once.
    """
    if ref.kind is ModelKind.HUB:
        return None
    count = 0
    for path in Path(ref.location).glob("*.safetensors"):
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
        shapes = (entry["shape"] for name, entry in header.items() if name != "__metadata__")
        count += sum(math.prod(shape) for shape in shapes)
    return count


def _load(ref: ModelRef, auto_class: Any, **options: Any) -> Any:
    from safetensors import SafetensorError
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        return auto_class.from_pretrained(
            ref.location,
            revision=ref.revision,
            local_files_only=ref.kind is not ModelKind.HUB,
            trust_remote_code=False,
            **options,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"`{ref.name}` does not load: {_first_line(error)}",
            where=ref.location,
            hint="it must be a checkpoint that transformers loads without code of its own, "
            "with its weights in safetensors",
        ) from error


def _from_folder(name: str, kind: ModelKind, folder: Path) -> ModelRef:
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"`{name}` is no checkpoint: {folder} has no config.json",
            hint="give the folder that holds config.json, the tokenizer and *.safetensors",
        )
    if not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"`{name}` has no weights in safetensors: {folder}",
            hint="pickled weights are never read, as loading them can run code; convert them with "
            "`model.save_pretrained(folder)`",
        )
    return ModelRef(name, kind, str(folder), folder_identity(folder))


def _lab_folder(name: str, lab: LabConfig) -> Path:
    size = name.removeprefix("lab/")
    weights = lab.weights or LAB_WEIGHTS
    if size not in LAB_SIZES or not (weights / size).is_dir():
        found = sorted(path.parent.name for path in weights.glob("*/config.json"))
        raise ModelError(
            f"the lab has no model `{name}` in {weights}",
            hint=f"there: {', '.join(found)}"
            if found
            else f"the lab's models are {', '.join('lab/' + size for size in LAB_SIZES)}; "
            "set `lab.weights` to a folder that holds them",
        )
    return weights / size


def _packaged_folder(name: str) -> Path:
    folder = packaged_folder(name)
    if not folder.is_dir():
        raise ModelError(f"`{name}` is not fetched yet", hint=f"imitate models fetch {name}")
    return folder


def _hub_commit(name: str, revision: str | None) -> str:
    """Return the commit of a hub model: as the hub says, or, offline, as the cache has it."""
    from huggingface_hub import try_to_load_from_cache

    try:
        return hub_commit("model", name, revision)
    except LookupError as error:
        at = f" at revision `{revision}`" if revision else ""
        raise ModelError(
            f"the hub has no model `{name}`{at}, or it is private",
            hint="check the spelling; for a private or gated model log in with `hf auth login`",
        ) from error
    except ConnectionError:
        cached = try_to_load_from_cache(name, "config.json", revision=revision)
    if not isinstance(cached, str):
        raise ModelError(
            f"`{name}` is no folder here, and the hub cannot be reached to look for it there",
            hint="check the network (HF_HUB_OFFLINE, HF_ENDPOINT), give a local folder, or use "
            f"a model that needs no hub: {', '.join(PACKAGED)}, lab/small",
        )
    return Path(cached).parent.name


def _read_template(path: Path) -> str:
    import jinja2

    try:
        text = path.read_text(encoding="utf-8")
        jinja2.Environment(extensions=["jinja2.ext.loopcontrols"]).parse(text)
    except OSError as error:
        raise ModelError(f"no chat template at `{path}`: {error.strerror}") from error
    except jinja2.TemplateSyntaxError as error:
        raise ModelError(
            f"the chat template does not parse: {error.message}", where=f"{path}:{error.lineno}"
        ) from error
    return text


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
