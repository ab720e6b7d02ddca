"""Energy that the machine used while a run trained, where the machine shows it."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch

POWERCAP: Final = Path("/sys/class/powercap")
# A socket; its cores and memory are below it, "intel-rapl:0:0".
_PACKAGE: Final = re.compile(r"intel-rapl:\d+")
_UJ: Final = 1e-6  # microjoules, of powercap
_MJ: Final = 1e-3  # millijoules, of NVML

Counter = Callable[[], float]  # joules, growing; since when does not matter


class EnergyMeter:
    """Joules since the call before, by what used them: "cpu", "gpu".

    "cpu" is all packages of the machine (Linux powercap, RAPL), whoever kept them busy; "gpu" the devices
    that this process sees (NVML; Volta and later). What cannot be read is left out: powercap is root's on
    most machines and missing in most virtual ones, NVML needs the package nvidia-ml-py.
    """

    def __init__(self, powercap: Path = POWERCAP) -> None:
        self._counters: dict[str, list[Counter]] = {"cpu": _packages(powercap), "gpu": _devices()}
        self._last = {name: [read() for read in counters] for name, counters in self._counters.items()}

    def used(self) -> dict[str, float]:
        """Joules by source; a source without a counter, or one that has stopped to answer, is not in it."""
        found = {}
        for name, counters in self._counters.items():
            try:
                now = [read() for read in counters]
            except Exception:  # a driver that went away must not end a run
                continue
            if now:
                found[name] = sum(b - a for a, b in zip(self._last[name], now, strict=True))
                self._last[name] = now
        return found


class _Package:
    """One package's counter, which begins anew at its range: counted on across that."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "energy_uj"
        self._range = int((folder / "max_energy_range_uj").read_text()) + 1
        self._last = self._read()
        self._total = 0

    def __call__(self) -> float:
        now = self._read()
        self._total += (now - self._last) % self._range
        self._last = now
        return self._total * _UJ

    def _read(self) -> int:
        return int(self._file.read_text())


def _packages(powercap: Path) -> list[Counter]:
    """Of all packages; empty if one of them cannot be read: part of a machine is no measure of it."""
    try:
        folders = [path for path in sorted(powercap.glob("*")) if _PACKAGE.fullmatch(path.name)]
        return [_Package(folder) for folder in folders]
    except (OSError, ValueError):
        return []


def _devices() -> list[Counter]:
    if not torch.cuda.is_available():
        return []
    try:
        import pynvml  # type: ignore[import-not-found]

        pynvml.nvmlInit()
        found: list[Counter] = []
        for index in range(torch.cuda.device_count()):
            # NVML counts all of the machine's devices, whatever CUDA_VISIBLE_DEVICES leaves of them.
            uuid = f"GPU-{torch.cuda.get_device_properties(index).uuid}"
            counter = partial(_device_joules, pynvml, pynvml.nvmlDeviceGetHandleByUUID(uuid))
            counter()
            found.append(counter)
        return found
    except Exception:  # not installed, no driver, a device without a counter
        return []


def _device_joules(nvml: Any, handle: Any) -> float:
    return float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) * _MJ
