"""How much memory a model takes, how much there is, and which precision that leaves. Plain arithmetic; only `this_machine` looks around.

The order of preference rests on `python -m bench.precision`: with bf16 instructions, bf16 keeps the answers and is the quickest; NF4
saves memory, not time, and moves them most; so a model is quantized when it does not fit otherwise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from detector.models.errors import EXTRA, NoLibraries, TooLittleMemory
from detector.models.files import Tensor
from stream.errors import ConfigurationError

Precision: TypeAlias = Literal["fp32", "bf16", "int8", "nf4"]
Kind: TypeAlias = Literal["causal", "classifier", "encoder"]
PRECISIONS: Final[tuple[Precision, ...]] = ("fp32", "bf16", "int8", "nf4")
# bytes of a number in a layer that is quantized: NF4 with its constants quantized again, 8 bits with a float for each row
_BYTES: Final[Mapping[Precision, float]] = {"fp32": 4.0, "bf16": 2.0, "int8": 1.005, "nf4": 0.52}
_QUANTIZED: Final = ("int8", "nf4")
# these stay as they are, whatever the precision: the first and last layers carry the answer's small differences
_WHOLE: Final = ("embed", "lm_head", "score", "classifier", "wte", "norm", "conv", "visual")
_GIB: Final = 1 << 30
# what a forward pass over a batch of long prompts takes beside the weights, and what a GPU's context takes
_WORK_CPU: Final = _GIB // 4
_WORK_GPU: Final = 3 * _GIB // 2
# below this many numbers an encoder or classifier is quick enough in fp32 on any CPU, and exact
_SMALL: Final = 300_000_000


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine has, as far as the choice depends on it."""

    cpu_free: int
    cpu_bf16: bool
    gpu: str | None = None
    gpu_free: int = 0
    gpu_bf16: bool = False
    bitsandbytes: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """Where a model goes and as what."""

    device: str
    precision: Precision
    need: int
    free: int
    why: str


def need_of(tensors: Sequence[Tensor], precision: Precision, *, gpu: bool) -> int:
    """Bytes that weights of these tensors and a modest batch take."""
    weights = sum(tensor.count * _bytes_of(tensor, precision) for tensor in tensors)
    return int(weights) + (_WORK_GPU if gpu else _WORK_CPU)


def _bytes_of(tensor: Tensor, precision: Precision) -> float:
    if precision not in _QUANTIZED:
        return _BYTES[precision]
    whole = len(tensor.shape) != 2 or any(part in tensor.name for part in _WHOLE)
    return _BYTES["bf16"] if whole else _BYTES[precision]


def choose(tensors: Sequence[Tensor], machine: Machine, *, kind: Kind = "causal", precision: str = "auto", device: str = "auto") -> Choice:
    """Where a model goes and as what: what is asked for, or the best that fits.

    Raises:
        ConfigurationError: there is no such precision or device here.
        TooLittleMemory: nothing that was asked for fits; the text says what each would need.
    """
    if precision not in (*PRECISIONS, "auto"):
        raise ConfigurationError(f"precision {precision!r}: it is auto, {', '.join(PRECISIONS)}")
    if device != "auto" and device.partition(":")[0] not in ("cpu", "cuda"):
        raise ConfigurationError(f"device {device!r}: it is auto, cpu, cuda or cuda:N")
    if device.startswith("cuda") and machine.gpu is None:
        raise ConfigurationError(f"device {device!r}: this machine shows no GPU that PyTorch can use; take cpu")
    if precision in _QUANTIZED and not machine.bitsandbytes:
        raise NoLibraries(f"precision {precision!r} needs bitsandbytes: {EXTRA}")
    tried = []
    for place, one, why in _ladder(tensors, machine, kind, precision, device):
        gpu = place != "cpu"
        need, free = need_of(tensors, one, gpu=gpu), machine.gpu_free if gpu else machine.cpu_free
        if need <= free:
            return Choice(place, one, need, free, why)
        tried.append(f"{one} on {machine.gpu if gpu else 'the CPU'} needs {need / _GIB:.1f} GiB and {free / _GIB:.1f} are free")
    count = sum(tensor.count for tensor in tensors)
    raise TooLittleMemory(f"a model of {count / 1e9:.2f} billion numbers does not fit: {'; '.join(tried)}")


