"""An accelerator that is not there: device "sim", whose tensors hold their values on the CPU.

What a real one would punish is an error or a count here:

* a tensor of the CPU that meets one of the device in an operation raises, as does a generator of
  the wrong device; numbers (tensors without dimensions) may meet, as on CUDA;
* whatever would make the CPU wait for the device is counted as a synchronisation, with the line
  of posebench that asked for it: ``item``, ``bool``, ``tolist``, ``nonzero``, boolean indices,
  copies to the CPU;
* copies to the device are counted as uploads, every other operation that computes as a kernel.

PyTorch keeps one device type spare for backends of others (PrivateUse1). It can be renamed once in
a process, which leaves all others as they are; everything else is undone when ``simulated`` ends.
What it cannot show: real kernels, their memory and order, compiled graphs, NCCL.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import TracebackType
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils import _pytree as tree
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

NAME = "sim"

WAITING = {
    "_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal", "allclose",
    "_unique2", "unique_dim", "unique_consecutive",
}  # fmt: skip
"""Operations whose result, or its shape, the CPU must know."""

DRAWING = {
    "rand", "randn", "randint", "randperm", "multinomial", "bernoulli", "bernoulli_", "normal_",
    "uniform_", "random_",
}  # fmt: skip

INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}

FREE = {
    "view", "_unsafe_view", "expand", "slice", "select", "unsqueeze", "squeeze", "transpose", "t",
    "permute", "alias", "detach", "split", "split_with_sizes", "unbind", "as_strided", "diagonal",
    "lift_fresh", "_reshape_alias", "empty", "empty_like", "empty_strided", "new_empty",
    "new_empty_strided", "is_same_size",
}  # fmt: skip
"""Operations that launch nothing: views and memory."""

LOW_PRECISION = {"linear", "matmul", "mm", "bmm", "addmm", "__matmul__", "__rmatmul__",
                 "scaled_dot_product_attention"}  # fmt: skip
"""What autocast runs in bfloat16."""


class DeviceError(RuntimeError):
    """What a real device would raise where tensors of two devices meet."""


class OnDevice(torch.Tensor):
    """A tensor of the simulated device; ``held`` are its values."""

    held: Tensor

    @staticmethod
    def __new__(cls: type[OnDevice], held: Tensor) -> OnDevice:
        made: OnDevice = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(NAME, 0),
        )
        made.held = held
        return made

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.Tensor.numpy:
            raise TypeError("a tensor of the device has no array: copy it to the CPU first")
        if func is torch.Tensor.tolist:
            return args[0].cpu().tolist()
        if func is torch.Tensor.new_tensor:
            dtype = kwargs.get("dtype") or args[0].dtype
            return torch.tensor(args[1], dtype=dtype, device=NAME)
        with torch._C.DisableTorchFunctionSubclass():
            if LowPrecision.on and getattr(func, "__name__", "") in LOW_PRECISION:
                args, kwargs = tree.tree_map(LowPrecision.cast, (args, kwargs))
            return func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        assert Simulation.now is not None, "the simulated device is used outside of its fixture"
        return Simulation.now.run(func, args, kwargs or {})

    def __repr__(self) -> str:
        return f"OnDevice({self.held.detach()!r})"


class LowPrecision:
    """``torch.autocast`` for the simulated device; others go to the real one."""

    real = torch.autocast
    on = False

    def __new__(cls, device_type: str, *args: Any, **kwargs: Any) -> Any:
        made = object.__new__(cls)
        return made if device_type == NAME else cls.real(device_type, *args, **kwargs)

    def __init__(self, device_type: str, dtype: object = None, *, enabled: bool = True) -> None:
        self.wanted = enabled

    def __enter__(self) -> None:
        self.before, LowPrecision.on = LowPrecision.on, self.wanted

    def __exit__(self, *_: object) -> None:
        LowPrecision.on = self.before

    @staticmethod
    def cast(value: Any) -> Any:
        fits = isinstance(value, OnDevice) and value.dtype == torch.float32
        return value.to(torch.bfloat16) if fits else value


RealGenerator = torch.Generator


class Generator(RealGenerator):
    """A generator that says it is of the device it was made for; it draws on the CPU."""

    def __new__(cls, device: torch.device | str = "cpu") -> Generator:
        made = super().__new__(cls, "cpu")
        made.place = torch.device(device)
        assert Simulation.now is not None
        Simulation.now.generators[made._cdata] = made
        return made

    def __init__(self, device: torch.device | str = "cpu") -> None:
        pass

    place: torch.device

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self.place


class Simulation(TorchDispatchMode):
    """The device's accountant.

    Attributes:
        kernels, uploads, waits: counts since the last :meth:`reset`.
        where: "wait|upload operation line" -> how often.
    """

    now: Simulation | None = None

    def __init__(self) -> None:
        super().__init__()
        self.generators: dict[int, Generator] = {}  # operations get them without their class
        self.reset()

    def reset(self) -> None:
        """Count from zero."""
        self.kernels = self.uploads = self.waits = 0
        self.where: Counter[str] = Counter()

    def __enter__(self) -> Simulation:
        Simulation.now = self
        super().__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, traceback)
        Simulation.now = None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return self.run(func, args, kwargs or {})

    def run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Judge an operation, and compute it on the held values."""
        name = func._schema.name.split("::")[-1]
        tensors = [x for x in tree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        ours = [x for x in tensors if isinstance(x, OnDevice)]
        others = [x for x in tensors if not isinstance(x, OnDevice)]
        target = kwargs.get("device")
        on_device = torch.device(target).type == NAME if target is not None else bool(ours)
        self._judge_generator(name, args, kwargs, on_device)
        if name in ("_to_copy", "copy_"):
            source = args[0] if name == "_to_copy" else args[1]
            to = on_device if name == "_to_copy" else isinstance(args[0], OnDevice)
            self._count_copy(name, isinstance(source, OnDevice), to)
            on_device = to
        elif ours and name in INDEXING:
            self._judge_index(name, args)
        elif ours and any(x.dim() for x in others):
            raise DeviceError(f"{name} got tensors of the device and of the CPU at {line()}")
        if ours and name in WAITING:
            self._note("wait", name)
        elif on_device and name not in FREE:
            self.kernels += 1
        if name == "_fused_sdp_choice":
            return 0  # the plain formulation
        with _disable_current_modes():
            found = func(*tree.tree_map(held, args), **self._on_cpu(name, kwargs))
        return self._returned(func, args, kwargs, found, on_device)

    def _returned(
        self, func: Any, args: Any, kwargs: dict[str, Any], found: Any, on_device: bool
    ) -> Any:
        returns = func._schema.returns
        if returns and returns[0].alias_info is not None and returns[0].alias_info.is_write:
            return kwargs["out"] if "out" in kwargs else args[0]
        if not on_device:
            return found
        return tree.tree_map(lambda x: OnDevice(x) if isinstance(x, Tensor) else x, found)

    @staticmethod
    def _on_cpu(name: str, kwargs: dict[str, Any]) -> dict[str, Any]:
        changed = {key: tree.tree_map(held, value) for key, value in kwargs.items()}
        if kwargs.get("device") is not None:
            changed["device"] = torch.device("cpu")
        if name == "_to_copy":
            changed.pop("non_blocking", None)
        return changed

    def _judge_generator(self, name: str, args: Any, kwargs: dict[str, Any], ours: bool) -> None:
        given = [x for x in (*args, *kwargs.values()) if isinstance(x, RealGenerator)]
        if name not in DRAWING or not given:
            return
        known = self.generators.get(given[0]._cdata)
        if ours != (known is not None and known.device.type == NAME):
            raise DeviceError(f"{name} got a generator of the other device at {line()}")

    def _judge_index(self, name: str, args: Any) -> None:
        indices = [x for x in args[1] if x is not None]
        if not isinstance(args[0], OnDevice):
            raise DeviceError(f"{name}: indices of the device into the CPU at {line()}")
        if len(args) > 2 and not isinstance(args[2], OnDevice) and args[2].dim():
            raise DeviceError(f"{name}: values of the CPU into the device at {line()}")
        for index in indices:
            if not isinstance(index, OnDevice):
                self._note("upload", name)
            if index.dtype in (torch.bool, torch.uint8):
                self._note("wait", f"{name} by a mask")

    def _count_copy(self, name: str, on_device: bool, to_device: bool) -> None:
        if on_device and not to_device:
            self._note("wait", name)
        elif to_device and not on_device:
            self._note("upload", name)

    def _note(self, kind: str, name: str) -> None:
        self.waits += kind == "wait"
        self.uploads += kind == "upload"
        self.where[f"{kind} {name} {line()}"] += 1


def held(value: Any) -> Any:
    """The values behind a tensor of the device; anything else as it is."""
    return value.held if isinstance(value, OnDevice) else value


def line() -> str:
    """The nearest line of posebench on the stack."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith("posebench."):
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "outside of posebench"


@cache
def register() -> None:
    """Give the spare device type its name and the little that autograd asks of it, once."""
    backend_registration._setup_privateuseone_for_python_backend(rename=NAME, backend_module=None)
    backend: Any = getattr(torch, NAME)
    backend.get_amp_supported_dtype = lambda: [torch.bfloat16, torch.float32]
    backend.is_available = lambda: True


@contextmanager
def simulated() -> Iterator[Simulation]:
    """The device, as long as the context lasts."""
    register()
    with (
        patch.object(torch, "Generator", Generator),
        patch.object(torch, "autocast", LowPrecision),
        Simulation() as simulation,
    ):
        yield simulation
