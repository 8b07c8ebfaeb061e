"""The job of `imitate distill`: prompts, or seed questions, and a teacher -> examples and a card.

prompts.py     a file or data set -> what is asked
teacher.py     an open teacher whose answers are kept, one by one or in shards
gathering.py   each prompt asked -> its answers, and what became of every call
seeds.py       seed questions -> new pairs of question and answer; pairs.py reads them
refusals.py    does an answer refuse?
duplicates.py  exact and near duplicates
outputs.py     examples, card and config on disk
job.py         all of it, in order
"""

from imitate.distilling.job import JobResult, run_job

__all__ = ["JobResult", "run_job"]
