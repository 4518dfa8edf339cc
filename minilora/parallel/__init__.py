"""Many independent runs: side by side in processes, kept when they are finished, with a bar.

    each = SideBySide(desc="rank_fit", keep="figures/.runs/rank_fit")
    results = each(train, items)        # [train(item) for item in items], in order

`each` is what experiments take (`run(config, each=map)`).
"""

from minilora.parallel.cluster import on_dask
from minilora.parallel.each import Progress, SideBySide
from minilora.parallel.processes import ONE_THREAD, RunFailed, in_processes, one_by_one

__all__ = ["ONE_THREAD", "Progress", "RunFailed", "SideBySide", "in_processes", "on_dask", "one_by_one"]
