"""Every schema and every default: what a config file may say, and what it means where it is silent.

A config is frozen once read. Units stand in names or in the line under the field. Reading a file,
with its overrides and its errors, is `imitate.configfile`.
"""

from __future__ import annotations

from imitate.config.data import (
    DataConfig,
    DocumentsSource,
    FileSource,
    HubSource,
    LabSource,
    MixConfig,
    NearDuplicates,
    Source,
    TableSource,
)
from imitate.config.distilling import (
    DistillJob,
    FilePrompts,
    HubPrompts,
    JobSampling,
    SeedPrompts,
)
from imitate.config.judging import (
    EndpointJudge,
    FilePairs,
    JudgeCardJob,
    LlmBarPairs,
    ModelJudge,
    MtBenchPairs,
    RecordedJudge,
    VerdictWords,
)
from imitate.config.models import (
    BaseConfig,
    DistillConfig,
    EndpointTeacher,
    ModelTeacher,
    OracleTeacher,
    OutputsTeacher,
    PublishedTeacher,
    RecordedImitator,
    RecordedOutputs,
    RunningServerConfig,
    ServeConfig,
    Teacher,
    TrainConfig,
    VllmConfig,
)
from imitate.config.preferring import PreferenceConfig, Review, ReviewsJudge
from imitate.config.section import Section
from imitate.config.tasks import (
    AnalysisConfig,
    ControlName,
    FileItems,
    ItemSource,
    LabConfig,
    LabItems,
    LmEvalItems,
    TaskConfig,
)
from imitate.config.whole import Config

__all__ = [
    "AnalysisConfig",
    "BaseConfig",
    "Config",
    "ControlName",
    "DataConfig",
    "DistillConfig",
    "DistillJob",
    "DocumentsSource",
    "EndpointJudge",
    "EndpointTeacher",
    "FileItems",
    "FilePairs",
    "FilePrompts",
    "FileSource",
    "HubPrompts",
    "HubSource",
    "ItemSource",
    "JobSampling",
    "JudgeCardJob",
    "LabConfig",
    "LabItems",
    "LabSource",
    "LlmBarPairs",
    "LmEvalItems",
    "MixConfig",
    "ModelJudge",
    "ModelTeacher",
    "MtBenchPairs",
    "NearDuplicates",
    "OracleTeacher",
    "OutputsTeacher",
    "PreferenceConfig",
    "PublishedTeacher",
    "RecordedImitator",
    "RecordedJudge",
    "RecordedOutputs",
    "Review",
    "ReviewsJudge",
    "RunningServerConfig",
    "Section",
    "SeedPrompts",
    "ServeConfig",
    "Source",
    "TableSource",
    "TaskConfig",
    "Teacher",
    "TrainConfig",
    "VerdictWords",
    "VllmConfig",
]
