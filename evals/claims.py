"""Side claims: how an axis moves with the data and with the base, and families of such claims.

In: one axis of many arms, and the factors that tell the arms apart. Out: `Claim`s with intervals
from one joint bootstrap, and p-values that Holm's method adjusts within a declared family. A claim
never decides a verdict.

Glossary: A arms; P factors, such as log2 of the number of imitation examples. A slope is the
change of an axis value, as a share, for one unit of its factor with the other factors held.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from evals.errors import DataError
from evals.stats import ClusterSums, Contrast, FloatArray, contrast, holm

__all__ = ["Claim", "adjust_claims", "difference_claim", "slope_claims"]


@dataclasses.dataclass(frozen=True)
class Claim:
    """One side claim.

    Attributes:
        family: The declared family that it is corrected in.
        name: What is claimed to differ from 0.
        value: The contrast.
        ci95: Its two-sided 95 % interval, not corrected.
        p: Its two-sided p.
        p_holm: The p after Holm's correction; None before `adjust_claims`.
    """

    family: str
    name: str
    value: float
    ci95: tuple[float, float]
    p: float
    p_holm: float | None = None


def slope_claims(
    sample: ClusterSums,
    draws: FloatArray,
    factors: Mapping[str, npt.ArrayLike],
    *,
    family: str,
) -> list[Claim]:
    """Return the slope over every factor, and the difference of every two.

    The paper's own point is such a difference: more imitation data move factuality less than a
    better base does. Arms are fixed: the interval holds the error of the items, not the scatter
    that other training seeds would bring, so let the arms hold several seeds.

    Args:
        sample: The axis of all A arms.
        draws: (R, A) their joint bootstrap.
        factors: By name, (A,) such as log2 of the examples and log2 of the base's parameters.
        family: The declared family.

    Raises:
        DataError: The arms do not tell the factors apart.

    Source: least squares on the arms' axis values, which is linear in them: a contrast.
    """
    weights = _slope_weights(factors)
    claims = [
        difference_claim(contrast(sample, draws, row), f"slope over {name}", family=family)
        for name, row in weights.items()
    ]
    for (one, first), (other, second) in combinations(weights.items(), 2):
        result = contrast(sample, draws, first - second)
        claims.append(
            difference_claim(result, f"slope over {one} minus slope over {other}", family=family)
        )
    return claims


def difference_claim(result: Contrast, name: str, *, family: str) -> Claim:
    """Return the claim that a contrast is not 0."""
    return Claim(family, name, result.value, result.interval(), result.two_sided_p())


def adjust_claims(claims: Sequence[Claim]) -> list[Claim]:
    """Return the claims with Holm's correction within each family, in the order given."""
    adjusted: dict[int, float] = {}
    for family in {claim.family for claim in claims}:
        members = {str(i): c.p for i, c in enumerate(claims) if c.family == family}
        adjusted |= {int(i): p for i, p in holm(members).items()}
    return [dataclasses.replace(c, p_holm=adjusted[i]) for i, c in enumerate(claims)]


def _slope_weights(factors: Mapping[str, npt.ArrayLike]) -> dict[str, FloatArray]:
    """By factor, (A,) the weights with which arms enter its least-squares slope."""
    columns = [np.asarray(values, dtype=np.float64) for values in factors.values()]
    design = np.stack([np.ones_like(columns[0]), *columns], axis=1)
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise DataError(
            f"the arms do not tell {', '.join(f'`{name}`' for name in factors)} apart",
            hint="a slope needs arms that vary each factor on its own",
        )
    return dict(zip(factors, np.linalg.pinv(design)[1:], strict=True))
