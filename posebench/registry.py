"""Explicit registries: a plain dict with helpful errors."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from posebench.errors import InputError

T = TypeVar("T")


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not known: suggests the nearest one and lists all."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return InputError(f"unknown {kind} {name!r}: {hint}known are {', '.join(names)}")


class Registry(Mapping[str, T], Generic[T]):
    """Names to objects of one kind; a miss suggests near names, a duplicate is an error.

    Other packages add entries through the entry-point group ``posebench.<plural>``; they are
    looked up only when a name is not built in, so start-up does not pay for them.
    """

    def __init__(self, kind: str, plural: str) -> None:
        self.kind = kind
        self.group = f"posebench.{plural}"
        self.about: dict[str, str] = {}
        self._entries: dict[str, T | str] = {}

    def register(self, name: str, entry: T | str, about: str = "") -> None:
        """Add an entry: an object, or "module:attribute", which is imported when first asked for.

        ``about`` is the line that ``posebench list`` shows, which must not need the import.

        Raises:
            ValueError: if the name is taken, as when a module is imported under two names.
        """
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._entries[name] = entry
        if about:
            self.about[name] = about

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            for point in entry_points(group=self.group, name=name):
                entry: T = self._loaded(point)
                if self._entries.get(name) is not entry:  # importing it may have registered it
                    self.register(name, entry)
                return entry
            raise unknown(self.kind, name, self)
        found = self._entries[name]
        if isinstance(found, str):
            module, _, attribute = found.partition(":")
            found = self._entries[name] = getattr(import_module(module), attribute)
        return found

    def _loaded(self, point: EntryPoint) -> T:
        """What a package brings. It is a stranger's module, which may fail in any way."""
        try:
            found: T = point.load()
        except Exception as error:
            owner = "" if point.dist is None else f" of package {point.dist.name}"
            reason = f"{type(error).__name__}: {error}"
            raise InputError(
                f"{self.kind} {point.name!r}{owner} cannot be imported ({reason})"
            ) from error
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in list(self)

    def __iter__(self) -> Iterator[str]:
        plugged = {point.name for point in entry_points(group=self.group)}
        return iter([*self._entries, *sorted(plugged - set(self._entries))])

    def __len__(self) -> int:
        return len(list(iter(self)))
