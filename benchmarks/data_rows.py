"""How fast and how lean the data stage is, and its contamination flag against lm-eval's Janitor.

    python benchmarks/data_rows.py --rows 1000000

Writes seeded synthetic rows (60 to 120 words, words by a Zipf law) as JSONL, with planted exact
duplicates, near duplicates and contaminated rows; runs the whole stage over them in a process of
its own, keeping every row that survives (or `--amount`), and asks it for its peak memory; checks
that what was planted was found. Then flags a sample of the same rows by "shares an n-gram with an
item", once with our index and once with `lm_eval.decontamination.janitor.Janitor`, and checks that
the flags are equal; both are timed in CPU seconds of one process, since machines are shared. The
last line is JSON.

Both sides lower-case, strip ASCII punctuation and split at white space. They differ in two cases,
neither of which the rows contain: a punctuation mark standing alone counts as an empty word in the
rows that Janitor reads and as none here, and we strip typographic quotation marks and part words at
dashes. Janitor runs in Python: its C++ module has to be compiled from lm-eval's repository and is
in no wheel; where it can be imported, it is used, and `janitor_mode` says so.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from evals.records import Axis, Item
from imitate.config import DataConfig, FileSource
from imitate.data import Decontaminator, open_source, prepare, read_examples
from imitate.data.words import WordBatch, split_words

SEED = 7
N_WORDS = 30_000
N_ITEMS = 5_000
NGRAM = 13
PLANTED_SHARES = {"exact": 0.01, "near": 0.01, "contaminated": 0.002}
BATCH_ROWS = 256
_SYLLABLE_LINE = "ba ce di fo gu ha je ki lo mu na pe ri so tu va we xi yo zu"


def main() -> None:
    """Run both measurements and print one line of JSON at the end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows to generate")
    parser.add_argument("--sample", type=int, default=20_000, help="rows that Janitor flags too")
    parser.add_argument("--amount", type=int, help="training examples kept; all where empty")
    parser.add_argument("--stage-over", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage_over:
        print(json.dumps(measure_stage(arguments.stage_over, arguments.amount)))
        return
    with tempfile.TemporaryDirectory(prefix="imitate-benchmark-") as folder:
        path = Path(folder) / "rows.jsonl"
        planted = write_rows(path, arguments.rows)
        print(f"{arguments.rows:,} rows, {path.stat().st_size / 1e6:,.0f} MB written")
        stage = run_stage(path, arguments.amount)
        print(stage.pop("card"))
        check_planted(planted, stage["dropped"])
        flags = compare_flags(path, min(arguments.sample, arguments.rows))
    print(
        json.dumps(
            {
                "benchmark": "data_rows",
                "measured": "contamination flag, rows per CPU second over lm-eval Janitor's",
                **flags,
                "stage": stage | {"rows": arguments.rows, "planted": planted},
                "hardware": describe_hardware(),
            }
        )
    )


def make_words() -> list[str]:
    """Return distinct made-up words, the frequent ones short."""
    rng = np.random.default_rng(SEED)
    syllables = _SYLLABLE_LINE.split()
    words: dict[str, None] = {}
    while len(words) < N_WORDS:
        n_syllables = 2 + min(3, len(words) // 200)
        words["".join(rng.choice(syllables, n_syllables))] = None
    return list(words)


class TextMaker:
    """Draws texts from a Zipf law over made-up words, punctuated as sentences."""

    def __init__(self, seed: int) -> None:
        self._words = make_words()
        weights = 1 / (np.arange(N_WORDS) + 2.7)
        self._cumulative = np.cumsum(weights / weights.sum())
        self._rng = np.random.default_rng(seed)

    def words(self, count: int) -> list[str]:
        """Return so many words."""
        drawn = np.searchsorted(self._cumulative, self._rng.random(count))
        return [self._words[min(i, N_WORDS - 1)] for i in drawn.tolist()]

    def integer(self, low: int, high: int) -> int:
        """Return a number from `low` to below `high`."""
        return int(self._rng.integers(low, high))


def punctuate(words: list[str]) -> str:
    """Return words as sentences of twelve."""
    sentences = [words[i : i + 12] for i in range(0, len(words), 12)]
    return " ".join(
        ", ".join([" ".join(s[:5]), " ".join(s[5:])]).capitalize() + "." for s in sentences
    )


def make_items() -> list[Item]:
    """Return questions of 8 to 40 words with a short answer."""
    maker = TextMaker(SEED + 1)
    items = []
    for i in range(N_ITEMS):
        question = " ".join(maker.words(maker.integer(8, 41))).capitalize() + "?"
        answer = " ".join(maker.words(maker.integer(1, 4)))
        items.append(
            Item(f"i{i}", "synthetic", Axis.FACTUALITY, f"i{i}", question, answers=(answer,))
        )
    return items


def write_rows(path: Path, n_rows: int) -> dict[str, int]:
    """Write the rows, and return how many of each kind were planted."""
    maker = TextMaker(SEED + 2)
    long_items = [item for item in make_items() if len(item.prompt.split()) >= NGRAM]
    planted = dict.fromkeys(PLANTED_SHARES, 0)
    earlier: list[str] = []
    kinds = np.random.default_rng(SEED).choice(
        [*PLANTED_SHARES, "fresh"],
        n_rows,
        p=[*PLANTED_SHARES.values(), 1 - sum(PLANTED_SHARES.values())],
    )
    with path.open("w") as file:
        for i, kind in enumerate(kinds.tolist()):
            words = maker.words(maker.integer(60, 121))
            prompt, response = words[:15], words[15:]
            if kind in ("exact", "near") and earlier:
                prompt, response = (
                    part.split(" ") for part in earlier[i % len(earlier)].split("|")
                )
                if kind == "near":
                    response = [*response[:-1], *maker.words(2)]
                planted[kind] += 1
            elif kind == "contaminated":
                response[20:20] = split_words(long_items[i % len(long_items)].prompt)
                planted[kind] += 1
            elif len(earlier) < 1000:
                earlier.append(" ".join(prompt) + "|" + " ".join(response))
            row = {"prompt": punctuate(prompt), "response": punctuate(response)}
            file.write(json.dumps(row) + "\n")
    return planted


def run_stage(path: Path, amount: int | None) -> dict[str, Any]:
    """Return what the stage measured of itself in a process of its own."""
    command = [sys.executable, __file__, "--stage-over", str(path)]
    if amount is not None:
        command += ["--amount", str(amount)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def measure_stage(path: Path, amount: int | None) -> dict[str, Any]:
    """Return speed, peak memory and card of the stage over one file."""
    items = make_items()
    data = DataConfig()
    source = FileSource(kind="file", path=path)
    before_mb = _peak_mb()
    started, cpu_started = time.perf_counter(), time.process_time()
    card = open_source(source)
    examples = read_examples(source, data, card)
    prepared = prepare(examples, data, items=items, amount=amount, sources=[card])
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "rows_per_second": round(card.rows / seconds),
        "rows_per_cpu_second": round(card.rows / cpu_seconds),
        "peak_memory_mb": round(_peak_mb()),
        "memory_before_mb": round(before_mb),
        "kept": len(prepared.train),
        "dropped": {step.step: step.dropped for step in prepared.card.steps if step.dropped},
        "card": str(prepared.card),
    }


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux


def check_planted(planted: dict[str, int], dropped: dict[str, int]) -> None:
    """Check that the stage found what was planted: all of it, and 97 % of near duplicates."""
    exact, near = dropped.get("exact_duplicate", 0), dropped.get("near_duplicate", 0)
    assert exact >= planted["exact"], (planted, dropped)  # two near ones may come out the same
    both = planted["exact"] + planted["near"]
    assert planted["exact"] + 0.97 * planted["near"] <= exact + near <= both, (planted, dropped)
    assert dropped.get("contaminated", 0) >= planted["contaminated"], (planted, dropped)


def compare_flags(path: Path, n_rows: int) -> dict[str, Any]:
    """Return the speeds of both flags over the same rows, and their ratio; the flags are equal."""
    items = make_items()
    texts = list(read_texts(path, n_rows))
    ours, seconds = flag_with_index(items, texts)
    theirs, janitor_seconds, mode = flag_with_janitor(items, texts)
    assert ours == theirs, (
        f"flags differ in {sum(a != b for a, b in zip(ours, theirs, strict=True))}"
    )
    return {
        "ratio": round(janitor_seconds / seconds, 1),
        "rows_compared": len(texts),
        "rows_flagged": sum(ours),
        "flags_equal": True,
        "rows_per_cpu_second": round(len(texts) / seconds),
        "janitor_rows_per_cpu_second": round(len(texts) / janitor_seconds),
        "janitor_mode": mode,
        "ngram": NGRAM,
        "items": len(items),
    }


def read_texts(path: Path, n_rows: int) -> Iterator[str]:
    """Yield the first rows as one text each."""
    with path.open() as file:
        for line, _ in zip(file, range(n_rows), strict=False):
            row = json.loads(line)
            yield f"{row['prompt']}\n{row['response']}"


def flag_with_index(items: list[Item], texts: list[str]) -> tuple[list[bool], float]:
    """Return which texts share an n-gram with an item, and the seconds it took to tell."""
    index = Decontaminator(items, ngram=NGRAM)
    flags = [False] * len(texts)
    started = time.process_time()
    for start in range(0, len(texts), BATCH_ROWS):
        for row, _ in index.find_ngrams(WordBatch.of(texts[start : start + BATCH_ROWS])):
            flags[start + row] = True
    return flags, time.process_time() - started


def flag_with_janitor(items: list[Item], texts: list[str]) -> tuple[list[bool], float, str]:
    """Return the same of lm-eval's Janitor: a text is flagged where cleaning changes it."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        from lm_eval.decontamination.janitor import JANITOR_CPP, Janitor
    # Nothing is cut around a match and no chunk is too short, so that only a match changes a text.
    janitor = Janitor(NGRAM, window_to_remove=0, too_dirty_cutoff=10**9, minimum_slice_length=0)
    register = (
        janitor.register_contaminant_cpp if JANITOR_CPP else janitor.register_contaminant_python
    )
    clean = janitor.clean_cpp if JANITOR_CPP else janitor.clean_python
    for item in items:
        for text in (item.prompt, *item.answers):
            register(text)
    started = time.process_time()
    flags = [clean(text) != [text] for text in texts]
    return flags, time.process_time() - started, "C++" if JANITOR_CPP else "Python"


def describe_hardware() -> dict[str, Any]:
    """Return what the numbers were measured on."""
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    main()
