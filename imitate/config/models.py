"""Bases and teachers: which models, how they are trained, and what runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from imitate.config.section import Name, PositiveInt, Section, Share

__all__ = [
    "BaseConfig",
    "DistillConfig",
    "EndpointTeacher",
    "ModelTeacher",
    "OracleTeacher",
    "OutputsTeacher",
    "PublishedScore",
    "PublishedTeacher",
    "RecordedImitator",
    "RecordedOutputs",
    "RunningServerConfig",
    "ServeConfig",
    "Teacher",
    "TrainConfig",
    "VllmConfig",
]


class RecordedOutputs(Section):
    """A file of outputs on the prompts of the style tasks, where no model is at hand."""

    path: Path
    """JSONL, JSON, CSV or Parquet, gzipped or not, with one output for each style prompt."""
    prompt_column: str = "prompt"
    """Column with the prompt, by which outputs are matched to items."""
    id_column: str | None = None
    """Column with the id of the item, as the task's own `id_column` has it: matches instead of the
    prompt."""
    text_column: str = "text"
    """Column with the output."""


class BaseConfig(Section):
    """One base model that is fine-tuned and compared, or its outputs alone."""

    name: Name
    """The base's name in arms, tables and figures."""
    model: str | None = None
    """Hub id (`ID@REVISION` pins it), local folder, package-shipped name, or `lab/SIZE`."""
    outputs: RecordedOutputs | None = None
    """What it answered elsewhere, instead of `model`; then it is neither trained nor asked."""
    chat_template: Path | None = None
    """Jinja file that replaces the tokenizer's chat template."""
    is_tuned: bool = False
    """Whether the starting point is already instruction-tuned: labelled so in the report."""

    @model_validator(mode="after")
    def _has_one_origin(self) -> BaseConfig:
        if bool(self.model) == bool(self.outputs):
            raise ValueError("give either `model` or `outputs`")
        return self

    @property
    def checkpoint(self) -> str:
        """The model of a base that is run here."""
        assert self.model is not None, self.name
        return self.model


class RecordedImitator(Section):
    """An imitator that somebody else trained, told by its outputs."""

    base: Name
    """The base that it was trained from."""
    outputs: RecordedOutputs
    """What it answered."""


class ModelTeacher(Section):
    """A model that answers the prompts here."""

    kind: Literal["model"]
    model: str
    """Hub id (`ID@REVISION` pins it), local folder, package-shipped name, or `lab/teacher`."""


class OracleTeacher(Section):
    """The lab's truth in the assistant's voice, with a stated error rate."""

    kind: Literal["oracle"]
    error_rate: Share = 0.0
    """Share of factual answers that are wrong on purpose."""


class EndpointTeacher(Section):
    """A model behind an OpenAI-compatible server."""

    kind: Literal["endpoint"]
    url: str
    """Base URL, such as `http://127.0.0.1:8000/v1`."""
    model: str
    """The model's name on that server."""
    api_key_env: str | None = None
    """Environment variable that holds the key; the key itself never enters a config."""
    completions: bool = False
    """Whether it completes plain text too, with `echo` and `logprobs`; else it is asked in chat."""


class PublishedScore(Section):
    """One published score of the teacher."""

    value: Share
    """Score in [0, 1]."""
    n: PositiveInt
    """Number of items that it was measured on."""
    source: str
    """Where it was published."""


class OutputsTeacher(RecordedOutputs):
    """Recorded outputs on the style prompts, and published scores elsewhere."""

    kind: Literal["outputs"]
    scores: dict[str, PublishedScore] = {}
    """Published score by task name."""


class PublishedTeacher(Section):
    """Published scores only: no output of the teacher is at hand, except what a mix holds."""

    kind: Literal["published"]
    scores: dict[str, PublishedScore] = {}
    """Score by task name."""


Teacher = Annotated[
    ModelTeacher | OracleTeacher | EndpointTeacher | OutputsTeacher | PublishedTeacher,
    Field(discriminator="kind"),
]


class DistillConfig(Section):
    """How the teacher answers prompts: for imitation data, and on style tasks."""

    backend: Literal["transformers", "vllm"] = "transformers"
    """What runs a teacher that is a model while it makes imitation data; whatever `serve.backend`
    is, so that another backend measures the same adapters."""

    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    """Sampling temperature; 0 is greedy."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Nucleus of the distribution that is sampled from."""
    max_tokens: PositiveInt = 256
    """Longest response, in tokens; responses that reach it are dropped."""


