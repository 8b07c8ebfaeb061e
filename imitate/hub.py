"""Names on the Hugging Face hub -> commits: asked once a process, so that a run reads one state.

A commit that was resolved once is remembered in the user's cache: without a network, a run whose
cells are finished still knows their names.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import re
from pathlib import Path
from typing import Any, Literal

from evals.errors import DataError
from imitate.config import HubSource
from imitate.hashing import cache_folder, folder_identity, remember

__all__ = ["data_set_identity", "hub_commit", "pin_source"]

logger = logging.getLogger(__name__)

_COMMIT = re.compile(r"[0-9a-f]{40}")


@functools.cache
def hub_commit(kind: Literal["model", "dataset"], name: str, revision: str | None = None) -> str:
    """Return the commit that a revision of a repository stands for, the newest where None.

    Raises:
        LookupError: The hub has no such repository or revision.
        ConnectionError: It cannot be reached, and nothing is remembered.
    """
    if revision and _COMMIT.fullmatch(revision):
        return revision
    memory = _memory(kind, name, revision)
    commit = _ask(kind, name, revision)
    if commit:
        remember(memory, {"name": name, "revision": revision or "", "commit": commit})
        return commit
    try:
        return str(json.loads(memory.read_text(encoding="utf-8"))["commit"])
    except (OSError, ValueError, KeyError):
        raise ConnectionError(f"the hub cannot be reached to look for `{name}` there") from None


def pin_source(source: HubSource) -> HubSource:
    """Return a hub data set at its commit; a local folder in its place stays as it is.

    Raises:
        DataError: The hub has no such data set or revision, or cannot be reached.
    """
    if Path(source.dataset).is_dir():
        return source
    try:
        commit = hub_commit("dataset", source.dataset, source.revision)
    except LookupError:
        at = f" at revision `{source.revision}`" if source.revision else ""
        raise DataError(
            f"the hub has no data set `{source.dataset}`{at}, or it is private",
            hint="check the names on its page; a gated data set needs `hf auth login`",
        ) from None
    except ConnectionError:
        raise DataError(
            f"the hub cannot be reached for `{source.dataset}`",
            hint="check the network and HF_HUB_OFFLINE, or give a local copy as `kind: file`",
        ) from None
    return source.model_copy(update={"revision": commit})


def data_set_identity(source: HubSource) -> str:
    """Return `hub:ID@COMMIT`, or `sha256:...` of a local folder's files.

    Raises:
        DataError: As `pin_source`.
    """
    folder = Path(source.dataset)
    if folder.is_dir():
        return folder_identity(folder, counted=None)
    return f"hub:{source.dataset}@{pin_source(source).revision}"


def _ask(kind: str, name: str, revision: str | None) -> str | None:
    """Return the commit as the hub says; None where it cannot be reached."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import (
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    # The hub client has changed its HTTP library between releases: take the error that it raises.
    http_error: Any = next(one for one in HfHubHTTPError.__mro__ if one.__name__ == "HTTPError")
    if constants.HF_HUB_OFFLINE:
        return None
    try:
        found = HfApi().repo_info(name, repo_type=kind, revision=revision, timeout=10)
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise LookupError(name) from error
    except (OSError, http_error) as error:
        logger.info("hub not reachable (%s): looking for %s in what is remembered", error, name)
        return None
    return str(found.sha)


def _memory(kind: str, name: str, revision: str | None) -> Path:
    digest = hashlib.sha256(f"{kind}|{name}|{revision or ''}".encode()).hexdigest()
    return cache_folder() / "hub" / f"{digest}.json"
