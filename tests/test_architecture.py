"""The rules that hold the house together: what imports what, and what is not imported before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import trainyard

SOURCE = Path(trainyard.__file__).parent

ORDER = [
    "cli.sweep",
    "analysis",
    "sweep.launch",
    "serving",
    "runs",
    "reporting",
    "training",
    "config.reference",
    "config",
    "system",
    "evaluation",
    "errors", "reporting.formatting", "system.garbage", "config.fields", "data.dataset", "data.preprocessing", "system.uris", "data.npz", "data.image_files", "data.idx", "system.progress", "system.signals", "system.timing",
    "system.files", "config.sections", "config.schema", "config.registry", "config.validation", "config.security", "config.search_path",
    "config.hydra_errors", "data.digits", "data.checks", "data.user_arrays", "data.image_folder", "data.published",
    "data.loading", "data", "serving.image_inputs", "models.blocks", "models.layers", "models.parameter_count", "models.mlp", "models.cnn",
    "models.sequential", "models", "training.optimizers", "training.schedules", "training.losses", "evaluation.metrics", "data.augmentation", "training.profiler", "training.debug", "tracking.stores",
    "config.compose", "config.reference.fields", "config.reference.markdown", "config.reference.json_schema", "system.xla_cache", "system.tensorflow_setup",
    "system.environment", "data.batches", "training.engine", "training.xla", "training.fit_engine", "training.compiled_engine", "training.callbacks", "training.checkpoint", "training.best_model", "training.trainer", "evaluation.calibration",
    "evaluation.scoring", "runs.result", "reporting.markdown", "reporting.provenance", "evaluation.trials", "evaluation.ranking",
    "reporting.plots.style", "reporting.plots.calibration", "reporting.plots.profile", "reporting.plots.confusion_matrix", "reporting.plots.learning_curves", "reporting.plots.image_grid",
    "reporting.plots.probabilities", "reporting.plots.ranking", "reporting.plots.grid", "reporting.plots.effects", "reporting.plots.claims", "reporting.plots.comparison", "reporting.plots", "reporting.run_report", "runs.artifacts", "tracking.ui_views",
    "tracking.connection", "tracking.runs", "tracking.health", "tracking.mlflow_model", "tracking.operations", "tracking.trial_runs",
    "tracking.journal", "tracking.history", "tracking.search", "tracking.model_registry", "tracking.upload", "tracking.writer", "tracking.writer_process", "tracking.tracked_run", "tracking.tracker", "tracking.sweep_run", "tracking.ui_server", "tracking",
    "runs.resume", "runs.saved_models", "runs.pretrained", "runs.sync", "serving.predictor", "serving.export", "serving.promote", "runs.tags", "runs.experiment",
    "sweep.progress", "sweep.grid", "sweep.composer", "sweep.labels", "sweep.sampler", "sweep.space", "sweep.plan", "sweep.ledger", "sweep.pruner", "sweep.progress_file",
    "sweep.folder", "sweep.warm_start", "sweep.search", "sweep.config_loader", "sweep.launch.devices", "sweep.launch.fork_server", "sweep.launch.preload", "sweep.launch.job", "sweep.launch.process_pool", "sweep.launch.ray_pool", "sweep.launch.launcher", "sweep.results", "sweep.smoke_test",
    "sweep.scheduler", "sweep.recipe", "reporting.leaderboard", "sweep.importance", "sweep.card", "sweep.summary", "sweep.tracking", "sweep",
    "analysis.claims.spec", "analysis.claims.results", "analysis.claims.provenance", "evaluation.intervals", "analysis.claims.judging", "analysis.claims.power", "analysis.claims.selection", "analysis.claims.target_page", "analysis.claims.claim_page", "analysis.claims.verdicts",
    "analysis.claims.record", "analysis.claims.index", "analysis.claims",
    "analysis.compare.runs", "analysis.compare.selection", "analysis.compare.table", "analysis.compare.predictions", "analysis.compare.page", "analysis.compare",
    "analysis.rerun.original", "analysis.rerun.comparison", "analysis.rerun",
    "doctor.finding", "doctor.packages", "doctor.machine", "doctor.disk", "doctor.store", "doctor.caches", "doctor",
    "cli.screen", "cli.help", "cli.hydra_arguments", "cli.jobs", "cli.sweep.columns", "cli.sweep.screen", "cli.sweep.tables", "cli.sweep.status",
    "cli.sweep.run", "cli.sweep.command", "cli.train", "cli.reproduce", "cli.rerun", "cli.compare", "cli.export", "cli.data", "cli.predict", "cli.sync", "cli.ui", "cli.doctor", "cli.config",
    "cli.override_completion", "cli.completion", "cli.app", "cli.run_commands", "cli.tool_commands", "cli", "",
]  # fmt: skip
"""Every module, each importing only what stands before it; the package itself comes last."""

HEAVY = (
    "tensorflow",
    "keras",
    "mlflow",
    "matplotlib",
    "sklearn",
    "pooch",
    "jinja2",
    "requests",
    "pandas",
    "scipy",
    "optuna",
)


def _modules() -> dict[str, Path]:
    found = {}
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _imports(path: Path) -> list[tuple[str, bool]]:
    """Returns what a module imports, each with whether the import stands at its top level and runs."""
    tree = ast.parse(path.read_text())
    lazy = set()
    for node in ast.walk(tree):
        typing_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or typing_only:
            lazy.update(id(child) for child in ast.walk(node))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) not in lazy) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            modules = {name if name.removeprefix("trainyard.") in ORDER else node.module for name in names}
            found += [(name, id(node) not in lazy) for name in sorted(modules)]
    return found


def test_every_module_has_its_place():
    assert sorted(_modules()) == sorted(ORDER)


@pytest.mark.parametrize("module", ORDER[:-1])
def test_imports_point_one_way(module):
    place = ORDER.index(module)
    for name, _ in _imports(_modules()[module]):
        if name.startswith("trainyard."):
            imported = name.removeprefix("trainyard.")
            if imported in ORDER:
                assert ORDER.index(imported) < place, f"{module} imports {imported}, which stands after it"


@pytest.mark.parametrize("module", ORDER)
def test_heavy_libraries_are_imported_where_they_are_needed(module):
    heavy = {name for name, at_top in _imports(_modules()[module]) if at_top and name.split(".")[0] in HEAVY}
    assert not heavy


def test_only_one_place_knows_each_of_mlflow_and_matplotlib():
    for module, path in _modules().items():
        libraries = {name.split(".")[0] for name, _ in _imports(path)}
        assert "mlflow" not in libraries or module.startswith("tracking"), module
        assert "matplotlib" not in libraries or module.startswith(("plots", "reporting.plots")), module


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["train", "optimizer=adma"],
        ["train", "--cfg", "job"],
        ["train", "-m", "seed=1,-1"],
        ["config", "schema"],
        ["complete-words", "bash", "trainyard train model=cnn model.fi"],
    ],
    ids=" ".join,
)
def test_help_and_errors_import_nothing_heavy(arguments):
    program = (
        "import sys\nfrom trainyard.cli import main\n"
        f"sys.argv = ['trainyard', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_importing_the_package_imports_no_other_module_of_it():
    program = "import sys, trainyard; print([name for name in sys.modules if name.startswith('trainyard.')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        trainyard.nonsense  # noqa: B018 - the lookup is what is tested
    assert set(trainyard.__all__) <= set(dir(trainyard))


def test_the_public_names_are_what_all_says():
    for name in trainyard.__all__:
        assert getattr(trainyard, name).__doc__, name


def test_files_stay_readable():
    for path in SOURCE.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 400, path
        assert path.stem not in ("utils", "helpers", "common", "manager", "misc"), path
