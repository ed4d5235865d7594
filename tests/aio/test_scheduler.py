"""Handles, timers and the iteration, against what asyncio's own loop does with the same program."""

import asyncio
import contextvars
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.aio.conftest import Site, exactly

Program = Callable[[], Coroutine[Any, Any, Any]]
variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)


async def order() -> list[Any]:
    """What is called, in which order: what is added meanwhile comes in the next iteration."""
    loop, told = asyncio.get_running_loop(), []
    loop.call_later(0.02, told.append, "later")
    loop.call_at(loop.time() + 0.01, told.append, "at")
    loop.call_soon(told.append, "soon")
    loop.call_soon(lambda: (told.append("outer"), loop.call_soon(told.append, "inner")))
    loop.call_soon(told.append, "behind")
    loop.call_soon(told.append, "never").cancel()
    loop.call_later(0.001, told.append, "never").cancel()
    await asyncio.sleep(0.05)
    return told


async def contexts() -> list[Any]:
    """Each is called in the context of when it was added, or in the one that was given."""
    loop, told = asyncio.get_running_loop(), []
    variable.set(1)
    given = contextvars.copy_context()
    loop.call_soon(lambda: told.append(variable.get()))
    loop.call_soon(variable.set, 7, context=given)
    loop.call_soon(lambda: told.append(variable.get()))
    loop.call_later(0.001, lambda: told.append(variable.get()), context=given)
    variable.set(2)
    task = loop.create_task(named(), name="its name", context=given)
    await asyncio.sleep(0.02)
    return [*told, task.result(), variable.get()]


async def named() -> tuple[str, int]:
    task = asyncio.current_task()
    return task.get_name() if task else "", variable.get()


async def errors() -> list[Any]:
    """What a callback raises goes to the exception handler, and the next one is called."""
    loop, told = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: told.append(
        (type(context["exception"]), context["message"].partition(" at ")[0],
         isinstance(context["handle"], asyncio.Handle))))
    loop.call_soon(int, "no number")
    loop.call_later(0.001, int, "none either")
    loop.call_soon(told.append, "next")
    await asyncio.sleep(0.02)
    loop.set_exception_handler(None)
    return told


async def handles() -> list[Any]:
    """What a handle tells of itself."""
    loop = asyncio.get_running_loop()
    soon, later = loop.call_soon(len, "", context=contextvars.copy_context()), loop.call_later(60, len, "")
    early = loop.call_at(later.when() - 1, len, "")
    told = [isinstance(soon, asyncio.Handle), isinstance(later, asyncio.TimerHandle), soon.cancelled(),
            early < later, early > later, early <= later, early == later, early != later,
            hash(later) == hash(later.when()), "len" in repr(soon), "TimerHandle" in repr(later)]
    for it in (soon, later, early):
        it.cancel()
    return [*told, later.cancelled(), "cancelled" in repr(soon), "cancelled" in repr(later)]


async def many_cancelled() -> list[Any]:
    """Timers that are cancelled do not stay, however many; those among them that are not are called."""
    loop, told = asyncio.get_running_loop(), []
    for number in range(1000):
        timer = loop.call_later(60 + number, told.append, number)
        if number % 2:
            timer.cancel()
        if number % 100 == 0:
            loop.call_later(0.001 * number / 100, told.append, number)
    for timer in list(loop._scheduled)[:900]:       # type: ignore[attr-defined]
        if timer.when() > loop.time() + 30:
            timer.cancel()
    await asyncio.sleep(0.1)
    return [told, len(loop._scheduled) < 300]       # type: ignore[attr-defined]


@pytest.mark.parametrize("program", [order, contexts, errors, handles, many_cancelled])
@pytest.mark.parametrize("debug", [False, True])
def test_it_does_what_asyncio_s_own_loop_does(site: Site, program: Program, debug: bool) -> None:
    with asyncio.Runner(debug=debug, loop_factory=asyncio.SelectorEventLoop) as runner:
        expected = runner.run(program())
    assert site.run(program(), debug=debug) == expected


def test_debug_mode_can_be_switched_while_it_runs(site: Site) -> None:
    async def main() -> list[str]:
        loop, told = asyncio.get_running_loop(), []
        loop.call_soon(told.append, "before")
        loop.call_later(0.01, told.append, "timer before")
        loop.set_debug(True)
        loop.call_soon(told.append, "during")
        loop.call_later(0.02, told.append, "timer during")
        await asyncio.sleep(0.005)
        loop.set_debug(False)
        await asyncio.sleep(0.05)
        return told
    assert site.run(main()) == ["before", "during", "timer before", "timer during"]


