"""The whole config, and what its parts must agree on."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from evals.records import Axis
from imitate.config.data import DataConfig, LabSource, MixConfig
from imitate.config.models import (
    BaseConfig,
    DistillConfig,
    ModelTeacher,
    OracleTeacher,
    OutputsTeacher,
    PublishedTeacher,
    RecordedImitator,
    RecordedOutputs,
    ServeConfig,
    Teacher,
    TrainConfig,
)
from imitate.config.preferring import PreferenceConfig, ReviewsJudge
from imitate.config.section import Name, Section
from imitate.config.tasks import (
    AnalysisConfig,
    ControlName,
    FileItems,
    LabConfig,
    LabItems,
    MemorisationConfig,
    TaskConfig,
)

__all__ = ["Config"]


class Config(Section):
    """One run: what is trained, on what, and how it is judged."""

    name: Name
    """Name of the run and of its folder."""
    seed: int = 0
    """Seed of everything that is drawn, except training, whose seeds are the mixes'."""
    lab: LabConfig = LabConfig()
    """The embedded world."""
    bases: Annotated[list[BaseConfig], Field(min_length=1)]
    """Base models, smallest first."""
    teacher: Teacher
    """The stronger model."""
    distill: DistillConfig = DistillConfig()
    """How the teacher answers prompts."""
    mixes: dict[Name, MixConfig] = {}
    """Imitation data by name."""
    imitators: dict[Name, RecordedImitator] = {}
    """Imitators that were trained elsewhere, by name, each a file of outputs."""
    data: DataConfig = DataConfig()
    """How sources become examples."""
    train: TrainConfig = TrainConfig()
    """How adapters are trained."""
    serve: ServeConfig = ServeConfig()
    """How models are run."""
    tasks: Annotated[list[TaskConfig], Field(min_length=1)]
    """What is measured."""
    controls: list[ControlName] = ["null", "style_prompt", "length_padded"]
    """Control arms that train nothing; the teacher's second sample is drawn in any case."""
    preference: PreferenceConfig = PreferenceConfig()
    """Judges that say which arm's answers are better."""
    memorisation: MemorisationConfig = MemorisationConfig()
    """Bits of the training responses that an adapter holds."""
    analysis: AnalysisConfig = AnalysisConfig()
    """The verdict's rule."""

    @property
    def distill_serve(self) -> ServeConfig:
        """What runs a teacher that is a model while it makes imitation data."""
        return self.serve.model_copy(update={"backend": self.distill.backend})

    @model_validator(mode="after")
    def _names_agree(self) -> Config:
        problems = [
            *_doubled_names(self),
            *_unknown_names(self),
            *_control_faults(self),
            *_teacher_faults(self),
            *_recorded_faults(self),
            *_judge_faults(self),
            *_format_faults(self),
            *_server_faults(self),
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self


def _doubled_names(config: Config) -> list[str]:
    listed: dict[str, list[Any]] = {
        "bases": [base.name for base in config.bases],
        "tasks": [task.name for task in config.tasks],
        "controls": list(config.controls),
    }
    for name, mix in config.mixes.items():
        listed |= {f"mixes.{name}.amounts": mix.amounts, f"mixes.{name}.seeds": mix.seeds}
    problems = [
        f"`{what}` has `{one}` twice"
        for what, names in listed.items()
        for one in sorted(set(names))
        if names.count(one) > 1
    ]
    reserved = {"teacher", "run"} & {base.name for base in config.bases}
    return problems + [f"`{name}` is a reserved name: call the base otherwise" for name in reserved]


def _control_faults(config: Config) -> list[str]:
    """A control has rows, bases and a learning rate of its parent only."""
    problems = []
    every = {base.name for base in config.bases}
    for name, mix in config.mixes.items():
        parent = config.mixes.get(mix.parent or "")
        if parent is None:
            continue
        if parent.is_control:
            problems.append(f"`mixes.{name}.{_origin(mix)}` names `{mix.parent}`, a control")
        if max(mix.amounts) > max(parent.amounts):
            problems.append(
                f"`mixes.{name}.amounts` asks for {max(mix.amounts):,} examples, "
                f"`{mix.parent}` has {max(parent.amounts):,}"
            )
        if missing := set(mix.bases or every) - set(parent.bases or every):
            problems.append(
                f"`mixes.{name}.bases` has {', '.join(sorted(missing))}, on which "
                f"`{mix.parent}` is not trained"
            )
    return problems


def _origin(mix: MixConfig) -> str:
    """Return the key that says what a control is made from."""
    return "shuffled_from" if mix.shuffled_from else "swapped_from"


def _teacher_faults(config: Config) -> list[str]:
    """Who cannot answer cannot be imitated, and the oracle knows nothing but the lab."""
    problems = []
    if isinstance(config.teacher, OutputsTeacher | PublishedTeacher):
        problems += [
            f"`mixes.{name}` has prompts of the lab, which a teacher of kind "
            f"`{config.teacher.kind}` cannot answer"
            for name, mix in config.mixes.items()
            if any(isinstance(source, LabSource) for source in mix.sources)
        ]
    if isinstance(config.teacher, OracleTeacher):
        problems += [
            f"task `{task.name}` is not the lab's, and the oracle knows nothing else"
            for task in config.tasks
            if not isinstance(task.source, LabItems)
        ]
    return problems


def _recorded_faults(config: Config) -> list[str]:
    """Who is known by outputs alone cannot be trained, and answers nothing but style prompts."""
    if not config.mixes and not config.imitators:
        return ["there is nothing to compare: give `mixes`, or `imitators` as files of outputs"]
    problems = [
        f"`imitators.{name}` has the name of a mix"
        for name in config.imitators.keys() & config.mixes.keys()
    ]
    recorded = {base.name for base in config.bases if base.outputs}
    problems += [
        f"`mixes.{name}.bases` must leave out `{base}`, of which there are outputs alone"
        for name, mix in config.mixes.items()
        for base in sorted(recorded & set(mix.bases or recorded))
    ]
    problems += [
        f"task `{task.name}` asks for {task.axis}, and base `{base}` has outputs for style alone"
        for task in config.tasks
        for base in sorted(recorded)
        if task.axis is not Axis.STYLE
    ]
    if any(outputs.id_column for outputs in _all_outputs(config)):
        problems += [
            f"outputs are matched by id, and task `{task.name}` has no `source.id_column`"
            for task in config.tasks
            if task.axis is Axis.STYLE
            and not (isinstance(task.source, FileItems) and task.source.id_column)
        ]
    return problems


def _judge_faults(config: Config) -> list[str]:
    problems = []
    styles = [task for task in config.tasks if task.axis is Axis.STYLE]
    known = {"teacher", *(base.name for base in config.bases), *config.imitators}
    for name, judge in config.preference.judges.items():
        if not styles:
            problems.append(f"`preference.judges.{name}`: no task is of axis style")
        if isinstance(judge, ReviewsJudge):
            problems += [
                f"`preference.judges.{name}` has a review of `{arm}`, which is no base, no "
                "imitator trained elsewhere and not `teacher`"
                for arm in sorted(
                    {a for one in judge.files for a in (one.first, one.second)} - known
                )
            ]
            problems += [
                f"`preference.judges.{name}` goes by id, and task `{task.name}` has no "
                "`source.id_column`"
                for task in styles
                if not (isinstance(task.source, FileItems) and task.source.id_column)
            ]
        elif config.preference.budget.max_usd is not None and not getattr(judge, "price", True):
            problems.append(f"`preference.budget.max_usd` needs the `price` of judge `{name}`")
    return problems


def _all_outputs(config: Config) -> list[RecordedOutputs]:
    teacher = [config.teacher] if isinstance(config.teacher, OutputsTeacher) else []
    bases = [base.outputs for base in config.bases if base.outputs]
    return [*teacher, *bases, *(imitator.outputs for imitator in config.imitators.values())]


def _format_faults(config: Config) -> list[str]:
    """Formats are compared over a whole axis, and chosen on development items that are left."""
    problems = []
    for axis in (Axis.FACTUALITY, Axis.CAPABILITY):
        tasks = [task for task in config.tasks if task.axis is axis and task.in_verdict]
        if len({frozenset(task.formats) for task in tasks}) > 1:
            names = ", ".join(task.name for task in tasks)
            problems.append(f"tasks of {axis} must be asked in the same formats: {names}")
        problems += [
            f"`n_development` of task `{task.name}` must be above its `few_shot`, got "
            f"{task.n_development} and {task.few_shot}: what is left chooses the format"
            for task in tasks
            if len(task.formats) > 1 and task.n_development <= task.few_shot
        ]
    return problems


def _server_faults(config: Config) -> list[str]:
    """Servers that are there already hold one base, and load nothing but its adapters."""
    if config.serve.backend != "endpoint":
        return []
    problems = []
    if len(config.bases) > 1:
        names = ", ".join(base.name for base in config.bases)
        problems.append(f"`serve.endpoint` holds one base, and the run has {names}: run each alone")
    if isinstance(config.teacher, ModelTeacher):
        problems.append(
            "`serve.endpoint` holds a base, so the teacher needs a server of its own: give it as "
            "`teacher: {kind: endpoint}`"
        )
    return problems


def _unknown_names(config: Config) -> list[str]:
    bases = {base.name for base in config.bases}
    problems = []
    for name, mix in config.mixes.items():
        for base in set(mix.bases or []) - bases:
            problems.append(f"`mixes.{name}.bases` names `{base}`, which is no base")
        if mix.parent and mix.parent not in config.mixes:
            problems.append(f"`mixes.{name}.{_origin(mix)}` names `{mix.parent}`, which is no mix")
    for name, imitator in config.imitators.items():
        if imitator.base not in bases:
            problems.append(f"`imitators.{name}.base` names `{imitator.base}`, which is no base")
    for task in config.tasks:
        for mix_name in set(task.in_support_of) - config.mixes.keys():
            problems.append(
                f"`in_support_of` of task `{task.name}` names `{mix_name}`, which is no mix"
            )
    return sorted(problems)
