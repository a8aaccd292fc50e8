"""Looks at the detector's parts as the settings name them. An adapter: asks the code that loads them, and loads no weights."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from daywatch.doctor.facts import Missing, Package, Part
from stream.errors import ConfigurationError, PipelineError

if TYPE_CHECKING:
    from daywatch.settings import Settings
    from detector.models.registry import Found
    from detector.narrative.notes import Notes

_GIB: Final = 1 << 30
_LARGE: Final = 1_000_000_000
"""Numbers of a model from which on a CPU is slow."""
_HASHED: Final = 2 * _GIB
"""Files of more are compared by size and remembered identity only: hashing them all takes minutes."""


class Parts:
    """The parts that a backend needs; each is looked at when it is asked for."""

    def __init__(self, settings: "Settings", within_s: float) -> None:
        self._settings, self._within_s = settings, within_s
        self._base: Found | None = None
        self._adapter: Found | None = None
        self._notes: Notes | None = None

    def needed(self) -> Mapping[str, Callable[[], Part | Missing]]:
        """What to look at, in this order."""
        backend = self._settings.detect.backend
        looks: dict[str, Callable[[], Part | Missing]] = {"backend": self._libraries, "baseline": self._baseline}
        if self._settings.window.directory is not None:
            looks["directory"] = self._directory
        if backend == "narrative":
            looks |= {"files": self._files, "adapter": self._fits, "memory": self._memory, "gpu": self._gpu}
        if backend == "remote":
            looks |= {"server": self._server}
        return {name: _caught(look) for name, look in looks.items()}

    def _libraries(self) -> Part | Missing:
        from daywatch.backends import NAMES

        backend = self._settings.detect.backend
        if backend not in NAMES:
            return Part(f"detect.backend: there is no backend {backend!r}", f"use {', '.join(NAMES)}", fine=False)
        missing = [each.name for each in _needed_by(backend) if not each.fits]
        if missing:
            return Part(f"{backend}: {', '.join(missing)} not installed, or too old", "pip install 'daywatch[llm]'", fine=False)
        return Part(f"{backend}: all it needs is installed")

    def _baseline(self) -> Part:
        from detector.baseline import Baseline
        from windowing.features import VERSION

        detect = self._settings.detect
        Baseline.load(detect.model, track=detect.track, budget=detect.budget)
        return Part(f"{detect.model or 'the model that comes with Daywatch'} fits windows of this version (features {VERSION})")

    def _directory(self) -> Part:
        from windowing.directory import Directory

        directory = self._settings.window.directory
        if directory is not None:
            Directory.read(directory)
        return Part(f"{directory} can be read")

    def _files(self) -> Part | Missing:
        from daywatch.backends import choice_of, weights_of
        from detector.models.packaged import installed, is_packaged, unpacked
        from detector.models.registry import find, registered, verify

        choice = choice_of(self._settings)
        base, adapter, self._notes = weights_of(choice)
        if is_packaged(base) and unpacked(base) is None and installed(base):
            return Part(f"{base} is installed, and is unpacked when it is first used")
        self._base = find(base, revision=choice.revision)
        self._adapter = find(adapter, adapter=True) if adapter is not None else None
        known = registered()
        for found in (self._base, self._adapter):
            if found is not None and found.name in known and sum(file.bytes for file in known[found.name].files.values()) <= _HASHED:
                differ = verify(found.name)
                if differ:
                    return Part(
                        f"{found.name}: {differ[0]}", f"daywatch models add {known[found.name].source}, if that is meant", fine=False
                    )
        names = " with ".join(f"{found.name} ({found.identity[:12]}…)" for found in (self._base, self._adapter) if found is not None)
        return Part(f"{names}: as recorded")

    def _fits(self) -> Part | Missing:
        from detector.models.loading import check_belongs
        from detector.narrative.prompt import identity_of

        if self._base is None or self._adapter is None:
            return Part("no adapter") if self._base is not None else Missing("the model's files were not looked at")
        check_belongs(self._adapter, self._base)
        notes, detect = self._notes, self._settings.detect
        if notes is None:
            return Part(f"{self._adapter.name} belongs to {self._base.name}")
        if notes.base_sha256 != self._base.identity:
            raise ConfigurationError(
                f"detect.base: the adapter was trained on weights {notes.base_sha256[:12]}…, "
                f"but {self._base.name} holds {self._base.identity[:12]}…; name its own base, {notes.base}"
            )
        as_trained = detect.shots == 0 and detect.prompt_tokens is None
        if as_trained and notes.prompt != identity_of(notes.track, notes.budget, 0):
            return Part(
                "the adapter was trained on prompts that this version does not make",
                "train it anew (daywatch train narrative), or use the version of Daywatch that it was trained with",
                fine=False,
            )
        return Part(f"{self._adapter.name} belongs to {self._base.name}, and was trained on this version's prompts")

    def _memory(self) -> Part | Missing:
        from detector.models.files import tensors_of
        from detector.models.memory import choose, this_machine

        if self._base is None:
            return Missing("the model's files were not looked at")
        detect, tensors = self._settings.detect, tensors_of(self._base.path)
        choice = choose(tensors, this_machine(detect.device), precision=detect.precision, device=detect.device)
        told = f"{choice.precision} on {choice.device}: {choice.need / _GIB:.1f} of {choice.free / _GIB:.1f} GiB that are free"
        if choice.device == "cpu" and sum(tensor.count for tensor in tensors) > _LARGE:
            return Part(f"{told}; slow on a CPU", "use a machine with a GPU, a smaller model, or a smaller detect.share", slow=True)
        return Part(told)

    def _gpu(self) -> Part:
        from detector.models.memory import this_machine

        gpu = this_machine().gpu
        if gpu is not None:
            return Part(f"PyTorch sees {gpu}")
        if any(Path("/dev").glob("nvidia[0-9]*")) or any(Path("/proc/driver/nvidia/gpus").glob("*")):
            return Part(
                "this machine has an NVIDIA GPU, and PyTorch does not see it",
                "install PyTorch for its CUDA version, and see that `nvidia-smi` works for this user",
                slow=True,
            )
        return Part("no GPU; the CPU does it")

    def _server(self) -> Part:
        from daywatch.backends import choice_of
        from detector.narrative.remote import Remote

        server = choice_of(self._settings).server
        if server is None:
            raise ConfigurationError("remote.url: the backend remote needs the server's address; set remote.url to http://host:8000/v1")
        remote = Remote(replace(server, timeout_s=self._within_s, attempts=1), trial=False)
        try:
            return Part(f"it has {remote.provenance['model']}")
        finally:
            remote.close()


def _needed_by(backend: str) -> list[Package]:
    from daywatch.doctor.machine_facts import packages

    base = {each.name for each in packages()}
    extra = [each for each in packages(["llm"]) if each.name not in base]
    if backend == "remote":
        return [each for each in extra if each.name == "httpx2"]
    return extra if backend == "narrative" else []


def _caught(look: Callable[[], Part | Missing]) -> Callable[[], Part | Missing]:
    """What loading would refuse is what is wrong: its text says what and mostly what to do."""

    def careful() -> Part | Missing:
        from detector.models.errors import NoLibraries, TooLittleMemory

        try:
            return look()
        except NoLibraries as error:
            return Part(str(error), "pip install 'daywatch[llm]'", fine=False)
        except TooLittleMemory as error:
            return Part(str(error), "name a smaller model, a coarser detect.precision, or use a larger machine", fine=False)
        except PipelineError as error:
            told, _, cure = str(error).rpartition("; ")
            return Part(told or cure, cure if told else "mend it, or set another", fine=False)

    return careful
