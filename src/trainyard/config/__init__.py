"""Configs: schema, registry of components, composition, validation, security and reference."""

from trainyard.config.compose import (
    PRIMARY_CONFIG,
    build_run_config,
    build_unchecked_config,
    compose_config,
    compose_trees,
    make_unique_name,
    open_hydra,
)
from trainyard.config.fields import Rule, format_suggestion, get_rule, setting
from trainyard.config.hydra_adapter import (
    BASIC_LAUNCHER,
    build_argument_parser,
    build_basic_sweeper,
    build_hydra_context,
    get_job_error,
    iterate_sweep_values,
)
from trainyard.config.hydra_errors import find_field_path, translate_hydra_errors
from trainyard.config.labels import build_label, find_common_label, shorten_keys, shorten_paths
from trainyard.config.overrides import build_text_argument, expand_sweep, normalize_overrides
from trainyard.config.plugins import PLUGIN_GROUP, PLUGIN_VARIABLE, describe_error
from trainyard.config.recipe import build_run_name, find_recipe, find_recipe_changes, select_notes
from trainyard.config.reference.description import ArgumentType, LayerDoc, describe_config
from trainyard.config.reference.json_schema import build_json_schema, list_schema_targets
from trainyard.config.reference.markdown import render_config_page
from trainyard.config.registry import (
    find_component,
    get_registered_components,
    get_registered_metrics,
    load_plugins,
    register_augmentation,
    register_dataset,
    register_debug,
    register_loss,
    register_metric,
    register_model,
    register_optimizer,
    register_schedule,
    register_tracking,
)
from trainyard.config.schema import (
    COMPONENT_GROUPS,
    AugmentationConfig,
    ComponentConfig,
    DatasetConfig,
    DebugConfig,
    LearningRate,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    RunConfig,
    ScheduleConfig,
    TrackingConfig,
)
from trainyard.config.search_path import (
    list_choices,
    list_groups,
    prepare_hydra,
)
from trainyard.config.sections import EarlyStoppingConfig, EvaluationConfig, PlateauConfig, SweepConfig, TrainingConfig
from trainyard.config.security import FORK_LAUNCHER, forbid_code_execution, get_override_key
from trainyard.config.serialization import (
    HASHED_SECTIONS,
    build_tree,
    compare_trees,
    config_to_dict,
    dump_config,
    escape_interpolations,
    find_config_differences,
    flatten_config,
    flatten_tree,
    hash_config,
    load_config,
)
from trainyard.config.validation import (
    ValidValues,
    check_files_exist,
    find_section_problems,
    find_size_problems,
    validate_config,
)
