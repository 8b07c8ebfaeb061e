"""People rate answers of a run: `imitate rate export` and `imitate rate import`.

drawing.py    a run -> pairs and attention checks, shuffled, under ids that tell nothing
sheet.py      what raters see, and the key to it
exporting.py  page, table and key in a folder
filled.py     what raters send back, checked
importing.py  ratings and key -> judgements, agreement, win rates
told.py       the same in the terminal
"""

from imitate.rating.drawing import Drawing
from imitate.rating.exporting import Exported, export_sheet
from imitate.rating.importing import Ratings, import_ratings
from imitate.rating.told import print_ratings

__all__ = ["Drawing", "Exported", "Ratings", "export_sheet", "import_ratings", "print_ratings"]
