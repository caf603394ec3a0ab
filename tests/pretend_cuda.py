"""A pretended CUDA device, for machines without one: `with pretended() as device:`.

Tensors "on" it are wrappers around tensors of the CPU, so that numbers are real and every rule of a GPU that code can
break without one is kept here: tensors of two devices are not mixed, generators draw on their own device, nothing waits
for the device inside the capture of a graph, a capture computes nothing, and a replay computes what was captured. Every
wait for the device is counted, with the line that caused it. What only hardware shows (its kernels, speed, memory) is
in `tests/gpu`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch.nn.utils import clip_grad
from torch.utils._python_dispatch import TorchDispatchMode

from bench.machine import gpu, runtime
from ebm.engine import fused, graphs
from tests.pretend_graphs import Graph, Recording
from tests.pretend_rules import INDEXING, RANDOM, UNREPEATABLE, WAITING, ForbiddenError, line

CUDA = torch.device("cuda", 0)
CpuGenerator = torch.Generator


class Stream:
    """Work on the pretended device is done at once: streams only have to be current where they should."""

    def __init__(self, *_: object):
        pass

    def wait_stream(self, _: Stream) -> None:
        pass


class Device:
    """What has happened on the device."""

    def __init__(self) -> None:
        self.waits: list[str] = []  # what waited for the device, and where
        self.kernels = 0  # operators that were run on it, replays' not counted
        self.recording: Recording | None = None  # a capture in progress
        self.stream = Stream()
        self.capability = (8, 0)
        self.unfused = "a pretended GPU"  # why it has no fused kernels

    def wait(self, what: str) -> None:
        """Note that the host waits for the device; inside a capture that is an error."""
        if self.recording is not None:
            raise ForbiddenError(f"a capture cannot wait for the device: {what} at {line()}")
        self.waits.append(f"{what} at {line()}")

    @contextlib.contextmanager
    def waiting_at_most(self, times: int) -> Iterator[None]:
        """Within, the host may wait for the device so many times; ForbiddenError, with the lines, for more."""
        before = len(self.waits)
        yield
        found = self.waits[before:]
        if len(found) > times:
            raise ForbiddenError(f"waited {len(found)} times for the device, not {times}: {'; '.join(found)}")

    @contextlib.contextmanager
    def current(self, stream: Stream) -> Iterator[None]:
        before, self.stream = self.stream, stream
        try:
            yield
        finally:
            self.stream = before

    @contextlib.contextmanager
    def capture(self, graph: Graph, pool: Any = None) -> Iterator[None]:
        """As `torch.cuda.graph`: what is inside is recorded, and has computed nothing when it ends."""
        if self.recording is not None:
            raise ForbiddenError(f"a capture inside a capture at {line()}")
        before, self.stream = self.stream, Stream()
        self.recording = Recording(graph.generators)
        try:
            yield
        except ForbiddenError:
            raise
        except Exception:
            # the end of a capture that failed fails as well: this error comes up, and the stream stays the current one
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")  # noqa: B904
        else:
            self.stream, graph.recording = before, self.recording
        finally:
            self.recording.undo()
            self.recording = None

    def run(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """One operator, on this device or on the CPU, by where its tensors are."""
        own: list[OnDevice] = []
        others: list[torch.Tensor] = []
        generators: list[CpuGenerator] = []

        def inner(value: Any) -> Any:
            if isinstance(value, OnDevice):
                own.append(value)
                return value.inner
            if isinstance(value, torch.Tensor):
                others.append(value)
            elif isinstance(value, list | tuple):
                return type(value)(map(inner, value))
            elif isinstance(value, CpuGenerator):
                generators.append(value)
            return value

        inner_args, inner_kwargs = inner(args), {name: inner(value) for name, value in kwargs.items()}
        target = kwargs.get("device")
        to_device = target is not None and torch.device(target).type == "cuda"
        name = func._schema.name.split("::")[1]
        here = bool(own) or to_device
        self._check_randomness(name, generators, here)
        if not here:
            return func(*args, **kwargs)
        self._check(name, args, own, others)
        if to_device:
            inner_kwargs["device"] = torch.device("cpu")
        if self.recording is not None:
            result = self.recording.record(func, inner_args, inner_kwargs)
        else:
            result = func(*inner_args, **inner_kwargs)
            self.kernels += 1
        known = {id(t.inner): t for t in own}  # what an operator in place returns is what it was given
        return _wrapped(result, known)

    def _check_randomness(self, name: str, generators: list[CpuGenerator], here: bool) -> None:
        if any((one._cdata in DeviceGenerator.known) != here for one in generators):
            raise ForbiddenError(f"{name} with a generator of another device at {line()}")
        if here and not generators and name in RANDOM:
            raise ForbiddenError(f"{name} draws from the device's global generator at {line()}")

    def _check(self, name: str, args: tuple, own: list, others: list) -> None:
        if name in UNREPEATABLE or (name in INDEXING and len(args) > 3 and args[3]):
            raise ForbiddenError(f"{name} is not repeatable on CUDA at {line()}")
        if own and others:
            if name == "copy_":
                self.wait("a copy between the devices")
            elif name in INDEXING:
                self.wait("an index by a tensor of the CPU")
            elif any(t.dim() for t in others):  # a single number of the CPU is taken as a scalar
                shapes = ", ".join(str(tuple(t.shape)) for t in others)
                raise ForbiddenError(f"{name} mixes the devices at {line()}: {shapes} on the CPU")
        elif not own and name == "_to_copy":
            self.wait("a copy to the device")
        if name in INDEXING and any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]):
            self.wait("an index by a mask")
        if name in WAITING:
            self.wait(name)


def _wrapped(result: Any, known: dict[int, OnDevice]) -> Any:
    if isinstance(result, torch.Tensor):
        return known[id(result)] if id(result) in known else OnDevice(result)
    return type(result)(_wrapped(one, known) for one in result) if isinstance(result, list | tuple) else result


_device: Device | None = None  # while there is one


class DeviceGenerator(CpuGenerator):
    """A generator of the device; its numbers are those of the CPU's."""

    known: ClassVar[set[int]] = set()  # operators are given another wrapper of the same generator

    def __init__(self) -> None:
        self.known.add(self._cdata)

    def __del__(self) -> None:
        self.known.discard(self._cdata)

    @property
    def device(self) -> torch.device:
        return CUDA


