"""A finished probe -> its report: one offline page, Markdown with figures."""

from reports.probes.page import is_probe, write_probe

__all__ = ["is_probe", "write_probe"]
