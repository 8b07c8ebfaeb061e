"""Which arms a config makes, and which cells they need."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evals.errors import ConfigError
from evals.records import Format
from imitate.config import Config, PublishedTeacher
from imitate.configfile import load_config
from imitate.fingerprints import cell_fingerprint
from imitate.plan import ArmKind, Cell, Plan, Stage, build_plan, unasked_formats
from imitate.store import FinishedCell

QUICKSTART = Path(__file__).parent.parent / "configs" / "quickstart.yaml"


def planned(*overrides: str) -> Plan:
    return build_plan(load_config(QUICKSTART, overrides))


def names(plan: Plan, kind: ArmKind) -> list[str]:
    return [arm.name for arm in plan.arms if arm.kind is kind]


def trained(plan: Plan) -> list[Cell]:
    return [cell for cell in plan.cells if cell.stage is Stage.TRAIN]


def test_every_cell_stands_after_its_inputs() -> None:
    seen: set[str] = set()
    for cell in planned().cells:
        needed = {*cell.inputs, *([cell.chosen_by] if cell.chosen_by else [])}
        assert needed <= seen, cell.name
        seen.add(cell.name)


def test_cell_names_are_unique() -> None:
    cells = [cell.name for cell in planned().cells]
    assert len(cells) == len(set(cells))


def test_arms_are_the_grid_of_bases_mixes_amounts_and_seeds() -> None:
    plan = planned("mixes.broad.seeds=[0, 1]", "mixes.local.bases=[medium]")
    arms = names(plan, ArmKind.IMITATOR)
    assert "small/broad-250-s1" in arms
    assert "medium/local-1000-s0" in arms
    assert "small/local-1000-s0" not in arms


def test_one_learning_rate_needs_no_choice() -> None:
    plan = planned("train.learning_rate=1e-3")
    assert names(plan, ArmKind.SWEEP) == []
    assert not [cell for cell in plan.cells if cell.stage is Stage.CHOOSE]
    rates = {
        c.name.split("/")[2].partition("-")[0]: c.params["learning_rate"] for c in trained(plan)
    }
    assert rates == {"broad": 1e-3, "local": 1e-3, "shuffled": 1e-3, "planted": 3e-3}


def test_a_mix_may_have_a_rate_of_its_own() -> None:
    plan = planned("mixes.broad.learning_rate=2e-3")
    assert "choose/medium/broad" not in plan.by_name
    for mix in ("broad", "shuffled"):
        assert plan.by_name[f"train/medium/{mix}-1000-s0"].params["learning_rate"] == 2e-3


def test_a_list_of_rates_is_swept_at_the_largest_amount_and_chosen_from() -> None:
    plan = planned()
    assert "medium/broad-1000-s0@0.001" in names(plan, ArmKind.SWEEP)
    chosen = plan.by_name["train/medium/broad-250-s0"]
    assert chosen.chosen_by == "choose/medium/broad"
    assert len(plan.by_name["choose/medium/broad"].inputs) == 3


def test_the_shuffled_control_trains_at_its_parents_rate() -> None:
    cell = planned().by_name["train/medium/shuffled-1000-s0"]
    assert cell.chosen_by == "choose/medium/broad"


def settings(plan: Plan) -> dict[str, Any]:
    return {cell.name: (cell.params, cell.inputs) for cell in plan.cells}


def test_another_seed_changes_no_cell_that_was_there_but_those_that_compare() -> None:
    before, after = settings(planned()), settings(planned("mixes.broad.seeds=[0, 1]"))
    changed = {name.partition("/")[0] for name in before if before[name] != after[name]}
    assert changed <= {"style", "analyse"}


def test_settings_of_a_cell_never_name_its_arm() -> None:
    plan = planned()
    sweep = plan.by_name["train/medium/broad-1000-s0@0.001"]
    chosen = plan.by_name["train/medium/broad-1000-s0"]
    filled = chosen.params | {"learning_rate": 0.001}
    assert filled == sweep.params


def test_trackers_do_not_change_what_is_trained() -> None:
    before, after = settings(planned()), settings(planned("train.report_to=[tensorboard]"))
    assert before == after


def test_keys_and_paths_are_no_part_of_a_cell(tmp_path: Path) -> None:
    teacher = "{kind: endpoint, url: 'http://127.0.0.1:1/v1', model: m, api_key_env: SECRET_KEY}"
    plan = planned(f"teacher={teacher}")
    assert not [c.name for c in plan.cells if "SECRET" in str(c)]


FILES = """\
name: files
bases: [{{name: small, model: lab/small}}]
teacher: {{kind: outputs, path: {0}/said.jsonl}}
mixes: {{own: {{sources: [{{kind: file, path: {0}/train.jsonl}}], amounts: [8]}}}}
train: {{learning_rate: 1e-3}}
tasks:
  - {{name: chat, axis: style, source: {{kind: file, path: {0}/chat.jsonl}}}}
  - {{name: facts, axis: factuality, source: {{kind: file, path: {0}/facts.jsonl}}}}
  - {{name: cities, axis: capability, source: {{kind: lm_eval, task: {0}/cities.yaml}}}}
