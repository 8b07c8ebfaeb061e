"""Mazes with their searches, per second: ours, and the public generator where it is at hand.

    python benchmarks/mazes.py
    python benchmarks/mazes.py --public PATH/TO/beyond-semantics-maze-visualizer

In: a grid and a count. Out: one line of JSON: lines of text a second for every generator, in turns
with the public one's (node, with its packages installed) if its folder is given, and the ratio.

Both print the same bytes (tests/test_mazes.py), and both write a file; node takes a fraction of a
second to start, which counts as its time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from _machine import describe_circumstances

from evals.probes.traces.kinds import Generator, Split
from evals.probes.traces.problems import draw_problems
from evals.probes.traces.tokens import Vocabulary, published_line

SEED = 42


def write_ours(generator: Generator, side: int, n: int, path: Path) -> None:
    """Write the lines of n mazes."""
    vocabulary = Vocabulary(side, side)
    problems = draw_problems(generator, side, side, SEED, Split.TRAIN)
    with path.open("w", encoding="ascii") as file:
        file.writelines(
            published_line(problem, vocabulary) for problem in itertools.islice(problems, n)
        )


def write_public(folder: Path, generator: Generator, side: int, n: int, path: Path) -> None:
    """Let the public generator write the same lines."""
    command = [
        *("node", "headless_gen/cli.js", "-g", generator.value, "-s", "astar"),
        *("-r", str(side), "-c", str(side), "-n", str(n), "--seed", str(SEED), "-o", str(path)),
    ]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def main() -> None:
    """Time both in turns, compare their bytes, print the ratios."""
    options = _options()
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        ours, theirs = Path(scratch, "ours.jsonl"), Path(scratch, "public.jsonl")
        for generator in Generator:
            write_ours(generator, options.side, 10, ours)  # compiled, or read from the disk
            rates: dict[str, list[float]] = {"ours": [], "public": []}
            for _ in range(options.rounds):
                took = _time(lambda g=generator: write_ours(g, options.side, options.n, ours))  # type: ignore[misc]
                rates["ours"].append(options.n / took)
                if options.public:
                    took = _time(
                        lambda g=generator: write_public(  # type: ignore[misc]
                            options.public, g, options.side, options.n, theirs
                        )
                    )
                    rates["public"].append(options.n / took)
                    assert ours.read_bytes() == theirs.read_bytes(), generator
            found[generator.value] = _told(rates)
    print(
        json.dumps(
            {"side": options.side, "n": options.n, "mazes_a_second": found}
            | {"cores": os.cpu_count()}
            | describe_circumstances()
        )
    )


def _told(rates: dict[str, list[float]]) -> dict[str, float]:
    told = {name: round(statistics.median(own), 1) for name, own in rates.items() if own}
    if rates["public"]:
        pairs = zip(rates["ours"], rates["public"], strict=True)
        told["ratio"] = round(statistics.median(fast / slow for fast, slow in pairs), 2)
    return told


def _time(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=30, help="rows and columns")
    parser.add_argument("--n", type=int, default=2000, help="mazes of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--public", type=Path, help="folder of the public generator")
    return parser.parse_args()


if __name__ == "__main__":
    main()
