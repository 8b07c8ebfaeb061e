"""The probe of reasoning traces: mazes, what is said before the plan, networks, tests."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from evals.probes.traces.kinds import LEAST_SIDE, Arm, Damage, Generator, Treatment
from imitate.config.section import Name, Positive, PositiveInt, Section

__all__ = ["ArmConfig", "MazeConfig", "TestConfig", "TracesJob", "TracesTrainConfig"]

Side = Annotated[int, Field(ge=LEAST_SIDE, le=200)]
Percent = Annotated[int, Field(ge=0, le=100)]


class MazeConfig(Section):
    """Which mazes."""

    rows: Side = 30
    """Of the grid."""
    columns: Side = 30
    """Of the grid."""
    generator: Generator = Generator.WILSON
    """How the mazes that are trained on are made."""
    coverage: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the cells that a drunkard's walk frees."""
    n_train: Annotated[int, Field(ge=2)] = 50_000
    """Problems that are trained on."""
    seed: Annotated[int, Field(ge=0)] = 42
    """Of the public generator's random numbers."""


class ArmConfig(Section):
    """What is said before the plan."""

    kind: Arm
    """Which arm."""
    damage: Damage | None = None
    """Of `damaged`: what becomes of an operation."""
    percents: list[Percent] = []
    """Of `damaged`: shares of the operations, one arm each."""

    @model_validator(mode="after")
    def _damage_is_whole(self) -> ArmConfig:
        is_damaged = self.kind is Arm.DAMAGED
        if is_damaged != (self.damage is not None) or is_damaged != bool(self.percents):
            raise ValueError("`damaged` needs `damage` and `percents`, and no other arm has them")
        return self

    def treatments(self) -> list[Treatment]:
        """Return the arm, or the arms by degree."""
        if self.damage is None:
            return [Treatment(self.kind)]
        return [Treatment(self.kind, self.damage, percent) for percent in self.percents]


class NetworkShape(Section):
    """A Llama from scratch, heads of 32 or of 64."""

    layers: PositiveInt = 4
    """Transformer blocks."""
    width: Annotated[int, Field(ge=32, multiple_of=32)] = 128
    """Size of the residual stream."""
    head_size: Literal[32, 64] = 32
    """Of an attention head."""
    context: PositiveInt = 4096
    """Most tokens of a line, and of an answer with its problem."""
    too_long: Literal["drop", "error"] = "drop"
    """What becomes of a problem whose line, in one of the arms, is longer: left out of all arms and
    counted, or the end of the run."""

    @model_validator(mode="after")
    def _heads_share(self) -> NetworkShape:
        if self.width % self.head_size:
            raise ValueError(f"heads of {self.head_size} cannot share a width of {self.width}")
        return self


class TracesTrainConfig(Section):
    """How: one arm like another, on the same problems in the same order."""

    learning_rate: Positive = 1e-3
    """Of hidden matrices, after the warm-up; it falls on a line to a twentieth."""
    embedding_learning_rate: Positive = 1e-3
    """Of embeddings and norms."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    """Of hidden matrices."""
    batch_tokens: PositiveInt = 2048
    """Most tokens of a step in the correct arm, padding counted; the others have the same lines."""
    epochs: PositiveInt = 1
    """Passes over the problems."""
    warmup: Annotated[int, Field(ge=0)] = 50
    """Steps over which the rates rise from 0."""
    loss_on: Literal["response", "all"] = "response"
    """Tokens that are learned: what comes after the problem, or all of them."""
    matched_tokens: bool = True
    """Arms whose lines are shorter or longer on the whole are trained a second time, on as many
    tokens as the correct."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of matrix products; weights are float32 in any case."""
    compiled: bool = False
    """Whether the network is compiled: minutes first, faster then, on a GPU."""
    checkpoint_every: PositiveInt = 200
    """Steps between what training goes on from after a kill."""


class TestConfig(Section):
    """What is asked, of every network the same."""

    __test__ = False  # no case of pytest's

    generators: Annotated[list[Generator], Field(min_length=1)] = list(Generator)
    """Kinds of mazes: that of the training is in distribution."""
    n: Annotated[int, Field(ge=10)] = 500
    """Problems of each kind."""
    seed: Annotated[int, Field(ge=0)] = 42
    """Of the public generator's random numbers, in its stream for tests."""
    floor: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """No comparison is drawn where the better arm solves a smaller share."""
    margin: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Difference of shares under which two arms count as alike."""


class TracesJob(Section):
    """One probe of reasoning traces."""

    probe: Literal["traces"]
    """Which probe."""
    name: Name
    """Name of the run and of its folder."""
    maze: MazeConfig = MazeConfig()
    """What is solved."""
    arms: Annotated[list[ArmConfig], Field(min_length=1)]
    """What is said before the plan."""
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [0, 1, 2]
    """Each draws first weights, order, swaps and damages."""
    network: NetworkShape = NetworkShape()
    """What is trained."""
    train: TracesTrainConfig = TracesTrainConfig()
    """How."""
    test: TestConfig = TestConfig()
    """On what it is judged."""

    @property
    def treatments(self) -> list[Treatment]:
        """All arms."""
        return [one for arm in self.arms for one in arm.treatments()]

    @model_validator(mode="after")
    def _nothing_twice(self) -> TracesJob:
        names = [one.name for one in self.treatments]
        for key, values in (
            ("arms", names),
            ("seeds", self.seeds),
            ("test.generators", [one.value for one in self.test.generators]),
        ):
            doubled = [value for place, value in enumerate(values) if value in values[:place]]
            if doubled:
                raise ValueError(f"`{key}` has {doubled[0]} twice")
        return self