"""


def planned_in(folder: Path) -> Plan:
    folder.mkdir()
    for name in ("said.jsonl", "train.jsonl", "chat.jsonl", "facts.jsonl"):
        (folder / name).write_text(f"{name}\n")
    (folder / "cities.yaml").write_text("task: cities\n")
    (folder / "files.yaml").write_text(FILES.format(folder))
    return build_plan(load_config(folder / "files.yaml"))


def test_data_may_move(tmp_path: Path) -> None:
    here, there = planned_in(tmp_path / "here"), planned_in(tmp_path / "there")
    assert settings(here) == settings(there)
    for name in ("items/chat", "items/facts", "items/cities"):
        cells = (plan.by_name[name] for plan in (here, there))
        first, second = (cell_fingerprint(cell, {}, here.config.lab) for cell in cells)
        assert first == second


@pytest.mark.parametrize("file", ["chat.jsonl", "facts.jsonl", "cities.yaml"])
def test_data_whose_content_changed_is_another_cell(tmp_path: Path, file: str) -> None:
    plan = planned_in(tmp_path / "here")
    cell = plan.by_name[f"items/{file.partition('.')[0]}"]
    before = cell_fingerprint(cell, {}, plan.config.lab)
    (tmp_path / "here" / file).write_text("other content\n")
    assert cell_fingerprint(cell, {}, plan.config.lab) != before


def test_what_lm_eval_reads_again_is_part_of_its_scores(tmp_path: Path) -> None:
    plan = planned_in(tmp_path / "here")
    cell = plan.by_name["capability/small/cities/plain"]
    assert cell.files == (tmp_path / "here" / "cities.yaml",)


def test_the_commit_of_a_hub_data_set_is_part_of_its_cell() -> None:
    sources = "[{kind: hub, dataset: some/data, revision: %s}]"
    prints = []
    for commit in ("a" * 40, "b" * 40):
        plan = planned(f"mixes.broad.sources={sources % commit}")
        done = {name: FinishedCell(Path(), name, 0.0) for name in plan.by_name}
        prints.append(cell_fingerprint(plan.by_name["data/broad"], done, plan.config.lab))
    assert prints[0] != prints[1]


def test_how_responses_are_split_is_part_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of swapped explanations are made with it."""
    plan = planned()
    done = {name: FinishedCell(Path(), name, 0.0) for name in plan.by_name}
    hashed: list[tuple[str, ...]] = []

    def note(modules: Sequence[str]) -> str:
        hashed.append(tuple(modules))
        return ""

    monkeypatch.setattr("imitate.fingerprints.source_hash", note)
    cell_fingerprint(plan.by_name["data/broad"], done, plan.config.lab)
    (modules,) = hashed
    assert {"imitate.data", "evals.extraction", "evals.sentences"} <= set(modules)


