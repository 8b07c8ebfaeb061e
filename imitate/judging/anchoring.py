"""The lock of a job's judges: who they are, and what they said of the anchors when first asked.

A run asks every asked judge about the anchors afresh, before anything else. A judge whose model,
rubric or sampling is another by the config is told apart from one that answers otherwise under the
same name: the first the user can mend, the second only notice.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evals.errors import ConfigError, DataError, UserError
from evals.judges.anchors import (
    Drift,
    DriftError,
    digest_pairs,
    draw_anchors,
    measure_drift,
    verdicts_of,
)
from evals.judges.pairs import Pair
from evals.records import Judgement
from imitate.config import AnchorsConfig, LabConfig
from imitate.judging.sets import read_pairs

__all__ = ["Anchored", "Anchors", "hold_to_anchors", "open_anchors"]

VERSION = 1
SHOWN_CHANGES = 5
RELOCK = (
    "accept the judge as it is now, all its pairs asked again: give `imitate judge-card` "
    "`--relock`, or remove the lock's file"
)


@dataclasses.dataclass(frozen=True)
class Anchors:
    """What asked judges are held to.

    Attributes:
        drawn: The pairs.
        terms: How they were drawn, and their identity.
        path: The lock file.
        max_drift: Largest share of verdicts that may have changed.
        is_relocking: Whether judges are locked as they are now, whatever they said before.
    """

    drawn: Sequence[Pair]
    terms: Mapping[str, Any]
    path: Path
    max_drift: float
    is_relocking: bool


@dataclasses.dataclass(frozen=True)
class Anchored:
    """A judge that stands: the identity of its lock, and what the card tells of it."""

    lock_id: str
    told: Mapping[str, Any]


def open_anchors(
    config: AnchorsConfig | None,
    lab: LabConfig,
    pairs: Sequence[Pair],
    folder: Path,
    *,
    relock: bool = False,
) -> Anchors | None:
    """Return the anchors of a job; None where it has none.

    Args:
        config: What they are.
        lab: The embedded world, where they come from it.
        pairs: The job's own pairs, from which they are drawn where no others are named.
        folder: Where the lock lies, where no other place is named.
        relock: Whether judges are locked as they are now.

    Raises:
        DataError: Their file cannot be read.
        RecordError: There are fewer pairs than anchors.
        UserError: The job has no anchors, and is to be locked anew.
    """
    if not config:
        if relock:
            raise UserError("`--relock` is for a job with `anchors`, and this one has none")
        return None
    among = read_pairs(config.pairs, lab) if config.pairs else pairs
    drawn = draw_anchors(among, config.n, seed=config.seed)
    terms = {"n": config.n, "seed": config.seed, "pairs_sha256": digest_pairs(drawn)}
    path = config.path or folder / "anchors.json"
    return Anchors(drawn, terms, path, config.max_drift, relock)


def hold_to_anchors(
    anchors: Anchors,
    name: str,
    described: Mapping[str, Any],
    ask: Callable[[Sequence[Pair]], list[Judgement]],
) -> Anchored:
    """Ask a judge about the anchors, and hold it to its lock; without one, lock it.

    Args:
        anchors: The anchors.
        name: The judge's name.
        described: What locks it, and its host, which does not.
        ask: Asks it afresh.

    Raises:
        ConfigError: It is another judge by the config.
        DataError: The lock cannot be read.
        DriftError: It answers otherwise than when it was locked.
        RunError: Too few anchors were answered.
    """
    locks = _read_locks(anchors.path)
    kept = None if anchors.is_relocking else locks.get(name)
    if kept:
        _check_terms(name, kept, described, anchors)
    said = verdicts_of(judged := ask(anchors.drawn))
    before = _verdicts(kept) if kept else {_key(one): said.get(_key(one)) for one in judged}
    drift = measure_drift(anchors.drawn, before, said)
    if not kept:
        kept = {
            "judge": dict(described),
            "anchors": dict(anchors.terms),
            "verdicts": [[*key, value] for key, value in said.items()],
            "locked": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        _write_locks(anchors.path, locks | {name: kept})
    elif drift.share.value > anchors.max_drift:
        raise DriftError(_drifted(name, drift, kept, described, anchors))
    return Anchored(_lock_id(kept), _told(drift, kept, anchors))


def _check_terms(
    name: str, kept: Mapping[str, Any], described: Mapping[str, Any], anchors: Anchors
) -> None:
    changed = [
        f"`{key}` was {_shown(before.get(key))}, now {_shown(now.get(key))}"
        for before, now in (
            (_locking(kept["judge"]), _locking(described)),
            (kept["anchors"], anchors.terms),
        )
        for key in dict.fromkeys([*before, *now])
        if before.get(key) != now.get(key)
    ]
    if changed:
        raise ConfigError(
            f"the judge `{name}` is not as it was locked: {'; '.join(changed)}",
            where=str(anchors.path),
            hint=f"change it back, or {RELOCK}",
        )


def _locking(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return what locks a judge: where it is reached may change, and the anchors watch that."""
    return {key: value for key, value in described.items() if key != "host"}


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return f"`{text[:12]}...`" if len(text) == 64 else f"`{text}`"


