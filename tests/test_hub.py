"""Names on the hub are resolved once, can be pinned, and are remembered for when it is away."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from evals.errors import DataError
from imitate.config import HubSource
from imitate.hub import data_set_identity, hub_commit, pin_source
from imitate.models import resolve_model

FIRST, SECOND = "a" * 40, "b" * 40


class Hub:
    """Stands in for the hub's client; its newest commit may change."""

    def __init__(self) -> None:
        self.commit = FIRST
        self.asked: list[tuple[str, str | None]] = []

    def repo_info(self, name: str, *, revision: str | None, **_: object) -> SimpleNamespace:  # noqa: D102
        self.asked.append((name, revision))
        return SimpleNamespace(sha=self.commit)


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    found = Hub()
    monkeypatch.setenv("IMITATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: found)
    hub_commit.cache_clear()
    return found


def test_the_newest_commit_is_asked_for_once(hub: Hub) -> None:
    source = HubSource(kind="hub", dataset="some/data")
    assert pin_source(source).revision == FIRST
    hub.commit = SECOND
    assert data_set_identity(source) == f"hub:some/data@{FIRST}"
    assert resolve_model("some/model").identity == f"hub:some/model@{SECOND}"
    hub.commit = FIRST
    assert resolve_model("some/model").revision == SECOND
    assert len(hub.asked) == 2


def test_a_commit_that_is_pinned_needs_no_hub(hub: Hub) -> None:
    source = HubSource(kind="hub", dataset="some/data", revision=SECOND)
    assert data_set_identity(source) == f"hub:some/data@{SECOND}"
    ref = resolve_model(f"some/model@{SECOND}")
    assert (ref.name, ref.location, ref.revision) == ("some/model", "some/model", SECOND)
    assert hub.asked == []


def test_a_branch_or_tag_is_resolved_to_its_commit(hub: Hub) -> None:
    assert resolve_model("some/model@v1.0").identity == f"hub:some/model@{FIRST}"
    assert hub.asked == [("some/model", "v1.0")]


def test_offline_a_commit_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    source = HubSource(kind="hub", dataset="some/data")
    data_set_identity(source)
    hub_commit.cache_clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert data_set_identity(source) == f"hub:some/data@{FIRST}"
    with pytest.raises(DataError, match="the hub cannot be reached for `other/data`") as caught:
        data_set_identity(HubSource(kind="hub", dataset="other/data"))
    assert "local copy" in str(caught.value.hint)


def test_a_folder_in_place_of_a_data_set_counts_by_content(tmp_path: Path, hub: Hub) -> None:
    folder = tmp_path / "data"
    (folder / "inner").mkdir(parents=True)
    source = HubSource(kind="hub", dataset=str(folder))
    (folder / "inner" / "train.jsonl").write_text("one")
    before = data_set_identity(source)
    (folder / "inner" / "train.jsonl").write_text("two")
    assert data_set_identity(source) != before
    assert pin_source(source) is source
    assert hub.asked == []