def test_every_adapter_that_is_used_is_proved_before_anything_is_measured() -> None:
    plan = planned()
    stages = [cell.stage for cell in plan.cells if cell.group == "medium"]
    proved = {c.adapter for c in plan.cells if c.stage is Stage.PROVE}
    used = {c.adapter for c in plan.cells if c.adapter}
    used |= {i for c in plan.cells if c.stage is Stage.MEMORISE for i in c.inputs if "half" in i}
    assert proved == used
    assert stages.index(Stage.PROVE) < stages.index(Stage.GENERATE)
    for arm in (arm for arm in plan.arms if arm.trained_by):
        mine = [c.stage for c in plan.cells if c.adapter == arm.trained_by]
        assert mine[0] is Stage.PROVE


ENDPOINT = "{kind: endpoint, url: 'http://127.0.0.1:1/v1', model: m}"


def test_a_chat_server_is_asked_in_chat_alone() -> None:
    plan = planned(f"teacher={ENDPOINT}")
    asked = {
        c.params["format"] for c in plan.cells if c.group == "teacher" and "format" in c.params
    }
    assert asked == {"chat"}
    facts = plan.task("facts")
    assert "chats alone" in unasked_formats(plan.config, facts)[Format.PLAIN]
    assert plan.arm_cells(plan.arms[0], facts, Stage.SCORE)


def test_a_server_that_completes_is_asked_in_both_formats() -> None:
    plan = planned(f"teacher={ENDPOINT[:-1]}, completions: true}}")
    asked = {
        c.params["format"] for c in plan.cells if c.group == "teacher" and "format" in c.params
    }
    assert asked == {"chat", "plain"}


def test_a_task_without_chat_has_no_score_of_a_chat_server() -> None:
    tasks = [f"tasks.{n}.formats=[plain]" for n in (1, 2)]
    plan = planned(f"teacher={ENDPOINT}", *tasks)
    assert not plan.arm_cells(plan.arms[0], plan.task("facts"), Stage.SCORE)


def test_the_second_sample_is_no_control_to_choose() -> None:
    with pytest.raises(ConfigError, match="must be one of null, style_prompt, length_padded"):
        planned("controls=[second_sample]")
    samples = {c.params["sample"] for c in planned("controls=[]").cells if "sample" in c.params}
    assert samples == {0, 1}


def test_each_base_and_style_task_is_heard_once_on_facts() -> None:
    again = "{name: again, axis: style, source: {kind: lab, task: chat}}"
    plan = planned(f"tasks.7={again}")
    told = {c.name: c.params["told"] for c in plan.cells if c.stage is Stage.STYLE}
    assert told["style/medium/chat"] == ["facts"]
    assert told["style/medium/again"] == []


def test_a_published_teacher_has_no_arm_and_no_style_cells() -> None:
    config = load_config(QUICKSTART.parent / "paper" / "llama2-sharegpt.yaml")
    plan = build_plan(config.model_copy(update={"teacher": PublishedTeacher(kind="published")}))
    assert names(plan, ArmKind.TEACHER) == []
    assert not [cell for cell in plan.cells if cell.stage is Stage.STYLE]


def test_a_control_listed_before_its_parent_is_trained_after_it() -> None:
    broad = "{sources: [{kind: lab, mix: broad, rows: 400}], amounts: [250]}"
    mixes = f"{{shuffled: {{shuffled_from: broad, amounts: [250]}}, broad: {broad}}}"
    task = "{name: facts, axis: factuality, source: {kind: lab, task: facts}}"
    plan = planned(f"mixes={mixes}", f"tasks=[{task}]")
    names_in_order = [cell.name for cell in plan.cells]
    assert names_in_order.index("choose/medium/broad") < names_in_order.index(
        "train/medium/shuffled-250-s0"
    )


