"""`imitate compare`: two results that people have already, and a teacher's, item by item.

In: names of results as a user gives them. Out: a `Comparison`, and how a terminal or a program is
told of it. What a name may be: a log of lm-eval, a log of Inspect, a table, or an arm of a run.
"""

from imitate.comparing.results import Reading, compare_results
from imitate.comparing.tables import Columns
from imitate.comparing.told import as_json, print_comparison

__all__ = ["Columns", "Reading", "as_json", "compare_results", "print_comparison"]
