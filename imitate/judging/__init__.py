"""The job of `imitate judge-card`: labelled pairs and judges -> judgements and a card.

sets.py      benchmarks by name, and files by columns -> pairs with labels
recorded.py  verdicts that are there already -> judgements
asking.py    a judge that is asked, a shard of pairs at a time -> judgements, kept as they come
told.py      cards as a table
job.py       all of it, in order
"""

from imitate.judging.job import JudgedJob, run_card_job

__all__ = ["JudgedJob", "run_card_job"]
