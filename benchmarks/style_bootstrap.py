"""How fast the style-controlled preference is refitted, against statsmodels' GLM.

    python benchmarks/style_bootstrap.py

Twenty arms against a reference on 805 prompts, both orders: 32,200 verdicts and 25 coefficients.
Ours is `measure_preference`'s own refit of resampled prompts; theirs is a GLM of the binomial
family with the same rows, weights and start. Both fit the same resamples first, and coefficients
must be equal to `TOLERANCE`. Ours is then timed over all resamples, theirs over some of them. The
last line is JSON. Exit code 1: the coefficients differ.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator

import numpy as np
import statsmodels.api as sm
from _machine import describe_circumstances
from numpy.typing import NDArray
from scipy.special import expit

from evals.estimates import rows_by_cluster
from evals.preference.battles import FEATURES, Battles
from evals.preference.bradleyterry import Design, fit_preference, make_design
from evals.preference.control import resampled_weights

TOLERANCE = 1e-5
"""Largest difference of a coefficient, in log-odds: the ridge of ours moves the sixth digit."""


def main() -> None:
    """Fit both ways, compare, and print one line of JSON at the end."""
    options = _options()
    battles = _battles(options.arms, options.prompts, options.seed)
    design = make_design(battles, "base", tuple(range(len(FEATURES))))
    whole = fit_preference(design)
    compared = np.concatenate(list(_weights(battles, options.compared, options.seed + 1)))
    started = time.perf_counter()
    theirs = [_refit_glm(design, one, whole.coefficients) for one in compared]
    theirs_s = (time.perf_counter() - started) / len(compared)
    ours = fit_preference(design, compared, whole).coefficients
    worst = float(np.abs(ours - np.array(theirs)).max())
    started = time.perf_counter()
    for some in _weights(battles, options.resamples, options.seed + 2):
        fit_preference(design, some, whole)
    seconds = time.perf_counter() - started
    found = {
        "ratio": round(theirs_s / (seconds / options.resamples), 1),
        "measured": "seconds of one refit, statsmodels' GLM over ours",
        "seconds": round(seconds, 1),
        "refits": options.resamples,
        "statsmodels_refits": len(compared),
        "rows": len(battles.one),
        "coefficients": len(whole.coefficients),
        "largest_difference": worst,
        "settings": vars(options),
    }
    print(json.dumps(found | describe_circumstances()))
    if worst > TOLERANCE:
        sys.exit(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arms", type=int, default=20, help="arms beside the reference")
    parser.add_argument("--prompts", type=int, default=805, help="prompts, as in AlpacaEval")
    parser.add_argument("--resamples", type=int, default=2000, help="refits of ours")
    parser.add_argument("--compared", type=int, default=20, help="refits of both")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _battles(n_arms: int, n_prompts: int, seed: int) -> Battles:
    """Return verdicts of a judge that likes better arms, style, and what is shown first."""
    rng = np.random.default_rng(seed)
    n_pairs = n_arms * n_prompts
    arm = np.repeat(np.tile(np.arange(1, n_arms + 1), n_prompts), 2)
    prompt = np.repeat(np.repeat(np.arange(n_prompts), n_arms), 2)
    style = np.repeat(rng.normal(size=(n_pairs, len(FEATURES))), 2, axis=0)
    style[:, 0] += rng.normal(size=n_arms + 1)[arm]
    place = np.tile([1.0, -1.0], n_pairs)
    gamma = np.array([0.25, 0.03, 0.02, 0.02])  # the size of those on arena data
    logit = rng.normal(size=n_arms + 1)[arm] + style @ gamma + 0.3 * place
    return Battles(
        arms=("base", *(f"model-{number:02}" for number in range(1, n_arms + 1))),
        one=arm,
        other=np.zeros(len(arm), dtype=np.int64),
        preference=(rng.random(len(arm)) < expit(logit)).astype(np.float64),
        place=place,
        style=style,
        clusters=tuple(map(str, prompt)),
    )


def _weights(battles: Battles, count: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield (R, N) how often each row counts when prompts are drawn anew, as our refits do."""
    rows = rows_by_cluster(battles.clusters)
    return resampled_weights(rows, len(battles.one), count, seed)


def _refit_glm(
    design: Design,
    weights: NDArray[np.float64],
    start: NDArray[np.float64],
) -> NDArray[np.float64]:
    family = sm.families.Binomial()
    model = sm.GLM(design.preference, design.columns, family, freq_weights=weights)
    return np.asarray(model.fit(start_params=start).params)


if __name__ == "__main__":
    main()