def test_a_closed_loop_takes_nothing(site: Site) -> None:
    async def main() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()
    loop = site.run(main())
    for call in (lambda: loop.call_soon(len, ""), lambda: loop.call_later(1, len, ""),
                 lambda: loop.call_at(1, len, ""), lambda: loop.call_soon_threadsafe(len, "")):
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            call()


def test_an_interrupt_in_a_callback_ends_the_loop(site: Site) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        asyncio.get_running_loop().call_soon(interrupt)
        await asyncio.sleep(10)

    with pytest.raises(KeyboardInterrupt):
        site.run(main())


def test_a_task_factory_is_asked(site: Site) -> None:
    async def main() -> list[str]:
        asked: list[str] = []

        def factory(loop: Any, coro: Any, **options: Any) -> Any:
            asked.append(coro.__name__)
            return asyncio.Task(coro, loop=loop, **options)

        def plain(loop: Any, coro: Any) -> Any:
            asked.append("plain")
            return asyncio.Task(coro, loop=loop)

        for it in (factory, plain, None):
            asyncio.get_running_loop().set_task_factory(it)
            await asyncio.create_task(named())
        return asked
    assert site.run(main()) == ["named", "plain"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio has eager tasks since 3.12")
def test_eager_tasks_begin_at_once_a_server_s_too(site: Site) -> None:
    async def main() -> list[Any]:
        told: list[Any] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            told.append(variable.get())
            while line := await reader.readline():
                writer.write(line)
            writer.close()

        loop: Any = asyncio.get_running_loop()
        loop.set_task_factory(vars(asyncio)["eager_task_factory"])
        task = asyncio.create_task(named())
        told.append(task.done() and task.result()[1])
        variable.set(3)
        async with await asyncio.start_server(serve, site.host, 7100):
            variable.set(4)
            client = await site.connected(7100)
            client.sendall(b"a line\n")
            assert await exactly(client, 7) == b"a line\n"
            assert loop.nic.stack().stats()["tcp"]["passive_opens"] == 1
            reader, writer = await asyncio.open_connection(site.host, 7100)
            writer.write(b"another\n")
            told.append(await reader.readline())
            client.close()
            writer.close()
            await asyncio.sleep(0)
        return told
    assert site.run(main()) == [0, 3, 3, b"another\n"]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="before 3.14 asyncio's own does not wait")
def test_another_thread_s_cancel_waits_for_the_callback_that_runs(site: Site) -> None:
    async def main() -> tuple[bool, bool]:
        loop = asyncio.get_running_loop()
        began, cancelling, cancelled = threading.Event(), threading.Event(), threading.Event()
        ended = loop.create_future()

        def callback() -> None:
            began.set()
            cancelling.wait()
            ended.set_result(cancelled.wait(0.2))

        def cancel() -> None:
            handle = loop.call_soon_threadsafe(callback)
            began.wait()
            cancelling.set()
            handle.cancel()
            cancelled.set()

        canceller = threading.Thread(target=cancel)
        canceller.start()
        while_it_ran = await ended
        await asyncio.to_thread(canceller.join)
        return while_it_ran, cancelled.is_set()
    assert site.run(main()) == (False, True)


def test_ready_tasks_of_5_ms_do_not_starve_the_stack(site: Site) -> None:
    """Forty of them are ready in one iteration: what a peer sends is acknowledged between two."""
    async def main() -> int:
        loop = asyncio.get_running_loop()
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()              # 3.12's server waits for it

        async with await asyncio.start_server(serve, site.host, 7100):
            client = await site.connected(7100)
            await asyncio.sleep(0.05)
            before = loop._dispatcher.stretched             # type: ignore[attr-defined]
            for _ in range(40):
                loop.call_soon(time.sleep, 0.005)
            client.sendall(b"x")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            stretched: int = loop._dispatcher.stretched     # type: ignore[attr-defined]
            unacknowledged = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[24:28]
            assert int.from_bytes(unacknowledged, "little") == 0        # tcpi_unacked
            client.close()
            return stretched - before
    assert site.run(main()) >= 30
