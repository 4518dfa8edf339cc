"""`file_forge`, `file_kinds` and `soak` import each other by name, in the tests as in `make fuzz`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
