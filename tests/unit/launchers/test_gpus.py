"""What GPUs a host has, in the forms that nvidia-smi and CUDA_VISIBLE_DEVICES come in."""

import logging

import pytest
from fake_nvidia_smi import FakeNvidiaSmi

from ecgopt.errors import UserError
from ecgopt.jobs.runs import choose_device
from ecgopt.launchers.gpus import chosen_gpus, free_mib, gpus_of_host

FIRST = "GPU-252ac951-e9ec-7929-ffdb-5a7de55cee55"
SECOND = "GPU-252ab000-1111-2222-3333-444455556666"
MIG = "MIG-c7384736-a75d-5afc-978f-d2f1294409fd"
OLD_MIG = f"MIG-{SECOND}/1/0"
# NVIDIA, Multi-Instance GPU User Guide, "Device Nodes and Capabilities": `nvidia-smi -L`.
PARTITIONED = f"""GPU 0: NVIDIA A100-SXM4-40GB (UUID: {FIRST})
  MIG 3g.20gb     Device  0: (UUID: {MIG})
  MIG 1g.5gb      Device  1: (UUID: MIG-11111111-a75d-5afc-978f-d2f1294409fd)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: {SECOND})"""
OLD_DRIVER = f"""GPU 0: A100-SXM4-40GB (UUID: {SECOND})
  MIG 1g.5gb Device 0: (UUID: {OLD_MIG})"""


@pytest.fixture
def smi(tmp_path, monkeypatch):
    return FakeNvidiaSmi(tmp_path / "bin", monkeypatch)


def uuids(gpus):
    return [gpu.uuid for gpu in gpus]


def test_all_gpus_are_chosen_without_a_name_and_by_index(smi):
    smi.show((0, FIRST, 80_000), (1, SECOND, 70_000))
    assert uuids(chosen_gpus(None)) == [FIRST, SECOND]
    assert uuids(chosen_gpus("1, 0")) == [SECOND, FIRST]


def test_an_index_that_is_not_there_is_refused_with_those_that_are(smi):
    smi.show((0, FIRST, 80_000), (1, SECOND, 70_000))
    with pytest.raises(UserError, match=r"some of 0, 1, but is '0,2'"):
        chosen_gpus("0,2")


def test_a_partitioned_card_is_its_mig_devices(smi):
    smi.say(PARTITIONED)
    found = chosen_gpus(None)
    assert [gpu.index for gpu in found] == [0, 0, 1]
    assert found[0].uuid == MIG
    assert found[0].name == "NVIDIA A100-SXM4-40GB MIG 3g.20gb"
    assert uuids(chosen_gpus("1")) == [SECOND]


@pytest.mark.parametrize(
    ("granted", "visible"),
    [
        ("0", [MIG]),
        ("1", [SECOND]),
        (MIG, [MIG]),
        (MIG[:12], [MIG]),
        (f"{SECOND},{MIG}", [SECOND, MIG]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("1,-1,0", [SECOND]),
    ],
)
def test_what_a_batch_system_grants_is_visible(smi, monkeypatch, granted, visible):
    smi.say(PARTITIONED)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", granted)
    assert uuids(gpus_of_host()) == visible


@pytest.mark.parametrize("granted", ["7", "GPU-ffff", "MIG-ffff", "GPU-2", "nonsense"])
def test_a_grant_of_a_gpu_that_is_not_there_is_no_silent_cpu(smi, monkeypatch, granted):
    smi.show((0, FIRST, 80_000), (1, SECOND, 70_000))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", granted)
    with pytest.raises(UserError, match=f"has '{granted}', and nvidia-smi lists {FIRST}"):
        gpus_of_host()


def test_the_name_that_an_old_driver_gives_a_mig_device_is_known(smi, monkeypatch):
    smi.say(OLD_DRIVER)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", OLD_MIG)
    assert uuids(gpus_of_host()) == [OLD_MIG]


@pytest.mark.parametrize("text", ["No devices were found", "No devices found."])
@pytest.mark.parametrize("exit_code", [0, 6])
def test_a_driver_without_devices_is_no_fault(smi, text, exit_code):
    smi.say(text, exit_code=exit_code)
    assert gpus_of_host() == ()


def test_a_card_that_is_lost_is_left_out_with_a_warning(smi, caplog):
    lost = "Unable to determine the device handle for GPU 0000:3B:00.0: GPU is lost."
    smi.say(f"GPU 0: NVIDIA H100 (UUID: {FIRST})\n{lost}", exit_code=15)
    with caplog.at_level(logging.WARNING):
        assert uuids(gpus_of_host()) == [FIRST]
    assert "GPU is lost" in caplog.text


def test_a_driver_that_fails_is_told_in_its_own_words(smi):
    smi.say("Failed to initialize NVML: Driver/library version mismatch", exit_code=18)
    with pytest.raises(UserError, match=r"exit code 18: .*version mismatch.*--gpus-per-worker 0"):
        gpus_of_host()


@pytest.mark.parametrize("free", ["[N/A]", "[Insufficient Permissions]", "[GPU is lost]"])
def test_free_memory_that_is_not_told_is_unknown(smi, free):
    smi.show((0, FIRST, free), (1, SECOND, 70_000))
    first, second = gpus_of_host()
    assert free_mib(first) is None
    assert free_mib(second) == 70_000


def test_a_host_without_nvidia_smi_has_no_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("ecgopt.launchers.gpus._FOLDERS", (str(tmp_path),))
    assert gpus_of_host() == ()


@pytest.mark.parametrize(
    ("built_for", "remedy"),
    [(None, "install a build of torch with CUDA"), ("13.0", "a driver that suits CUDA 13.0")],
)
def test_a_gpu_that_torch_cannot_use_is_no_silent_cpu(monkeypatch, built_for, remedy):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.version.cuda", built_for)
    with pytest.raises(UserError, match=f"{remedy}, or use --gpus-per-worker 0"):
        choose_device("cuda")
    assert choose_device().type == "cpu"
