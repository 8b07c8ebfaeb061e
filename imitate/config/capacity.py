"""The capacity probe: how many bits of its data a network holds, and when it generalises."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from evals.probes.capacity.shape import HEAD_SIZE
from imitate.config.section import Name, Positive, PositiveInt, Section

__all__ = [
    "CapacityJob",
    "CapacityTrainConfig",
    "OracleReference",
    "SameSizeReference",
    "SizeConfig",
    "TextConfig",
    "UniformConfig",
]


Vocabulary = Annotated[int, Field(ge=2)]
Length = Annotated[int, Field(ge=2)]


class SizeConfig(Section):
    """One size of network: a GPT-2 with heads of 32."""

    layers: PositiveInt
    """Transformer blocks."""
    width: PositiveInt
    """Size of the residual stream: up to 32, or a multiple of it."""
    learning_rate: Positive | None = None
    """Of Adam; that of `train` if empty."""

    @model_validator(mode="after")
    def _heads_share(self) -> SizeConfig:
        if self.width > HEAD_SIZE and self.width % HEAD_SIZE:
            raise ValueError(f"heads of {HEAD_SIZE} cannot share a width of {self.width}")
        return self


class UniformConfig(Section):
    """Uniform random tokens: all that is held of them is memorised."""

    loads: list[Positive] = []
    """Sizes of data, as multiples of 3.64 bits a parameter."""
    n_sequences: list[PositiveInt] = []
    """Sizes of data, in sequences; instead of `loads`."""
    lengths: list[Length] = []
    """Tokens of a sequence; `length` of the job if empty."""

    @model_validator(mode="after")
    def _one_measure(self) -> UniformConfig:
        if bool(self.loads) == bool(self.n_sequences):
            raise ValueError("give `loads` or `n_sequences`, and not both")
        return self


class SameSizeReference(Section):
    """A network of the same size, trained on other and more text of the same kind."""

    kind: Literal["same_size"]
    """Which kind of reference."""
    n_sequences: PositiveInt = 20_000
    """Sequences that it is trained on, none of which any other network sees."""


class OracleReference(Section):
    """A causal language model that is there already, with the tokenizer of the text."""

    kind: Literal["oracle"]
    """Which kind of reference."""
    model: str = "lab/teacher"
    """`lab/SIZE`, a folder, or a hub id."""


class TextConfig(Section):
    """Text: what is held of it is partly the sequences' own, and partly of their kind."""

    source: str = "lab"
    """`lab`: the embedded world's corpus, without end. A `.jsonl` file: the beginning of every
    `text`. Any other file: cut into consecutive sequences. A file's are shuffled."""
    tokenizer: str = "lab"
    """`lab` (2,048 tokens), `bytes` (256), or a `tokenizer.json`."""
    n_sequences: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=1)]
    """Sizes of data, in sequences; the smaller are the beginning of the larger."""
    n_test: Annotated[int, Field(ge=10)] = 500
    """Sequences that no network is trained on."""
    reference: Annotated[SameSizeReference | OracleReference, Field(discriminator="kind")] = (
        SameSizeReference(kind="same_size")
    )
    """What knows the kind of text and not the sequences."""
    prefixes: list[PositiveInt] = [8, 32]
    """Tokens that are given where a rest is to be said by heart."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the lab's corpus, or of the order of a file's sequences."""


class CapacityTrainConfig(Section):
    """How it is trained: Adam, until the memorised bits rise no more."""

    learning_rate: Positive = 1e-2
    """After the warm-up and before any cut."""
    batch: PositiveInt = 128
    """Sequences in a step, or all of a network's where they are fewer."""
    warmup: Annotated[int, Field(ge=0)] = 100
    """Steps over which the rate rises from 0."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of Adam."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Of Adam."""
    epsilon: Positive = 1e-8
    """Of Adam."""
    check_every: PositiveInt = 100
    """Steps between checks of what is held."""
    window: PositiveInt = 10
    """Checks over which the bits held must rise."""
    least_rise: Positive = 0.01
    """By which share of what is held or left, else the rate is cut or training stops."""
    cuts: Annotated[int, Field(ge=0)] = 2
    """How often the rate is cut before training stops."""
    cut: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Factor of a cut."""
    max_steps: PositiveInt = 100_000
    """Steps after which a network stops and has not converged."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of matrix products in training; weights, and what is measured, are float32 in any case."""
    side_by_side: PositiveInt = 4
    """Most networks trained in one program."""


class CapacityJob(Section):
    """One capacity probe: sizes of networks, sizes of data, seeds."""

    probe: Literal["capacity"]
    """Which probe."""
    name: Name
    """Name of the run and of its folder."""
    sizes: Annotated[list[SizeConfig], Field(min_length=1)]
    """Sizes of network."""
    vocabulary: Vocabulary = 2048
    """Tokens that there are."""
    length: Length = 64
    """Tokens of a sequence."""
    positions: PositiveInt | None = None
    """Positions that a network has; as many as the longest sequence has tokens if empty."""
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [0, 1, 2]
    """Each draws first weights, order and uniform tokens."""
    uniform: UniformConfig
    """The measurement of capacity."""
    text: TextConfig | None = None
    """The same networks on text."""
    train: CapacityTrainConfig = CapacityTrainConfig()
    """How."""

    @property
    def n_positions(self) -> int:
        """Positions that every network has."""
        return self.positions or max([self.length, *self.uniform.lengths])

    @model_validator(mode="after")
    def _nothing_twice(self) -> CapacityJob:
        shapes = [(size.layers, size.width) for size in self.sizes]
        for name, values in (("sizes", shapes), ("seeds", self.seeds)):
            doubled = [value for place, value in enumerate(values) if value in values[:place]]
            if doubled:
                raise ValueError(f"`{name}` has {doubled[0]} twice")
        return self

    @model_validator(mode="after")
    def _sequences_fit(self) -> CapacityJob:
        longest = max([self.length, *self.uniform.lengths])
        if longest > self.n_positions:
            raise ValueError(
                f"sequences of {longest} tokens do not fit {self.n_positions} positions"
            )
        too_long = [n for n in (self.text.prefixes if self.text else []) if n >= self.length]
        if too_long:
            raise ValueError(
                f"`text.prefixes` must be below `length` ({self.length}), got {too_long[0]}"
            )
        return self
