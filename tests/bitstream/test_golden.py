"""Golden files decode in every later version, and negative files are refused; README.md beside them lists both."""

from __future__ import annotations

import numpy as np
import pytest
from support.streams import OPENERS, TESTS, joined, read_all, write, write_varying

from codec.errors import BitstreamError, ChecksumMismatch, Truncated, UnsupportedVersion


@pytest.mark.parametrize(
    "name, live", [("mono", False), ("stereo-live", True), ("silent", False), ("header-copy", False)]
)
def test_golden_files_decode_to_their_codes(name, live):
    folder = TESTS / "golden" / "v1"
    codes = np.load(folder / f"{name}.npy", allow_pickle=False)
    with open(folder / f"{name}.lam", "rb") as file:
        reader, chunks, error = read_all(file)
    assert error is None
    assert (reader.header.num_samples is None) == live
    np.testing.assert_array_equal(joined(chunks, reader.header), codes)
    written = write(reader.header, codes, reader.num_samples)
    assert written == (folder / f"{name}.lam").read_bytes()


def test_the_golden_file_of_varying_chunks_decodes_to_its_codes():
    folder = TESTS / "golden" / "v1"
    codes = np.load(folder / "varying.npy", allow_pickle=False)
    data = (folder / "varying.lam").read_bytes()
    for opener in OPENERS.values():
        reader, chunks, error = read_all(opener(data))
        assert error is None and reader.header.varies
        assert [chunk.codes.shape[2] for chunk in chunks] == [3, 0, 6, 4, 0]
        for chunk in chunks:
            expected = codes[:, chunk.start_frame : chunk.start_frame + 5]
            count = chunk.codes.shape[2]
            np.testing.assert_array_equal(chunk.codes, expected[..., :count])
            assert (expected[..., count:] == -1).all()
    assert write_varying(reader.header, codes, [3, 0, 6, 4, 0]) == data


NEGATIVE = {
    "empty.lam": Truncated,
    "truncated.lam": Truncated,
    "flipped-header.lam": ChecksumMismatch,
    "flipped-chunk.lam": ChecksumMismatch,
    "wrong-magic.lam": BitstreamError,
    "text-mode.lam": BitstreamError,
    "newer-version.lam": UnsupportedVersion,
    "newer-coding.lam": UnsupportedVersion,
    "range-coded.lam": BitstreamError,
    "huge-claim.lam": BitstreamError,
    "long-claim.lam": BitstreamError,
}


@pytest.mark.parametrize("name, kind", NEGATIVE.items(), ids=NEGATIVE)
@pytest.mark.parametrize("opener", OPENERS.values(), ids=OPENERS)
def test_negative_files_are_refused(name, kind, opener):
    _, _, error = read_all(opener((TESTS / "negative" / name).read_bytes()))
    assert type(error) is kind


def test_every_negative_file_has_an_expected_error():
    assert {path.name for path in (TESTS / "negative").glob("*.lam")} == set(NEGATIVE)
