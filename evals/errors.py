"""The exception tree of the project.

ImitateError
├── UserError            the user can mend it: exit code 2, one message, no traceback
│   ├── ConfigError      a key or value of the config
│   ├── DataError        a file or data set
│   ├── ModelError       a checkpoint, tokenizer or adapter
│   ├── RecordError      records that do not fit together
│   ├── MissingExtraError  an optional dependency, with the command that installs it
│   └── BudgetError      the budget of tokens or money is spent (evals.ledger)
└── RunError             the run failed: exit code 1
    ├── DriftError       a judge is not the one that was locked (evals.judges.anchors)
    └── EndpointError    a model server did not answer as it should
        └── CallError    one call failed for good (evals.transport)
"""

from __future__ import annotations

__all__ = [
    "ConfigError",
    "DataError",
    "EndpointError",
    "ImitateError",
    "MissingExtraError",
    "ModelError",
    "RecordError",
    "RunError",
    "UserError",
]


class ImitateError(Exception):
    """Whatever this project raises on purpose."""


class UserError(ImitateError):
    """An error that the user caused and can mend.

    Args:
        message: What is wrong, with the offending value.
        where: Where the value came from, such as `configs/quickstart.yaml:12`.
        hint: What to do about it.
    """

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        lines = [f"error: {self.message}"]
        if self.where:
            lines.append(f"  --> {self.where}")
        if self.hint:
            lines.append(f"\nhint: {self.hint}")
        return "\n".join(lines)


class ConfigError(UserError):
    """A key or value of the config is wrong."""


class DataError(UserError):
    """A file or data set cannot be used as it is."""


class ModelError(UserError):
    """A checkpoint, tokenizer or adapter cannot be used as it is."""


class RecordError(UserError):
    """Records do not fit together: an id is missing, doubled, or of another schema."""


class MissingExtraError(UserError):
    """An optional dependency is missing.

    Args:
        feature: What needs it, in words.
        extra: The extra of this distribution that brings it.
        then: A further command, where the extra alone does not do.
    """

    def __init__(self, feature: str, extra: str, *, then: str = "") -> None:
        command = f"pip install 'imitation-gap[{extra}]'"
        super().__init__(
            f"{feature} needs the extra `{extra}`, which is not installed",
            hint=f"{command} && {then}" if then else command,
        )


class RunError(ImitateError):
    """The run failed for a reason outside its input."""


class EndpointError(RunError):
    """A model server did not answer as it should."""
