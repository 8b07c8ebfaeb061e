"""The grokking probe: what is learned, by which network, how, and beside what."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from imitate.config.section import Name, PositiveInt, Section

__all__ = ["ContrastConfig", "GrokkingJob", "GrokkingTrainConfig", "NetworkConfig", "SweepConfig"]

Fraction = Annotated[float, Field(gt=0, lt=1)]
Decay = Annotated[float, Field(ge=0)]
Seeds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
Modulus = Annotated[int, Field(ge=5)]
Operation = Literal[
    "a+b",
    "a-b",
    "a*b",
    "a/b",
    "a^2+b^2",
    "a^2+ab+b^2",
    "a^2+ab+b^2+a",
    "a^3+ab",
    "a^3+ab^2+b",
    "random",
]


class NetworkConfig(Section):
    """The one-layer transformer; defaults as published."""

    width: PositiveInt = 128
    """Size of the residual stream."""
    heads: PositiveInt = 4
    """Attention heads; they share the width among them."""
    neurons: PositiveInt = 512
    """Of the MLP."""
    init_scale: Annotated[float, Field(gt=0)] = 1.0
    """Factor of the first weights."""

    @model_validator(mode="after")
    def _heads_share(self) -> NetworkConfig:
        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads cannot share a width of {self.width}")
        return self


class GrokkingTrainConfig(Section):
    """How it is trained: full batch, AdamW; defaults as published."""

    epochs: PositiveInt = 40_000
    """Steps: every batch is full."""
    checkpoint_every: PositiveInt = 100
    """Epochs between the snapshots that are measured."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """After the warm-up."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of AdamW."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.98
    """Of AdamW."""
    epsilon: Annotated[float, Field(gt=0)] = 1e-8
    """Of AdamW."""
    warmup: Annotated[int, Field(ge=0)] = 10
    """Steps over which the rate rises from 0."""
    dtype: Literal["float32", "float64"] = "float32"
    """Of the weights; the loss is float64 in any case."""
    side_by_side: PositiveInt = 4
    """Most networks trained in one program; on a GPU many cost hardly more than one."""


class ContrastConfig(Section):
    """Runs that differ from the main line in what is given here."""

    operation: Operation | None = None
    """Another operation."""
    p: Modulus | None = None
    """Another modulus."""
    width: PositiveInt | None = None
    """Another width, and as many neurons for it."""
    train_fraction: Fraction | None = None
    """Another share to train on."""
    weight_decay: Decay | None = None
    """Another weight decay."""
    seeds: Seeds | None = None
    """Other seeds than the main line's."""
    epochs: PositiveInt | None = None
    """Another length."""


class SweepConfig(Section):
    """A grid of runs for the phase diagram; what is empty is as in the main line."""

    operation: list[Operation] = []
    """Operations."""
    p: list[Modulus] = []
    """Moduli."""
    width: list[PositiveInt] = []
    """Widths; neurons change with them."""
    train_fraction: list[Fraction] = []
    """Shares to train on."""
    weight_decay: list[Decay] = []
    """Weight decays."""
    seeds: Seeds | None = None
    """The first of the main line's if empty."""
    epochs: PositiveInt | None = None
    """Length of each."""
    checkpoint_every: PositiveInt | None = None
    """Epochs between snapshots."""


class GrokkingJob(Section):
    """One grokking probe: a main line over seeds, runs beside it, and a sweep."""

    probe: Literal["grokking"]
    """Which probe."""
    name: Name
    """Name of the run and of its folder."""
    operation: Operation = "a+b"
    """What is learned, modulo p; `random` has no rule and can only be memorised."""
    p: Modulus = 113
    """Modulus: odd; prime for `a*b` and `a/b`."""
    train_fraction: Fraction = 0.3
    """Share of all pairs that is trained on."""
    weight_decay: Decay = 1.0
    """Of AdamW, decoupled."""
    seeds: Seeds = [0, 1, 2]
    """Each draws the first weights and which pairs are trained on."""
    network: NetworkConfig = NetworkConfig()
    """What is trained."""
    train: GrokkingTrainConfig = GrokkingTrainConfig()
    """How."""
    key_frequencies: Literal["embedding", "readout", "neurons"] = "readout"
    """Which of the published rules names the key frequencies; all three are reported."""
    contrasts: dict[Name, ContrastConfig] = {}
    """Runs beside the main line, by name."""
    sweep: SweepConfig | None = None
    """A grid of runs."""

    @model_validator(mode="after")
    def _moduli_fit(self) -> GrokkingJob:
        moduli = [self.p, *(one.p for one in self.contrasts.values() if one.p)]
        moduli += self.sweep.p if self.sweep else []
        even = [str(p) for p in moduli if p % 2 == 0]
        if even:
            raise ValueError(f"`p` must be odd, got {', '.join(even)}; the paper has 113")
        return self

    @model_validator(mode="after")
    def _heads_share_all_widths(self) -> GrokkingJob:
        widths = [one.width for one in self.contrasts.values() if one.width]
        widths += self.sweep.width if self.sweep else []
        wrong = [str(width) for width in widths if width % self.network.heads]
        if wrong:
            raise ValueError(f"{self.network.heads} heads cannot share a width of {wrong[0]}")
        return self
