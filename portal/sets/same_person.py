"""Patients who share a film are treated as one person. Pure functions."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
# From what is learned from to what is judged on: where a CSV names two parts for copies of a film, the last counts.
_STRICTER = ("train", "align", "fit", "tune", "calibrate", "test")


class Joined(Generic[K]):
    """Things that are joined in pairs, and so in groups (union-find)."""

    def __init__(self, pairs: Iterable[tuple[K, K]]) -> None:
        self._next: dict[K, K] = {}
        for one, other in pairs:
            self._next[self.first(one)] = self.first(other)

    def first(self, thing: K) -> K:
        """The one that stands for the group of `thing`; itself if it is joined with nothing."""
        path = []
        while (after := self._next.get(thing, thing)) != thing:
            path.append(thing)
            thing = after
        self._next |= dict.fromkeys(path, thing)
        return thing

    def groups(self) -> list[set[K]]:
        members: dict[K, set[K]] = defaultdict(set)
        for thing in list(self._next):
            first = self.first(thing)
            members[first] |= {first, thing}
        return list(members.values())


def parts_by_person(named: Mapping[K, str], names: Mapping[K, str]) -> dict[K, str]:
    """The parts of patients (`named`) without those who share a film with a patient of a stricter part. So a published
    test part stays whole, and what is learned from loses films."""
    strictest: dict[str, str] = {}
    for patient, part in named.items():
        person = names[patient]
        strictest[person] = max(part, strictest.get(person, part), key=_STRICTER.index)
    return {patient: part for patient, part in named.items() if part == strictest[names[patient]]}
