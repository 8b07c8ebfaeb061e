"""The pretraining recipe: what a YAML file in configs/lab may say, with every default."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evals.errors import ConfigError
from imitate.lab.corpus import TYPICAL_TOKENS, CorpusRecipe
from imitate.lab.skills import SKILLS

__all__ = ["Architecture", "PretrainRecipe", "Stage", "load_recipe"]


class Architecture(BaseModel):
    """Shape of a Llama model; heads have a size of 32, embeddings are tied."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden_size: int = Field(multiple_of=32)
    """Width; the number of heads is this by 32."""
    intermediate_size: int
    """Width of the MLP."""
    n_layers: int
    """Number of layers."""


class Stage(BaseModel):
    """One stretch of training: how many tokens of which corpus, at which learning rate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_tokens: int = Field(gt=0)
    """Training tokens."""
    learning_rate: float = Field(gt=0)
    """Peak learning rate of the hidden matrices."""
    embedding_learning_rate: float = Field(gt=0)
    """Peak learning rate of embeddings and norms."""
    decay_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the steps, at the end, over which the rates fall linearly to zero; after a stage
    without a fall the next one starts without a warm-up."""
    popularity_exponent: float = 0.8
    """How steeply mentions fall with a person's rank; 0 mentions everyone alike."""
    lexicon_share: float = Field(default=1.0, gt=0, le=1)
    """Share of the other language's words that translations use; the rest only a teacher knows."""
    shares: Mapping[str, float]
    """Share of tokens by document kind."""
    skill_shares: Mapping[str, float]
    """Share of drills by skill."""

    def corpus(self) -> CorpusRecipe:
        """Return the corpus that this stage reads."""
        return CorpusRecipe(
            self.shares, self.skill_shares, self.popularity_exponent, self.lexicon_share
        )


class PretrainRecipe(BaseModel):
    """How one lab model is made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """Folder of the model under the output root."""
    world_seed: int
    """The world whose corpus is read."""
    seed: int = 0
    """Seeds the weights and the order of the corpus."""
    architecture: Architecture
    """Shape of the model."""
    stages: tuple[Stage, ...] = Field(min_length=1)
    """What is trained on, in order."""
    start_from: str | None = None
    """Folder, beside this model's, of a model to train further; None starts from random weights."""
    n_block_tokens: int = 256
    """Length of a packed row, in tokens."""
    n_batch_rows: int = 16
    """Rows of a training step."""
    weight_decay: float = 0.01
    """Weight decay of the hidden matrices."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 runs the matrix products in autocast; weights and optimiser stay float32."""

    is_compiled: bool = False
    """Compile the step with torch.compile, which needs a C++ compiler: a third faster."""

    def at_world(self, world_seed: int) -> PretrainRecipe:
        """Return the same recipe for another world."""
        return self.model_copy(update={"world_seed": world_seed})

    def fingerprint(self) -> str:
        """Return a hash of everything in the recipe."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def load_recipe(path: Path) -> PretrainRecipe:
    """Return the recipe of a YAML file.

    Raises:
        ConfigError: The file is missing or not YAML, or keys or values are wrong; all are listed.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        recipe = PretrainRecipe.model_validate(raw)
    except FileNotFoundError:
        raise ConfigError(f"there is no file {path}", hint="see configs/lab/") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", where=str(path)) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {error}", where=str(path)) from None
    except ValidationError as error:
        faults = [f"`{'.'.join(map(str, e['loc']))}`: {e['msg']}" for e in error.errors()]
        raise ConfigError("; ".join(faults), where=str(path)) from None
    _check_names(recipe, path)
    return recipe


def _check_names(recipe: PretrainRecipe, path: Path) -> None:
    for i, stage in enumerate(recipe.stages):
        for key, given, known in (
            ("shares", stage.shares, tuple(TYPICAL_TOKENS)),
            ("skill_shares", stage.skill_shares, SKILLS),
        ):
            unknown = sorted(set(given) - set(known))
            if unknown:
                raise ConfigError(
                    f"`stages.{i}.{key}` does not know {', '.join(unknown)}",
                    where=str(path),
                    hint="known are " + ", ".join(known),
                )
