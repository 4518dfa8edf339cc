"""python -m minilora.course write|compare|copy|export [LESSON ...]"""

import argparse
import sys

from minilora.course.export import PAGES, export
from minilora.course.run import main
from minilora.course.workbook import WORKBOOK, copy_lessons

ACTIONS = {
    "write": "build and execute the committed pages",
    "compare": "execute them again and name what differs",
    "copy": f"copy them into {WORKBOOK.name}, to work in; what is there already stays",
    "export": f"write them into {PAGES.name} as web pages that need no network",
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m minilora.course", description=__doc__)
    parser.add_argument("action", choices=ACTIONS, help="; ".join(f"{name}: {what}" for name, what in ACTIONS.items()))
    parser.add_argument("lessons", nargs="*", metavar="LESSON")
    args = parser.parse_args()
    try:
        if args.action == "copy":
            print(
                f"{len(copy_lessons())} new pages in {WORKBOOK.name}; work there, the committed ones stay as they are"
            )
        elif args.action == "export":
            print(f"{len(export(names=args.lessons))} pages in {PAGES.name}; open {PAGES.name}/00_start_here.html")
        else:
            sys.exit(main(args.action, args.lessons))
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"minilora: {error}")
    except KeyboardInterrupt:
        print("minilora: stopped; pages that were done are written", file=sys.stderr)
        sys.exit(130)
