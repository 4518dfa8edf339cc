"""A kernel that does not hear: woken, or given up soon; and a real one that hears everything but its first cell."""

import asyncio
import subprocess
import sys
from types import SimpleNamespace

import pytest

from minilora.course import kernel as module

pytest.importorskip("nbclient")


@pytest.fixture
def client(monkeypatch):
    """A client without a kernel: its cells wait until a request wakes the kernel, or for ever; [requests, cells]."""
    from nbclient import NotebookClient
    from nbclient.exceptions import DeadKernelError
    from nbformat.v4 import new_notebook

    monkeypatch.setattr(module, "NUDGE", 0.01)
    monkeypatch.setattr(module, "DEAF", 0.05)
    client = module.client_class()(new_notebook())

    async def wait(self, cell, cell_index, **how):
        self.task_poll_for_reply = asyncio.get_running_loop().create_future()
        for message in cell:
            self.process_message({"msg_type": "status", "content": {"execution_state": message}}, None, 0)
        try:
            return await self.task_poll_for_reply
        except asyncio.CancelledError:
            raise DeadKernelError("Kernel died") from None

    monkeypatch.setattr(NotebookClient, "async_execute_cell", wait)
    monkeypatch.setattr(NotebookClient, "process_message", lambda *_: None)
    client.requests = []
    client.kc = SimpleNamespace(kernel_info=lambda: client.requests.append(1))
    return client


@pytest.mark.parametrize("said", [(), ("busy", "idle")])
def test_a_kernel_that_owes_an_answer_is_given_up_soon(client, said):
    with pytest.raises(module.DeafKernel, match="cell 3 for 0.05 seconds"):
        asyncio.run(client.async_execute_cell(said, 3))
    assert client.requests


def test_a_request_may_wake_it(client):
    client.kc.kernel_info = lambda: client.task_poll_for_reply.set_result("ran")
    assert asyncio.run(client.async_execute_cell((), 0)) == "ran"


def test_a_cell_that_has_begun_may_take_its_time(client):
    async def longer_than_deaf():
        cell = asyncio.ensure_future(client.async_execute_cell(("busy",), 0))
        await asyncio.sleep(0.2)
        assert not cell.done() and client.requests  # for a reply may be stuck
        client.task_poll_for_reply.set_result("ran")
        return await cell

    assert asyncio.run(longer_than_deaf()) == "ran"


def test_a_kernel_that_died_is_no_deaf_one(client):
    from nbclient.exceptions import DeadKernelError

    client.kc.kernel_info = lambda: client.task_poll_for_reply.cancel()
    with pytest.raises(DeadKernelError, match="died"):
        asyncio.run(client.async_execute_cell((), 0))


LOSE_THE_FIRST = """
from pathlib import Path

from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager
from nbformat.v4 import new_code_cell, new_notebook

from minilora.course import kernel
from minilora.course.run import execute

kernel.NUDGE, kernel.DEAF = 0.1, 0.3
sent, started = [], []
really, start = AsyncKernelClient.execute, AsyncKernelManager.start_kernel


def lose_the_first(self, code, **how):
    sent.append(code)
    return "lost" if len(sent) == 1 else really(self, code, **how)


def note(self, **how):
    started.append(self)
    return start(self, **how)


AsyncKernelClient.execute, AsyncKernelManager.start_kernel = lose_the_first, note
python = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
notebook = new_notebook(cells=[new_code_cell("print(6 * 7)")], metadata=python)
execute(notebook, Path())
print(notebook.cells[0].outputs[0].text, len(sent), len(started), any(m.has_kernel for m in started))
"""


def test_a_lost_cell_is_run_by_a_fresh_kernel_and_no_kernel_stays():
    """In a process of its own: the event loops of a real client do not end with it."""
    done = subprocess.run([sys.executable, "-c", LOSE_THE_FIRST], capture_output=True, text=True)
    assert done.stdout.split() == ["42", "2", "2", "False"], done.stderr