def _drifted(
    name: str,
    drift: Drift,
    kept: Mapping[str, Any],
    described: Mapping[str, Any],
    anchors: Anchors,
) -> str:
    share, n_rest = drift.share, len(drift.changes) - SHOWN_CHANGES
    bounds = f" (95 % interval {100 * share.low:.1f} to {100 * share.high:.1f})"
    interval = "" if math.isnan(share.low) else bounds
    shown = [str(one) for one in drift.changes[:SHOWN_CHANGES]]
    rest = [f"and {n_rest} more"] if n_rest > 0 else []
    before, now = kept["judge"].get("host"), described.get("host")
    moved = [f"it was asked at {before}, now at {now}"] if before != now else []
    return "\n".join(
        [
            f"the judge `{name}` has drifted: {len(drift.changes)} of {share.n} anchor verdicts "
            f"are others than on {kept['locked']}, {100 * share.value:.1f} %{interval}, and "
            f"`anchors.max_drift` allows {100 * anchors.max_drift:g} %",
            f"  --> {anchors.path}",
            f"changed: {'; '.join([*shown, *rest, *moved])}",
            "",
            "hint: what it says now must not be compared with what it said before: ask the "
            f"judge that was locked, or {RELOCK}",
        ]
    )


def _told(drift: Drift, kept: Mapping[str, Any], anchors: Anchors) -> dict[str, Any]:
    return {
        "drift": dataclasses.asdict(drift.share),
        "changed": [str(one) for one in drift.changes],
        "n_missing": drift.n_missing,
        "max_drift": anchors.max_drift,
        "locked": kept["locked"],
        "lock": str(anchors.path),
    }


def _key(judgement: Judgement) -> tuple[str, int]:
    return judgement.item_id, judgement.order


def _verdicts(kept: Mapping[str, Any]) -> dict[tuple[str, int], float | None]:
    return {(pair_id, order): value for pair_id, order, value in kept["verdicts"]}


def _lock_id(kept: Mapping[str, Any]) -> str:
    told = [_locking(kept["judge"]), kept["anchors"], kept["verdicts"]]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _read_locks(path: Path) -> dict[str, Any]:
    """Return the locks of a file by judge; none where there is no file."""
    if not path.exists():
        return {}
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        locks: dict[str, Any] = told["judges"]
        is_known = told["version"] == VERSION and all(
            one.keys() >= {"judge", "anchors", "verdicts", "locked"} for one in locks.values()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        is_known = False
    if not is_known:
        raise DataError(
            "not a lock of anchors that can be read",
            where=str(path),
            hint="restore the file; without it the judges are locked anew",
        )
    return locks


def _write_locks(path: Path, locks: Mapping[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    told = {"version": VERSION, "judges": locks}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise UserError(
            f"cannot keep the lock of the anchors: {error.strerror}",
            where=str(path),
            hint="name a file that can be written in `anchors.path`",
        ) from error
