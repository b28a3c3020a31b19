"""What the Python code reads, for the tests of lamella.js: files with faults, and what must be found in them.

folder/cases.json       a list of Case, and the priors and payloads below
folder/NAME.lam         the files
folder/NAME.safetensors the priors
"""

from __future__ import annotations

import dataclasses
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from support.priors import Arrays, random_prior
from support.streams import FILE, HEADER, TESTS, Pipe, random_codes, write, write_varying

from codec.bitstream import Header, Prior, Reader, RecoveringReader, Writer
from codec.errors import BitstreamError

SEED = 25
DAMAGED = 400  # files with random damage
EXTENTS = (1.0, 30.0, 1000.0)  # of random priors
SMALL = dataclasses.replace(HEADER, bits_per_code=4)


def write_cases(folder: Path) -> None:
    """Write all files into a folder that exists."""
    save_file(random_prior(), folder / "prior.safetensors")
    prior = Prior(random_prior())
    cases = []
    for name, data in _files(prior):
        (folder / f"{name}.lam").write_bytes(data)
        cases.append(_case(name, data, prior))
    priors = {f"prior-{extent:g}": random_prior(seed=7, extent=extent) for extent in EXTENTS}
    priors["prior-wide"] = _wide_prior()
    content = {
        "cases": cases,
        "priors": [_prior_case(folder, name, arrays) for name, arrays in priors.items()],
    }
    (folder / "cases.json").write_text(json.dumps(content))


def _files(prior: Prior) -> Iterator[tuple[str, bytes]]:
    whole = dict(_whole_files(prior))
    yield from whole.items()
    for file in sorted((TESTS / "negative").glob("*.lam")):
        yield f"negative-{file.stem}", file.read_bytes()
    generator = np.random.default_rng(SEED)
    names = sorted(whole)
    for number in range(DAMAGED):
        name = names[int(generator.integers(len(names)))]
        yield f"damaged-{number:03}-{name}", _damaged(whole[name], generator)


def _whole_files(prior: Prior) -> Iterator[tuple[str, bytes]]:
    """Yield valid files of all kinds: packed, range coded, varying, live, with a copy of the header."""
    codes = random_codes(SMALL, 10)
    likely = np.zeros_like(codes)
    yield "packed", FILE
    yield "live", write(dataclasses.replace(HEADER, num_samples=None), random_codes(HEADER, 10), 8_000)
    yield (
        "varying",
        write_varying(dataclasses.replace(HEADER, varies=True), random_codes(HEADER, 10), [2, 0, 3]),
    )
    yield "range-coded", _range_coded(SMALL, prior, [likely, codes, likely[:, :2]])
    varying = dataclasses.replace(SMALL, varies=True)
    yield "range-varying", _range_coded(varying, prior, [likely[..., :2], codes[..., :0], likely[:, :2]])
    long = dataclasses.replace(HEADER, num_samples=200_000, channels=1, frames_per_chunk=30)
    yield "copy", write(long, random_codes(long, 300, seed=3))
    single = dataclasses.replace(HEADER, channels=1, frames_per_chunk=1, num_codebooks=1, num_samples=9_000)
    yield "frames", write(single, random_codes(single, 12, seed=4))


def _range_coded(header: Header, prior: Prior, chunks: Iterable[np.ndarray]) -> bytes:
    file = io.BytesIO()
    writer = Writer(file, header, prior)
    for codes in chunks:
        writer.write_chunk(codes[:, :4])
    writer.close(header.num_samples)
    return file.getvalue()


def _damaged(data: bytes, generator: np.random.Generator) -> bytes:
    """Return a file with changed bytes, a part that is missing, a foreign part, or its end cut off."""
    at, size = int(generator.integers(len(data))), int(generator.integers(1, 60))
    noise = generator.bytes(size)
    match int(generator.integers(5)):
        case 0:
            return data[:at] + bytes([data[at] ^ 1 << int(generator.integers(8))]) + data[at + 1 :]
        case 1:
            return data[:at] + noise + data[at + size :]
        case 2:
            return data[:at] + data[at + size :]
        case 3:
            return data[:at] + noise + data[at:]
    return data[:at]


def _case(name: str, data: bytes, prior: Prior) -> dict[str, Any]:
    """Return what each way of reading finds: a file, a stream, and a file that is recovered."""
    stream = Pipe(data, 1 << 20)
    return {
        "name": name,
        "file": _found(*_read(lambda: Reader(io.BytesIO(data), prior))),
        "stream": _found(*_read(lambda: Reader(stream, prior))),  # type: ignore[arg-type]
        "recovered": _found(*_read(lambda: RecoveringReader(io.BytesIO(data), prior))),
    }


def _read(opened: Any) -> tuple[Any, list[Any], BitstreamError | None]:
    try:
        reader = opened()
    except BitstreamError as error:
        return None, [], error
    chunks: list[Any] = []
    try:
        for chunk in reader:
            chunks.append(chunk)
    except BitstreamError as error:
        return reader, chunks, error
    return reader, chunks, None


def _found(reader: Any, chunks: list[Any], error: BitstreamError | None) -> dict[str, Any]:
    return {
        "error": error and {"name": type(error).__name__, "message": str(error)},
        "num_samples": None if reader is None else reader.num_samples,
        "chunks": [
            [chunk.index, chunk.start_frame, *chunk.codes.shape, _checksum(chunk.codes)] for chunk in chunks
        ],
    }


def _checksum(codes: np.ndarray) -> int:
    return zlib.crc32(codes.astype("<i4").tobytes())


def _wide_prior() -> Arrays:
    """Return a prior whose sums need more than 32 bits."""
    arrays = random_prior(seed=8)
    bias = arrays["hidden1.bias"]
    bias.flat[::2], bias.flat[1::3] = 2**31 - 1, -(2**31) + 1
    return arrays


def _prior_case(folder: Path, name: str, arrays: Arrays) -> dict[str, Any]:
    """Return codes and their payload under a prior, and what is wrong with random payloads."""
    save_file(arrays, folder / f"{name}.safetensors")
    prior, generator = Prior(arrays), np.random.default_rng(SEED)
    codes = generator.integers(0, prior.codebook_size, (2, 12, 3), dtype=np.int32)
    payloads = [generator.bytes(int(size)) for size in generator.integers(0, 40, 40)]
    found, faults = prior.unpack(payloads, 2, 3, 3)
    (payload,) = prior.pack(codes[np.newaxis])
    return {
        "name": name,
        "codes": codes.ravel().tolist(),
        "payload": payload.hex(),
        "random": [
            {"payload": data.hex(), "fault": fault, "codes": row.ravel().tolist()}
            for data, row, fault in zip(payloads, found, faults, strict=True)
        ],
    }
