"""Explicit registries: a plain dict with helpful errors, which other packages can join."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
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

    Other packages add entries through the entry-point group ``posebench.<plural>``. They are looked
    up, once, only when a name is not built in, and imported only when they are used: start-up does
    not pay for them, and one that cannot be imported harms no other.
    """

    def __init__(self, kind: str, plural: str, *, needs: tuple[str, ...] = ()) -> None:
        """``needs`` are attributes that an entry from another package must have."""
        self.kind = kind
        self.group = f"posebench.{plural}"
        self.about: dict[str, str] = {}
        self.needs = needs
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

    @cached_property
    def _plugged(self) -> dict[str, EntryPoint]:
        """What other packages offer; of one name, the first."""
        return {point.name: point for point in reversed(tuple(entry_points(group=self.group)))}

    def __getitem__(self, name: str) -> T:
        """The entry of this name.

        Raises:
            InputError: unknown name, or a plug-in that cannot be used, naming its package.
        """
        if name not in self._entries:
            if name not in self._plugged:
                raise unknown(self.kind, name, self)
            entry = self._loaded(name, self._plugged[name])
            if self._entries.get(name) is not entry:  # importing it may have registered it
                self.register(name, entry)
            return entry
        found = self._entries[name]
        if isinstance(found, str):
            module, _, attribute = found.partition(":")
            found = self._entries[name] = getattr(import_module(module), attribute)
        return found

    def _loaded(self, name: str, point: EntryPoint) -> T:
        package = point.dist.name if point.dist is not None else point.module
        try:
            entry: T = point.load()
            missing = [each for each in self.needs if not hasattr(entry, each)]
            reason = f"it has no {', '.join(missing)}" if missing else ""
        except (Exception, SystemExit) as error:  # noqa: BLE001 other people's code does anything
            said = (str(error).strip() or "no reason given").splitlines()[0]
            reason = f"{type(error).__name__}: {said}"
        if reason:
            raise InputError(
                f"{self.kind} {name!r} of package {package!r} cannot be used: {reason}; mend the "
                "package or uninstall it"
            )
        return entry

    def working(self) -> dict[str, T]:
        """All entries but those of plug-ins that cannot be used."""
        broken = self.broken()
        return {name: self[name] for name in self if name not in broken}

    def broken(self) -> dict[str, str]:
        """Plug-ins that cannot be used -> why."""
        found = {}
        for name in self:
            try:
                self[name]
            except InputError as error:
                found[name] = str(error)
        return found

    def name_of(self, entry: object) -> str | None:
        """The name under which an entry is registered, None if it is not; imports nothing."""
        place = f"{getattr(entry, '__module__', '')}:{getattr(entry, '__qualname__', '')}"
        for name, known in self._entries.items():
            if known is entry or known == place:
                return name
        return next((name for name, point in self._plugged.items() if point.value == place), None)

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._plugged

    def __iter__(self) -> Iterator[str]:
        return iter([*self._entries, *sorted(set(self._plugged) - set(self._entries))])

    def __len__(self) -> int:
        return len(list(iter(self)))
