"""The house as it is drawn: imports go one way, light commands stay light, names are exported."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("imitate", "evals", "reports")
MAY_IMPORT = {"evals": {"evals"}, "reports": {"evals", "reports"}, "imitate": {"evals", "imitate"}}
BINDS_THE_REPORT = {"imitate/commands.py"}


def modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imported_packages(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names & set(PACKAGES)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    allowed = MAY_IMPORT[name.partition("/")[0]]
    if name in BINDS_THE_REPORT:
        allowed = allowed | {"reports"}
    assert imported_packages(path) <= allowed


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_exported_names_exist(path: Path) -> None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    module = importlib.import_module(".".join(part for part in parts if part != "__init__"))
    for name in getattr(module, "__all__", ()):
        assert hasattr(module, name), name


def modules_after(code: str) -> set[str]:
    shown = f"{code}\nimport sys; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", shown], check=True, capture_output=True, text=True, cwd=ROOT
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_help_imports_nothing_heavy() -> None:
    heavy = {"torch", "numpy", "pyarrow", "pydantic", "yaml", "rich", "transformers"}
    loaded = modules_after("from imitate.cli import build_parser; build_parser().format_help()")
    assert loaded & heavy == set()


def test_check_imports_no_model_library() -> None:
    code = (
        "import sys; from pathlib import Path; from imitate.check import check; "
        "out, sys.stdout = sys.stdout, sys.stderr; "
        "check(Path('configs/quickstart.yaml'), [], runs=Path('no-such-folder')); sys.stdout = out"
    )
    heavy = {"torch", "transformers", "trl", "peft", "datasets", "lm_eval", "sklearn", "pandas"}
    assert modules_after(code) & heavy == set()


def test_stages_of_the_command_line_are_those_of_the_plan() -> None:
    from imitate.arguments import STAGES
    from imitate.plan import Stage

    assert set(STAGES) == {stage.value for stage in Stage}
