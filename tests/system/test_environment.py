from __future__ import annotations

import getpass
import os
import subprocess
import sys

from trainyard.system import environment


def test_user_without_a_name_is_identified_by_id(monkeypatch):
    def nameless():
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert environment.find_user_name() == str(os.getuid())


def test_process_info_and_command_line():
    program = "from trainyard.system import environment; print(environment.collect_process_info(), environment.format_command_line())"
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "'pid'" in process.stdout
    assert "import environment" in process.stdout


def test_versions_are_the_installed_versions():
    import numpy as np

    versions = environment.list_installed_versions()
    assert versions["numpy"] == np.__version__
    assert set(environment.REPORTED_PACKAGES) <= set(versions)


def test_passwords_in_uris_are_redacted_in_the_command(monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["python", "program.py", "--store", "http://ada:canary@host"])
    assert environment.format_command_line() == "python program.py --store http://***@host"
