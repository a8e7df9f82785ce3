"""The process and the machine: files, signals, progress, the environment, TensorFlow's start-up, the XLA cache."""

from trainyard.system import xla_cache
from trainyard.system.environment import (
    REPORTED_PACKAGES,
    GitState,
    collect_machine_info,
    collect_process_info,
    find_user_name,
    format_command_line,
    hash_weights,
    is_process_alive,
    list_installed_versions,
    read_git_state,
)
from trainyard.system.files import (
    CHECKSUM_FILE,
    PARTIAL_PREFIX,
    atomic_write,
    explain_disk_full,
    find_checksum_problem,
    write_checksums,
)
from trainyard.system.garbage_collection import freeze_gc_at_exit, gc_paused, gc_paused_import, mark_process_owned
from trainyard.system.jsonl import DamagedLineError, append_entries, read_entries
from trainyard.system.keras_adapter import get_global_seed_generator
from trainyard.system.notebook import build_default_progress, hide_notebook_output, is_notebook, open_progress_bar
from trainyard.system.processes import end_process_group, hold_shared_lock, signal_process_group
from trainyard.system.progress import Progress
from trainyard.system.signals import check_interrupted, ignore_signals, prefer_interrupt, raise_on_signals
from trainyard.system.tensorflow_setup import (
    choose_seed,
    configure_tensorflow,
    count_available_cores,
    describe_numerics,
    explain_out_of_memory,
    import_tensorflow,
    stderr_captured,
    uses_onednn,
)
from trainyard.system.terminal import print_error, print_heading
from trainyard.system.timing import StageTimer
from trainyard.system.uris import (
    build_sqlite_uri,
    find_uri_problem,
    get_sqlite_path,
    make_uri_absolute,
    redact_credentials,
)
from trainyard.system.xla_cache import clear_xla_cache, configure_xla_cache, find_cache_root, write_digests

__all__ = [
    "CHECKSUM_FILE",
    "PARTIAL_PREFIX",
    "REPORTED_PACKAGES",
    "DamagedLineError",
    "GitState",
    "Progress",
    "StageTimer",
    "append_entries",
    "atomic_write",
    "build_default_progress",
    "build_sqlite_uri",
    "check_interrupted",
    "choose_seed",
    "clear_xla_cache",
    "collect_machine_info",
    "collect_process_info",
    "configure_tensorflow",
    "configure_xla_cache",
    "count_available_cores",
    "describe_numerics",
    "end_process_group",
    "explain_disk_full",
    "explain_out_of_memory",
    "find_cache_root",
    "find_checksum_problem",
    "find_uri_problem",
    "find_user_name",
    "format_command_line",
    "freeze_gc_at_exit",
    "gc_paused",
    "gc_paused_import",
    "get_global_seed_generator",
    "get_sqlite_path",
    "hash_weights",
    "hide_notebook_output",
    "hold_shared_lock",
    "ignore_signals",
    "import_tensorflow",
    "is_notebook",
    "is_process_alive",
    "list_installed_versions",
    "make_uri_absolute",
    "mark_process_owned",
    "open_progress_bar",
    "prefer_interrupt",
    "print_error",
    "print_heading",
    "raise_on_signals",
    "read_entries",
    "read_git_state",
    "redact_credentials",
    "signal_process_group",
    "stderr_captured",
    "uses_onednn",
    "write_checksums",
    "write_digests",
    "xla_cache",
]
