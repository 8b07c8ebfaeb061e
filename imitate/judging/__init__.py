"""The job of `imitate judge-card`: labelled pairs and judges -> judgements and a card.

sets.py       benchmarks by name, and files by columns -> pairs with labels
probing.py    questions with right and wrong answers -> probes
recorded.py   verdicts that are there already -> judgements; reviews.py those of a run's arms
voices.py     texts of teacher and base -> the discriminator's judgements
asking.py     a judge that is asked, a shard of pairs at a time -> judgements, kept as they come
anchoring.py  what asked judges said at first, and whether they still do
hearing.py    one judge, whichever it is
told.py       cards as a table
job.py        all of it, in order
"""

from imitate.judging.job import JudgedJob, run_card_job

__all__ = ["JudgedJob", "run_card_job"]
