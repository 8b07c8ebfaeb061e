"""Keys of model servers, from the environment alone."""

from __future__ import annotations

import os

from evals.errors import ConfigError

__all__ = ["key_from"]


def key_from(variable: str | None, where: str) -> str | None:
    """Return the key that an environment variable holds; None where the config names none.

    Raises:
        ConfigError: The variable is not set.
    """
    if variable is None:
        return None
    if not os.environ.get(variable, "").strip():
        raise ConfigError(
            f"`{where}` names `{variable}`, an environment variable that is not set",
            hint=f"export {variable}=... before the run; the key itself never goes into a config",
        )
    return os.environ[variable]
