"""Energy as the kernel and the driver count it: sums, counters that begin anew, what cannot be read."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from webshop_rl.training.energy import EnergyMeter
from webshop_rl.training.progress import Progress


def package(powercap: Path, name: str, uj: int, largest: int = 999_999_999) -> Path:
    folder = powercap / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "energy_uj").write_text(f"{uj}\n")
    (folder / "max_energy_range_uj").write_text(f"{largest}\n")
    return folder


def test_packages_are_summed_and_what_is_part_of_one_is_not_counted_twice(tmp_path: Path) -> None:
    package(tmp_path, "intel-rapl:0", 5_000_000)
    package(tmp_path, "intel-rapl:1", 999_000_000)
    package(tmp_path, "intel-rapl:0:0", 0)
    package(tmp_path, "intel-rapl-mmio:0", 0)
    meter = EnergyMeter(tmp_path)
    package(tmp_path, "intel-rapl:0", 7_000_000)  # 2 J
    package(tmp_path, "intel-rapl:1", 2_000_000)  # 1 J to its range of 1,000 J, and 2 J
    package(tmp_path, "intel-rapl:0:0", 9_000_000)
    package(tmp_path, "intel-rapl-mmio:0", 9_000_000)
    assert meter.used() == pytest.approx({"cpu": 5.0})
    assert meter.used() == pytest.approx({"cpu": 0.0})


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    assert EnergyMeter(tmp_path / "none").used() == {}
    (package(tmp_path, "intel-rapl:0", 1) / "energy_uj").write_text("")
    package(tmp_path, "intel-rapl:1", 1)
    assert EnergyMeter(tmp_path).used() == {}  # half of a machine is no measure of it


def test_a_counter_that_stops_to_answer_ends_no_run(tmp_path: Path) -> None:
    folder = package(tmp_path, "intel-rapl:0", 1)
    meter = EnergyMeter(tmp_path)
    (folder / "energy_uj").unlink()
    assert meter.used() == {}


def test_gpus_are_found_by_their_uuid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three devices the process sees the last alone."""
    counted = {"GPU-a": 0, "GPU-b": 0, "GPU-c": 1000}
    nvml = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: counted[handle],
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid="c"))
    meter = EnergyMeter(tmp_path)
    counted |= {"GPU-a": 5000, "GPU-c": 4500}
    assert meter.used() == pytest.approx({"gpu": 3.5})  # millijoules


def test_a_run_has_the_energy_that_every_attempt_could_read() -> None:
    progress = Progress()
    progress.count_time(10.0, 2, {"cpu": 3600.0, "gpu": 7200.0})
    progress.count_time(10.0, 2, {"cpu": 1800.0, "gpu": 0.0})
    assert progress.gpu_s == 40.0
    logged = progress.consumed(with_vstar=False)
    assert logged["system/cpu_energy_wh"] == pytest.approx(1.5)
    assert logged["system/gpu_energy_wh"] == pytest.approx(2.0)
    progress.count_time(1.0, 0, {"gpu": 3600.0})  # went on on a machine that does not show the rest
    progress.count_time(1.0, 0, {"cpu": 3600.0, "gpu": 0.0})
    assert progress.energy_j == {"gpu": 3600.0 * 3}
