"""One Jupyter kernel that runs a notebook's cells, and what to do when it does not respond.

Now and then a kernel is idle and never runs a cell that was sent to it, or never replies: the message waits in a socket
whose wake-up was lost (ipykernel's issue 1554 has one way in which that happens). Any later message wakes it, so small
requests follow every cell; and a kernel that owes an answer, because it has not begun the cell or says that it has ended,
is given up soon. A cell that has begun may take its time.
"""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minilora.parallel import ONE_THREAD

TIMEOUT = 300  # seconds for a cell that has begun, also on a busy machine: only what hangs takes longer
NUDGE = 2  # seconds between requests that may wake a kernel
DEAF = 20  # seconds until such a kernel is given up


class DeafKernel(RuntimeError):
    """A kernel did not begin a cell that was sent to it, or did not reply when it had ended."""


@contextmanager
def kernel(notebook: Any, folder: Path) -> Iterator[Any]:
    """A fresh kernel in `folder`, with one BLAS thread: an nbclient for `notebook`, whose `execute_cell(cell, index)` runs one.

    DeafKernel if it owes an answer for DEAF seconds. The kernel is shut down at the end of the block.
    """
    from jupyter_client.manager import AsyncKernelManager

    where = {"metadata": {"path": str(folder)}}
    with tempfile.TemporaryDirectory() as sockets:
        # Sockets in the file system where there are such: two kernels that start at once can pick the same TCP port.
        address = {} if os.name == "nt" else {"transport": "ipc", "ip": f"{sockets}/kernel"}
        manager = AsyncKernelManager(kernel_name="python3", **address)
        client = client_class()(notebook, km=manager, timeout=TIMEOUT, record_timing=False, resources=where)
        # Not client.execute(): it also asks the kernel for its language, and now and then waits in vain for the answer.
        with client.setup_kernel(env=os.environ | ONE_THREAD, cleanup_kc=True):
            yield client


def client_class() -> type:
    """nbclient's client, which also sees whether its kernel hears it (made here, for nbclient belongs to an extra)."""
    from jupyter_core.utils import run_sync
    from nbclient import NotebookClient
    from nbclient.exceptions import DeadKernelError

    class Client(NotebookClient):
        owes = deaf = False

        async def async_execute_cell(self, cell, cell_index, **how):
            self.owes, self.deaf = True, False
            watch = asyncio.ensure_future(self._watch())
            try:
                return await super().async_execute_cell(cell, cell_index, **how)
            except DeadKernelError:
                if self.deaf:
                    raise DeafKernel(f"the kernel owed an answer to cell {cell_index} for {DEAF} seconds") from None
                raise
            finally:
                watch.cancel()

        execute_cell = run_sync(async_execute_cell)

        def process_message(self, msg, cell, cell_index):
            if msg["msg_type"] == "status":
                self.owes = msg["content"]["execution_state"] == "idle"
            return super().process_message(msg, cell, cell_index)

        async def _watch(self):
            seconds = 0
            while seconds < DEAF:
                await asyncio.sleep(NUDGE)
                self.kc.kernel_info()  # also while it runs, for a reply may be stuck, too; it is answered afterwards
                seconds = seconds + NUDGE if self.owes else 0
            self.deaf = True
            self.task_poll_for_reply.cancel()  # which nbclient takes for the end of the kernel

    return Client
