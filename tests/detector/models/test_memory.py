"""Promises of the choice of device and precision: what a machine has decides, and what does not fit says what it needs."""

from dataclasses import replace
from pathlib import Path

import pytest

from detector.models.errors import NoLibraries, TooLittleMemory
from detector.models.files import Tensor
from detector.models.memory import Machine, choose, cpu_free, need_of
from stream.errors import ConfigurationError

GIB = 1 << 30
NINE_BILLION = [Tensor(f"layers.{n}.weight", "BF16", (30_000, 30_000), Path("x"), 0, 0) for n in range(10)]
SMALL = [Tensor("layers.0.weight", "F32", (1000, 1000), Path("x"), 0, 0)]
CPU = Machine(cpu_free=64 * GIB, cpu_bf16=True, bitsandbytes=True)
GPU = replace(CPU, gpu="H", gpu_free=80 * GIB, gpu_bf16=True)


@pytest.mark.parametrize(("free", "precision"), [(80, "bf16"), (19, "bf16"), (17, "int8"), (11, "int8"), (9, "nf4"), (7, "nf4")])
def test_a_gpu_gets_the_best_precision_that_fits(free: int, precision: str) -> None:
    choice = choose(NINE_BILLION, replace(GPU, gpu_free=free * GIB))
    assert (choice.device, choice.precision) == ("cuda", precision)
    assert choice.need <= choice.free


def test_what_does_not_fit_the_gpu_goes_to_the_cpu_unless_the_gpu_was_asked_for() -> None:
    machine = replace(GPU, gpu_free=2 * GIB)
    assert choose(NINE_BILLION, machine).device == "cpu"
    with pytest.raises(TooLittleMemory, match=r"nf4 on H needs 5\.\d GiB and 2\.0 are free"):
        choose(NINE_BILLION, machine, device="cuda")


def test_a_cpu_takes_bf16_where_it_calculates_in_it_and_fp32_elsewhere() -> None:
    assert choose(NINE_BILLION, CPU).precision == "bf16"
    assert choose(NINE_BILLION, replace(CPU, cpu_bf16=False)).precision == "fp32"
    assert choose(NINE_BILLION, replace(CPU, cpu_bf16=False, cpu_free=20 * GIB)).precision == "bf16"
    assert choose(NINE_BILLION, replace(CPU, cpu_free=8 * GIB)).precision == "nf4"


def test_small_encoders_and_classifiers_stay_exact_on_a_cpu() -> None:
    assert choose(SMALL, CPU, kind="encoder").precision == choose(SMALL, CPU, kind="classifier").precision == "fp32"
    assert choose(NINE_BILLION, CPU, kind="classifier").precision == choose(SMALL, CPU, kind="causal").precision == "bf16"


def test_what_does_not_fit_says_what_it_would_need() -> None:
    with pytest.raises(TooLittleMemory, match=r"9\.00 billion numbers.*bf16 on the CPU needs 17\.\d GiB and 1\.0 are free; nf4"):
        choose(NINE_BILLION, replace(CPU, cpu_free=GIB))


def test_what_is_asked_for_is_taken_or_refused() -> None:
    assert choose(SMALL, GPU, precision="nf4", device="cpu").device == "cpu"
    assert choose(SMALL, GPU, precision="fp32").precision == "fp32"
    assert choose(SMALL, GPU, device="cuda:0").device == "cuda:0"
    with pytest.raises(ConfigurationError, match="no GPU"):
        choose(SMALL, CPU, device="cuda")
    with pytest.raises(ConfigurationError, match="precision"):
        choose(SMALL, CPU, precision="fp8")
    with pytest.raises(ConfigurationError, match="device"):
        choose(SMALL, CPU, device="tpu")
    with pytest.raises(NoLibraries, match="bitsandbytes"):
        choose(SMALL, replace(CPU, bitsandbytes=False), precision="nf4")


def test_without_bitsandbytes_nothing_is_quantized() -> None:
    with pytest.raises(TooLittleMemory, match="bf16"):
        choose(NINE_BILLION, replace(GPU, gpu_free=9 * GIB, cpu_free=GIB, bitsandbytes=False))


def test_embeddings_and_heads_are_reckoned_whole() -> None:
    head = Tensor("lm_head.weight", "BF16", (1000, 1000), Path("x"), 0, 0)
    layer = Tensor("layers.0.mlp.up_proj.weight", "BF16", (1000, 1000), Path("x"), 0, 0)
    nothing = need_of([], "nf4", gpu=False)
    assert need_of([head], "nf4", gpu=False) - nothing == 2_000_000
    assert need_of([layer], "nf4", gpu=False) - nothing == 520_000


def test_a_control_group_that_leaves_less_than_the_system_counts(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 100 kB\nMemAvailable: 4096 kB\n")
    assert cpu_free(tmp_path, tmp_path / "none") == 4096 * 1024
    (tmp_path / "memory.max").write_text("2000000\n")
    (tmp_path / "memory.current").write_text("1500000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 100000\n")
    assert cpu_free(tmp_path, tmp_path) == 600_000
    (tmp_path / "memory.max").write_text("max\n")
    assert cpu_free(tmp_path, tmp_path) == 4096 * 1024