def _ladder(tensors: Sequence[Tensor], machine: Machine, kind: Kind, precision: str, device: str) -> list[tuple[str, Precision, str]]:
    """What to try, the best first."""
    steps: list[tuple[str, Precision, str]] = []
    asked = "as asked" if precision != "auto" else ""
    small = sum(tensor.count for tensor in tensors) < _SMALL
    if machine.gpu is not None and device != "cpu":
        place = "cuda" if device == "auto" else device
        steps += [(place, one, asked or why) for one, why in _on_gpu(machine, kind, small) if precision in ("auto", one)]
        if not steps:
            steps.append((place, _precision(precision), asked))
    if device in ("auto", "cpu"):
        found = [("cpu", one, asked or why) for one, why in _on_cpu(machine, kind, small) if precision in ("auto", one)]
        steps += found or [("cpu", _precision(precision), asked)]
    return steps


def _precision(text: str) -> Precision:
    return next(one for one in PRECISIONS if one == text)


def _on_gpu(machine: Machine, kind: Kind, small: bool) -> list[tuple[Precision, str]]:
    steps: list[tuple[Precision, str]] = []
    if kind == "encoder" and small:
        steps.append(("fp32", "small, and exact"))
    if machine.gpu_bf16:
        steps.append(("bf16", "the quickest, and it fits"))
    else:
        steps.append(("fp32", "this GPU has no bf16, and it fits"))
    if machine.bitsandbytes:
        steps += [("int8", "16 bits do not fit"), ("nf4", "8 bits do not fit")]
    return steps


def _on_cpu(machine: Machine, kind: Kind, small: bool) -> list[tuple[Precision, str]]:
    steps: list[tuple[Precision, str]] = []
    if kind != "causal" and small:
        steps.append(("fp32", "small, and exact"))
    if machine.cpu_bf16:
        steps.append(("bf16", "this CPU has bf16 instructions"))
    else:
        steps += [("fp32", "this CPU has no bf16 instructions"), ("bf16", "fp32 does not fit; slow without bf16 instructions")]
    if machine.bitsandbytes:
        steps.append(("nf4", "16 bits do not fit; saves memory, not time"))
    return steps


def this_machine(device: str = "auto") -> Machine:
    """What this machine has now.

    Raises:
        NoLibraries: PyTorch is not installed.
        ConfigurationError: there is no GPU of that number.
    """
    from importlib.util import find_spec

    try:
        import torch
    except ImportError as error:
        raise NoLibraries(f"PyTorch is not installed: {EXTRA}") from error
    gpu: str | None = None
    gpu_free, gpu_bf16 = 0, False
    if device != "cpu" and torch.cuda.is_available():
        number = (
            int(device.partition(":")[2] or torch.cuda.current_device()) if device.partition(":")[2].isdigit() or ":" not in device else -1
        )
        if not 0 <= number < torch.cuda.device_count():
            raise ConfigurationError(f"device {device!r}: there are {torch.cuda.device_count()} GPUs, counted from 0")
        gpu = torch.cuda.get_device_name(number)
        gpu_free = int(torch.cuda.mem_get_info(number)[0])
        gpu_bf16 = torch.cuda.get_device_capability(number) >= (8, 0)
    return Machine(
        cpu_free=cpu_free(),
        cpu_bf16=cpu_bf16(_read(Path("/proc/cpuinfo"))),
        gpu=gpu,
        gpu_free=gpu_free,
        gpu_bf16=gpu_bf16,
        bitsandbytes=find_spec("bitsandbytes") is not None,
    )


def cpu_bf16(cpuinfo: str) -> bool:
    """Does a processor of this description calculate in bf16?

    >>> cpu_bf16("flags : fpu avx512f avx512_bf16"), cpu_bf16("flags : fpu avx2"), cpu_bf16("Features : asimd bf16")
    (True, False, True)
    """
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(cpuinfo.split()))


def cpu_free(proc: Path = Path("/proc"), group: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory this process may still take: what the system has, or its control group leaves if that is less."""
    free = _field(_read(proc / "meminfo"), "MemAvailable:") * 1024 or 1 << 62
    most, used = _read(group / "memory.max").strip(), _read(group / "memory.current").strip()
    if most.isdigit() and used.isdigit():
        # files' pages count as used and go when they are asked to
        reclaimable = _field(_read(group / "memory.stat"), "inactive_file")
        free = min(free, int(most) - int(used) + reclaimable)
    return max(free, 0)


def _field(text: str, name: str) -> int:
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == name and words[1].isdigit():
            return int(words[1])
    return 0


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
