"""Reports: plots, tables and HTML pages."""

from trainyard.reporting import plots
from trainyard.reporting.formatting import (
    format_count,
    format_duration,
    format_metric,
    format_percent,
    format_range,
    format_time,
    format_value,
)
from trainyard.reporting.html import EmbeddedImage, embed_image, render_sortable_page
from trainyard.reporting.leaderboard import (
    MAX_CARD_ROWS,
    SHOWN_TEST_METRICS,
    TABLE,
    build_card_columns,
    build_card_rows,
    build_mark,
    describe_lead,
    describe_smaller_point,
    describe_tied,
    explain_ranking,
    render_leaderboard_markdown,
    write_leaderboard,
)
from trainyard.reporting.markdown import Table
from trainyard.reporting.notebook import build_ranking_frame, render_html_table, render_ranking_html
from trainyard.reporting.plots import PredictionFlip
from trainyard.reporting.plots.comparison import MAX_ROWS
from trainyard.reporting.plots.probabilities import MAX_IMAGES, ImagePrediction
from trainyard.reporting.plots.style import MAX_NAME_LENGTH, shorten
from trainyard.reporting.provenance import format_provenance
from trainyard.reporting.run_report import (
    CURVES_FILE,
    DatasetSummary,
    FailurePage,
    ReportPage,
    RunPage,
    write_failure_report,
    write_report,
)
