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
from collections.abc import Callable, Sequence

from evals.errors import ImitateError, UserError
from imitate.arguments import build_parser

__all__ = ["main"]

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
        code = _COMMANDS[arguments.command](arguments)
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
        from imitate.configfile import config_schema, probe_schema

        print(probe_schema() if arguments.schema == "probe" else config_schema())
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


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "check": _check,
    "compare": _compare,
    "data": _data,
    "distill": _distill,
    "doctor": _doctor,
    "fetch_model": _fetch_model,
    "judge_card": _judge_card,
    "lab_card": _lab_card,
    "list_models": _list_models,
    "plan": _plan,
    "pretrain": _pretrain,
    "rate_export": _rate_export,
    "rate_import": _rate_import,
    "report": _report,
    "run": _run,
    "serve": _serve,
    "spot": _spot,
}


if __name__ == "__main__":
    sys.exit(main())
