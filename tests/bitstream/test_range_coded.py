"""Range coded chunks in a stream: each chunk takes the smaller coding, and only its codes need the prior."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.priors import GROUPS, SIZE, random_prior
from support.streams import HEADER, Pipe, raw_chunk, raw_trailer

from codec.bitstream import Prior, Reader, Writer, thin
from codec.bitstream.format import PACKED, RANGE_CODED
from codec.errors import BitstreamError, ChecksumMismatch, UnsupportedVersion

NARROW = dataclasses.replace(HEADER, bits_per_code=4, frames_per_chunk=5, num_samples=None)
PRIOR = Prior(random_prior())


def likely_codes(frames: int, seed: int = 0) -> np.ndarray:
    """Return likely codes: in the likeliest group, one of the three likeliest places."""
    noise = np.random.default_rng(seed).integers(0, 3, (2, frames, 3))
    codes = np.zeros((2, frames, 3), np.int32)
    for start in range(0, frames, 5):
        for frame in range(start, min(start + 5, frames)):
            for codebook in range(3):
                hidden = list(PRIOR.hidden(codes[:, start : frame + 1]))[codebook][:, -1]
                group = PRIOR.group_scores(codebook, hidden).argmax(axis=-1)
                order = np.argsort(-PRIOR.place_scores(codebook, hidden, group), axis=-1)
                place = np.take_along_axis(order, noise[:, frame, codebook, None], -1)[:, 0]
                codes[:, frame, codebook] = PRIOR.arrays["order"][codebook, group * SIZE // GROUPS + place]
    return codes


def written(
    codes: np.ndarray, prior: Prior | None, num_codebooks: int = 3, num_samples: int | None = None
) -> bytes:
    file = io.BytesIO()
    header = dataclasses.replace(NARROW, num_codebooks=num_codebooks, num_samples=num_samples)
    writer = Writer(file, header, prior)
    for start in range(0, codes.shape[1], 5):
        writer.write_chunk(codes[:, start : start + 5, :num_codebooks])
    writer.close(num_samples or 0)
    return file.getvalue()


def read(data: bytes, prior: Prior | None) -> np.ndarray:
    return np.concatenate([chunk.codes for chunk in Reader(io.BytesIO(data), prior)], axis=1)


def codings(data: bytes) -> list[int]:
    return [chunk.coding for chunk in Reader(io.BytesIO(data)).stored_chunks()]


def test_each_chunk_takes_the_coding_with_fewer_bytes() -> None:
    random = np.random.default_rng(1).integers(0, 16, (2, 5, 3), dtype=np.int32)
    codes = np.concatenate([likely_codes(5), random, likely_codes(3, 2)], axis=1)
    data = written(codes, PRIOR)
    assert codings(data) == [RANGE_CODED, PACKED, RANGE_CODED]
    assert len(data) < len(written(codes, None))
    np.testing.assert_array_equal(read(data, PRIOR), codes)


@given(st.integers(1, 14), st.integers(0, 2**32 - 1))
def test_any_codes_are_read_again(frames: int, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(0, 16, (2, frames, 3), dtype=np.int32)
    data = written(codes, PRIOR)
    assert len(data) <= len(written(codes, None))
    np.testing.assert_array_equal(read(data, PRIOR), codes)


def test_without_the_prior_only_the_stored_chunks_can_be_read() -> None:
    data = written(likely_codes(10), PRIOR)
    with pytest.raises(
        BitstreamError, match=r"chunk 0 at byte 43 .* range coded, expected .* model 0123456789abcdef"
    ):
        read(data, None)
    chunks = list(Reader(io.BytesIO(data)).stored_chunks())
    assert [(chunk.index, chunk.start_frame, chunk.frames) for chunk in chunks] == [(0, 0, 5), (1, 5, 5)]


def test_an_invalid_payload_is_named_with_its_place() -> None:
    payload = bytes(10)
    chunk = raw_chunk(0, 5 * 4 + RANGE_CODED, payload)
    data = NARROW.to_bytes() + chunk + raw_trailer([len(chunk)], 0)
    with pytest.raises(BitstreamError, match="chunk 0 at byte 43"):
        read(data, PRIOR)


@given(st.binary(max_size=15))
def test_any_payload_is_an_error_or_packs_to_the_same_bytes(payload: bytes) -> None:
    chunk = raw_chunk(0, 5 * 4 + RANGE_CODED, payload)
    data = NARROW.to_bytes() + chunk + raw_trailer([len(chunk)], 0)
    try:
        codes = read(data, PRIOR)
    except BitstreamError:
        return
    assert PRIOR.pack(codes[None]) == [payload]


def test_an_unknown_coding_is_refused() -> None:
    chunk = raw_chunk(0, 5 * 4 + 3, bytes(3))
    data = NARROW.to_bytes() + chunk + raw_trailer([len(chunk)], 0)
    with pytest.raises(UnsupportedVersion, match=r"coding 3, expected 0 .* or 2"):
        codings(data)


def test_a_prior_of_another_size_is_refused() -> None:
    for prior in (Prior(random_prior(codebooks=2)), Prior(random_prior(size=32))):
        with pytest.raises(ValueError, match="expected 3 or more of 16 codes"):
            Writer(io.BytesIO(), NARROW, prior)
        with pytest.raises(BitstreamError, match="expected 3 or more of 16 codes"):
            read(written(likely_codes(5), PRIOR), prior)


def test_chunks_written_together_are_the_same_as_one_by_one() -> None:
    codes, file = likely_codes(23), io.BytesIO()
    writer = Writer(file, NARROW, PRIOR)
    writer.write_chunks([codes[:, start : start + 5] for start in range(0, 23, 5)])
    writer.close(0)
    assert file.getvalue() == written(codes, PRIOR)


class TestReadingAhead:
    def test_gives_the_same_chunks(self) -> None:
        random = np.random.default_rng(1).integers(0, 16, (2, 5, 3), dtype=np.int32)
        data = written(np.concatenate([likely_codes(10), random, likely_codes(8, 2)], axis=1), PRIOR)
        assert len(set(codings(data))) == 2
        one_by_one, ahead = Reader(io.BytesIO(data), PRIOR), Reader(io.BytesIO(data), PRIOR).chunks()
        for chunk, same in zip(one_by_one, ahead, strict=True):
            assert (chunk.index, chunk.start_frame) == (same.index, same.start_frame)
            np.testing.assert_array_equal(chunk.codes, same.codes)

    def test_raises_the_error_at_the_damaged_chunk(self) -> None:
        data = bytearray(written(likely_codes(23), PRIOR))
        offsets = Reader(io.BytesIO(data)).chunk_offsets
        assert offsets is not None
        data[offsets[3] + 8] ^= 1
        chunks = Reader(io.BytesIO(data), PRIOR).chunks()
        assert [next(chunks).index for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ChecksumMismatch, match="chunk 3"):
            next(chunks)

    def test_stops_at_the_last_chunk_needed(self) -> None:
        file = io.BytesIO(written(likely_codes(23), PRIOR))
        reader = Reader(file, PRIOR)
        assert reader.chunk_offsets is not None
        assert next(reader.chunks(last=1)).index == 0
        assert file.tell() == reader.chunk_offsets[2]

    @pytest.mark.parametrize(("num_samples", "after"), [(None, 1), (16_000, 5)])
    def test_waits_for_a_pipe_only_if_its_length_is_known(self, num_samples: int | None, after: int) -> None:
        data = written(likely_codes(23), PRIOR, num_samples=num_samples)
        ends = [*(Reader(io.BytesIO(data)).chunk_offsets or ())[1:], len(data)]
        pipe = Pipe(data)
        reader = Reader(pipe, PRIOR)
        assert reader.live == (num_samples is None)
        chunks = reader.chunks()
        assert next(chunks).index == 0
        assert len(data) - len(pipe.data) == ends[after - 1]
        assert [chunk.index for chunk in chunks] == [1, 2, 3, 4]


class TestThin:
    @pytest.mark.parametrize("keep", [1, 2, 3])
    def test_gives_what_writing_fewer_codebooks_gives(self, keep: int) -> None:
        codes, target = likely_codes(13), io.BytesIO()
        thin(Reader(io.BytesIO(written(codes, PRIOR)), PRIOR), target, keep)
        assert target.getvalue() == written(codes, PRIOR, keep)

    def test_without_the_prior_packed_chunks_stay_packed(self) -> None:
        codes, target = likely_codes(13), io.BytesIO()
        thin(Reader(io.BytesIO(written(codes, None))), target, 2)
        assert target.getvalue() == written(codes, None, 2)
        with pytest.raises(BitstreamError, match="range coded"):
            thin(Reader(io.BytesIO(written(codes, PRIOR))), io.BytesIO(), 2)
