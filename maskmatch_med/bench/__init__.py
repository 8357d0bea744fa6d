"""Recipes side by side: every recipe, label count and seed trained, scored on the same scans, and told apart."""

from maskmatch_med.bench.design import Cell, Design, LabelBudget, Variant
from maskmatch_med.bench.run import BenchRequest, run_bench
from maskmatch_med.bench.summary import write_results

__all__ = ["BenchRequest", "Cell", "Design", "LabelBudget", "Variant", "run_bench", "write_results"]
