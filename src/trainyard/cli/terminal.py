"""Terminal output of commands."""

from trainyard.runs import ScreenProgress, build_ui_command, print_result
from trainyard.system import print_error, print_heading

__all__ = ["ScreenProgress", "build_ui_command", "print_error", "print_heading", "print_result"]
