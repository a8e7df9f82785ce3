"""Assigning the arrays of a file, or the files of a folder, to the parts of a data set by their names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from trainyard.errors import DatasetError

ROLES = ("x_train", "y_train", "x_test", "y_test", "x_val", "y_val")
"""The images and labels of each part of a data set; in this order, a list names the arrays. The default names."""
_COUNTS = (2, 4, 6)
"""The possible numbers of arrays: with training images only, with test images, and with validation images."""
_MAX_LISTED = 20
"""The number of arrays that messages list."""
CLASS_NAMES = "class_names"
"""The role of the optional array with the names of the classes."""

Keys = Sequence[str] | Mapping[str, str] | None
"""The setting ``dataset.keys``: names in the order of `ROLES`, or the name of each role. None: the usual names."""

_PARTS = {
    "train": ("train", "training"),
    "test": ("test", "testing", "t10k"),
    "val": ("val", "valid", "validation"),
}
_KINDS = {"x": ("x", "images", "image", "data"), "y": ("y", "labels", "label", "targets", "target")}


def _build_spellings() -> dict[str, str]:
    """Returns the role of each name that is recognized. Names are in lower case, and have only letters and digits."""
    spellings = {"classnames": CLASS_NAMES, "labelnames": CLASS_NAMES}
    for kind, kind_names in _KINDS.items():
        spellings |= dict.fromkeys(kind_names, kind)
        for part, part_names in _PARTS.items():
            for names in ((first, second) for first in kind_names for second in part_names):
                spellings |= dict.fromkeys(("".join(names), "".join(reversed(names))), f"{kind}_{part}")
    return spellings


_SPELLINGS = _build_spellings()


def find_keys_problem(keys: Keys) -> str | None:
    """Returns what is wrong with the setting ``dataset.keys``, or None if it is valid."""
    expected = f"expected 2, 4 or 6 names, in the order {', '.join(ROLES)}, or a mapping from these to names"
    names = list(keys.values()) if isinstance(keys, Mapping) else list(keys or ())
    if isinstance(keys, Mapping) and (unknown := keys.keys() - {*ROLES, CLASS_NAMES}):
        return f"{expected}, got the key {min(unknown)!r}"
    if keys is not None and not isinstance(keys, Mapping) and len(names) not in _COUNTS:
        return f"{expected}, got {len(names)} names"
    if len(set(names)) != len(names):
        return f"{expected}, got a name twice in {names}"
    return None


def find_roles(names: Collection[str]) -> dict[str, str]:
    """Returns the role of each array with a usual name: one of `ROLES` and `CLASS_NAMES`, or ``x`` or ``y``.

    Usual names are the spellings of ``x_train``, such as ``X_train``, ``train_x`` or ``train_images``; ``x`` or
    ``images`` alone; and ``arr_0`` to ``arr_3`` in the order of `ROLES`, from ``numpy.savez`` without names.
    """
    if len(names) in _COUNTS and set(names) == {f"arr_{index}" for index in range(len(names))}:
        return {f"arr_{index}": ROLES[index] for index in range(len(names))}
    spelled = {name: _SPELLINGS.get(re.sub("[^a-z0-9]", "", name.lower())) for name in names}
    return {name: role for name, role in spelled.items() if role is not None}


def assign_roles(
    available: Mapping[str, str], keys: Keys, source: str, *, needs_test: bool, noun: str = "array"
) -> dict[str, str]:
    """Returns the name of the array for each role.

    Args:
        available: A description of each array for messages, by its name.
        keys: The names that the user chose. If they name the training images and labels, other images and labels are
            ignored. Otherwise, the other roles are assigned to arrays with usual names; ``x`` and ``y`` are the
            training images and labels.
        source: The beginning of messages.
        needs_test: Whether there must be test images; otherwise, there must be none.
        noun: What the names belong to, for messages.

    Raises:
        DatasetError: If a role is missing or several arrays fit. The message lists the arrays.
    """
    listed = [*available.values()][:_MAX_LISTED]
    listing = f"The {noun}s are: {', '.join(listed)}" + (", ..." if len(available) > len(listed) else "")
    chosen = dict(keys) if isinstance(keys, Mapping) else dict(zip(ROLES, keys or (), strict=False))
    if missing := [name for name in chosen.values() if name not in available]:
        raise DatasetError(f"dataset.keys: expected {noun}s of {source}, got {missing[0]!r}. {listing}")
    roles, is_complete = dict(chosen), chosen.keys() >= {*ROLES[:2]}
    for name, found in find_roles(available).items():
        role = f"{found}_train" if found in _KINDS else found
        if role in chosen or name in chosen.values() or (is_complete and role in ROLES):
            continue
        if role in roles:
            raise DatasetError(
                f"{source}: expected one {noun} {role}, got {roles[role]} and {name}. Choose one: "
                f"dataset.keys={{{role}: {name}}}. {listing}"
            )
        roles[role] = name
    for problem in _find_role_problems(roles, needs_test=needs_test, noun=noun):
        raise DatasetError(f"{source}: {problem}. {listing}")
    return roles


def _find_role_problems(roles: Mapping[str, str], *, needs_test: bool, noun: str) -> Iterator[str]:
    """Yields what is wrong with the roles that were found."""
    has_test = bool(roles.keys() & {"x_test", "y_test"})
    required = [*ROLES[:2], *(ROLES[2:4] if needs_test or has_test else ())]
    required += ROLES[4:] if roles.keys() & {*ROLES[4:]} else []
    for role in required:
        if role not in roles:
            remedy = f"Name your {noun}s: dataset.keys={{x_train: NAME, y_train: NAME, x_test: NAME, y_test: NAME}}"
            if role in ROLES[2:4] and not has_test:
                remedy += ", or split the training images: dataset.test_fraction=0.2"
            yield f"expected the {noun} {role}, which is missing. {remedy}"
    if has_test and not needs_test:
        yield f"dataset.test_fraction: expected null, as the {noun}s {roles['x_test']} and {roles['y_test']} exist"
