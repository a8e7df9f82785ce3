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
from trainyard.system.garbage import freeze_gc_at_exit, gc_paused, gc_paused_import, mark_process_owned
from trainyard.system.progress import Progress
from trainyard.system.signals import check_interrupted, ignore_signals, prefer_interrupt, raise_on_signals
from trainyard.system.tensorflow_setup import (
    available_cores,
    choose_seed,
    configure_tensorflow,
    describe_numerics,
    explain_out_of_memory,
    import_tensorflow,
    stderr_captured,
    uses_onednn,
)
from trainyard.system.timing import StageTimer
from trainyard.system.uris import absolute_uri, find_uri_problem, redact_credentials, sqlite_path, sqlite_uri
from trainyard.system.xla_cache import cache_root, clear_xla_cache, configure_xla_cache, write_digests

__all__ = [
    "CHECKSUM_FILE",
    "PARTIAL_PREFIX",
    "REPORTED_PACKAGES",
    "GitState",
    "Progress",
    "StageTimer",
    "absolute_uri",
    "atomic_write",
    "available_cores",
    "cache_root",
    "check_interrupted",
    "choose_seed",
    "clear_xla_cache",
    "collect_machine_info",
    "collect_process_info",
    "configure_tensorflow",
    "configure_xla_cache",
    "describe_numerics",
    "explain_disk_full",
    "explain_out_of_memory",
    "find_checksum_problem",
    "find_uri_problem",
    "find_user_name",
    "format_command_line",
    "freeze_gc_at_exit",
    "gc_paused",
    "gc_paused_import",
    "hash_weights",
    "ignore_signals",
    "import_tensorflow",
    "is_process_alive",
    "list_installed_versions",
    "mark_process_owned",
    "prefer_interrupt",
    "raise_on_signals",
    "read_git_state",
    "redact_credentials",
    "sqlite_path",
    "sqlite_uri",
    "stderr_captured",
    "uses_onednn",
    "write_checksums",
    "write_digests",
    "xla_cache",
]
