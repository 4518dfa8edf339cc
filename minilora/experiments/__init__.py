"""One file per question: a frozen Config, `run(config, each=map) -> numbers`. No drawing.

`each(function, items)` gives `[function(item) for item in items]` in order. The built-in `map` does it here, one after
another; the gallery hands in one that has processes, a progress bar and kept results. So `function` must be a
module-level function, an item must be made of frozen dataclasses, tuples, numbers and text, and a result must be what
JSON can hold.
"""
