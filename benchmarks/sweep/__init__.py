"""The parts of `sweep_eval.py`: its tasks, its sides, and how their answers are compared."""
