"""Parallel decoding: images brought to the table's size, many at a time."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import (
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import NoReturn, TypeVar

from mlcore.datasets.decoding.grey_image import mask_to_size, to_uint8
from mlcore.datasets.record import DecodedIn, ImageRecord, TableImage, Unreadable
from mlcore.datasets.table import Box, TableError
from mlcore.files import sha256_file

# Raised whenever the same file would become other pixels than before.
DECODING = 3

# Records that are decoded or wait to be written, for each worker.
_AHEAD = 8
# Every format, whose functions decode, and what they import when they do.
_WORKERS_NEED = (
    "mlcore.datasets.formats.all_formats",
    "pydicom.pixels.decoders.base",
)

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def prepare(record: ImageRecord, size: int) -> TableImage:
    """Decode one record and bring its image and masks to `size`."""
    image = record.read()
    height, width = image.pixels.shape
    masks = {}
    for finding, source in record.masks.items():
        mask = source() if callable(source) else source
        if mask.shape != image.pixels.shape:
            raise TableError(
                f"{record.image_id}: the mask of {finding} is {mask.shape[1]} x "
                f"{mask.shape[0]} pixels, the image {width} x {height}."
            )
        masks[finding] = mask_to_size(mask, size)
    return TableImage(
        record=record,
        pixels=to_uint8(image, size),
        width=width,
        height=height,
        view=record.view or image.view,
        pixel_spacing_mm=image.pixel_spacing_mm,
        boxes=_boxes(record, width, height),
        masks=masks,
    )


def _boxes(record: ImageRecord, width: int, height: int) -> tuple[Box, ...]:
    if not record.boxes_in_pixels:
        return record.boxes
    for box in record.boxes:
        if box.x + box.w > width or box.y + box.h > height:
            raise TableError(
                f"{record.image_id}: a box of {box.finding} leaves the image, which is "
                f"{width} x {height} pixels."
            )
    return tuple(
        Box(box.finding, box.x / width, box.y / height, box.w / width, box.h / height)
        for box in record.boxes
    )


def prepared(
    records: Iterable[ImageRecord],
    size: int,
    *,
    root: Path | None,
    workers: int,
    decoded_in: DecodedIn = "threads",
) -> Generator[TableImage | Unreadable, None, None]:
    """Decode `records` in their order, several at a time.

    Threads suffice for Pillow, which releases the interpreter lock while it decodes and
    resizes; what does not decodes in processes. A few records a worker are ahead of the
    consumer, so memory does not grow with the number of records.

    Args:
        root: folder of the sources; the files of each record are hashed below it.
        workers: how many threads or processes.

    Raises:
        TableError: a decoding process was killed, as when memory runs out.
    """
    attempt = partial(_attempt, size=size, root=root)
    try:
        with _pool(workers, decoded_in) as pool:
            yield from map_ahead(attempt, records, pool, _AHEAD * workers)
    except BrokenProcessPool:
        raise TableError(
            "A decoding process was killed; if memory ran out, give fewer --workers."
        ) from None


def _pool(workers: int, decoded_in: DecodedIn) -> Executor:
    if decoded_in == "threads" or workers == 1:
        return ThreadPoolExecutor(workers)
    # Forking a process that has threads may lock it up, so workers are forked from one
    # without, which loads what they need once: a third of a second for each of them.
    # Ctrl-C reaches all of them: the first process alone answers it.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_WORKERS_NEED))
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker)


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the one that started it is killed.

    The executor does not: its workers hold both ends of the queue they wait at.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _attempt(
    record: ImageRecord, *, size: int, root: Path | None
) -> TableImage | Unreadable:
    try:
        image = prepare(record, size)
        hashes = {} if root is None else _hashes(root, record.files)
    except TableError as error:
        # What names a folder of this machine would not be the same on another.
        problem = str(error).replace(f"{root}/", "")
        return Unreadable(record=_slim(record), problem=problem)
    return replace(image, record=_slim(record), sha256=hashes)


def _hashes(root: Path, names: Iterable[str]) -> dict[str, str]:
    hashes = {}
    for name in names:
        state = (root / name).stat()
        hashes[name] = _sha256(root / name, state.st_size, state.st_mtime_ns)
    return hashes


@lru_cache(maxsize=64)
def _sha256(path: Path, _size: int, _changed: int) -> str:
    """A volume gives many images; it is hashed once."""
    return sha256_file(path)


def _slim(record: ImageRecord) -> ImageRecord:
    """The record without what decodes it, which need not travel between processes."""
    return replace(record, read=_decoded, masks=dict.fromkeys(record.masks, _decoded))


def _decoded() -> NoReturn:
    raise RuntimeError("This record was decoded already.")


def map_ahead(
    function: Callable[[_Item], _Result],
    items: Iterable[_Item],
    pool: Executor,
    ahead: int,
) -> Iterator[_Result]:
    """`map(function, items)` in `pool`, in order, at most `ahead` items ahead.

    The first exception ends it; calls that have not begun are dropped then.
    """
    waiting: deque[Future[_Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