class _Generators(type):
    """`torch.Generator` while the device is pretended."""

    def __call__(cls, device: Any = "cpu") -> CpuGenerator:
        return DeviceGenerator() if torch.device(device).type == "cuda" else CpuGenerator()

    def __instancecheck__(cls, one: object) -> bool:
        return isinstance(one, CpuGenerator)


class Generator(metaclass=_Generators):
    pass


class OnDevice(torch.Tensor):
    """A tensor on the device; its numbers are in `inner`."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> OnDevice:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=inner.device,
        )
        made.inner = inner
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)

    def __repr__(self) -> str:
        return f"OnDevice({self.inner!r})"

    def data_ptr(self) -> int:
        return self.inner.data_ptr()

    def cpu(self, *_: Any) -> torch.Tensor:
        _device.wait("cpu()")
        return self.inner.clone()

    def tolist(self) -> Any:
        _device.wait("tolist()")
        return self.inner.tolist()

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise ForbiddenError(f"numpy() of a tensor on the device at {line()}")

    def to(self, *args: Any, **options: Any) -> torch.Tensor:
        if args and isinstance(args[0], torch.Tensor):
            args = (args[0].device, args[0].dtype, *args[1:])
        device, dtype, _, layout = torch._C._nn._parse_to(*args, **{k: v for k, v in options.items() if k != "copy"})
        more = {"dtype": dtype or self.dtype} | ({} if layout is None else {"memory_format": layout})
        if device is not None and device.type == "cpu":
            return self.cpu().to(**more)
        return torch.Tensor.to(self, **more)

    def __deepcopy__(self, memo: dict[int, Any]) -> torch.Tensor:
        made: torch.Tensor = OnDevice(self.inner.clone())
        if isinstance(self, torch.nn.Parameter):
            made = torch.nn.Parameter(made, self.requires_grad)
        memo[id(self)] = made
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        return _device.run(func, args, kwargs or {})


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        return _device.run(func, args, kwargs or {})


def _made(function: Any) -> Any:
    """`torch.tensor` or `torch.as_tensor`: what they make of numbers of the host is copied to the device."""

    def make(data: Any, *, dtype: torch.dtype | None = None, device: Any = None) -> torch.Tensor:
        made = data if isinstance(data, OnDevice) else function(data, dtype=dtype)
        return made if device is None else made.to(device)

    return make


def _grouped(lists: list[list[torch.Tensor]]) -> dict[tuple[torch.device, torch.dtype], Any]:
    """Torch groups tensors by the device of what is wrapped here; all of a net's are on one."""
    first = lists[0][0]
    return {(first.device, first.dtype): (lists, list(range(len(lists[0]))))}


def _reseeding(*_: object) -> None:
    raise ForbiddenError(f"the device's global generator is reseeded at {line()}")


@contextlib.contextmanager
def pretended() -> Iterator[Device]:
    """Within, `torch.cuda` has one device; afterwards everything is as it was."""
    global _device
    torch._C._ensureCUDADeviceGuardSet()  # a guard that does nothing, where there is no device
    overwrite = torch.__future__.get_overwrite_module_params_on_conversion()
    _device = device = Device()
    replaced = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "synchronize": lambda *_: device.wait("synchronize()"),
        "current_stream": lambda *_: device.stream,
        "Stream": Stream,
        "stream": device.current,
        "graph": device.capture,
        "CUDAGraph": Graph,
        "is_current_stream_capturing": lambda: device.recording is not None,
        "get_device_name": lambda *_: "pretended GPU",
        "get_device_capability": lambda *_: device.capability,
        "is_bf16_supported": lambda *_: device.capability >= (8, 0),
        "get_device_properties": lambda *_: SimpleNamespace(total_memory=2**34),
        "get_arch_list": lambda: ["sm_80", "sm_90"],
        "empty_cache": lambda: None,
        "reset_peak_memory_stats": lambda *_: None,
        "max_memory_allocated": lambda *_: 0,
        "memory_snapshot": Graph.segments,
        "manual_seed": _reseeding,
        "manual_seed_all": _reseeding,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in replaced.items():
            patch.setattr(torch.cuda, name, value)
        patch.setattr(torch, "Generator", Generator)
        patch.setattr(torch.backends.cudnn, "version", lambda: 1)
        patch.setattr(clip_grad, "_group_tensors_by_device_and_dtype", _grouped)
        for name in ("tensor", "as_tensor"):
            patch.setattr(torch, name, _made(getattr(torch, name)))
        patch.setattr(gpu, "driver", lambda: "1.0")
        patch.setattr(fused, "hindrance", lambda _: device.unfused)
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        runtime.device_name.cache_clear()
        try:
            with _Mode():
                yield device
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(overwrite)
            runtime.device_name.cache_clear()
            graphs._graphs.clear()
            _device = None
