"""Atomic writes replace a file completely or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trainyard.system.files import atomic_write


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced_completely_or_not_at_all(tmp_path, durable):
    file = tmp_path / "model.keras"
    for text in ("first", "second"):
        with atomic_write(file, durable=durable) as partial:
            assert partial.name == "partial.model.keras"
            partial.write_text(text)
        assert file.read_text() == text
    with pytest.raises(ZeroDivisionError), atomic_write(file, durable=durable) as partial:
        raise ZeroDivisionError(partial.write_text("third"))
    assert (file.read_text(), list(tmp_path.glob("*.keras"))) == ("second", [file])


def test_a_durable_write_syncs_the_file_before_and_the_folder_after_the_rename(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    with atomic_write(tmp_path / "a.txt", durable=True) as partial:
        partial.write_text("x")
    assert synced == [partial, tmp_path]