def test_masks_depend_on_every_tasks_answers() -> None:
    plan = planned()
    items = {f"items/{task.name}" for task in plan.config.tasks}
    assert items <= set(plan.by_name["style/medium/chat"].inputs)
    assert items <= set(plan.by_name["memorise/medium/broad-400"].inputs)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("mixes.shuffled.amounts=[5000]", "asks for 5,000 examples, `broad` has 1,000"),
        ("mixes.broad.bases=[small]", "has medium, on which `broad` is not trained"),
        ("mixes.shuffled.shuffled_from=shuffled", "names `shuffled`, a control"),
        (
            "mixes.swapped={swapped_from: shuffled, amounts: [9]}",
            "`mixes.swapped.swapped_from` names `shuffled`, a control",
        ),
        ("mixes.swapped={swapped_from: brod, amounts: [9]}", "names `brod`, which is no mix"),
        ("mixes.broad.seeds=[0, 0]", "`mixes.broad.seeds` has `0` twice"),
        ("bases.0.name=teacher", "`teacher` is a reserved name"),
        ("teacher={kind: published}", "a teacher of kind `published` cannot answer"),
        ("tasks.1.n_development=4", "must be above its `few_shot`, got 4 and 4"),
        ("tasks.1.formats=[chat]", "must be asked in the same formats"),
    ],
)
def test_what_cannot_run_is_refused(override: str, told: str) -> None:
    if "formats" in override:
        override = override.replace("tasks.1", "tasks.3")
    with pytest.raises(ConfigError, match=re.escape(told)):
        planned(override)


def test_config_is_frozen() -> None:
    config: Config = planned().config
    assert config.model_config["frozen"]


def test_a_served_run_holds_every_adapter_to_a_reference_before_it_is_proved() -> None:
    plan = planned("serve.backend=vllm")
    order = {cell.name: place for place, cell in enumerate(plan.cells)}
    proofs = [cell for cell in plan.cells if cell.stage is Stage.PROVE]
    assert proofs
    for proof in proofs:
        reference = proof.name.replace("prove/", "reference/", 1)
        assert reference in proof.inputs
        assert order[str(proof.adapter)] < order[reference] < order[proof.name]
    scored = [c for c in plan.cells if c.stage is Stage.REFERENCE and c.params["scored"]]
    assert [cell.group for cell in scored] == [base.name for base in plan.config.bases]
    in_process = planned()
    assert not any(cell.stage is Stage.REFERENCE for cell in in_process.cells)


def test_how_a_server_starts_decides_no_answer() -> None:
    first, other = (
        planned("serve.backend=vllm", f"serve.vllm.start_timeout_s={seconds}")
        for seconds in (10, 20)
    )
    assert first.cells == other.cells
    assert first.cells != planned("serve.backend=vllm", "serve.vllm.max_model_len=100").cells
    assert planned("serve.vllm.max_model_len=100").cells == planned().cells


def test_another_backend_measures_the_same_adapters() -> None:
    trained = {Stage.DISTILL, Stage.DATA, Stage.TRAIN}
    here, served = planned(), planned("serve.backend=vllm")
    assert [c for c in here.cells if c.stage in trained] == [
        c for c in served.cells if c.stage in trained
    ]
    distilled = planned("distill.backend=vllm").by_name["distill/broad/0"]
    assert distilled.params["serve"]["backend"] == "vllm"
    assert here.by_name["distill/broad/0"].params["serve"]["backend"] == "transformers"


def test_servers_that_are_there_already_must_be_named_and_hold_one_base() -> None:
    with pytest.raises(ConfigError, match=r"`backend: endpoint` needs `endpoint\.urls`"):
        planned("serve.backend=endpoint")
    urls = "serve.endpoint={urls: ['http://127.0.0.1:1/v1']}"
    with pytest.raises(ConfigError, match="holds one base, and the run has small, medium") as told:
        planned("serve.backend=endpoint", urls)
    assert "the teacher needs a server of its own" in str(told.value)
