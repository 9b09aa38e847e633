"""What Python programs say of an environment: SGLang's check_env, vLLM's collect_env; and
variables.
"""

from __future__ import annotations

import re
from typing import Any

from launcher.host.environment import tells
from launcher.host.parsers.smi import capability

Data = dict[str, Any]

PACKAGES = {
    "sglang": "sglang",
    "sgl_kernel": "sgl-kernel",
    "sglang_kernel": "sglang-kernel",
    "flashinfer_python": "flashinfer-python",
    "flashinfer-python": "flashinfer-python",
    "flashinfer_cubin": "flashinfer-cubin",
    "flashinfer_jit_cache": "flashinfer-jit-cache",
    "vllm": "vllm",
    "torch": "torch",
    "PyTorch": "torch",
    "triton": "triton",
    "transformers": "transformers",
    "nvidia-nccl-cu12": "nvidia-nccl-cu12",
    "nvidia-nccl-cu13": "nvidia-nccl-cu13",
}
TOLD_BY = "`python -m sglang.check_env`, or vLLM's `vllm collect-env`,"
VARIABLES_BY = "`env | grep -E 'NCCL|CUDA|SGLANG'`"
VARIABLE = re.compile(r"^(?:export )?(?:NCCL|CUDA|SGLANG|TORCH_NCCL|PYTORCH)_\w+=\S*$", re.M)


def check_env(text: str) -> Data:
    """`python -m sglang.check_env`."""
    values = dict(re.findall(r"^([\w .,/()-]+?): (.*)$", text, re.M))
    packages = {
        PACKAGES[name]: value.strip()
        for name, value in values.items()
        if name in PACKAGES and value[:1].isdigit()
    }
    engine: Data = {"packages": packages}
    if found := re.match(r"(\d+\.\d+\.\d+)", values.get("Python", "")):
        engine["python_version"] = found.group(1)
    if found := re.search(r"\+cu(\d+)(\d)$", packages.get("torch", "")):
        engine["torch_cuda"] = f"{found.group(1)}.{found.group(2)}"
    driver: Data = {}
    if version := re.match(r"\d+\.[\d.]+", values.get("CUDA Driver Version", "")):
        driver["version"] = version.group()
    if gpus := _gpus(text):
        driver["gpus"] = gpus
    return {"engine": engine, "driver": driver}


def _gpus(text: str) -> list[Data]:
    """Lines like `GPU 0,1,2: NVIDIA B200`, and their capability on a line of the same form."""
    found: dict[int, Data] = {}
    for indices, tail, value in re.findall(
        r"^GPU ([\d,]+)( Compute Capability)?: (.+)$", text, re.M
    ):
        for index in (int(part) for part in indices.split(",") if part and len(part) < 3):
            gpu = found.setdefault(index, {"index": index})
            gpu |= (
                {"capability": value.strip()}
                if tail
                else {"name": value.strip(), **capability(value)}
            )
    return [found[index] for index in sorted(found)]


def collect_env(text: str) -> Data:
    """VLLM's (and torch's) collect_env."""
    engine: Data = {"packages": {}}
    if found := re.search(r"^PyTorch version\s*: (\S+)", text, re.M):
        engine["packages"]["torch"] = found.group(1)
    if found := re.search(r"^CUDA used to build PyTorch\s*: (\d\S*)", text, re.M):
        engine["torch_cuda"] = found.group(1)
    if found := re.search(r"^Python version\s*: (\d+\.\d+\.\d+)", text, re.M):
        engine["python_version"] = found.group(1)
    # One built from a checkout without its tags calls itself 0.1.dev: that is no release.
    if found := re.search(r"^vLLM Version\s*: (?!0\.1\.dev)(\d[\w.+]*)", text, re.M):
        engine["packages"]["vllm"] = found.group(1)
    for name, version in re.findall(r"^\[(?:pip3?|conda)\] (\S+?)==(\S+)$", text, re.M):
        if name in PACKAGES:
            engine["packages"].setdefault(PACKAGES[name], version)
    driver: Data = {}
    if found := re.search(r"^Nvidia driver version\s*: (\d\S*)", text, re.M):
        driver["version"] = found.group(1)
    named = re.findall(r"^GPU (\d{1,2}): (.+)$", text, re.M)
    if named:
        driver["gpus"] = [
            {"index": int(at), "name": name.strip(), **capability(name)} for at, name in named
        ]
    return {"engine": engine, "driver": driver}


def variables(text: str) -> Data:
    """Lines NAME=VALUE, of the names that checks know; others may be secrets and are left out."""
    pairs = re.findall(r"^(?:export )?([A-Z_0-9]+)=(\S*)$", text, re.M)
    kept = {name: value.strip("'\"") for name, value in pairs if tells(name)}
    return {"environment": {"variables": kept}} if kept else {}
