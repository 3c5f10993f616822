"""Pickled SMPL models, read without running anything.

A pickle is a program that may call whatever it names. Here nothing is called: each call becomes an
inert :class:`Made`, names outside a closed list are refused, and the arrays are rebuilt from raw
bytes by our own code. The released models hold numpy arrays, one scipy.sparse matrix and chumpy
objects, written by Python 2 (hence latin1); chumpy itself is not needed.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posebench.errors import InputError

SPARSE = ("csc", "csr", "coo")
ALLOWED = {
    ("numpy", "ndarray"), ("numpy", "dtype"),
    *((f"numpy.{core}.multiarray", name)
      for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
    *((f"scipy.sparse.{private}{kind}", f"{kind}_{form}")
      for private in ("", "_") for kind in SPARSE for form in ("matrix", "array")),
    *((module, "_reconstructor") for module in ("copy_reg", "copyreg")),
    *((module, name) for module in ("__builtin__", "builtins")
      for name in ("object", "bytes", "bytearray")),
    ("_codecs", "encode"),
}  # fmt: skip
"""Everything a pickle may name, beside ``chumpy.*``."""

MAX_STEPS = 100_000
"""Instructions of one pickle; a model has some hundreds."""

MAX_DENSE = 2**26
"""Entries of a sparse matrix made dense; a joint regressor has 165,360."""


@dataclass(frozen=True)
class Name:
    """A global that the pickle names; it is never looked up."""

    module: str
    name: str


@dataclass(eq=False)
class Made:
    """What calling ``call`` on ``args`` and setting ``state`` would have made."""

    call: Name
    args: tuple[Any, ...] = field(default=(), repr=False)
    state: Any = field(default=None, repr=False)


def read_inert(data: bytes) -> Any:
    """The pickle's content: plain values as they are, everything else as :class:`Made`.

    Raises:
        InputError: a global outside the closed list, or a damaged or endless pickle.
    """
    try:
        return _Reader(io.BytesIO(data), encoding="latin1").load()
    except InputError:
        raise
    except Exception as error:  # damaged pickles raise almost anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise InputError(f"not a readable pickle ({reason})") from error


def array_of(value: Any) -> NDArray[Any]:
    """The numbers of an inert array, sparse matrix or chumpy object.

    Raises:
        InputError: it holds something else, or does not fit together.
    """
    try:
        return _array_of(value)
    except InputError:
        raise
    except Exception as error:  # states are a stranger's
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise InputError(f"damaged array ({reason})") from error


def _counted(step: Callable[..., None]) -> Callable[[Any], None]:
    def counted(reader: _Reader) -> None:
        reader.steps += 1
        if reader.steps > MAX_STEPS:
            raise InputError(f"more than {MAX_STEPS} pickle instructions, so no SMPL model")
        step(reader)

    return counted


# The pure Python unpickler: each instruction can be replaced, and a hostile memo index does not
# make it allocate gigabytes as the C one does.
class _Reader(pickle._Unpickler):
    steps = 0
    stack: list[Any]

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in ALLOWED or module.partition(".")[0] == "chumpy":
            return Name(module, name)
        raise InputError(
            f"refused: the pickle names {module}.{name}, which no SMPL model needs and which could "
            "run code; export the model as .npz if you trust the file"
        )

    def _instantiate(self, klass: Any, args: Any) -> None:
        self.stack.append(_made(klass, args))

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = _made(self.stack[-1], args)

    def load_newobj(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = _made(self.stack[-1], args)

    def load_newobj_ex(self) -> None:
        self.stack.pop()  # keyword arguments: nothing we read needs them
        self.load_newobj()

    def load_build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], Made):
            raise pickle.UnpicklingError("state for something that was not made")
        self.stack[-1].state = state


STEPS: dict[int, Callable[[Any], None]] = {
    **pickle._Unpickler.dispatch,
    pickle.REDUCE[0]: _Reader.load_reduce,
    pickle.NEWOBJ[0]: _Reader.load_newobj,
    pickle.NEWOBJ_EX[0]: _Reader.load_newobj_ex,
    pickle.BUILD[0]: _Reader.load_build,
    # Reads what is there, where the original allocates what is claimed.
    pickle.BYTEARRAY8[0]: pickle._Unpickler.dispatch[pickle.BINBYTES8[0]],
}
_Reader.dispatch = {code: _counted(step) for code, step in STEPS.items()}


def _made(call: Any, args: Any) -> Made:
    if not isinstance(call, Name) or not isinstance(args, tuple):
        raise pickle.UnpicklingError("a call of something that is not a name")
    if call.name == "_reconstructor" and isinstance(args[0], Name):
        return Made(args[0])  # protocols 0 and 1 make instances through it
    return Made(call, args)


def _array_of(value: Any) -> NDArray[Any]:
    if not isinstance(value, Made):
        raise InputError(f"holds {type(value).__name__} where an array belongs")
    call, state = value.call, value.state
    if call.name == "_reconstruct":
        shape, dtype, fortran, raw = state[-4:]
        return _from_bytes(raw, dtype, shape, "F" if fortran else "C")
    if call.name == "_frombuffer":
        raw, dtype, shape, order = value.args
        return _from_bytes(raw, dtype, shape, order)
    if call.name.partition("_")[0] in SPARSE:
        return _dense(call.name[:3], state)
    if call.module.partition(".")[0] == "chumpy" and isinstance(state, dict):
        if "x" in state:
            return _array_of(state["x"])
        if "a" in state and "idxs" in state:  # chumpy.reordering.Select
            chosen = _array_of(state["a"]).ravel()[_array_of(state["idxs"]).ravel()]
            shape = state.get("preferred_shape") or chosen.shape
            return np.reshape(chosen, shape)
    raise InputError(f"holds {call.module}.{call.name} where an array belongs")


def _from_bytes(raw: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    if any(not isinstance(size, int) or size < 0 for size in shape):
        raise InputError(f"an array of shape {shape}")
    numbers = _dtype_of(dtype)
    flat = np.frombuffer(_bytes_of(raw), numbers)
    shaped: NDArray[Any] = flat.reshape(tuple(shape), order="F" if order == "F" else "C")
    return shaped


def _dtype_of(value: Any) -> np.dtype[Any]:
    """A plain number type; objects, records and the like are refused."""
    if not isinstance(value, Made) or value.call != Name("numpy", "dtype"):
        raise InputError("an array without a number type")
    text = str(value.args[0])
    if not re.fullmatch(r"[<>|=]?(b1|[iu][1248]|f[248])", text):
        raise InputError(f"an array of {text!r} where numbers belong")
    order = value.state[1] if value.state is not None else "="
    return np.dtype(text).newbyteorder(">" if order == ">" else "<")


def _bytes_of(value: Any) -> bytes | bytearray:
    if isinstance(value, (bytes, bytearray)):
        return value
    if isinstance(value, str):  # Python 2's str, decoded as latin1
        return value.encode("latin1")
    if isinstance(value, Made) and value.call.name in ("encode", "bytes", "bytearray"):
        return _bytes_of(value.args[0]) if value.args else b""
    raise InputError("an array without its bytes")


def _dense(kind: str, state: Any) -> NDArray[Any]:
    from scipy import sparse

    rows, columns = (int(size) for size in state.get("_shape", state.get("shape")))
    if rows < 0 or columns < 0 or rows * columns > MAX_DENSE:
        raise InputError(f"a sparse matrix of {rows} x {columns}")
    numbers = _array_of(state["data"])
    if kind == "coo":
        at = state.get("coords") or (state["row"], state["col"])
        parts: Any = (numbers, tuple(_array_of(part) for part in at))
    else:
        parts = (numbers, _array_of(state["indices"]), _array_of(state["indptr"]))
    matrix = getattr(sparse, f"{kind}_matrix")(parts, shape=(rows, columns))
    if kind != "coo":
        matrix.check_format(full_check=True)
    dense: NDArray[Any] = matrix.toarray()
    return dense