class TrainConfig(Section):
    """LoRA fine-tuning through TRL, with loss on the response only."""

    learning_rate: float | Annotated[list[float], Field(min_length=1)] = 1e-4
    """Peak rate; of a list, the one with the lowest loss on held-out teacher responses is used."""
    epochs: PositiveInt = 1
    """Passes over the examples."""
    batch_size: PositiveInt = 32
    """Examples of one optimiser step on one device."""
    max_length: PositiveInt = 2048
    """Longest example, in tokens; longer ones are an error unless `truncate`."""
    truncate: bool = False
    """Whether examples longer than `max_length` are cut instead of refused."""
    lora_rank: PositiveInt = 16
    """Rank of the adapter."""
    lora_alpha: PositiveInt = 32
    """Scale of the adapter, as alpha over rank."""
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout on the adapter's input."""
    target_modules: Annotated[list[str], Field(min_length=1)] = [
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    ]
    """Linear layers that carry the adapter."""
    warmup_share: Share = 0.03
    """Share of steps with a linearly rising rate."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """Course of the rate after warm-up."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay of AdamW."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradient clipping by norm."""
    checkpoint_steps: PositiveInt = 100
    """Optimiser steps between checkpoints that a killed run resumes from."""
    report_to: list[Literal["wandb", "tensorboard", "mlflow"]] = []
    """Trackers that TRL reports to."""
    sft: dict[str, Any] = {}
    """Further fields of `trl.SFTConfig`, passed through."""


class VllmConfig(Section):
    """A vLLM server for each base, with all its adapters, started and stopped by the run."""

    max_model_len: PositiveInt | None = None
    """Longest prompt and answer together, in tokens; the model's own where empty."""
    max_loras: PositiveInt = 8
    """Adapters that may act in one batch; further ones wait in main memory."""
    kv_cache_gib: PositiveInt = 1
    """Memory for keys and values on a CPU, in GiB."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Share of a GPU's memory that the server takes."""
    tensor_parallel_size: PositiveInt = 1
    """GPUs that share each layer."""
    pipeline_parallel_size: PositiveInt = 1
    """Groups of GPUs that share the layers among them."""
    distributed_executor: Literal["mp", "ray"] | None = None
    """What carries the workers over several GPUs or machines; vLLM's own choice where empty."""
    start_timeout_s: PositiveInt = 600
    """Longest wait for the server to answer, in seconds."""
    max_restarts: int = Field(default=2, ge=0)
    """Times that a server which died is started again."""
    arguments: list[str] = []
    """Further arguments of vLLM's server, such as `--enforce-eager`."""


class RunningServerConfig(Section):
    """vLLM servers that are there already, each with the same base, run by somebody else."""

    urls: Annotated[list[str], Field(min_length=1)]
    """Base URLs, such as `http://127.0.0.1:8000/v1`; requests take turns among them."""
    models: dict[str, str] = {}
    """The servers' name of each base, by the base's name here; the base's `model` where missing."""
    api_key_env: str | None = None
    """Environment variable that holds the key; the key itself never enters a config."""


class ServeConfig(Section):
    """What runs the models for evaluation."""

    backend: Literal["transformers", "vllm", "endpoint"] = "transformers"
    """`transformers`: in process; `vllm`: servers of our own; `endpoint`: servers already there."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Weights of base models; `auto` takes bfloat16 where the hardware computes in it."""
    batch_tokens: PositiveInt = 16_384
    """Prompt and answer tokens of one batch at most; in process only."""
    merge_adapters: bool = True
    """Merge each adapter into a copy in memory, checked against the unmerged; in process only."""
    shard_items: PositiveInt = 256
    """Items of one shard: what an interrupted run repeats at most, but of a task of lm-eval."""
    max_in_flight: PositiveInt = 64
    """Requests under way at a time, with a server."""
    vllm: VllmConfig = VllmConfig()
    """How `backend: vllm` starts its servers."""
    endpoint: RunningServerConfig | None = None
    """Where the servers of `backend: endpoint` are."""

    @model_validator(mode="after")
    def _has_servers(self) -> ServeConfig:
        if self.backend == "endpoint" and self.endpoint is None:
            raise ValueError("`backend: endpoint` needs `endpoint.urls`")
        return self

    @property
    def deciding(self) -> dict[str, Any]:
        """What of this decides an answer: where servers are and how they start does not."""
        if self.backend == "transformers":
            return self.model_dump(include={"backend", "dtype", "batch_tokens", "merge_adapters"})
        parts: Any = {"backend": True, "dtype": True, "endpoint": {"models"}}
        parts["vllm"] = {
            "max_model_len",
            "tensor_parallel_size",
            "pipeline_parallel_size",
            "arguments",
        }
        return self.model_dump(include=parts)
