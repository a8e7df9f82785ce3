"""The process and the machine: files, signals, progress, the environment, TensorFlow's start-up, the XLA cache."""

from trainyard.system import xla_cache
from trainyard.system.control_groups import read_available_memory, read_core_quota
from trainyard.system.environment import (
    REPORTED_PACKAGES,
    collect_machine_info,
    collect_process_info,
    find_user_name,
    format_command_line,
    hash_weights,
    is_process_alive,
    list_installed_versions,
)
from trainyard.system.files import (
    CHECKSUM_FILE,
    PARTIAL_PREFIX,
    atomic_write,
    describe_full_disk,
    explain_disk_full,
    find_checksum_problem,
    write_checksums,
)
from trainyard.system.garbage_collection import gc_paused, gc_paused_import, mark_process_owned
from trainyard.system.git import GitState, read_git_state
from trainyard.system.jsonl import FieldTypes, append_entries, build_from_json, check_entry, check_fields, read_entries
from trainyard.system.keras_adapter import (
    average_weights_at_updates,
    compute_last_learning_rate,
    get_global_seed_generator,
    list_layers,
    numbers_as_variables,
)
from trainyard.system.notebook import build_default_progress, hide_notebook_output, is_notebook, open_progress_bar
from trainyard.system.processes import end_process_group, hold_shared_lock, open_shared_lock, signal_process_group
from trainyard.system.progress import Progress, StageTimer
from trainyard.system.signals import (
    INTERRUPT_SIGNALS,
    check_interrupted,
    ignore_signals,
    prefer_interrupt,
    raise_on_signals,
)
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
from trainyard.system.terminal import (
    continue_command,
    print_error,
    print_heading,
    print_labelled,
    print_next_steps,
    print_rows,
    print_styled,
    print_wrapped,
)
from trainyard.system.uris import (
    MIGRATE_FILES,
    build_sqlite_uri,
    find_uri_problem,
    get_sqlite_path,
    is_database_uri,
    make_uri_absolute,
    redact_credentials,
)
from trainyard.system.xla_cache import clear_xla_cache, configure_xla_cache, find_cache_root, write_digests
