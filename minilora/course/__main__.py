"""python -m minilora.course write|compare [LESSON ...]"""

import argparse
import sys

from minilora.course.run import main

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m minilora.course", description=__doc__)
    parser.add_argument("action", choices=("write", "compare"), help="write: build and execute; compare: execute again")
    parser.add_argument("lessons", nargs="*", metavar="LESSON")
    args = parser.parse_args()
    try:
        sys.exit(main(args.action, args.lessons))
    except (ValueError, OSError) as error:
        sys.exit(f"minilora: {error}")
