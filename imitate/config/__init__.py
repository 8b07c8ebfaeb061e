"""Every schema and every default: what a config file may say, and what it means where it is silent.

A config is frozen once read. Units stand in names or in the line under the field. Reading a file,
with its overrides and its errors, is `imitate.configfile`.
"""

from __future__ import annotations

from imitate.config.capacity import (
    CapacityJob,
    CapacityTrainConfig,
    OracleReference,
    SameSizeReference,
    SizeConfig,
    TextConfig,
    UniformConfig,
)
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
from imitate.config.grokking import ContrastConfig, GrokkingJob, SweepConfig
from imitate.config.judging import (
    AnchorsConfig,
    DiscriminatorJudge,
    EndpointJudge,
    JudgeCardJob,
    ModelJudge,
    RecordedJudge,
    VoiceTexts,
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
from imitate.config.pairs import (
    FilePairs,
    FileProbeItems,
    LabProbeItems,
    LlmBarPairs,
    MtBenchPairs,
    ProbePairs,
    VerdictWords,
)
from imitate.config.preferring import (
    JudgementsJudge,
    PreferenceConfig,
    Review,
    ReviewsJudge,
    RunJudge,
)
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
from imitate.config.traces import TracesJob
from imitate.config.whole import Config

ProbeJob = GrokkingJob | CapacityJob | TracesJob
"""The config of a probe, by its `probe`."""

__all__ = [
    "AnalysisConfig",
    "AnchorsConfig",
    "BaseConfig",
    "CapacityJob",
    "CapacityTrainConfig",
    "Config",
    "ContrastConfig",
    "ControlName",
    "DataConfig",
    "DiscriminatorJudge",
    "DistillConfig",
    "DistillJob",
    "DocumentsSource",
    "EndpointJudge",
    "EndpointTeacher",
    "FileItems",
    "FilePairs",
    "FileProbeItems",
    "FilePrompts",
    "FileSource",
    "GrokkingJob",
    "HubPrompts",
    "HubSource",
    "ItemSource",
    "JobSampling",
    "JudgeCardJob",
    "JudgementsJudge",
    "LabConfig",
    "LabItems",
    "LabProbeItems",
    "LabSource",
    "LlmBarPairs",
    "LmEvalItems",
    "MixConfig",
    "ModelJudge",
    "ModelTeacher",
    "MtBenchPairs",
    "NearDuplicates",
    "OracleReference",
    "OracleTeacher",
    "OutputsTeacher",
    "PreferenceConfig",
    "ProbeJob",
    "ProbePairs",
    "PublishedTeacher",
    "RecordedImitator",
    "RecordedJudge",
    "RecordedOutputs",
    "Review",
    "ReviewsJudge",
    "RunJudge",
    "RunningServerConfig",
    "SameSizeReference",
    "Section",
    "SeedPrompts",
    "ServeConfig",
    "SizeConfig",
    "Source",
    "SweepConfig",
    "TableSource",
    "TaskConfig",
    "Teacher",
    "TextConfig",
    "TracesJob",
    "TrainConfig",
    "UniformConfig",
    "VerdictWords",
    "VllmConfig",
    "VoiceTexts",
]
