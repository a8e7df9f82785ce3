"""Analysis of finished runs: comparisons, claims and reruns."""

from trainyard.analysis.claims.index import write_index
from trainyard.analysis.claims.provenance import (
    check_recipe_matches_search,
    collect_runs_provenance,
    describe_search,
)
from trainyard.analysis.claims.record import (
    PAGE,
    build_summary,
    check_report_rows,
    describe_verdict,
    determine_verdict,
    write_record,
)
from trainyard.analysis.claims.results import Results, load_arm
from trainyard.analysis.claims.spec import (
    CLAIM_FILE,
    EXPERIMENTS,
    TARGET_FILE,
    Claim,
    Target,
    find_spec,
    list_experiments,
    load_spec,
)
from trainyard.analysis.compare.comparison import Comparison, compare_selection
from trainyard.analysis.compare.page import write_comparison_page
from trainyard.analysis.compare.selection import Selection
from trainyard.analysis.rerun.comparison import Likeness, RerunComparison, compare_runs
from trainyard.analysis.rerun.original import OriginalRun, keeps_engine, load_original, restore_config

__all__ = [
    "CLAIM_FILE",
    "EXPERIMENTS",
    "PAGE",
    "TARGET_FILE",
    "Claim",
    "Comparison",
    "Likeness",
    "OriginalRun",
    "RerunComparison",
    "Results",
    "Selection",
    "Target",
    "build_summary",
    "check_recipe_matches_search",
    "check_report_rows",
    "collect_runs_provenance",
    "compare_runs",
    "compare_selection",
    "describe_search",
    "describe_verdict",
    "determine_verdict",
    "find_spec",
    "keeps_engine",
    "list_experiments",
    "load_arm",
    "load_original",
    "load_spec",
    "restore_config",
    "write_comparison_page",
    "write_index",
    "write_record",
]
