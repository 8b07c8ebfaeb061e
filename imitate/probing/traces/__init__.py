"""The probe of reasoning traces: jobs, runs and cells around `evals.probes.traces`."""
