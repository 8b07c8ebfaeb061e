"""When a network of the probe has learned all that it will: a rule, and not a count of steps.

At every check all its sequences are coded. Where the bits held have risen by less than `least_rise`
over the last `window` checks, as a share of what is held or of what is left, whichever is less, the
learning rate is cut; after the last cut the network has converged. One that meets `max_steps` first
has not, and says so.

What is held of text is mostly known of its kind, so a share of that would hide how much is still
learned: hence what is left. Where under `HARDLY_ANY` of the uniform prior's bits are left, a share
of that counts, as the rest goes down for ever. A network that holds no more than that has not begun
to learn, and one that has lost more than the least rise from its best check has not converged.

Source: Morris et al. (arXiv 2505.24832), section 3, train for 1e6 steps; this rule is ours.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Sequence

__all__ = ["Check", "Lane", "Patience", "Standing", "add_check"]

HARDLY_ANY = 0.01


class Standing(enum.StrEnum):
    """Where a network stands."""

    GOING = "going"
    """It is still trained."""
    CONVERGED = "converged"
    """It has stopped by the rule."""
    UNFINISHED = "not converged"
    """It has met the most steps first."""
    DIVERGED = "diverged"
    """Its loss was no finite number; its weights are those of the check before."""


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long a network is given.

    Attributes:
        window: Checks over which the bits held have to rise.
        least_rise: By which share of what is held or left.
        cuts: How often the rate is cut before a network has converged.
        max_steps: Steps after which a network stops unconverged.
    """

    window: int
    least_rise: float
    cuts: int
    max_steps: int


@dataclasses.dataclass(frozen=True)
class Check:
    """What a network held after so many steps.

    Attributes:
        step: Steps taken.
        bits: Code length of all its sequences but their first tokens.
        cuts: How often its learning rate had been cut.
        other_bits: Code length of those that it is not trained on; None where there are none.
    """

    step: int
    bits: float
    cuts: int
    other_bits: float | None = None


@dataclasses.dataclass(frozen=True)
class Lane:
    """How a network came to where it stands.

    Attributes:
        checks: What it held at every check, from step 0.
        standing: Where it stands.
    """

    checks: tuple[Check, ...]
    standing: Standing = Standing.GOING

    @property
    def cuts(self) -> int:
        """How often its learning rate has been cut."""
        return self.checks[-1].cuts


def add_check(lane: Lane, check: Check, prior_bits: float, patience: Patience) -> Lane:
    """Return where a network stands after another check.

    Args:
        lane: How it came to the check before.
        check: What it holds now; bits that are no finite number are a network that has diverged.
        prior_bits: Code length of its sequences, first tokens left out, if all tokens were as
            likely.
        patience: How long it is given.
    """
    if not math.isfinite(check.bits):
        return Lane(lane.checks, Standing.DIVERGED)
    checks = (*lane.checks, check)
    standing = Standing.UNFINISHED if check.step >= patience.max_steps else Standing.GOING
    if not _is_flat(checks, prior_bits, patience):
        return Lane(checks, standing)
    if check.cuts < patience.cuts:
        return Lane((*lane.checks, dataclasses.replace(check, cuts=check.cuts + 1)), standing)
    best = min(one.bits for one in checks)
    has_kept = check.bits - best <= patience.least_rise * _scale(best, prior_bits)
    return Lane(checks, Standing.CONVERGED if has_kept else standing)


def _is_flat(checks: Sequence[Check], prior_bits: float, patience: Patience) -> bool:
    """Return whether bits held rose too little over the window, all of it since a cut."""
    recent = checks[-1 - patience.window :]
    if len(recent) <= patience.window or recent[0].cuts != recent[-1].cuts:
        return False
    left = recent[-1].bits
    if prior_bits - left <= HARDLY_ANY * prior_bits:
        return False
    return recent[0].bits - left < patience.least_rise * _scale(left, prior_bits)


def _scale(left: float, prior_bits: float) -> float:
    return min(prior_bits - left, max(left, HARDLY_ANY * prior_bits))
