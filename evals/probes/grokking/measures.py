"""What a network of the probe has inside: the published progress measures, for any weights.

In: weights and the table that they were trained on. Out: `Measures`, some of which need the key
frequencies of a finished network, `Frequencies`.

With key frequencies K and logits L over all pairs (x, y) in coordinates of a sum, the *sum
directions* are cos and sin of 2 pi k (x + y) / n, k in K, of unit norm over all pairs.

* *Restricted* loss: L with only its mean over pairs and its components along the sum directions;
  or, as the paper's text has it, along all four products of cosines and sines at each k. A pure
  look-up table has such components too, by chance: `look_up` says how low its restricted loss gets.
* *Excluded* loss: L without the sum directions, on what was trained on.
  `excluded_any` leaves out every function of x + y, whatever its frequency: it needs no key.
* *Fit*: sum over K of alpha cos(2 pi k (x + y - z) / n), alpha by least squares; its R^2 is of
  logits centred over the answers, which is all that a softmax sees.

All that hangs on x + y alone is held as one row a sum: (n, answers) instead of (n, n, answers).

Source: Nanda et al. (2023), sections 4 and 5, appendix C; their public code for the ten directions.
Deviations: log-softmax in float64 throughout (their code: float32); the last frequency counts as
any other (their loop over neurons leaves it out); Gini is over all n components, the constant
included; where the operation is a product, coordinates are logarithms, 0 is left out, and its
logit keeps its mean.

Glossary: n order of the group; C answers; K key frequencies; M neurons.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from evals.probes.grokking.fourier import (
    SINGLE,
    FrequencyRule,
    basis,
    by_frequency,
    gini,
    key_frequencies,
    neuron_shares,
    rows_of,
)
from evals.probes.grokking.network import Weights, answer_logits, hidden
from evals.probes.grokking.operations import Coordinates, Table

__all__ = [
    "Frequencies",
    "Measures",
    "Spectra",
    "Split",
    "find_frequencies",
    "logits_by_sum",
    "look_up",
    "measure_weights",
    "spectra",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class Split:
    """A loss in nats on the rows trained on, on the others, and on all."""

    train: float
    test: float
    all: float


MARGINS = (5.0, 10.0, 20.0, 40.0, 80.0)
"""Of a pure look-up table, in nats."""

UNDEFINED = Split(math.nan, math.nan, math.nan)


@dataclasses.dataclass(frozen=True)
class Frequencies:
    """Key frequencies of a network by each of the published rules; empty where there are none."""

    embedding: tuple[int, ...] = ()
    readout: tuple[int, ...] = ()
    neurons: tuple[int, ...] = ()

    def by(self, rule: FrequencyRule) -> tuple[int, ...]:
        """Return those of one rule."""
        found: tuple[int, ...] = getattr(self, rule.value)
        return found


@dataclasses.dataclass(frozen=True)
class Measures:
    """One network at one moment. Losses in nats; NaN where undefined.

    Attributes:
        loss: As it is.
        accuracy: Share of right answers, the same way.
        fresh_loss: Loss on rows of which not even the mirror was trained on (`Table.is_fresh`).
        fresh_accuracy: Share of right answers there; NaN where there are none.
        squared_weights: Sum of all weights' squares.
        logit_scale: Root mean square of the logits, centred over the answers.
        gini_embedding: Of the norms of the embedding's components.
        gini_readout: Of the norms of the components of W_out W_U.
        restricted: Only the mean and the sum directions.
        restricted_terms: Only the mean and the four products at each key frequency.
        excluded: Without the sum directions, on what was trained on.
        excluded_each: The same, of one key frequency at a time.
        excluded_any: Without any function of the sum, on what was trained on.
        ablated_each: Without one key frequency, on all pairs.
        fit: R^2 of the trigonometric formula.
        fit_loss: Its own loss, the same for every pair.
        in_directions: Neurons projected on their readout directions at the key frequencies.
        off_directions: On what is orthogonal to those.
        single_neurons: Neurons with `SINGLE` of their variance at one frequency.
    """

    loss: Split
    accuracy: Split
    squared_weights: float
    logit_scale: float
    fresh_loss: float = math.nan
    fresh_accuracy: float = math.nan
    gini_embedding: float = math.nan
    gini_readout: float = math.nan
    restricted: Split = UNDEFINED
    restricted_terms: Split = UNDEFINED
    excluded: float = math.nan
    excluded_each: tuple[float, ...] = ()
    excluded_any: float = math.nan
    ablated_each: tuple[float, ...] = ()
    fit: float = math.nan
    fit_loss: float = math.nan
    in_directions: float = math.nan
    off_directions: float = math.nan
    single_neurons: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Spectra:
    """Norms by frequency (n // 2,), for pictures; None where there are no coordinates."""

    embedding: FloatArray | None = None
    readout: FloatArray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class _Seen:
    """What a network computes on all pairs, in coordinates of a sum.

    Answers are named by their place in the coordinates; those that are not in them come last.
    """

    logits: FloatArray  # (n, n, C)
    neurons: FloatArray  # (n, n, M)
    answers: IntArray  # (n, n)
    is_train: BoolArray  # (n, n)
    readout: FloatArray  # (M, n) W_out W_U, answers in the coordinates' order
    output: FloatArray  # (M, C) the same, with the answers outside of them

    @property
    def n(self) -> int:
        return len(self.logits)


def find_frequencies(weights: Weights, table: Table) -> Frequencies:
    """Return the key frequencies of a network; none where the operation is no cyclic group's.

    Args:
        weights: Of one network, (1, ...).
        table: What it was trained on.
    """
    if table.coordinates is None:
        return Frequencies()
    seen, of = _look(weights, table), spectra(weights, table)
    shares = neuron_shares(seen.neurons)
    is_single = shares.max(axis=0) >= SINGLE
    return Frequencies(
        embedding=() if of.embedding is None else key_frequencies(of.embedding),
        readout=() if of.readout is None else key_frequencies(of.readout),
        neurons=tuple(sorted({int(k) + 1 for k in shares.argmax(axis=0)[is_single]})),
    )


def measure_weights(weights: Weights, table: Table, keys: Sequence[int] = ()) -> Measures:
    """Return the measures of a network.

    Args:
        weights: Of one network, (1, ...), as `read_weights` gives them.
        table: What it was trained on.
        keys: Key frequencies, found once on the finished network; without them what needs them is
            undefined.
    """
    double = _as_double(weights)
    logits, neurons = _outputs(double, table)
    losses = _row_losses(logits, table.answers)
    right = (logits.argmax(axis=1) == table.answers).astype(np.float64)
    outside = Measures(
        loss=_split(losses, table.is_train),
        accuracy=_split(right, table.is_train),
        squared_weights=sum(float((tensor**2).sum()) for tensor in double.values()),
        logit_scale=float(_centred(logits).std()),
        fresh_loss=_mean(losses[table.is_fresh]),
        fresh_accuracy=_mean(right[table.is_fresh]),
    )
    if table.coordinates is None:
        return outside
    seen = _arrange(logits, neurons, double, table)
    norms = _norms(*_read(double, table.coordinates))
    inside = dataclasses.replace(
        outside,
        gini_embedding=gini(norms[0]),
        gini_readout=gini(norms[1]),
        single_neurons=int((neuron_shares(seen.neurons).max(axis=0) >= SINGLE).sum()),
        excluded_any=_excluded(seen, _by_sum(seen.logits)),
    )
    return _with_keys(inside, seen, keys) if keys else inside


def spectra(weights: Weights, table: Table) -> Spectra:
    """Return the norms at every frequency of a network's embedding and of its readout."""
    if table.coordinates is None:
        return Spectra()
    where = table.coordinates
    return Spectra(*(by_frequency(one) for one in _norms(*_read(weights, where))))


def logits_by_sum(weights: Weights, table: Table) -> FloatArray | None:
    """Return (n, n) the mean logit by sum x + y and answer z, centred over the answers."""
    if table.coordinates is None:
        return None
    seen = _look(weights, table)
    return _centred(_by_sum(seen.logits)[:, : seen.n])


def look_up(table: Table, keys: Sequence[int]) -> float:
    """Return the least restricted loss, where not trained on, of a table that only stores.

    Its logits are a margin at the answers of the rows trained on and 0 elsewhere; of the margins
    `MARGINS` the best. What is above it need not be a computation.
    """
    where = table.coordinates
    if where is None or not keys:
        return math.nan
    n = where.order
    seen = np.zeros((table.p, table.p), dtype=bool)
    seen[table.pairs[:, 0], table.pairs[:, 1]] = table.is_train
    is_train = seen[where.first[:, None], where.second[None, :]]
    place = np.arange(n)
    total = (place[:, None] + place[None, :]) % n
    stored = is_train[:, :, None] * (total[:, :, None] == place)
    at_keys, mean = _at(_by_sum(stored.astype(np.float64)), keys), stored.mean(axis=(0, 1))
    by_sum = at_keys + mean
    losses = [_row_losses(margin * by_sum, place)[total[~is_train]].mean() for margin in MARGINS]
    return float(min(losses))


def _with_keys(found: Measures, seen: _Seen, keys: Sequence[int]) -> Measures:
    by_sum, mean = _by_sum(seen.logits), seen.logits.mean(axis=(0, 1))
    each = [_at(by_sum, [k]) for k in keys]
    alone = [_grid_split(seen, seen.logits - _spread(one)) for one in each]
    together = np.sum(each, axis=0)
    fitted = _fitted(by_sum, keys)
    centred = _centred(seen.logits[..., : seen.n])
    left = centred - _spread(fitted)
    within, outside = _projected_losses(seen, keys)
    return dataclasses.replace(
        found,
        restricted=_grid_split(seen, _spread(together + mean)),
        restricted_terms=_grid_split(seen, _terms(seen.logits, keys) + mean),
        excluded=_excluded(seen, together),
        excluded_each=tuple(one.train for one in alone),
        ablated_each=tuple(one.all for one in alone),
        fit=1 - float((left**2).sum() / (centred**2).sum()),
        fit_loss=float(_row_losses(fitted, np.arange(seen.n)).mean()),
        in_directions=within,
        off_directions=outside,
    )


def _look(weights: Weights, table: Table) -> _Seen:
    """Return what a network computes, in the table's coordinates."""
    double = _as_double(weights)
    return _arrange(*_outputs(double, table), double, table)


def _arrange(logits: FloatArray, neurons: FloatArray, weights: Weights, table: Table) -> _Seen:
    """Return outputs on all pairs, (N, C) and (N, M), in the table's coordinates."""
    where = table.coordinates
    assert where is not None, table.operation
    n, p = where.order, table.p
    row = np.full((p, p), -1)
    row[table.pairs[:, 0], table.pairs[:, 1]] = np.arange(len(table.pairs))
    rows = row[where.first[:, None], where.second[None, :]].ravel()
    order = np.concatenate([where.answer, np.setdiff1d(np.arange(p), where.answer)])
    with torch.no_grad():
        readout = (weights["W_out"] @ weights["W_U"][..., :p])[0].numpy()
    return _Seen(
        logits=logits[np.ix_(rows, order)].reshape(n, n, p),
        neurons=neurons[rows].reshape(n, n, -1),
        answers=np.argsort(order)[table.answers[rows]].reshape(n, n),
        is_train=table.is_train[rows].reshape(n, n),
        readout=readout[:, where.answer],
        output=readout[:, order],
    )


def _outputs(weights: Weights, table: Table) -> tuple[FloatArray, FloatArray]:
    """Return the logits (N, C) and the neurons (N, M) on all pairs of a table."""
    first, second = (torch.from_numpy(side.copy())[None] for side in table.pairs.T)
    with torch.no_grad():
        logits = answer_logits(weights, first, second)[0].numpy()
        return np.asarray(logits), np.asarray(hidden(weights, first, second)[1][0].numpy())


def _as_double(weights: Weights) -> Weights:
    return {name: tensor.to(torch.float64) for name, tensor in weights.items()}


def _read(weights: Weights, where: Coordinates) -> tuple[FloatArray, FloatArray]:
    """Return the embedding (n, D) and W_out W_U (n, M), residues in the coordinates' order."""
    with torch.no_grad():
        embedding = weights["W_E"][0].to(torch.float64).numpy()
        readout = (weights["W_out"].to(torch.float64) @ weights["W_U"].to(torch.float64))[0].numpy()
    return embedding[where.first], readout.T[where.answer]


def _norms(embedding: FloatArray, readout: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the norms (n,) of the components of the embedding, and of the readout."""
    waves = basis(len(embedding))
    return (
        np.linalg.norm(waves @ embedding, axis=1),
        np.linalg.norm(waves @ readout, axis=1),
    )


# --- logits by sum


def _by_sum(logits: FloatArray) -> FloatArray:
    """Return (n, C) what of logits (n, n, C) hangs on x + y alone, centred over all pairs."""
    n = len(logits)
    x = np.arange(n)
    found = np.array([logits[x, (s - x) % n].mean(axis=0) for s in range(n)])
    return np.asarray(found - found.mean(axis=0))


def _at(by_sum: FloatArray, keys: Sequence[int]) -> FloatArray:
    """Return (n, C) the components of rows by sum at some frequencies."""
    n = len(by_sum)
    waves = basis(n)[[row for k in keys for row in rows_of(k, n)]]
    return np.asarray(waves.T @ (waves @ by_sum))


def _spread(by_sum: FloatArray) -> FloatArray:
    """Return (n, n, C) from one row a sum."""
    x = np.arange(len(by_sum))
    return np.asarray(by_sum[(x[:, None] + x[None, :]) % len(by_sum)])


def _fitted(by_sum: FloatArray, keys: Sequence[int]) -> FloatArray:
    """Return (n, n) logits by sum s and answer z of the formula, alpha by least squares.

    Cosines of different frequencies are orthogonal, so each alpha is a projection.
    """
    n = len(by_sum)
    place = np.arange(n)
    apart = (place[:, None] - place[None, :]) % n
    found = np.zeros((n, n))
    for k in keys:
        wave = np.cos(2 * np.pi * k * apart / n)
        found += wave * (wave * by_sum[:, :n]).sum() / (wave**2).sum()
    return found


def _terms(logits: FloatArray, keys: Sequence[int]) -> FloatArray:
    """Return (n, n, C) the components of logits at all products of two waves of one frequency."""
    n = len(logits)
    found = np.zeros_like(logits)
    for k in keys:
        waves = basis(n)[rows_of(k, n)]
        parts = np.einsum("fx,gy,xyc->fgc", waves, waves, logits, optimize=True)
        found += np.einsum("fx,gy,fgc->xyc", waves, waves, parts, optimize=True)
    return found


# --- losses


def _excluded(seen: _Seen, by_sum: FloatArray) -> float:
    """Return the loss, where trained on, without what hangs on the sum."""
    return _grid_split(seen, seen.logits - _spread(by_sum)).train


def _projected_losses(seen: _Seen, keys: Sequence[int]) -> tuple[float, float]:
    """Return the losses with the neurons projected on their readout's directions, and off them."""
    waves = basis(seen.n)[[row for k in keys for row in rows_of(k, seen.n)]]
    directions = np.linalg.qr(seen.readout @ waves.T)[0]  # (M, 2 K) orthonormal
    inside = (seen.neurons @ directions) @ (directions.T @ seen.output)
    whole = seen.neurons @ seen.output
    around = seen.logits - whole
    within = _grid_split(seen, around + inside).all
    return within, _grid_split(seen, around + whole - inside).all


def _grid_split(seen: _Seen, logits: FloatArray) -> Split:
    losses = _row_losses(logits.reshape(-1, logits.shape[-1]), seen.answers.ravel())
    return _split(losses, seen.is_train.ravel())


def _row_losses(logits: FloatArray, answers: IntArray) -> FloatArray:
    found = functional.cross_entropy(
        torch.from_numpy(logits), torch.from_numpy(answers), reduction="none"
    )
    return np.asarray(found.numpy())


def _split(values: FloatArray, is_train: BoolArray) -> Split:
    return Split(_mean(values[is_train]), _mean(values[~is_train]), _mean(values))


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else math.nan


def _centred(logits: FloatArray) -> FloatArray:
    return np.asarray(logits - logits.mean(axis=-1, keepdims=True))
